-- A host of a cluster is upgraded: another program takes the place of its manager, which is away for less
-- than its leases last, so that no shard goes to another host; whatever befalls it meanwhile.

local cluster_trial = require "spec.support.cluster_trial"
local installed = require "spec.support.installed"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local SHARDS = 8

-- Faults of the program that takes over, once, in the manager's own process: the one that is tried before has
-- another pid.
local SCRIPT = [[
  local gateway = require "tidegate"
  local ffi = require "ffi"
  ffi.cdef "int getpid(void); int pthread_mutex_lock(void *);"
  gateway.configure { event_handler = { markers = true }, script = { load_budget = 10000 } }
  local name = gateway.role == "manager" and "manager-" .. ffi.C.getpid() or gateway.role
  local file = io.open(name)
  if file then
    local fault = file:read "*a"
    file:close()
    os.remove(name)
    loadstring(fault)()
  end
]]

local CRASH = [[require("ffi").cast("int *", 8)[0] = 1]]

-- No signal ends that.
local HANG = [[
  local ffi = require "ffi"
  local mutex = ffi.new "char[64]"
  for _ = 1, 2 do ffi.C.pthread_mutex_lock(mutex) end
]]

local function busy(seconds)
  return ("local clock = os.clock() + %f while os.clock() < clock do end"):format(seconds)
end

