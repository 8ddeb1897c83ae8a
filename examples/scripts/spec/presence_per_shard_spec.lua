local test = require "tidegate.test"

describe("presence_per_shard.lua", function()
  local kit

  before_each(function()
    kit = test.load("examples/scripts/presence_per_shard.lua", { shards = 4 })
  end)

  it("names the shard when it identifies", function()
    local presence = kit:shard(2):make_presence()
    assert.same({ { name = "shard 3 of 4", type = 3 } }, presence.activities)
    assert.equal("online", presence.status)
  end)

  local function load_guilds(shard, ids)
    local guilds = {}
    for i, id in ipairs(ids) do
      guilds[i] = { id = id, unavailable = true }
    end
    kit:event("READY", { guilds = guilds }, { shard = shard })
    for _, id in ipairs(ids) do
      kit:event("GUILD_CREATE", { id = id }, { shard = shard })
    end
  end

  it("tells the number of servers once they have come", function()
    load_guilds(1, { "100", "200", "300" })
    local calls = kit:calls "manager:edit_shard_status"
    assert.equal(1, #calls)
    assert.equal(1, calls[1].args[1])
    assert.equal("3 servers, shard 2 of 4", calls[1].args[2].activities[1].name)
  end)

  it("goes on when the presence cannot be changed", function()
    kit:answer("manager:edit_shard_status", nil, { code = "timeout", message = "it was not sent in time" })
    load_guilds(0, { "100" })
    assert.equal("the presence was not changed: it was not sent in time", kit:log("warn")[1].text)
  end)
end)
