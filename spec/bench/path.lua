-- CPU time of the worker for an event's way, at the speed of memory: the fake Discord writes a recording of
-- numbered MESSAGE_CREATE events of about 1.4 KB (370 bytes compressed) as fast as the worker takes it.
--
-- "receive" is all that happens to an event until it is in its lane: reading the socket, TLS, frames, inflate,
-- envelope, sequence, the cache of messages, filters (none), and the copy into the queue of an event handler
-- that takes requests and never answers, so that the queue grows by every event, in memory that is new.
-- "delivery" is the same and a POST for each event, one after the other in each lane, to an nginx that answers
-- 204, until all are accepted.
--
-- The ratio is to inflating the same bytes from memory with as many zlib streams (inflate_limit.c), in turns
-- with the measured bursts.

local lab = require "spec.bench.lab"

local path = {}

-- name, TLS, writes, aim for receive as a ratio
local WAYS = {
  { "plain", false, "event", 1.5 },
  { "TLS, a record an event", true, "event", 2.1 },
  { "TLS, bulk writes", true, "bulk" },
}
local CONNECTIONS = { 1, 100 }
local POST_AIM = 20 -- us on top

local RECEIVE_EVENTS, DELIVERY_EVENTS = 60000, 30000

local function judge(value, aim)
  return aim and ("%s <= %g"):format(value <= aim and "ok  " or "MISS", aim) or ""
end

local function each_cell(run)
  for _, connections in ipairs(CONNECTIONS) do
    for _, way in ipairs(WAYS) do
      run(connections, way, ("%d/%s"):format(connections, way[1]))
    end
  end
end

local function measure(options, connections, way, handler, burst)
  local set_up = lab.start { shards = connections, tls = way[2], handler = handler }
  local costs, limits = {}, {}
  burst.writes = way[3]
  set_up:burst(burst) -- warms caches, allocator, buffers
  for round = 1, options.rounds do
    costs[round] = set_up:burst(burst)
    limits[round] = set_up:inflate_limit()
  end
  set_up:stop()
  return lab.median(costs), lab.median(limits)
end

local HEAD = "  %4s  %-24s %9s %9s %7s  %s"
local ROW = "  %4d  %-24s %9.2f %9.2f %7.2f  %s"

function path.receive(options, results)
  print "Receive + inflate + envelope + filter + queue, CPU microseconds an event:"
  print(HEAD:format("conn", "", "inflate", "receive", "ratio", "aim (ratio)"))
  local handler = lab.silent_handler()
  results.receive = {}
  each_cell(function(connections, way, key)
    local cost, limit = measure(options, connections, way, handler, { events = RECEIVE_EVENTS * options.scale })
    results.receive[key] = cost
    print(ROW:format(connections, way[1], limit, cost, cost / limit, judge(cost / limit, way[4])))
  end)
  handler.stop()
end

-- What receiving costs is known when that section has run before.
function path.delivery(options, results)
  print "The same with delivery, one POST an event to an nginx answering 204, CPU microseconds an event:"
  print(HEAD:format("conn", "", "inflate", "delivery", "ratio", "on top of receiving; aim"))
  local handler = lab.nginx()
  each_cell(function(connections, way, key)
    local cost, limit = measure(options, connections, way, handler,
      { events = DELIVERY_EVENTS * options.scale, delivered = true })
    local receive = results.receive and results.receive[key]
    local on_top = receive and ("%5.2f  %s"):format(cost - receive, judge(cost - receive, POST_AIM)) or "?"
    print(ROW:format(connections, way[1], limit, cost, cost / limit, on_top))
  end)
  handler.stop()
end

return path
