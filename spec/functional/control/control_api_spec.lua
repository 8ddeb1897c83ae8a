-- The control API: each route, what it takes and what it answers. Limits of the server:
-- control_limits_spec.lua; what is sent to Discord: control_commands_spec.lua.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local STATES = {
  "Offline", "Disconnected", "Connecting", "Unidentified", "Identifying", "Resuming", "Connected",
}

describe("the control API", function()
  after_each(scene.stop)

  local function start(options)
    options = options or {}
    options.shards = options.shards or 2
    options.reload = false -- the generation is looked at
    options.fake = options.fake or { max_concurrency = 2 }
    return scene.start(options)
  end

  -- Asks again and again until predicate(body) is true; returns the body and the answer.
  local function wait_for(s, path, what, predicate)
    local deadline, answer = loop.now() + 10000 * paths.slow
    repeat
      local next_look = loop.now() + 20
      loop.wait_for("the next look", function() return loop.now() >= next_look end)
      answer = s.gateway:control("GET", path)
      local body = answer:json()
      if predicate(body) then
        return body, answer
      end
    until loop.now() > deadline
    error(("waited in vain for %s; GET %s says %s"):format(what, path, answer.body), 2)
  end

  it("tells whether the gateway lives, and whether all shards are ready", function()
    local s = start { bot = false }
    local answer = s.gateway:control("GET", "/healthz")
    assert.same({ 200, "application/json", "ok" },
      { answer.status, answer.headers["content-type"], answer:json().status })
    answer = s.gateway:control("GET", "/readyz")
    assert.same({ 200, { ready = true, phase = "ready", progress = { ready = 2, total = 2 } } },
      { answer.status, answer:json() })
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 1 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
    local body, late = wait_for(s, "/readyz", "a shard that is not ready", function(body)
      return not body.ready
    end)
    assert.same({ 503, 1, 2, "not all shards are ready" },
      { late.status, body.progress.ready, body.progress.total, body.error })
  end)

  it("needs no secret for these two, and one for all others, when one is set", function()
    local s = start { bot = false, env = { TIDEGATE_CONTROL_SECRET = "open sesame" } }
    for _, path in ipairs { "/healthz", "/readyz" } do
      assert.equal(200, s.gateway:control("GET", path, { secret = false }).status)
    end
    for _, wrong in ipairs { false, "open sesamf", "open sesam", "open sesame!", "Bearer open sesame" } do
      local answer = s.gateway:control("GET", "/shards", { secret = wrong })
      assert.same({ 401, "unauthorized" }, { answer.status, answer:json().code })
      assert.matches("TIDEGATE_CONTROL_SECRET", answer:json().error)
      assert.equal(401, s.gateway:control("POST", "/shutdown", { secret = wrong, body = "{}" }).status)
    end
    assert.equal(200, s.gateway:control("GET", "/shards").status)
    s.gateway:wait_for_log "control API: POST /shutdown was refused"
  end)

  it("lists the shards", function()
    local s = start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
    s.fake:emit { count = 20 }
    s:wait_delivered()
    local shards = wait_for(s, "/shards", "all to be delivered", function(list)
      for _, shard in ipairs(list) do
        if shard.delivered < shard.sequence or shard.sequence < 2 then
          return false
        end
      end
      return true
    end)
    assert.equal(4, #shards)
    for i, shard in ipairs(shards) do
      assert.same({ i - 1, math.floor((i - 1) / 2), "Connected", 0, 1 },
        { shard.shardId, shard.workerId, shard.state, shard.queued, shard.generation })
      assert.is_nil(shard.sessionId) -- there is no secret
      assert.is_number(shard.rtt)
    end
  end)

  it("shows the status of all", function()
    local s = start { per_worker = 1, workers = 2 }
    s.fake:emit { count = 10 }
    s:wait_delivered()
    local status = wait_for(s, "/status", "ten events delivered", function(status)
      return status.queue.events == 0 and status.queue.delivered >= 10
    end)
    assert.equal("ready", status.phase)
    assert.is_true(status.ready)
    assert.same({ ready = 2, total = 2, eta = cjson.null }, status.progress)
    assert.same({ s.gateway.pid, 1, cjson.null }, { status.pid, status.generation, status.resharding })
    assert.is_true(status.uptime > 0)
    assert.matches("^%d+%.%d+", status.version)
    local states = {}
    for _, name in ipairs(STATES) do states[name] = name == "Connected" and 2 or 0 end
    assert.same({ total = 2, first = 0, last = 1, states = states }, status.shards)
    assert.is_true(status.guilds > 0)
    assert.equal(2, #status.workers)
    for i, worker in ipairs(status.workers) do
      assert.same({ i - 1, "running", 1, 0, 1 },
        { worker.workerId, worker.state, worker.shards, worker.restarts, worker.generation })
      assert.is_true(worker.memory > 1e6)
    end
    local identify = status.identify
    assert.same({ 1000, 998, 2, 100, 0, false }, { identify.total, identify.remaining,
      identify.maxConcurrency, identify.reserve, identify.waiting, identify.heldBack })
    local handler = status.handlers[1]
    assert.same({ 1, s.bot.url, "up" }, { #status.handlers, handler.url, handler.state })
    assert.same({ 0, 0, cjson.null, 0 },
      { status.queue.events, status.queue.bytes, status.queue.oldest, status.queue.gaps })
    assert.is_number(status.queue.spool)
  end)

  it("shows what is wrong: a bot that is down, a worker that has died", function()
    local s = start { bot = { user = "x" }, per_worker = 1, workers = 2, hurry = 10 }
    s.bot:down()
    s:type("1", 0)
    local status = wait_for(s, "/status", "the handler to be down", function(status)
      return status.handlers[1] and status.handlers[1].state == "down" and status.queue.events > 0
    end)
    assert.is_true(status.queue.oldest >= 0 and status.queue.bytes > 0)
    assert.is_true(status.handlers[1].since >= 0)
    s.bot:up()
    local pid = s.gateway:control("GET", "/status"):json().workers[1].pid
    require("luv").kill(pid, "sigkill")
    status = wait_for(s, "/status", "the worker to be back", function(body)
      return body.ready and body.workers[1].restarts == 1 and body.queue.events == 0
    end)
    assert.not_equal(pid, status.workers[1].pid)
  end)

  it("tells what Discord said about the gateway, and what is left of the identifies", function()
    local s = start { bot = false }
    local bot = s.gateway:control("GET", "/gateway/bot"):json()
    assert.same({ s.fake.gateway, 2 }, { bot.url, bot.shards })
    assert.same({ 1000, 998, 2 }, { bot.session_start_limit.total, bot.session_start_limit.remaining,
      bot.session_start_limit.max_concurrency })
    local budget = s.gateway:control("GET", "/identify"):json()
    assert.same({ 1000, 998, 2, 100, 0 },
      { budget.total, budget.remaining, budget.maxConcurrency, budget.reserve, budget.waiting })
    assert.is_true(budget.resetAfter > 0)
  end)

  it("answers before anything is known", function()
    local s = scene.start { bot = false, ready = false, env = { REST_URL = "http://127.0.0.1:9" }, hurry = 1 }
    for path, wanted in pairs { ["/healthz"] = 200, ["/readyz"] = 503, ["/status"] = 200, ["/shards"] = 200,
      ["/identify"] = 200, ["/gateway/bot"] = 503 } do
      assert.equal(wanted, s.gateway:control("GET", path).status, path)
    end
    local status = s.gateway:control("GET", "/status"):json()
    assert.same({ "starting", false, cjson.null, cjson.null, 0 },
      { status.phase, status.ready, status.shards.total, status.guilds, status.progress.total })
    assert.equal(cjson.null, status.identify.total)
    assert.same({}, s.gateway:control("GET", "/shards"):json())
    local payload = { op = 31, d = { guild_ids = { "1" } } }
    for _, path in ipairs { "/payload", "/shards/0/payload", "/guilds/1/payload" } do
      local answer = s.gateway:control("POST", path, { json = payload })
      assert.equal(503, answer.status, path)
      assert.matches("known yet", answer:json().error)
    end
  end)

  it("reloads the script, or says what is wrong with it", function()
    local s = start { script = "local gateway = require 'tidegate'\n" }
    local answer = s.gateway:control("POST", "/reload")
    assert.same({ 200, 2, {} }, { answer.status, answer:json().generation, answer:json().needsRestart })
    paths.write(s.gateway.script, "local gateway = require 'tidegate'\ngateway.configure { intents = 1, "
      .. "control = { listen = '127.0.0.1:9' } }\n")
    answer = s.gateway:control("POST", "/reload")
    assert.same({ "intents", "control.listen" }, answer:json().needsRestart)
    paths.write(s.gateway.script, "local gateway = require 'tidegate'\ngateway.fliter({}, false)\n")
    answer = s.gateway:control("POST", "/reload")
    assert.same({ 422, "reload_failed" }, { answer.status, answer:json().code })
    assert.matches("script.lua:2: [^\n]*fliter", answer:json().problem)
    assert.equal(3, s.gateway:control("GET", "/shards"):json()[1].generation)
  end)

  it("takes a new secret with a reload", function()
    local s = start { script = [[
local gateway = require "tidegate"
gateway.configure { control = { authorization = "the first secret" } }
]] }
    assert.equal(401, s.gateway:control("POST", "/reload").status)
    paths.write(s.gateway.script, [[
local gateway = require "tidegate"
gateway.configure { control = { authorization = "the second secret" } }
]])
    assert.equal(200, s.gateway:control("POST", "/reload", { secret = "the first secret" }).status)
    assert.equal(401, s.gateway:control("GET", "/status", { secret = "the first secret" }).status)
    assert.equal(200, s.gateway:control("GET", "/status", { secret = "the second secret" }).status)
  end)

  it("lists the shards of a set of that many", function()
    local s = start { bot = false }
    local function places(path)
      local list = {}
      for _, shard in ipairs(s.gateway:control("GET", path):json()) do
        list[#list + 1] = { shard.shardId, shard.workerId, shard.state } -- its figures go on
      end
      return list
    end
    assert.same({ { 0, 0, "Connected" }, { 1, 0, "Connected" } }, places "/shards?total=2")
    assert.same(places "/shards", places "/shards?total=2")
    local answer = s.gateway:control("GET", "/shards?total=4")
    assert.same({ 404, "there is no set of 4 shards: there is one of 2" },
      { answer.status, answer:json().error })
    for _, query in ipairs { "total=", "total=0", "total=-2", "total=2x", "total=99999999" } do
      answer = s.gateway:control("GET", "/shards?" .. query)
      assert.same({ 400, "expected ?total= and a number of shards" }, { answer.status, answer:json().error })
    end
  end)

  it("says of resharding that none runs, and takes no body that makes no sense", function()
    local s = start { bot = false }
    assert.same({ running = cjson.null, planned = cjson.null, last = cjson.null },
      s.gateway:control("GET", "/reshard"):json())
    for _, body in ipairs { "{}", '{"totalShards":"4"}', '{"totalShards":0}', '{"totalShards":65536}',
      '{"totalShards":1.5}', '{"abort":false}', '{"abort":true,"totalShards":4}', '{"total":4}' } do
      local answer = s.gateway:control("POST", "/reshard", { body = body })
      assert.equal(400, answer.status, body)
      assert.matches('expected {"totalShards": a number from 1 to 65535}, or {"abort": true}',
        answer:json().error, 1, true)
    end
  end)

  it("ends the gateway and its sessions", function()
    local s = start { bot = false }
    local answer = s.gateway:control("POST", "/shutdown")
    assert.same({ 202, true }, { answer.status, answer:json().stopping })
    assert.equal(0, (s.gateway.process:wait(15000)))
    for _, close in ipairs(s:list "closes") do
      assert.equal(1000, close.code)
    end
  end)

  it("knows its paths and methods", function()
    local s = start { bot = false }
    for _, path in ipairs { "/nowhere", "/shards/", "/shards/1", "/shards//payload", "/shards/1/payload/",
      "/healthzz", "//" } do
      local answer = s.gateway:control("GET", path)
      assert.equal(404, answer.status, path)
      assert.is_string(answer:json().error)
    end
    local answer = s.gateway:control("DELETE", "/shards")
    assert.same({ 405, "GET, HEAD" }, { answer.status, answer.headers.allow })
    answer = s.gateway:control("GET", "/shards/1/payload")
    assert.same({ 405, "POST" }, { answer.status, answer.headers.allow })
    answer = s.gateway:control("HEAD", "/shards")
    assert.same({ 200, "" }, { answer.status, answer.body })
    assert.is_true(tonumber(answer.headers["content-length"]) > 10)
    assert.equal(200, s.gateway:control("GET", "/shards?since=1").status)
  end)
end)
