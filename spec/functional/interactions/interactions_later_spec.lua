-- Interactions through deaths, reconnects and long outages, and what scripts do with them.

local checker = require "spec.support.checker"
local uv = require "luv"
local paths = require "spec.support.paths"
local world = require "spec.support.interaction_world"

local s

describe("after a death", function()
  after_each(world.finish)

  local function kill_worker()
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
  end

  it("of the worker before REST has answered: it is answered again", function()
    s = world.start()
    world.bot_down()
    s.fake:fault { at = "rest", route = "/callback", ["do"] = "hang" }
    local asked = s:counters().rest_requests
    world.emit(world.COMMAND)
    s:wait_counter("rest_requests", asked + 1)
    kill_worker()
    assert.equal(204, world.wait_callbacks(1)[1].status)
    s.bot:up()
    assert.is_true(world.interactions(1)[1].deferred)
    world.assert_answered_once()
  end)

  it("of the worker after Discord has taken the answer: that it has counts", function()
    s = world.start { fake = { callback_delay = 2000 } }
    world.bot_down()
    world.emit(world.COMPONENT)
    world.wait_callbacks(1)
    s.fake:settings { callback_delay = 0 }
    kill_worker()
    local list = world.wait_callbacks(2)
    assert.equal(40060, list[2].code)
    s.bot:up()
    assert.is_true(world.interactions(1)[1].deferred)
    world.assert_answered_once()
  end)

  it("of worker and gateway the bot is told of what was deferred before", function()
    s = world.start {
      script = world.script "interaction = { grace = 200 }, queue = { memory_bytes = 16384 }",
    }
    world.bot_down()
    s.fake:emit { count = 300, shard = 0 }
    s.fake:wait_emitted()
    world.emit(world.COMMAND)
    world.emit(world.MODAL)
    world.wait_callbacks(2)
    s.fake:emit { count = 300, shard = 0 }
    s.fake:wait_emitted()
    world.pause(100) -- a worker that dies between the answer and its note of it asks again
    kill_worker()
    s:wait_counter("resumes_ok", 1)
    s.gateway:stop()
    s:again()
    s.bot:up()
    local got = world.interactions(2, 30000)
    local sent = s:wait_delivered(30000)
    assert.is_true(got[1].deferred)
    assert.is_true(got[2].deferred)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    world.assert_answered_once()
  end)
end)

