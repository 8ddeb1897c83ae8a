-- Processes under test.
--
--   local p = process.start({ paths.bin "tidegate", "check" }, { env = { INTENTS = "1" }, cwd = dir })
--   p:wait()            p.exit_code, p.signal, p.stdout, p.stderr
--
-- A process gets a clean, small environment and a process group of its own. It dies with the spec
-- process, whatever ends that.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local uv = require "luv"

local process = {}

local Process = {}
local alive = {}

local SIGNALS = {}
for name, number in pairs(uv.constants) do
  if name:find "^SIG" and name ~= "SIGIOT" then -- the other name of SIGABRT
    SIGNALS[number] = name
  end
end

-- p.stdout and p.stderr are put together only when somebody looks.
function Process:__index(key)
  if key == "stdout" or key == "stderr" then
    local parts = rawget(self, "parts")[key]
    if #parts > 1 then
      parts[1] = table.concat(parts)
      for i = #parts, 2, -1 do
        parts[i] = nil
      end
    end
    return parts[1] or ""
  end
  return Process[key]
end

local PASSED_ON = { "PATH", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS" }

local function environment(given)
  local env = { HOME = paths.tmp(), LANG = "C.UTF-8" }
  for _, name in ipairs(PASSED_ON) do
    env[name] = os.getenv(name)
  end
  for name, value in pairs(given or {}) do
    env[name] = value ~= false and tostring(value) or nil
  end
  local list = {}
  for name, value in pairs(env) do
    list[#list + 1] = name .. "=" .. value
  end
  return list
end

local function collect(self, name, pipe)
  local parts = self.parts[name]
  pipe:read_start(loop.callback(function(problem, chunk)
    if chunk then
      parts[#parts + 1] = chunk
      if self.on_output then
        self.on_output(name, chunk)
      end
    else
      self.open_pipes = self.open_pipes - 1
      pipe:close()
      assert(not problem or problem == "EOF", problem)
    end
  end))
end

-- options: env (added to the clean environment; false takes a variable away), cwd,
-- on_output(stream, chunk).
function process.start(argv, options)
  options = options or {}
  local out, err = uv.new_pipe(false), uv.new_pipe(false)
  local self = setmetatable({
    argv = argv,
    parts = { stdout = {}, stderr = {} },
    open_pipes = 2,
    on_output = options.on_output,
  }, Process)
  -- setpriv asks the kernel to end the process with its parent, and becomes it.
  local args = { "--pdeathsig", "KILL", "--" }
  for _, arg in ipairs(argv) do
    args[#args + 1] = tostring(arg)
  end
  local handle, pid = uv.spawn("setpriv", {
    args = args,
    env = environment(options.env),
    cwd = options.cwd or paths.root,
    stdio = { nil, out, err },
    detached = true,
  }, loop.callback(function(code, signal)
    self.signal = signal ~= 0 and (SIGNALS[signal] or signal) or nil
    self.exit_code = signal == 0 and code or nil
    self.ended = true
    alive[self] = nil
    self.handle:close()
  end))
  if not handle then
    error(("cannot start %s: %s"):format(argv[1], pid), 2)
  end
  self.handle, self.pid = handle, pid
  alive[self] = true
  collect(self, "stdout", out)
  collect(self, "stderr", err)
  return self
end

-- Runs to the end and returns the process.
function process.run(argv, options)
  local self = process.start(argv, options)
  self:wait(options and options.timeout, 2)
  return self
end

-- signal: "SIGTERM", "term" or a number.
function Process:kill(signal)
  if self.ended then
    return
  end
  if type(signal) == "string" then
    signal = signal:lower():gsub("^sig", "")
    signal = "sig" .. signal
  end
  uv.kill(self.pid, signal or "sigterm")
end

-- Waits for the end of the process and returns exit_code and signal. A child of it that keeps the pipes open
-- is not waited for longer than a moment.
function Process:wait(timeout, level)
  loop.wait_for(function()
    return ("the end of %s (pid %d); it said last:\n%s"):format(
      table.concat(self.argv, " "), self.pid, self.stderr:sub(-2000))
  end, function() return self.ended end, timeout, (level or 1) + 1)
  local patience = loop.now() + 500
  loop.wait_for("its output", function() return self.open_pipes == 0 or loop.now() > patience end)
  return self.exit_code, self.signal
end

-- The whole lines of "stdout" (or "stderr") so far.
function Process:lines(stream)
  local lines = {}
  for line in self[stream or "stdout"]:gmatch "([^\n]*)\n" do
    lines[#lines + 1] = line
  end
  return lines
end

-- Waits until the output has a match and returns string.match's results.
function Process:wait_for_output(pattern, stream, timeout)
  stream = stream or "stderr"
  local found
  loop.wait_for(function()
    return ("%q on %s; it said last:\n%s"):format(pattern, stream, self[stream]:sub(-2000))
  end, function()
    found = { self[stream]:match(pattern) }
    return found[1] or (self.ended and self.open_pipes == 0)
  end, timeout, 2)
  if not found[1] then
    error(("%s ended (%s) before it said %q:\n%s"):format(
      table.concat(self.argv, " "), self.exit_code or self.signal, pattern, self[stream]:sub(-2000)), 2)
  end
  return unpack(found)
end

-- Reads /proc/<pid>/stat: state letter and parent, or nil when there is no such process.
local function stat(pid)
  local text = paths.read(("/proc/%d/stat"):format(pid))
  if not text then
    return nil
  end
  local state, parent = text:match "^%d+ %(.*%) (%a) (%d+)"
  return state, tonumber(parent)
end

-- False for zombies, too.
function process.is_running(pid)
  local state = stat(pid)
  return state ~= nil and state ~= "Z" and state ~= "X"
end

-- The pids of the running children, in order.
function process.children(parent)
  local pids = {}
  local scan = assert(uv.fs_scandir "/proc")
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then
      break
    end
    local pid = tonumber(name)
    if pid then
      local state, its_parent = stat(pid)
      if its_parent == parent and state ~= "Z" and state ~= "X" then
        pids[#pids + 1] = pid
      end
    end
  end
  table.sort(pids)
  return pids
end

-- Ends everything that was started and still runs, children included.
function process.cleanup()
  local left = {}
  for self in pairs(alive) do
    left[#left + 1] = self
    uv.kill(-self.pid, "sigkill")
  end
  for _, self in ipairs(left) do
    self:wait()
  end
end

return process
