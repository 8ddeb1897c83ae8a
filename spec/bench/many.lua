-- What many shards cost, from one to 5,000 in two workers: that each costs what the first ones do shows in
-- the columns that are for a shard. Plain connections, identifies as fast as they go.
--
-- "Cut off" breaks the connections of up to 1,000 of them at once, by a name that all of them look up.

local lab = require "spec.bench.lab"
local loop = require "spec.support.loop"
local name_lookups = require "spec.support.name_lookups"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local many = {}

local SIZES = { 1, 10, 100, 1000, 5000 }
local WORKERS = 2
local CUT, BACK_AIM = 1000, 10 -- shards, seconds
local BEATS_FOR = 10000 -- ms that heartbeats are watched; one comes each 41.25 s
local SPARE = 25000 -- ms after which memory that is spare has gone back
local BUCKETS = 1000 -- Discord's max_concurrency, at most: each could identify at once
local ASKED = 5 -- times
local QUICK = 100 -- shards, at most, with --quick

local COLUMNS = "  %6s %8s %9s %9s %9s %9s %9s %9s %9s"
local UNITS = { "s", "CPU ms", "KB", "CPU ms", "us", "ms", "ms", "ms" }

local function cpu(set_up)
  local sum = lab.cpu(set_up.gateway.pid)
  for _, pid in ipairs(set_up.workers) do
    sum = sum + lab.cpu(pid)
  end
  return sum
end

local function memory(set_up)
  local sum = lab.memory(set_up.gateway.pid)
  for _, pid in ipairs(set_up.workers) do
    sum = sum + lab.memory(pid)
  end
  return sum
end

-- All connect to a name, as they do in life; the fake has but its address.
local function give_name(fake)
  local url = "ws://localhost:" .. fake.gateway:match ":(%d+)"
  fake:settings { url = url, resume_url = url }
end

local function start(shards, lookups)
  return lab.start {
    shards = shards, workers = math.min(WORKERS, shards), guilds = shards,
    concurrency = math.min(shards, BUCKETS), prepare = give_name,
    env = lookups:env { MALLOC_TRIM_THRESHOLD_ = false },
  }
end

-- ---- measures ----

-- CPU milliseconds a second.
local function beats(set_up)
  local before, began = cpu(set_up), loop.now()
  lab.pause(BEATS_FOR)
  return (cpu(set_up) - before) / (loop.now() - began)
end

-- Milliseconds: the median by the clock, and CPU of the manager.
local function time_of(set_up, ask)
  local times, before = {}, lab.cpu(set_up.gateway.pid)
  for i = 1, ASKED do
    local began = loop.now()
    ask()
    times[i] = loop.now() - began
  end
  return lab.median(times), (lab.cpu(set_up.gateway.pid) - before) / ASKED / 1000
end

local function ask_metrics(set_up)
  assert(set_up.gateway:control("GET", "/metrics", { timeout = 60000 }))
end

local function ask_ctl(set_up)
  local env = { TIDEGATE_CONTROL = set_up.gateway:control_url():match "//(.*)" }
  local run = process.run({ paths.bin "tidegate", "ctl", "shards" }, { env = env, timeout = 60000 })
  assert(run.exit_code == 0, run.stderr)
end

-- Returns a line about it.
local function cut(set_up, lookups)
  local shards = {}
  for i = 1, math.min(CUT, set_up.shards) do
    shards[i] = i - 1
  end
  local before, names = set_up.fake:state("counters").counters, lookups:count()
  local used, began = cpu(set_up), loop.now()
  set_up.fake:fault { ["do"] = "rst", shards = shards }
  local after
  lab.wait_until("those that were cut off to be back", function()
    after = set_up.fake:state("counters").counters
    return after.resumes_ok + after.identifies_ok - before.resumes_ok - before.identifies_ok >= #shards
      and set_up.gateway:control("GET", "/status"):json().shards.states.Connected == set_up.shards
  end)
  local seconds = (loop.now() - began) / 1000
  return ("%5d cut off: all back in %.1f s %s, identifies %d, REST requests %d, look-ups %d, CPU %.0f ms"
    ):format(#shards, seconds, seconds <= BACK_AIM and "ok" or "MISS", after.identifies - before.identifies,
    after.rest_requests - before.rest_requests, lookups:count() - names, (cpu(set_up) - used) / 1000)
end

local function measure(shards)
  local lookups = name_lookups.new()
  local set_up = start(shards, lookups)
  local row = { shards = shards, workers = #set_up.workers, start = set_up.start_ms / 1000 }
  set_up:wait_guilds()
  row.start_cpu = cpu(set_up) / 1000
  lab.pause(SPARE)
  row.memory = memory(set_up)
  row.beats = beats(set_up)
  row.metrics, row.metrics_cpu = time_of(set_up, function() ask_metrics(set_up) end)
  row.ctl, row.ctl_cpu = time_of(set_up, function() ask_ctl(set_up) end)
  row.cut = cut(set_up, lookups)
  set_up:stop()
  return row
end

-- ---- the table ----

-- Memory is that of the shards that came on top of the row before.
local function show(row, before)
  local kilobytes = before and before.workers == row.workers
    and ("%.1f"):format((row.memory - before.memory) / (row.shards - before.shards) / 1024) or "-"
  print(COLUMNS:format(row.shards, ("%.2f"):format(row.start), ("%.2f"):format(row.start_cpu / row.shards),
    kilobytes, ("%.2f"):format(row.beats), ("%.1f"):format(row.beats * 1000 / row.shards),
    ("%.2f"):format(row.metrics), ("%.2f"):format(row.metrics_cpu), ("%.1f"):format(row.ctl)))
end

-- options.sizes: others than these.
function many.measure(options)
  print(("Many shards, in %d workers, plain, without an event handler:"):format(WORKERS))
  print(COLUMNS:format("shards", "start", "a shard", "a shard", "beats/s", "a shard", "/metrics", "manager's",
    "ctl"))
  print(COLUMNS:format("", unpack(UNITS)))
  local rows = {}
  for i, shards in ipairs(options.sizes or SIZES) do
    if shards <= QUICK or options.scale == 1 then
      rows[i] = measure(shards)
      show(rows[i], rows[i - 1])
    end
  end
  for _, row in ipairs(rows) do
    print("  " .. row.cut)
  end
end

return many
