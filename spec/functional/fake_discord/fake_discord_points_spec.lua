-- The fake Discord by itself: faults that wait for their moment, and recordings.
-- What is done at once: fake_discord_faults_spec.lua.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local http = require "spec.support.http"
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

local function wait_recorded(list, n)
  return fake:wait_for(list, function(state) return #state[list] >= n and state[list] end, { only = list })
end

describe("at accept", function()
  it("rst, fin and hang", function()
    for _, action in ipairs { "rst", "fin" } do
      fake:fault { at = "accept", ["do"] = action }
      local client = connect()
      assert.is_not_nil(client.ended)
      assert.is_nil(client.status)
    end
    fake:fault { at = "accept", ["do"] = "hang" }
    local client = ws_client.open(fake.gateway)
    local other = connect() -- the rule is used up
    other:wait_op(10)
    assert.is_nil(client.status or client.ended)
    client:drop()
  end)
end)

describe("at upgrade", function()
  for _, status in ipairs { 400, 401, 403, 429, 502, 503, 520 } do
    it("status " .. status, function()
      fake:fault {
        at = "upgrade", ["do"] = "status", status = status, html = status == 403, retry_after = 1.5,
        body = status == 429 and { message = "slow", retry_after = 1.5, global = false } or nil,
      }
      local client = connect()
      assert.equal(status, client.status)
      loop.wait_for("the end", function() return client.ended end)
      assert.equal("1.5", client.headers["retry-after"])
      if status == 403 then
        assert.matches("<html>", client.body)
      elseif status == 429 then
        assert.equal("slow", cjson.decode(client.body).message)
      end
      connect():wait_op(10)
      local seen = fake:state("handshakes").handshakes
      assert.same({ status, 101 }, { seen[1].status, seen[2].status })
    end)
  end

  it("rst, hang and delay", function()
    fake:fault { at = "upgrade", ["do"] = "rst" }
    assert.equal("reset", connect().ended)
    fake:fault { at = "upgrade", ["do"] = "hang" }
    local client = ws_client.open(fake.gateway)
    connect():wait_op(10)
    assert.is_nil(client.status)
    client:drop()
    fake:fault { at = "upgrade", ["do"] = "delay", ms = 80 }
    local began = loop.now()
    connect():wait_op(10)
    assert.is_true(loop.now() - began >= 75)
  end)
end)

describe("at hello", function()
  it("withhold, and only that once", function()
    fake:fault { at = "hello", ["do"] = "withhold" }
    local client = connect()
    connect():wait_op(10)
    assert.same({}, client.messages)
  end)

  it("delay", function()
    fake:fault { at = "hello", ["do"] = "delay", ms = 80 }
    local began = loop.now()
    connect():wait_op(10)
    assert.is_true(loop.now() - began >= 75)
  end)

  it("reconnect comes instead of HELLO, or before it", function()
    fake:fault { at = "hello", ["do"] = "reconnect" }
    local client = connect()
    client:wait_op(7)
    assert.equal(1, #client.messages)
    fake:fault { at = "hello", ["do"] = "reconnect", ["then"] = "continue" }
    client = connect()
    client:wait_op(10)
    assert.equal(7, client.messages[1].op)
  end)

  it("invalid_session, close, rst and fin", function()
    fake:fault { at = "hello", ["do"] = "invalid_session", resumable = true }
    assert.is_true(connect():wait_op(9).d)
    fake:fault { at = "hello", ["do"] = "close", code = 1011 }
    assert.equal(1011, connect():wait_end())
    for _, action in ipairs { "rst", "fin" } do -- libuv calls an RST right behind data an EOF
      fake:fault { at = "hello", ["do"] = action }
      local client = connect()
      assert.is_nil(client:wait_end())
      assert.same({}, client.messages)
    end
  end)

  it("can be for all connections, after the first few", function()
    fake:fault { at = "hello", ["do"] = "close", code = 4000, count = "all", skip = 1 }
    connect():wait_op(10)
    assert.equal(4000, connect():wait_end())
    assert.equal(4000, connect():wait_end())
    assert.equal(1, #fake:state("faults").faults)
    fake:fault { ["do"] = "clear" }
    connect():wait_op(10)
  end)
end)

describe("at identify", function()
  it("withhold: no READY, but the connection lives", function()
    fake:fault { at = "identify", ["do"] = "withhold" }
    local client = identifying()
    beat(client)
    client:wait_op(11)
    assert.same({}, client:events())
    assert.equal("ok", wait_recorded("identifies", 1)[1].verdict)
    assert.equal("identifying", fake:state("connections").connections[1].state)
  end)

  it("delay", function()
    fake:fault { at = "identify", ["do"] = "delay", ms = 80 }
    local client = identifying()
    local began = loop.now()
    client:wait_event "READY"
    assert.is_true(loop.now() - began >= 70)
  end)

  for _, resumable in ipairs { true, false } do
    it("invalid_session " .. tostring(resumable) .. ", and the client may identify again", function()
      fake:fault { at = "identify", ["do"] = "invalid_session", resumable = resumable }
      local client = identifying()
      assert.equal(resumable, client:wait_op(9).d)
      client:send(identify_payload())
      client:wait_event "READY"
    end)
  end

  it("close, reconnect, rst: for the shard that is meant", function()
    fake:fault { at = "identify", ["do"] = "close", code = 4000, shard = 1 }
    fake:fault { at = "identify", ["do"] = "reconnect", shard = 2 }
    fake:fault { at = "identify", ["do"] = "rst", shard = 3 }
    identifying({ shard = { 0, 4 } }):wait_event "READY"
    assert.equal(4000, identifying({ shard = { 1, 4 } }):wait_end())
    identifying({ shard = { 2, 4 } }):wait_op(7)
    local client = identifying({ shard = { 3, 4 } })
    client:wait_end()
    assert.equal("reset", client.ended)
    assert.equal(996, fake:state("session_start_limit").session_start_limit.remaining)
  end)
end)

describe("at resume", function()
  local first
  before_each(function()
    first = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #first:events() == 3 end)
    first:drop()
    fake:wait_for("the end", function(state) return #state.connections == 0 end)
  end)

  it("rst is a bricked resume; the session stays", function()
    fake:fault { at = "resume", ["do"] = "rst", count = 2 }
    for _ = 1, 2 do
      local client = resuming(first)
      client:wait_end()
      assert.equal("reset", client.ended)
    end
    resuming(first):wait_event "RESUMED"
    assert.equal(3, #fake:state("resumes").resumes)
  end)

  it("withhold: nothing, or all but RESUMED", function()
    fake:fault { at = "resume", ["do"] = "withhold" }
    local client = resuming(first)
    beat(client)
    client:wait_op(11)
    assert.same({}, client:events())
    client:drop()
    fake:fault { at = "resume", ["do"] = "withhold", replay = true }
    client = resuming(first)
    loop.wait_for("the replay", function() return #client:events() == 2 end)
    beat(client)
    client:wait_op(11)
    assert.same({}, client:events "RESUMED")
  end)

  it("delay: of everything, or of RESUMED", function()
    for _, replay in ipairs { false, true } do
      fake:fault { at = "resume", ["do"] = "delay", ms = 80, replay = replay }
      local client = resuming(first)
      local began = loop.now()
      client:wait_event "GUILD_CREATE"
      assert.equal(not replay, loop.now() - began >= 70)
      client:wait_event "RESUMED"
      assert.is_true(loop.now() - began >= 70)
      client:drop()
    end
  end)

  it("invalid_session true lets the client resume again; false ends the session", function()
    fake:fault { at = "resume", ["do"] = "invalid_session", resumable = true }
    local client = resuming(first)
    assert.is_true(client:wait_op(9).d)
    client:send { op = 6, d = { token = fake.token, session_id = first.session_id, seq = 3 } }
    client:wait_event "RESUMED"
    client:drop()
    fake:fault { at = "resume", ["do"] = "invalid_session", resumable = false }
    assert.is_false(resuming(first):wait_op(9).d)
    assert.same({}, fake:state("sessions").sessions)
  end)

  it("close and reconnect", function()
    fake:fault { at = "resume", ["do"] = "close", code = 4007 }
    assert.equal(4007, resuming(first):wait_end())
    assert.same({}, fake:state("sessions").sessions)
  end)
end)

describe("at heartbeat", function()
  it("withhold, rst and close", function()
    local client = ready { shard = { 0, 4 } }
    fake:fault { at = "heartbeat", ["do"] = "withhold", shard = 0 }
    fake:fault { at = "heartbeat", ["do"] = "close", code = 4000, shard = 0, skip = 0 }
    beat(client)
    beat(client)
    assert.equal(4000, client:wait_end())
    assert.equal(0, fake:state("closed_connections").closed_connections[1].heartbeats_acked)
  end)
end)

describe("at rest", function()
  it("status, with JSON, HTML, text and headers, for the route that is meant", function()
    fake:fault {
      at = "rest", ["do"] = "status", status = 429, route = "/gateway/bot", retry_after = 2,
      headers = { ["X-Scope"] = "user" },
      body = { message = "You are being rate limited.", retry_after = 2.114, global = false },
    }
    fake:fault { at = "rest", ["do"] = "status", status = 403, html = true, route = "/gateway/bot" }
    fake:fault { at = "rest", ["do"] = "status", status = 200, body = "garbage{", route = "/gateway/bot" }
    assert.equal(200, world.rest("GET", "/gateway").status)
    local response = world.rest("GET", "/gateway/bot")
    local headers = response.headers
    assert.same({ 429, "2", "user", 2.114 },
      { response.status, headers["retry-after"], headers["x-scope"], response:json().retry_after })
    response = world.rest("GET", "/gateway/bot")
    assert.same({ 403, "text/html" }, { response.status, response.headers["content-type"] })
    assert.equal("garbage{", world.rest("GET", "/gateway/bot").body)
    assert.equal(200, world.rest("GET", "/gateway/bot").status)
    assert.equal(5, #fake:state("rest").rest)
  end)

  it("rst, fin, delay and hang", function()
    fake:fault { at = "rest", ["do"] = "rst" }
    assert.is_nil((world.rest("GET", "/gateway/bot")))
    fake:fault { at = "rest", ["do"] = "fin" }
    assert.is_nil((world.rest("GET", "/gateway/bot")))
    fake:fault { at = "rest", ["do"] = "delay", ms = 80 }
    local began = loop.now()
    assert.equal(200, world.rest("GET", "/gateway/bot").status)
    assert.is_true(loop.now() - began >= 75)
    fake:fault { at = "rest", ["do"] = "hang" }
    assert.has_error(function()
      http.request("GET", fake.rest .. "/gateway", { timeout = 100 })
    end)
  end)
end)

describe("a recording", function()
  it("is sent to all connections with rising s, and op 11 finds its place between", function()
    local clients = {}
    for shard = 0, 3 do
      local query = shard == 3 and PLAIN or shard == 1 and ZSTD or ZLIB
      clients[shard] = ready({ shard = { shard, 4 } }, { query = query })
    end
    fake:emit { count = 1, shard = 2 } -- the others are brought to the same s
    fake:wait_emitted()
    local started = fake:bulk { events = 1000, rate = 40000 }
    assert.equal(4000, started.events)
    for shard = 0, 3 do
      beat(clients[shard], 1)
    end
    for shard = 0, 3 do
      local client = clients[shard]
      loop.wait_for("the recording", function() return #client:events() == 1004 end, 20000)
      for i, event in ipairs(client:events()) do
        assert.equal(i, event.s)
      end
      client:wait_op(11)
      beat(client, 1004)
      client:wait_op(11)
    end
    fake:emit { count = 1 }
    for shard = 0, 3 do
      loop.wait_for("what comes after", function() return #clients[shard]:events() == 1005 end)
    end
    assert.same({ 0, 4000 }, { fake:bulk().connections, fake:bulk().events })
  end)

  it("goes at full speed in single or in large writes, and can be fetched", function()
    local client = ready({ shard = { 0, 4 } }, { query = ZLIB })
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    for i, writes in ipairs { "event", "bulk" } do
      local before = client.bytes
      fake:bulk { events = 2000, writes = writes, size = 500 }
      loop.wait_for("the recording", function() return #client:events() == 3 + 2000 * i end, 20000)
      local recording = http.request("GET", fake.admin .. "/bulk/recording")
      assert.equal(client.bytes - before, #recording.body)
    end
    assert.error_matches(function() fake:bulk { events = 10, shard = 3 } end, "no connection matches")
  end)

  it("cannot be resumed into", function()
    local client = ready({ shard = { 0, 4 } }, { query = PLAIN })
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    fake:bulk { events = 100 }
    loop.wait_for("the recording", function() return #client:events() == 103 end)
    client:drop()
    fake:wait_for("the end", function(state) return #state.connections == 0 end)
    assert.equal(4007, resuming(client, 50):wait_end())
  end)
end)
