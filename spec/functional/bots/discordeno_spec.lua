-- examples/bots/discordeno: a bot of the newest discordeno that npm has lives behind the gateway. Its files
-- are run as they are, gateway.lua and all.

local http = require "spec.support.http"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local FOLDER = paths.root .. "/examples/bots/discordeno"
-- discordeno takes the bot's id out of the token.
local TOKEN = "MTE4OTAwMDAwMDAwMDAwMDAwNw.fake.token-of-the-bot"

describe("a bot of discordeno's", function()
  local modules, why = npm.install_for(FOLDER .. "/package.json")
  if not modules then
    return pending(why)
  end

  local s, port, folder, bot

  -- The bot comes when bot_up() says so; until then nobody listens on its port.
  local function start(options)
    local place = webhook.start()
    port = place.server.port
    place:down()
    folder = npm.copy(modules, FOLDER)
    options.bot, options.hurry = false, 10
    options.fake = { token = TOKEN, members = options.members }
    options.members = nil
    options.script = FOLDER .. "/gateway.lua"
    options.env = {
      EVENT_HANDLER_URL = "http://127.0.0.1:" .. port,
      EVENT_HANDLER_SECRET_KEY = "secret-of-the-bot",
      TIDEGATE_CONTROL_SECRET = "secret-of-the-gateway",
    }
    s = scene.start(options)
  end

  local function bot_up()
    bot = process.start({ "node", "main.js" }, { cwd = folder, env = {
      DISCORD_TOKEN = TOKEN,
      EVENT_HANDLER_URL = "http://127.0.0.1:" .. port,
      EVENT_HANDLER_SECRET_KEY = "secret-of-the-bot",
      TIDEGATE_CONTROL = s.gateway:control_url():match "//(.*)",
      TIDEGATE_CONTROL_SECRET = "secret-of-the-gateway",
      REST_URL = s.fake.rest,
    } })
    bot:wait_for_output("the bot listens", "stdout", 30000)
  end

  after_each(function()
    scene.stop()
    local said = bot and bot.stderr
    process.cleanup()
    bot = nil
    assert.equal("", said or "", "the bot has complained")
  end)

  local function command(guild, content)
    s.fake:emit { event = "MESSAGE_CREATE", guild = guild.id, d = {
      id = "1189000000000000601", channel_id = "1189000000000000602", guild_id = guild.id, type = 0,
      content = content, timestamp = "2026-11-01T12:00:00.000000+00:00",
      author = { id = "1189000000000000603", username = "sailor", discriminator = "0" },
      attachments = {}, embeds = {}, mentions = {}, mention_roles = {},
    } }
  end

  -- What the bot has answered in the channel: the content of its n-th message.
  local function answer(n)
    return s.fake:wait_for(n .. " messages of the bot", function(state)
      local sent = {}
      for _, request in ipairs(state.rest) do
        if request.path == "/api/v10/channels/1189000000000000602/messages" then
          sent[#sent + 1] = request.body.content
        end
      end
      return sent[n]
    end, { only = "rest", timeout = 20000 })
  end

  local function sent_commands(op, n)
    return s.fake:wait_for(("%d commands of op %d"):format(n, op), function(state)
      local found = {}
      for _, each in ipairs(state.commands) do
        found[#found + 1] = each.op == op and each or nil
      end
      return #found >= n and found
    end, { only = "commands", timeout = 20000 })
  end

  it("sees shards come up, guilds load and join, and messages", function()
    start { shards = 2 }
    bot_up()
    for shard = 0, 1 do
      local guilds = s.fake:guilds(shard)
      bot:wait_for_output(("shard %d is ready, with %d guilds"):format(shard, #guilds), "stdout")
      for _, guild in ipairs(guilds) do
        bot:wait_for_output(("guild %s loaded"):format(guild.id), "stdout")
      end
    end
    s.fake:emit { kind = "joined", shard = 1 }
    bot:wait_for_output("guild %d+ joined", "stdout")
    command(s.fake:guilds(1)[1], "a \"wave\" \\ of é")
    bot:wait_for_output('message in %d+: "a \\"wave\\" \\\\ of é"', "stdout")
    assert.is_nil(bot.stdout:find "guild %d+ joined.*guild %d+ joined")
  end)

  it("asks for members, is given them all, and answers over REST", function()
    start { shards = 2, members = 2500 }
    bot_up()
    local guild = s.fake:guilds(1)[1]
    command(guild, "!members")
    assert.equal("2500 members", answer(1)) -- in three chunks
    local asked = sent_commands(8, 1)[1]
    assert.equal(1, asked.shard) -- the bot said shard 0, of the one that it thinks there is
    assert.equal(guild.id, asked.d.guild_id)
  end)

  it("changes its presence, on all shards", function()
    start { shards = 2 }
    bot_up()
    command(s.fake:guilds(0)[1], "!status at sea")
    assert.equal("done", answer(1))
    local shards = {}
    for _, each in ipairs(sent_commands(3, 2)) do
      shards[each.shard] = each.d
    end
    for shard = 0, 1 do
      assert.equal("idle", shards[shard].status)
      assert.equal("at sea", shards[shard].activities[1].state)
    end
  end)

  local function interaction()
    return s.fake:emit { interaction = 2, shard = 0 }.interactions[1]
  end

  it("answers interactions itself, and those that were deferred meanwhile by a follow-up", function()
    start { shards = 1 }
    local late = interaction() -- nobody is there yet
    s.fake:wait_for("the gateway's answer", function(state)
      return state.callbacks[1] and state.callbacks[1].callback == 5
    end, { only = "callbacks", timeout = 20000 })
    bot_up()
    local follow_up = s.fake:wait_for("the follow-up", function(state)
      return state.webhooks[1]
    end, { only = "webhooks", timeout = 20000 })
    assert.equal("You called /moor.", follow_up.body.content)
    assert.truthy(follow_up.path:find(late.token, 1, true))
    assert.equal(200, follow_up.status)

    local now = interaction()
    local callback = s.fake:wait_for("the bot's answer", function(state)
      return state.callbacks[2]
    end, { only = "callbacks", timeout = 20000 })
    assert.same({ now.id, 4, 204 }, { callback.id, callback.callback, callback.status })
    assert.equal("You called /moor.", callback.body.data.content)
  end)

  it("follows up an interaction that was deferred while its own answer was on its way", function()
    start { shards = 1 }
    bot_up()
    bot:wait_for_output("guild %d+ loaded", "stdout")
    local before = s:counters().rest_requests
    s.fake:fault { at = "rest", ["do"] = "delay", ms = 1500, route = "/callback" }
    local given = interaction()
    s:wait_counter("rest_requests", before + 1)
    local callback = ("%s/interactions/%s/%s/callback"):format(s.fake.rest, given.id, given.token)
    local deferred = http.request("POST", callback,
      { json = { type = 5 }, headers = { ["User-Agent"] = "DiscordBot (https://example.com, 1.0)" } })
    assert.equal(204, deferred.status)
    local follow_up = s.fake:wait_for("the follow-up", function(state)
      return state.webhooks[1]
    end, { only = "webhooks", timeout = 20000 })
    assert.equal("You called /moor.", follow_up.body.content)
    assert.truthy(follow_up.path:find(given.token, 1, true))
    assert.equal(40060, s:list "callbacks"[2].code)
  end)

  -- The numbers of a guild's messages in what a process has printed, in order.
  local function numbers(output, guild)
    local found = {}
    for number in output:gmatch('message in %d+: "' .. guild .. ":(%d+) ") do
      found[#found + 1] = tonumber(number)
    end
    return found
  end

  it("is killed and comes again, and misses nothing", function()
    start { shards = 2 }
    bot_up()
    s.fake:emit { count = 100, rate = 400, shards = "all" }
    bot:wait_for_output("message in %d+: \"%d+:5 ", "stdout")
    bot:kill "SIGKILL"
    bot:wait()
    local before = bot
    s.fake:wait_emitted()
    s.fake:emit { count = 50, shards = "all" }
    s.fake:wait_emitted()
    bot_up()
    local last = s.fake:sent_guilds()
    loop.wait_for("the last messages at the bot", function()
      for guild, number in pairs(last) do
        local text = (': "%s:%d '):format(guild, number)
        if not bot.stdout:find(text, 1, true) and not before.stdout:find(text, 1, true) then
          return false
        end
      end
      return true
    end, 30000)
    local repeats = 0
    for guild, number in pairs(last) do
      local got = numbers(before.stdout, guild)
      local seam = #got
      for _, each in ipairs(numbers(bot.stdout, guild)) do
        if #got == seam and each == got[seam] then
          repeats = repeats + 1 -- it had no time to acknowledge it
        else
          got[#got + 1] = each
        end
      end
      for i = 1, number do
        assert.equal(i, got[i], "guild " .. guild)
      end
      assert.equal(number, #got)
    end
    assert.is_true(repeats <= 2, repeats .. " repeats with two shards")
  end)
end)
