-- CPU time of an event at the pace bots live at: 1,000 a second over 16 shards, where waking up and system
-- calls decide. Beside it what a plain C relay takes that does the same (paced_relay.c): each has a fake
-- Discord of its own and the same nginx, and they are measured in turns.
--
-- What counts is the CPU time of all their processes, so the manager's share is in it.

local fake_discord = require "spec.support.fake_discord"
local lab = require "spec.bench.lab"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local paced = {}

local SHARDS = 16
local RATE = 1000
local SECONDS = 5
local SETTLED = 300 -- ms after the last event, in which all is answered
local GUILDS, INTENTS = 64, 33281
local NO_HEARTBEATS = 86400000

local ROWS = {
  { name = "receive", aim = 1.2 },
  { name = "a POST each, event log on", posts = true, durability = "log", aim = 1.5 },
  { name = "a POST each, in memory", posts = true, durability = "memory" },
}

-- ---- the relay ----

local function start_relay(handler)
  local fake = fake_discord.start {
    shards = SHARDS, guilds = GUILDS, max_concurrency = SHARDS, identify_window = 0,
    heartbeat_interval = NO_HEARTBEATS,
  }
  local argv = { paths.bin "bench/paced_relay", fake.gateway:match ":(%d+)", fake.token, INTENTS, SHARDS }
  argv[#argv + 1] = handler and handler.url:match ":(%d+)"
  local relay = { fake = fake, process = process.start(argv), sent = 0 }
  relay.process:wait_for_output("ready", "stdout")
  function relay.pids() return { relay.process.pid } end
  return relay
end

-- Raises an error if not all events have gone through it.
local function stop_relay(relay, posts)
  relay.process:kill "SIGTERM"
  relay.process:wait()
  local events, answers = relay.process.stdout:match "events (%d+) answers (%d+)"
  if tonumber(events) ~= relay.sent or tonumber(answers) ~= (posts and relay.sent or 0) then
    error(("the relay is no measure: of %d events %s came, and %s were answered"):format(relay.sent,
      events or "?", answers or "?"))
  end
  relay.fake:stop()
end

-- ---- the gateway ----

local function start_gateway(row, handler)
  local set_up = lab.start { shards = SHARDS, handler = handler, durability = row.durability }
  set_up:wait_guilds()
  set_up:drain()
  function set_up.pids() return { set_up.gateway.pid, set_up.worker } end
  return set_up
end

-- ---- both ----

local function cpu(subject)
  local sum = 0
  for _, pid in ipairs(subject.pids()) do
    sum = sum + lab.cpu(pid)
  end
  return sum
end

-- CPU microseconds an event.
local function burst(subject, seconds)
  local before = cpu(subject)
  local each = math.ceil(RATE * seconds / SHARDS)
  local sent = lab.bulk(subject.fake, { events = each, writes = "event", rate = RATE }).events
  lab.wait_until("the last event to be sent", function()
    lab.pause(SETTLED)
    return subject.fake:bulk().connections == 0
  end)
  lab.pause(SETTLED)
  return (cpu(subject) - before) / sent, sent
end

-- Before a first burst a few events more come, which bring all shards to the same sequence.
local function check(before, after, sent, posts)
  local received, delivered = after.received - before.received, after.delivered - before.delivered
  if received < sent or (posts and delivered < sent) or after.dropped > before.dropped then
    error(("this is no measure: of %d events %d came, and %d were delivered"):format(sent, received,
      delivered))
  end
end

-- Returns two medians, of the gateway and of the relay.
local function measure(options, row, nginx)
  local handler = row.posts and nginx or nil
  local relay, set_up = start_relay(handler), start_gateway(row, handler)
  local values, limits = {}, {}
  for round = 0, 2 * options.rounds - 1 do -- 0 is to warm up, and not counted
    local sent
    local before = set_up:counts()
    values[round], sent = burst(set_up, SECONDS * options.scale)
    check(before, set_up:counts(), sent, row.posts)
    limits[round], sent = burst(relay, SECONDS * options.scale)
    relay.sent = relay.sent + sent
  end
  set_up:stop()
  stop_relay(relay, row.posts)
  return lab.median(values), lab.median(limits)
end

function paced.measure(options)
  print(("CPU microseconds an event, %d events/s, %d shards, plain, beside a C relay:"):format(RATE, SHARDS))
  print(("  %-27s %8s %8s %6s"):format("", "Tidegate", "limit", "ratio"))
  local nginx = lab.nginx()
  for _, row in ipairs(ROWS) do
    local value, limit = measure(options, row, nginx)
    local ratio = value / limit
    local verdict = row.aim and ("%s <= %g"):format(ratio <= row.aim and "ok  " or "MISS", row.aim) or ""
    print(("  %-27s %8.2f %8.2f %6.2f %s"):format(row.name, value, limit, ratio, verdict))
  end
  nginx.stop()
end

return paced
