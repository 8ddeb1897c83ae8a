-- Reports from the field about what scripts cost: each is a row. With TG_SPEC_LONG=1 (scripts/test --long)
-- they run for a minute, with the default of script.memory, compiled and interpreted; else for seconds, with
-- a small one.

local checker = require "spec.support.checker"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local MINUTE = 60000
local RATE = 300 -- events a second
local BEHIND = (LONG and 1000 or 3000) * paths.slow -- ms; in the short runs of a loaded machine, too

local MEMORY = LONG and "" or "gateway.configure { script = { memory = 8 * 1024 * 1024 } }\n"

-- About 60 KB a call, some of it in small pieces, which are more work for the collector.
local LEAK = [[
local kept, n = {}, 0
local function leak()
  n = n + 1
  local rows = { ("x"):rep(48000) .. n }
  for i = 2, 100 do rows[i] = { i, n .. ":" .. i } end
  kept[n] = rows
end
]]

-- What leaks, how the log names it, what is off in the end.
local LEAKS = {
  { "a filter", 'gateway.filter("MESSAGE_CREATE", function() leak() end)',
    "gateway%.filter %([^)]*script%.lua:%d+%)", "filters that are functions" },
  { "a handler", 'gateway.on("MESSAGE_CREATE", function() leak() end)',
    "gateway%.on %([^)]*script%.lua:%d+%)", "handlers of gateway%.on" },
  { "a handler that keeps its events",
    'gateway.on("MESSAGE_CREATE", function(event) leak() kept[-n] = event.data end)',
    "gateway%.on %([^)]*script%.lua:%d+%)", "handlers of gateway%.on" },
  { "a handler, into gateway.state",
    'gateway.on("MESSAGE_CREATE", function() leak() gateway.state[n] = kept[n] end)',
    "gateway%.on %([^)]*script%.lua:%d+%)", "handlers of gateway%.on" },
  { "an inline override", [[
local handle = gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event)
  leak()
  return handle(self, shard, event)
end
]], "gateway%.delivery:handle_discord_payload %([^)]*script%.lua:%d+%)", "methods of gateway%.delivery" },
  { "a waiting override", [[
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events)
  leak()
  return deliver(self, events)
end
]], "gateway%.delivery:deliver %([^)]*script%.lua:%d+%)", "methods of gateway%.delivery" },
  { "a timer", 'gateway.every(3, function() leak() end)',
    "gateway%.every %([^)]*script%.lua:%d+%)", "timers and gateway%.spawn" },
  { "what a filter spawns", 'gateway.filter("MESSAGE_CREATE", function() gateway.spawn(leak) end)',
    "gateway%.spawn %([^)]*script%.lua:%d+%)", "timers and gateway%.spawn" },
  { "a life-cycle handler", 'gateway.on("heartbeat", function() for _ = 1, 40 do leak() end end)',
    "gateway%.on %([^)]*script%.lua:%d+%)", "life%-cycle handlers", heartbeat_interval = 400 },
  { "a listener to broadcasts", [[
gateway.on_broadcast("topic", function() leak() end)
if gateway.role == "worker" then gateway.every(3, function() gateway.broadcast("topic", 1) end) end
]], "gateway%.on_broadcast %([^)]*script%.lua:%d+%)", "handlers of broadcasts" },
  { "a timer of the manager", 'if gateway.role == "manager" then gateway.every(3, function() leak() end) end',
    "gateway%.every %([^)]*script%.lua:%d+%)", "timers and gateway%.spawn", process = "manager" },
}

local function start(script, options)
  options = options or {}
  options.shards = options.shards or 2
  options.script = 'local gateway = require "tidegate"\n' .. script
  options.reload = false
  options.fake = options.fake or {}
  options.fake.max_concurrency = options.fake.max_concurrency or options.shards
  options.fake.heartbeat_interval = (options.fake.heartbeat_interval or 2000) * paths.slow
  return scene.start(options)
end

-- Watches that events come all the time: the function returned has the longest time without one so far.
local function watch_gaps(s)
  local last, longest = loop.now(), 0
  s.bot:answer(function()
    local now = loop.now()
    longest = math.max(longest, now - last)
    last = now
    return 204
  end)
  return function() return math.max(longest, loop.now() - last) end
end

local function assert_unhurt(s)
  assert.equal(0, s.gateway:count_log "a worker has ended")
  local counters = s:counters()
  assert.same({ s.options.shards, 0 }, { counters.identifies, counters.resumes })
  assert.same({}, s:list "heartbeats_missed")
end

-- Ends the stream of events: all have come, all the time.
local function assert_all_came(s, longest_gap)
  s.fake:settings { rate = 0 }
  local sent = s:wait_delivered()
  assert.is_true(longest_gap() < BEHIND, longest_gap() .. " ms without an event")
  checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  assert_unhurt(s)
end

local function pass(ms)
  local over = loop.now() + ms
  loop.wait_for("the time to be over", function() return loop.now() >= over end, 2 * ms)
end

