-- The fake Discord by itself: numbered messages, any other event, interactions.

local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local uv = require "luv"
local world = require "spec.support.fake_world"

local fake

setup(function()
  fake = fake_discord.start { shards = 4, guilds = 8 }
  world.use(fake)
end)
teardown(function() fake:stop() end)
before_each(function() fake:reset() end)
after_each(world.cleanup)

local ready = world.ready

describe("numbered events", function()
  it("tell guild and number, run on through a disconnection, and are listed as sent", function()
    local client = ready { shard = { 2, 4 } }
    fake:emit { count = 10, shard = 2 }
    loop.wait_for("ten messages", function() return #client:events "MESSAGE_CREATE" == 10 end)
    local guilds = fake:guilds(2)
    local numbers = {}
    for i, event in ipairs(client:events "MESSAGE_CREATE") do
      local guild, n = event.d.nonce:match "^(%d+):(%d+)$"
      assert.equal(guild, event.d.guild_id)
      numbers[guild] = (numbers[guild] or 0) + 1
      assert.equal(numbers[guild], tonumber(n))
      assert.matches(("^%s:%d shard 2 #%d "):format(guild, n, i), event.d.content)
    end
    assert.same({ [guilds[1].id] = 5, [guilds[2].id] = 5 }, numbers)
    assert.same(numbers, fake:sent_guilds())
    client:drop()
    fake:wait_for("the end", function(state) return #state.connections == 0 end)
    fake:emit { count = 4, shard = 2 }
    fake:wait_emitted()
    local sent = fake:sent(2).shards[1]
    assert.same({ 1, 14, 14, 0 }, { sent.first, sent.last, sent.count, sent.pending })
    assert.same({ 14, 10 }, { sent.sessions[1].last, sent.sessions[1].written })
  end)

  it("wait while there is no session", function()
    fake:emit { count = 3, shard = 3 }
    assert.equal(3, fake:sent(3).pending)
    local client = ready { shard = { 3, 4 } }
    loop.wait_for("the messages", function() return #client:events "MESSAGE_CREATE" == 3 end)
    assert.equal(0, fake:sent(3).pending)
  end)

  it("have no content without the intent, and are not sent without GUILD_MESSAGES", function()
    local blank, none = ready { intents = 513, shard = { 0, 4 } }, ready { intents = 1, shard = { 1, 4 } }
    fake:emit { count = 2 , shards = { 0, 1 } }
    local event = blank:wait_event "MESSAGE_CREATE"
    assert.equal("", event.d.content)
    assert.matches("^%d+:1$", event.d.nonce)
    fake:wait_emitted()
    assert.same({}, none:events "MESSAGE_CREATE")
    assert.equal(2, fake:sent().unwanted)
  end)

  it("have about the size asked for, and come at the rate asked for", function()
    local client = ready { shard = { 0, 4 } }
    fake:emit { count = 40, shard = 0, size = 3000, rate = 400 }
    local began = loop.now()
    loop.wait_for("the messages", function() return #client:events "MESSAGE_CREATE" == 40 end)
    assert.is_true(loop.now() - began > 60)
    local bytes = 0
    for _, event in ipairs(client:events "MESSAGE_CREATE") do
      bytes = bytes + #event.raw
    end
    assert.is_true(bytes / 40 > 2400 and bytes / 40 < 3600, "mean size " .. bytes / 40)
  end)

  it("come by themselves with the rate setting", function()
    fake:settings { rate = 200 }
    local client = ready()
    loop.wait_for("some", function() return #client:events "MESSAGE_CREATE" > 20 end)
  end)

  it("come for each guild in turn, when that is set", function()
    local client = ready()
    fake:settings { rate = 200, rate_in_turn = true }
    loop.wait_for("some", function() return #client:events "MESSAGE_CREATE" > 40 end)
    local last = {}
    for i, event in ipairs(client:events "MESSAGE_CREATE") do
      local guild = event.d.guild_id
      assert.equal(8, i - (last[guild] or i - 8))
      last[guild] = i
    end
  end)

  it("tell when they were made, when that is set", function()
    local client = ready()
    fake:settings { stamped = true }
    local before = uv.hrtime() / 1000
    fake:emit { count = 1, shard = 0 }
    local event = client:wait_event "MESSAGE_CREATE"
    assert.is_true(event.d.stamp >= math.floor(before) and event.d.stamp <= uv.hrtime() / 1000)
  end)

  it("follow from the seed", function()
    local texts = {}
    for i = 1, 2 do
      fake:reset()
      local client = ready { shard = { 0, 4 } }
      fake:emit { count = 5, shard = 0 }
      loop.wait_for("the messages", function() return #client:events "MESSAGE_CREATE" == 5 end)
      texts[i] = client:events("MESSAGE_CREATE")[5].raw
    end
    assert.equal(texts[1], texts[2])
  end)

  it("all arrive, in order, when there are many", function()
    local client = ready({ shard = { 0, 4 } }, { query = "?v=10&encoding=json&compress=zlib-stream" })
    fake:emit { count = 3000, shard = 0 }
    loop.wait_for("the messages", function() return #client:events() == 3003 end, 20000)
    for i, event in ipairs(client:events()) do
      assert.equal(i, event.s)
    end
  end)
end)

describe("other events", function()
  it("are sent as they are given", function()
    local client = ready { shard = { 1, 4 } }
    fake:emit { event = "SOMETHING_NEW", d = { 1, "two" }, shard = 1 }
    local event = client:wait_event "SOMETHING_NEW"
    assert.same({ 1, "two" }, event.d)
    assert.equal(4, event.s)
    fake:emit { text = '{"op":77,"d":null,"more":1}', shard = 1 }
    assert.equal(1, client:wait_op(77).more)
    fake:emit { event = "TYPING_START", d = { guild_id = fake:guilds(1)[1].id } }
    client:wait_event "TYPING_START"
  end)

  it("are refused when nobody gets them, and for keys that do not exist", function()
    assert.error_matches(function() fake:emit { event = "X", shard = 1 } end, "nobody is there")
    assert.error_matches(function() fake:emit { count = 1, shrad = 1 } end, 'did you mean "shard"')
    assert.error_matches(function() fake:settings { remainin = 1 } end, 'did you mean "remaining"')
    assert.error_matches(function() fake:settings { missed_heartbeat = "never" } end, "1000|4009|drop|off")
    assert.error_matches(function() fake:fault { ["do"] = "rts" } end, 'did you mean "rst"')
    assert.error_matches(function() fake:fault { ["do"] = "hang" } end, "cannot be done there")
    assert.error_matches(function() fake:fault { ["do"] = "rst" } end, "no live connection")
  end)

  it("are guilds that come and go", function()
    local client = ready { shard = { 1, 4 } }
    loop.wait_for("the guilds", function() return #client:events() == 3 end)
    local joined = fake:emit { kind = "joined", shard = 1 }.guild
    local event = client:wait_event "GUILD_CREATE"
    while event.d.id ~= joined do
      event = client:wait_event "GUILD_CREATE"
    end
    assert.is_nil(event.d.unavailable)
    assert.equal(3, #fake:guilds(1))
    fake:emit { kind = "outage", guild = joined }
    assert.same({ id = joined, unavailable = true }, client:wait_event("GUILD_DELETE").d)
    fake:emit { kind = "left", guild = joined }
    assert.same({ id = joined }, client:wait_event("GUILD_DELETE").d)
    assert.equal(2, #fake:guilds(1))
  end)
end)

describe("an interaction", function()
  local function one(what)
    local client = ready { shard = { 0, 4 } }
    what.shard = 0
    local given = fake:emit(what).interactions[1]
    return client:wait_event "INTERACTION_CREATE", given
  end

  local function answer(event, body, query)
    local path = ("/interactions/%s/%s/callback%s"):format(event.d.id, event.d.token, query or "")
    return world.rest("POST", path, { json = body, headers = { Authorization = false } })
  end

  local RIGHT = { [2] = 5, [3] = 6, [4] = 8, [5] = 5 }
  for kind, callback in pairs(RIGHT) do
    it(("of type %d can be answered with %d, once"):format(kind, callback), function()
      local event, given = one { interaction = kind }
      assert.same({ kind, given.id, given.token }, { event.d.type, event.d.id, event.d.token })
      local body = '{"type":' .. callback .. (callback == 8 and ',"data":{"choices":[]}}' or "}")
      body = cjson.decode(body)
      if callback == 8 then
        body.data.choices = cjson.decode('[{"name":"a","value":"a"}]')
      end
      assert.equal(204, answer(event, body).status)
      local again = answer(event, body)
      assert.same({ 400, 40060 }, { again.status, again:json().code })
      local seen = fake:state("callbacks").callbacks
      assert.same({ 204, 400 }, { seen[1].status, seen[2].status })
      assert.equal(callback, seen[1].callback)
    end)
  end

  it("refuses an answer of the wrong type", function()
    local response = answer((one { interaction = 4 }), { type = 5 })
    assert.same({ 400, 50035 }, { response.status, response:json().code })
  end)

  it("refuses an answer that comes late, or to nothing", function()
    fake:settings { callback_deadline = 1 }
    local event = one { interaction = 2 }
    local late_at = loop.now() + 5
    loop.wait_for("the deadline", function() return loop.now() > late_at end)
    local response = answer(event, { type = 5 })
    assert.same({ 404, 10062 }, { response.status, response:json().code })
    response = answer({ d = { id = "1", token = "x" } }, { type = 5 })
    assert.equal(10062, response:json().code)
  end)

  it("takes an answer at once, and says so later", function()
    local event = one { interaction = 2 }
    fake:settings { callback_delay = 150 }
    local began = loop.now()
    assert.equal(204, answer(event, { type = 5 }).status)
    assert.is_true(loop.now() - began >= 149)
    assert.equal(40060, answer(event, { type = 5 }):json().code)
    local seen = fake:state("callbacks").callbacks
    assert.is_true(seen[1].age < seen[2].age - 100)
  end)

  it("answers with a body when asked, and lets the webhook follow", function()
    local event = one { interaction = 2 }
    local hook = ("/webhooks/%s/%s"):format(event.d.application_id, event.d.token)
    assert.equal(404, world.rest("POST", hook, { json = { content = "early" } }).status)
    local response = answer(event, { type = 5 }, "?with_response=true")
    assert.same({ 200, event.d.id }, { response.status, response:json().interaction.id })
    response = world.rest("PATCH", hook .. "/messages/@original", { json = { content = "done" } })
    assert.same({ 200, "done" }, { response.status, response:json().content })
    assert.equal(204, world.rest("DELETE", hook .. "/messages/@original").status)
  end)

  it("comes to shard 0 from a DM, and may have a clock that is wrong", function()
    local client = ready { shard = { 0, 4 } }
    local given = fake:emit { interaction = 2, dm = true, skew = -3600000 }.interactions[1]
    local event = client:wait_event "INTERACTION_CREATE"
    assert.is_nil(event.d.guild_id)
    assert.equal(given.id, event.d.id)
    -- Snowflakes do not fit a double to the last bit; the time in them does.
    local age = os.time() * 1000 - (tonumber(given.id) / 2 ^ 22 + 1420070400000)
    assert.is_true(age > 3590000 and age < 3620000)
  end)
end)
