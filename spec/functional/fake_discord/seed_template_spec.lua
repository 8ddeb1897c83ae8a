-- What a bot of discordeno's template sends to its gateway, answered by this one: no change is needed, and
-- the bot learns what became of it.

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

  it("sends payloads, and hears whether they were sent", function()
    assert.same({ 200, { sent = true } }, { post { type = "ShardPayload", shardId = 3,
      payload = { op = 8, d = { guild_id = "1", query = "", limit = 1, nonce = "n" } } } })
    local sent = commands(1)[1]
    assert.same({ 3, 8, "1", "n" }, { sent.shard, sent.op, sent.d.guild_id, sent.d.nonce })
    for _, case in ipairs {
      { { shardId = 9, payload = { op = 31, d = { guild_ids = { "1" } } } }, 404, "0 to 3" },
      { { shardId = 1, payload = { op = 2, d = { token = "x" } } }, 400, "by itself" },
      { { shardId = 1 }, 400, "payload" },
      { { shardId = "1", payload = { op = 31, d = { guild_ids = { "1" } } } }, 400, "shardId" },
    } do
      case[1].type = "ShardPayload"
      local status, body = post(case[1])
      assert.equal(case[2], status)
      assert.matches(case[3], body.error)
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
