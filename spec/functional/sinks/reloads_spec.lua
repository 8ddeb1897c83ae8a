-- Sinks that a reload adds, changes and removes, while events flow.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local bot_support = require "spec.support.bot"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local sinks_trial = require "spec.support.sinks_trial"
local uv = require "luv"
local webhook = require "spec.support.webhook"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local SHARDS = 2

local function start(options)
  options.shards, options.per_worker, options.workers = SHARDS, 1, 2
  options.rate = options.rate or 0
  return sinks_trial.start(options)
end

-- A sink that is not there from the beginning.
local function another(options)
  local bot = bot_support.start(options or { authorization = "secret-of-another" })
  return bot, { url = bot.url, authorization = bot.authorization or nil, markers = true }
end

local function numbers(events)
  local found = {}
  for _, event in ipairs(events) do
    local guild, n = (event.body or ""):match '"nonce":"(%d+):(%d+)"'
    if guild then
      found[guild] = found[guild] or {}
      table.insert(found[guild], tonumber(n))
    end
  end
  return found
end

-- Each guild's messages came without a hole, up to the last that was sent.
local function assert_without_holes(events, sent)
  for guild, list in pairs(numbers(events)) do
    for i = 2, #list do
      assert.equal(list[i - 1] + 1, list[i], "guild " .. guild)
    end
    assert.equal(sent[guild], list[#list])
  end
end

local function ctl(t, ...)
  local argv = { paths.bin "tidegate", "ctl" }
  for _, word in ipairs { ... } do
    argv[#argv + 1] = word
  end
  local address = t.gateway:control_url():gsub("^http://", "")
  return process.run(argv, { env = { TIDEGATE_CONTROL = address } })
end

describe("a reload while events flow", function()
  after_each(sinks_trial.stop)

  it("adds a sink, which gets all from one event on, and the others notice nothing", function()
    local t = start { rate = 600, sinks = { audit = {} } }
    t:await_events(100)
    local late, sink = another()
    t:configure { sinks = { audit = {}, late = sink } }
    t:await_events(200)
    t:assert_nothing_lost {
      name = "a sink is added", identifies = SHARDS, of = { "bot", "audit" }, repeated = 0,
    }
    local sent = t.fake:sent_guilds()
    t:await_newest(late)
    assert_without_holes(late.events, sent)
    assert.is_true(#late.events < #t.bot.events)
    assert.same({}, checker.compare(late.events).out_of_order)
    assert.equal(0, t:counters().resumes)
  end)

  it("adds a sink that then is down, and all die: it has what came since", function()
    local t = start { rate = 600, sinks = {} }
    t:await_events(50)
    local late, sink = another()
    late:down()
    t:configure { sinks = { late = sink } }
    t:await_events(200)
    t:kill_group()
    t:again()
    t:await_events(50)
    t:assert_nothing_lost { name = "added, and killed", identifies = SHARDS, of = { "bot" } }
    late:up()
    local sent = t.fake:sent_guilds()
    t:await_newest(late)
    assert_without_holes(late.events, sent)
    assert.is_true(#late.events >= 200, #late.events)
  end)

  it("adds a sink whose event log cannot be opened: it is told, and delivers from memory", function()
    local t = start { sinks = {} }
    t.bot:wait_for_events(SHARDS, "READY")
    assert(uv.fs_mkdir(t.gateway.state_dir .. "/sinks", 448))
    paths.write(t.gateway.state_dir .. "/sinks/late", "in the way")
    local late, sink = another()
    t:configure { sinks = { late = sink } }
    t.gateway:wait_for_log 'the event log of the sink "late" cannot be opened: [^\n]*until the next start'
    t.fake:emit { count = 5 }
    t:wait_delivered()
    t:wait_delivered(nil, late)
  end)

  it("changes which events a sink gets, from one event on", function()
    local t = start { sinks = { audit = { events = { "MESSAGE_CREATE" } } }, intents = 33281 + 2048 }
    t.fake:emit { count = 5 }
    t.scene:type("1")
    t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    t:configure { sinks = { audit = { events = { "TYPING_START" } } } }
    t.fake:emit { count = 5 }
    t.scene:type("2")
    t.sinks.audit:wait_for_events(1, "TYPING_START")
    local counts = {}
    for _, event in ipairs(t.sinks.audit.events) do
      counts[event.t] = (counts[event.t] or 0) + 1
    end
    assert.same({ MESSAGE_CREATE = 5 * SHARDS, TYPING_START = 1 }, counts)
    assert.equal("2", t.sinks.audit:select("TYPING_START")[1]:data().user_id)
    t:wait_delivered()
    assert.equal(2, #t.bot:wait_for_events(2, "TYPING_START"))
  end)

  it("changes a sink's URL, and what waits goes there; the others keep theirs", function()
    local t = start { sinks = { audit = {}, other = {} }, rate = 300 }
    t:await_events(50)
    t.sinks.audit:down()
    t:await_events(100)
    local elsewhere, sink = another()
    t:configure { sinks = { audit = sink, other = {} } }
    t:assert_nothing_lost {
      name = "a sink moves", identifies = SHARDS, of = { "bot", "other" }, repeated = 0,
    }
    local sent, all = t.fake:sent_guilds(), {}
    local function collect()
      all = {}
      for _, bot in ipairs { t.sinks.audit, elsewhere } do
        for _, event in ipairs(bot.events) do
          all[#all + 1] = event
        end
      end
      return checker.compare(all, { guilds = sent })
    end
    loop.wait_for("the rest at the new place", function() return #collect().lost == 0 end, 20000)
    checker.assert_nothing_lost(all, { guilds = sent })
  end)

  it("changes a sink's format, also of what waits", function()
    local hook = webhook.start()
    local t = start { sinks = { audit = { url = hook.url, format = "seed" } } }
    hook:wait_for(1, '"READY"')
    hook:down()
    t.fake:emit { count = 1, shard = 0 }
    t:wait_delivered()
    t:configure { sinks = { audit = { url = hook.url, format = "cloudevents" } } }
    hook:up()
    local request = hook:wait_for(1, "MESSAGE_CREATE")[1]
    local body = cjson.decode(request.body)
    assert.equal("1.0", body.specversion)
    assert.matches("MESSAGE_CREATE", t.bot:select("MESSAGE_CREATE")[1].t)
  end)
end)

describe("a sink that a reload removes", function()
  after_each(sinks_trial.stop)

  local function remove_with_a_backlog(t)
    t.fake:emit { count = 10 }
    t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    t.sinks.audit:down()
    t.fake:emit { count = 50 }
    t:wait_delivered()
    t:configure { sinks = {} }
    t.sinks.audit:up()
    t.fake:emit { count = 30 } -- not for it
    t:wait_delivered()
  end

  -- Of each guild what was sent before it was removed, without a hole, and what is sent later.
  local function assert_got_what_waited(t)
    local sent = t.fake:sent_guilds()
    t:await_newest(t.sinks.audit)
    local report = checker.compare(t.sinks.audit.events, { guilds = sent })
    assert.equal(30 * SHARDS, #report.lost, report.text)
    assert.same({ 0, 0, 0 }, { #report.doubled, #report.doubled_with_other_key, #report.out_of_order })
  end

  it("and adds again: what waited is delivered then, before what is new", function()
    local t = start { sinks = { audit = {} } }
    remove_with_a_backlog(t)
    t:configure { sinks = { audit = {} } }
    t.fake:emit { count = 20 }
    t:wait_delivered()
    assert_got_what_waited(t)
  end)

  it("and adds again while it is down, and all die: nothing is lost, and nothing comes twice", function()
    local t = start { sinks = { audit = {} } }
    remove_with_a_backlog(t)
    t.sinks.audit:down()
    t:configure { sinks = { audit = {} } }
    t.fake:emit { count = 10 }
    t:wait_delivered()
    t:kill_group()
    t:again()
    t.fake:emit { count = 10 }
    t:wait_delivered()
    t.sinks.audit:up()
    assert_got_what_waited(t)
  end)

  it("stays on disk over restarts, is told at each, and comes back with what waited", function()
    local t = start { sinks = { audit = {} } }
    remove_with_a_backlog(t)
    t.gateway:stop()
    t:again()
    t.gateway:wait_for_log "audit[^\n]*"
    t:kill_group()
    t:again()
    t:configure { sinks = { audit = {} } }
    t.fake:emit { count = 20 }
    t:wait_delivered()
    assert_got_what_waited(t)
  end)

  it("goes with ctl queue forget, and not before it is removed", function()
    local t = start { sinks = { audit = {} } }
    local refused = ctl(t, "queue", "forget", "audit")
    assert.not_equal(0, refused.exit_code)
    remove_with_a_backlog(t)
    assert.is_true(#t:logs "audit" > 0)
    local done = ctl(t, "queue", "forget", "audit")
    assert.equal(0, done.exit_code, done.stderr)
    assert.same({}, t:logs "audit")
    local got = #t.sinks.audit.events
    t:configure { sinks = { audit = {} } }
    t.fake:emit { count = 20 }
    t:wait_delivered()
    local sent = t.fake:sent_guilds()
    t.sinks.audit:wait_for_events(got + 20 * SHARDS)
    for guild, list in pairs(numbers(t.sinks.audit.events)) do
      assert.equal(sent[guild], list[#list])
    end
    assert.equal(got + 20 * SHARDS, #t.sinks.audit.events)
  end)
end)

describe("sinks that come and go at random", function()
  after_each(sinks_trial.stop)

  -- How often a number is missing in a guild's messages, however many at once.
  local function count_holes(list)
    local holes = list[1] > 1 and 1 or 0
    for i = 2, #list do
      holes = holes + (list[i] > list[i - 1] + 1 and 1 or 0)
    end
    return holes
  end

  local function first_arrivals(events)
    local first, seen = {}, {}
    for _, event in ipairs(events) do
      if not seen[event.key] then
        seen[event.key] = true
        first[#first + 1] = event
      end
    end
    return first
  end

  it("while processes die: one misses only what came while it was not there, and the bot nothing", function()
    local t = start { rate = 600, sinks = { audit = {} } }
    t.sinks.audit:wait_for_events(SHARDS, "READY")
    local there, up, removed = true, true, 0
    for _ = 1, LONG and 60 or 10 do
      t:await_emitted(t.random:between(1, 80))
      local what = t.random:one_of { "kill", "kill", "reload", "reload", "bot" }
      if what == "reload" then
        there = not there
        removed = removed + (there and 0 or 1)
        t:configure { sinks = there and { audit = {} } or {} }
      elseif what == "bot" then
        up = not up
        t.sinks.audit[up and "up" or "down"](t.sinks.audit)
      elseif t.random:chance(0.5) then
        t:kill_group()
        t:again()
      else
        local resumed = t:counters().resumes_ok
        t:kill_worker(t:await_worker())
        t:wait_counter("resumes_ok", resumed + 1, 30000)
      end
    end
    t.sinks.audit:up()
    t:configure { sinks = { audit = {} } }
    t:await_emitted(50 * SHARDS)
    t:assert_nothing_lost { name = "sinks come and go", identifies = SHARDS, of = { "bot" } }
    t:await_newest(t.sinks.audit)
    local report = checker.compare(t.sinks.audit.events)
    assert.same({ 0, 0 }, { #report.doubled_with_other_key, #report.out_of_order }, report.text)
    for guild, list in pairs(numbers(first_arrivals(t.sinks.audit.events))) do
      assert.is_true(count_holes(list) <= removed, ("guild %s, %d times removed"):format(guild, removed))
    end
    print(("# %d times removed; %d of %d events came to it"):format(
      removed, #t.sinks.audit.events, #t.bot.events))
  end)
end)
