-- The fake Discord by itself: sessions of several numbers of shards at once.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local shard_of = require("spec.support.resharding").shard_of
local world = require "spec.support.fake_world"

local fake

setup(function()
  fake = fake_discord.start { shards = 2, guilds = 12 }
  world.use(fake)
end)
teardown(function() fake:stop() end)
before_each(function()
  fake:reset()
  fake:settings { identify_window = 0 }
end)
after_each(world.cleanup)

local ready = world.ready

-- Sessions of all shards of a total, by shard id.
local function all_of(total, changes)
  local clients = {}
  for shard = 0, total - 1 do
    local given = { shard = { shard, total } }
    for name, value in pairs(changes or {}) do
      given[name] = value
    end
    clients[shard] = ready(given)
  end
  return clients
end

-- Waits until everything that was sent to the client so far has come.
local function sync(client)
  local acks = 0
  for _, message in ipairs(client.messages) do
    acks = acks + (message.op == 11 and 1 or 0)
  end
  client:send { op = 1, d = cjson.null }
  loop.wait_for("op 11", function()
    local now = 0
    for _, message in ipairs(client.messages) do
      now = now + (message.op == 11 and 1 or 0)
    end
    return now > acks
  end)
end

local function refused(code, changes)
  local client = world.connect()
  client:wait_op(10)
  client:send(world.identify_payload(changes))
  assert.equal(code, client:wait_end())
end

