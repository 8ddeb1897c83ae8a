-- Each shard shows its own presence: which shard it is, and for how many servers it works.
--
--   tidegate run examples/scripts/presence_per_shard.lua
--
-- Users see the presence of the shard that their server is on.

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds" },
  -- Where make_presence says nothing, this holds.
  presence = { status = "online", afk = false, activities = {} },
}

local WATCHING = 3 -- the type of an activity: Discord writes "Watching ..."

local function presence(shard, servers)
  local name = ("shard %d of %d"):format(shard.id + 1, shard.total_shards)
  if servers then
    name = ("%d servers, %s"):format(servers, name)
  end
  return { status = "online", activities = { { name = name, type = WATCHING } } }
end

-- Asked before each identify; the result goes out with it.
function gateway.shard:make_presence()
  return presence(self)
end

-- Once all servers of a shard have come, their number is known. Presences are kept by the gateway and sent
-- again when the shard has to identify anew.
gateway.on("guilds_loaded", function(shard, details)
  if not shard then
    return -- it has gone meanwhile
  end
  local ok, err = gateway.manager:edit_shard_status(shard.id, presence(shard, details.guilds))
  if not ok then
    gateway.log.warn("the presence was not changed: %s", err)
  end
end)
