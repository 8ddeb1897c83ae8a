local test = require "tidegate.test"

local URL, BOT, GUILD = "http://bot.example/voice", "99", "1001"

local function start(config)
  local kit = test.plugin("voice", config or { url = URL }, { shards = 2 })
  kit:answer_http("/users/@me", { json = { id = BOT } })
  kit:answer_http("POST " .. URL, { status = 204 })
  kit:answer("manager:join_voice_channel", true)
  return kit
end

local function state(kit, fields)
  local data = { guild_id = GUILD, user_id = BOT, channel_id = "7", session_id = "s1", self_mute = false,
                 self_deaf = true }
  for name, value in pairs(fields or {}) do data[name] = value end
  return kit:event("VOICE_STATE_UPDATE", data)
end

local function server(kit, fields)
  local data = { guild_id = GUILD, token = "t1", endpoint = "e1:443" }
  for name, value in pairs(fields or {}) do data[name] = value end
  return kit:event("VOICE_SERVER_UPDATE", data)
end

local function posted(kit)
  kit:advance(1)
  local list = {}
  for i, request in ipairs(kit:requests(URL)) do list[i] = request.json end
  return list
end

local FULL = { token = "t1", endpoint = "e1:443", sessionId = "s1", channelId = "7" }

describe("voice", function()
  it("joins the two, whichever comes first", function()
    for _, order in ipairs { { state, server }, { server, state } } do
      local kit = start()
      order[1](kit)
      assert.same({}, posted(kit))
      order[2](kit)
      assert.same({ { guildId = GUILD, userId = BOT, shardId = 0, voice = FULL } }, posted(kit))
    end
  end)

  it("tells again when something of it changes, and only then", function()
    local kit = start()
    state(kit)
    server(kit)
    posted(kit)
    state(kit, { self_mute = true })
    assert.equal(1, #posted(kit))
    server(kit, { token = "t2", endpoint = "e2:443" })
    assert.equal("t2", posted(kit)[2].voice.token)
    state(kit, { channel_id = "8" })
    assert.equal("8", posted(kit)[3].voice.channelId)
  end)

  it("keeps guilds apart, and other people out", function()
    local kit = start()
    state(kit)
    server(kit, { guild_id = "1002" })
    state(kit, { guild_id = "1002", user_id = "98" })
    assert.same({}, posted(kit))
    state(kit, { guild_id = "1002", session_id = "s2" })
    assert.equal("1002", posted(kit)[1].guildId)
  end)

  it("waits for the next server when one is gone", function()
    local kit = start()
    state(kit)
    server(kit, { endpoint = test.null })
    assert.same({}, posted(kit))
    server(kit)
    assert.equal(1, #posted(kit))
  end)

  it("tells that the bot has left, or is no longer in the guild", function()
    for _, leave in ipairs {
      function(kit) state(kit, { channel_id = test.null }) end,
      function(kit) kit:event("GUILD_DELETE", { id = GUILD }) end,
    } do
      local kit = start()
      state(kit)
      server(kit)
      posted(kit)
      leave(kit)
      local last = posted(kit)[2]
      assert.equal(GUILD, last.guildId)
      assert.equal(test.null, last.voice)
    end
  end)

  it("goes on through an outage of the guild", function()
    local kit = start()
    state(kit)
    kit:event("GUILD_DELETE", { id = GUILD, unavailable = true })
    server(kit)
    assert.equal(1, #posted(kit))
  end)

  it("gives the bot the second of the two with all of it in `voice`", function()
    local kit = start { event = true }
    assert.equal("passed", state(kit).outcome)
    local result = server(kit)
    assert.equal("replaced", result.outcome)
    assert.same(FULL, result.body.message.d.voice)
    assert.equal("t1", result.body.message.d.token)
    assert.equal("passed", state(kit, { user_id = "98" }).outcome)
    assert.same({}, posted(kit))
  end)

  it("knows its own states also before it knows who the bot is", function()
    local kit = test.plugin("voice", { url = URL })
    kit:answer_http("POST " .. URL, { status = 204 })
    state(kit, { user_id = "98", guild_id = "1002" })
    state(kit)
    server(kit)
    assert.same({}, posted(kit))
    kit:answer_http("/users/@me", { json = { id = BOT } })
    assert.equal(1, #posted(kit))
    assert.equal(BOT, posted(kit)[1].userId)
  end)

  it("learns from READY who the bot is", function()
    local kit = test.plugin("voice", { url = URL })
    kit:answer_http("POST " .. URL, { status = 204 })
    kit:event("READY", { user = { id = BOT }, guilds = {} })
    state(kit)
    server(kit)
    assert.equal(1, #posted(kit))
  end)

  it("tries the newest of a guild again until it is taken", function()
    local kit = start()
    kit:answer_http("POST " .. URL, { status = 503 })
    state(kit)
    server(kit)
    kit:advance(1000)
    server(kit, { token = "t2" })
    kit:answer_http("POST " .. URL, { status = 204 })
    kit:advance(10000)
    local list = posted(kit)
    assert.equal("t2", list[#list].voice.token)
    kit:advance(600000)
    assert.equal(#list, #posted(kit))
  end)

  it("gives up in the end, and does not insist where it is refused", function()
    local kit = start { url = URL, give_up = 5000 }
    kit:answer_http("POST " .. URL, { status = 503 })
    state(kit)
    server(kit)
    kit:advance(60000)
    local count = #posted(kit)
    assert.is_true(count >= 3 and count < 10)
    assert.matches("guild 1001: the message was not taken", kit:log("error")[1].text)
    kit:answer_http("POST " .. URL, { status = 404 })
    server(kit, { token = "t2" })
    kit:advance(60000)
    assert.equal(count + 1, #posted(kit))
  end)
end)

describe("voice after a new session", function()
  local function ready(kit)
    kit:event("READY", { user = { id = BOT }, guilds = { { id = GUILD, unavailable = true } } })
  end

  local function joins(kit) return kit:calls "manager:join_voice_channel" end

  local function joined()
    local kit = start()
    state(kit)
    server(kit)
    posted(kit)
    return kit
  end

  it("goes back to the channel when the guild has come", function()
    local kit = joined()
    ready(kit)
    kit:event("GUILD_CREATE", { id = GUILD })
    kit:event("GUILD_CREATE", { id = GUILD })
    assert.equal(1, #joins(kit))
    assert.same({ GUILD, "7", { self_mute = false, self_deaf = true } }, joins(kit)[1].args)
    state(kit, { session_id = "s2" })
    assert.equal(1, #posted(kit))
    server(kit, { token = "t2" })
    assert.equal("s2", posted(kit)[2].voice.sessionId)
  end)

  it("does not take the end of the old session for its own leave", function()
    local kit = joined()
    ready(kit)
    state(kit, { channel_id = test.null, session_id = "s1" })
    kit:event("GUILD_CREATE", { id = GUILD })
    assert.equal(1, #joins(kit))
    assert.equal(1, #posted(kit))
    state(kit, { session_id = "s2" })
    state(kit, { channel_id = test.null, session_id = "s2" })
    assert.equal(test.null, posted(kit)[2].voice)
  end)

  it("tries where the guild has not come, too", function()
    local kit = joined()
    ready(kit)
    kit:fire("guilds_loaded", { shard_id = 0, guilds = 1, missing = 1 }, { shard = 0 })
    assert.equal(1, #joins(kit))
  end)

  it("leaves guilds of other shards, and those it has left, alone", function()
    local kit = joined()
    kit:event("READY", { user = { id = BOT }, guilds = {} }, { shard = 1 })
    kit:event("GUILD_CREATE", { id = GUILD })
    state(kit, { channel_id = test.null })
    ready(kit)
    kit:event("GUILD_CREATE", { id = GUILD })
    assert.same({}, joins(kit))
  end)

  it("knows where it was through a reload", function()
    local kit = joined()
    kit:reload()
    ready(kit)
    kit:event("GUILD_CREATE", { id = GUILD })
    assert.equal("7", joins(kit)[1].args[2])
  end)

  it("tells that it has left when it is not to go back", function()
    local kit = start { url = URL, rejoin = false }
    state(kit)
    server(kit)
    posted(kit)
    ready(kit)
    kit:event("GUILD_CREATE", { id = GUILD })
    assert.same({}, joins(kit))
    assert.equal(test.null, posted(kit)[2].voice)
  end)
end)

describe("voice's configuration", function()
  it("names somebody to tell", function()
    local ok, problem = pcall(test.plugin, "voice", {})
    assert.is_false(ok)
    assert.matches("plugins.voice: give `url`, or `event = true`", tostring(problem), 1, true)
  end)
end)
