-- Interactions that were answered or given up in the place of the bot, and a worker that is killed then: no
-- second callback, and nothing is counted twice.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local uv = require "luv"
local world = require "spec.support.interaction_world"

local s

-- The next worker knows all that the last one has left once it answers something new.
local function kill_worker()
  local resumes, callbacks = s:counters().resumes_ok, #s:list "callbacks"
  uv.kill(s.gateway:worker_pids()[1], "sigkill")
  s:wait_counter("resumes_ok", resumes + 1, 20000)
  local id = world.emit(world.MODAL).id
  s.fake:wait_for("an answer by the next worker", function(state)
    local last = state.callbacks[#state.callbacks]
    return #state.callbacks > callbacks and last.id == id
  end, { only = "callbacks" })
  world.pause(200)
end

local function callbacks_by_id()
  local counts = {}
  for _, callback in ipairs(s:list "callbacks") do
    counts[callback.id] = (counts[callback.id] or 0) + 1
  end
  return counts
end

local function assert_one_each()
  for id, count in pairs(callbacks_by_id()) do
    assert(count == 1, ("%d callbacks for %s"):format(count, id))
  end
end

local function figures()
  local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
  return {
    filtered = metrics:sum("tidegate_events_filtered_total", { type = "INTERACTION_CREATE" }),
    answered = metrics:sum("tidegate_interactions_total", { result = "answered" }),
    failed = metrics:sum("tidegate_interactions_total", { result = "failed" }),
  }
end

-- Scrapes until a figure has that value.
local function wait_for_figure(name, value)
  local deadline = loop.now() + 10000 * paths.slow
  while figures()[name] ~= value do
    assert(loop.now() < deadline, ("%s is %d, not %d"):format(name, figures()[name], value))
    world.pause(10)
  end
end

describe("a worker that is killed", function()
  after_each(world.finish)

  it("behind one command and ten autocompletions that it has answered: each is done once", function()
    s = world.start { reload = false }
    world.bot_down()
    world.emit(world.COMMAND)
    world.emit(world.AUTOCOMPLETE, { count = 10 })
    world.wait_callbacks(11)
    wait_for_figure("answered", 11)
    kill_worker()
    assert_one_each()
    assert.same({ filtered = 10, answered = 12, failed = 0 }, figures())
    s.bot:up()
    for _, event in ipairs(world.interactions(2)) do
      assert.is_true(event.deferred)
      assert.not_equal(world.AUTOCOMPLETE, event:data().type)
    end
    assert.equal(2, #s.bot:select "INTERACTION_CREATE")
  end)

  it("while autocompletions are under way to Discord asks for none of them again", function()
    s = world.start { reload = false, fake = { callback_delay = 3000 } }
    world.bot_down()
    world.emit(world.AUTOCOMPLETE, { count = 10 })
    world.wait_callbacks(10)
    s.fake:settings { callback_delay = 0 }
    kill_worker()
    assert_one_each()
    assert.equal(10, figures().filtered)
  end)

  it("while the bot has an autocompletion that was answered meanwhile: it does not come again", function()
    s = world.start { reload = false }
    s.bot:answer(function(_, event)
      return event.t == "INTERACTION_CREATE" and event:data().type == world.AUTOCOMPLETE and "hang" or nil
    end)
    world.emit(world.AUTOCOMPLETE)
    world.wait_callbacks(1)
    wait_for_figure("answered", 1)
    s.bot:down()
    s.bot:answer(nil)
    kill_worker()
    assert_one_each()
    s.bot:up()
    assert.equal(world.MODAL, world.interactions(1)[1]:data().type)
    assert.equal(1, #s.bot:select "INTERACTION_CREATE")
    wait_for_figure("filtered", 1)
  end)

  it("behind interactions that a script has kept from the bot does not run it again", function()
    s = world.start { reload = false, script = world.script("interaction = { grace = 200 }", [[
local gateway = require "tidegate"
local defer = gateway.delivery.handle_interaction_queueing
function gateway.delivery:handle_interaction_queueing(event)
  gateway.log.info("asked for %s", event.data.id)
  defer(self, event)
  return event.data.type ~= 3
end
]]) }
    world.bot_down()
    world.emit(world.COMMAND)
    world.emit(world.COMPONENT, { count = 5 })
    world.wait_callbacks(6)
    wait_for_figure("answered", 6)
    kill_worker()
    assert_one_each()
    assert.equal(7, s.gateway:count_log "asked for %d+")
    assert.same({ filtered = 5, answered = 7, failed = 0 }, figures())
    s.bot:up()
    world.interactions(2)
    assert.equal(2, #s.bot:select "INTERACTION_CREATE")
  end)

  it("behind one that Discord has refused does not ask again", function()
    s = world.start { reload = false }
    world.bot_down()
    s.fake:fault { at = "rest", route = "/callback", ["do"] = "status", status = 404 }
    local id = world.emit(world.COMMAND).id
    s.gateway:wait_for_log "could not be answered[^\n]*REST answered 404"
    kill_worker()
    assert.is_nil(callbacks_by_id()[id])
    assert.same({ filtered = 0, answered = 1, failed = 1 }, figures())
    s.bot:up()
    local got = world.interactions(2)
    assert.is_nil(got[1].deferred)
    assert.is_true(got[2].deferred)
  end)
end)
