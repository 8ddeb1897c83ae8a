-- event_handler.events: only those reach the bot; caches, filters and scripts see all.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

local function script_of(events, script, more)
  return ([[
local gateway = require "tidegate"
gateway.configure { event_handler = { events = %s }, %s }
%s]]):format(events, more or "", script or "")
end

local function types(bot)
  local found = {}
  for _, event in ipairs(bot.events) do
    found[event.t] = (found[event.t] or 0) + 1
  end
  return found
end

describe("event_handler.events", function()
  after_each(scene.stop)

  it("keeps all others from the bot, also such as nobody knows", function()
    local s = scene.start { script = script_of '{ "MESSAGE_CREATE" }' }
    s:type()
    s.fake:emit { event = "NEVER_HEARD_OF", shard = 0, d = {} }
    s.fake:emit { count = 5, shard = 0 }
    s:wait_delivered()
    assert.same({ MESSAGE_CREATE = #s.bot.events }, types(s.bot))
    local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
    assert.is_true(metrics:sum "tidegate_shard_filtered_total" >= 3)
  end)

  it("may name one that this version does not know", function()
    local s = scene.start { script = script_of '{ "FERRY_CREATE" }' }
    s.gateway:wait_for_log "event_handler.events%[1%]: no event that this version knows"
    s:type()
    s.fake:emit { event = "FERRY_CREATE", shard = 0, d = {} }
    s.bot:wait_for_events(1, "FERRY_CREATE")
    assert.same({ FERRY_CREATE = 1 }, types(s.bot))
  end)

  it("leaves caches, filters and handlers of scripts what they have", function()
    local s = scene.start { script = script_of('{ "GUILD_CREATE", "MESSAGE_UPDATE", "TYPING_START" }', [[
      gateway.on("MESSAGE_CREATE", function(event) gateway.log.info("handler " .. event.type) end)
      gateway.filter("MESSAGE_CREATE", function(event) gateway.log.info("filter " .. event.type) end)
      gateway.on("READY", function(event) gateway.log.info("handler " .. event.type) end)
    ]]), reload = false }
    s.gateway:wait_for_log "handler READY"
    local guild = s.fake:guilds()[1].id
    local update = { id = "9", channel_id = "8", guild_id = guild, content = "a", author = { id = "7" } }
    s.fake:emit { event = "MESSAGE_CREATE", guild = guild, d = update }
    s.gateway:wait_for_log "filter MESSAGE_CREATE"
    s.gateway:wait_for_log "handler MESSAGE_CREATE"
    s.fake:emit { event = "MESSAGE_UPDATE", guild = guild, d = update } -- it changes nothing
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    assert.same({ GUILD_CREATE = #s.fake:guilds(), TYPING_START = 1 }, types(s.bot))
    assert.equal("loading", s.bot:select "GUILD_CREATE"[1].guild_create)
  end)

  it("answers no interaction that the bot never gets", function()
    local script = script_of('{ "TYPING_START" }', nil, "interaction = { grace = 50 }")
    local s = scene.start { script = script, hurry = 10 }
    s.bot:down()
    s.fake:emit { interaction = 2, shard = 0 }
    s:type()
    s.gateway:wait_for_log "down"
    s.bot:up()
    s.bot:wait_for_events(1, "TYPING_START", 30000)
    assert.same({ TYPING_START = 1 }, types(s.bot))
    assert.same({}, s:list "callbacks")
  end)

  it("counts as received what it leaves out: a restart does not ask for it again", function()
    local s = scene.start { script = script_of '{ "MESSAGE_CREATE" }' }
    s:type()
    s.fake:emit { count = 1, shard = 0 }
    s:wait_delivered()
    s:type()
    s.fake:wait_emitted()
    s.gateway:stop()
    s:again()
    s:wait_counter("resumes_ok", 1)
    s.fake:emit { count = 1, shard = 0 }
    s:wait_delivered()
    for _, name in ipairs { "identifies_ok", "resumes_ok" } do
      assert.equal(1, s:counters()[name])
    end
    local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
    assert.equal(0, metrics:sum "tidegate_shard_replayed_total")
  end)

  it("changes by a reload, from the next event on", function()
    local s = scene.start { script = script_of '"all"' }
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    paths.write(s.gateway.script, script_of '{ "MESSAGE_CREATE" }')
    assert.is_true((s.gateway:reload()))
    s:type()
    s.fake:emit { count = 1, shard = 0 }
    s:wait_delivered()
    assert.equal(1, types(s.bot).TYPING_START)
    paths.write(s.gateway.script, script_of '{ "TYPING_START", "MESSAGE_CREATE" }')
    assert.is_true((s.gateway:reload()))
    s:type()
    s.bot:wait_for_events(2, "TYPING_START")
  end)
end)

describe("events that cannot be", function()
  after_each(process.cleanup)

  it("are named at the start", function()
    local dir = paths.tmp()
    local function check(events)
      local script = paths.write(dir .. "/script.lua", script_of(events))
      local p = process.run({ paths.bin "tidegate", "check", script },
        { env = { DISCORD_TOKEN = "fake-token", INTENTS = "1", TIDEGATE_STATE_DIR = dir } })
      return p.exit_code, p.stdout .. p.stderr
    end
    local code, text = check '{ "MESAGE_CREATE" }'
    assert.equal(1, code)
    local said = 'event_handler.events[1]: there is no "MESAGE_CREATE"; did you mean MESSAGE_CREATE?'
    assert.truthy(text:find(said, 1, true), text)
    code, text = check '{}'
    assert.equal(1, code)
    assert.truthy(text:find("event_handler.events: names no event", 1, true), text)
  end)
end)
