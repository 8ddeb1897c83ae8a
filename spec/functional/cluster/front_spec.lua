-- What people see of a cluster, and may ask of it: status, metrics, readiness, `ctl cluster`, `ctl drain`.

local cjson = require "cjson"
local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local uv = require "luv"

local SHARDS = 4
local s, server

after_each(function()
  scene.stop()
  redis.teardown()
  process.cleanup()
  s, server = nil, nil
end)

local function host_env(name, more)
  local env = {
    TIDEGATE_CLUSTER = server:url(), TIDEGATE_CLUSTER_NAME = "ferry", TIDEGATE_CLUSTER_HOST = name,
  }
  for key, value in pairs(more or {}) do
    env[key] = value
  end
  return env
end

-- A scene whose first gateway is the host gw-1.
local function begin(options)
  server = server or redis.start()
  local all = { shards = SHARDS, fake = { max_concurrency = 16 }, ready = false, env = host_env "gw-1" }
  for key, value in pairs(options or {}) do
    all[key] = value
  end
  s = scene.start(all)
  return s.gateway
end

-- Another host of the same scene, with a state directory of its own.
local function join(name, changes)
  local all = { ready = false, state_dir = paths.tmp() .. "/state", env = host_env(name) }
  for key, value in pairs(changes or {}) do
    all[key] = value
  end
  return s:again(all)
end

local function status(host)
  local response = host:control("GET", "/status")
  return response and response.status == 200 and cjson.decode(response.body) or {}
end

local function wait_for(what, host, predicate, timeout)
  local seen
  local ok, problem = pcall(redis.wait_for, what, function()
    seen = status(host)
    return seen.cluster and predicate(seen.cluster, seen)
  end, timeout or 30000)
  if not ok then
    error(("%s; the status was %s and the log ends:\n%s"):format(problem, cjson.encode(seen),
      host.stderr:sub(-3000)), 2)
  end
  return seen.cluster, seen
end

-- All hosts, as this one sees them.
local function holds(count, others)
  return function(cluster, all)
    for _, host in ipairs(cluster.hosts) do
      if host.name ~= cluster.host and host.shards ~= (others or host.shards) then
        return false
      end
    end
    return all.progress.total == count and cluster.shards.held == count and all.ready
  end
end

local function metrics_of(host)
  return prometheus.parse(host:control("GET", "/metrics").body)
end

-- Two hosts with two shards each.
local function begin_two(options)
  local first = begin(options)
  local second = join "gw-2"
  wait_for("half of the shards", first, holds(2, 2))
  wait_for("the other half", second, holds(2, 2))
  return first, second
end

local function ctl(host, ...)
  local run = process.run({ paths.bin "tidegate", "ctl", ... }, {
    env = { TIDEGATE_CONTROL = (host:control_url():gsub("^http://", "")) },
  })
  return run.exit_code, run.stdout, run.stderr
end

local function words(text)
  return (text:gsub("%s+", " "))
end

local function ready_answer(host)
  local response = host:control("GET", "/readyz")
  return response.status, cjson.decode(response.body)
end

