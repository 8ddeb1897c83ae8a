-- Several gateway hosts with ranges of shards, and one budget of identifies: a broker grants them.

local checker = require "spec.support.checker"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local SECRET = "the-secret-of-the-broker"
local WINDOW = 200
local DELAY = 400 -- between two identifies of a bucket: op 2 may be late on a loaded machine

-- The broker, s.hosts[1], with the first `each` shards; it listens at a unix socket, so that its address is
-- the same when it starts again.
local function start(options)
  local fake = { shards = options.hosts * options.each, max_concurrency = 4, identify_window = WINDOW }
  for name, value in pairs(options.fake or {}) do
    fake[name] = value
  end
  local socket = paths.tmp() .. "/broker"
  local s = scene.start {
    shards = options.each, per_worker = options.each, workers = 1, ready = false, bot = options.bot or false,
    log_level = "info", spawn_shard_delay = DELAY, hurry = options.hurry or 20, reload = false,
    env = {
      TOTAL_SHARDS = options.hosts * options.each, FIRST_SHARD_ID = 0, LAST_SHARD_ID = options.each - 1,
      TIDEGATE_CONTROL = options.listen or "unix:" .. socket, TIDEGATE_CONTROL_SECRET = SECRET,
    },
    fake = fake,
  }
  s.each = options.each
  s.hosts = { s.gateway }
  s.address = options.listen and s.gateway:control_url() or "http+unix://" .. socket
  return s
end

-- Host i (2, 3, ...), which asks the broker; on its own state directory if it was there before.
local function host(s, i, changes)
  changes = changes or {}
  local env = {
    TIDEGATE_IDENTIFY_URL = s.address, TIDEGATE_IDENTIFY_SECRET = SECRET,
    FIRST_SHARD_ID = (i - 1) * s.each, LAST_SHARD_ID = i * s.each - 1,
    TOTAL_SHARDS = s.options.env.TOTAL_SHARDS,
  }
  for name, value in pairs(changes.env or {}) do
    env[name] = value
  end
  local before = s.hosts[i]
  s.hosts[i] = s:run {
    shards = s.each, per_worker = changes.per_worker or s.each, workers = changes.workers or 1, ready = false,
    log_level = "info", spawn_shard_delay = DELAY, hurry = s.options.hurry, reload = false, env = env,
    state_dir = before and before.state_dir, script = changes.script,
  }
  return s.hosts[i]
end

local function broker_again(s)
  s.hosts[1] = s:again { ready = false, state_dir = s.hosts[1].state_dir }
  return s.hosts[1]
end

local function wait_ready(s, timeout)
  for _, each in ipairs(s.hosts) do
    each:wait_ready(s.each, timeout or 30000)
  end
end

-- The identifies, none of which Discord had reason to refuse.
local function judge(s)
  local state = s.fake:state "identifies,violations"
  assert.same({}, state.violations)
  for _, identify in ipairs(state.identifies) do
    assert.equal("ok", identify.verdict)
    assert.equal(s.options.env.TOTAL_SHARDS, identify.total)
  end
  return state.identifies
end

