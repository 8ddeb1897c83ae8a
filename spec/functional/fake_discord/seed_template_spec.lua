-- What a bot of discordeno's template sends to its gateway, answered by this one: no change is needed, and
-- the bot learns what became of it.

local cjson = require "cjson"
local scene = require "spec.support.scene"

describe("a bot of discordeno's template", function()
  local s

  after_each(scene.stop)

  before_each(function()
    s = scene.start { shards = 4, per_worker = 2, workers = 2, bot = false, fake = { max_concurrency = 4 },
      env = { TIDEGATE_CONTROL_SECRET = "the template's secret" } }
  end)

  local function post(body)
    local answer = s.gateway:control("POST", "/", { json = body })
    return answer.status, answer:json()
  end

  local function commands(n)
    return s.fake:wait_for(n .. " commands", function(state)
      return #state.commands >= n and state.commands
    end, { only = "commands" })
  end

  it("sends what is for a guild to the guild's shard, whatever shard it names", function()
    local guild = s.fake:guilds(2)[1].id
    for i, case in ipairs {
      { type = "ShardPayload", shardId = 0,
        payload = { op = 8, d = { guild_id = guild, query = "", limit = 1, nonce = "n" } } },
      { type = "ShardPayload", shardId = 2,
        payload = { op = 43, d = { guild_id = guild, fields = { "status" } } } },
      { type = "ShardPayload", shardId = 9,
        payload = { op = 4,
          d = { guild_id = guild, channel_id = guild, self_mute = false, self_deaf = true } } },
      { type = "ShardPayload", payload = { op = 31, d = { guild_ids = { guild } } } },
      { type = "SHARD_PAYLOAD", shardId = 0,
        data = { op = 8, d = { guild_id = guild, query = "", limit = 1 } } },
    } do
      assert.same({ 200, { sent = true } }, { post(case) })
      local sent = commands(i)[i]
      assert.same({ 2, (case.payload or case.data).op }, { sent.shard, sent.op })
    end
    assert.equal("n", commands(1)[1].d.nonce)
  end)

  it("splits the guilds of an op 31 by their shards", function()
    local one, other = s.fake:guilds(1)[1].id, s.fake:guilds(3)[1].id
    assert.same({ 200, { sent = true } }, { post { type = "ShardPayload", shardId = 0,
      payload = { op = 31, d = { guild_ids = { one, other } } } } })
    local of_shard = {}
    for _, sent in ipairs(commands(2)) do
      of_shard[sent.shard] = sent.d.guild_ids
    end
    assert.same({ [1] = { one }, [3] = { other } }, of_shard)
  end)

  it("sends to the shard that it names what is for no guild, and hears whether it was sent", function()
    local activity = { name = "tide", type = 3 }
    local presence = { since = cjson.null, afk = false, status = "idle", activities = { activity } }
    assert.same({ 200, { sent = true } }, { post { type = "ShardPayload", shardId = 3,
      payload = { op = 3, d = presence } } })
    assert.same({ 3, 3 }, { commands(1)[1].shard, commands(1)[1].op })
    for _, case in ipairs {
      { { shardId = 9, payload = { op = 3, d = presence } }, 404, "0 to 3" },
      { { shardId = 1, payload = { op = 2, d = { token = "x" } } }, 400, "by itself" },
      { { shardId = 1 }, 400, "payload" },
      { { shardId = "1", payload = { op = 3, d = presence } }, 400, "shardId" },
      { { payload = { op = 8, d = { guild_id = "x", query = "", limit = 0 } } }, 400, "guild_id" },
      { { shardId = 0, payload = { op = 8, d = { query = "", limit = 0 } } }, 400, "guild_id" },
      { { shardId = 0, payload = { op = 8, d = { guild_id = "1" } } }, 400, "query" },
      { { shardId = 0, payload = { op = 31, d = { guild_ids = { "x" } } } }, 400, "guild_ids" },
      { { shardId = 0, payload = { op = 31, d = {} } }, 400, "guild_ids" },
    } do
      case[1].type = "ShardPayload"
      local status, body = post(case[1])
      assert.equal(case[2], status)
      assert.matches(case[3], body.error)
    end
  end)

  it("asks for members as the guide's does, by guild and options", function()
    local guild = s.fake:guilds(3)[1].id
    for i, case in ipairs {
      { nil, { query = "", limit = 0 } },
      { { limit = 5, query = "sai" }, { query = "sai", limit = 5 } },
      { { limit = 1 }, { query = "", limit = 1 } },
      { { userIds = { "140000000000" }, presences = false, nonce = "abc", query = cjson.null },
        { user_ids = { "140000000000" }, presences = false, nonce = "abc" } },
    } do
      local body = { type = "REQUEST_MEMBERS", guildId = guild, options = case[1] }
      assert.same({ 200, { sent = true } }, { post(body) })
      local sent = commands(i)[i]
      case[2].guild_id = guild
      assert.same({ 3, 8, case[2] }, { sent.shard, sent.op, sent.d })
    end
    for _, case in ipairs {
      { {}, "guildId" },
      { { guildId = 5 }, "guildId" },
      { { guildId = guild, options = "all" }, "options" },
      { { guildId = guild, options = { usrIds = { "1" } } }, "did you mean \"userIds\"" },
      { { guildId = guild, options = { nonce = ("n"):rep(33) } }, "32 bytes" },
    } do
      case[1].type = "REQUEST_MEMBERS"
      local status, body = post(case[1])
      assert.equal(400, status)
      assert.matches(case[2], body.error)
    end
  end)

  it("hears when the guild's shard is another host's", function()
    s.gateway:stop()
    local other = s:again { ready = false, env = { LAST_SHARD_ID = 1 } }
    other:wait_ready(2)
    local answer = other:control("POST", "/", { json = { type = "ShardPayload", shardId = 0,
      payload = { op = 8, d = { guild_id = s.fake:guilds(3)[1].id, query = "", limit = 0 } } } })
    assert.equal(404, answer.status)
    assert.matches("on shard 3, which this gateway does not run: it has 0 to 1", answer:json().error)
    assert.same({}, s:list "commands")
  end)

  it("gets all shards with discordeno's numbers for their states", function()
    local status, list = post { type = "GET_SHARD_INFO" }
    assert.equal(200, status)
    assert.equal(4, #list)
    for i, shard in ipairs(list) do
      assert.same({ i - 1, i > 2 and 1 or 0, 0, "number" },
        { shard.shardId, shard.workerId, shard.state, type(shard.rtt) })
    end
  end)

  it("edits the presence of all shards, which is kept", function()
    assert.same({ 200, { sent = true } }, { post { type = "EditShardsPresence",
      payload = { status = "dnd", activities = { { name = "tide", type = 3 } } } } })
    for _, command in ipairs(commands(4)) do
      assert.same({ 3, "dnd", "tide" }, { command.op, command.d.status, command.d.activities[1].name })
    end
    local status, body = post { type = "EditShardsPresence", payload = { status = "asleep" } }
    assert.equal(400, status)
    assert.matches("status", body.error)
    assert.equal(400, (post { type = "EditShardsPresence" }))
    s.fake:fault { ["do"] = "invalid_session", resumable = false, shard = 2 }
    local identify = s.fake:wait_for("the identify", function(state)
      return #state.identifies == 5 and state.identifies[5]
    end, { only = "identifies", timeout = 20000 })
    assert.equal("dnd", identify.presence.status)
  end)

  it("asks for the shard of a guild", function()
    local guild = s.fake:guilds(2)[1].id
    local status, body = post { type = "ShardInfoFromGuild", guildId = guild }
    assert.same({ 200, 2, "number" }, { status, body.shardId, type(body.rtt) })
    status, body = post { type = "ShardInfoFromGuild" }
    assert.same({ 200, 0 }, { status, body.shardId })
    status, body = post { type = "ShardInfoFromGuild", guildId = "guild" }
    assert.equal(400, status)
    assert.matches("guild_id", body.error)
  end)

  it("hears of types that there are not, and of a wrong secret", function()
    local status, body = post { type = "ShardPaylod" }
    assert.equal(400, status)
    assert.matches("did you mean ShardPayload%?", body.error)
    assert.equal(400, (post {}))
    local info = { type = "ShardInfoFromGuild" }
    local answer = s.gateway:control("POST", "/", { json = info, secret = "wrong" })
    assert.equal(401, answer.status)
    assert.is_number(s.gateway:control("GET", "/timecheck"):json().message)
  end)
end)
