-- What scripts/bench runs: measures the real binaries and prints tables. See scripts/bench --help.

package.path = "./?.lua;" .. package.path

local control = require "spec.bench.control"
local hooks = require "spec.bench.hooks"
local json = require "spec.bench.json"
local lab = require "spec.bench.lab"
local log = require "spec.bench.log"
local memory = require "spec.bench.memory"
local path = require "spec.bench.path"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local reshard = require "spec.bench.reshard"
local sinks = require "spec.bench.sinks"

local function parse(arguments)
  local options = { rounds = 3, scale = 1 }
  local chosen = {}
  for _, argument in ipairs(arguments) do
    if argument == "--quick" then
      options.rounds, options.scale = 1, 0.25
    elseif argument == "--log" then
      lab.durability = "log"
    else
      chosen[argument] = true
    end
  end
  if not next(chosen) then
    local all = { "receive", "delivery", "log", "memory", "lua", "json", "control", "reshard", "sinks" }
    for _, what in ipairs(all) do
      chosen[what] = true
    end
  end
  options.delivery = chosen.delivery
  return options, chosen
end

local function main(arguments)
  local options, chosen = parse(arguments)
  io.stdout:setvbuf "line"
  if chosen.receive or chosen.delivery then
    path.measure(options)
    print()
  end
  if chosen.log then
    log.measure(options)
    print()
  end
  if chosen.memory then
    memory.measure()
    print()
  end
  if chosen.lua then
    hooks.measure(options)
    print()
  end
  if chosen.json then
    json.measure(options)
    print()
  end
  if chosen.control then
    control.measure(options)
    print()
  end
  if chosen.reshard then
    reshard.measure(options)
    print()
  end
  if chosen.sinks then
    sinks.measure(options)
  end
end

local ok, problem = xpcall(main, debug.traceback, arg)
process.cleanup()
paths.cleanup()
if not ok then
  io.stderr:write(problem, "\n")
end
os.exit(ok and 0 or 1) -- luv's handles need no closing any more
