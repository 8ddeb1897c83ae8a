-- GET /metrics: the format, each name, and that each figure moves as it should.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local HEAD = 'local gateway = require "tidegate"\n'

local function scrape(s)
  local response = assert(s.gateway:control("GET", "/metrics"))
  assert.equal(200, response.status)
  assert.equal("text/plain; version=0.0.4; charset=utf-8", response.headers["content-type"])
  return prometheus.parse(response.body), response.body
end

-- Scrapes until predicate(metrics) is true.
local function wait_for(s, description, predicate, timeout)
  local deadline = loop.now() + (timeout or 15000) * paths.slow
  while true do
    local metrics, text = scrape(s)
    if predicate(metrics) then
      return metrics, text
    elseif loop.now() > deadline then
      error(("waited in vain for %s; the last scrape was:\n%s"):format(description, text), 2)
    end
    local next_look = loop.now() + 20
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
end

local function assert_values(expected, metrics)
  for _, case in ipairs(expected) do
    local name, labels, value = case[1], case[2], case[3]
    assert.equal(value, metrics:value(name, labels), name .. cjson.encode(labels))
  end
end

local function two_workers(script, options)
  local fake = { max_concurrency = 4 }
  local all = { shards = 4, per_worker = 2, workers = 2, fake = fake, script = HEAD .. script }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return scene.start(all)
end

-- Everything that the manual's table names there. Metrics of a resharding are there while one runs.
local function documented_names(heading)
  local names = {}
  local section = pages.section(heading)
  for name in section:gmatch "`(tidegate_[%w_]+)`" do
    names[name] = true
  end
  return names
end

-- A scrape with something behind each name.
local function full_scrape()
  local beating = { max_concurrency = 4, heartbeat_interval = 150 * paths.slow }
  local script = "gateway.configure { storm = { self_updates = false } }\n"
  local s = two_workers(script, { fake = beating, hurry = 20 })
  s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
  s:wait_counter("resumes_ok", 1)
  s.bot:answer(function() return 404 end)
  s.fake:emit { count = 1 }
  wait_for(s, "the handler to be down", function(metrics) return metrics:sum "tidegate_handler_up" == 0 end)
  s.bot:answer(nil)
  s:wait_delivered()
  return wait_for(s, "heartbeats", function(metrics)
    return metrics:value("tidegate_shard_rtt_seconds", { shard = 0 })
  end)
end