describe("an identify broker", function()
  after_each(scene.stop)

  it("lets three gateways start 48 shards within one budget", function()
    local s = start { hosts = 3, each = 16, listen = "127.0.0.1:0", bot = {} }
    host(s, 2)
    host(s, 3)
    wait_ready(s)
    local list = judge(s)
    assert.equal(48, #list)
    local seen, first = {}, {}
    for i, identify in ipairs(list) do
      assert.is_nil(seen[identify.shard])
      seen[identify.shard] = true
      local of = math.floor(identify.shard / 16) + 1
      first[of] = first[of] or i
    end
    -- All hosts come up together, not one behind the other.
    assert.is_true(first[2] <= 32 and first[3] <= 32, ("%d, %d"):format(first[2], first[3]))
    s.hosts[2]:wait_for_log "identifies are granted by the broker, http://127"
    assert.equal(2, s.hosts[1]:count_log "another gateway host, %x+, with shards %d+ to %d+, has its slots")
    assert.equal(0, s.hosts[2]:count_log " warn ")
  end)

  it("may be killed in the midst of it, and start again", function()
    local s = start { hosts = 3, each = 16 }
    host(s, 2)
    host(s, 3)
    for _, count in ipairs { 13, 25 } do
      s:wait_counter("identifies_ok", count)
      s.hosts[1]:stop "SIGKILL"
      broker_again(s)
    end
    wait_ready(s)
    local list = judge(s)
    assert.is_true(#list >= 48 and #list <= 48 + 2 * 4, #list .. " identifies")
    assert.is_true(s.hosts[2]:count_log "the identify broker, http%+unix:[^ ]*, is away: " <= 4)
    local back = "the identify broker, http%+unix:[^ ]*, is back after %d+%.%d s: identifies go on"
    assert.is_true(s.hosts[2]:count_log(back) + s.hosts[3]:count_log(back) >= 2)
  end)

  it("that is away delays identifies, and nothing else", function()
    local s = start { hosts = 2, each = 4 }
    host(s, 2)
    wait_ready(s)
    s.hosts[1]:stop()
    s.fake:fault { ["do"] = "close", code = 4007, shard = 6 } -- the session is gone: identify
    s.hosts[2]:wait_for_log "is away: [^\n]*No shard identifies meanwhile %(1 waits%)"
    s.fake:fault { ["do"] = "close", code = 4000, shard = 5 }
    s:wait_counter("resumes_ok", 1)
    s.hosts[2]:stop() -- and a start of the host resumes, too
    host(s, 2)
    s:wait_counter("resumes_ok", 4)
    s.hosts[2]:wait_ready(3)
    s.hosts[2]:wait_for_log "is away: "
    assert.equal(8, s:counters().identifies)
    broker_again(s)
    wait_ready(s)
    assert.equal(9, #judge(s))
    assert.equal(0, s.hosts[2]:count_log " error ")
  end)

  it("is not blocked by a host that dies with a slot in its hands", function()
    local s = start { hosts = 2, each = 4, fake = { max_concurrency = 2 } }
    local dying = host(s, 2, { script = [[
local gateway = require "tidegate"
local request = gateway.manager.request_identify
function gateway.manager:request_identify(shard_id)
  local granted, problem = request(self, shard_id)
  if shard_id == 5 then require("ffi").cast("int *", 0)[0] = 1 end
  return granted, problem
end
]], env = scene.crashes })
    loop.wait_for("the death of the host", function() return dying.process.ended end, 20000)
    s.hosts[1]:wait_ready(2) -- those of the bucket whose slot was lost
    for _, identify in ipairs(judge(s)) do
      assert.are_not.equal(5, identify.shard)
    end
    host(s, 2)
    wait_ready(s)
    judge(s)
  end)

  it("keeps the reserve of the day for all hosts together", function()
    local s = start { hosts = 2, each = 8, fake = { total = 100, remaining = 16, reset_after = 3600000 } }
    host(s, 2)
    s.hosts[1]:wait_for_log "identifies are held back until [^\n]*: 10 of 100 session starts are left"
    s.hosts[2]:wait_for_log "the identify broker holds identifies back: "
    loop.wait_for("six shards", function()
      return s.hosts[1]:ready_shards() + s.hosts[2]:ready_shards() >= 6
    end)
    local shard = s:list("identifies")[1].shard
    s.fake:fault { ["do"] = "close", code = 4000, shard = shard }
    s:wait_counter("resumes_ok", 1)
    assert.equal(6, #judge(s))
    local budget = s.hosts[1]:control("POST", "/identify/15", { json = { wait = 60000 } })
    assert.equal(202, budget.status)
    assert.equal("held_back", budget:json().state)
    assert.is_true(tonumber(budget.headers["retry-after"]) > 0)
  end)

  it("grants slots to those, too, who say no more than that they want one", function()
    local s = start { hosts = 2, each = 4, fake = { identify_window = 50 } }
    s.hosts[1]:wait_ready(4)
    local answer = s.hosts[1]:control("POST", "/identify/5", { timeout = 20000 })
    assert.equal(200, answer.status)
    local body = answer:json()
    assert.equal("granted", body.state)
    assert.equal(1000, body.validFor)
    assert.is_true(body.waited >= 0 and body.waited < 10000)
    answer = s.hosts[1]:control("POST", "/identify/5", { json = { wait = 0 } }) -- its bucket rests
    assert.same({ 202, "waiting" }, { answer.status, answer:json().state })
  end)

  it("refuses hosts that do not fit, and says why", function()
    local s = start { hosts = 2, each = 4, listen = "127.0.0.1:0" }
    s.hosts[1]:wait_ready(4)
    for _, case in ipairs {
      { { state = "check", host = "x", totalShards = 9 }, 409, "TOTAL_SHARDS%) is 8 here and 9 there" },
      { { state = "check", host = "x", bot = "0123" }, 409, "its token %(DISCORD_TOKEN%) is another one" },
      { { state = "check", host = "x", firstShardId = 3, lastShardId = 7 }, 409,
        "the broker's own %(0 to 3%)" },
      { { state = "ask", host = "x", number = 1 }, 409, "there is no shard 8", "/identify/8" },
      { { state = "ask", host = "x", number = 1 }, 409, "shard 3 is the broker's own", "/identify/3" },
      { { state = "ask", host = "x" }, 400, '"number" is missing' },
      { { state = "beg" }, 400, '"state" has to be one of' },
      { { state = "check", host = "x" }, 400, "is not a shard id", "/identify/x" },
    } do
      local answer = s.hosts[1]:control("POST", case[4] or "/identify/4", { json = case[1] })
      assert.equal(case[2], answer.status)
      assert.matches(case[3], answer:json().error)
    end
    local answer = s.hosts[1]:control("POST", "/identify/4", { headers = { Authorization = "wrong" } })
    assert.equal(401, answer.status)
    assert.equal(4, s:counters().identifies)
  end)

  it("that refuses a host is not asked again and again; the host says what to mend", function()
    local s = start { hosts = 2, each = 4, hurry = 1 }
    local secret = paths.write(paths.tmp() .. "/secret", "another-secret\n")
    host(s, 2, { env = { TIDEGATE_IDENTIFY_SECRET = false, TIDEGATE_IDENTIFY_SECRET_FILE = secret } })
    s.hosts[2]:wait_for_log(
      "error [^\n]*does not serve this gateway: it refuses the secret %(401%)[^\n]*%(4 wait%)[^\n]*in %d%d%.")
    host(s, 3, { env = { TOTAL_SHARDS = 16, FIRST_SHARD_ID = 8, LAST_SHARD_ID = 11 } })
    s.hosts[3]:wait_for_log
      "does not serve this gateway: its total_shards %(TOTAL_SHARDS%) is 8 here and 16 there"
    s.hosts[1]:wait_ready(4)
    assert.equal(1, s.hosts[2]:count_log "does not serve")
    assert.equal(1, s.hosts[3]:count_log "does not serve")
    assert.equal(4, #judge(s))
    paths.write(secret, SECRET) -- mended: a reload reads it
    assert.is_true(s.hosts[2]:reload())
    s.hosts[2]:wait_ready(4)
    assert.equal(8, #judge(s))
  end)
end)

describe("identify.url", function()
  after_each(scene.stop)

  it("that leads back to the gateway itself is found out", function()
    local socket = paths.tmp() .. "/own"
    local function env(url)
      return { TIDEGATE_CONTROL = "unix:" .. socket, TIDEGATE_IDENTIFY_URL = url, TOTAL_SHARDS = 1 }
    end
    local other_name = socket:gsub("/own$", "//own")
    local s = scene.start { ready = false, bot = false, env = env("http+unix://" .. other_name) }
    s.gateway:wait_for_log "does not serve this gateway: identify.url leads back to this gateway itself"
    assert.equal(0, s:counters().identifies)
    local plain = gateway.start { fake = s.fake, shards = 1, env = env("http+unix://" .. socket) }
    assert.equal(78, (plain.process:wait()))
    assert.matches("identify.url: [^\n]* is this gateway's own control.listen", plain.stderr)
  end)

  it("of a gateway that asks a broker itself is refused", function()
    local s = start { hosts = 3, each = 2 }
    local middle = host(s, 2, { env = { TIDEGATE_CONTROL = "127.0.0.1:0" } })
    s.address = middle:control_url()
    host(s, 3, { env = { TIDEGATE_IDENTIFY_SECRET = false } })
    s.hosts[3]:wait_for_log "does not serve this gateway: this gateway is no broker"
    s.hosts[2]:wait_ready(2)
  end)

  it("needs total_shards, because all hosts have to agree on it", function()
    local g = gateway.start { env = { TIDEGATE_IDENTIFY_URL = "http://127.0.0.1:1" } }
    assert.equal(78, (g.process:wait()))
    assert.matches("total_shards: is required with identify.url", g.stderr, 1, true)
  end)
end)

describe("a gateway with a range of shards", function()
  after_each(scene.stop)

  it("has these alone: workers, sessions, events, commands", function()
    local s = start { hosts = 2, each = 6, bot = {}, fake = { identify_window = 50 } }
    local g = host(s, 2, { per_worker = 3, workers = 2, script = [[
local gateway = require "tidegate"
gateway.on("TYPING_START", function(event)
  local info = gateway.manager:get_shard_info()
  local ids = {}
  for i, shard in ipairs(info) do ids[i] = shard.shard_id .. "/" .. shard.worker_id end
  gateway.log.info("shards: %s", table.concat(ids, " "))
  local sent, problem = gateway.manager:join_voice_channel(tostring(12 * 2 ^ 22), "1")
  gateway.log.info("another's: %s, %s", tostring(sent), tostring(problem))
  gateway.log.info("own: %s", tostring(gateway.manager:join_voice_channel(tostring(7 * 2 ^ 22), "1")))
end)
]] })
    wait_ready(s)
    g:wait_for_log "6 shards %(6 to 11 of 12%) in 2 workers"
    s:type("1", 8)
    g:wait_for_log "shards: 6/0 7/0 8/0 9/1 10/1 11/1\n"
    g:wait_for_log "another's: nil, [^\n]*guild 50331648 is on shard 0, which another gateway host runs"
    g:wait_for_log "own: true"
    s.fake:emit { count = 60 }
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered() })
    g:stop()
    g = host(s, 2, { per_worker = 6 })
    g:wait_ready(6)
    assert.equal(12, #judge(s))
    assert.equal(6, s:counters().resumes_ok)
  end)
end)
