-- Interactions that the bot does not answer in time: the gateway defers them through REST, the bot gets them
-- later and is told, each is answered once.

local checker = require "spec.support.checker"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local world = require "spec.support.interaction_world"

local DEFERRAL = { [world.COMMAND] = 5, [world.COMPONENT] = 6, [world.AUTOCOMPLETE] = 8, [world.MODAL] = 5 }

local s

-- All that came before is at the bot.
local function wait_for_mark(mark)
  s:type(mark)
  s.bot:wait_for_events(1, function(event)
    return event.t == "TYPING_START" and event:data().user_id == mark
  end, 20000)
end

describe("an interaction", function()
  after_each(world.finish)

  it("is the bot's to answer as long as it is there", function()
    s = world.start()
    for kind = world.COMMAND, world.MODAL do
      world.emit(kind)
    end
    for _, event in ipairs(world.interactions(4)) do
      assert.is_nil(event.deferred)
    end
    world.pause(300)
    assert.same({}, s:list "callbacks")
  end)

  it("is deferred by its type while the bot is down; the bot gets it later and is told", function()
    s = world.start()
    world.bot_down()
    local ids = {}
    for kind = world.COMMAND, world.MODAL do
      ids[world.emit(kind).id] = kind
      s.fake:emit { count = 3, shard = 0 }
    end
    for _, callback in ipairs(world.wait_callbacks(4)) do
      assert.equal(ids[callback.id], callback.type)
      assert.equal(DEFERRAL[callback.type], callback.callback)
      assert.equal(204, callback.status)
    end
    s.bot:up()
    local got = world.interactions(3)
    local sent = s:wait_delivered()
    for i, kind in ipairs { world.COMMAND, world.COMPONENT, world.MODAL } do
      assert.equal(kind, got[i]:data().type)
      assert.is_true(got[i].deferred)
    end
    checker.assert_complete(s.bot.events, { guilds = sent })
    assert.equal(3, #s.bot:select "INTERACTION_CREATE") -- who types has long seen that there is no choice
    assert.equal(4, #s:list "callbacks")
    assert.same({}, s:list "violations")
  end)

  it("is answered with rest.authorization, which a proxy may want", function()
    s = world.start()
    world.bot_down()
    world.emit(world.COMMAND)
    world.wait_callbacks(1)
    for _, request in ipairs(s:list "rest") do
      assert.is_true(request.authorized, request.path:match "^[^?]*")
    end
  end)

  it("is deferred when the bot is too slow, whose late answer counts all the same", function()
    s = world.start()
    s.bot:delay(700)
    world.emit(world.COMMAND)
    local callback = world.wait_callbacks(1)[1]
    assert.is_true(callback.age >= 200, tostring(callback.age))
    local event = world.interactions(1)[1]
    assert.is_nil(event.deferred) -- it was on its way before
    world.pause(200)
    assert.equal(1, #s:list "callbacks")
    assert.equal(1, #s.bot:select "INTERACTION_CREATE")
  end)

  it("is deferred when the bot hangs, which is told when it gets it again", function()
    s = world.start {
      script = world.script "interaction = { grace = 200 }, event_handler = { timeout = 600 }",
    }
    local tries = {}
    s.bot:answer(function(_, event)
      if event.t == "INTERACTION_CREATE" then
        tries[#tries + 1] = event.deferred or false
        return #tries == 1 and "hang" or nil
      end
    end)
    world.emit(world.COMPONENT)
    world.interactions(1)
    assert.same({ false, true }, tries)
    assert.equal(1, #s:list "callbacks")
  end)

  it("is deferred while others wait in front of it", function()
    s = world.start()
    s.bot:answer(function() return 429, { ["Retry-After"] = "1" } end)
    s.fake:emit { count = 20, shard = 0 }
    loop.wait_for("the refusal", function() return s.bot.refused > 0 end)
    world.emit(world.COMMAND)
    world.wait_callbacks(1)
    s.bot:answer(nil)
    assert.is_true(world.interactions(1)[1].deferred)
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("may be accepted while its callback is in flight", function()
    s = world.start { fake = { callback_delay = 900 } }
    s.bot:delay(500)
    world.emit(world.COMMAND)
    world.interactions(1)
    world.wait_callbacks(1)
    s.bot:delay(nil)
    wait_for_mark "7"
    world.pause(500)
    assert.equal(1, #s:list "callbacks")
    assert.equal(0, s.gateway:count_log "could not be answered")
  end)

  it("may be answered by the bot first: that counts", function()
    s = world.start {
      script = world.script "interaction = { grace = 300 }, event_handler = { timeout = 600 }",
    }
    local calls = 0
    s.bot:answer(function(_, event)
      if event.t ~= "INTERACTION_CREATE" then
        return nil
      end
      calls = calls + 1
      return calls == 1 and "hang" or nil
    end)
    local given = world.emit(world.COMMAND)
    local response = http.request("POST", ("%s/interactions/%s/%s/callback"):format(
      s.fake.rest, given.id, given.token), {
      json = { type = 4, data = { content = "here I am" } }, ca = s.fake.ca,
      headers = { ["User-Agent"] = "DiscordBot (spec, 1)" },
    })
    assert.equal(204, response.status)
    local list = world.wait_callbacks(2)
    assert.equal(40060, list[2].code)
    assert.is_true(world.interactions(1)[1].deferred)
    assert.equal(2, #s:list "callbacks")
    assert.equal(0, s.gateway:count_log "could not be answered")
  end)

  it("is answered once however the bot flaps", function()
    s = world.start { shards = 2, fake = { max_concurrency = 2 } }
    local n = 0
    s.bot:answer(function()
      n = n + 1
      return n % 3 == 0 and 204 or n % 3 == 1 and 500 or "reset"
    end)
    for i = 1, 12 do
      world.emit(i % 2 == 0 and world.COMMAND or world.COMPONENT, { shard = i % 2 })
      s.fake:emit { count = 2, shard = i % 2 }
      world.pause(60)
    end
    world.pause(1200)
    s.bot:answer(nil)
    local sent = s:wait_delivered(30000)
    world.interactions(12)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    local taken = world.assert_answered_once()
    for _, event in ipairs(s.bot:select "INTERACTION_CREATE") do
      if event.deferred then
        assert.is_true(taken[event:data().id])
      end
    end
  end)
end)

describe("REST in trouble", function()
  after_each(world.finish)

  local function with(fault)
    s = world.start()
    world.bot_down()
    fault.at, fault.route = "rest", "/callback"
    s.fake:fault(fault)
  end

  for _, case in ipairs {
    { "429", { ["do"] = "status", status = 429, retry_after = 0.2,
      body = { message = "slow", retry_after = 0.2 } } },
    { "500", { ["do"] = "status", status = 500, count = 2 } },
    { "a connection that breaks", { ["do"] = "rst" } },
    { "a request that hangs", { ["do"] = "hang" } },
  } do
    it(case[1] .. ": it is tried again", function()
      with(case[2])
      world.emit(world.COMMAND)
      assert.equal(204, world.wait_callbacks(1)[1].status)
      s.bot:up()
      assert.is_true(world.interactions(1)[1].deferred)
      assert.equal(0, s.gateway:count_log "could not be answered")
    end)
  end

  it("all the time: one warning, and the bot gets it all the same", function()
    with { ["do"] = "status", status = 503, count = "all" }
    local began = loop.now()
    for _ = 1, 5 do
      world.emit(world.COMMAND)
    end
    s.gateway:wait_for_log "warn [^\n]*interaction %d+ could not be answered[^\n]*REST answered 503"
    assert.is_true(loop.now() - began >= 1000)
    s.bot:up()
    for _, event in ipairs(world.interactions(5)) do
      assert.is_nil(event.deferred)
    end
    assert.equal(1, s.gateway:count_log "could not be answered")
    assert.same({}, s:list "callbacks")
  end)

  it("that does not know the interaction is not asked again", function()
    s = world.start { fake = { callback_deadline = 1 } }
    s.bot:delay(500)
    world.emit(world.COMMAND)
    s.gateway:wait_for_log "could not be answered[^\n]*REST answered 404"
    world.interactions(1)
    assert.equal(1, #s:list "callbacks")
  end)
end)

-- They answer every error of Discord's with 500, and have its words somewhere inside.
describe("a REST proxy of discordeno's", function()
  after_each(world.finish)

  local function with(answer)
    s = world.start()
    world.bot_down()
    s.fake:fault { at = "rest", route = "/callback", ["do"] = "status", status = 500, body = answer,
      count = "all" }
    world.emit(world.COMMAND)
  end

  local function requests()
    local n = 0
    for _, request in ipairs(s:list "rest") do
      n = n + (request.path:find "/callback$" and 1 or 0)
    end
    return n
  end

  it("that says 40060 has been answered by somebody else, and the bot is told", function()
    with { message = { message = "[400] Bad.\nDiscord error: [40060] Taken", cause = { status = 400, body = {
      message = "Interaction has already been acknowledged.", code = 40060 } } } }
    s.fake:wait_for("the request", function(state)
      return #state.rest > 0 and state.rest[#state.rest].path:find "/callback$"
    end, { only = "rest" })
    world.pause(600)
    assert.equal(1, requests())
    s.bot:up()
    assert.is_true(world.interactions(1)[1].deferred)
    assert.equal(0, s.gateway:count_log "could not be answered")
  end)

  it("that says 10062 is too late: it is not asked again", function()
    with { message = { message = "Failed to send request to discord.", cause = { ok = false, status = 404,
      body = '{"message":"Unknown interaction","code":10062}' } } }
    s.gateway:wait_for_log "could not be answered[^\n]*500 in the place of Discord's 404: it does not"
    world.pause(600)
    assert.equal(1, requests())
  end)

  it("that refuses for good is not asked again", function()
    with { message = { message = "[403] No." } }
    s.gateway:wait_for_log "could not be answered[^\n]*Discord's 403"
    world.pause(600)
    assert.equal(1, requests())
  end)

  it("that is itself in trouble is asked again", function()
    with { message = { message = "[999] connect ECONNREFUSED 127.0.0.1:40060" } }
    s.gateway:wait_for_log "could not be answered[^\n]*REST answered 500"
    assert.is_true(requests() > 2)
  end)
end)

describe("the fallback does not run", function()
  after_each(world.finish)

  it("with interaction.fallback = false", function()
    s = world.start { script = world.script "interaction = { grace = 0, fallback = false }" }
    world.bot_down()
    world.emit(world.COMMAND)
    world.emit(world.AUTOCOMPLETE)
    s.bot:up()
    for _, event in ipairs(world.interactions(2)) do
      assert.is_nil(event.deferred)
    end
    assert.same({}, s:list "callbacks")
  end)

  it("without an event handler", function()
    s = world.start { bot = false, script = world.script("interaction = { grace = 0 }", [[
gateway.on("INTERACTION_CREATE", function() gateway.log.info("it has come") end)
]]) }
    world.emit(world.COMMAND)
    s.gateway:wait_for_log "it has come"
    world.pause(100)
    assert.same({}, s:list "callbacks")
  end)
end)