describe("the metrics", function()
  after_each(scene.stop)

  it("are those that the manual names, in the format of Prometheus", function()
    local metrics, text = full_scrape()
    local documented, of_resharding = documented_names "Metrics", documented_names "Resharding"
    for name in pairs(documented) do
      assert(metrics.families[name], "the manual has " .. name .. ", the scrape has not")
    end
    for _, name in ipairs(metrics.names) do
      assert(not of_resharding[name], name .. " is there, and nothing reshards")
      assert(documented[name], "the scrape has " .. name .. ", the manual has not")
    end
    local fine, problem = prometheus.promtool("metrics", text)
    assert(fine ~= false, problem)
  end)

  it("count events by type and by shard", function()
    local s = two_workers [[
gateway.filter("TYPING_START", false)
gateway.filter("MESSAGE_CREATE", function() end)
]]
    s.bot:wait_for_events(#s.fake:guilds(), "GUILD_CREATE")
    local before = scrape(s)
    s.fake:emit { count = 25 }
    for shard = 0, 3 do
      s:type("1", shard)
    end
    s.fake:emit { event = "NEVER_SEEN_BEFORE", shard = 2, d = { a = 1 } }
    s.fake:emit { event = "NEVER_SEEN_BEFORE", shard = 0, d = { a = 1 } }
    s:wait_delivered()
    s.bot:wait_for_events(2, "NEVER_SEEN_BEFORE")
    local metrics = wait_for(s, "the rest", function(metrics)
      return metrics:value("tidegate_events_filtered_total", { type = "TYPING_START" }) == 4
        and metrics:sum "tidegate_shard_queue_events" == 0
    end)
    assert_values({
      { "tidegate_events_received_total", { type = "MESSAGE_CREATE" }, 100 },
      { "tidegate_events_delivered_total", { type = "MESSAGE_CREATE" }, 100 },
      { "tidegate_events_filtered_total", { type = "MESSAGE_CREATE" }, 0 },
      { "tidegate_events_received_total", { type = "TYPING_START" }, 4 },
      { "tidegate_events_delivered_total", { type = "TYPING_START" }, 0 },
      { "tidegate_events_received_total", { type = "NEVER_SEEN_BEFORE" }, 2 },
      { "tidegate_events_delivered_total", { type = "NEVER_SEEN_BEFORE" }, 2 },
      { "tidegate_shard_filtered_total", { shard = 3 }, 1 },
      { "tidegate_shards", { state = "Connected" }, 4 },
      { "tidegate_shard_state", { shard = 2, worker = 1 }, 6 },
      { "tidegate_shard_identifies_total", { shard = 1 }, 1 },
      { "tidegate_identify_max_concurrency", {}, 4 },
      { "tidegate_ready", {}, 1 },
      { "tidegate_worker_shards", { worker = 1 }, 2 },
      { "tidegate_lua_errors_total", { worker = 0, group = "filter" }, 0 },
      { "tidegate_handler_requests_in_flight", { url = s.bot.url, worker = 0 }, 0 },
    }, metrics)
    local function grown(name, labels) return metrics:sum(name, labels) - before:sum(name, labels) end
    assert.equal(106, grown "tidegate_events_received_total")
    assert.equal(106, grown "tidegate_shard_received_total")
    local delivered = metrics:sum "tidegate_events_delivered_total"
    assert.equal(delivered, metrics:sum "tidegate_shard_delivered_total")
    assert.equal(delivered, metrics:value("tidegate_delivery_latency_seconds_count", { sink = "bot" }))
    assert.equal(delivered, metrics:value("tidegate_sink_delivered_total", { sink = "bot" }))
    assert.equal(0, metrics:sum "tidegate_sink_dropped_total" + metrics:sum "tidegate_sink_dead_total")
    assert.is_true(metrics:value("tidegate_log_bytes", { sink = "bot", worker = 1 }) > 0)
    assert.equal(delivered, metrics:sum("tidegate_handler_requests_total", { outcome = "delivered" }))
    assert.equal(100, metrics:sum("tidegate_lua_calls_total", { group = "filter" }))
    assert.is_true(metrics:sum("tidegate_lua_seconds_total", { group = "filter" }) > 0)
    assert.is_true(metrics:value("tidegate_events_received_bytes_total", { type = "MESSAGE_CREATE" }) > 10000)
    for _, worker in ipairs { "manager", 0, 1 } do
      assert.is_true(metrics:value("tidegate_process_resident_memory_bytes", { worker = worker }) > 1e6)
      assert.is_true(metrics:value("tidegate_process_cpu_seconds_total", { worker = worker }) >= 0)
    end
  end)

  it("begin at the start of the gateway, all of them, and go on when a worker is replaced", function()
    local s = two_workers("", { reload = false })
    local guilds = #s.fake:guilds()
    s.fake:emit { count = 10 }
    s:wait_delivered()
    local all = guilds + 4 + 40 -- a READY each
    wait_for(s, "what was delivered", function(metrics)
      return metrics:sum "tidegate_shard_delivered_total" == all
    end)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 2)
    local metrics = wait_for(s, "the worker to be back", function(now)
      return now:sum "tidegate_shard_resumes_total" == 2 and now:sum "tidegate_shard_queue_events" == 0
    end)
    for _, of in ipairs { "shard", "events" } do
      assert.is_true(metrics:sum(("tidegate_%s_received_total"):format(of)) >= all)
      assert.is_true(metrics:sum(("tidegate_%s_delivered_total"):format(of)) >= all)
    end
    assert.equal(4, metrics:sum "tidegate_shard_identifies_total")

    s.bot:answer(function() return 503 end)
    s.fake:emit { count = 3, shard = 0 }
    wait_for(s, "what waits", function(now) return now:sum "tidegate_shard_queue_events" == 3 end)
    s.gateway:stop()
    s.bot:answer(nil)
    s:again()
    s:wait_delivered()
    -- A scrape may see one counter of an event and not the next.
    metrics = wait_for(s, "the rest", function(now)
      return now:sum "tidegate_shard_resumes_total" == 4 and now:sum "tidegate_shard_queue_events" == 0
        and now:sum "tidegate_shard_delivered_total" == now:sum "tidegate_events_delivered_total"
    end)
    local received = metrics:sum "tidegate_shard_received_total"
    local delivered = metrics:sum "tidegate_shard_delivered_total"
    local recovered = metrics:value("tidegate_shard_recovered_total", { shard = 0 })
    assert.equal(3, recovered)
    assert.is_true(received < all)
    assert.equal(received + recovered, delivered)
    assert.equal(received, metrics:sum "tidegate_events_received_total")
    assert.equal(delivered, metrics:sum "tidegate_events_delivered_total")
    assert.equal(delivered, s.gateway:control("GET", "/status"):json().queue.delivered)
    for _, name in ipairs { "identifies", "reconnects", "dropped", "dead", "gaps" } do
      assert.equal(0, metrics:sum(("tidegate_shard_%s_total"):format(name)), name)
    end
    assert.is_nil(metrics:value("tidegate_shard_closes_total", { shard = 0, code = 1006 }))
  end)

  it("count closes by their code", function()
    local s = two_workers ""
    for times, code in ipairs { 4000, 4999 } do
      s.fake:fault { ["do"] = "close", code = code, shard = 1 }
      s:wait_counter("resumes_ok", times)
    end
    local metrics = wait_for(s, "both", function(metrics)
      return metrics:sum "tidegate_shard_resumes_total" == 2
    end)
    assert_values({
      { "tidegate_shard_closes_total", { shard = 1, code = 4000 }, 1 },
      { "tidegate_shard_closes_total", { shard = 1, code = "other" }, 1 },
      { "tidegate_shard_reconnects_total", { shard = 1 }, 2 },
      { "tidegate_shard_resumes_total", { shard = 0 }, 0 },
    }, metrics)
  end)

  it("show an event handler that is down, and what waits for it", function()
    local s = two_workers("gateway.configure { queue = { memory_bytes = 4096 } }", { hurry = 10 })
    wait_for(s, "all guilds", function(metrics)
      return metrics:sum("tidegate_events_received_total", { type = "GUILD_CREATE" }) == #s.fake:guilds()
        and metrics:sum "tidegate_shard_queue_events" == 0
    end)
    s.bot:answer(function() return 404 end)
    s.fake:emit { count = 5 }
    local metrics = wait_for(s, "the handler to be down", function(metrics)
      return metrics:sum "tidegate_handler_up" == 0 and metrics:sum "tidegate_shard_queue_oldest_seconds" > 0
        and metrics:sum "tidegate_shard_queue_events" == 20
        and metrics:value("tidegate_sink_queue_events", { sink = "bot" }) == 20
        and metrics:value("tidegate_sink_up", { sink = "bot" }) == 0
    end)
    assert.is_true(metrics:sum "tidegate_sink_queue_oldest_seconds" > 0)
    assert.is_true(metrics:sum "tidegate_sink_queue_bytes" > 0)
    assert.is_true(metrics:sum "tidegate_shard_queue_bytes" > 0)
    assert.is_true(metrics:sum("tidegate_handler_requests_total", { outcome = "misconfigured" }) >= 2)
    local since = metrics:value("tidegate_handler_changed_timestamp_seconds", { url = s.bot.url, worker = 1 })
    assert.is_true(math.abs(since - os.time()) < 60)
    s.bot:answer(nil)
    s:wait_delivered()
    metrics = wait_for(s, "the handler to be up", function(now)
      return now:sum "tidegate_handler_up" == 2 and now:sum "tidegate_shard_queue_events" == 0
        and now:sum "tidegate_sink_up" == 1 and now:sum "tidegate_sink_queue_events" == 0
    end)
    assert.is_true(metrics:sum "tidegate_shard_retried_total" >= 2)
    assert.equal(metrics:sum "tidegate_shard_retried_total", metrics:sum "tidegate_sink_retried_total")
    -- Most of them were read back from the log, where events have no type but in their text.
    assert.equal(20, metrics:value("tidegate_events_delivered_total", { type = "MESSAGE_CREATE" }))
  end)

  it("count reloads, errors of the script, and overrides that are switched off", function()
    local broken = [[
gateway.filter("TYPING_START", function() error "no" end)
function gateway.cache:message_changed() error "never" end
gateway.on("MESSAGE_UPDATE", function() error "neither" end)
]]
    local s = two_workers(broken, { reload = false })
    for i = 1, 10 do
      s:type(tostring(i))
      s.fake:emit { event = "MESSAGE_UPDATE", shard = 0,
        d = { id = tostring(i), channel_id = "1", content = "c", edited_timestamp = "2024-01-01T00:00:00Z" } }
    end
    local metrics = wait_for(s, "the errors", function(metrics)
      return metrics:value("tidegate_lua_methods_switched_off", { worker = 0 }) == 1
        and metrics:value("tidegate_lua_errors_total", { worker = 0, group = "handler" }) == 10
    end)
    assert_values({
      { "tidegate_lua_errors_total", { worker = 0, group = "filter" }, 10 },
      { "tidegate_lua_errors_total", { worker = 0, group = "cache" }, 10 },
      { "tidegate_lua_methods_switched_off", { worker = 1 }, 0 },
    }, metrics)
    assert.is_true((s.gateway:reload()))
    paths.write(s.gateway.script, "this is no Lua")
    assert.is_false((s.gateway:reload()))
    metrics = wait_for(s, "the reload", function(now)
      return now:sum "tidegate_worker_script_generation" == 4
    end)
    assert_values({
      { "tidegate_script_generation", {}, 2 },
      { "tidegate_reloads_total", { result = "done" }, 1 },
      { "tidegate_reloads_total", { result = "failed" }, 1 },
      { "tidegate_lua_methods_switched_off", { worker = 0 }, 0 },
      { "tidegate_lua_errors_total", { worker = 0, group = "cache" }, 10 },
    }, metrics)
  end)

  it("have what scripts count: sums, and a gauge of each process", function()
    local s = two_workers([[
local metrics = gateway.metrics
local labels = { b = 'a "quoted"\n\\line', a = 1 }
metrics.counter("spec_total", { help = "Of \\ all\nprocesses.", labels = labels }):add(2)
metrics.gauge("spec_level", { labels = { ok = true } }):set(gateway.worker_id or -1)
metrics.gauge("spec_never_set")
local took = metrics.histogram("spec_seconds", { buckets = { 0.5, 2 } })
took:observe(0.5)
took:observe(3)
for _, mistake in ipairs {
  function() metrics.counter "tidegate_mine" end,
  function() metrics.counter "spec level" end,
  function() metrics.gauge "spec_total" end,
  function() metrics.counter "spec_seconds_sum" end,
  function() metrics.counter("x", { labels = { worker = "1" } }) end,
  function() metrics.counter("x", { labels = { ["1a"] = "1" } }) end,
  function() metrics.counter("x", { labels = { a = {} } }) end,
  function() metrics.histogram("x", { labels = { le = "1" } }) end,
  function() took:set(1) end,
} do
  local ok, problem = pcall(mistake)
  assert(not ok)
  gateway.log.info("refused: %s", tostring(problem))
end
]], { reload = false })
    assert.equal(27, s.gateway:count_log "refused: ")
    local metrics, text = scrape(s)
    assert_values({
      { "spec_total", { a = 1, b = 'a "quoted"\n\\line' }, 6 },
      { "spec_level", { ok = "true", worker = "manager" }, -1 },
      { "spec_level", { ok = "true", worker = 1 }, 1 },
      { "spec_seconds_bucket", { le = 0.5 }, 3 },
      { "spec_seconds_bucket", { le = "+Inf" }, 6 },
      { "spec_seconds_sum", {}, 10.5 },
    }, metrics)
    assert.equal("Of \\\\ all\\nprocesses.", metrics.families.spec_total.help)
    assert.is_nil(metrics.families.spec_never_set)
    local fine, problem = prometheus.promtool("metrics", text)
    assert(fine ~= false, problem)
    assert.is_true((s.gateway:reload())) -- their values live on
    wait_for(s, "twice as much", function(now) return now:sum "spec_total" == 12 end)
  end)

  it("go on when a worker is killed", function()
    local s = two_workers([[
gateway.on("MESSAGE_CREATE", function() gateway.metrics.counter("spec_messages_total"):add() end)
if not io.open "killed" then gateway.metrics.gauge("spec_level"):set(1) end
]], { reload = false })
    s.fake:emit { count = 50 }
    s:wait_delivered()
    local before = wait_for(s, "calm", function(metrics)
      return metrics:sum "tidegate_shard_queue_events" == 0 and metrics:sum "spec_messages_total" == 200
    end)
    assert.equal(3, #before.families.spec_level.samples)
    paths.write(s.gateway.dir .. "/killed", "")
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 2)
    s.fake:emit { count = 10 }
    s:wait_delivered()
    local metrics = wait_for(s, "the worker to be back", function(now)
      return now:sum "tidegate_worker_up" == 2 and now:sum "tidegate_shard_queue_events" == 0
        and now:sum "spec_messages_total" == 240
    end)
    assert.equal(1, metrics:sum "tidegate_worker_restarts_total")
    assert.equal(2, #metrics.families.spec_level.samples) -- the manager's, and the other worker's
    for key, value in pairs(before:counters()) do
      local now = metrics.samples[key]
      assert(now and now.value >= value, ("%s was %g, is %s"):format(key, value, now and now.value or "gone"))
    end
    assert.equal(240, metrics:value("tidegate_events_received_total", { type = "MESSAGE_CREATE" }))
  end)

  it("do not wait for a worker that hangs, and show that it does", function()
    local s = two_workers([[
gateway.configure { script = { slice_budget = 60000, kill_after = 5000 } }
gateway.on("TYPING_START", function() while true do end end)
]], { reload = false })
    s:type("1", 0)
    local slowest = 0
    wait_for(s, "the lag", function(metrics)
      local began = loop.now()
      scrape(s)
      slowest = math.max(slowest, loop.now() - began)
      return metrics:value("tidegate_worker_loop_lag_seconds", { worker = 0 }) > 1
    end)
    assert.is_true(slowest < 1000 * paths.slow, slowest .. " ms")
    s.gateway:wait_for_log "its loop did not turn"
    s:wait_counter("resumes_ok", 2)
  end)

  -- The script stands still once, in each process, and the beats after that are on time.
  it("show a stall that was over when they were asked", function()
    local s = scene.start { bot = false, reload = false, script = HEAD .. [[
gateway.configure { script = { slice_budget = 60000, kill_after = 60000 } }
gateway.after(1, function()
  local now = os.clock()
  while os.clock() - now < 0.7 do end
  gateway.sleep(2500)
  gateway.log.info "stood still, long ago"
end)
]] }
    s.gateway:wait_for_log "manager: stood still, long ago"
    s.gateway:wait_for_log "worker 0: stood still, long ago"
    local metrics = scrape(s)
    for _, worker in ipairs { "manager", "0" } do
      local lag = metrics:value("tidegate_worker_loop_lag_seconds", { worker = worker })
      assert(lag >= 0.69, ("%s: %g"):format(worker, lag))
    end
  end)

  -- What follows what in the names of an expression is not looked at, only whether they are there.
  it("are all there that the examples use", function()
    local metrics = full_scrape()
    local known = {}
    for name, family in pairs(metrics.families) do
      known[name] = true
      for _, sample in ipairs(family.samples) do
        known[sample.name] = true
      end
    end
    for name in pairs(documented_names "Watching") do -- of a host of a cluster: spec/functional/cluster
      known[name] = true
    end
    local alerts = paths.read(paths.root .. "/examples/monitoring/alerts.yml")
    local dashboard = cjson.decode(paths.read(paths.root .. "/examples/monitoring/grafana-dashboard.json"))
    local function assert_known(expression, where)
      local found
      for name in expression:gmatch "tidegate_[%w_]+" do
        found = true
        assert(known[name], ("%s uses %s, which is no metric"):format(where, name))
      end
      assert(found or expression:find "up{", where .. " has no metric of ours: " .. expression)
    end
    local rules = 0
    for name, expression in alerts:gmatch "%- alert: (%w+)\n%s+expr: ([^\n]+)" do
      rules = rules + 1
      assert_known(expression, "alert " .. name)
    end
    assert.equal(select(2, alerts:gsub("%- alert: ", "")), rules)
    assert.is_true(rules >= 10)
    local fine, problem = prometheus.promtool("rules", alerts)
    assert(fine ~= false, problem)
    local queries = 0
    for _, panel in ipairs(dashboard.panels) do
      for _, target in ipairs(panel.targets or {}) do
        queries = queries + 1
        assert_known(target.expr, "panel " .. panel.title)
      end
    end
    assert.is_true(queries >= 20)
  end)

  it("of 1,000 shards come in one scrape", function()
    local s = scene.start {
      shards = 1000, per_worker = 500, workers = 2, bot = false, log_level = "info", spawn_shard_delay = 0,
      fake = {
        max_concurrency = 50, identify_window = 0, guilds = 1000, total = 100000, remaining = 100000,
      },
    }
    local metrics, text = scrape(s)
    assert.equal(1000, #metrics.families.tidegate_shard_state.samples)
    assert.equal(1000, metrics:value("tidegate_shards", { state = "Connected" }))
    assert.is_true(#text < 2e6, #text .. " bytes")
    local fine, problem = prometheus.promtool("metrics", text)
    assert(fine ~= false, problem)
  end)
end)
