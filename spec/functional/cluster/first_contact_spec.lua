-- What somebody meets who makes hosts a cluster for the first time, and does it wrong.

local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local notify_socket = require "spec.support.notify_socket"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

local PASSWORD = "sesame-of-the-cluster"

describe("a host that cannot be part of the cluster", function()
  local server

  before_each(function() server = redis.start { password = PASSWORD } end)
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  local function url(login)
    return server:url(login or { password = PASSWORD })
  end

  local function env_of(name, more)
    local env = { TIDEGATE_CLUSTER = url(), TIDEGATE_CLUSTER_HOST = name }
    for variable, value in pairs(more or {}) do
      env[variable] = value
    end
    return env
  end

  -- A host that is all right.
  local function start(options)
    local passed = { shards = 2, fake = { max_concurrency = 2 }, reload = false, env = env_of "gw-1" }
    for name, value in pairs(options or {}) do
      passed[name] = value
    end
    return scene.start(passed)
  end

  -- Another one in its scene, which ends by itself; what it says.
  local function refused(s, name, options)
    local host = { state_dir = paths.tmp() .. "/state", ready = false, env = env_of(name, options.env) }
    local g = s:run(host)
    assert.equal(78, (g.process:wait(30000)), g.stderr)
    assert.is_nil(g.stderr:find(PASSWORD, 1, true))
    return g.stderr
  end

  local function assert_waits(s, reason)
    local g = s.gateway
    g:wait_for_log("warn +manager: this host waits for the cluster's Redis [^\n]*" .. reason)
    assert.equal(200, g:control("GET", "/healthz").status)
    local ready = g:control("GET", "/readyz")
    assert.equal(503, ready.status)
    assert.matches("^waiting for the cluster: .*" .. reason, ready:json().error)
    assert.is_nil(g.stderr:find(PASSWORD, 1, true))
    return g
  end

  -- Not by a time-out of something that it waits for.
  local function assert_ends_at_once(g)
    local began = loop.now()
    assert.equal(0, (g:stop "SIGINT"))
    assert.is_true(loop.now() - began < 2500 * paths.slow, ("%d ms"):format(loop.now() - began))
  end

  it("since Redis is not there waits for it, says so once, and ends at once when asked to", function()
    server:kill()
    local s = start { ready = false }
    local g = assert_waits(s, "refused")
    assert_ends_at_once(g)
    assert.equal(1, g:count_log "the cluster's Redis")
    assert.same({}, s:list "identifies")

    g = s:again { ready = false }
    assert_waits(s, "refused")
    server:restart()
    g:wait_ready(2)
    assert.equal(200, g:control("GET", "/readyz").status)
  end)

  it("tells the service manager what it waits for, and what becomes of its shards", function()
    server:kill()
    local socket = notify_socket.open()
    local s = start { ready = false, env = env_of("gw-1", { NOTIFY_SOCKET = socket.name }) }
    local _, redis_away = socket:wait_for "STATUS=waiting for the cluster: Redis at .*refused.*"
    socket:wait_for "EXTEND_TIMEOUT_USEC=%d+"
    server:restart()
    local ready, at = socket:wait_for("READY=1", redis_away, 30000)
    assert.equal("no shard is this host's yet", ready.STATUS)
    local _, all = socket:wait_for("STATUS=2 of 2 shards up", at, 30000)

    local first = s.gateway
    local other = s:again { ready = false, state_dir = paths.tmp() .. "/state", env = env_of "gw-2" }
    redis.wait_for("its share", function()
      return other:control("GET", "/status"):json().cluster.shards.held == 1
    end)
    socket:wait_for("STATUS=1 of 1 shard up", all)
    assert.equal(202, first:control("POST", "/cluster/drain", { json = {} }).status)
    socket:wait_for("STATUS=all shards have gone to other hosts", all)
    notify_socket.cleanup()
  end)

  it("with a wrong password is told which it is", function()
    local wrong = url { password = "knock-knock" }
    local s = start { ready = false, env = env_of("gw-1", { TIDEGATE_CLUSTER = wrong }) }
    local g = assert_waits(s, "password")
    assert.is_nil(g.stderr:find("knock-knock", 1, true))
    assert_ends_at_once(g)
  end)

  it("with a user that may not do all, or a Redis that takes nothing, is told why, and once", function()
    local login = { user = "app", password = "opensesame" }
    server:command("ACL", "SETUSER", "app", "on", ">opensesame", "~tidegate:*", "+@all", "-hset")
    local s = start { ready = false, env = env_of("gw-1", { TIDEGATE_CLUSTER = url(login) }) }
    local g = assert_waits(s, "the user of the URL may not do that; give the right to it with ACL SETUSER")
    local refusals = tonumber(server:info("stats").total_error_replies)
    server:command("CONFIG", "SET", "min-replicas-to-write", 1)
    server:command("ACL", "SETUSER", "app", "+hset")
    redis.wait_for("more tries", function()
      return tonumber(server:info("stats").total_error_replies) > refusals + 2
    end)
    redis.wait_for("the other reason", function()
      return g:control("GET", "/readyz"):json().error:find("fewer replicas than its", 1, true)
    end)
    assert.equal(1, g:count_log "the cluster's Redis")
    server:command("CONFIG", "SET", "min-replicas-to-write", 0)
    g:wait_ready(2, 30000)
    assert.equal(1, g:count_log "in touch with the cluster's Redis [^\n]*duration=")
    assert.equal(2, g:count_log "the cluster's Redis")
  end)

  it("with the name of a host that lives is told so, and does not harm it", function()
    local s = start()
    local g = s.gateway
    local said = refused(s, "gw-1", {})
    assert.matches('cluster.host "gw%-1" is alive elsewhere', said)
    assert.is_nil(g.process.ended)
    assert.same({ 2, 2 }, { s:counters().identifies, g:ready_shards() })
  end)

  it("with the token of another bot is told which bots these are", function()
    local s = start { fake = { max_concurrency = 2, token = "MTE4OTAwMDAwMDAwMDAwMDAwMQ.first.of-its-bot" } }
    local other = fake_discord.start { token = "MTE4OTAwMDAwMDAwMDAwMDAwMg.first.of-another", shards = 2 }
    local said = refused(s, "gw-2", { env = { DISCORD_TOKEN = other.token, REST_URL = other.rest } })
    assert.matches('bot 1189000000000000002, and the cluster "bot" at [^\n]* of 1189000000000000001', said)
    assert.is_nil(said:find(other.token, 1, true))
    other:stop()
  end)

  it("with another total_shards is told both", function()
    local said = refused(start(), "gw-2", { env = { TOTAL_SHARDS = 4 } })
    assert.matches('total_shards is 4 here, and the cluster "bot" at [^\n]* has 2 shards', said)
  end)

  it("with another total_shards begins anew when the others have just been stopped", function()
    local s = start()
    local states = { s.gateway.state_dir, paths.tmp() .. "/state" }
    s:run { ready = false, state_dir = states[2], env = env_of "gw-2" }
    s:wait_counter("resumes_ok", 1) -- each has a shard
    s:wait_counter("identifies_ok", 2)
    for _, g in ipairs(s.gateways) do
      g:stop()
    end
    s.fake:settings { shards = 4 }
    for i, state_dir in ipairs(states) do
      s:run { ready = false, state_dir = state_dir, env = env_of("gw-" .. i, { TOTAL_SHARDS = 4 }) }
    end
    s:wait_counter("identifies_ok", 6, 40000)
    redis.wait_for("both to have a share", function()
      local held = {}
      for i = 3, 4 do
        held[i - 2] = s.gateways[i]:control("GET", "/status"):json().cluster.shards.held
      end
      return held[1] == 2 and held[2] == 2
    end)
    assert.same({}, s:list "violations")
  end)

  it("with a range of shards is told before anything else", function()
    local said = refused(start(), "gw-2", { env = { FIRST_SHARD_ID = 1, LAST_SHARD_ID = 1 } })
    assert.matches("first_shard_id: cannot stand beside cluster.url", said)
    assert.is_nil(said:find "joins the cluster")
  end)
end)
