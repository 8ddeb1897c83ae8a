-- What scripts/bench runs: measures the real binaries and prints tables. See scripts/bench --help.

package.path = "./?.lua;" .. package.path

local control = require "spec.bench.control"
local hooks = require "spec.bench.hooks"
local json = require "spec.bench.json"
local lab = require "spec.bench.lab"
local latency = require "spec.bench.latency"
local log = require "spec.bench.log"
local many = require "spec.bench.many"
local memory = require "spec.bench.memory"
local paced = require "spec.bench.paced"
local order = require "spec.bench.order"
local path = require "spec.bench.path"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local report = require "spec.bench.report"
local reshard = require "spec.bench.reshard"
local sinks = require "spec.bench.sinks"

-- In the order in which they run; "delivery" is a part of "receive".
local ALL = {
  { "receive", path.measure },
  { "paced", paced.measure },
  { "log", log.measure },
  { "memory", memory.measure },
  { "lua", hooks.measure },
  { "json", json.measure },
  { "control", control.measure },
  { "reshard", reshard.measure },
  { "sinks", sinks.measure },
  { "latency", latency.measure },
  { "order", order.measure },
  { "many", many.measure },
}

local function parse(arguments)
  local options, chosen = { rounds = 3, scale = 1 }, {}
  for _, argument in ipairs(arguments) do
    if argument == "--quick" then
      options.rounds, options.scale = 1, 0.25
    elseif argument == "--log" then
      lab.durability = "log"
    elseif argument == "--report" then
      options.report = paths.build .. "/figures.md"
    else
      chosen[argument] = true
    end
  end
  options.delivery = chosen.delivery or not next(chosen)
  chosen.receive = chosen.receive or chosen.delivery
  return options, chosen
end

local function main(arguments)
  local options, chosen = parse(arguments)
  io.stdout:setvbuf "line"
  local page = options.report and report.open(options.report, arguments)
  local any = next(chosen)
  for _, row in ipairs(ALL) do
    local name, measure = row[1], row[2]
    if chosen[name] or not any then
      if page then
        page:section(name)
      end
      measure(options)
      io.stdout:write "\n"
    end
  end
  if page then
    page:close()
    print("The page: " .. options.report)
  end
end

local ok, problem = xpcall(main, debug.traceback, arg)
process.cleanup()
paths.cleanup()
if not ok then
  io.stderr:write(problem, "\n")
end
os.exit(ok and 0 or 1) -- luv's handles need no closing any more
