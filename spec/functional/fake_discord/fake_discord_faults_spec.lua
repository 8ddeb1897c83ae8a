-- The fake Discord by itself: what can be done to live connections, and to the bytes they get.
-- Faults that wait for their moment: fake_discord_points_spec.lua.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local world = require "spec.support.fake_world"
local ws_client = require "spec.support.ws_client"

local fake

setup(function()
  fake = fake_discord.start { shards = 4, guilds = 8 }
  world.use(fake)
end)
teardown(function() fake:stop() end)
before_each(function() fake:reset() end)
after_each(world.cleanup)

local connect, ready, identify_payload = world.connect, world.ready, world.identify_payload

local ZLIB = "?v=10&encoding=json&compress=zlib-stream"
local ZSTD = "?v=10&encoding=json&compress=zstd-stream"
local PLAIN = "?v=10&encoding=json"

local function beat(client, d)
  client:send { op = 1, d = d or cjson.null }
end

-- A client that has sent its identify.
local function identifying(changes, options)
  fake:settings { identify_window = 0 }
  local client = connect(options)
  client:wait_op(10)
  client:send(identify_payload(changes))
  return client
end

local function resuming(first, seq)
  local client = connect()
  client:wait_op(10)
  client:send { op = 6, d = { token = fake.token, session_id = first.session_id, seq = seq or 1 } }
  return client
end

