-- What order = "guild" is for: a handler that takes its time. How many events a second one shard delivers to
-- one that answers in 20 ms, and how long events wait, on the way of latency.lua, when 5,000 a second of
-- eight shards go to one that answers in 1 ms. Each with both orders.

local lab = require "spec.bench.lab"
local latency = require "spec.bench.latency"
local loop = require "spec.support.loop"

local order = {}

local ORDERS = { "shard", "guild" }
local GUILDS = 200
local SLOW, AIM_SLOW = 20, 1500            -- ms; events a second
local QUICK, RATE, AIM_QUICK = 1, 5000, 20 -- ms; events a second; ms
local SECONDS = 8

local function start(shards, by, probe)
  local set_up = lab.start {
    shards = shards, guilds = GUILDS, order = by, tls = true, handler = probe, durability = "log",
  }
  set_up:wait_guilds()
  return set_up
end

-- Events a second that one shard delivers.
local function throughput(options, by)
  local probe = latency.start_probe(SLOW)
  local set_up = start(1, by, probe)
  set_up.fake:settings { rate = 2 * AIM_SLOW }
  lab.pause(1500)
  local before, began = set_up:counts().delivered, loop.now()
  lab.pause(SECONDS * 1000 * options.scale)
  local rate = (set_up:counts().delivered - before) * 1000 / (loop.now() - began)
  set_up:stop()
  latency.stop_probe(probe)
  return rate
end

local function wait(options, by)
  local probe = latency.start_probe(QUICK)
  local set_up = start(8, by, probe)
  set_up.fake:settings { rate = RATE, stamped = true }
  lab.pause(SECONDS * 1000 * options.scale)
  set_up.fake:settings { rate = 0 }
  set_up:drain()
  set_up:stop()
  return latency.stop_probe(probe)
end

function order.measure(options)
  print(("Order of events, %d guilds, TLS, event log on, one POST an event:"):format(GUILDS))
  for _, by in ipairs(ORDERS) do
    local rate = throughput(options, by)
    print(("  order = %-7s  1 shard, a handler that takes %d ms: %5.0f events/s   %s"):format(
      '"' .. by .. '"', SLOW, rate,
      by == "guild" and ("%s >= %d"):format(rate >= AIM_SLOW and "ok  " or "MISS", AIM_SLOW) or ""))
  end
  for _, by in ipairs(ORDERS) do
    local total, classes = wait(options, by)
    local p99 = latency.percentile(classes, total, 0.99)
    print(("  order = %-7s  8 shards, %d events/s, %d ms: p50 %.2f  p95 %.2f  p99 %.2f ms   %s"):format(
      '"' .. by .. '"', RATE, QUICK, latency.percentile(classes, total, 0.5),
      latency.percentile(classes, total, 0.95), p99,
      by == "guild" and ("%s p99 < %d"):format(p99 < AIM_QUICK and "ok  " or "MISS", AIM_QUICK) or ""))
  end
end

return order
