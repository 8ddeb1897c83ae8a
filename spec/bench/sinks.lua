-- What sinks cost, in CPU time of the worker: a second one beside the bot, with an event log of its own, and
-- a Redis, which takes what a lane has collected (up to 64 events) in one transaction.
--
-- "second sink": both handlers take requests and do not answer meanwhile, so that all events of a burst are
-- in both logs at its end; on top of one with its log.
-- "Redis": on top of receiving the same events while the Redis stands still; and how many events a second one
-- worker and one Redis, on this machine, bring from the socket into streams.

local lab = require "spec.bench.lab"
local redis = require "spec.support.redis"

local sinks = {}

local SHARDS = 16
local EVENTS = 64000
local SECOND_AIM, REDIS_AIM, RATE_AIM = 1.0, 2.0, 50000
local BYTES = 64 * 1024 * 1024 * 1024
local SECOND = [[copy = { url = "%s", timeout = 3600000, queue = { memory_bytes = %d, disk_bytes = %d } }]]
local STREAMS = [[
  streams = { url = "%s", queue = { memory_bytes = %d, disk_bytes = %d }, max_length = 4000 }]]

local function judge(well, aim)
  return ("%s %s"):format(well and "ok  " or "MISS", aim)
end

-- CPU microseconds an event of taking it, with the handlers paused.
local function receive(options, handlers, text)
  local set_up = lab.start {
    shards = SHARDS, tls = true, handler = handlers[1], sinks = text, durability = "log",
  }
  local burst = { events = EVENTS * options.scale, writes = "bulk" }
  local values = {}
  for round = 0, options.rounds do -- 0 is to warm up, and not counted
    for _, handler in ipairs(handlers) do handler.pause() end
    values[round] = set_up:burst(burst)
    for _, handler in ipairs(handlers) do handler.go_on() end
    set_up:drain()
  end
  local limit = set_up:inflate_limit()
  set_up:stop()
  return lab.median(values), limit
end

local function measure_second(options)
  local first, second = lab.nginx(), lab.nginx()
  local alone, limit = receive(options, { first }, nil)
  local both = receive(options, { first, second }, SECOND:format(second.url, BYTES, BYTES))
  local row = "  %-34s %6.2f us, with a second sink %6.2f: %5.2f on top, ratio %5.2f   %s"
  print(row:format("the bot and its event log", alone, both, both - alone, (both - alone) / limit,
    judge(both - alone <= SECOND_AIM, "<= " .. SECOND_AIM)))
  first.stop()
  second.stop()
end

local function measure_redis(options)
  local server = redis.start { appendonly = true }
  local text = STREAMS:format(server:url {}, BYTES, BYTES)
  local set_up = lab.start { shards = SHARDS, tls = true, sinks = text, durability = "log" }
  local burst = { events = EVENTS * options.scale, writes = "bulk" }
  local whole = { events = burst.events, writes = "bulk", delivered = true }
  local received, delivered, rates = {}, {}, {}
  for round = 0, options.rounds do
    server:freeze()
    received[round] = set_up:burst(burst)
    server:thaw()
    set_up:drain()
    delivered[round], rates[round] = set_up:burst(whole)
  end
  local limit = set_up:inflate_limit()
  set_up:stop()
  local receiving, delivering, rate = lab.median(received), lab.median(delivered), lab.median(rates)
  local row = "  %-34s %6.2f us, with delivery    %6.2f: %5.2f on top, ratio %5.2f   %s"
  print(row:format("a Redis and its event log", receiving, delivering, delivering - receiving,
    (delivering - receiving) / limit, judge(delivering - receiving <= REDIS_AIM, "<= " .. REDIS_AIM)))
  print(("  %-34s %6.0f events a second   %s"):format("one worker, one Redis", rate,
    judge(rate >= RATE_AIM, ">= " .. RATE_AIM)))
end

function sinks.measure(options)
  print "Sinks, CPU microseconds of the worker an event of 1.4 KB (TLS, bulk writes, 16 shards):"
  measure_second(options)
  measure_redis(options)
end

return sinks
