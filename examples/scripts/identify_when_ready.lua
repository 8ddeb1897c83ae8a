-- Starts no new session before the bot says that it is ready for one.
--
--   READY_URL=http://127.0.0.1:8081/ready tidegate run examples/scripts/identify_when_ready.lua
--
-- Each identify makes Discord send all guilds of a shard at once. If the bot is still warming up, or its
-- database is busy, it is better to let the shards wait: they cost nothing while they do. Shards that only
-- RESUME do not come through here, and go on at once.

local gateway = require "tidegate"

local ready_url = os.getenv "READY_URL" or "http://127.0.0.1:8081/ready"
local PAUSE = 2000
local PATIENCE = 5 * 60 * 1000

gateway.configure {
  intents = { "guilds", "guild_messages" },
}

-- gateway.http waits for the answer, but only this function does: everything else goes on meanwhile. A call
-- that fails returns nil and what went wrong.
local function bot_is_ready()
  local response, err = gateway.http.get(ready_url, { timeout = 2000 })
  if not response then
    return false, tostring(err)
  end
  return response.status == 200, "it answered " .. response.status
end

-- Keep the function that was there before: it does the work.
local tell_worker_to_identify = gateway.manager.tell_worker_to_identify

-- The manager calls this for each shard that needs a session, bucket by bucket.
function gateway.manager:tell_worker_to_identify(worker_id, shard_id, bucket_id)
  local waited = 0
  while true do
    local ready, why = bot_is_ready()
    if ready then
      break
    end
    if waited >= PATIENCE then
      gateway.log.error("shard %d: the bot is not ready after %d s (%s); starting all the same",
        shard_id, waited / 1000, why)
      break
    end
    if waited == 0 then
      gateway.log.info("shard %d waits until the bot is ready: %s", shard_id, why)
    end
    gateway.sleep(PAUSE)
    waited = waited + PAUSE
  end
  return tell_worker_to_identify(self, worker_id, shard_id, bucket_id)
end
