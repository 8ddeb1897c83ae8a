-- The event log alone (event_log.c): CPU microseconds an event of appending and reading back, beside the
-- limit, a bare write of the same bytes; and what of it reaches the disk while the event handler keeps up.

local lab = require "spec.bench.lab"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local log = {}

local EVENTS, PER_TURN = 100000, 64
local SECONDS = 40 -- longer than the kernel keeps what is dirty
local AIMS = { append = 1.0, read = 0.6 }
local ROWS = {
  { "append", "append, one write a turn" },
  { "read", "read back and acked" },
  { "keep", "append and ack, the handler keeps up" },
}

local function once(seconds)
  local argv = { paths.bin "bench/event_log", paths.tmp(), EVENTS, PER_TURN, seconds }
  local run = process.run(argv, { timeout = 120000 })
  local figures = {}
  for name, value in run.stdout:gmatch "(%a+)=(%S+)" do
    figures[name] = tonumber(value)
  end
  return assert(figures.append and figures, run.stderr)
end

function log.measure(options)
  local rounds = {}
  for round = 1, options.rounds do
    rounds[round] = once(round == 1 and SECONDS * options.scale or 0)
  end
  local function median(name)
    local values = {}
    for i, figures in ipairs(rounds) do
      values[i] = figures[name]
    end
    return lab.median(values)
  end
  local limit = median "write"
  local head = "The event log, CPU microseconds an event of 1.4 KB at %d a turn (a bare write of them: %.2f):"
  print(head:format(PER_TURN, limit))
  for _, row in ipairs(ROWS) do
    local value, aim = median(row[1]), AIMS[row[1]]
    print(("  %-40s %6.2f  ratio %5.2f   %s"):format(row[2], value, value / limit,
      aim and ("%s <= %g"):format(value <= aim and "ok  " or "MISS", aim) or ""))
  end
  local paced = rounds[1]
  print(("  %-40s %6.2f %% of %.0f MB in %d s"):format("reaches the disk, acked 20 ms later",
    100 * paced.reached / paced.appended, paced.appended / 1e6, SECONDS * options.scale))
end

return log
