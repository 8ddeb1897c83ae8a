-- Redis is away, for all hosts: what runs goes on, and is delivered. It comes back with what it had, with
-- nothing, or as another one. With TG_SPEC_LONG=1 (scripts/test --long) for a minute, too.

local cjson = require "cjson"
local cluster_host = require "spec.support.cluster_host"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local trial = require "spec.support.cluster_trial"

describe("hosts whose Redis is away", function()
  local t, resumes

  setup(function()
    t = trial.start { shards = 12, proxies = true, redis = { appendonly = true } }
  end)
  teardown(trial.stop)
  before_each(function()
    t:flow()
    resumes = t:counters().resumes
  end)

  for _, ms in ipairs { 12000, trial.LONG and 60000 or nil } do
    it(("for %d s go on delivering, resume what is cut, and move nothing"):format(ms / 1000), function()
      local before = t:leases()
      t.redis:kill()
      t:await_flow(ms / 2)
      t.fake:fault { ["do"] = "close", code = 4000, shard = 3 }
      t:wait_counter("resumes_ok", resumes + 1)
      t:await_flow(ms / 2)
      t.redis:restart()
      t:await_peace()
      t:assert_same_leases(before)
      assert.equal(resumes + 1, t:counters().resumes)
      t:assert_verdict { name = ("Redis away for %d s"):format(ms / 1000), repeated = 0 }
    end)
  end

  it("and says nothing, with its sockets open, do so as well", function()
    local before = t:leases()
    t.redis:freeze()
    t:await_flow(8000)
    t.redis:thaw()
    t:await_peace()
    t:assert_same_leases(before)
    assert.equal(resumes, t:counters().resumes)
    t:assert_verdict { name = "Redis frozen", repeated = 0 }
  end)

  it("and another one in its place, that was its replica, go on", function()
    local replica = redis.start()
    replica:replica_of(t.redis)
    local before = t:leases()
    t.redis:kill()
    t:await_flow(2000)
    replica:promote()
    t.redis = replica
    for _, host in ipairs(t.hosts) do
      host.proxy:lead_to(replica)
    end
    t:await_peace()
    t:assert_same_leases(before)
    assert.equal(resumes, t:counters().resumes)
    t:assert_verdict { name = "a replica promoted", repeated = 0 }
  end)

  it("and back with nothing, tell it what there is", function()
    local before = t:leases()
    t.redis:restart { empty = true }
    t:await_peace()
    t:assert_same_leases(before)
    assert.equal(resumes, t:counters().resumes)
    t:assert_verdict { name = "Redis back with nothing", repeated = 0 }
  end)

  it("and back with nothing, do not believe who was asleep and speaks first", function()
    local shards, since = t.hosts[3]:freeze()
    t:await_resumed(shards, since)
    t:await_even()
    t.redis:kill()
    t.hosts[3]:thaw()
    t.redis:restart { empty = true }
    t:await_peace()
    t:await_even()
    t:assert_verdict { name = "Redis back with nothing, and a host from its sleep" }
    -- Epochs go on from where they were.
    t.fake:fault { ["do"] = "invalid_session", resumable = false, shard = 4 }
    t:wait_counter("identifies_ok", t.shards + 1, 30000)
    t:await_up()
    t:flow()
    t:assert_messages "Redis back with nothing, and a session lost"
  end)
end)

local function mark_in(state_dir)
  return cjson.decode(paths.read(state_dir .. "/cluster.json")).mark
end

describe("a host that has died, and its Redis has lost all", function()
  after_each(trial.stop)

  it("hand out no epoch again, though the count had outrun their clocks", function()
    local t = trial.start { hosts = 1, shards = 1 }
    local record = cluster_host.KEY .. "c"
    local function mark()
      return tonumber(t.redis:command("HGET", record, "mark")) or 0
    end
    local ahead = mark() + 100000
    t.redis:command("HSET", record, "mark", ahead)
    t:await("the host to have heard of it", function()
      return mark_in(t.hosts[1].gateway.state_dir) > ahead
    end)
    t.hosts[1]:kill()
    t.redis:restart { empty = true }
    t.hosts[1]:again()
    t:await_peace()
    assert.is_true(mark() > ahead)
    t:assert_messages "a host and what its Redis had gone"
  end)
end)
