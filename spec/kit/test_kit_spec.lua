-- The test kit itself; run by `tidegate test`, through spec/functional/script/test_kit_spec.lua.

local test = require "tidegate.test"

local HEAD = 'local gateway = require "tidegate"\n'

local function script(text, options)
  return test.script(HEAD .. text, options)
end

local function raises(part, fn)
  local ok, problem = pcall(fn)
  assert.is_false(ok)
  assert.matches(part, tostring(problem), 1, true)
end

local function message(fields)
  local data = { id = "5", channel_id = "6", content = "hi", author = { id = "7" }, embeds = {} }
  for name, value in pairs(fields or {}) do data[name] = value end
  return data
end

describe("loading", function()
  it("shows the configuration, with the secrets masked", function()
    local kit = script 'gateway.configure { intents = { "guilds" }, large_threshold = 100 }'
    assert.equal(100, kit.config.large_threshold)
    assert.equal("***", kit.config.token)
  end)

  it("gives the script the environment of the test, and not the tester's", function()
    local kit = script('gateway.log.info("%s %s", os.getenv "BLOCKED", os.getenv "EVENT_HANDLER_URL")',
      { env = { BLOCKED = "17", SPAWN_SHARD_DELAY = 1000 } })
    assert.equal("17 nil", kit:log("info")[1].text)
    assert.equal(1000, kit.config.spawn_shard_delay)
    assert.is_nil(os.getenv "BLOCKED")
  end)

  it("raises what is wrong with the script", function()
    raises("did you mean 'heartbeat'", function() script "gateway.shard.hartbeat = print" end)
    raises("DISCORD_TOKEN", function() script('', { env = { DISCORD_TOKEN = false } }) end)
    raises("no-such-file.lua", function() test.load "no-such-file.lua" end)
    raises("did you mean 'role'", function() script("", { rolle = "worker" }) end)
  end)

  it("loads in either role", function()
    local text = 'gateway.log.info("%s %s", gateway.role, tostring(gateway.worker_id))'
    assert.equal("worker 3", script(text, { worker_id = 3 }):log("info")[1].text)
    assert.equal("manager nil", script(text, { role = "manager" }):log("info")[1].text)
  end)

  it("keeps several scripts apart", function()
    local a, b = script "gateway.state.name = 'a'", script "gateway.state.name = 'b'"
    assert.equal("a", a:eval "return gateway.state.name")
    assert.equal("b", b:eval "return gateway.state.name")
  end)

  it("describes what the script has set up", function()
    local kit = script 'function gateway.shard:heartbeat() end gateway.filter("TYPING_START", false)'
    assert.equal("heartbeat", kit:describe().overrides[1].method)
    assert.is_true(kit:describe().filters[1].compiled)
  end)
end)