describe("now", function()
  for _, code in ipairs { 1000, 1001, 1011, 4000, 4001, 4002, 4003, 4004, 4005, 4007, 4008, 4009, 4010, 4011,
                          4012, 4013, 4014 } do
    it("close " .. code, function()
      local client = ready()
      fake:fault { ["do"] = "close", code = code, reason = "Because." }
      assert.equal(code, client:wait_end())
      assert.equal("Because.", client.close_reason)
      local gone = { [4003] = true, [4004] = true, [4007] = true, [4009] = true, [4010] = true, [4011] = true,
                     [4012] = true, [4013] = true, [4014] = true }
      assert.equal(gone[code] and 0 or 1, #fake:state("sessions").sessions)
    end)
  end

  it("close without a code, and with a session kept or killed by order", function()
    local client = ready()
    fake:fault { ["do"] = "close", code = 0 }
    assert.equal(0, client:wait_end())
    ready { shard = { 0, 4 } }
    fake:fault { ["do"] = "close", code = 4000, session = "kill", shard = 0 }
    ready { shard = { 1, 4 } }
    fake:fault { ["do"] = "close", code = 4007, session = "keep", shard = 1 }
    local sessions = fake:state("sessions").sessions
    assert.equal(2, #sessions)
  end)

  it("rst and fin end without a Close frame", function()
    local client = ready()
    client:send { op = 1, d = 1 }
    client:wait_op(11) -- nothing more is on its way: data and a reset found together are told as an end
    fake:fault { ["do"] = "rst" }
    assert.is_nil(client:wait_end())
    assert.equal("reset", client.ended)
    client = ready { shard = { 1, 4 } }
    fake:fault { ["do"] = "fin", shard = 1 }
    assert.is_nil(client:wait_end())
    assert.equal("eof", client.ended)
    assert.equal(2, #fake:state("sessions").sessions)
  end)

  it("half_open answers nothing and sends nothing, and keeps TCP", function()
    fake:settings { heartbeat_interval = 60 }
    local client = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    fake:fault { ["do"] = "half_open", shard = 0 }
    local count = #client.messages
    beat(client, 1)
    fake:emit { count = 5, shard = 0 }
    fake:wait_emitted()
    local long_enough = loop.now() + 150
    loop.wait_for("more than an interval", function() return loop.now() > long_enough end)
    assert.equal(count, #client.messages)
    assert.is_nil(client.ended)
    assert.is_true(fake:state("connections").connections[1].deaf)
    -- What was meant for it is replayed elsewhere.
    local second = resuming(client, 3)
    second:wait_event "RESUMED"
    assert.equal(5, #second:events "MESSAGE_CREATE")
    client:wait_end()
  end)

  it("reconnect sends op 7", function()
    local client = ready()
    fake:fault { ["do"] = "reconnect" }
    assert.equal(cjson.null, client:wait_op(7).d)
    assert.is_nil(client.ended)
  end)

  it("invalid_session sends op 9, true keeps the session and false ends it", function()
    local client = ready()
    fake:fault { ["do"] = "invalid_session", resumable = true }
    assert.is_true(client:wait_op(9).d)
    client:send { op = 6, d = { token = fake.token, session_id = client.session_id, seq = 9 } }
    client:wait_event "RESUMED"
    fake:fault { ["do"] = "invalid_session", resumable = false }
    assert.is_false(client:wait_op(9).d)
    assert.same({}, fake:state("sessions").sessions)
    client:send(identify_payload())
    client:wait_event "READY"
  end)

  it("heartbeat_request sends op 1, as often as asked", function()
    local client = ready()
    fake:fault { ["do"] = "heartbeat_request", times = 30 }
    for _ = 1, 30 do
      client:wait_op(1)
    end
  end)

  it("withhold_acks withholds some or all, with or without events", function()
    local client = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    fake:fault { ["do"] = "withhold_acks", times = 2 }
    for _ = 1, 3 do
      beat(client)
    end
    client:wait_op(11)
    local beats = fake:state("connections").connections[1]
    assert.same({ 3, 1 }, { beats.heartbeats, beats.heartbeats_acked })
    fake:fault { ["do"] = "withhold_acks", dispatches = true }
    beat(client)
    fake:emit { count = 2, shard = 0 }
    fake:wait_for("the beat", function(state) return state.connections[1].heartbeats == 4 end)
    assert.equal(3, #client:events())
    fake:fault { ["do"] = "clear" }
    loop.wait_for("the events", function() return #client:events() == 5 end)
    beat(client)
    client:wait_op(11)
  end)

  it("duplicate sends events again, skip leaves numbers out", function()
    local client = ready { shard = { 0, 4 } }
    fake:emit { count = 3, shard = 0 }
    loop.wait_for("the events", function() return #client:events() == 6 end)
    fake:fault { ["do"] = "duplicate", times = 2, shard = 0 }
    loop.wait_for("the doubles", function() return #client:events() == 8 end)
    local events = client:events()
    assert.equal(events[5].raw, events[7].raw)
    assert.equal(events[6].raw, events[8].raw)
    fake:fault { ["do"] = "skip", times = 4, shard = 0 }
    fake:emit { count = 1, shard = 0 }
    assert.equal(11, client:wait_message("s 11", function(m) return m.s == 11 end).s)
  end)

  it("deafen keeps events from a session, all or those of a type, until it is resumed or for good", function()
    local client = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    local function typing() fake:emit { event = "TYPING_START", d = { user_id = "1" }, shard = 0 } end
    fake:fault { ["do"] = "deafen", event = "MESSAGE_CREATE", shard = 0 }
    fake:emit { count = 2, shard = 0 }
    typing()
    assert.equal(4, client:wait_event("TYPING_START").s) -- the others have no numbers
    fake:fault { ["do"] = "deafen", shard = 0 }
    typing()
    beat(client)
    client:wait_op(11)
    assert.equal(4, #client:events())
    fake:fault { ["do"] = "clear" }
    typing()
    loop.wait_for("the event", function() return #client:events() == 5 end)
  end)

  it("outage takes guilds away and brings them back", function()
    local client = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    fake:fault { ["do"] = "outage", guilds = 2, times = 3, shard = 0 }
    loop.wait_for("the flaps", function() return #client:events() == 15 end)
    assert.equal(6, #client:events "GUILD_DELETE")
    assert.is_true(client:events("GUILD_DELETE")[1].d.unavailable)
    fake:fault { ["do"] = "outage", stays = true, shard = 0 }
    loop.wait_for("the outage", function() return #client:events "GUILD_DELETE" == 7 end)
    assert.equal(16, #client:events())
  end)

  it("big_guild sends one large GUILD_CREATE", function()
    local client = ready({ shard = { 0, 4 } }, { query = ZLIB })
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    fake:fault { ["do"] = "big_guild", bytes = 2000000, shard = 0 }
    loop.wait_for("it", function() return #client:events() == 4 end)
    local size = #client:events()[4].raw
    assert.is_true(size > 1900000 and size < 2100000)
  end)

  it("kill_session ends the session and leaves the connection", function()
    local client = ready()
    fake:fault { ["do"] = "kill_session" }
    beat(client)
    client:wait_op(11)
    client:drop()
    assert.is_false(resuming(client):wait_op(9).d)
  end)

  it("reset_token ends everything", function()
    local client = ready()
    fake:fault { ["do"] = "reset_token" }
    assert.equal(4004, client:wait_end())
    assert.equal(4004, identifying():wait_end())
    assert.is_false(resuming(client):wait_op(9).d)
    assert.equal(401, world.rest("GET", "/gateway/bot").status)
  end)

  it("message, frame, bytes and ping send what they are given", function()
    local client = ready()
    fake:fault { ["do"] = "message", text = '{"op":0,"s":99,"t":"X","d":[1]' }
    loop.wait_for("bad JSON", function() return client.messages[#client.messages].bad end)
    fake:fault { ["do"] = "frame", opcode = 1, rsv = 2, masked = true, fin = false, payload = "abc" }
    loop.wait_for("the frame", function() return client.frames[#client.frames].rsv == 2 end)
    local frame = client.frames[#client.frames]
    assert.same({ 1, false, true, "abc" }, { frame.opcode, frame.fin, frame.masked, frame.payload })
    fake:fault { ["do"] = "ping", payload = "there?" }
    loop.wait_for("the ping", function() return client.frames[#client.frames].payload == "there?" end)
    fake:fault { ["do"] = "bytes", hex = "8a026869" }
    loop.wait_for("the pong", function() return client.frames[#client.frames].payload == "hi" end)
  end)

  it("can be meant for one shard, some, or one connection", function()
    local clients = {}
    for shard = 0, 3 do
      clients[shard] = ready { shard = { shard, 4 } }
    end
    fake:fault { ["do"] = "reconnect", shards = { 1, 2 } }
    clients[1]:wait_op(7)
    clients[2]:wait_op(7)
    local id
    for _, connection in ipairs(fake:state("connections").connections) do
      id = connection.shard == 3 and connection.connection or id
    end
    fake:fault { ["do"] = "reconnect", connection = id }
    clients[3]:wait_op(7)
    beat(clients[0])
    clients[0]:wait_op(11)
    for _, message in ipairs(clients[0].messages) do
      assert.not_equal(7, message.op)
    end
  end)
end)

describe("the wire", function()
  for _, query in ipairs { PLAIN, ZLIB, ZSTD } do
    for name, wire in pairs {
      dribble = { dribble = true },
      ["split into single bytes"] = { split = 1 },
      ["split at every place"] = { split_walk = true },
      ["fragments with pings"] = { fragment = 7, pings = true },
      ["the marker inside"] = { flush_inside = true, fragment = 50 },
    } do
      it(name .. " still carries everything " .. (query:match "compress=(.*)$" or "plain"), function()
        fake:fault { at = "hello", ["do"] = "wire", wire = wire }
        local client = ready({ shard = { 0, 4 } }, { query = query })
        fake:emit { count = 20, shard = 0 }
        loop.wait_for("all events", function() return #client:events() == 23 end)
        for i, event in ipairs(client:events()) do
          assert.equal(i, event.s)
        end
      end)
    end
  end

  it("is as it says", function()
    fake:fault { at = "hello", ["do"] = "wire", wire = { split = 1 } }
    local client = connect { query = ZLIB }
    client:wait_op(10)
    for _, piece in ipairs(client.pieces) do
      assert.equal(1, #piece)
    end
    assert.is_true(#client.pieces > 50)
    fake:fault { at = "hello", ["do"] = "wire", wire = { fragment = 10, pings = true } }
    client = connect { query = PLAIN }
    client:wait_op(10)
    assert.is_true(#client.frames > 10)
    assert.same({ 1, 9, 0 }, { client.frames[1].opcode, client.frames[2].opcode, client.frames[3].opcode })
    fake:fault { at = "hello", ["do"] = "wire", wire = { flush_inside = true } }
    client = connect { query = ZLIB }
    client:wait_op(10)
    assert.is_not_nil(client.pieces[1]:sub(1, -5):find("\0\0\255\255", 1, true))
    assert.equal(1, #client.pieces)
    assert.equal("\0\0\255\255", client.frames[1].payload:sub(-4))
    fake:fault { at = "hello", ["do"] = "wire", wire = { masked = true, rsv = 4 } }
    client = ws_client.open(fake.gateway, { query = PLAIN })
    loop.wait_for("a frame", function() return client.frames[1] end)
    assert.same({ true, 4 }, { client.frames[1].masked, client.frames[1].rsv })
    client:drop()
  end)

  it("begins a zlib stream with its usual header, and a zstd stream with a window of 256 KiB", function()
    local client = connect { query = ZLIB }
    client:wait_op(10)
    assert.equal("\120\156", client.pieces[1]:sub(1, 2))
    assert.equal("\0\0\255\255", client.pieces[1]:sub(-4))
    client = connect { query = ZSTD }
    client:wait_op(10)
    assert.equal("\40\181\47\253\0\64", client.pieces[1]:sub(1, 6))
  end)

  for _, query in ipairs { PLAIN, ZLIB, ZSTD } do
    it("can be corrupt " .. query, function()
      local client = ready({ shard = { 0, 4 } }, { query = query })
      loop.wait_for("the guilds", function() return #client:events() == 3 end)
      fake:fault { ["do"] = "corrupt", shard = 0 }
      fake:emit { count = 1, shard = 0 }
      loop.wait_for("the damage", function()
        return client.broken or client.messages[#client.messages].bad
      end)
    end)

    it("can be corrupt from the first message on " .. query, function()
      fake:fault { at = "hello", ["do"] = "corrupt" }
      local client = connect { query = query }
      loop.wait_for("the damage", function()
        return client.broken or client.messages[1] and client.messages[1].bad
      end)
    end)
  end

  it("can lose half of the text", function()
    local client = ready({}, { query = ZLIB })
    fake:fault { ["do"] = "truncate" }
    beat(client)
    loop.wait_for("the rest", function() return client.messages[#client.messages].bad end)
    beat(client)
    client:wait_op(11)
  end)
end)
