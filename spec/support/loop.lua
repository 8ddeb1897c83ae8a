-- The event loop of the spec process. Nothing here sleeps for a fixed time: specs wait for what they
-- need to see, and fail with its description when it does not come.

local paths = require "spec.support.paths"
local uv = require "luv"

local loop = {}

local POLL = 5 -- ms: for what no handle tells of, such as files and processes that are not our children
local ASK_EVERY = 20 -- ms

local failure
local running = false

-- Errors inside a luv callback would end the process. A callback wrapped here hands them to the
-- wait_for() that is running, or to the next one.
function loop.callback(fn)
  return function(...)
    local ok, problem = xpcall(fn, debug.traceback, ...)
    if not ok then
      failure = failure or problem
      uv.stop()
    end
  end
end

function loop.fail(problem)
  failure = failure or problem
  uv.stop()
end

local function run_until(predicate, timeout)
  local deadline = uv.hrtime() / 1e6 + timeout
  while true do
    if failure then
      local problem = failure
      failure = nil
      error(problem, 0)
    end
    local value = predicate()
    if value then
      return value
    elseif uv.hrtime() / 1e6 >= deadline then
      return nil
    end
    uv.run "once"
  end
end

-- Runs the loop until predicate() is true and returns its value. After the time-out (10,000 ms; times
-- TG_SPEC_SLOW) it raises an error with the description at the caller's line. A description may be a
-- function: it is called when the time is over, and can tell how far things came.
function loop.wait_for(description, predicate, timeout, level)
  if running then
    error("wait_for cannot be called from a callback of the loop", 2)
  end
  timeout = (timeout or 10000) * paths.slow
  local timer = uv.new_timer()
  timer:start(POLL, POLL, function() end)
  running = true
  local ok, value = xpcall(run_until, function(problem)
    return type(problem) == "string" and not problem:find "\nstack traceback:" and debug.traceback(problem, 2)
      or problem
  end, predicate, timeout)
  running = false
  timer:close()
  if not ok then
    error(value, 0)
  elseif not value then
    if type(description) == "function" then
      description = description()
    end
    error(("waited %d ms in vain for %s"):format(timeout, description), (level or 1) + 1)
  end
  return value
end

-- For a look that waits itself, such as for an answer of the gateway: asks again and again, and returns what
-- it says when that is true. Time-out (15,000 ms) and description are as of wait_for().
function loop.ask_until(description, look, timeout)
  timeout = (timeout or 15000) * paths.slow
  local deadline = loop.now() + timeout
  while true do
    local value = look()
    if value then
      return value
    elseif loop.now() >= deadline then
      description = type(description) == "function" and description() or description
      error(("waited %d ms in vain for %s"):format(timeout, description), 2)
    end
    local next_look = loop.now() + ASK_EVERY
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
end

-- Turns the loop without waiting: what is there already is read.
function loop.turn()
  uv.run "nowait"
end

-- Specs go in steps: something is made to happen, or waited for at the bot. Whoever sets loop.before_step is
-- called before each.
function loop.step()
  if loop.before_step then
    loop.before_step()
  end
end

-- Milliseconds from any start, for measuring.
function loop.now()
  return uv.hrtime() / 1e6
end

return loop
