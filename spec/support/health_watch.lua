-- Asks GET /healthz again and again, each time over a new connection, as a process of its own: what it sees
-- is not how busy a spec is.
--
--   local watch = health_watch.start(gateway:control_url())
--   local seen = watch:stop()        {answers, silence (ms, the longest), failures (a list of texts)}

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local health_watch = {}

local Watch = {}
Watch.__index = Watch

local EVERY = 5 -- ms

function health_watch.start(url)
  local out = paths.tmp() .. "/seen"
  local host, port = url:match "^http://([^:/]+):(%d+)$"
  local self = setmetatable({ out = out }, Watch)
  self.process = process.start({ "luajit", "-lspec.support.health_watch", "-e",
    ("require('spec.support.health_watch').run(%q, %d, %q)"):format(host, port, out) },
    { cwd = paths.root, env = { LUA_PATH = package.path, LUA_CPATH = package.cpath } })
  self.process:wait_for_output("watching", "stdout")
  return self
end

function Watch:stop()
  self.process:kill "SIGTERM"
  self.process:wait()
  return assert(loadfile(self.out))()
end

-- In that process: until SIGTERM.
function health_watch.run(host, port, out)
  local uv = require "luv"
  local now = function() return uv.hrtime() / 1e6 end
  local seen = { answers = 0, silence = 0, failures = {} }
  local last, began = now(), nil
  local timer, ask = uv.new_timer(), nil

  local function heard(text, problem)
    if text and text:find "^HTTP/1.1 200 " then
      seen.silence = math.max(seen.silence, now() - last)
      seen.answers = seen.answers + 1
      last = now()
    else
      local what = problem or text or "closed"
      seen.failures[#seen.failures + 1] = ("%s after %d ms"):format(what, now() - began)
    end
    timer:start(EVERY, 0, ask)
  end

  function ask()
    local tcp, text = uv.new_tcp(), ""
    began = now()
    tcp:connect(host, port, function(problem)
      if problem then
        tcp:close()
        heard(nil, problem)
        return
      end
      tcp:write "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
      tcp:read_start(function(broken, chunk)
        text = text .. (chunk or "")
        if broken or not chunk then
          tcp:close()
          heard(text ~= "" and text or nil, broken)
        end
      end)
    end)
  end

  local signal = uv.new_signal()
  signal:start("sigterm", function()
    local file = assert(io.open(out, "w"))
    local lines = {}
    for i, failure in ipairs(seen.failures) do
      lines[i] = ("%q"):format(failure)
    end
    file:write(("return { answers = %d, silence = %d, failures = { %s } }\n"):format(
      seen.answers, seen.silence, table.concat(lines, ", ")))
    file:close()
    os.exit(0)
  end)
  ask()
  print "watching"
  io.stdout:flush()
  uv.run()
end

return health_watch
