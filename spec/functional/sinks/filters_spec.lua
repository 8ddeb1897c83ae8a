-- Which events a sink gets, and what is the bot's alone.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local sinks_trial = require "spec.support.sinks_trial"

local SHARDS = 2

local function start(options)
  options.shards, options.workers, options.rate = SHARDS, 1, 0
  options.intents = options.intents or 33281 + 2048
  return sinks_trial.start(options)
end

local function types(events)
  local counts = {}
  for _, event in ipairs(events) do
    counts[event.t] = (counts[event.t] or 0) + 1
  end
  return counts
end

describe("a sink's events", function()
  after_each(sinks_trial.stop)

  it("are those that it asks for, and the bot's those that the bot asks for", function()
    local t = start {
      event_handler = { events = { "READY", "MESSAGE_CREATE" } },
      sinks = { typing = { events = { "TYPING_START" } }, everything = { events = "all" } },
    }
    t.fake:emit { count = 5 }
    t.scene:type("1")
    t.sinks.typing:wait_for_events(1)
    t.sinks.everything:wait_for_events(1, "TYPING_START")
    local sent = t:wait_delivered(nil, t.sinks.everything)
    t:wait_delivered()
    assert.same({ TYPING_START = 1 }, types(t.sinks.typing.events))
    assert.same({ READY = SHARDS, MESSAGE_CREATE = 5 * SHARDS }, types(t.bot.events))
    checker.assert_complete(t.sinks.everything.events, { guilds = sent, contiguous = true })
    -- The same event has the same key everywhere.
    local keys = {}
    for _, event in ipairs(t.sinks.everything.events) do
      keys[event.key] = event.t
    end
    for _, bot in ipairs { t.bot, t.sinks.typing } do
      for _, event in ipairs(bot.events) do
        assert.equal(event.t, keys[event.key])
      end
    end
  end)

  it("that nobody wants count as received: Discord does not send them again", function()
    local t = start {
      event_handler = { events = { "READY", "MESSAGE_CREATE" } },
      sinks = { audit = { events = { "MESSAGE_CREATE" } } },
    }
    t.fake:emit { count = 5 }
    t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    for i = 1, 20 do
      t.scene:type(tostring(i))
    end
    t:pass(1200) -- a beat
    t:kill_group()
    t:again()
    t.fake:emit { count = 5 }
    local sent = t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    checker.assert_complete(t.bot.events, { guilds = sent })
    checker.assert_complete(t.sinks.audit.events, { guilds = sent })
    for _, resume in ipairs(t:list "resumes") do
      assert.equal(0, resume.replayed or 0)
    end
  end)

  it("of a sink that wants few may lie far behind, when all die: nobody gets anything twice", function()
    local t = start { sinks = { rare = { events = { "TYPING_START" } } }, event_handler = {} }
    t.scene:type("1")
    t.sinks.rare:wait_for_events(1)
    t.fake:emit { count = 200 }
    t:wait_delivered()
    t:kill_group()
    t:again()
    t.scene:type("2")
    t.sinks.rare:wait_for_events(2)
    t:assert_nothing_lost { name = "few events", identifies = SHARDS, of = { "bot" }, repeated = SHARDS }
    assert.same({ TYPING_START = 2 }, types(t.sinks.rare.events))
    for _, resume in ipairs(t:list "resumes") do
      assert.is_true((resume.replayed or 0) <= 1, cjson.encode(resume))
    end
  end)

  it("pass the filters of the script once, for all sinks", function()
    local t = start {
      sinks = { audit = {} },
      lua = [[
local seen = 0
gateway.filter("MESSAGE_CREATE", function(event)
  seen = seen + 1
  gateway.log.info("filtered " .. seen)
  return not event.data.content:find "#2 "
end)
]],
    }
    t.fake:emit { count = 4, shard = 0 }
    local function messages(bot)
      return bot:wait_for_events(3, "MESSAGE_CREATE")
    end
    assert.equal(#messages(t.bot), #messages(t.sinks.audit))
    loop.wait_for("each message in the filter", function() return t.gateway:count_log "filtered 4" == 1 end)
    assert.equal(0, t.gateway:count_log "filtered 5")
  end)
end)

describe("interactions", function()
  after_each(sinks_trial.stop)

  it("are deferred when the bot is down, though another sink has taken them", function()
    local t = start { sinks = { audit = {} }, configure = { interaction = { grace = 200 } } }
    t.fake:emit { count = 2 }
    t:wait_delivered()
    t.bot:down()
    local id = t.fake:emit({ interaction = 2, shard = 0 }).interactions[1].id
    t.sinks.audit:wait_for_events(1, "INTERACTION_CREATE")
    t.fake:wait_for("the deferral", function(state) return #state.callbacks == 1 end, { only = "callbacks" })
    local callback = t:list("callbacks")[1]
    assert.same({ id, 5 }, { callback.id, callback.callback })
    t.bot:up()
    local event = t.bot:wait_for_events(1, "INTERACTION_CREATE")[1]
    assert.is_true(event.deferred)
    assert.is_nil(t.sinks.audit:select("INTERACTION_CREATE")[1].deferred)
  end)

  it("are the bot's to answer while it is there, though another sink is down", function()
    local t = start { sinks = { audit = {} }, configure = { interaction = { grace = 200 } } }
    t.fake:emit { count = 2 }
    t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    t.sinks.audit:down()
    t.fake:emit { count = 1 }
    t.fake:emit { interaction = 2, shard = 0 }
    t.bot:wait_for_events(1, "INTERACTION_CREATE")
    t:pass(600)
    t.sinks.audit:up()
    local event = t.sinks.audit:wait_for_events(1, "INTERACTION_CREATE")[1]
    assert.is_nil(event.deferred)
    assert.same({}, t:list "callbacks")
  end)

  it("of autocompletion, answered in the bot's place, reach the other sink all the same", function()
    local t = start { sinks = { audit = {} }, configure = { interaction = { grace = 200 } } }
    t.fake:emit { count = 2 }
    t:wait_delivered()
    t.bot:down()
    t.fake:emit { interaction = 4, shard = 0 }
    t.fake:wait_for("the deferral", function(state) return #state.callbacks == 1 end, { only = "callbacks" })
    t.sinks.audit:wait_for_events(1, "INTERACTION_CREATE")
    t.bot:up()
    t.fake:emit { count = 2 }
    t:wait_delivered()
    assert.equal(0, #t.bot:select "INTERACTION_CREATE")
  end)
end)