describe("sessions of several totals", function()
  it("get each the events of their guilds, the same ones, by one number", function()
    local few, more = all_of(2), all_of(3)
    fake:emit { count = 30 }
    fake:wait_emitted()
    local seen = {}
    for total, clients in pairs { [2] = few, [3] = more } do
      local count = 0
      for shard, client in pairs(clients) do
        sync(client)
        for _, event in ipairs(client:events "MESSAGE_CREATE") do
          assert.equal(shard, shard_of(event.d.guild_id, total))
          local d = event.raw:match '"d":(.*)$'
          seen[event.d.nonce] = seen[event.d.nonce] or d
          assert.equal(seen[event.d.nonce], d)
          count = count + 1
        end
      end
      assert.equal(60, count)
    end
    local sent = 0
    for _, last in pairs(fake:sent_guilds()) do
      sent = sent + last
    end
    assert.equal(60, sent)
    assert.equal(5, #fake:sent().sessions)
  end)

  it("list their guilds in READY, and follow those that come and go", function()
    local few, more = all_of(2), all_of(3)
    local guild = fake:emit { kind = "joined", shard = 2, total = 3 }.guild
    assert.equal(2, shard_of(guild, 3))
    fake:emit { count = 3, guild = guild }
    fake:wait_emitted()
    fake:emit { kind = "left", guild = guild }
    for _, client in ipairs { few[shard_of(guild, 2)], more[2] } do
      local event = client:wait_event "GUILD_DELETE"
      assert.same({ id = guild }, event.d)
      assert.equal(guild, client:events("GUILD_CREATE")[#client:events("GUILD_CREATE")].d.id)
      assert.equal(3, #client:events "MESSAGE_CREATE")
    end
    assert.equal(3, fake:sent_guilds()[guild])
    for shard, client in pairs(more) do
      for _, listed in ipairs(client:events("READY")[1].d.guilds) do
        assert.equal(shard, shard_of(listed.id, 3))
      end
    end
  end)

  it("get direct messages on shard 0 of each", function()
    local few, more = all_of(2), all_of(3)
    assert.equal(2, fake:emit({ interaction = 2, dm = true }).sessions)
    assert.equal(2, fake:emit({ event = "USER_UPDATE", d = { id = "1" }, shard = 0 }).sessions)
    for _, clients in ipairs { few, more } do
      for shard, client in pairs(clients) do
        sync(client)
        local expected = shard == 0 and 1 or 0
        assert.equal(expected, #client:events "INTERACTION_CREATE")
        assert.equal(expected, #client:events "USER_UPDATE")
      end
    end
  end)

  it("hear of the bot's voice state, and the one that asked of the server", function()
    local voice = 33281 + 128
    local few, more = all_of(2, { intents = voice }), all_of(3, { intents = voice })
    local guild = fake:guilds()[1].id
    local asking, other = more[shard_of(guild, 3)], few[shard_of(guild, 2)]
    asking:send { op = 4, d = { guild_id = guild, channel_id = "5", self_mute = false, self_deaf = false } }
    local state = other:wait_event "VOICE_STATE_UPDATE"
    assert.same(state.d, asking:wait_event("VOICE_STATE_UPDATE").d)
    assert.equal(asking.session_id, state.d.session_id)
    asking:wait_event "VOICE_SERVER_UPDATE"
    sync(other)
    assert.same({}, other:events "VOICE_SERVER_UPDATE")
  end)

  it("keep the bot's voice state through the session that asked last, and drop it at its end", function()
    local voice = { intents = 33281 + 128 }
    local few, more = all_of(2, voice), all_of(3, voice)
    local guild = fake:guilds()[1].id
    local old, new = few[shard_of(guild, 2)], more[shard_of(guild, 3)]
    local function join(client)
      client:send { op = 4, d = { guild_id = guild, channel_id = "5", self_mute = false, self_deaf = true } }
      client:wait_event "VOICE_SERVER_UPDATE"
    end
    local function voice_now()
      return fake:guilds()[1].voice
    end
    join(old)
    assert.same({ channel_id = "5", session_id = old.session_id }, voice_now())
    local late = ready { intents = voice.intents, shard = { shard_of(guild, 3), 3 } }
    local state = late:wait_event("GUILD_CREATE").d.voice_states[1]
    assert.same({ "5", old.session_id, true, nil },
      { state.channel_id, state.session_id, state.self_deaf, state.guild_id })
    join(new)
    old:close(1000, "moved")
    old:wait_end()
    assert.same({ channel_id = "5", session_id = new.session_id }, voice_now())
    assert.same({}, fake:state("voices_dropped").voices_dropped)
    new:close(1000, "too early")
    new:wait_end()
    assert.is_nil(voice_now())
    assert.equal(guild, fake:state("voices_dropped").voices_dropped[1].guild)
    sync(late)
    local heard = late:events "VOICE_STATE_UPDATE"
    assert.equal(cjson.null, heard[#heard].d.channel_id)
  end)

  it("can be meant by their total, in events and faults", function()
    local few, more = all_of(2), all_of(3)
    assert.equal(1, fake:emit({ event = "X", shard = 1, total = 3 }).sessions)
    more[1]:wait_event "X"
    assert.equal(2, fake:emit({ event = "X", total = 2 }).sessions)
    local guild = fake:guilds()[1].id
    assert.equal(1, fake:emit({ event = "Y", d = { guild_id = guild }, total = 2 }).sessions)
    few[shard_of(guild, 2)]:wait_event "Y"
    assert.equal(2, fake:emit({ event = "Y", d = { guild_id = guild } }).sessions)
    fake:fault { ["do"] = "close", code = 4000, shard = 1, total = 3 }
    assert.equal(4000, more[1]:wait_end())
    assert.is_nil(few[1].ended)
    assert.equal(3, fake:fault({ ["do"] = "kill_session", total = 3 }).sessions)
    assert.equal(2, #fake:state("sessions").sessions)
    assert.error_matches(function() fake:fault { ["do"] = "rst", total = 5 } end, "no live connection")
    assert.error_matches(function() fake:emit { event = "X", total = 0 } end, "total: expected")
  end)

  it("can be meant by a fault that waits", function()
    fake:fault { at = "identify", ["do"] = "close", code = 4000, shard = 1, total = 3 }
    ready { shard = { 1, 2 } }
    refused(4000, { shard = { 1, 3 } })
    ready { shard = { 1, 3 } }
  end)

  it("share the buckets of identifies and their budget", function()
    fake:settings { max_concurrency = 2, identify_window = 60000, remaining = 10 }
    ready { shard = { 1, 2 } }
    ready { shard = { 0, 3 } }
    local client = world.connect()
    client:wait_op(10)
    client:send(world.identify_payload { shard = { 1, 3 } })
    client:wait_op(9)
    assert.equal("identify_too_soon", world.violation("identify_too_soon").rule)
    assert.equal(3, world.violation("identify_too_soon").total)
    local limit = world.rest("GET", "/gateway/bot"):json().session_start_limit
    assert.equal(8, limit.remaining)
  end)

  it("are counted by their total, and Close frames by their code", function()
    all_of(2)
    local more = all_of(3)
    more[0]:close(1000, "over")
    more[0]:wait_end()
    fake:settings { totals = "2" }
    refused(4010, { shard = { 0, 3 } })
    local counters = fake:state("counters").counters
    assert.same({ ["2"] = 2, ["3"] = 3 }, counters.identifies_by_total)
    assert.same({ client = { ["1000"] = 1 }, server = { ["4010"] = 1 } }, counters.closes_by_code)
  end)
end)

describe("a recording that is numbered", function()
  it("gives each session its guilds' messages, and all totals the same", function()
    local few, more = all_of(2), all_of(3)
    local guild = fake:guilds()[1].id
    fake:emit { count = 2, guild = guild }
    fake:wait_emitted()
    fake:emit { kind = "left", guild = fake:guilds()[2].id }
    for _, client in pairs(more) do
      sync(client)
    end
    local started = fake:bulk { events = 1100, numbered = true, rate = 20000 }
    assert.same({ 5, 2200 }, { started.connections, started.events })
    fake:wait_for("the end", function() return fake:bulk().connections == 0 end, { only = "guilds" })
    local seen, last = {}, {}
    for total, clients in pairs { [2] = few, [3] = more } do
      for shard, client in pairs(clients) do
        sync(client)
        for i, event in ipairs(client:events()) do
          assert.equal(i, event.s)
        end
        for _, event in ipairs(client:events "MESSAGE_CREATE") do
          local of, n = event.d.nonce:match "^(%d+):(%d+)$"
          assert.equal(shard, shard_of(of, total))
          local name = of .. " " .. total
          assert.equal((last[name] or 0) + 1, tonumber(n))
          last[name] = tonumber(n)
          local d = event.raw:match '"d":(.*)$'
          assert.equal(seen[event.d.nonce] or d, d)
          seen[event.d.nonce] = d
        end
      end
    end
    local sent = fake:sent_guilds()
    assert.equal(102, sent[guild])
    for of, count in pairs(sent) do
      assert.same({ count, count }, { last[of .. " 2"], last[of .. " 3"] })
    end
  end)

  it("waits for no other, and is refused to sessions that are behind their time", function()
    local client = ready { shard = { 0, 2 } }
    sync(client)
    fake:bulk { events = 120, numbered = true }
    loop.wait_for("the recording", function() return #client:events "MESSAGE_CREATE" == 60 end)
    fake:pace { lag = 1 }
    assert.error_matches(function() fake:bulk { events = 1, numbered = true } end, "no connection matches")
  end)
end)

describe("the number of shards", function()
  it("that is recommended can change", function()
    assert.equal(2, world.rest("GET", "/gateway/bot"):json().shards)
    fake:settings { shards = 5 }
    assert.equal(5, world.rest("GET", "/gateway/bot"):json().shards)
  end)

  it("is refused with 4010 when it is none of those allowed, and costs no identify", function()
    fake:settings { totals = "2, 12", remaining = 10 }
    refused(4010, { shard = { 0, 1 } })
    refused(4010, { shard = { 0, 4 } })
    ready { shard = { 0, 2 } }
    ready { shard = { 0, 12 } }
    assert.equal(8, fake:state("session_start_limit").session_start_limit.remaining)
  end)

  it("is refused with 4011 when it is too small by now; sessions that there are live on", function()
    local client = ready { shard = { 0, 2 } }
    fake:settings { min_total = 3 }
    refused(4011, { shard = { 0, 2 } })
    sync(client)
    client:drop()
    local again = world.connect()
    again:wait_op(10)
    again:send { op = 6, d = { token = fake.token, session_id = client.session_id, seq = 1 } }
    again:wait_event "RESUMED"
    ready { shard = { 0, 3 } }
  end)
end)

describe("an outage", function()
  it("can be for one total alone, and for its sessions to come", function()
    local guild = fake:guilds()[1].id
    local few = ready { shard = { shard_of(guild, 2), 2 } }
    local early = ready { shard = { shard_of(guild, 3), 3 } }
    assert.equal(1, fake:emit({ kind = "outage", guild = guild, total = 3 }).sessions)
    assert.same({ id = guild, unavailable = true }, early:wait_event("GUILD_DELETE").d)
    local late = ready { shard = { shard_of(guild, 3), 3 } }
    assert.same({ id = guild, unavailable = true }, late:wait_event("GUILD_DELETE").d)
    fake:emit { count = 2, guild = guild }
    fake:wait_emitted()
    fake:emit { kind = "available", guild = guild, total = 3 }
    fake:emit { count = 1, guild = guild }
    fake:wait_emitted()
    for client, numbers in pairs { [few] = { 1, 2, 3 }, [early] = { 3 }, [late] = { 3 } } do
      sync(client)
      local got = {}
      for i, event in ipairs(client:events "MESSAGE_CREATE") do
        got[i] = tonumber(event.d.nonce:match ":(%d+)$")
      end
      assert.same(numbers, got)
      assert.equal(client == few and 0 or 1, #client:events "GUILD_DELETE")
    end
  end)
end)
