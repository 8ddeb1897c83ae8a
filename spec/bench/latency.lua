-- Added latency: from the moment in which the fake Discord makes an event to the first byte of its POST at
-- the event handler (latency_probe.c). So the figures have in them what the fake needs to compress, encrypt
-- and write it, and two ways through the kernel. The event log is on, the connections are TLS, and the
-- handler answers at once. An event whose shard waits for the answer to the one before waits with it.

local lab = require "spec.bench.lab"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local latency = {}

local SHARDS = 16
local SECONDS = 10
local AIM = 1 -- ms, of the 99th percentile
local BAR = 40 -- characters of the largest row
local FILTER = [[
gateway.filter("MESSAGE_CREATE", function(event) return event.data.author.bot ~= true end)
]]
local ROWS = {
  { rate = 1000 },
  { rate = 5000 },
  { rate = 1000, script = FILTER },
  { rate = 5000, script = FILTER },
}

-- ---- the probe ----

-- Answers after so many ms.
function latency.start_probe(ms)
  local probe = process.start { paths.bin "bench/latency_probe", tostring(ms or 0) }
  lab.wait_until("the probe's port", function() return probe.stdout:match "port %d+\n" end)
  probe.url = "http://127.0.0.1:" .. probe.stdout:match "port (%d+)"
  return probe
end

-- Returns how many events there were, and a list of { us, count }.
function latency.stop_probe(probe)
  probe:kill "SIGTERM"
  probe:wait()
  local classes = {}
  for us, count in probe.stdout:match("count.*"):gmatch "\n(%d+) (%d+)" do
    classes[#classes + 1] = { us = tonumber(us), count = tonumber(count) }
  end
  return tonumber(probe.stdout:match "count (%d+)"), classes
end

-- ---- figures ----

-- In ms: what that part of the events does not exceed.
function latency.percentile(classes, total, part)
  local sum = 0
  for _, class in ipairs(classes) do
    sum = sum + class.count
    if sum >= total * part then
      return class.us / 1000
    end
  end
end

-- One bar for each doubling.
local function draw(classes, total)
  local doublings, order, most = {}, {}, 0
  for _, class in ipairs(classes) do
    local upto = 2 ^ math.ceil(math.log(class.us) / math.log(2) - 0.01)
    if not doublings[upto] then
      order[#order + 1] = upto
    end
    doublings[upto] = (doublings[upto] or 0) + class.count
    most = math.max(most, doublings[upto])
  end
  for _, upto in ipairs(order) do
    local count = doublings[upto]
    print(("    <= %8.3f ms %6.2f %%  %s"):format(upto / 1000, 100 * count / total,
      ("#"):rep(math.ceil(BAR * count / most))))
  end
end

local function measure(options, row)
  local probe = latency.start_probe()
  local set_up = lab.start {
    shards = SHARDS, tls = true, handler = probe, durability = "log", script = row.script,
  }
  set_up:wait_guilds()
  set_up.fake:settings { rate = row.rate }
  lab.pause(1000)
  set_up.fake:settings { stamped = true }
  lab.pause(SECONDS * 1000 * options.scale)
  set_up.fake:settings { rate = 0 }
  set_up:drain()
  set_up:stop()
  return latency.stop_probe(probe)
end

function latency.measure(options)
  print(("Added latency in ms, %d shards, TLS, event log on, one POST an event:"):format(SHARDS))
  for _, row in ipairs(ROWS) do
    local total, classes = measure(options, row)
    local p50, p90 = latency.percentile(classes, total, 0.5), latency.percentile(classes, total, 0.9)
    local p99, most = latency.percentile(classes, total, 0.99), latency.percentile(classes, total, 1)
    print(("  %5d events/s%s:"):format(row.rate, row.script and ", a script's filter on each" or ""))
    print(("    p50 %.2f  p90 %.2f  p99 %.2f  most %.2f   %s p99 <= %g   (%d events)"):format(p50, p90, p99,
      most, p99 <= AIM and "ok  " or "MISS", AIM, total))
    draw(classes, total)
  end
end

return latency
