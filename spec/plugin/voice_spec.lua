-- The bundled plugin `voice` on the real gateway: from op 4 to the message that an audio server takes.

local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local INTENTS = tostring(1 + 128 + 512)
local CHANNEL = "1189000000000009001"
local BOT = "1189000000000000007"

describe("the plugin voice", function()
  local hook

  local function start(config, options)
    options = options or {}
    hook = webhook.start()
    options.reload = false
    options.env = { HOOK = hook.url .. "/voice?hook-secret", INTENTS = INTENTS }
    options.intents = INTENTS
    options.script = ([[
      local gateway = require "tidegate"
      gateway.plugin("voice", { %s })
      if gateway.role == "manager" then
        gateway.on_broadcast("join", function(guild_id)
          gateway.manager:join_voice_channel(guild_id, "%s", { self_deaf = true })
        end)
        gateway.on_broadcast("leave", function(guild_id)
          gateway.manager:leave_voice_channel(guild_id)
        end)
      else
        gateway.on("TYPING_START", function(event)
          gateway.broadcast(event.data.user_id == "1" and "join" or "leave", event.data.channel_id)
        end)
      end
    ]]):format(config, CHANNEL)
    local s = scene.start(options)
    s.guild = s.fake:guilds(0)[1].id
    return s
  end

  local function say(s, user)
    s.fake:emit { event = "TYPING_START", shard = 0,
                d = { user_id = user, channel_id = s.guild, timestamp = 1 } }
  end

  local function join(s) say(s, "1") end

  local function joins(s)
    local found = {}
    for _, command in ipairs(s:list "commands") do
      if command.op == 4 then found[#found + 1] = command end
    end
    return found
  end

  after_each(function()
    scene.stop()
    if hook then hook:close() end
  end)

  it("posts both halves as one message, and that the bot has left", function()
    local s = start [[url = { env = "HOOK" }]]
    join(s)
    local message = hook:wait_for(1)[1]:json()
    assert.same({
      guildId = s.guild, userId = BOT, shardId = 0,
      voice = { token = "fake-voice-token", endpoint = "voice.example:443", channelId = CHANNEL,
                sessionId = message.voice.sessionId },
    }, message)
    assert.equal(s.fake:sent(0).shards[1].sessions[1].session_id, message.voice.sessionId)
    say(s, "2")
    hook:wait_for(1, '"voice":null')
    assert.is_nil(s.gateway.stderr:find("hook-secret", 1, true))
    assert.is_nil(s.gateway.stderr:find("fake-voice-token", 1, true))
  end)

  it("gives the bot the second of the two with all of it", function()
    local s = start [[event = true]]
    join(s)
    local event = s.bot:wait_for_events(1, "VOICE_SERVER_UPDATE")[1]
    assert.matches('"channelId":"' .. CHANNEL .. '"', event.body, 1, true)
    assert.matches('"endpoint":"voice.example:443"', event.body, 1, true)
    assert.equal(0, #hook.requests)
  end)

  it("leaves the states of others as they are", function()
    local s = start [[url = { env = "HOOK" }, event = true]]
    s.fake:emit { event = "VOICE_STATE_UPDATE", guild = s.guild, shard = 0, d = {
      guild_id = s.guild, user_id = "42", channel_id = CHANNEL, session_id = "other", deaf = false,
    } }
    s.bot:wait_for_events(1, "VOICE_STATE_UPDATE")
    join(s)
    hook:wait_for(1)
    assert.is_nil(hook.requests[1].body:find('"other"', 1, true))
  end)

  it("goes back to its channel after a new session, not after a resume, also after a reload", function()
    local s = start [[url = { env = "HOOK" }]]
    join(s)
    local first = hook:wait_for(1)[1]:json()
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", 1)
    s.gateway:reload()
    assert.equal(1, #joins(s))
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    local second = hook:wait_for(2)[2]:json()
    assert.equal(2, #joins(s))
    assert.equal(CHANNEL, second.voice.channelId)
    assert.not_equal(first.voice.sessionId, second.voice.sessionId)
    local command = joins(s)[2]
    assert.is_true(command.d.self_deaf)
  end)

  it("tries again until its message is taken", function()
    local s = start [[url = { env = "HOOK" }]]
    local tries = 0
    hook:answer(function()
      tries = tries + 1
      return tries < 3 and 503 or 204
    end)
    join(s)
    hook:wait_for(1)
    assert.equal(3, #hook.requests)
  end)
end)
