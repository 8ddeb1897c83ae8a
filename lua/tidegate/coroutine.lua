-- The script's own coroutines. What the host waits for inside of one must
-- travel outward to the coroutine that the host resumes: such a yield carries
-- the host's token, and is passed on instead of being given to the resumer.

local core = require "tidegate.core"
local token, pass = core.token, core.pass
local create, resume = coroutine.create, coroutine.resume
local error, rawequal = error, rawequal

local function step(co, ok, first, ...)
  if ok and rawequal(first, token) then return step(co, resume(co, pass(token))) end
  return ok, first, ...
end

function coroutine.resume(co, ...) -- luacheck: ignore 122
  return step(co, resume(co, ...))
end

local function results(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

function coroutine.wrap(body) -- luacheck: ignore 122
  local co = create(body)
  return function(...) return results(step(co, resume(co, ...))) end
end

coroutine.yield = core.yield -- luacheck: ignore 122
