-- The fake Discord by itself: who gets a session, and what a session survives.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
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
local violation = world.violation

describe("an identify", function()
  local function refused(code, rule, changes)
    local client = connect()
    client:wait_op(10)
    client:send(identify_payload(changes))
    assert_closed(client, code, rule)
    assert.equal(tostring(code), fake:state("identifies").identifies[1].verdict)
  end

  it("with a wrong token closes with 4004", function() refused(4004, "token", { token = "wrong" }) end)
  it("without properties closes with 4002", function()
    refused(4002, "identify_shape", { properties = cjson.null })
  end)
  it("with a large_threshold out of range closes with 4002", function()
    refused(4002, "identify_shape", { large_threshold = 251 })
  end)
  it("with a compress that is no boolean closes with 4002", function()
    refused(4002, "identify_shape", { compress = "yes" })
  end)
  it("without intents closes with 4013", function() refused(4013, "intents", { intents = cjson.null }) end)
  it("with an undocumented intent closes with 4013", function()
    refused(4013, "intents", { intents = 33281 + 2 ^ 17 })
  end)
  it("with a privileged intent that is off closes with 4014", function()
    fake:settings { privileged_intents = 0 }
    refused(4014, "disallowed_intents")
  end)
  it("with a bad shard closes with 4010", function()
    for _, shard in ipairs { { 4, 4 }, { -1, 4 }, { 0, 0 }, { 0 }, { "0", "4" } } do
      fake:reset()
      refused(4010, "shard", { shard = shard })
    end
  end)
  it("with a number of shards that is no multiple closes with 4010", function()
    fake:settings { shard_multiple = 3 }
    refused(4010, "shard", { shard = { 0, 4 } })
  end)
  it("for too many guilds closes with 4011", function()
    fake:settings { max_guilds = 7 }
    refused(4011, "sharding_required")
    assert.is_not_nil(ready { shard = { 0, 4 } })
  end)

  it("twice closes with 4005", function()
    local client = ready()
    client:send(identify_payload())
    assert_closed(client, 4005, "already_identified")
  end)

  it("may be bad when the settings say so", function()
    fake:settings { bad_identify = "ignore" }
    assert.is_not_nil(ready { properties = cjson.null })
  end)

  it("too soon in its bucket gets op 9 and may try again on the same socket", function()
    fake:settings { identify_window = 300 }
    ready { shard = { 0, 4 } }
    local client = connect()
    client:wait_op(10)
    client:send(identify_payload { shard = { 1, 4 } })
    local answer = client:wait_op(9)
    assert.is_false(answer.d)
    local seen = fake:state "identifies"
    assert.same({ "ok", "op9" }, { seen.identifies[1].verdict, seen.identifies[2].verdict })
    assert.is_true(seen.identifies[2].since_last < 300)
    assert.equal("identify_too_soon", violation("identify_too_soon").rule)
    local free_at = loop.now() + 320
    loop.wait_for("the window to pass", function() return loop.now() > free_at end)
    client:send(identify_payload { shard = { 1, 4 } })
    client:wait_event "READY"
  end)

  it("has a bucket of its own for each shard modulo max_concurrency", function()
    fake:settings { max_concurrency = 2, identify_window = 60000 }
    ready { shard = { 0, 4 } }
    ready { shard = { 1, 4 } }
    local client = connect()
    client:wait_op(10)
    client:send(identify_payload { shard = { 2, 4 } })
    client:wait_op(9)
    assert.equal(0, fake:state("identifies").identifies[3].bucket)
  end)

  it("uses up the limit; one too many resets the token", function()
    fake:settings { remaining = 1, identify_window = 0 }
    local first = ready { shard = { 0, 4 } }
    assert.equal(0, fake:state("session_start_limit").session_start_limit.remaining)
    local client = connect()
    client:wait_op(10)
    client:send(identify_payload { shard = { 1, 4 } })
    assert_closed(client, 4004, "session_start_limit")
    assert.equal(4004, first:wait_end())
    assert.same({}, fake:state("sessions").sessions)
    assert.equal(401, world.rest("GET", "/gateway/bot").status)
  end)

  it("fills the limit up again when the window is over", function()
    fake:settings { total = 10, remaining = 5, reset_after = 100 }
    local first = world.rest("GET", "/gateway/bot"):json().session_start_limit
    assert.equal(5, first.remaining)
    assert.is_true(first.reset_after > 0 and first.reset_after <= 100)
    fake:wait_for("the new window", function(state) return state.session_start_limit.remaining == 10 end)
    assert.equal(0, world.rest("GET", "/gateway/bot"):json().session_start_limit.reset_after)
  end)
end)

