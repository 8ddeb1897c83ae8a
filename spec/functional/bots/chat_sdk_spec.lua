-- examples/bots/chat-sdk: the newest Discord adapter of the Chat SDK that npm has takes the events. The
-- example's files are run as they are; Discord's REST is a double here, which remembers threads.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local FOLDER = paths.root .. "/examples/bots/chat-sdk"
local APPLICATION = "1189000000000000007"
local TOKEN = "MTE4OTAwMDAwMDAwMDAwMDAwNw.fake.token-of-the-bot"
local CHANNEL, USER = "1189000000000000602", "1189000000000000603"

-- Of REST what the adapter asks for: threads of messages, messages, channels, users.
local function rest_double()
  local rest = { posted = {}, looked_up = {}, threads = {}, held = {} }
  local function answer(request)
    local path = request.path:gsub("^/api/v10", "")
    local channel, message = path:match "^/channels/(%d+)/messages/(%d+)/threads$"
    if channel then
      rest.threads[message] = channel
      return 201, { id = message, type = 11, parent_id = channel, name = "a thread" }
    end
    channel = path:match "^/channels/(%d+)/messages$"
    if channel then
      local sent = cjson.decode(request.body)
      rest.posted[#rest.posted + 1] = { channel = channel, content = sent.content }
      return 200, { id = tostring(1189000000000001000 + #rest.posted), channel_id = channel,
        content = sent.content }
    end
    rest.looked_up[#rest.looked_up + 1] = path
    channel = path:match "^/channels/(%d+)$"
    if channel then
      local parent = rest.threads[channel]
      return 200, { id = channel, type = parent and 11 or 0, parent_id = parent }
    end
    local user = path:match "^/users/(%d+)$"
    if user then
      return 200, { id = user, username = "sailor", discriminator = "0" }
    end
    return 404, { message = "404: Not Found", code = 0 }
  end
  rest.server = http.serve(function(request)
    if rest.hold and (request.body or ""):find(rest.hold, 1, true) then
      rest.held[#rest.held + 1] = request
      return
    end
    local status, body = answer(request)
    return status, { ["Content-Type"] = "application/json" }, cjson.encode(body)
  end)
  rest.url = rest.server.url .. "/api/v10"

  function rest.release()
    rest.hold = nil
    for _, request in ipairs(rest.held) do
      local status, body = answer(request)
      request:respond(status, { ["Content-Type"] = "application/json" }, cjson.encode(body))
    end
  end

  -- Waits for a message of the bot; how many there were of it.
  function rest.wait_for(content, channel)
    local function count()
      local n = 0
      for _, each in ipairs(rest.posted) do
        n = n + (each.content == content and each.channel == channel and 1 or 0)
      end
      return n
    end
    loop.wait_for(function()
      return ("%q in %s; the bot has posted %s"):format(content, channel, cjson.encode(rest.posted))
    end, function() return count() > 0 end, 20000, 2)
    return count()
  end

  return rest
end

describe("the Chat SDK's adapter", function()
  local modules, why = npm.install_for(FOLDER .. "/package.json")
  if not modules then
    return pending(why)
  end

  local s, rest, port, bot, said

  local function url()
    return ("http://127.0.0.1:%d/api/webhooks/discord"):format(port)
  end

  local function start(options)
    local place = webhook.start() -- a port on which nobody listens before the bot
    port = place.server.port
    place:down()
    rest = rest_double()
    options = options or {}
    options.bot, options.hurry = false, options.hurry or 10
    options.fake = { token = TOKEN }
    options.script = FOLDER .. "/gateway.lua"
    options.env = { DISCORD_TOKEN = false, DISCORD_BOT_TOKEN = TOKEN, EVENT_HANDLER_URL = url() }
    s = scene.start(options)
  end

  local function bot_up(env)
    local given = {
      DISCORD_BOT_TOKEN = TOKEN, DISCORD_APPLICATION_ID = APPLICATION, DISCORD_PUBLIC_KEY = ("0f"):rep(32),
      DISCORD_API_URL = rest.url, EVENT_HANDLER_URL = url(),
    }
    for name, value in pairs(env or {}) do
      given[name] = value
    end
    bot = process.start({ "node", "server.js" }, { cwd = npm.copy(modules, FOLDER), env = given })
    bot:wait_for_output("the bot listens", "stdout", 60000)
  end

  local function bot_down()
    bot:kill "SIGKILL"
    bot:wait()
    said = said .. bot.stderr
  end

  before_each(function() said = "" end)

  after_each(function()
    scene.stop()
    said = said .. (bot and not bot.ended and bot.stderr or "")
    process.cleanup()
    rest.server:close()
    bot = nil
    assert.equal("", said:sub(1, 2000), "the bot has complained")
  end)

  -- As JSON text: cjson has no empty lists.
  local MESSAGE = '{"event":"MESSAGE_CREATE","guild":"$guild","d":{"id":"$id","guild_id":"$guild",'
    .. '"channel_id":"$channel","channel_type":$type,"type":0,"content":"$content",'
    .. '"attachments":$attachments,"timestamp":"2026-11-01T12:00:00.000000+00:00","edited_timestamp":null,'
    .. '"embeds":[],"mention_roles":[],'
    .. '"author":{"id":"' .. USER .. '","username":"sailor","discriminator":"0"},"mentions":[$mention]}}'

  local last_id = 0
  local function message(content, more)
    last_id = last_id + 1
    local id = ("11890000000000%05d"):format(20000 + last_id)
    local given = { guild = s.fake:guilds()[1].id, id = id, channel = CHANNEL, type = "0", content = content,
      attachments = "[]", mention = "" }
    if content:find("<@" .. APPLICATION, 1, true) then
      given.mention = '{"id":"' .. APPLICATION .. '","username":"Breakwater","discriminator":"0"}'
    end
    for name, value in pairs(more or {}) do
      given[name] = value
    end
    local response = http.request("POST", s.fake.admin .. "/emit", { body = MESSAGE:gsub("%$(%l+)", given) })
    assert.equal(200, response.status, response.body)
    return id
  end

  local function mention(text, more)
    return message(("<@%s> %s"):format(APPLICATION, text), more)
  end

  local function reaction(event, channel, member)
    local guild = s.fake:guilds()[1].id
    s.fake:emit { event = "MESSAGE_REACTION_" .. event, guild = guild, d = {
      guild_id = guild, channel_id = channel, message_id = "1189000000000000777", user_id = USER, type = 0,
      burst = false, emoji = { id = cjson.null, name = "⚓" },
      member = member and { user = { id = USER, username = "sailor", discriminator = "0" } } or nil,
    } }
  end

  it("opens a thread where the bot is mentioned, and goes on there", function()
    start()
    bot_up()
    local thread = mention "ahoy"
    assert.equal(1, rest.wait_for("Hello, sailor.", thread))
    assert.equal(CHANNEL, rest.threads[thread])
    message("how deep is it?", { channel = thread, type = "11" })
    assert.equal(1, rest.wait_for("You said: how deep is it?", thread))
  end)

  it("sees reactions that are added and taken back, in channels and in threads", function()
    start()
    bot_up()
    reaction("ADD", CHANNEL, true)
    rest.wait_for("sailor adds ⚓", CHANNEL)
    reaction("REMOVE", CHANNEL)
    rest.wait_for("sailor takes back ⚓", CHANNEL)
    local thread = mention "ahoy"
    rest.wait_for("Hello, sailor.", thread)
    reaction("ADD", thread, true)
    rest.wait_for("sailor adds ⚓", thread)
    local count = 0
    for _, path in ipairs(rest.looked_up) do
      count = count + (path == "/channels/" .. CHANNEL and 1 or 0)
    end
    assert.equal(1, count) -- it is remembered
  end)

  it("refuses a wrong token: the gateway says so, and loses nothing, nor while the bot is away", function()
    start()
    bot_up { DISCORD_BOT_TOKEN = "another token" }
    local first = mention "one"
    s.gateway:wait_for_log "401"
    s.gateway:wait_for_log "the event handler is down"
    bot_down()
    assert.truthy(said:find("Invalid gateway token", 1, true))
    said = ""
    local second = mention "two"
    bot_up()
    assert.equal(1, rest.wait_for("Hello, sailor.", first))
    assert.equal(1, rest.wait_for("Hello, sailor.", second))
    assert.same({ first, second }, { rest.posted[1].channel, rest.posted[2].channel })
  end)

  it("is not held up by a message that it cannot take", function()
    start()
    bot_up()
    message("a poor one", { attachments = "null" })
    local thread = mention "ahoy"
    assert.equal(1, rest.wait_for("Hello, sailor.", thread))
    s.gateway:wait_for_log "it is in dead.jsonl"
    bot_down()
    assert.truthy(said:find("not iterable", 1, true))
    said = ""
  end)

  it("does not keep other messages waiting for a slow answer", function()
    start { hurry = 1 } -- it has its ten seconds
    bot_up { ANSWER_WITHIN = 200 }
    rest.hold = "Hello, sailor."
    local slow = mention "think"
    loop.wait_for("the slow answer", function() return #rest.held == 1 end, 20000)
    reaction("ADD", CHANNEL, true)
    rest.wait_for("sailor adds ⚓", CHANNEL)
    assert.equal(1, #rest.held)
    assert.equal(0, s.gateway:count_log "not delivered")
    rest.release()
    assert.equal(1, rest.wait_for("Hello, sailor.", slow))
  end)
end)
