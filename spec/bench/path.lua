-- CPU time of the worker for an event's way, at the speed of memory: the fake Discord writes a recording of
-- numbered MESSAGE_CREATE events of about 1.4 KB (240 bytes compressed) as fast as the worker takes it.
--
-- "receive" is all that happens to an event until it is in its lane: reading the socket, TLS, frames,
-- inflate, envelope, sequence, the cache of messages, filters (there are none), and the copy into the queue.
-- The event handler takes requests and does not answer meanwhile, so that all events of a burst are in the
-- queue at its end.
-- "delivery" is the same and a POST for each event, one after the other in each lane, to an nginx that
-- answers 204, until all are accepted; or, in batches, a POST for what has collected in a lane (up to 64).
--
-- "2,000 a second" is the pace of a bot with a million members or so: each event comes alone, and most of the
-- time goes into waking up.
--
-- The ratio is to inflating the same bytes from memory with as many streams (inflate_limit.c), in turns
-- with the measured bursts.

local lab = require "spec.bench.lab"

local path = {}

-- aim: for receive, as a ratio; on_top: for delivery, in us
local WAYS = {
  { name = "plain", writes = "event", aim = 1.5, on_top = 20 },
  { name = "plain, batches", writes = "event", batch = true, on_top = 1.5 },
  { name = "plain, zstd-stream", zstd = true, writes = "event", aim = 1.3, on_top = 20 },
  { name = "TLS, a record an event", tls = true, writes = "event", aim = 2.1, on_top = 20 },
  { name = "TLS, bulk writes", tls = true, writes = "bulk", on_top = 20 },
  { name = "TLS, 2,000 a second", tls = true, writes = "event", rate = 2000, connections = 100 },
}
local CONNECTIONS = { 1, 100 }
local SECONDS = 5 -- of a burst that has a pace
local EVENTS = { [1] = 30000, [100] = 64000 } -- a burst, over all connections

local function judge(value, aim)
  return aim and ("%s <= %g"):format(value <= aim and "ok  " or "MISS", aim) or ""
end

-- Returns CPU microseconds an event: of inflate alone, of receiving, of all with delivery.
local function measure(options, connections, way, handler)
  local set_up = lab.start {
    shards = connections, tls = way.tls, zstd = way.zstd, handler = handler, batch = way.batch,
  }
  local events = (way.rate and way.rate * SECONDS or EVENTS[connections]) * options.scale
  local burst = { events = events, writes = way.writes, rate = way.rate }
  local whole = { events = burst.events, writes = way.writes, delivered = true }
  local limits, receive, delivery = {}, {}, {}
  for round = 0, options.rounds do -- 0 is to warm up, and not counted
    handler.pause()
    receive[round] = set_up:burst(burst)
    handler.go_on()
    set_up:drain()
    if options.delivery and not way.rate then
      delivery[round] = set_up:burst(whole)
    end
    limits[round] = set_up:inflate_limit()
  end
  set_up:stop()
  return lab.median(limits), lab.median(receive), #delivery > 0 and lab.median(delivery)
end

local function ways_of(connections)
  local ways = {}
  for _, way in ipairs(WAYS) do
    if not way.connections or way.connections == connections then
      ways[#ways + 1] = way
    end
  end
  return ways
end

local HEAD = "  %4s  %-23s %8s %8s %6s %-12s %9s %6s %7s"
local ROW = "  %4d  %-23s %8.2f %8.2f %6.2f %-12s"
local MORE = " %9.2f %6.2f %7.2f %s"

-- options.delivery: with the columns of delivery.
function path.measure(options)
  print "CPU microseconds an event (receive: read, TLS, frames, inflate, envelope, caches, filters, queue):"
  print(HEAD:format("conn", "", "inflate", "receive", "ratio", "aim", "delivery", "ratio", "on top"))
  local handler = lab.nginx()
  for _, connections in ipairs(CONNECTIONS) do
    for _, way in ipairs(ways_of(connections)) do
      local limit, receive, delivery = measure(options, connections, way, handler)
      local ratio = receive / limit
      io.write(ROW:format(connections, way.name, limit, receive, ratio, judge(ratio, way.aim)))
      if delivery then
        local on_top = delivery - receive
        io.write(MORE:format(delivery, delivery / limit, on_top, judge(on_top, way.on_top)))
      end
      print()
    end
  end
  handler.stop()
end

return path
