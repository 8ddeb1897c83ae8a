-- What going over to another number of shards costs while events flow: time, the longest pause that a guild
-- sees, CPU. The waits are those of real life, so it takes some minutes.

local checker = require "spec.support.checker"
local gateway = require "spec.support.gateway"
local lab = require "spec.bench.lab"
local loop = require "spec.support.loop"
local resharding = require "spec.support.resharding"

local reshard = {}

local RATE = 2000 -- events a second
local SAMPLE = 8000 -- ms

local function cpu_of(pids)
  local sum = 0
  for _, pid in ipairs(pids) do
    sum = sum + lab.cpu(pid)
  end
  return sum
end

-- Microseconds of these processes an event that Discord has sent meanwhile, to a bot or to its copy.
local function measure(t, pids)
  local function sent()
    return t.fake:sent().events
  end
  local events, cpu = sent(), cpu_of(pids)
  t:pass(SAMPLE)
  return (cpu_of(pids) - cpu) / (sent() - events)
end

-- The same events, received by another gateway that has nowhere to send them.
local function receive_alone(t, shards)
  local other = gateway.start {
    fake = t.fake, shards = shards, shards_per_worker = shards / 2, workers = 2, spawn_shard_delay = 0,
    log_level = "info", intents = resharding.INTENTS,
  }
  other:wait_ready(shards, 120000)
  t:pass(2000)
  local us = measure(t, other:worker_pids())
  other:stop "SIGKILL"
  return us
end

local function count_by_time(events, from, to)
  local chosen = {}
  for _, event in ipairs(events) do
    if event.at >= from and event.at < to then
      chosen[#chosen + 1] = event
    end
  end
  return chosen
end

local function longest_pause(events, from, to)
  local pause = checker.compare(count_by_time(events, from, to), {}).longest_pause
  return pause and pause.ms or 0
end

local function one(from, to)
  local t = resharding.start {
    shards = from, per_worker = from / 2, workers = 2, rate = RATE, hurry = 1,
    fake = { identify_window = 0, total = 100000, remaining = 100000 },
  }
  t:pass(5000)
  local pids = t.gateway:worker_pids()
  local receive, before = receive_alone(t, from), measure(t, pids)
  local began = loop.now()
  t:reshard(to)
  t:await_phase("matching", 300000)
  local up = loop.now() - began
  local during = measure(t, pids)
  t:await_phase("settling", 300000)
  local switched = loop.now() - began
  t:await_over("done", 600000)
  local over = loop.now()
  local after = measure(t, pids)
  print(("%2d to %2d shards, %d events/s"):format(from, to, RATE))
  print(("   all new ones are up after %.0f s, all guilds over after %.0f, it is over after %.0f"):format(
    up / 1000, switched / 1000, (over - began) / 1000))
  print(("   longest pause of a guild: before %d ms, meanwhile %d (aim: 1000 more)"):format(
    longest_pause(t.bot.events, 0, began), longest_pause(t.bot.events, began, over)))
  print(("   us an event: before %.1f, meanwhile %.1f, after %.1f"):format(before, during, after))
  print(("   receiving alone %.1f: meanwhile %.2f times that on top (aim 1.3)"):format(
    receive, (during - before) / receive))
  t:assert_verdict { name = ("%d to %d"):format(from, to), timeout = 300000, repeated = true }
  resharding.stop()
end

function reshard.measure(options)
  print "Resharding"
  one(4, 8)
  if options.scale == 1 then
    one(16, 32)
  end
end

return reshard