describe("a session", function()
  it("begins with READY, s 1, and a GUILD_CREATE for each of the shard's guilds", function()
    local client = ready { shard = { 1, 4 } }
    local event = client:events()[1]
    assert.same({ "READY", 1 }, { event.t, event.s })
    assert.same({ 1, 4 }, event.d.shard)
    assert.equal(32, #event.d.session_id)
    assert.equal(fake.gateway, event.d.resume_gateway_url)
    local guilds = fake:guilds(1)
    assert.equal(2, #guilds)
    loop.wait_for("the guilds", function() return #client:events "GUILD_CREATE" == 2 end)
    for i, create in ipairs(client:events "GUILD_CREATE") do
      assert.equal(guilds[i].id, event.d.guilds[i].id)
      assert.is_true(event.d.guilds[i].unavailable)
      assert.same({ guilds[i].id, false, i + 1 }, { create.d.id, create.d.unavailable, create.s })
    end
  end)

  it("without the GUILDS intent lists the guilds and sends none", function()
    local client = ready { intents = 512 }
    client:send { op = 1, d = cjson.null }
    client:wait_op(11)
    assert.equal(8, #client:events()[1].d.guilds)
    assert.equal(1, #client:events())
  end)

  it("can have its guilds as stubs, in outage, or not at all", function()
    for mode, name in pairs { stub = "GUILD_CREATE", outage = "GUILD_DELETE" } do
      fake:reset()
      fake:settings { guild_create = mode }
      local event = ready():wait_event(name)
      assert.same({ id = event.d.id, unavailable = true }, event.d)
    end
    fake:reset()
    fake:settings { guild_create = "none" }
    local client = ready()
    client:send { op = 1, d = cjson.null }
    client:wait_op(11)
    assert.equal(1, #client:events())
  end)

  for _, query in ipairs { "", "&compress=zlib-stream", "&compress=zstd-stream" } do
    it("outlives its connection and replays what was missed" .. query, function()
      local client = ready { shard = { 0, 4 } }
      loop.wait_for("the guilds", function() return #client:events() == 3 end)
      client:drop()
      fake:wait_for("the end", function(state) return #state.connections == 0 end)
      fake:emit { count = 5, shard = 0 }
      fake:wait_emitted()
      local again = connect { query = "?v=10&encoding=json" .. query }
      again:wait_op(10)
      again:send { op = 6, d = { token = fake.token, session_id = client.session_id, seq = 2 } }
      local resumed = again:wait_event "RESUMED"
      local events = again:events()
      assert.equal(7, #events)
      for i, event in ipairs(events) do
        assert.equal(i + 2, event.s)
      end
      assert.equal("GUILD_CREATE", events[1].t)
      assert.equal(9, resumed.s)
      fake:emit { count = 1, shard = 0 }
      assert.equal(10, again:wait_event("MESSAGE_CREATE") and again:events()[8].s)
      local seen = fake:state("resumes,violations")
      assert.same({ "ok", 2, 8, 6 }, {
        seen.resumes[1].result, seen.resumes[1].seq, seen.resumes[1].current, seen.resumes[1].replayed,
      })
      assert.same({}, seen.violations)
    end)
  end

  local function resume(changes, options)
    local client = connect(options)
    client:wait_op(10)
    local d = { token = fake.token, session_id = "none", seq = 1 }
    for name, value in pairs(changes) do
      d[name] = value
    end
    client:send { op = 6, d = d }
    return client
  end

  it("that is not known gets op 9", function()
    assert.is_false(resume({}):wait_op(9).d)
    assert.equal("resume_session", violation("resume_session").rule)
  end)

  it("resumed with another token gets op 9", function()
    local first = ready()
    first:drop()
    assert.is_false(resume({ session_id = first.session_id, token = "wrong" }):wait_op(9).d)
  end)

  it("resumed with too high a sequence closes with 4007 and is gone", function()
    local first = ready()
    first:drop()
    assert_closed(resume { session_id = first.session_id, seq = 900 }, 4007, "resume_sequence")
    assert.same({}, fake:state("sessions").sessions)
  end)

  it("resumed from below what is kept closes with 4007, or gets op 9", function()
    for mode, code in pairs { ["4007"] = 4007, op9 = false } do
      fake:reset()
      fake:settings { replay_events = 3, bad_sequence = mode }
      local first = ready()
      loop.wait_for("the guilds", function() return #first:events() == 9 end)
      first:drop()
      fake:wait_for("the end", function(state) return #state.connections == 0 end)
      assert.equal(3, fake:state("sessions").sessions[1].retained)
      local client = resume { session_id = first.session_id, seq = 2 }
      if code then
        assert.equal(4007, client:wait_end())
      else
        assert.is_false(client:wait_op(9).d)
      end
    end
  end)

  it("resumed with another version closes with 4002", function()
    local first = ready()
    first:drop()
    assert_closed(resume({ session_id = first.session_id }, { query = "?v=9&encoding=json" }),
      4002, "resume_query")
  end)

  it("resumed on another host is accepted, noted, and cut if so set", function()
    fake:settings { resume_url = "ws://gateway-east.example", resume_host = "cut", cut_after = 20 }
    local first = ready()
    assert.equal("ws://gateway-east.example", first:events()[1].d.resume_gateway_url)
    first:drop()
    local client = resume { session_id = first.session_id }
    client:wait_event "RESUMED"
    assert.is_nil(client:wait_end())
    assert.equal("cut", violation("resume_host").verdict)
    client = resume({ session_id = first.session_id, seq = 1 },
      { headers = { Host = "gateway-east.example" } })
    client:wait_event "RESUMED"
    assert.equal(1, #fake:state("violations").violations)
  end)

  it("resumed elsewhere loses its older connection", function()
    local first = ready()
    local second = resume { session_id = first.session_id, seq = 1 }
    second:wait_event "RESUMED"
    first:wait_end()
    local connections = fake:state("connections").connections
    assert.equal(1, #connections)
    second:close(4000)
    fake:wait_for("its end", function(state) return #state.connections == 0 end, { only = "connections" })
    resume({ session_id = first.session_id, seq = 1 }):wait_event "RESUMED"
    local resumes = fake:state("resumes").resumes
    assert.equal("number", type(resumes[1].taken_from))
    assert.not_equal(connections[1].connection, resumes[1].taken_from)
    assert.equal(cjson.null, resumes[2].taken_from)
  end)

  it("does not replay an old RESUMED", function()
    local first = ready { shard = { 0, 4 } }
    loop.wait_for("the guilds", function() return #first:events() == 3 end)
    first:drop()
    local second = resume { session_id = first.session_id, seq = 3 }
    assert.equal(4, second:wait_event("RESUMED").s)
    second:drop()
    local third = resume { session_id = first.session_id, seq = 2 }
    assert.equal(5, third:wait_event("RESUMED").s)
    assert.same({ 3, 5 }, { third:events()[1].s, third:events()[2].s })
  end)

  it("ends with the client's Close 1000 or 1001, and with no other", function()
    for _, code in ipairs { 1000, 1001, 4000 } do
      fake:reset()
      local client = ready()
      client:close(code, "bye")
      assert.equal(code, client:wait_end())
      local state = fake:state()
      assert.equal(code == 4000 and 1 or 0, #state.sessions)
      assert.same({ "client", "close", code, "bye" },
        { state.closes[1].by, state.closes[1].how, state.closes[1].code, state.closes[1].reason })
    end
  end)

  it("expires", function()
    fake:settings { session_timeout = 50 }
    ready():drop()
    fake:wait_for("its end", function(state) return #state.sessions == 0 end)
    assert.equal("expired", fake:state("sessions_lost").sessions_lost[1].why)
  end)

  it("shares its shard: both get every event", function()
    local first, second = ready { shard = { 0, 4 } }, ready { shard = { 0, 4 } }
    local other = ready { shard = { 0, 1 } }
    fake:emit { count = 3, shard = 0 }
    for _, client in ipairs { first, second, other } do
      loop.wait_for("the messages", function() return #client:events "MESSAGE_CREATE" == 3 end)
    end
  end)
end)
