-- What scripts/bench runs: measures the real binaries and prints tables. See scripts/bench --help.

package.path = "./?.lua;" .. package.path

local hooks = require "spec.bench.hooks"
local lab = require "spec.bench.lab"
local memory = require "spec.bench.memory"
local path = require "spec.bench.path"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local SECTIONS = {
  { "receive", path.receive },
  { "delivery", path.delivery },
  { "memory", memory.measure },
  { "lua", hooks.measure },
}

local function parse(arguments)
  local options = { rounds = 5, scale = 1 }
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
  return options, chosen
end

local function main(arguments)
  local options, chosen = parse(arguments)
  io.stdout:setvbuf "line"
  local results = {}
  for _, section in ipairs(SECTIONS) do
    local name, measure = section[1], section[2]
    if chosen[name] or not next(chosen) then
      measure(options, results)
      print()
    end
  end
end

local ok, problem = xpcall(main, debug.traceback, arg)
process.cleanup()
paths.cleanup()
if not ok then
  io.stderr:write(problem, "\n")
end
os.exit(ok and 0 or 1) -- luv's handles need no closing any more
