-- What the status, the metrics and ctl say of several sinks, one of them down.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local uv = require "luv"

local SHARDS, GUILDS, EVENTS = 2, 4, 10 -- EVENTS of each shard
local FIRST = SHARDS + GUILDS -- READY and GUILD_CREATE
local ALL = FIRST + SHARDS * EVENTS

-- sinks: {name = what configure() takes of it beside where it is}
local function script(s, sinks)
  local texts = {}
  for name, more in pairs(sinks) do
    texts[#texts + 1] = ("%s = { url = %q, authorization = %q, %s }"):format(name, s.sinks[name].url,
      s.sinks[name].authorization, more)
  end
  return ('require "tidegate".configure { sinks = { %s } }\n'):format(table.concat(texts, ", "))
end

local function start(sinks, options)
  local all = {
    shards = SHARDS, per_worker = 1, workers = SHARDS, hurry = 10, reload = false, sinks = {},
    fake = { max_concurrency = SHARDS, guilds = GUILDS },
  }
  for name in pairs(sinks) do
    all.sinks[name] = { authorization = "open-sesame-of-" .. name }
  end
  all.script = function(s) return script(s, sinks) end
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return scene.start(all)
end

local function down(bot) bot:answer(function() return 503 end) end

local function sinks_of(body)
  local by_name = {}
  for i, sink in ipairs(body.sinks) do
    by_name[i], by_name[sink.name] = sink.name, sink
  end
  return by_name
end

local function look(s)
  local status = s.gateway:control("GET", "/status"):json()
  local metrics = prometheus.parse(s.gateway:control("GET", "/metrics").body)
  return sinks_of(status), metrics, status
end

-- Until predicate(sinks, metrics, status); returns these.
local function await(s, what, predicate)
  local seen
  s.fake:wait_for(function()
    return what .. "; the last status was " .. cjson.encode(seen[3])
  end, function()
    seen = { look(s) }
    return predicate(unpack(seen))
  end, { only = "counters" })
  return unpack(seen)
end

local function assert_values(metrics, name, values)
  for sink, value in pairs(values) do
    assert.equal(value, metrics:value(name, { sink = sink }), name .. " of " .. sink)
  end
end

local function ctl(s, ...)
  local address = s.gateway:control_url():gsub("^http://", "")
  return process.run({ paths.bin "tidegate", "ctl", ... }, { env = { TIDEGATE_CONTROL = address } }).stdout
end

