-- A real gateway with one worker in front of a fake Discord, and instruments at it.
--
--   local set_up = lab.start { shards = 100, tls = true, handler = lab.nginx() }
--   local us = set_up:burst { events = 60000, writes = "event" }     CPU of the worker an event
--   local limit = set_up:inflate_limit()                             of the bytes of the last burst
--   set_up:stop()
--
-- CPU time is what the kernel's scheduler has counted for all threads of the worker, in nanoseconds, user and
-- system together; it is read while the worker has nothing to do.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local nginx = require "spec.support.nginx"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local lab = {}

local SetUp = {}
SetUp.__index = SetUp

local LOOK_EVERY = 20 -- ms
local PATIENCE = 60000
local GUILDS_A_SHARD = 4
local INTENTS = 33281 -- guilds, guild messages, message content

-- ---- numbers ----

function lab.median(values)
  table.sort(values)
  local middle = (#values + 1) / 2
  return (values[math.floor(middle)] + values[math.ceil(middle)]) / 2
end

-- Microseconds.
function lab.cpu(pid)
  local sum = 0
  local tasks = ("/proc/%d/task"):format(pid)
  local scan = assert(uv.fs_scandir(tasks))
  for name in function() return (uv.fs_scandir_next(scan)) end do
    local text = assert(paths.read(("%s/%s/schedstat"):format(tasks, name)))
    sum = sum + tonumber(text:match "^%d+")
  end
  return sum / 1000
end

-- Bytes of the process that no other process uses as well.
function lab.memory(pid)
  local kilobytes = 0
  for line in paths.read(("/proc/%d/smaps_rollup"):format(pid)):gmatch "[^\n]+" do
    kilobytes = kilobytes + tonumber(line:match "^Private_%a+: *(%d+) kB" or 0)
  end
  return kilobytes * 1024
end

function lab.pause(ms)
  local over = loop.now() + ms
  loop.wait_for("a moment to pass", function() return loop.now() >= over end, ms + PATIENCE)
end

-- Looks until predicate() is true.
function lab.wait_until(description, predicate)
  local deadline = loop.now() + PATIENCE
  while not predicate() do
    if loop.now() > deadline then
      error("waited in vain for " .. (type(description) == "function" and description() or description), 2)
    end
    lab.pause(LOOK_EVERY)
  end
end

-- ---- the event handler ----

-- An nginx of our own that answers 204 to everything. Paused, it takes connections and requests, since the
-- kernel does, and answers when it goes on.
function lab.nginx()
  local port = nginx.free_port()
  local server = nginx.start(port, [[
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    location / { return 204; }]])
  local handler = { url = ("http://127.0.0.1:%d"):format(port) }
  lab.wait_until(function() return "nginx; it said: " .. server.stderr end, function()
    local answer = http.request("GET", handler.url .. "/")
    return answer and answer.status == 204
  end)
  function handler.pause() server:kill "SIGSTOP" end
  function handler.go_on() server:kill "SIGCONT" end
  function handler.stop()
    server:kill "SIGTERM"
    server:wait()
  end
  return handler
end

-- ---- set-ups ----

-- options: shards, workers (default one), guilds (default four a shard), concurrency (of identifies, default
-- up to 64), tls, zstd (true: for transport compression), handler (of those above; without it events only
-- reach Lua), batch (true: as lists), order ("guild"), sinks (Lua text of the table), durability, script (Lua
-- text), env (for the gateway; false takes a variable away), prepare (called with the fake).
function lab.start(options)
  local workers = options.workers or 1
  local fake = fake_discord.start {
    tls = options.tls,
    shards = options.shards,
    guilds = options.guilds or options.shards * GUILDS_A_SHARD,
    max_concurrency = options.concurrency or math.min(options.shards, 64),
    identify_window = 0,
    total = 1000000,
    remaining = 1000000,
  }
  if options.prepare then
    options.prepare(fake)
  end
  -- What a burst has queued is used again for the next one, as it is when events come and go one by one;
  -- otherwise malloc gives it back, and the kernel's clearing of new pages would be a quarter of the figures.
  local env = { MALLOC_TRIM_THRESHOLD_ = 2000000000 }
  env.TRANSPORT_COMPRESSION = options.zstd and "zstd-stream"
  for name, value in pairs(options.env or {}) do
    env[name] = value
  end
  local configure = [[
local gateway = require "tidegate"
gateway.configure {
  event_handler = { timeout = 3600000, batch = %s, order = "%s" },
  queue = { memory_bytes = 64 * 1024 * 1024 * 1024, disk_bytes = 64 * 1024 * 1024 * 1024, durability = "%s" },
  sinks = { %s },
}
]]
  local self = setmetatable({
    fake = fake, shards = options.shards, guilds = options.guilds, zstd = options.zstd,
  }, SetUp)
  local durability = options.durability or lab.durability
  self.head = configure:format(options.batch or false, options.order or "shard", durability,
    options.sinks or "")
  self.gateway = gateway.start {
    fake = fake,
    bot = options.handler and { url = options.handler.url, authorization = "bench-secret" },
    script = self.head .. (options.script or ""),
    shards = options.shards,
    shards_per_worker = math.ceil(options.shards / workers),
    workers = workers,
    spawn_shard_delay = 0,
    intents = INTENTS,
    log_level = "info",
    env = env,
  }
  local began = loop.now()
  self.gateway:wait_ready(options.shards, PATIENCE)
  self.start_ms = loop.now() - began
  self.workers = self.gateway:worker_pids()
  self.worker = self.workers[1]
  return self
end

lab.durability = "memory"

function SetUp:stop()
  self.gateway:stop "SIGKILL" -- there is nothing to be kept, and gigabytes may be queued
  self.fake.process:kill "SIGKILL"
  self.fake.process:wait()
end

-- Puts another script in place of the one that runs; the sessions stay.
function SetUp:reload(script)
  paths.write(self.gateway.script, self.head .. script)
  local ok, line = self.gateway:reload()
  if not ok then
    error("the script cannot be loaded: " .. line, 2)
  end
end

function SetUp:counts()
  local counts = {}
  local program = paths.bin "bench/shard_counts"
  local run = process.run { program, self.gateway.state_dir, self.fake.token, INTENTS, self.shards }
  for name, value in run.stdout:gmatch "(%a+)=(%d+)" do
    counts[name] = tonumber(value)
  end
  return assert(counts.received and counts, run.stderr)
end

-- Has the fake send what is asked for (src/fake_discord/emit/bulk.h), as soon as it can.
function lab.bulk(fake, request)
  local answer
  lab.wait_until("the connections to be ready for a burst", function()
    local options = { json = request, timeout = PATIENCE }
    local response = assert(http.request("POST", fake.admin .. "/bulk", options))
    answer = cjson.decode(response.body)
    if response.status ~= 200 and response.status ~= 409 then
      error("the fake Discord refuses a burst: " .. answer.error)
    end
    return response.status == 200
  end)
  return answer
end

-- Waits until the worker has received `wanted` events and stands still. Returns what it has counted.
local function settle(self, wanted, queued)
  local last
  lab.wait_until(function() return "the worker, which has come to " .. cjson.encode(last) end, function()
    local now = self:counts()
    local quiet = last and last.received == now.received and last.delivered == now.delivered
    last = now
    return quiet and now.received >= wanted and (not queued or now.queued <= queued)
  end)
  return last
end

-- Waits until all shards have had READY and a GUILD_CREATE for each guild.
function SetUp:wait_guilds()
  settle(self, self.shards + (self.guilds or self.shards * GUILDS_A_SHARD))
end

-- Waits until the handler has accepted everything.
function SetUp:drain()
  return settle(self, 0, 0)
end

-- Sends events, as fast as they are taken, and waits until the worker is done with them.
-- options: events (over all shards), writes ("event": each is a write and TLS record of its own, "bulk": up
-- to 16 KiB in one), rate (so many a second, over all shards), delivered (until the handler has accepted them
-- all). Returns CPU microseconds an event,
-- and events a second by the clock.
function SetUp:burst(options)
  local before = self:counts()
  local each = math.max(1, math.floor(options.events / self.shards))
  local cpu = lab.cpu(self.worker)
  local began = loop.now()
  local sent = lab.bulk(self.fake, { events = each, writes = options.writes, rate = options.rate }).events
  local after = settle(self, before.received + sent, options.delivered and 0)
  cpu = lab.cpu(self.worker) - cpu
  local seconds = (loop.now() - began) / 1000
  for _, loss in ipairs { "dropped", "retried", "gaps" } do
    if after[loss] > before[loss] then
      error(("this burst is no measure: %d events %s"):format(after[loss] - before[loss], loss))
    end
  end
  local events = after.received - before.received
  return cpu / events, events / seconds
end

-- CPU microseconds an event of inflating the bytes of the last burst, by as many streams.
function SetUp:inflate_limit()
  if not self.recording then
    local response = assert(http.request("GET", self.fake.admin .. "/bulk/recording", { timeout = PATIENCE }))
    self.recording = paths.write(paths.tmp() .. "/recording", response.body)
  end
  local argv = { paths.bin "bench/inflate_limit", self.recording, self.shards, self.zstd and "zstd" }
  local run = process.run(argv, { timeout = PATIENCE })
  return assert(tonumber(run.stdout), run.stderr)
end

return lab
