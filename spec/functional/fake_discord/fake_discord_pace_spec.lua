-- The fake Discord by itself: sessions that are behind their time, that see events otherwise than others, and
-- that cannot have everything again.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local shard_of = require("spec.support.resharding").shard_of
local world = require "spec.support.fake_world"

local fake

setup(function()
  fake = fake_discord.start { shards = 1, guilds = 12 }
  world.use(fake)
end)
teardown(function() fake:stop() end)
before_each(function()
  fake:reset()
  fake:settings { identify_window = 0 }
end)
after_each(world.cleanup)

local ready = world.ready

local function wait_messages(client, n, name)
  loop.wait_for(function()
    return ("%d events; %d have come"):format(n, #client:events(name or "MESSAGE_CREATE"))
  end, function() return #client:events(name or "MESSAGE_CREATE") >= n end)
  return client:events(name or "MESSAGE_CREATE")
end

-- All of a session's, in one client.
local function with_guilds(changes)
  local client = ready(changes)
  local expected = #client:events("READY")[1].d.guilds
  wait_messages(client, expected, "GUILD_CREATE")
  return client
end

-- s of all dispatches without a hole; each guild's numbers in order. How often one guild overtook another.
local function check_order(client)
  local last, overtaken, highest = {}, 0, 0
  for i, event in ipairs(client:events()) do
    assert.equal(i, event.s)
    local guild, n, all = (event.d.content or ""):match "^(%d+):(%d+) shard %d+ #(%d+) "
    if guild then
      assert.equal((last[guild] or 0) + 1, tonumber(n))
      last[guild] = tonumber(n)
      overtaken = overtaken + (tonumber(all) < highest and 1 or 0)
      highest = math.max(highest, tonumber(all))
    end
  end
  return overtaken
end

describe("a pace", function()
  it("of lag lets events come later, in one order, and others in time", function()
    local late, prompt = with_guilds { shard = { 0, 1 } }, with_guilds { shard = { 0, 2 } }
    local guild = fake:guilds()[1].id
    assert.equal(1, fake:pace({ lag = 300, total = 1 }).sessions)
    local began = loop.now()
    fake:emit { count = 20, guild = guild }
    wait_messages(prompt, 20)
    local kept_back = {}
    for _, session in ipairs(fake:state("sessions").sessions) do
      kept_back[session.total] = { session.kept_back, session.sequence }
    end
    if loop.now() - began < 250 then
      assert.same({ 20, 13 }, kept_back[1])
    end
    assert.equal(0, kept_back[2][1])
    wait_messages(late, 20)
    assert.is_true(loop.now() - began >= 299)
    assert.equal(0, check_order(late))
    assert.same({ { lag = 300, total = 1 } }, fake:pace())
  end)

  it("of jitter keeps the order of each guild, and no other", function()
    local client = with_guilds()
    fake:pace { jitter = 60 }
    fake:emit { count = 240, rate = 4000 }
    wait_messages(client, 240)
    assert.is_true(check_order(client) > 10)
  end)

  it("of a stall lets nothing come for so long, once", function()
    local client = with_guilds()
    local began = loop.now()
    fake:pace { stall = 200, shard = 0, total = 1 }
    fake:emit { count = 20 }
    wait_messages(client, 20)
    assert.is_true(loop.now() - began >= 199)
    assert.equal(0, check_order(client))
    assert.same({}, fake:pace())
    fake:emit { count = 1 }
    wait_messages(client, 21)
    assert.equal(0, fake:state("sessions").sessions[1].kept_back)
  end)

  it("is for sessions to come as well, and the newest that fits holds", function()
    fake:pace { lag = 40, total = 2 }
    fake:pace { lag = 3600000, shard = 1, total = 2 }
    local one, other = ready { shard = { 0, 2 } }, ready { shard = { 1, 2 } }
    local third = ready { shard = { 0, 1 } }
    wait_messages(one, 6, "GUILD_CREATE")
    wait_messages(third, 12, "GUILD_CREATE")
    assert.same({}, other:events "GUILD_CREATE")
    assert.equal(2, #fake:pace())
    fake:pace { lag = 0, shard = 1, total = 2 }
    fake:emit { event = "X", shard = 1, total = 2 }
    other:wait_event "X" -- of no guild: the guilds of before are still to come
    assert.same({}, other:events "GUILD_CREATE")
  end)

  it("ends with the faults: what was stalled comes at once", function()
    local client = with_guilds()
    fake:pace { stall = 3600000 }
    fake:emit { count = 5 }
    fake:wait_emitted()
    assert.equal(5, fake:state("sessions").sessions[1].kept_back)
    fake:fault { ["do"] = "clear" }
    wait_messages(client, 5)
  end)

  it("goes on while the session has no connection, and ends with it", function()
    local client = with_guilds()
    fake:pace { lag = 20 }
    client:drop()
    fake:wait_for("the end", function(state) return #state.connections == 0 end)
    fake:emit { count = 5 }
    fake:wait_for("the log", function(state) return state.sessions[1].sequence == 18 end)
    fake:pace { lag = 3600000 }
    fake:emit { count = 5 }
    fake:fault { ["do"] = "kill_session" }
    assert.same({}, fake:state("sessions").sessions)
  end)

  it("is refused when it makes no sense", function()
    assert.error_matches(function() fake:pace { total = 1 } end, "expected lag, jitter or stall")
    assert.error_matches(function() fake:pace { lag = -1 } end, "expected lag")
    assert.error_matches(function() fake:pace { lagg = 1 } end, 'did you mean "lag"')
  end)
end)

describe("events that are equal", function()
  it("come as often as asked, byte by byte, and are counted", function()
    local presences = 33281 + 256 + 128
    local few = with_guilds { intents = presences }
    local more = with_guilds { intents = presences, shard = { 0, 2 } }
    local guild = fake:guilds()[1].id
    assert.equal(0, shard_of(guild, 2))
    fake:emit { ["repeat"] = "PRESENCE_UPDATE", guild = guild, count = 4 }
    fake:emit { event = "PRESENCE_UPDATE", d = { guild_id = guild, status = "idle" }, count = 2 }
    for _, client in ipairs { few, more } do
      local bodies = {}
      for _, event in ipairs(wait_messages(client, 6, "PRESENCE_UPDATE")) do
        local d = event.raw:match '"d":(.*)$'
        bodies[d] = (bodies[d] or 0) + 1
      end
      local counts = {}
      for _, count in pairs(bodies) do
        counts[#counts + 1] = count
      end
      table.sort(counts)
      assert.same({ 2, 4 }, counts)
    end
    local repeats = fake:sent().repeats
    assert.equal(1, #repeats)
    assert.same({ "PRESENCE_UPDATE", guild, 4 }, { repeats[1].event, repeats[1].guild, repeats[1].count })
  end)

  it("come by themselves with repeat_rate, if they are wanted", function()
    local client = with_guilds { intents = 33281 + 128 }
    fake:settings { repeat_rate = 500 }
    wait_messages(client, 60, "VOICE_STATE_UPDATE")
    fake:settings { repeat_rate = 0 }
    local counted = 0
    for _, entry in ipairs(fake:sent().repeats) do
      assert.equal("VOICE_STATE_UPDATE", entry.event)
      counted = counted + entry.count
    end
    wait_messages(client, counted, "VOICE_STATE_UPDATE")
    assert.equal(counted, #client:events "VOICE_STATE_UPDATE")
  end)
end)

describe("a type of event", function()
  it("can be built otherwise for one total, or be missing there", function()
    local few, more = with_guilds(), with_guilds { shard = { 0, 2 } }
    local guild = fake:guilds()[1].id
    fake:differ { event = "A", total = 2, how = "built" }
    fake:differ { event = "B", total = 1, how = "missing" }
    for _, name in ipairs { "A", "B", "C" } do
      fake:emit { event = name, d = { guild_id = guild } }
    end
    assert.same({ guild_id = guild, built_for = 2 }, more:wait_event("A").d)
    assert.same({ guild_id = guild }, more:wait_event("B").d)
    assert.same({ guild_id = guild }, few:wait_event("A").d)
    few:wait_event "C"
    assert.same({}, few:events "B")
    fake:differ { event = "A", total = 2, how = "same" }
    fake:emit { event = "A", d = { guild_id = guild } }
    assert.same({ guild_id = guild }, more:wait_event("A").d)
    assert.same({ { event = "B", total = 1, how = "missing" } }, fake:differ())
    fake:fault { ["do"] = "clear" }
    assert.same({}, fake:differ())
    assert.error_matches(function() fake:differ { event = "A", how = "built" } end, "a total")
  end)

  it("can be a numbered message, whose number stays", function()
    local few, more = with_guilds(), with_guilds { shard = { 0, 2 } }
    fake:differ { event = "MESSAGE_CREATE", total = 2, how = "built" }
    fake:emit { count = 1, guild = fake:guilds()[1].id }
    local one, other = few:wait_event("MESSAGE_CREATE").d, more:wait_event("MESSAGE_CREATE").d
    assert.equal(2, other.built_for)
    other.built_for = nil
    assert.same(one, other)
  end)
end)

describe("a replay", function()
  local function resumed(trim, beat, seq)
    fake:settings { trim_by_heartbeat = trim }
    local client = with_guilds()
    client:send { op = 1, d = beat }
    client:wait_op(11)
    client:drop()
    local again = world.connect()
    again:wait_op(10)
    again:send { op = 6, d = { token = fake.token, session_id = client.session_id, seq = seq } }
    again:wait_event "RESUMED"
    local got = {}
    for i, event in ipairs(again:events()) do
      got[i] = event.s
    end
    return got
  end

  it("begins where the client says, whatever its heartbeats said", function()
    assert.same({ 10, 11, 12, 13, 14 }, resumed(false, 12, 9))
  end)

  it("begins behind the last heartbeat when that trims it", function()
    assert.same({ 13, 14 }, resumed(true, 12, 9))
    assert.same({ 13, 14 }, resumed(true, 9, 12))
    assert.same({ 10, 11, 12, 13, 14 }, resumed(true, cjson.null, 9))
  end)
end)