describe("a gateway without a cluster", function()
  it("says so, and has no trace of one", function()
    s = scene.start { shards = 1 }
    assert.is_nil(status(s.gateway).cluster)
    assert.is_nil(s.gateway:control("GET", "/metrics").body:find("tidegate_cluster", 1, true))
    for _, ask in ipairs { { "GET", "/cluster" }, { "POST", "/cluster/drain" },
      { "POST", "/cluster/forget", { json = { host = "gw-1" } } } } do
      local response = s.gateway:control(ask[1], ask[2], ask[3])
      assert.equal(409, response.status)
      assert.same({
        error = "this gateway is not part of a cluster: its configuration has no cluster.url",
        code = "no_cluster",
      }, cjson.decode(response.body))
    end
    for _, command in ipairs { "cluster", "drain", "drain --now", "cluster forget gw-1" } do
      local arguments = {}
      for word in command:gmatch "%S+" do
        arguments[#arguments + 1] = word
      end
      local code, out, err = ctl(s.gateway, unpack(arguments))
      assert.equal(1, code)
      assert.equal("", out)
      assert.matches("this gateway is not part of a cluster", err, 1, true)
    end
  end)
end)

local function check_status(host)
  local cluster, all = wait_for("a beat with what is left of the day", host, function(cluster)
    return cluster.budget.remaining == 1000 - SHARDS
  end)
  assert.equal("ferry", cluster.name)
  assert.equal("gw-2", cluster.host)
  assert.is_true(cluster.engine.up)
  assert.equal(server:url(), cluster.engine.url)
  assert.same({ total = 4, held = 2, unsure = 0, free = 0 }, cluster.shards)
  assert.is_true(cluster.leader == "gw-1" or cluster.leader == "gw-2")
  assert.equal(2, #cluster.hosts)
  for i, each in ipairs(cluster.hosts) do
    assert.equal("gw-" .. i, each.name)
    assert.same({ 2, 2, false }, { each.shards, each.target, each.draining })
    assert.equal(cluster.hosts[1].digest, each.digest)
    assert.is_true(each.age >= 0 and each.age < 3000)
  end
  assert.same({ 0, 0, false, true }, { cluster.holes, cluster.quiet, cluster.draining, cluster.othersTake })
  assert.same({ ready = 2, total = 2, eta = cjson.null }, all.progress)
  assert.same({ 1000, 1000 - SHARDS, 16 },
    { cluster.budget.total, cluster.budget.remaining, cluster.budget.maxConcurrency })
  assert.same({ 1000, 1000 - SHARDS }, { all.identify.total, all.identify.remaining })
  assert.same({ 2, 0 }, { all.shards.states.Connected, all.shards.states.Offline })
  assert.equal(2, #cjson.decode(host:control("GET", "/shards").body))
  assert.equal(200, (ready_answer(host)))
  return cluster
end

local function check_metrics(host)
  local text = host:control("GET", "/metrics").body
  local metrics = prometheus.parse(text)
  for name, value in pairs { up = 1, hosts = 2, shards = 2, free_shards = 0, holes = 0, draining = 0,
    lost_leases_total = 0, moves_total = 0 } do
    assert.equal(value, metrics:value("tidegate_cluster_" .. name), name)
  end
  assert.is_true(metrics:value "tidegate_cluster_beat_seconds" >= 0)
  local manual = pages.section "Watching"
  for name in manual:gmatch "`(tidegate_[%w_]+)`" do
    assert(metrics.families[name], "the manual has " .. name .. ", the scrape has not")
  end
  for _, name in ipairs(metrics.names) do
    assert(not name:find "^tidegate_cluster" or manual:find("`" .. name .. "`", 1, true),
      "the scrape has " .. name .. ", the manual has not")
  end
  assert.equal(2, metrics:value("tidegate_shards", { state = "Connected" }))
  assert.equal(0, metrics:value("tidegate_shards", { state = "Offline" }))
  local fine, problem = prometheus.promtool("metrics", text)
  assert(fine ~= false, problem)
end

local function check_terminal(host, leader)
  local exit, out = ctl(host, "cluster", "--table")
  assert.equal(0, exit)
  assert.matches(("ferry, this host is gw-2: 2 of 4 shards, 2 hosts, %s leads; Redis is %s\n"):format(
    leader, server:url()), out, 1, true)
  assert.matches("Host +Shards +Target +Last beat +State +Holes", out)
  assert.matches("\ngw%-1 +2 +2 +%d+ m?s +up[^\n]* 0\n", out)
  assert.matches("\ngw%-2 +2 +2 +%d+ m?s +up[^\n]*, this one +0\n", out)
  assert.matches("\nIdentifies: %d+ left of 1,000, the window ends in [^,]+, 16 at a time\n", out)
  local _, json = ctl(host, "cluster", "--json")
  local answer = cjson.decode(json).hosts[1]
  assert.same({ count = 0, events = 0, oldest = cjson.null }, answer.holes)
  assert.is_true(answer.alive)
  _, out = ctl(host, "status", "--table")
  assert.matches(("Cluster ferry, this host is gw-2: 2 of 4 shards, 2 hosts, %s leads; all is well"):format(
    leader), words(out), 1, true)
  assert.matches("Shards 2 of 4: Connected 2 ", words(out), 1, true)
end

-- Of any shard, as Redis has been told: {epoch, durable, epoch and sequence of what is delivered, guilds}.
local function least_undelivered()
  local least = math.huge
  for _, text in pairs(server:fields("HGETALL", "tidegate:{ferry}:p:" .. SHARDS)) do
    local epoch, durable, of, delivered = text:match "^(%d+) (%d+) (%d+) (%d+)"
    least = math.min(least, epoch == of and durable - delivered or math.huge)
  end
  return least < math.huge and least or 0
end

describe("hosts of a cluster", function()
  it("tell what each has, and one that is drained says how far it is until others have all", function()
    local first, second = begin_two()
    local cluster = check_status(second)
    check_metrics(second)
    check_terminal(second, cluster.leader)

    local exit, out = ctl(first, "drain", "--table")
    assert.equal(0, exit)
    assert.matches("^2 shards here[^\n]*\n.*no shard is here any more\n$", out)
    wait_for("all shards", second, holds(SHARDS, 0))
    cluster = status(first).cluster
    assert.same({ true, 0 }, { cluster.draining, cluster.shards.held })
    local code, answer = ready_answer(first)
    assert.same({ 503, "this host of the cluster gives its shards away" }, { code, answer.error })
    local metrics = metrics_of(first)
    assert.equal(2, metrics:value "tidegate_cluster_moves_total")
    assert.equal(1, metrics:value "tidegate_cluster_draining")
    exit, out = ctl(first, "drain", "--json")
    assert.equal(0, exit)
    assert.equal(0, cjson.decode(out).shards.held)
  end)

  it("wait at a drain for a bot that is down, and tell how many events only they have", function()
    local first, second = begin_two()
    s.bot:answer(function() return 503 end)
    s.fake:emit { count = 200 }
    wait_for("events to wait", first, function(cluster) return cluster.queued > 250 end)
    local exit, out, err = ctl(first, "drain", "--timeout", "1500")
    assert.same({ 1, "tidegate ctl: not all shards have gone within the time given; the others still go\n" },
      { exit, err })
    assert.matches("^2 shards here, with %d+ events that only this host has %(%-%-now does not wait", out)
    exit, out = ctl(first, "drain", "--now", "--table")
    assert.equal(0, exit)
    assert.matches("no shard is here any more; 2 holes of this host are to be delivered, late", out, 1, true)
    wait_for("all shards", second, holds(SHARDS, 0))
    s.bot:answer(nil)
    wait_for("its holes to be delivered", first, function(cluster) return cluster.holes == 0 end)
  end)

  it("name one that is away until it is forgotten", function()
    local first, second = begin_two()
    local exit, _, err = ctl(first, "cluster", "forget", "gw-2")
    assert.same({ 1, 'tidegate ctl: the host "gw-2" is alive: it delivers by itself what only it has\n' },
      { exit, err })
    exit, _, err = ctl(first, "cluster", "forget", "gw-3")
    assert.same({ 1, 'tidegate ctl: the cluster knows no host "gw-3"\n' }, { exit, err })
    exit, _, err = ctl(first, "cluster", "forget", "gw 3")
    assert.equal(1, exit)
    assert.matches('"gw 3" is no name of a host: expected up to 64 letters', err, 1, true)
    s.bot:answer(function() return 503 end)
    s.fake:emit { count = 300 }
    redis.wait_for("Redis to know what is not delivered", function() return least_undelivered() > 200 end)
    uv.kill(-second.pid, "sigkill")
    second.process:wait()
    wait_for("all shards", first, holds(SHARDS))
    local _, out = ctl(first, "cluster", "--table")
    local count, events = out:match "\ngw%-2 +0 +0 +%d+ s +away +(%d+): ([%d,]+) events, %d+ m?s old\n"
    assert.equal("2", count, out)
    assert.is_true(tonumber((events:gsub(",", ""))) > 400, events)
    exit, out = ctl(first, "cluster", "forget", "gw-2", "--table")
    assert.same({ 0, "gw-2 is forgotten, with 2 holes\n" }, { exit, out })
    first:wait_for_log 'the host "gw%-2" of the cluster is forgotten, with 2 holes'
    _, out = ctl(first, "cluster", "--table")
    assert.is_nil(out:find("gw-2", 1, true))
    s.bot:answer(nil)
  end)
end)

-- Without one that would take its shards.
describe("a host of a cluster", function()
  local function waits_for_redis(host)
    host:wait_for_log "this host waits for the cluster's Redis"
    local code, answer = ready_answer(host)
    assert.equal(503, code)
    assert.matches(("waiting for the cluster: Redis at %s: "):format(server:url()), answer.error, 1, true)
    local all = status(host)
    assert.same({ reason = answer.error, left = cjson.null }, all.waiting)
    assert.same({ false, {} }, { all.cluster.engine.up, all.cluster.hosts })
    assert.equal(cjson.null, all.cluster.shards.total)
    assert.equal(0, metrics_of(host):value "tidegate_cluster_up")
    local exit, _, err = ctl(host, "drain")
    assert.same({ 1, "tidegate ctl: the cluster's Redis does not answer\n" }, { exit, err })
    local _, out = ctl(host, "cluster", "--table")
    assert.matches("Redis does not answer: shards go on", out, 1, true)
  end

  it("is not ready before Redis is there, keeps its shards when alone, and tells of other intents", function()
    server = redis.start()
    server:stop()
    local host = begin()
    waits_for_redis(host)
    server:restart()
    wait_for("all shards", host, holds(SHARDS))
    assert.equal(200, (ready_answer(host)))

    local exit, out, err = ctl(host, "drain")
    assert.same({ 1, "" }, { exit, out })
    assert.matches("no other host of the cluster is there that takes shards", err, 1, true)
    assert.is_false(status(host).cluster.draining)
    exit, out, err = ctl(host, "reshard", tostring(2 * SHARDS + 1))
    assert.same({ 1, "" }, { exit, out })
    assert.matches('hosts of the cluster "ferry" go over to a multiple of the', err, 1, true)

    local other = join("gw-2", { intents = 1 })
    host:wait_for_log "hosts of the cluster have other intents or session options than this one: gw%-2"
    other:wait_for_log "hosts of the cluster have other intents or session options than this one: gw%-1"
    wait_for("its time", other, function(cluster) return cluster.hosts[1].shards == SHARDS end)
    local table_of = select(2, ctl(host, "cluster", "--table"))
    assert.matches("\ngw%-2 +0 +2 +%d+ m?s +up, other intents or options", table_of)
    assert.equal(1, host:count_log "have other intents or session options")
    assert.same({ 4, 0 }, { status(host).cluster.shards.held, status(other).cluster.shards.held })
    assert.equal(200, (ready_answer(host)))
  end)

  it("is refused words that mean nothing there", function()
    s = scene.start { shards = 1 }
    assert.equal(400, s.gateway:control("POST", "/cluster/drain", { json = { now = 1 } }).status)
    assert.equal(400, s.gateway:control("POST", "/cluster/forget", { json = { name = "gw-1" } }).status)
  end)
end)
