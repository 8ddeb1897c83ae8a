-- Turns to identify for programs that use the same token, beside a gateway with a range of the shards.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_client = require "spec.support.raw_client"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

local DELAY = 400 -- between two identifies of a bucket
local VALID = 1000 -- a turn holds so long, and counts as used at its end

-- The gateway has the shards 0 to 3 of 8, in 4 buckets.
local function start(options)
  options = options or {}
  local fake = { shards = 8, max_concurrency = 4, identify_window = 50 }
  for name, value in pairs(options.fake or {}) do
    fake[name] = value
  end
  return scene.start {
    shards = 4, per_worker = 4, workers = 1, bot = false, spawn_shard_delay = DELAY, hurry = 20,
    reload = false, ready = options.ready, script = options.script, log_level = options.log_level,
    env = {
      TOTAL_SHARDS = 8, FIRST_SHARD_ID = 0, LAST_SHARD_ID = 3, TIDEGATE_CONTROL_SECRET = options.secret,
    },
    fake = fake,
  }
end

-- GET /identify?shard=N, as a client that waits: raw_client's.
local function wait_for_turn(s, shard)
  local client = raw_client.connect(s.gateway:control_url())
  client:write(("GET /identify?shard=%d HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(shard))
  return client
end

local function wait_until_it_waits(s)
  local deadline = loop.now() + 10000
  repeat
    local waiting = s.gateway:control("GET", "/identify"):json().waiting
    assert.is_true(loop.now() < deadline)
  until waiting == 1
end

local function ms_since(began)
  return loop.now() - began
end

describe("GET /identify?shard=N", function()
  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  it("is answered when that shard may identify", function()
    local s = start()
    local answer = s.gateway:control("GET", "/identify?shard=5", { timeout = 20000 })
    assert.equal(200, answer.status)
    local body = answer:json()
    assert.equal("granted", body.state)
    assert.equal(VALID, body.validFor)
    local began = loop.now()
    answer = s.gateway:control("GET", "/identify?shard=5", { timeout = 20000 })
    assert.equal(200, answer.status)
    assert.is_true(ms_since(began) >= VALID + DELAY - 100, ms_since(began) .. " ms")
    assert.equal(4, s:counters().identifies)
  end)

  it("without a shard shows what is left of the day", function()
    local s = start()
    assert.equal(4, s.gateway:control("GET", "/identify?shards=5"):json().maxConcurrency)
  end)

  it("refuses what is no shard of another program", function()
    local s = start()
    for _, case in ipairs {
      { "8", 409, "there is no shard 8: total_shards is 8" },
      { "3", 409, "shard 3 is this gateway's own %(it has 0 to 3%)" },
      { "", 400, '"" is not a shard id' },
      { "x", 400, '"x" is not a shard id' },
      { "70000", 400, "a whole number from 0 to 65535" },
    } do
      local answer = s.gateway:control("GET", "/identify?shard=" .. case[1])
      assert.equal(case[2], answer.status)
      assert.matches(case[3], answer:json().error)
    end
  end)

  it("waits while the gateway starts", function()
    local go = paths.tmp() .. "/go"
    local s = start { ready = false, log_level = "info", script = ([[
local gateway = require "tidegate"
function gateway.manager:fetch_gateway_bot()
  gateway.log.info "asked"
  while not io.open(%q) do gateway.sleep(20) end
  return gateway.default.manager.fetch_gateway_bot(self)
end
]]):format(go) }
    s.gateway:wait_for_log "asked"
    local client = wait_for_turn(s, 5)
    local other = wait_for_turn(s, 3)
    assert.equal(503, s.gateway:control("GET", "/readyz").status)
    assert.equal("", client.received)
    paths.write(go, "")
    client:wait_for '"state":"granted"'
    other:wait_for "409 "
    s.gateway:wait_ready(4)
  end)

  it("waits while no identifies are left", function()
    local s = start { ready = false, log_level = "info",
                      fake = { total = 100, remaining = 14, reset_after = 3600000 } }
    s.gateway:wait_ready(4) -- the rest is the reserve
    local client = wait_for_turn(s, 5)
    s.gateway:wait_for_log "identifies are held back until [^\n]*: 10 of 100 session starts are left"
    local answer = s.gateway:control("POST", "/identify/6", { json = { wait = 60000 } })
    assert.same({ 202, "held_back" }, { answer.status, answer:json().state })
    assert.is_true(tonumber(answer.headers["retry-after"]) > 0)
    assert.equal("", client.received)
  end)

  it("is not answered by a gateway that stops: who takes any answer for its turn would identify", function()
    local s = start()
    s.gateway:control("GET", "/identify?shard=5", { timeout = 20000 })
    local client = wait_for_turn(s, 5)
    wait_until_it_waits(s)
    s.gateway:stop()
    client:wait_closed()
    assert.equal("", client.received)
  end)

  it("leaves the turn to others when its client goes", function()
    local s = start { fake = { max_concurrency = 1 } }
    s.gateway:control("GET", "/identify?shard=5", { timeout = 20000 })
    local client = wait_for_turn(s, 6)
    wait_until_it_waits(s)
    client:close()
    local answer = s.gateway:control("GET", "/identify?shard=7", { timeout = 20000 })
    assert.equal(200, answer.status)
  end)
end)

describe("POST /identify/{shard_id}", function()
  after_each(scene.stop)

  it("grants a turn, or says after a while that it is to be asked again", function()
    local s = start()
    local answer = s.gateway:control("POST", "/identify/5", { timeout = 20000 })
    assert.equal(200, answer.status)
    local body = answer:json()
    assert.equal("granted", body.state)
    assert.equal(VALID, body.validFor)
    assert.is_true(body.waited >= 0 and body.waited < 10000)
    answer = s.gateway:control("POST", "/identify/5", { json = { wait = 0 } }) -- its bucket rests
    assert.same({ 202, "waiting" }, { answer.status, answer:json().state })
    answer = s.gateway:control("POST", "/identify/5", { json = { wait = 60000 }, timeout = 20000 })
    assert.same({ 200, "granted" }, { answer.status, answer:json().state })
    assert.equal(4, s:counters().identifies)
  end)

  it("refuses what is not for other programs, and says why", function()
    local s = start { secret = "the-secret-of-the-gateway" }
    for _, case in ipairs {
      { "8", nil, 409, "there is no shard 8" },
      { "3", nil, 409, "shard 3 is this gateway's own" },
      { "x", nil, 400, "is not a shard id" },
      { "4", { wait = -1 }, 400, '"wait" has to be a whole number' },
      { "4", { priority = "soon" }, 400, '"priority" has to be' },
      { "4", { state = "check", host = "x" }, 400, "share a bot's shards by a cluster %(cluster.url%)" },
    } do
      local answer = s.gateway:control("POST", "/identify/" .. case[1], { json = case[2] })
      assert.equal(case[3], answer.status)
      assert.matches(case[4], answer:json().error)
    end
    local answer = s.gateway:control("POST", "/identify/4", { headers = { Authorization = "wrong" } })
    assert.equal(401, answer.status)
  end)
end)

describe("a turn of a cluster", function()
  after_each(scene.stop)

  it("is not for a shard that one of its hosts runs", function()
    local server = redis.start()
    local s = scene.start {
      shards = 2, bot = false, hurry = 20, reload = false, ready = false,
      env = { TIDEGATE_CLUSTER = server:url(), TIDEGATE_CLUSTER_HOST = "gw-1" },
    }
    redis.wait_for("leases", function() return server:command("HLEN", "tidegate:{bot}:lease") == 2 end, 30000)
    for _, request in ipairs { { "GET", "/identify?shard=1" }, { "POST", "/identify/1" } } do
      local answer = s.gateway:control(request[1], request[2])
      assert.equal(409, answer.status)
      assert.equal("shard 1 is run by a host of this gateway's cluster", answer:json().error)
    end
    local answer = s.gateway:control("POST", "/identify/2")
    assert.matches("there is no shard 2", answer:json().error)
  end)
end)