describe("rules against storms", function()
  local function type_in(kit, guild)
    kit:event("TYPING_START", { guild_id = guild, channel_id = "1", user_id = "2" })
  end

  it("count by the kit's clock, from the configuration and at run time", function()
    local kit = script [[
      gateway.configure { storm = { rules = { { events = "TYPING_START", rate = 1, burst = 2 } } } }
      gateway.on_broadcast("storm", function(rules) gateway.storm(rules) end)
    ]]
    for _ = 1, 5 do type_in(kit, "7") end
    type_in(kit, "8")
    assert.equal(3, #kit:delivered "TYPING_START")
    kit:advance(1000)
    for _ = 1, 5 do type_in(kit, "7") end
    assert.equal(4, #kit:delivered "TYPING_START")
    kit:broadcast("storm", { rules = {} })
    for _ = 1, 5 do type_in(kit, "7") end
    assert.equal(9, #kit:delivered "TYPING_START")
    kit:broadcast("storm", nil)
    for _ = 1, 5 do type_in(kit, "7") end
    assert.equal(11, #kit:delivered "TYPING_START")
  end)
end)

describe("broadcasts", function()
  it("come from the test, and go to the script itself and to the test", function()
    local kit = script [[
      gateway.on_broadcast("count", function(n, from)
        gateway.log.info("%d from %s %s", n, from.role, tostring(from.worker_id))
        if n < 2 then gateway.broadcast("count", n + 1) end
      end)
    ]]
    kit:broadcast("count", 1)
    kit:broadcast("count", 5, { worker_id = 3 })
    local texts = {}
    for i, line in ipairs(kit:log "info") do texts[i] = line.text end
    assert.same({ "1 from manager nil", "2 from worker 0", "5 from worker 3" }, texts)
    assert.same({ { topic = "count", value = 2, at = 0 } }, kit:broadcasts "count")
    assert.same({}, kit:broadcasts "another")
  end)
end)

describe("errors of the script", function()
  local TEXT = 'gateway.on("MESSAGE_CREATE", function() error "oh no" end)'

  it("fail the test", function()
    local kit = script(TEXT)
    raises("oh no", function() kit:event("MESSAGE_CREATE", message()) end)
  end)

  it("are kept for the test to look at", function()
    local kit = script(TEXT, { keep_errors = true })
    kit:event("MESSAGE_CREATE", message())
    assert.equal(1, #kit:errors())
    assert.matches("oh no", kit:errors()[1].message, 1, true)
    assert.matches("traceback", kit:log("error")[1].text, 1, true)
  end)

  it("in a method that the test calls are raised there, with their traceback", function()
    local kit = script "function gateway.shard:handle_close(code) error('code ' .. code) end"
    raises("code 4000", function() kit:shard(0):handle_close(4000) end)
  end)

  it("that never come to rest are seen", function()
    local kit = script [[
      local function again() gateway.spawn(again) end
      gateway.on("MESSAGE_CREATE", again)
    ]]
    raises("again and again", function() kit:event("MESSAGE_CREATE", message()) end)
  end)
end)

describe("calls", function()
  it("of overrides and defaults return what they return", function()
    local kit = script [[
      local handle_close = gateway.shard.handle_close
      function gateway.shard:handle_close(code, reason)
        if reason == "nap" then return "stop" end
        return handle_close(self, code, reason)
      end
      function gateway.delivery:retry_delay(attempt, err) return attempt * err.status, nil, { attempt } end
    ]]
    assert.equal("stop", kit:shard(0):handle_close(4000, "nap"))
    assert.equal("resume", kit:shard(0):handle_close(4000))
    assert.same({ 1006, nil, { 2 } }, { kit.delivery:retry_delay(2, { status = 503 }) })
    assert.is_true(kit.delivery:is_delivered(204))
    raises("did you mean 'retry_delay'", function() return kit.delivery.retry_dely end)
  end)

  it("may be given events and shards", function()
    local kit = script [[
      function gateway.cache:message_changed(event) return event.data.content ~= "same" end
      function gateway.delivery:handle_discord_payload(shard, event) return shard.id .. event.type end
    ]]
    assert.is_false(kit.cache:message_changed(test.event("MESSAGE_UPDATE", { content = "same" })))
    assert.equal("0MESSAGE_CREATE",
      kit.delivery:handle_discord_payload(test.shard(0), test.event("MESSAGE_CREATE")))
  end)

  it("of handle_interaction_queueing answer through REST", function()
    local kit = script ""
    local function interaction(kind)
      return test.event("INTERACTION_CREATE", { id = "11", token = "secret-token", type = kind })
    end
    kit:answer_http("/interactions/11/secret-token/callback", { status = 204 })
    assert.is_true(kit.delivery:handle_interaction_queueing(interaction(3)))
    assert.is_false(kit.delivery:handle_interaction_queueing(interaction(4)))
    assert.same({ type = 6 }, kit:requests()[1].json)
    kit:answer_http("/interactions/", { status = 400, json = { code = 40060 } })
    assert.is_true(kit.delivery:handle_interaction_queueing(interaction(2)))
    kit:answer_http("/interactions/", { status = 500 })
    local queued, err = kit.delivery:handle_interaction_queueing(interaction(5))
    assert.same({ nil, "not_answered" }, { queued, err.code })
  end)

  it("move the time on when they wait", function()
    local kit = script([[
      local tell = gateway.manager.tell_worker_to_identify
      function gateway.manager:tell_worker_to_identify(worker_id, shard_id, bucket_id)
        gateway.sleep(shard_id * 1000)
        return tell(self, worker_id, shard_id, bucket_id)
      end
    ]], { role = "manager", shards = 4 })
    kit.manager:tell_worker_to_identify(0, 3, 1)
    assert.same({ { name = "manager:tell_worker_to_identify", args = { 0, 3, 1 }, at = 3000 } }, kit:calls())
  end)

  it("that wait for ever are reported", function()
    local kit = script "function gateway.shard:make_presence() while true do gateway.sleep(1000) end end"
    raises("make_presence still waits", function() kit:shard(0):make_presence() end)
    kit:advance(5000)
  end)

  it("of the script's are recorded, and answered by the test", function()
    local kit = script [[
      gateway.on("MESSAGE_CREATE", function(event, shard)
        local ok, err = gateway.manager:send_payload(2, { op = 4, d = {} })
        gateway.state.outcome = ok and "sent" or err.code
        shard:send {
          op = 3,
          d = { status = "idle", since = gateway.json.null, activities = {}, afk = false },
        }
      end)
    ]]
    kit:event("MESSAGE_CREATE", message())
    assert.equal("sent", kit:eval "return gateway.state.outcome")
    assert.same({ 2, { op = 4, d = {} } }, kit:calls("manager:send_payload")[1].args)
    assert.equal("idle", kit:calls("shard:send")[1].args[1].d.status)
    kit:answer("manager:send_payload", function(shard_id) return nil, { code = "shard_" .. shard_id } end)
    kit:event("MESSAGE_CREATE", message())
    assert.equal("shard_2", kit:eval "return gateway.state.outcome")
    assert.equal(2, #kit:calls "shard:send")
    raises("did you mean 'shard:send'", function() kit:calls "shard:sent" end)
  end)

  it("refuse what the gateway would refuse", function()
    local kit = script [[
      gateway.on("MESSAGE_CREATE", function(event, shard)
        local _, err = shard:send { op = 2, d = {} }
        gateway.state.code = err.code
        _, err = gateway.manager:edit_bot_status { status = "busy" }
        gateway.state.status = err.code .. " " .. err.message
        _, err = gateway.manager:edit_shard_status(0, { activities = { { nmae = "the tide" } } })
        gateway.state.activity = err.message
      end)
    ]]
    kit:event("MESSAGE_CREATE", message())
    assert.equal("bad_payload", kit:eval "return gateway.state.code")
    assert.matches("^bad_argument [^\n]*presence%.status must be", kit:eval "return gateway.state.status")
    assert.matches("argument 2: presence%.activities%[1%]%.", kit:eval "return gateway.state.activity")
    assert.same({}, kit:calls())
  end)

  it("answer like a small gateway when the test says nothing", function()
    local kit = script("", { role = "manager", shards = 30 })
    assert.equal(1, kit.manager:calculate_worker_id(29))
    assert.equal(160, kit.manager:calculate_total_shards { shards = 150 })
    assert.equal(24, kit.manager:calculate_shard_id("41771983423143937", 30))
    assert.equal(30, #kit.manager:get_shard_info())
    assert.equal(30, kit.manager:fetch_gateway_bot().shards)
    assert.is_nil(kit.manager:resharding_needed())
    assert.same({ from = 30, to = 64, identifies = 64 }, kit.manager:reshard { total_shards = 64 })
    assert.is_true(kit.manager:on_resharding_switch { "41771983423143937" })
    assert.is_true(kit.manager:tell_worker_to_prepare(0, 31, 0, 64))
  end)

  it("of resharding are the script's to decide", function()
    local kit = script([[
      local needed = gateway.manager.resharding_needed
      function gateway.manager:resharding_needed()
        return needed(self) or #self:get_shard_info() * 2
      end
      function gateway.manager:reshard(info)
        return gateway.state.night == true and gateway.default.manager.reshard(self, info)
      end
      gateway.on("resharding", function(_, details)
        gateway.log.info("%s %d of %d", details.step, details.switched, details.classes)
      end)
    ]], { role = "manager", shards = 8 })
    assert.equal(16, kit.manager:resharding_needed())
    assert.is_false(kit.manager:reshard { total_shards = 16, automatic = true })
    kit:eval "gateway.state.night = true"
    assert.equal(16, kit.manager:reshard { total_shards = 16 }.to)
    kit:fire("resharding", { step = "switched", from = 8, to = 16, switched = 3, classes = 8 })
    assert.equal("switched 3 of 8", kit:log("info")[1].text)
  end)

  it("see the shard as the test has set it", function()
    local kit = script "function gateway.shard:make_presence() return { status = self.state .. self.rtt } end"
    kit:shard(0):set { state = "Resuming", rtt = 12 }
    assert.same({ status = "Resuming12" }, kit:shard(0):make_presence())
    assert.is_false(kit:shard(0):is_open())
  end)
end)

describe("requests", function()
  local TEXT = [[
    gateway.on("GUILD_CREATE", function(event)
      local response, err = gateway.http.post("http://counter/joined?x=1", { json = { id = event.data.id } })
      gateway.state.outcome = err and err.code or response.status .. " " .. response.body
    end)
  ]]

  it("are recorded, and answered by the test", function()
    local kit = script(TEXT)
    kit:answer_http("POST http://counter/", { status = 201, json = { total = 4 } })
    kit:event("GUILD_CREATE", { id = "100" })
    assert.equal('201 {"total":4}', kit:eval "return gateway.state.outcome")
    local request = kit:requests("/joined")[1]
    assert.equal("POST", request.method)
    assert.same({ id = "100" }, request.json)
    assert.equal("application/json", request.headers["content-type"])
    assert.is_true(request.answered)
  end)

  it("wait for an answer, and time out without one", function()
    local kit = script(TEXT)
    kit:event("GUILD_CREATE", { id = "100" })
    assert.is_false(kit:requests()[1].answered)
    kit:answer_http("counter", { status = 204, delay = 500 })
    kit:advance(499)
    assert.is_nil(kit:eval "return gateway.state.outcome")
    kit:advance(1)
    assert.equal("204 ", kit:eval "return gateway.state.outcome")
    kit = script(TEXT)
    kit:event("GUILD_CREATE", { id = "100" })
    kit:advance(10000)
    assert.equal("timeout", kit:eval "return gateway.state.outcome")
  end)

  it("fail as the test says; the newest answer counts", function()
    local kit = script(TEXT)
    kit:answer_http("counter", { status = 500 })
    kit:answer_http("counter", "refused")
    kit:event("GUILD_CREATE", { id = "100" })
    assert.equal("refused", kit:eval "return gateway.state.outcome")
    kit:answer_http("counter", function(request) return { body = request.json.id } end)
    kit:event("GUILD_CREATE", { id = "200" })
    assert.equal("200 200", kit:eval "return gateway.state.outcome")
  end)

  it("to rest carry the bot's authorization", function()
    local kit = script "gateway.spawn(function() gateway.state.me = gateway.rest.get('/users/@me').name end)"
    kit:answer_http("GET https://discord.com/api/v10/users/@me", { json = { name = "tide" } })
    assert.equal("tide", kit:eval "return gateway.state.me")
    assert.equal("Bot token-of-the-test", kit:requests()[1].headers.authorization)
  end)
end)

describe("time", function()
  it("stands still until the test moves it", function()
    local kit = script [[
      local times = {}
      gateway.state.times = times
      gateway.every(1000, function() times[#times + 1] = os.time() end)
      gateway.after(500, function() gateway.log.info "half" end)
    ]]
    kit:advance(3500)
    assert.equal(3500, kit:now())
    local times = kit:eval "return gateway.state.times"
    assert.equal(3, #times)
    assert.equal(2, times[3] - times[1])
    assert.equal(500, kit:log("half")[1].at)
  end)
end)

describe("reload", function()
  it("runs the new text, and keeps gateway.state", function()
    local kit = script "gateway.state.n = 1 function gateway.delivery:is_delivered() return false end"
    assert.is_false(kit.delivery:is_delivered(200))
    assert.is_true(kit:reload(HEAD .. "gateway.on('reload', function() gateway.log.info 'again' end)"))
    assert.equal(1, kit:eval "return gateway.state.n")
    assert.is_true(kit.delivery:is_delivered(200))
    assert.equal("again", kit:log("info")[1].text)
  end)

  it("that fails changes nothing, and says why", function()
    local kit = script "function gateway.delivery:is_delivered() return false end"
    local reloaded, problem = kit:reload "this is no Lua"
    assert.is_nil(reloaded)
    assert.matches("'=' expected near 'is'", problem, 1, true)
    assert.is_false(kit.delivery:is_delivered(200))
  end)
end)

describe("a kit", function()
  it("that is closed says so", function()
    local kit = script ""
    kit:close()
    kit:close()
    raises("closed", function() kit:event "READY" end)
  end)

  it("names what it has not", function()
    local kit = script ""
    raises("did you mean 'advance'", function() kit:advnce(1) end)
  end)

  it("may be used while another one answers", function()
    local inner = script "function gateway.delivery:retry_delay() return 7 end"
    local outer = script "gateway.spawn(function() gateway.state.x = gateway.http.get('http://a/').body end)"
    outer:answer_http("http://a/", function()
      return { body = tostring(inner.delivery:retry_delay(1, {})) }
    end)
    assert.equal("7", outer:eval "return gateway.state.x")
  end)

  it("raises errors of the test's own answers", function()
    local kit = script "gateway.on('MESSAGE_CREATE', function() gateway.manager:kill(0) end)"
    kit:answer("manager:kill", function() error "mistake in the spec" end)
    raises("mistake in the spec", function() kit:event("MESSAGE_CREATE", message()) end)
  end)
end)

it("there is no gateway in a spec", function()
  raises("there is no gateway in a spec", function() require "tidegate" end)
end)

describe("queues", function()
  it("are there for methods that look at them", function()
    local kit = script([[
      function gateway.delivery:queue_overflow(queue)
        gateway.log.info("%s: %d events, %d ms", tostring(queue), #queue, queue:age())
        for _, of_shard in ipairs(queue:shards()) do
          gateway.log.info("%s %d: %d of %d bytes", of_shard:peek()[1].type, of_shard.shard_id,
            of_shard:length(), of_shard:bytes())
        end
        return queue:drop "TYPING_START", queue:drop(function(event) return event.data.old end), queue:drop(1)
      end
    ]], { shards = 2 })
    kit:fill_queue(0, { test.event "TYPING_START", test.event("INTERACTION_CREATE", { type = 2 }) })
    kit:fill_queue(1, { test.event("MESSAGE_CREATE", { old = true }), test.event "A" })
    kit:fill_queue(1, { test.event "GUILD_CREATE" })
    kit:advance(250)
    local typing, old, oldest = kit.delivery:queue_overflow(test.queue())
    assert.same({ 1, 1, 1 }, { typing, old, oldest })
    assert.equal("queue of the worker: 5 events, 250 ms", kit:log("info")[1].text)
    assert.matches("^TYPING_START 0: 2 of %d+ bytes$", kit:log("info")[2].text)
    assert.same({ "INTERACTION_CREATE", "GUILD_CREATE" }, { kit:queued(0)[1].type, kit:queued(1)[1].type })
  end)

  local SMALL = 'gateway.configure { queue = { memory_bytes = 20000 }, event_handler = { markers = true } }\n'

  local function types(kit)
    local found = {}
    for i, event in ipairs(kit:queued()) do found[i] = event.type end
    return found
  end

  it("have the bounds of the configuration, as in the gateway", function()
    local kit = script(SMALL)
    local filler = ("x"):rep(5000)
    kit:fill_queue(0, { test.event("A", { filler }), test.event("B", { filler }), test.event "TYPING_START" })
    kit:fill_queue(0, { test.event("C", { filler }), test.event("D", { ("x"):rep(2000) }) })
    assert.same({ "A", "B", "TYPING_START", "C", "D" }, types(kit))
    kit:fill_queue(0, { test.event "TYPING_START" }) -- queue.drop_first, from 80 % of the bound on
    assert.same({ "A", "B", "TYPING_START", "C", "D" }, types(kit))
    kit:fill_queue(0, { test.event("E", { filler }) })
    assert.same({ "GATEWAY_GAP", "B", "TYPING_START", "C", "D", "E" }, types(kit))
    local gap = kit:queued()[1].data
    assert.same({ 1, 1, "overflow" }, { gap.from, gap.to, gap.reason })
    assert.is_true(kit.delivery:handle_queue(test.queue(0)))
    assert.equal(gap.epoch, kit:delivered()[1].gap.epoch)
    assert.equal("E", kit:delivered()[6].message.t)
  end)

  it("ask queue_overflow when there is no room, as in the gateway", function()
    local kit = script(SMALL .. [[
      function gateway.delivery:queue_overflow(queue)
        gateway.log.info("%d wait", #queue)
        queue:drop(function(event) return event.type == "B" end)
      end
    ]])
    for _, name in ipairs { "A", "B", "C" } do
      kit:fill_queue(0, { test.event(name, { ("x"):rep(5500) }) })
    end
    assert.same({}, kit:log "wait")
    kit:fill_queue(0, { test.event("D", { ("x"):rep(5500) }) })
    assert.equal("3 wait", kit:log("wait")[1].text)
    assert.same({ "A", "GATEWAY_GAP", "C", "D" }, types(kit))
  end)

  it("are there in workers only", function()
    local kit = test.script("", { role = "manager" })
    raises("a manager has no queues", function() kit:fill_queue(0, { test.event "A" }) end)
    raises("a manager has no queues", function() kit:queued(0) end)
  end)

  it("are drained by handle_queue, through deliver", function()
    local kit = script [[
      function gateway.delivery:handle_queue(queue)
        while #queue > 0 do
          local events = queue:peek(2)
          local ok, err = self:deliver(events)
          if not ok then
            return nil, err
          end
          assert(queue:ack(events) == #events)
        end
        return "empty"
      end
    ]]
    kit:fill_queue(0, { test.event("A", { n = 1 }), test.event("B", { n = 2 }), test.event("C", { n = 3 }) })
    local busy = { code = "status", status = 503, retry_after = 700, message = "busy" }
    kit:answer("delivery:deliver", nil, busy)
    local ok, err = kit.delivery:handle_queue(test.queue(0))
    assert.is_nil(ok)
    assert.same({ 503, 700, 0 }, { err.status, err.retry_after, err.delivered })
    assert.equal(3, #kit:queued())
    kit:answer("delivery:deliver", true)
    assert.equal("empty", kit.delivery:handle_queue(test.queue(0)))
    assert.same({}, kit:queued(0))
    local bodies = kit:delivered()
    assert.equal(3, #bodies)
    assert.equal(3, bodies[3].message.d.n)
  end)

  it("are emptied by the defaults", function()
    local kit = script ""
    kit:fill_queue(0, { test.event "A", test.event "INTERACTION_CREATE", test.event "B" })
    assert.is_true(kit.delivery:queue_overflow(test.queue()))
    assert.equal("INTERACTION_CREATE", kit:queued()[1].type)
    assert.is_true(kit.delivery:handle_queue(test.queue(0)))
    assert.equal(2, #kit:delivered())
    assert.is_true(kit.delivery:deliver(test.events { test.event("C", { x = 1 }) }))
    assert.equal(1, kit:delivered("C")[1].message.d.x)
    assert.equal(2, #kit:calls "delivery:deliver" + #kit:calls "delivery:handle_queue")
  end)

  it("say what is wrong", function()
    for part, text in pairs {
      ["did you mean 'length'"] = "return queue.lenght",
      ["peek looks at the queue of one shard"] = "return all:peek()",
      ["expected a number from 1 to 1000"] = "return queue:peek(0)",
      ["expected a number, event types, a function or events"] = "return queue:drop(true)",
      ["no event 'TYPING_STRAT'; did you mean 'TYPING_START'?"] = "return queue:drop 'TYPING_STRAT'",
      ["no luck"] = "return queue:drop(function() error 'no luck' end)",
      ["the fields of a queue cannot be set"] = "queue.shard_id = 3",
    } do
      local kit = script(([[
        function gateway.delivery:queue_overflow(all)
          local queue = all:shards()[1]
          %s
        end
      ]]):format(text))
      kit:fill_queue(0, { test.event "A" })
      raises(part, function() kit.delivery:queue_overflow(test.queue()) end)
    end
  end)
end)

describe("sinks", function()
  local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { sinks = { stats = { url = "http://stats", events = { "READY", "RESUMED" } }, feed = {} } }
local stats = gateway.sink "stats"
local before = stats.deliver
function stats.deliver(events)
  if #events == 2 then return before(events) end
  gateway.sleep(1000)
  return nil, { code = "odd", message = "oddly", status = 422 }
end
]]

  it("have functions that are called with events, and may wait", function()
    local kit = test.script(SCRIPT)
    local ok, err = kit:sink("stats").deliver(test.events { test.event "READY" })
    assert.same({ nil, 422, "oddly" }, { ok, err.status, tostring(err) })
    assert.equal(1000, kit:now())
    raises("there is no sink 'stast'; did you mean 'stats'?", function()
      kit:sink("stast").deliver(test.events { test.event "READY" })
    end)
    raises("expected the name of a sink, got nil", function() kit:sink() end)
  end)

  it("have defaults, for which the test answers", function()
    local kit = test.script(SCRIPT)
    local two = test.events { test.event "READY", test.event "RESUMED" }
    assert.is_true(kit:sink("stats").deliver(two))
    kit:answer("sink:deliver", nil, { code = "status", status = 503, message = "down" })
    local ok, err = kit:sink("feed").deliver(two)
    assert.same({ nil, 503 }, { ok, err.status })
    assert.same({ { "stats", 2 }, { "feed", 2 } },
      { kit:calls("sink:deliver")[1].args, kit:calls("sink:deliver")[2].args })
    assert.equal(0, #kit:delivered())
  end)

  it("have queues of what their `events` name, and nothing is sent from them", function()
    local kit = test.script(SCRIPT, { shards = 2 })
    local ready, resumed = test.event("READY", { n = 1 }), test.event("RESUMED", { n = 2 })
    kit:fill_queue(1, { ready, test.event "TYPING_START", resumed })
    local function ask(text) return kit:eval("local queue = gateway.sink('stats'):queue() " .. text) end
    assert.equal(2, ask "return #queue")
    assert.same({ 1, 2 }, ask "local two = queue:shards()[1]:peek(5) return { two[1].data.n, two[2].data.n }")
    assert.equal(1, ask "return queue:drop 'READY'")
    assert.equal(1, ask "return queue:ack(queue:shards()[1]:peek())")
    assert.equal(0, ask "return #queue")
    assert.equal(3, #kit:queued(1))
    assert.same({}, kit:log())
  end)
end)
