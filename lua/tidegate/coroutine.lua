-- The script's own coroutines. What the host waits for inside of one must
-- travel outward to the coroutine that the host resumes: such a yield carries
-- the host's token, and is passed on instead of being given to the resumer.
-- While it waits nobody else may resume any coroutine on that way: what comes
-- from outside would be taken for what it waits for.

local core = require "tidegate.core"
local token, pass, hosts = core.token, core.pass, core.coroutines
local create, resume = coroutine.create, coroutine.resume
local error, rawequal, setmetatable = error, rawequal, setmetatable

local waiting = setmetatable({}, { __mode = "k" }) -- those that have passed a wait on

local go_on

local function step(co, ok, first, ...)
  if ok and rawequal(first, token) then
    waiting[co] = true
    return go_on(co, pass(token))
  end
  return ok, first, ...
end

function go_on(co, ...)
  waiting[co] = nil
  return step(co, resume(co, ...))
end

local WAITS = "cannot resume a coroutine that waits for the gateway (gateway.sleep, http, ...): "
  .. "it goes on by itself when that has ended"
local NOT_YOURS = "cannot resume a coroutine of the gateway's: "
  .. "it goes on by itself when what it waits for has ended"

function coroutine.resume(co, ...) -- luacheck: ignore 122
  if waiting[co] then return false, WAITS end
  if hosts[co] then return false, NOT_YOURS end
  return step(co, resume(co, ...))
end

local function results(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

function coroutine.wrap(body) -- luacheck: ignore 122
  local co = create(body)
  return function(...)
    if waiting[co] then error(WAITS, 2) end
    return results(step(co, resume(co, ...)))
  end
end

coroutine.yield = core.yield -- luacheck: ignore 122
