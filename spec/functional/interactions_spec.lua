-- Interactions that the bot does not answer in time: the gateway defers them through REST, the bot gets them
-- later and is told, each is answered once.

local checker = require "spec.support.checker"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"
local uv = require "luv"

local COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
local DEFERRAL = { [COMMAND] = 5, [COMPONENT] = 6, [AUTOCOMPLETE] = 8, [MODAL] = 5 }

local s, tokens

local function script(options, text)
  return ('local gateway = require "tidegate"\ngateway.configure { %s }\n%s'):format(options, text or "")
end

-- Nothing waits for long here: grace is 200 ms unless the options say otherwise, and the gateway soon finds
-- out that the bot is there, or is not.
local function start(options)
  options = options or {}
  options.script = options.script or script "interaction = { grace = 200 }"
  options.hurry = options.hurry or 10
  s, tokens = scene.start(options), {}
  s.bot:wait_for_events((options.shards or 1) + #s.fake:guilds())
  return s
end

local function emit(kind, more)
  local what = { interaction = kind, shard = 0 }
  for name, value in pairs(more or {}) do
    what[name] = value
  end
  local given = s.fake:emit(what).interactions
  for _, one in ipairs(given) do
    tokens[#tokens + 1] = one.token
  end
  return given[1]
end

-- What came to REST for the interactions, oldest first: {id, type, callback, status, code, age}.
local function wait_callbacks(n, timeout)
  return s.fake:wait_for(n .. " callbacks", function(state)
    return #state.callbacks >= n and state.callbacks
  end, { only = "callbacks", timeout = timeout })
end

local function bot_down()
  s.bot:down()
  s.fake:emit { count = 1, shard = 0 }
  s.gateway:wait_for_log "the event handler is down"
end

local function interactions(n, timeout)
  return s.bot:wait_for_events(n, "INTERACTION_CREATE", timeout or 20000)
end

-- Each id has been taken by Discord exactly once.
local function assert_answered_once(list)
  local taken = {}
  for _, callback in ipairs(list or s:list "callbacks") do
    if callback.status == 204 then
      assert.is_nil(taken[callback.id], "answered twice: " .. callback.id)
      taken[callback.id] = true
    end
  end
  return taken
end

local function pause(ms)
  local until_then = loop.now() + ms
  loop.wait_for("the next moment", function() return loop.now() >= until_then end)
end

-- All that came before is at the bot.
local function wait_for_mark(mark)
  s:type(mark)
  s.bot:wait_for_events(1, function(event)
    return event.t == "TYPING_START" and event:data().user_id == mark
  end, 20000)
end

local function finish()
  for _, gateway in ipairs(s and s.gateways or {}) do
    for _, token in ipairs(tokens) do
      assert.is_nil(gateway.stderr:find(token, 1, true), "the token of an interaction is in the log")
    end
  end
  s = nil
  scene.stop()
end

describe("an interaction", function()
  after_each(finish)

  it("is the bot's to answer as long as it is there", function()
    start()
    for kind = COMMAND, MODAL do
      emit(kind)
    end
    for _, event in ipairs(interactions(4)) do
      assert.is_nil(event.deferred)
    end
    pause(300)
    assert.same({}, s:list "callbacks")
  end)

  it("is deferred by its type while the bot is down; the bot gets it later and is told", function()
    start()
    bot_down()
    local ids = {}
    for kind = COMMAND, MODAL do
      ids[emit(kind).id] = kind
      s.fake:emit { count = 3, shard = 0 }
    end
    for _, callback in ipairs(wait_callbacks(4)) do
      assert.equal(ids[callback.id], callback.type)
      assert.equal(DEFERRAL[callback.type], callback.callback)
      assert.equal(204, callback.status)
    end
    s.bot:up()
    local got = interactions(3)
    local sent = s:wait_delivered()
    for i, kind in ipairs { COMMAND, COMPONENT, MODAL } do
      assert.equal(kind, got[i]:data().type)
      assert.is_true(got[i].deferred)
    end
    checker.assert_complete(s.bot.events, { guilds = sent })
    assert.equal(3, #s.bot:select "INTERACTION_CREATE") -- who types has long seen that there is no choice
    assert.equal(4, #s:list "callbacks")
    assert.same({}, s:list "violations")
  end)

  it("is answered with rest.authorization, which a proxy may want", function()
    start()
    bot_down()
    emit(COMMAND)
    wait_callbacks(1)
    for _, request in ipairs(s:list "rest") do
      assert.is_true(request.authorized, request.path:match "^[^?]*")
    end
  end)

  it("is deferred when the bot is too slow, whose late answer counts all the same", function()
    start()
    s.bot:delay(700)
    emit(COMMAND)
    local callback = wait_callbacks(1)[1]
    assert.is_true(callback.age >= 200, tostring(callback.age))
    local event = interactions(1)[1]
    assert.is_nil(event.deferred) -- it was on its way before
    pause(200)
    assert.equal(1, #s:list "callbacks")
    assert.equal(1, #s.bot:select "INTERACTION_CREATE")
  end)

  it("is deferred when the bot hangs, which is told when it gets it again", function()
    start { script = script "interaction = { grace = 200 }, event_handler = { timeout = 600 }" }
    local tries = {}
    s.bot:answer(function(_, event)
      if event.t == "INTERACTION_CREATE" then
        tries[#tries + 1] = event.deferred or false
        return #tries == 1 and "hang" or nil
      end
    end)
    emit(COMPONENT)
    interactions(1)
    assert.same({ false, true }, tries)
    assert.equal(1, #s:list "callbacks")
  end)

  it("is deferred while others wait in front of it", function()
    start()
    s.bot:answer(function() return 429, { ["Retry-After"] = "1" } end)
    s.fake:emit { count = 20, shard = 0 }
    loop.wait_for("the refusal", function() return s.bot.refused > 0 end)
    emit(COMMAND)
    wait_callbacks(1)
    s.bot:answer(nil)
    assert.is_true(interactions(1)[1].deferred)
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("may be accepted while its callback is in flight", function()
    start { fake = { callback_delay = 900 } }
    s.bot:delay(500)
    emit(COMMAND)
    interactions(1)
    wait_callbacks(1)
    s.bot:delay(nil)
    wait_for_mark "7"
    pause(500)
    assert.equal(1, #s:list "callbacks")
    assert.equal(0, s.gateway:count_log "could not be answered")
  end)

  it("may be answered by the bot first: that counts", function()
    start { script = script "interaction = { grace = 300 }, event_handler = { timeout = 600 }" }
    local calls = 0
    s.bot:answer(function(_, event)
      if event.t ~= "INTERACTION_CREATE" then
        return nil
      end
      calls = calls + 1
      return calls == 1 and "hang" or nil
    end)
    local given = emit(COMMAND)
    local response = http.request("POST", ("%s/interactions/%s/%s/callback"):format(
      s.fake.rest, given.id, given.token), {
      json = { type = 4, data = { content = "here I am" } }, ca = s.fake.ca,
      headers = { ["User-Agent"] = "DiscordBot (spec, 1)" },
    })
    assert.equal(204, response.status)
    local list = wait_callbacks(2)
    assert.equal(40060, list[2].code)
    assert.is_true(interactions(1)[1].deferred)
    assert.equal(2, #s:list "callbacks")
    assert.equal(0, s.gateway:count_log "could not be answered")
  end)

  it("is answered once however the bot flaps", function()
    start { shards = 2, fake = { max_concurrency = 2 } }
    local n = 0
    s.bot:answer(function()
      n = n + 1
      return n % 3 == 0 and 204 or n % 3 == 1 and 500 or "reset"
    end)
    for i = 1, 12 do
      emit(i % 2 == 0 and COMMAND or COMPONENT, { shard = i % 2 })
      s.fake:emit { count = 2, shard = i % 2 }
      pause(60)
    end
    pause(1200)
    s.bot:answer(nil)
    local sent = s:wait_delivered(30000)
    interactions(12)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    local taken = assert_answered_once()
    for _, event in ipairs(s.bot:select "INTERACTION_CREATE") do
      if event.deferred then
        assert.is_true(taken[event:data().id])
      end
    end
  end)
end)

describe("REST in trouble", function()
  after_each(finish)

  local function with(fault)
    start()
    bot_down()
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
      emit(COMMAND)
      assert.equal(204, wait_callbacks(1)[1].status)
      s.bot:up()
      assert.is_true(interactions(1)[1].deferred)
      assert.equal(0, s.gateway:count_log "could not be answered")
    end)
  end

  it("all the time: one warning, and the bot gets it all the same", function()
    with { ["do"] = "status", status = 503, count = "all" }
    local began = loop.now()
    for _ = 1, 5 do
      emit(COMMAND)
    end
    s.gateway:wait_for_log "warn [^\n]*interaction %d+ could not be answered[^\n]*REST answered 503"
    assert.is_true(loop.now() - began >= 1000)
    s.bot:up()
    for _, event in ipairs(interactions(5)) do
      assert.is_nil(event.deferred)
    end
    assert.equal(1, s.gateway:count_log "could not be answered")
    assert.same({}, s:list "callbacks")
  end)

  it("that does not know the interaction is not asked again", function()
    start { fake = { callback_deadline = 1 } }
    s.bot:delay(500)
    emit(COMMAND)
    s.gateway:wait_for_log "could not be answered[^\n]*REST answered 404"
    interactions(1)
    assert.equal(1, #s:list "callbacks")
  end)
end)

describe("after a death", function()
  after_each(finish)

  local function kill_worker()
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
  end

  it("of the worker before REST has answered: it is answered again", function()
    start()
    bot_down()
    s.fake:fault { at = "rest", route = "/callback", ["do"] = "hang" }
    local asked = s:counters().rest_requests
    emit(COMMAND)
    s:wait_counter("rest_requests", asked + 1)
    kill_worker()
    assert.equal(204, wait_callbacks(1)[1].status)
    s.bot:up()
    assert.is_true(interactions(1)[1].deferred)
    assert_answered_once()
  end)

  it("of the worker after Discord has taken the answer: that it has counts", function()
    start { fake = { callback_delay = 2000 } }
    bot_down()
    emit(COMPONENT)
    wait_callbacks(1)
    s.fake:settings { callback_delay = 0 }
    kill_worker()
    local list = wait_callbacks(2)
    assert.equal(40060, list[2].code)
    s.bot:up()
    assert.is_true(interactions(1)[1].deferred)
    assert_answered_once()
  end)

  it("of worker and gateway the bot is told of what was deferred before", function()
    start { script = script "interaction = { grace = 200 }, queue = { memory_bytes = 16384 }" }
    bot_down()
    s.fake:emit { count = 300, shard = 0 }
    s.fake:wait_emitted()
    emit(COMMAND)
    emit(MODAL)
    wait_callbacks(2)
    s.fake:emit { count = 300, shard = 0 }
    s.fake:wait_emitted()
    pause(100) -- a worker that dies between the answer and its note of it asks again
    kill_worker()
    s:wait_counter("resumes_ok", 1)
    s.gateway:stop()
    s:again()
    s.bot:up()
    local got = interactions(2, 30000)
    local sent = s:wait_delivered(30000)
    assert.is_true(got[1].deferred)
    assert.is_true(got[2].deferred)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert_answered_once()
  end)
end)

describe("an interaction that is replayed", function()
  after_each(finish)

  -- Discord sends it while the shard is away.
  local function replayed(skew)
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    emit(COMMAND, { skew = skew })
    s:wait_counter("resumes_ok", 1)
  end

  it("is answered if it is young, by a clock that may be wrong", function()
    start()
    emit(COMMAND, { skew = -3600000 })
    interactions(1)
    bot_down()
    replayed(-3600000)
    assert.equal(204, wait_callbacks(1)[1].status)
    s.bot:up()
    assert.is_true(interactions(2)[2].deferred)
  end)

  it("is left to the bot if it is older than 3 s", function()
    start()
    emit(COMMAND)
    interactions(1)
    bot_down()
    replayed(-10000)
    emit(COMMAND)
    wait_callbacks(1)
    s.bot:up()
    local got = interactions(3)
    assert.is_nil(got[2].deferred)
    assert.is_true(got[3].deferred)
    assert.equal(1, #s:list "callbacks")
  end)
end)

describe("an interaction whose token is dead", function()
  after_each(finish)

  it("is dropped, with a marker in its place", function()
    start { hurry = 450, script = script "event_handler = { markers = true }" } -- 15 minutes are 2 s
    bot_down()
    s.fake:emit { count = 5, shard = 0 }
    emit(COMMAND)
    emit(COMPONENT)
    s.fake:emit { count = 5, shard = 0 }
    wait_callbacks(2)
    pause(2100)
    s.bot:up()
    s.fake:wait_emitted()
    local gap = s.bot:wait_for_events(1, function(event) return event.gap end, 30000)[1].gap
    local sent = s:wait_delivered(30000)
    assert.same({ 2, "interaction_expired" }, { gap.count, gap.reason })
    assert.equal(gap.from + 1, gap.to)
    assert.equal(0, #s.bot:select "INTERACTION_CREATE")
    local events = s.bot:select(function(event) return not event.gap end)
    checker.assert_nothing_lost(events, { guilds = sent })
  end)
end)

describe("the fallback does not run", function()
  after_each(finish)

  it("with interaction.fallback = false", function()
    start { script = script "interaction = { grace = 0, fallback = false }" }
    bot_down()
    emit(COMMAND)
    emit(AUTOCOMPLETE)
    s.bot:up()
    for _, event in ipairs(interactions(2)) do
      assert.is_nil(event.deferred)
    end
    assert.same({}, s:list "callbacks")
  end)

  it("without an event handler", function()
    s, tokens = scene.start { bot = false, script = script("interaction = { grace = 0 }", [[
gateway.on("INTERACTION_CREATE", function() gateway.log.info("it has come") end)
]]) }, {}
    emit(COMMAND)
    s.gateway:wait_for_log "it has come"
    pause(100)
    assert.same({}, s:list "callbacks")
  end)
end)

describe("handle_interaction_queueing", function()
  after_each(finish)

  local function with(body)
    start { script = script("interaction = { grace = 200 }",
      "function gateway.delivery:handle_interaction_queueing(event)\n" .. body .. "\nend\n") }
    bot_down()
  end

  local function got_deferred(n)
    s.bot:up()
    for _, event in ipairs(interactions(n)) do
      assert.is_true(event.deferred)
    end
    assert_answered_once()
  end

  it("may answer otherwise, and wait for it", function()
    with [[
gateway.sleep(50)
assert(gateway.rest.post(("/interactions/%s/%s/callback"):format(event.data.id, event.data.token),
  { json = { type = 4, data = { content = "Back in a minute.", flags = 64 } } }))
]]
    emit(COMMAND)
    local callback = wait_callbacks(1)[1]
    assert.same({ 4, "Back in a minute." }, { callback.callback, callback.body.data.content })
    got_deferred(1)
    assert.equal(1, #s:list "callbacks")
  end)

  it("may call the default", function()
    with [[
local queued, err = gateway.default.delivery.handle_interaction_queueing(self, event)
gateway.log.info("the default says %s, %s", tostring(queued), tostring(err))
return queued, err
]]
    emit(COMMAND)
    s.gateway:wait_for_log "the default says true, nil"
    emit(AUTOCOMPLETE)
    s.gateway:wait_for_log "the default says false, nil"
    got_deferred(1)
    assert.equal(2, #s:list "callbacks")
    assert.equal(1, #s.bot:select "INTERACTION_CREATE")
  end)

  it("may keep the interaction from the bot", function()
    with [[
gateway.default.delivery.handle_interaction_queueing(self, event)
return event.data.type ~= 3
]]
    emit(COMPONENT)
    emit(COMMAND)
    wait_callbacks(2)
    got_deferred(1)
    assert.equal(COMMAND, s.bot:select("INTERACTION_CREATE")[1]:data().type)
  end)

  it("may fail: the default answers, and the log says so", function()
    with [[error "no idea"]]
    emit(COMMAND)
    assert.equal(5, wait_callbacks(1)[1].callback)
    s.gateway:wait_for_log "handle_interaction_queueing[^\n]*failed; the default is used\n[^\n]*no idea"
    got_deferred(1)
  end)

  it("may give up: the default answers", function()
    with [[return nil, "I would rather not"]]
    emit(MODAL)
    assert.equal(5, wait_callbacks(1)[1].callback)
    s.gateway:wait_for_log "handle_interaction_queueing failed: I would rather not"
    got_deferred(1)
  end)

  it("is cut off by a reload: the default answers", function()
    with [[
gateway.log.info("called")
gateway.sleep(60000)
]]
    emit(COMMAND)
    s.gateway:wait_for_log "called"
    assert.is_true((s.gateway:reload()))
    assert.equal(5, wait_callbacks(1)[1].callback)
    got_deferred(1)
  end)
end)
