-- The fake Discord by itself: what it makes of upgrades, frames, commands and heartbeats; its REST routes;
-- the program. Sessions, events and faults have specs of their own beside this one.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local world = require "spec.support.fake_world"

local fake

setup(function()
  fake = fake_discord.start { shards = 4, guilds = 8 }
  world.use(fake)
end)
teardown(function() fake:stop() end)
before_each(function() fake:reset() end)
after_each(world.cleanup)

local connect, ready, identify_payload = world.connect, world.ready, world.identify_payload
local assert_closed = world.assert_closed

describe("a connection", function()
  it("gets HELLO with the interval as its first message", function()
    local client = connect()
    local hello = client:wait_op(10)
    assert.equal(41250, hello.d.heartbeat_interval)
    assert.equal(1, #client.messages)
    assert.equal("websocket", client.headers.upgrade:lower())
    assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", client.headers["sec-websocket-accept"])
  end)

  for name, options in pairs {
    ["another path"] = { target = "/gateway?v=10&encoding=json" },
    ["no key"] = { headers = { ["Sec-WebSocket-Key"] = false } },
    ["another version of WebSocket"] = { headers = { ["Sec-WebSocket-Version"] = "8" } },
    ["another encoding"] = { query = "?v=10&encoding=etf" },
    ["an unknown compression"] = { query = "?v=10&encoding=json&compress=lzma" },
  } do
    it("is refused with 400 for " .. name, function()
      local client = connect(options)
      assert.equal(400, client.status)
      assert.equal(1, #fake:state("violations").violations)
    end)
  end

  it("may be refused with 4002 for its query instead", function()
    fake:settings { bad_query = "4002" }
    assert_closed(connect { query = "?v=10&encoding=etf" }, 4002, "query")
  end)

  it("never gets permessage-deflate", function()
    local client = connect { headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" } }
    client:wait_op(10)
    assert.is_nil(client.headers["sec-websocket-extensions"])
    assert.equal("permessage-deflate", fake:state("handshakes").handshakes[1].extensions)
  end)

  it("gets 4012 for another API version when it identifies, or at once", function()
    local client = connect { query = "?v=9&encoding=json" }
    client:wait_op(10)
    client:send(identify_payload())
    assert_closed(client, 4012, "version")
    fake:reset()
    fake:settings { bad_version = "upgrade" }
    assert_closed(connect { query = "?v=9&encoding=json" }, 4012, "version")
  end)
end)

describe("a frame", function()
  local cases = {
    ["that is not masked"] = { 1002, "websocket", 1, "{}", { masked = false } },
    ["with reserved bits"] = { 1002, "websocket", 1, "{}", { rsv = 4 } },
    ["of an unknown opcode"] = { 1002, "websocket", 3, "{}" },
    ["that continues nothing"] = { 1002, "websocket", 0, "{}" },
    ["that is a control frame in pieces"] = { 1002, "websocket", 9, "x", { fin = false } },
    ["that is a control frame over 125 bytes"] = { 1002, "websocket", 9, ("x"):rep(126) },
    ["that is not UTF-8"] = { 1007, "websocket", 1, '{"op":1,"d":"\255"}' },
    ["that is binary"] = { 4002, "binary_frame", 2, '{"op":1,"d":null}' },
    ["over 4096 bytes"] = { 4002, "frame_size", 1, '{"op":1,"d":null,"x":"' .. ("x"):rep(4096) .. '"}' },
    ["that is not JSON"] = { 4002, "not_json", 1, "{" },
    ["that is no object"] = { 4002, "not_json", 1, "[1]" },
    ["without op"] = { 4002, "no_op", 1, '{"d":1}' },
    ["with an op that is no number"] = { 4002, "no_op", 1, '{"op":"1","d":null}' },
    ["with an unknown op"] = { 4001, "unknown_op", 1, '{"op":99,"d":null}' },
    ["with op 5"] = { 4001, "unknown_op", 1, '{"op":5,"d":null}' },
    ["with the server's op 10"] = { 4001, "unknown_op", 1, '{"op":10,"d":null}' },
    ["with op 6 without a seq"] = { 4001, "resume_shape", 1, '{"op":6,"d":{"token":"a","session_id":"b"}}' },
  }
  for name, case in pairs(cases) do
    it(name .. " closes with " .. case[1], function()
      local client = connect()
      client:wait_op(10)
      client:send_frame(case[3], case[4], case[5])
      assert_closed(client, case[1], case[2])
    end)
  end

  it("that claims to have 2^64-1 bytes closes with 4002", function()
    local client = connect()
    client:wait_op(10)
    client.stream:write("\129\255" .. ("\255"):rep(8) .. "\0\0\0\0{}")
    assert_closed(client, 4002, "frame_size")
  end)

  it("over 4096 bytes in pieces closes with 4002", function()
    local client = connect()
    client:wait_op(10)
    client:send_frame(1, ("x"):rep(3000), { fin = false })
    client:send_frame(0, ("x"):rep(1097))
    assert_closed(client, 4002, "frame_size")
  end)

  it("of exactly 4096 bytes is fine, also in pieces, with pings between", function()
    local client = connect()
    client:wait_op(10)
    local text = '{"op":1,"d":null,"x":"' .. ("x"):rep(4096 - 24) .. '"}'
    assert.equal(4096, #text)
    client:send(text)
    client:wait_op(11)
    client:send_frame(1, text:sub(1, 1000), { fin = false })
    client:send_frame(9, "hello")
    client:send_frame(0, text:sub(1001))
    client:wait_op(11)
    local pongs = 0
    for _, frame in ipairs(client.frames) do
      pongs = pongs + (frame.opcode == 10 and frame.payload == "hello" and 1 or 0)
    end
    assert.equal(1, pongs)
  end)

  it("may be binary when the settings say so", function()
    fake:settings { binary_frame = "ignore" }
    local client = connect()
    client:wait_op(10)
    client:send_frame(2, "??")
    client:send { op = 1, d = cjson.null }
    client:wait_op(11)
  end)

  it("over the limit of 120 a minute closes with 4008", function()
    fake:settings { bad_heartbeat = "ignore" }
    local client = connect()
    client:wait_op(10)
    for _ = 1, 120 do
      client:send { op = 1, d = cjson.null }
    end
    loop.wait_for("120 answers", function() return #client.messages == 121 end)
    assert.is_nil(client.close_code)
    client:send { op = 1, d = cjson.null }
    assert_closed(client, 4008, "send_limit")
  end)

  it("counts in a window that slides", function()
    fake:settings { send_limit = 3, send_window = 150 }
    local client = connect()
    client:wait_op(10)
    for _ = 1, 3 do
      client:send { op = 1, d = cjson.null }
    end
    local free_at = loop.now() + 170
    loop.wait_for("the window to pass", function() return loop.now() > free_at end)
    client:send { op = 1, d = cjson.null }
    loop.wait_for("4 answers", function() return #client.messages == 5 end)
  end)
end)

describe("a command", function()
  it("without a session closes with 4003", function()
    for _, op in ipairs { 3, 4, 8, 31, 43 } do
      fake:reset()
      local client = connect()
      client:wait_op(10)
      client:send { op = op, d = { guild_id = "1" } }
      assert_closed(client, 4003, "not_authenticated")
    end
  end)

  it("after op 9 closes with 4003", function()
    local client = ready()
    fake:fault { ["do"] = "invalid_session", resumable = false }
    client:wait_op(9)
    client:send { op = 3, d = { since = cjson.null, activities = {}, status = "online", afk = false } }
    assert_closed(client, 4003, "not_authenticated")
  end)

  for name, payload in pairs {
    ["op 3 without a status"] = { op = 3, d = { since = cjson.null, activities = {}, afk = false } },
    ["op 3 with an unknown status"] = {
      op = 3, d = { since = cjson.null, activities = {}, status = "asleep", afk = false },
    },
    ["op 4 without a channel"] = { op = 4, d = { guild_id = "1", self_mute = false, self_deaf = false } },
    ["op 8 with query and user_ids"] = {
      op = 8, d = { guild_id = "1", query = "", limit = 0, user_ids = { "1" } },
    },
    ["op 8 with neither"] = { op = 8, d = { guild_id = "1", limit = 0 } },
    ["op 8 with an id that is none"] = { op = 8, d = { guild_id = "1", user_ids = { "abc" } } },
    ["op 31 without guild_ids"] = { op = 31, d = { guild_id = "1" } },
    ["op 43 without fields"] = { op = 43, d = { guild_id = "1" } },
  } do
    it("of a bad shape closes with 4001: " .. name, function()
      local client = ready()
      if payload.d.activities then
        payload = cjson.encode(payload):gsub('"activities":{}', '"activities":[]')
      end
      client:send(payload)
      assert_closed(client, 4001, "command_shape")
    end)
  end

  local PRESENCE = [[{"op":3,"d":
    {"since":null,"activities":[{"name":"tides","type":3}],"status":"idle","afk":false}}]]

  it("op 3 is recorded; the sixth in 20 s is dropped", function()
    local client = ready()
    for _ = 1, 6 do
      client:send(PRESENCE)
    end
    local state = fake:wait_for("six commands", function(state) return #state.commands == 6 and state end)
    assert.equal("idle", state.commands[1].d.status)
    assert.equal("ok", state.commands[5].result)
    assert.equal("dropped", state.commands[6].result)
    assert.equal("presence_limit", state.violations[1].rule)
    assert.is_nil(client.close_code)
  end)

  it("op 4 is answered with voice state and server", function()
    local client = ready { intents = 33281 + 128 }
    local guild = fake:guilds(0)[1].id
    client:send { op = 4, d = { guild_id = guild, channel_id = "5", self_mute = false, self_deaf = true } }
    assert.equal("5", client:wait_event("VOICE_STATE_UPDATE").d.channel_id)
    assert.equal(guild, client:wait_event("VOICE_SERVER_UPDATE").d.guild_id)
  end)

  it("op 8 is answered in chunks of a thousand, with the nonce", function()
    fake:settings { members = 2500 }
    local client = ready { intents = 33283 }
    local guild = fake:guilds(0)[1].id
    client:send { op = 8, d = { guild_id = guild, query = "", limit = 0, nonce = "abc" } }
    local members = 0
    for i = 0, 2 do
      local chunk = client:wait_event "GUILD_MEMBERS_CHUNK"
      assert.same({ i, 3, "abc" }, { chunk.d.chunk_index, chunk.d.chunk_count, chunk.d.nonce })
      members = members + #chunk.d.members
    end
    assert.equal(2500, members)
  end)

  it("op 8 for all members twice in 30 s is answered with RATE_LIMITED", function()
    local client = ready { intents = 33283 }
    local guild = fake:guilds(0)[1].id
    for i = 1, 2 do
      client:send { op = 8, d = { guild_id = guild, query = "", limit = 0, nonce = "n" .. i } }
    end
    client:wait_event "GUILD_MEMBERS_CHUNK"
    local limited = client:wait_event "RATE_LIMITED"
    assert.same({ guild_id = guild, nonce = "n2" }, limited.d.meta)
    assert.is_true(limited.d.retry_after > 25 and limited.d.retry_after <= 30)
  end)

  it("op 8 finds ids, names what it does not find, and drops a long nonce", function()
    local client = ready { intents = 33283 }
    local guild = fake:guilds(0)[1].id
    client:send { op = 8, d = { guild_id = guild, query = "sail", limit = 2 } }
    local found = client:wait_event("GUILD_MEMBERS_CHUNK").d.members
    assert.equal(2, #found)
    client:send { op = 8, d = {
      guild_id = guild, user_ids = { found[1].user.id, "77" }, nonce = ("n"):rep(33),
    } }
    local chunk = client:wait_event("GUILD_MEMBERS_CHUNK").d
    assert.same({ "77" }, chunk.not_found)
    assert.equal(found[1].user.id, chunk.members[1].user.id)
    assert.is_nil(chunk.nonce)
  end)

  it("op 8 gets no answer without the intent, or for a guild of another shard", function()
    local client = ready { shard = { 0, 4 } }
    client:send { op = 8, d = { guild_id = fake:guilds(0)[1].id, query = "", limit = 0 } }
    client:send { op = 8, d = { guild_id = fake:guilds(1)[1].id, query = "a", limit = 1 } }
    client:send { op = 1, d = cjson.null }
    client:wait_op(11)
    assert.same({}, client:events "GUILD_MEMBERS_CHUNK")
    local commands = fake:state("commands").commands
    assert.same({ "no answer", "no answer" }, { commands[1].result, commands[2].result })
  end)

  it("op 31 and op 43 are answered", function()
    local client = ready()
    local guilds = fake:guilds(0)
    client:send { op = 31, d = { guild_ids = { guilds[1].id, guilds[2].id } } }
    assert.equal(guilds[1].id, client:wait_event("SOUNDBOARD_SOUNDS").d.guild_id)
    assert.equal(guilds[2].id, client:wait_event("SOUNDBOARD_SOUNDS").d.guild_id)
    client:send { op = 43, d = { guild_id = guilds[1].id, fields = { "status" } } }
    assert.equal(guilds[1].id, client:wait_event("CHANNEL_INFO").d.guild_id)
  end)
end)

describe("a heartbeat", function()
  it("is acknowledged, before and after the identify, and recorded with its d", function()
    local client = connect()
    client:wait_op(10)
    client:send { op = 1, d = cjson.null }
    client:wait_op(11)
    client:send(identify_payload())
    client:wait_event "GUILD_CREATE"
    client:send { op = 1, d = 2 }
    client:wait_op(11)
    local connection = fake:state("connections").connections[1]
    assert.same({ 2, 2 }, { connection.heartbeats, connection.heartbeats_acked })
    assert.equal(cjson.null, connection.last_heartbeats[1].d)
    assert.equal(2, connection.last_heartbeats[2].d)
    assert.same({}, fake:state("violations").violations)
  end)

  it("with a d that was never sent closes with 4002", function()
    local client = ready()
    client:send { op = 1, d = 5000 }
    assert_closed(client, 4002, "heartbeat_d")
  end)

  it("with a number before there is a session closes with 4002", function()
    local client = connect()
    client:wait_op(10)
    client:send { op = 1, d = 7 }
    assert_closed(client, 4002, "heartbeat_d")
  end)

  it("with a d of another type closes with 4002", function()
    local client = connect()
    client:wait_op(10)
    client:send { op = 1, d = "7" }
    assert_closed(client, 4002, "heartbeat_d")
  end)

  it("that does not come closes with 1000 and ends the session", function()
    fake:settings { heartbeat_interval = 60 }
    local client = ready()
    assert.equal(1000, client:wait_end())
    local state = fake:state()
    assert.equal("heartbeat missed", state.sessions_lost[1].why)
    assert.equal("heartbeat_missed", state.violations[1].rule)
    assert.equal(1, #state.heartbeats_missed)
  end)

  it("that does not come may close with 4009, or reset", function()
    fake:settings { heartbeat_interval = 60, missed_heartbeat = "4009" }
    assert.equal(4009, connect():wait_end())
    fake:settings { missed_heartbeat = "drop" }
    local client = ready()
    assert.is_nil(client:wait_end())
    assert.equal("reset", client.ended)
    assert.equal(1, #fake:state("sessions").sessions)
  end)
end)

describe("REST", function()
  it("answers /gateway without a token and /gateway/bot with it", function()
    fake:settings { shards = 7, max_concurrency = 16, total = 2000, remaining = 1999, identify_window = 5000 }
    local open = world.rest("GET", "/gateway", { headers = { Authorization = false } })
    assert.same({ 200, fake.gateway }, { open.status, open:json().url })
    local bot = world.rest("GET", "/gateway/bot")
    local body = bot:json()
    assert.same({ 200, fake.gateway, 7 }, { bot.status, body.url, body.shards })
    assert.same({ 2000, 1999, 16 }, {
      body.session_start_limit.total, body.session_start_limit.remaining,
      body.session_start_limit.max_concurrency,
    })
  end)

  it("refuses a missing or wrong token with 401", function()
    for _, given in ipairs { false, "Bot wrong", fake.token } do
      local response = world.rest("GET", "/gateway/bot", { headers = { Authorization = given } })
      assert.same({ 401, "401: Unauthorized" }, { response.status, response:json().message })
    end
  end)

  it("refuses a missing or odd User-Agent with 403 and HTML", function()
    for _, given in ipairs { false, "curl/7.88.1" } do
      local response = world.rest("GET", "/gateway/bot", { headers = { ["User-Agent"] = given } })
      assert.equal(403, response.status)
      assert.matches("<html>", response.body)
    end
    fake:settings { require_user_agent = false }
    assert.equal(200, world.rest("GET", "/gateway/bot", { headers = { ["User-Agent"] = false } }).status)
  end)

  it("takes messages of the bot, for whoever wants to see them", function()
    local sent = world.rest("POST", "/channels/77/messages", { json = { content = "aye" } })
    local message = sent:json()
    assert.same({ 200, "77", "aye", true }, {
      sent.status, message.channel_id, message.content, message.author.bot })
    assert.equal("aye", fake:state("rest").rest[1].body.content)
    assert.equal(404, world.rest("POST", "/channels/77/invites", { json = {} }).status)
    assert.equal(401, world.rest("POST", "/channels/77/messages", {
      json = { content = "aye" }, headers = { Authorization = false } }).status)
  end)

  it("tells the application's flags, its guilds and its user, and does not know other routes", function()
    local application = world.rest("GET", "/applications/@me"):json()
    assert.equal(2 ^ 12 + 2 ^ 14 + 2 ^ 18, application.flags)
    assert.equal(8, application.approximate_guild_count)
    assert.equal(application.id, world.rest("GET", "/users/@me"):json().id)
    assert.equal(404, world.rest("GET", "/users/@me/guilds").status)
    assert.equal(404, world.rest("POST", "/gateway/bot", { json = {} }).status)
  end)
end)

describe("the program", function()
  local function run(...)
    return process.run { paths.bin "tidegate-fake-discord", ... }
  end

  it("has a help that fits a screen", function()
    local p = run "--help"
    assert.equal(0, p.exit_code)
    local count = 0
    for line in p.stdout:gmatch "([^\n]*)\n" do
      count = count + 1
      assert.is_true(#line <= 100, line)
    end
    assert.is_true(count <= 40)
  end)

  it("refuses what it does not understand with 64", function()
    for _, case in ipairs {
      { { "--shardz", "1" }, "did you mean %-%-shards" },
      { { "--shards" }, "needs a value" },
      { { "--shards", "none" }, "expected a whole number" },
      { { "--set", "remaining" }, "NAME=VALUE" },
      { { "--set", "no_such=1" }, "no setting" },
      { { "--seed", "x" }, "expected a whole number" },
    } do
      local p = run(unpack(case[1]))
      assert.equal(64, p.exit_code)
      assert.matches(case[2], p.stderr)
    end
  end)

  it("says why it cannot listen", function()
    local p = run("--listen", (fake.gateway:gsub("ws://", "")))
    assert.equal(1, p.exit_code)
    assert.matches("cannot listen on .*in use", p.stderr)
  end)

  it("serves TLS with a certificate that its CA vouches for, and http/1.1 alone", function()
    local tls = fake_discord.start { tls = true, token = "another" }
    assert.matches("^wss://localhost:%d+$", tls.gateway)
    assert.matches("^https://localhost:%d+/api/v10$", tls.rest)
    local port = tls.gateway:match "%d+$"
    local p = process.run {
      "openssl", "s_client", "-connect", "127.0.0.1:" .. port, "-servername", "localhost", "-CAfile", tls.ca,
      "-verify_return_error", "-verify_hostname", "localhost", "-alpn", "h2,http/1.1",
    }
    assert.matches("Verify return code: 0 %(ok%)", p.stdout, 1)
    assert.matches("ALPN protocol: http/1.1", p.stdout)
    p = process.run {
      "openssl", "s_client", "-connect", "127.0.0.1:" .. port, "-CAfile", tls.ca, "-verify_return_error",
      "-verify_ip", "127.0.0.1",
    }
    assert.matches("Verify return code: 0 %(ok%)", p.stdout)
    tls:stop()
  end)

  it("ends on SIGINT, with connections open", function()
    local other = fake_discord.start { shards = 1 }
    world.connect({}, other):wait_op(10)
    other.process:kill "SIGINT"
    assert.equal(0, (other.process:wait()))
    assert.is_nil((http.request("GET", other.admin .. "/state")))
  end)
end)
