-- One page of figures for others to read: what scripts/bench prints, with the machine and the versions that
-- it was measured on, and the commands that measure it again.
--
--   local page = report.open(file, arguments)   from here on what is printed goes there, too
--   page:section "receive"
--   page:close()                                until then the last page stands in its place

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local report = {}

local Page = {}
Page.__index = Page

local TITLES = {
  receive = "The way of an event",
  paced = "At the pace of life",
  log = "The event log",
  memory = "Memory",
  lua = "Scripts",
  json = "JSON in scripts",
  control = "Watching",
  reshard = "Another number of shards",
  sinks = "Sinks",
  latency = "Added latency",
  many = "Many shards",
}

local LIBRARIES = {
  "luajit", "libuv", "libwebsockets", "openssl", "libcurl", "zlib", "libzstd", "jansson", "hiredis",
}

-- ---- what it was measured on ----

local function output(...)
  local run = process.run { ... }
  return run.exit_code == 0 and run.stdout:gsub("%s+$", "") or "not known"
end

local function field(file, pattern)
  return (paths.read(file) or ""):match(pattern) or "not known"
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local function machine()
  local cpus = paths.read "/proc/cpuinfo" or ""
  local memory = tonumber(field("/proc/meminfo", "MemTotal: *(%d+) kB")) or 0
  return {
    { "Processor", cpus:match "model name%s*: ([^\n]+)" or "not known" },
    { "Threads of it", count(cpus, "processor%s*:") },
    { "Memory", ("%.1f GB"):format(memory / 1e6) },
    { "System", field("/etc/os-release", 'PRETTY_NAME="([^"]*)"') },
    { "Kernel", field("/proc/sys/kernel/osrelease", "[^\n]+") },
    { "Load when it began", field("/proc/loadavg", "^%S+ %S+ %S+") },
  }
end

local function versions()
  local rows = { { "Tidegate", (output(paths.bin "tidegate", "version"):gsub("\n", "; ")) } }
  for _, library in ipairs(LIBRARIES) do
    rows[#rows + 1] = { library, output("pkg-config", "--modversion", library) }
  end
  rows[#rows + 1] = { "Compiler", output("cc", "--version"):match "[^\n]+" }
  return rows
end

local function table_of(rows)
  local lines = { "| | |", "|---|---|" }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = ("| %s | %s |"):format(row[1], row[2])
  end
  return table.concat(lines, "\n")
end

-- ---- the page ----

local function quoted(arguments)
  return #arguments > 0 and " " .. table.concat(arguments, " ") or ""
end

local HEAD = [[
# Figures of Tidegate

Measured on %s by `scripts/bench%s`, which measures them again. Each ratio is to a limit
of the same machine, taken in turns with what it is compared with. `ok` and `MISS` stand before what was aimed
at.

%s

%s
]]

function report.open(file, arguments)
  local self = setmetatable({ path = file, print = print, write = io.write }, Page)
  self.file = assert(io.open(file .. ".new", "w"))
  self.file:write(HEAD:format(os.date "!%Y-%m-%d %H:%M UTC", quoted(arguments), table_of(machine()),
    table_of(versions())))
  local function tee(...)
    self.write(...)
    if self.inside then
      self.file:write(...)
    end
  end
  io.write = tee -- luacheck: ignore
  print = function(...) -- luacheck: ignore
    local texts = { ... }
    for i = 1, select("#", ...) do
      texts[i] = tostring(texts[i])
    end
    tee(table.concat(texts, "\t"), "\n")
  end
  return self
end

function Page:end_section()
  if self.inside then
    local seconds = (loop.now() - self.began) / 1000
    self.file:write(("```\n\n`scripts/bench %s`: %.0f s\n"):format(self.inside, seconds))
  end
  self.inside = nil
end

-- `name`: as scripts/bench calls it.
function Page:section(name)
  self:end_section()
  self.file:write(("\n## %s\n\n```\n"):format(TITLES[name] or name))
  self.inside, self.began = name, loop.now()
end

function Page:close()
  self:end_section()
  self.file:close()
  io.write, print = self.write, self.print -- luacheck: ignore
  assert(os.rename(self.path .. ".new", self.path))
end

return report
