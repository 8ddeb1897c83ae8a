-- What is asked of guilds while they go over from one shard to another is answered, whichever has them.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local resharding = require "spec.support.resharding"

after_each(resharding.stop)

describe("while a bot reshards", function()
  it("requests for members and payloads to guilds find the shard that has the guild", function()
    local t = resharding.start { shards = 4, per_worker = 2, workers = 2, rate = 100 }
    local guilds, asked, sent = t.fake:guilds(), 0, 0
    local function ask(guild, body)
      local response = t.gateway:control("POST", ("/guilds/%s/payload"):format(guild.id), { json = body })
      assert.equal(200, response.status, response.body)
      return cjson.decode(response.body)
    end
    t:reshard(8)
    t:await_reshard("the end, and answers meanwhile", function(status)
      local guild = t.random:one_of(guilds)
      local answer = ask(guild, { op = 8, join = true, d = { query = "", limit = 1 } })
      assert.is_table(answer.members)
      asked = asked + 1
      if asked % 4 == 0 then
        assert.is_true(ask(guild, { op = 31, d = { guild_ids = { guild.id } } }).sent)
        sent = sent + 1
      end
      t:pass(40 * paths.slow) -- each shard may send 115 commands a minute
      return not status.running and status.last
    end, 120000)
    assert(asked > 20 and sent > 5, asked .. " and " .. sent)
    t:assert_verdict { name = asked .. " member requests", identifies = { [4] = 4, [8] = 8 } }
  end)
end)