local function leak_in(mode, case)
  local _, leak, named, off = unpack(case)
  local s = start(MEMORY .. mode .. "\n" .. LEAK .. leak .. "\n",
    { fake = { heartbeat_interval = case.heartbeat_interval } })
  s.bot:wait_for_events(2, "READY")
  local longest_gap, began = watch_gaps(s), loop.now()
  s.fake:settings { rate = RATE }
  s.gateway:wait_for_log((case.process or "worker") .. "[^\n]*: the script holds [^\n]*which no collection "
    .. "brings back: [^\n]*In use by: " .. named, MINUTE)
  s.gateway:wait_for_log("until the next reload it runs without [^\n]*" .. off, 2 * MINUTE)
  if LONG then
    pass(math.max(0, began + MINUTE - loop.now()))
  end
  assert_all_came(s, longest_gap)
end

describe("memory that leaks in", function()
  after_each(scene.stop)

  for i, case in ipairs(LEAKS) do
    local modes = { "jit.on()", "jit.off()" }
    for _, mode in ipairs(LONG and modes or { modes[i % 2 + 1] }) do
      it(case[1] .. " (" .. mode .. ") keeps nothing waiting, is named, is off in the end", function()
        leak_in(mode, case)
      end)
    end
  end

  it("a module at load has the reload refused; what ran goes on", function()
    local s = start(MEMORY .. 'gateway.filter("TYPING_START", false)\n')
    s.bot:wait_for_events(2, "READY")
    local longest_gap = watch_gaps(s)
    s.fake:settings { rate = RATE }
    paths.write(s.gateway.dir .. "/part.lua", "local part = {}\n"
      .. "for n = 1, 200000 do part[n] = { n, ('x'):rep(500) .. n } end\nreturn part\n")
    paths.write(s.gateway.script, [[
local gateway = require "tidegate"
gateway.configure { script = { memory = 8 * 1024 * 1024, load_budget = 60000 } }
require "part"
]])
    assert.is_false((s.gateway:reload(MINUTE)))
    s.gateway:wait_for_log "part%.lua:2: stopped: it took more than script%.memory"
    s.fake:emit { count = 20 }
    assert_all_came(s, longest_gap)
  end)
end)

-- What comes all at once, and fits if it is worked off bit by bit: shards, guilds, bytes of each, and in the
-- short runs script.memory in MiB.
local STARTS = LONG and {
  { "5,000 guilds of 30 KB in 5 shards", 5, 5000, 30000 },
  { "80,000 small guilds in 80 shards", 80, 80000, 0 },
} or {
  { "400 guilds of 30 KB in 5 shards", 5, 400, 30000, 8 },
  { "4,000 small guilds in 20 shards", 20, 4000, 0, 4 },
}

local ASKS_A_SERVICE = [[
gateway.on("GUILD_CREATE", function(event)
  local data = event.data
  gateway.http.post(%q, { json = { id = data.id, members = #data.members } })
end)
]]

-- A service that answers in 20 ms, and counts.
local function serve()
  local service = { posts = 0 }
  service.server = http.serve(function(request)
    local timer = uv.new_timer()
    timer:start(20, 0, loop.callback(function()
      timer:close()
      service.posts = service.posts + 1
      request:respond(204)
    end))
  end)
  finally(function() service.server:close() end)
  return service
end

-- All were accepted in so many seconds from their arrival.
local function assert_latency(s, seconds)
  local metrics = s.gateway:control("GET", "/metrics").body
  local all = 'tidegate_delivery_latency_seconds_count{sink="bot"} (%d+)'
  local within = ('tidegate_delivery_latency_seconds_bucket{sink="bot",le="%d"} (%%d+)'):format(seconds)
  assert.equal(metrics:match(all), (metrics:match(within)))
end

local function start_with(case)
  local _, shards, guilds, size, memory = unpack(case)
  local service = serve()
  local script = ASKS_A_SERVICE:format(service.server.url .. "/joined")
  if memory then
    script = ("gateway.configure { script = { memory = %d * 1024 * 1024 } }\n"):format(memory) .. script
  end
  local s = start(script, {
    shards = shards, log_level = "info", bot = { keep_bodies = false },
    -- The fake judges an IDENTIFY by when it reads it, and with all these guilds to send it reads late.
    spawn_shard_delay = 250,
    fake = {
      guilds = guilds, guild_size = size, max_concurrency = 5, rate = 200, heartbeat_interval = 10000,
      identify_window = 20,
    },
  })
  local up = loop.now()
  s.bot:wait_for_events(guilds, "GUILD_CREATE", 2 * MINUTE)
  local took = loop.now() - up
  assert.is_true(took < (LONG and 15000 or 10000) * paths.slow, took .. " ms")
  assert_unhurt(s)
  loop.wait_for(function() return ("%d posts; %d came"):format(guilds, service.posts) end,
    function() return service.posts >= guilds end, 4 * MINUTE)
  assert.equal(guilds, service.posts)
  assert_latency(s, paths.slow > 1 and 30 or 5) -- of the histogram
end

describe("the start of", function()
  after_each(scene.stop)

  for _, case in ipairs(STARTS) do
    it(case[1] .. " whose handlers ask a service is delivered as it comes, and handled", function()
      start_with(case)
    end)
  end
end)