describe("a gateway that stops", function()
  after_each(world.finish)

  it("waits for the answers that are under way", function()
    s = world.start { hurry = 2, fake = { callback_delay = 500 } }
    world.bot_down()
    world.emit(world.COMMAND)
    world.wait_callbacks(1)
    assert.equal(0, s.gateway:stop())
    s:again()
    s.bot:up()
    assert.is_true(world.interactions(1)[1].deferred)
    assert.equal(1, #s:list "callbacks")
  end)
end)

describe("an interaction that is replayed", function()
  after_each(world.finish)

  -- Discord sends it while the shard is away, which takes its time to come back.
  local function replayed(skew)
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 300 * paths.slow, shard = 0 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    world.emit(world.COMMAND, { skew = skew })
    s:wait_counter("resumes_ok", 1)
  end

  it("is answered if it is young, by a clock that may be wrong", function()
    s = world.start()
    world.emit(world.COMMAND, { skew = -3600000 })
    world.interactions(1)
    world.bot_down()
    replayed(-3600000)
    assert.equal(204, world.wait_callbacks(1)[1].status)
    s.bot:up()
    assert.is_true(world.interactions(2)[2].deferred)
  end)

  it("is left to the bot if it is older than 3 s", function()
    s = world.start()
    world.emit(world.COMMAND)
    world.interactions(1)
    world.bot_down()
    replayed(-10000)
    world.emit(world.COMMAND)
    world.wait_callbacks(1)
    s.bot:up()
    local got = world.interactions(3)
    assert.is_nil(got[2].deferred)
    assert.is_true(got[3].deferred)
    assert.equal(1, #s:list "callbacks")
  end)
end)

describe("an interaction whose token is dead", function()
  after_each(world.finish)

  it("is dropped, with a marker in its place", function()
    -- 15 minutes are 2 s
    s = world.start { hurry = 450, script = world.script "event_handler = { markers = true }" }
    world.bot_down()
    s.fake:emit { count = 5, shard = 0 }
    world.emit(world.COMMAND)
    world.emit(world.COMPONENT)
    s.fake:emit { count = 5, shard = 0 }
    world.wait_callbacks(2)
    world.pause(2100)
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

describe("handle_interaction_queueing", function()
  after_each(world.finish)

  local function with(body)
    s = world.start { script = world.script("interaction = { grace = 200 }",
      "function gateway.delivery:handle_interaction_queueing(event)\n" .. body .. "\nend\n") }
    world.bot_down()
  end

  local function got_deferred(n)
    s.bot:up()
    for _, event in ipairs(world.interactions(n)) do
      assert.is_true(event.deferred)
    end
    world.assert_answered_once()
  end

  it("may answer otherwise, and wait for it", function()
    with [[
gateway.sleep(50)
assert(gateway.rest.post(("/interactions/%s/%s/callback"):format(event.data.id, event.data.token),
  { json = { type = 4, data = { content = "Back in a minute.", flags = 64 } } }))
]]
    world.emit(world.COMMAND)
    local callback = world.wait_callbacks(1)[1]
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
    world.emit(world.COMMAND)
    s.gateway:wait_for_log "the default says true, nil"
    world.emit(world.AUTOCOMPLETE)
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
    world.emit(world.COMPONENT)
    world.emit(world.COMMAND)
    world.wait_callbacks(2)
    got_deferred(1)
    assert.equal(world.COMMAND, s.bot:select("INTERACTION_CREATE")[1]:data().type)
  end)

  it("may leave it to the bot: nobody answers, and it comes as ever, also an autocompletion", function()
    with [[
gateway.log.info("waits: %d", event.data.type)
return "wait"
]]
    world.emit(world.COMMAND)
    world.emit(world.AUTOCOMPLETE)
    s.gateway:wait_for_log "waits: 2"
    s.gateway:wait_for_log "waits: 4"
    s.bot:up()
    local types = {}
    for i, event in ipairs(world.interactions(2)) do
      assert.is_nil(event.deferred)
      types[i] = event:data().type
    end
    assert.same({ 2, 4 }, types)
    assert.same({}, s:list "callbacks")
  end)

  it("may fail: the default answers, and the log says so", function()
    with [[error "no idea"]]
    world.emit(world.COMMAND)
    assert.equal(5, world.wait_callbacks(1)[1].callback)
    s.gateway:wait_for_log "handle_interaction_queueing[^\n]*failed; the default is used\n[^\n]*no idea"
    got_deferred(1)
  end)

  it("may give up: the default answers", function()
    with [[return nil, "I would rather not"]]
    world.emit(world.MODAL)
    assert.equal(5, world.wait_callbacks(1)[1].callback)
    s.gateway:wait_for_log "handle_interaction_queueing[^\n]*I would rather not"
    got_deferred(1)
  end)

  it("is cut off by a reload: the default answers", function()
    with [[
gateway.log.info("called")
gateway.sleep(60000)
]]
    world.emit(world.COMMAND)
    s.gateway:wait_for_log "called"
    assert.is_true((s.gateway:reload()))
    assert.equal(5, world.wait_callbacks(1)[1].callback)
    got_deferred(1)
  end)

  it("runs for a script that delivers, too; it is told", function()
    s = world.start { bot = false, script = world.script("interaction = { grace = 200 }", [[
local accepts = false
gateway.on("TYPING_START", function() accepts = true end)
function gateway.delivery:deliver(events)
  for _, event in ipairs(events) do
    if event.type == "INTERACTION_CREATE" then
      if not accepts then return nil, { code = "down", message = "not yet" } end
      gateway.log.info("deferred: %s", tostring(gateway.json.decode(event.body).deferred))
    end
  end
  return true
end
]]), reload = false }
    world.emit(world.COMMAND)
    world.wait_callbacks(1)
    world.pause(100)
    s:type()
    s.gateway:wait_for_log "deferred: true"
    assert.equal(1, #s:list "callbacks")
  end)
end)
