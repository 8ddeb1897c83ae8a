-- Memory of the worker for each idle TLS shard (zlib-stream): what belongs to the process alone with 1,000
-- shards that are READY and have their guilds, less what it is with one, divided by 999. Kernel memory for
-- sockets is not in it. And what a backlog leaves behind in a worker, once it is delivered and some time has
-- passed.

local lab = require "spec.bench.lab"

local memory = {}

local SHARDS = 1000
local AIM = 80 -- KB

local function idle(shards)
  local set_up = lab.start { shards = shards, tls = true }
  set_up:wait_guilds()
  local bytes = lab.memory(set_up.worker)
  set_up:stop()
  return bytes
end

local BACKLOG = 36000 -- events, 52 MB
local SPARE = 25000 -- ms after which memory that is spare has gone back

local function measure_backlog()
  local nginx = lab.nginx()
  local set_up = lab.start { shards = 4, handler = nginx, env = { MALLOC_TRIM_THRESHOLD_ = false } }
  set_up:wait_guilds()
  set_up:drain()
  local before = lab.memory(set_up.worker)
  nginx.pause()
  set_up:burst { events = BACKLOG, writes = "bulk" }
  local full = lab.memory(set_up.worker)
  nginx.go_on()
  set_up:drain()
  local drained = lab.memory(set_up.worker)
  lab.pause(SPARE)
  local later = lab.memory(set_up.worker)
  print(("  a backlog of %d events: %.1f MB before, %.1f with it, %.1f when it is delivered, %.1f later"
    ):format(BACKLOG, before / 2 ^ 20, full / 2 ^ 20, drained / 2 ^ 20, later / 2 ^ 20))
  set_up:stop()
  nginx.stop()
end

function memory.measure(options)
  print(("Memory of an idle TLS shard, at %d shards:"):format(SHARDS))
  local alone = idle(1)
  local bytes = (idle(SHARDS) - alone) / (SHARDS - 1)
  print(("  %.1f KB a shard   %s <= %d   (a worker with one shard: %.1f MB)"):format(bytes / 1024,
    bytes / 1024 <= AIM and "ok  " or "MISS", AIM, alone / 1024 / 1024))
  if options.scale == 1 then
    measure_backlog()
  end
end

return memory
