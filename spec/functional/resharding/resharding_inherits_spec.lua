-- What scripts have set for shards, and what they decide of identifies, holds for the new shards, too.

local resharding = require "spec.support.resharding"

local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { event_handler = { markers = true } }
gateway.on("TYPING_START", function(event)
  local what = event.data.user_id
  if what == "the bot" then
    gateway.manager:edit_bot_status { activities = { { name = what, type = 0 } } }
  elseif what:find "^shard" then
    gateway.manager:edit_shard_status(1, { activities = { { name = what, type = 0 } } })
  end
end)
]]

-- It passes on the id alone, as was right when there was one set of shards.
local OVERRIDE = [[
local request = gateway.default.manager.request_identify
function gateway.manager:request_identify(shard_id, total)
  gateway.log.info("slot of shard %d of %d", shard_id, total)
  return request(self, shard_id)
end
]]

local function await_presences(t, n)
  t.fake:wait_for(n .. " presences", function(state) return #state.commands >= n end, { only = "commands" })
end

local function name_of(presence)
  return presence.activities[1] and presence.activities[1].name
end

describe("the new shards", function()
  after_each(resharding.stop)

  it("have the presences of those that had their guilds, and what is set meanwhile", function()
    local t = resharding.start { shards = 2, per_worker = 1, workers = 2, rate = 50, script = SCRIPT }
    t:type "the bot"
    await_presences(t, 2)
    t:type "shard one"
    await_presences(t, 3)
    t:reshard(4)
    t:await_phase "matching"
    local seen = {}
    for _, identify in ipairs(t:list "identifies") do
      if identify.total == 4 then
        seen[identify.shard] = name_of(identify.presence)
      end
    end
    assert.same({ [0] = "the bot", "shard one", "the bot", "shard one" }, seen)
    t:type "shard one again" -- of both sets: shard 1 of 2, and shards 1 and 3 of 4
    await_presences(t, 6)
    t:await_over()
    t:assert_verdict { name = "2 to 4 with presences", identifies = { [2] = 2, [4] = 4 } }
  end)

  it("are meant where a script that knows of one set asks for a slot", function()
    local t = resharding.start {
      shards = 2, per_worker = 1, workers = 2, rate = 50, script = SCRIPT .. OVERRIDE,
    }
    t:reshard(4)
    t:await_over()
    for shard = 0, 3 do
      assert.equal(1, t.gateway:count_log(("slot of shard %d of 4"):format(shard)))
    end
    local limit = t.gateway:control("GET", "/gateway/bot"):json().session_start_limit
    assert.equal(limit.total - 2 - 4, limit.remaining) -- no slot was spent on an old shard
    t:assert_verdict { name = "2 to 4, slots by a script", identifies = { [2] = 2, [4] = 4 } }
  end)
end)
