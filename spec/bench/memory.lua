-- Memory of the worker for each idle TLS shard (zlib-stream): what belongs to the process alone with 1,000
-- shards that are READY and have their guilds, less what it is with one, divided by 999. Kernel memory for
-- sockets is not in it.

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

function memory.measure()
  print(("Memory of an idle TLS shard, at %d shards:"):format(SHARDS))
  local alone = idle(1)
  local bytes = (idle(SHARDS) - alone) / (SHARDS - 1)
  print(("  %.1f KB a shard   %s <= %d   (a worker with one shard: %.1f MB)"):format(bytes / 1024,
    bytes / 1024 <= AIM and "ok  " or "MISS", AIM, alone / 1024 / 1024))
end

return memory