describe("the figures of sinks", function()
  after_each(scene.stop)

  it("are those of each, one of them being down", function()
    local s = start { copy = "" }
    down(s.sinks.copy)
    await(s, "what has come up to now to be told to both", function(sinks)
      return sinks.bot.delivered == FIRST and sinks.copy.delivered + sinks.copy.queued.events == FIRST
    end)
    local had = sinks_of(s.gateway:control("GET", "/status"):json()).copy.delivered
    s.fake:emit { count = EVENTS }
    local sinks, metrics, status = await(s, "all to be delivered, or to wait", function(sinks, metrics)
      return sinks.bot.delivered == ALL and sinks.copy.up == false and sinks.copy.queued.events == ALL - had
        and sinks.copy.queued.age > 0 and sinks.bot.up and sinks.bot.queued.events == 0
        and metrics:value("tidegate_sink_queue_oldest_seconds", { sink = "copy" }) > 0
        and metrics:value("tidegate_sink_retried_total", { sink = "copy" }) > 0
    end)
    local waits = ALL - had
    assert.same({ "bot", "copy" }, { unpack(sinks) })
    assert.same({ "http", { s.bot.url }, cjson.null },
      { sinks.bot.kind, sinks.bot.urls, sinks.bot.queued.age })
    assert.same({ "http", { s.sinks.copy.url }, had },
      { sinks.copy.kind, sinks.copy.urls, sinks.copy.delivered })
    assert.same({ waits, sinks.copy.queued.bytes }, { status.queue.events, status.queue.bytes })
    assert.equal(ALL + had, status.queue.delivered)
    assert.equal(sinks.bot.logBytes + sinks.copy.logBytes, status.queue.spool)
    assert.is_true(sinks.bot.logBytes > 0 and sinks.copy.logBytes > 0)
    assert_values(metrics, "tidegate_sink_up", { bot = 1, copy = 0 })
    assert_values(metrics, "tidegate_sink_delivered_total", { bot = ALL, copy = had })
    assert_values(metrics, "tidegate_delivery_latency_seconds_count", { bot = ALL, copy = had })
    assert_values(metrics, "tidegate_sink_queue_events", { bot = 0, copy = waits })
    assert_values(metrics, "tidegate_sink_dropped_total", { bot = 0, copy = 0 })
    assert_values(metrics, "tidegate_sink_dead_total", { bot = 0, copy = 0 })
    assert_values(metrics, "tidegate_sink_retried_total", { bot = 0 })
    assert.equal(waits, metrics:sum "tidegate_shard_queue_events")
    assert.equal(ALL + had, metrics:sum "tidegate_shard_delivered_total")
    local of_messages = { type = "MESSAGE_CREATE" }
    assert.equal(SHARDS * EVENTS, metrics:value("tidegate_events_delivered_total", of_messages))
    assert.equal(ALL, metrics:sum "tidegate_shard_received_total")
    for shard, row in ipairs(s.gateway:control("GET", "/shards"):json()) do
      assert.is_true(row.queued >= EVENTS)
      assert.is_true(row.delivered < row.sequence, "shard " .. shard .. " is delivered to all")
    end

    local queue = s.gateway:control("GET", "/queue"):json()
    assert.same({ SHARDS, 0 }, { #queue.waiting, queue.more })
    local events = 0
    for _, lane in ipairs(queue.waiting) do
      assert.same({ "copy", SHARDS }, { lane.sink, lane.totalShards })
      assert.is_true(lane.bytes > 0 and lane.age > 0)
      events = events + lane.events
    end
    assert.equal(waits, events)
    assert.not_equal(queue.waiting[1].shardId, queue.waiting[2].shardId)
    local shown = ctl(s, "queue", "--table")
    assert.matches("\nbot +http +up +0 +0 bytes +%- +" .. ALL .. " ", shown)
    assert.matches("\ncopy +http +down +" .. waits .. " ", shown)
    assert.matches("\ncopy +[01] +%d+ +%d", shown)
    assert.matches("\ncopy +http +down +" .. waits .. " ", ctl(s, "status", "--table"))

    s.sinks.copy:answer(nil)
    sinks, metrics, status = await(s, "the rest", function(now)
      return now.copy.delivered == ALL and now.copy.up and now.copy.queued.events == 0
    end)
    assert.same({ 0, 0 }, { sinks.copy.dropped, sinks.copy.dead })
    assert.equal(2 * ALL, status.queue.delivered)
    assert_values(metrics, "tidegate_sink_up", { bot = 1, copy = 1 })
    assert_values(metrics, "tidegate_delivery_latency_seconds_count", { bot = ALL, copy = ALL })
    assert.equal(2 * ALL, metrics:sum "tidegate_shard_delivered_total")
    assert.equal(2 * ALL, metrics:sum "tidegate_events_delivered_total")
    assert.equal(0, metrics:sum "tidegate_shard_queue_events")
    for _, row in ipairs(s.gateway:control("GET", "/shards"):json()) do
      assert.same({ 0, row.sequence }, { row.queued, row.delivered })
    end
    assert.same({}, s.gateway:control("GET", "/queue"):json().waiting)
  end)

  it("are those of each, the bot being down", function()
    local s = start { copy = 'events = { "MESSAGE_CREATE" }' }
    await(s, "what comes first", function(sinks) return sinks.bot.delivered == FIRST end)
    down(s.bot)
    s.fake:emit { count = EVENTS }
    local _, metrics = await(s, "all to be delivered, or to wait", function(sinks)
      return sinks.copy.delivered == SHARDS * EVENTS and sinks.bot.queued.events == SHARDS * EVENTS
        and sinks.bot.up == false and sinks.copy.up and sinks.copy.queued.events == 0
    end)
    local messages = SHARDS * EVENTS
    assert_values(metrics, "tidegate_delivery_latency_seconds_count", { bot = FIRST, copy = messages })
    assert.equal(0, metrics:sum "tidegate_shard_filtered_total") -- the bot wants them
    assert.equal(messages, metrics:value("tidegate_events_delivered_total", { type = "MESSAGE_CREATE" }))
  end)

  it("are those of a Redis, too, which is shown without its password", function()
    local server = redis.start { password = "geheim-geheim", appendonly = "always" }
    local s = start({}, { script = ([[
require "tidegate".configure { sinks = { stream = { url = %q } } }
]]):format(server:url { password = "geheim-geheim" }) })
    local sinks = await(s, "what comes first", function(now)
      return now.bot.delivered == FIRST and now.stream.delivered == FIRST and now.stream.up
    end)
    assert.equal("redis", sinks.stream.kind)
    assert.same({ (server:url()) }, sinks.stream.urls)
    server:kill()
    s.fake:emit { count = EVENTS }
    await(s, "all to be delivered, or to wait", function(now)
      return now.bot.delivered == ALL and now.stream.queued.events == SHARDS * EVENTS
        and now.stream.up == false
    end)
    for _, path in ipairs { "/status", "/metrics", "/queue" } do
      assert.is_nil(s.gateway:control("GET", path).body:find("geheim", 1, true))
    end
    assert.is_nil(s.gateway.stderr:find("geheim", 1, true))
    server:restart()
    local _, metrics = await(s, "the rest", function(now)
      return now.stream.delivered >= ALL and now.stream.queued.events == 0 and now.stream.up
    end)
    assert_values(metrics, "tidegate_sink_up", { bot = 1, stream = 1 })
    assert.is_true(metrics:value("tidegate_delivery_latency_seconds_count", { sink = "stream" }) >= ALL)
  end)

  it("are those of a script, too", function()
    local s = start({}, { script = [[
local gateway = require "tidegate"
gateway.configure { sinks = { own = { events = { "GUILD_CREATE", "MESSAGE_CREATE" } } } }
gateway.sink("own").deliver = function(events)
  if events[1].type == "GUILD_CREATE" then return true end
  return nil, "not now"
end
]] })
    s.fake:emit { count = EVENTS }
    local sinks, metrics = await(s, "all to be delivered, or to wait", function(now, values)
      return now.bot.delivered == ALL and now.own.delivered == GUILDS and now.own.up == false
        and now.own.queued.events == SHARDS * EVENTS
        and values:value("tidegate_sink_up", { sink = "own" }) == 0
    end)
    assert.same({ "script", {}, 0 }, { sinks.own.kind, sinks.own.urls, sinks.own.dropped })
    assert_values(metrics, "tidegate_sink_delivered_total", { bot = ALL, own = GUILDS })
  end)

  it("say who has lost events, and who has refused them", function()
    local s = start { copy = 'queue = { durability = "memory", memory_bytes = 8192 }', choosy = "" }
    await(s, "what comes first", function(sinks)
      return sinks.bot.delivered == FIRST and sinks.copy.delivered == FIRST
        and sinks.choosy.delivered == FIRST
    end)
    down(s.sinks.copy)
    s.sinks.choosy:answer(function(request) return request.body:find '"nonce":"%d+:3"' and 413 or nil end)
    s.fake:emit { count = 5 * EVENTS }
    local all = FIRST + SHARDS * 5 * EVENTS
    local sinks, metrics, status = await(s, "all of it to have gone somewhere", function(now)
      return now.bot.delivered == all and now.choosy.dead > 0
        and now.choosy.delivered + now.choosy.dead == all
        and now.copy.dropped > 0 and now.copy.dropped + now.copy.queued.events + now.copy.delivered >= all
    end)
    assert.same({ 0, 0, 0, 0 }, { sinks.bot.dropped, sinks.bot.dead, sinks.choosy.dropped, sinks.copy.dead })
    assert.equal(cjson.null, sinks.copy.logBytes)
    assert.is_nil(metrics:value("tidegate_log_bytes", { sink = "copy", worker = 0 }))
    assert_values(metrics, "tidegate_sink_dropped_total", { bot = 0, copy = sinks.copy.dropped, choosy = 0 })
    assert_values(metrics, "tidegate_sink_dead_total", { bot = 0, copy = 0, choosy = sinks.choosy.dead })
    assert.same({ sinks.copy.dropped, sinks.choosy.dead }, { status.queue.dropped, status.queue.dead })
  end)

  it("go on when a worker is replaced, and end with a sink that a reload takes away", function()
    local s = start { copy = "", aside = "" }
    down(s.sinks.copy)
    s.fake:emit { count = EVENTS }
    local all = ALL
    local function told(sinks)
      return sinks.bot.delivered == all and sinks.aside.delivered == all and sinks.copy.up == false
        and sinks.copy.queued.events + sinks.copy.delivered == all
    end
    local before = await(s, "all to be delivered, or to wait", told).copy
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 1)
    all = ALL + 1 -- RESUMED
    local sinks = await(s, "the same of another worker, and more", told)
    assert.equal(before.delivered, sinks.copy.delivered)
    local waiting = sinks.copy.queued.events

    paths.write(s.gateway.script, script(s, { aside = "" }))
    assert.is_true((s.gateway:reload()))
    local metrics, status
    sinks, metrics, status = await(s, "it to be gone", function(now, _, whole)
      return not now.copy and #whole.leftSinks == 1
    end)
    assert.same({ "bot", "aside" }, { unpack(sinks) })
    assert.same({ "copy", waiting }, { status.leftSinks[1].name, status.leftSinks[1].events })
    assert.is_nil(metrics:value("tidegate_sink_up", { sink = "copy" }))
    assert.is_nil(metrics:value("tidegate_sink_queue_events", { sink = "copy" }))
    assert.is_nil(metrics:value("tidegate_log_bytes", { sink = "copy", worker = 1 }))
    assert_values(metrics, "tidegate_sink_delivered_total", { copy = before.delivered })
    assert.equal(0, status.queue.events)

    s.sinks.copy:answer(nil)
    paths.write(s.gateway.script, script(s, { aside = "", copy = "" }))
    assert.is_true((s.gateway:reload()))
    await(s, "it to have what waited", function(now, _, whole)
      return now.copy and now.copy.delivered == all and now.copy.queued.events == 0 and #whole.leftSinks == 0
    end)
  end)
end)
