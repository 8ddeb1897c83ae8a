-- What of the standard library a gateway cannot have: calls that stop the whole
-- process until somebody answers, and code that cannot be checked.

local core = require "tidegate.core"
local log = require "tidegate.log"

local function forbid(library, name, instead)
  library[name] = function() error(instead, 2) end
end

local stops = " stops the whole process, heartbeats included; "
forbid(os, "execute", "os.execute" .. stops .. "ask a service with gateway.http instead")
forbid(os, "exit", "os.exit would drop every session; use gateway.manager:shutdown(code, reason)")
forbid(io, "popen", "io.popen" .. stops .. "ask a service with gateway.http instead")
forbid(io, "read", "io.read" .. stops .. "a gateway has no standard input; use gateway.configure or a file")

-- The standard input of a worker is empty, that of a manager may be a terminal.
local no_input = "a gateway has no standard input; open a file with io.open"
forbid(io, "input", no_input)
rawset(io, "stdin", setmetatable({}, { __index = function() error(no_input, 2) end, __metatable = "file" }))

local lines = io.lines
function io.lines(name, ...) -- luacheck: ignore 122
  if name == nil then
    error("io.lines without a file name reads standard input, which a gateway does not have", 2)
  end
  return lines(name, ...)
end

-- Without the addresses of functions in C, as in the log.
debug.traceback = core.traceback -- luacheck: ignore 122

-- Secrets of the environment show as placeholders, unless script.secrets is on.
os.getenv = core.getenv -- luacheck: ignore 122

-- Numbers in JSON and elsewhere need the dot of the "C" locale.
local setlocale = os.setlocale
function os.setlocale(locale, ...) -- luacheck: ignore 122
  if locale ~= nil then error("os.setlocale would change how the whole process writes numbers", 2) end
  return setlocale(nil, ...)
end

-- Standard output may be anything; the log is where people look.
function print(...) -- luacheck: ignore 121
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  log.info("%s", table.concat(words, "\t"))
end

-- In the test kit time stands still, for gateway.now, os.time and os.date.
if core.clock then
  local time, date, start = os.time, os.date, os.time()

  function core.now()
    local ms = core.clock()
    return start * 1000 + ms, ms
  end

  function os.time(parts) -- luacheck: ignore 122
    return parts and time(parts) or start + math.floor(core.clock() / 1000)
  end

  function os.date(format, at) -- luacheck: ignore 122
    return date(format, at or os.time())
  end
end

-- Loading is always interpreted, so that it can be interrupted.
local jit_on, jit_off = jit.on, jit.off

function jit.on(...) -- luacheck: ignore 122
  if select("#", ...) > 0 then return jit_on(...) end
  core.jit(true)
end

function jit.off(...) -- luacheck: ignore 122
  if select("#", ...) > 0 then return jit_off(...) end
  core.jit(false)
end

-- Source text only: bytecode is neither checked nor portable.
local load = load

function loadstring(text, name) -- luacheck: ignore 121
  return load(text, name or text, "t")
end

_G.load = function(chunk, name, _, ...)
  if select("#", ...) > 0 then return load(chunk, name, "t", (...)) end
  return load(chunk, name, "t")
end

function loadfile(path, _, ...) -- luacheck: ignore 121
  if path == nil then
    error("loadfile without a path reads standard input, which a gateway does not have", 2)
  end
  local text, problem = core.read_source(path)
  if not text then return nil, problem end
  if text:sub(1, 1) == "#" then text = "--" .. text end
  if select("#", ...) > 0 then return load(text, "@" .. path, "t", (...)) end
  return load(text, "@" .. path, "t")
end

function dofile(path) -- luacheck: ignore 121
  local chunk, problem = loadfile(path)
  if not chunk then error(problem, 2) end
  return chunk()
end

core.loadfile = loadfile