describe("a live upgrade of hosts of a cluster", function()
  local t, programs

  -- options: those of cluster_trial.start().
  local function start(options)
    local given = { hosts = 2, shards = SHARDS, rate = 400, script = SCRIPT, each = {}, env = scene.crashes }
    for name, value in pairs(options or {}) do
      given[name] = value
    end
    programs = {}
    for i = 1, given.hosts do
      programs[i] = installed.new()
      given.each[i] = given.each[i] or {}
      given.each[i].program = programs[i].path
    end
    t = cluster_trial.start(given)
  end

  after_each(function() cluster_trial.stop() end)

  local function metrics(host)
    return prometheus.parse(host.gateway:control("GET", "/metrics").body)
  end

  local function last(host)
    return host.gateway:control("GET", "/upgrade"):json().last
  end

  local function ends(host)
    return host.gateway:count_log "manager: upgraded from" + host.gateway:count_log "the upgrade has failed"
      + host.gateway:count_log "the upgrade does not take place"
  end

  local function await_end(host, count)
    t:await("the end of the upgrade of " .. host.name, function()
      assert(not host.gateway.process.ended, "the host has ended")
      return ends(host) >= (count or 1)
    end, 60000)
    return last(host)
  end

  local function ask(host)
    return host.gateway:control("POST", "/upgrade", { timeout = 30000 })
  end

  local function upgrade(host)
    local count = ends(host) + 1
    local answer = ask(host)
    return await_end(host, count), answer
  end

  local function arm(host, role, fault)
    local name = role == "manager" and "manager-" .. host.gateway.pid or role
    paths.write(host.gateway.dir .. "/" .. name, fault)
  end

  -- Redis says who leads.
  local function leader()
    local name = t:await("a leader", function()
      return t.redis:command("HGET", "tidegate:{bot}:c", "leader")
    end)
    for _, host in ipairs(t.hosts) do
      if host.name == name then
        return host
      end
    end
  end

  -- Whatever is done: no lease is another one than before, nothing is lost, and no session either.
  local function unharmed(name, leases, expected)
    t:assert_same_leases(leases)
    for _, host in ipairs(t.hosts) do
      assert.equal(0, host.gateway:count_log "another host has it")
    end
    local passed = { name = name, any_order = "RESUMED" }
    for key, value in pairs(expected or {}) do
      passed[key] = value
    end
    t:assert_verdict(passed)
    t:flow()
  end

  it("one after the other, and both at once: no shard goes to another host", function()
    start()
    local leases, before = t:leases(), metrics(t.hosts[1]):counters()
    local pids = { t.hosts[1].gateway.pid, t.hosts[2].gateway.pid }
    local first, second = leader(), nil
    for _, host in ipairs(t.hosts) do
      second = host ~= first and host or second
    end
    for _, host in ipairs { first, second } do
      local done, answer = upgrade(host)
      assert.equal(202, answer.status, answer.body)
      assert.equal("done", done.result, done.problem)
      unharmed(("%s, upgraded"):format(host == first and "the leader" or "the other"), leases)
    end
    assert.equal(first, leader())
    for counter, value in pairs(before) do
      assert.is_true((metrics(t.hosts[1]):counters()[counter] or 0) >= value, counter .. " has gone back")
    end
    for i, host in ipairs(t.hosts) do
      programs[i]:put { ["0.1.0"] = "0.1.7" }
      host.gateway.process:kill "SIGUSR2"
    end
    for i, host in ipairs(t.hosts) do
      local done = await_end(host, 2)
      assert.same({ "done", "0.1.7" }, { done.result, done.to })
      assert.equal(pids[i], host.gateway.pid)
    end
    unharmed("both hosts, upgraded at once", leases)
  end)

  it("to one that speaks another version of the messages, or of what is handed on", function()
    start()
    local leases = t:leases()
    programs[1]:put { still_alive = "still_awake", ["0.1.0"] = "0.1.9" }
    assert.equal("done", upgrade(t.hosts[1]).result)
    assert.equal(1, t.hosts[1].gateway:count_log "the workers speak another version of the messages")
    unharmed("another version of the messages", leases)
  end)

  describe("whose program", function()
    it("crashes, hangs or ends in the manager's place: the one before goes on in time", function()
      start()
      local leases, host = t:leases(), t.hosts[1]
      for _, fault in ipairs {
        { "signal 11", CRASH },
        { "signal 11", ("require('tidegate').after(500, function() %s end)"):format(CRASH) },
        { "it did not come up in time", HANG },
        { "exit code", "os.exit(7)" },
      } do
        arm(host, "manager", fault[2])
        local failed, answer = upgrade(host)
        assert.equal(202, answer.status, answer.body)
        assert.equal("failed", failed.result)
        assert.matches(fault[1], failed.problem)
        unharmed(fault[1], leases)
      end
      assert.equal("done", upgrade(host).result)
      unharmed("one without faults, behind them", leases)
    end)

    it("has workers that crash: it goes back", function()
      start()
      local leases = t:leases()
      arm(t.hosts[1], "worker", CRASH)
      local failed = upgrade(t.hosts[1])
      assert.equal("failed", failed.result)
      assert.matches("its worker 0 has ended before it was up", failed.problem)
      unharmed("workers that crash", leases)
    end)

    it("is none, or takes too long to load: nothing has changed", function()
      start()
      local leases, workers = t:leases(), t.hosts[1].gateway:worker_pids()
      programs[1]:put "#!/bin/sh\nexit 78\n"
      local _, answer = upgrade(t.hosts[1])
      assert.equal(409, answer.status)
      programs[1]:put {}
      paths.write(t.hosts[1].gateway.script, SCRIPT .. busy(2.5))
      _, answer = upgrade(t.hosts[1])
      assert.equal(409, answer.status)
      assert.matches("a host of a cluster may do so for 2000", answer:json().error)
      assert.same(workers, t.hosts[1].gateway:worker_pids())
      unharmed("programs that are refused", leases)
    end)
  end)

  it("is killed right behind the exec: others take its shards, as ever", function()
    start { hosts = 3 }
    local host = t.hosts[1]
    arm(host, "manager", HANG)
    local shards = host:shards()
    assert.equal(202, ask(host).status)
    t:await("the fault to be there", function()
      return not uv.fs_stat(host.gateway.dir .. "/manager-" .. host.gateway.pid)
    end)
    local workers = host.gateway:worker_pids()
    local since = t:now()
    uv.kill(host.gateway.pid, "sigkill")
    host.gateway.process:wait()
    t:await_end(workers)
    t:await_resumed(shards, since)
    t:assert_verdict { name = "killed behind the exec", any_order = "RESUMED" }
    t:flow()
  end)

  it("stands still behind the exec for longer than its leases: it stops, and loses them", function()
    start { hosts = 3 }
    local host = t.hosts[1]
    arm(host, "manager", HANG)
    assert.equal(202, ask(host).status)
    t:await("the fault to be there", function()
      return not uv.fs_stat(host.gateway.dir .. "/manager-" .. host.gateway.pid)
    end)
    local shards, since = host:shards(), t:now()
    uv.kill(host.gateway.pid, "sigstop") -- the manager alone: its workers go on
    t:await_resumed(shards, since)
    uv.kill(host.gateway.pid, "sigcont")
    assert.equal("failed", await_end(host).result)
    t:await_even()
    t:assert_verdict { name = "a manager that stood still", any_order = "RESUMED" }
    t:flow()
  end)

  describe("where Redis", function()
    it("goes away behind the exec: what runs goes on, and no shard moves", function()
      start { proxies = true }
      local leases, host = t:leases(), t.hosts[1]
      arm(host, "manager", busy(0.7))
      assert.equal(202, ask(host).status)
      t:await("the next program", function()
        return not uv.fs_stat(host.gateway.dir .. "/manager-" .. host.gateway.pid)
      end)
      host.proxy:cut { refuse = true }
      t:await_flow(2000)
      host.proxy:heal()
      assert.equal("done", await_end(host).result)
      unharmed("Redis away behind the exec", leases)
    end)

    it("is away: it is refused", function()
      start { proxies = true }
      local leases = t:leases()
      t.hosts[1].proxy:cut { refuse = true }
      t.hosts[1].gateway:wait_for_log "the cluster's Redis is away"
      local answer = ask(t.hosts[1])
      assert.equal(503, answer.status)
      assert.matches("the cluster's Redis does not answer", answer:json().error)
      t.hosts[1].proxy:heal()
      t.hosts[1].gateway:wait_for_log "in touch with the cluster's Redis.*in touch with the cluster's Redis"
      assert.equal("done", upgrade(t.hosts[1]).result)
      unharmed("refused while Redis was away", leases)
    end)
  end)

  it("while the other one is killed: its shards are taken, by who is left", function()
    start()
    local shards = t.hosts[2]:shards()
    assert.equal(202, ask(t.hosts[1]).status)
    local since = t:now()
    t.hosts[2]:kill()
    t:await_resumed(shards, since)
    assert.equal("done", await_end(t.hosts[1]).result)
    t:assert_verdict { name = "a host killed while the other was upgraded", any_order = "RESUMED" }
    t:flow()
  end)

  it("under commands that others pass on: each is done, once", function()
    start()
    local shard = t.hosts[1]:shards()[1]
    assert.equal(202, ask(t.hosts[1]).status)
    local count = 0
    repeat
      count = count + 1
      local answer = t.hosts[2].gateway:control("POST", ("/shards/%d/payload"):format(shard), {
        json = { op = 31, d = { guild_ids = { tostring(count) } }, timeout = 20000 }, timeout = 30000,
      })
      assert.same({ 200, { sent = true } }, { answer.status, answer:json() })
    until ends(t.hosts[1]) > 0
    assert.equal("done", last(t.hosts[1]).result)
    local sent = {}
    for _, command in ipairs(t:list "commands") do
      if command.op == 31 then
        local id = command.d.guild_ids[1]
        sent[id] = (sent[id] or 0) + 1
      end
    end
    for id = 1, count do
      assert.equal(1, sent[tostring(id)], id)
    end
    print(("# %d commands, each done once"):format(count))
  end)
end)
