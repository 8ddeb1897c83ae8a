-- Three hosts go over from one number of shards to a multiple of it, while all goes on: quietly, taken back,
-- and with hosts that die, that are started again, or that have lost Redis in the midst of it. Nothing is
-- lost, what comes twice has an equal key, and comes so only after a death. With TG_SPEC_LONG=1 (scripts/test
-- --long) each fault is a world of its own, some more of them, and a series.

local resharding = require "spec.support.resharding"
local together = require "spec.support.cluster_resharding"
local uv = require "luv"

local FROM, TO = 4, 8

local SCRIPT = [[
require "tidegate".configure { event_handler = { markers = true }, resharding = { check_interval = 1000 } }
]]

after_each(together.stop)

local function start(options)
  local given = { shards = FROM, repeat_rate = 40 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return together.start(given)
end

-- A class whose host has seen which guilds it has, and does not lead; best one that has no other.
local function choose_class(t)
  local leases, count, resumed, best = t:leases(), {}, {}, nil
  for _, resume in ipairs(t:list "resumes") do
    resumed[resume.shard] = true
  end
  for _, lease in pairs(leases) do
    count[lease.host] = (count[lease.host] or 0) + 1
  end
  for class, lease in pairs(leases) do
    if not resumed[class] and lease.host ~= t:leader().name
      and (not best or count[lease.host] < count[leases[best].host]) then
      best = class
    end
  end
  return assert(best, "no host has what it could be held up by")
end

-- A guild of such a class is not available to its new shard, so that the class does not go over, until it is
-- let go. Returns the class.
local function hold_up(t)
  local class = choose_class(t)
  for _, guild in ipairs(t.fake:guilds()) do
    if resharding.shard_of(guild.id, FROM) == class then
      t.fake:emit { kind = "outage", guild = guild.id, total = TO }
      t.held_up = guild.id
      return class
    end
  end
end

local function let_go(t)
  t.fake:emit { kind = "available", guild = t.held_up, total = TO }
end

local function finish(t, name, options)
  t:flow()
  t:await_changed(TO)
  t:flow()
  local expected = { name = name, identifies = { [FROM] = FROM, [TO] = TO } }
  for key, value in pairs(options or {}) do
    expected[key] = value
  end
  return t:assert_verdict(expected)
end

local function post(host, path, body)
  local answer = host.gateway:control("POST", path, { json = body, timeout = 20000 })
  return answer.status, answer:json()
end

-- A command to each of these guilds, by each host that runs: sent by its new shard.
local function ask_of_guilds(t, is_one)
  local before, count = #t:list "commands", 0
  for _, guild in ipairs(t.fake:guilds()) do
    for _, host in ipairs(is_one(guild.id) and t.hosts or {}) do
      if host:runs() then
        local sounds = { op = 31, d = { guild_ids = { guild.id } } }
        local status, answer = post(host, "/guilds/" .. guild.id .. "/payload", sounds)
        assert.equal(200, status, answer.error)
        count = count + 1
      end
    end
  end
  local sent = t:list "commands"
  assert.equal(before + count, #sent)
  for i = before + 1, #sent do
    local guild = sent[i].d.guild_ids[1]
    assert.same({ resharding.shard_of(guild, TO), TO }, { sent[i].shard, sent[i].total })
  end
end

describe("hosts of a cluster", function()
  it("go over to a multiple of their shards, whichever is asked, and back while none has switched", function()
    local t = start()
    local leader, other = t:leader()
    local status, answer = t:ask_for(other, 6)
    assert.equal(400, status)
    assert.matches("a multiple of the 4 shards that there are, .* total that is possible is 8", answer.error)
    status, answer = t:ask(other, { abort = true })
    assert.same({ 409, "no_resharding" }, { status, answer.code })

    hold_up(t) -- so that it waits
    assert.same({ from = FROM, to = TO, identifies = 9 }, t:reshard(TO, other))
    status, answer = t:ask(leader, { totalShards = 12 })
    assert.same({ 409, "resharding_running" }, { status, answer.code }, answer.error)
    t:await_step("up", 1)
    for _, host in ipairs(t.hosts) do
      local running = t:await("all hosts to know how far it is", function()
        local now = t:status(host).running
        return now.everywhere.up > 0 and now
      end)
      local shown = host.gateway:control("GET", "/cluster"):json().resharding
      assert.same({ TO, 0 }, { shown.to, shown.switched })
      assert.same({ FROM, TO }, { running.from, running.to })
      assert.equal(FROM, running.classes)
    end
    assert.equal(202, (t:ask(other, { abort = true })))
    t:await_taken_back()
    let_go(t)
    local taken = t:counters().identifies_by_total[tostring(TO)]
    t:assert_verdict { name = "taken back", identifies = { [FROM] = FROM, [TO] = taken } }

    t:flow()
    t:reshard(TO, leader)
    t:await_changed(TO)
    ask_of_guilds(t, function() return true end)
    finish(t, "4 to 8", { identifies = { [FROM] = FROM, [TO] = taken + TO } })
  end)

end)

-- Of classes that have gone over before their host had them there is no old shard any more.
local function command_what_has_gone_over(t)
  local gone = {}
  for class, step in pairs(t:classes()) do
    gone[class] = step >= 2
  end
  ask_of_guilds(t, function(id) return gone[resharding.shard_of(id, FROM)] end)
  for class in pairs(gone) do
    local d = { since = 0, activities = { { name = "tides", type = 3 } }, status = "idle", afk = false }
    local status, answer = post(t:any_host(), ("/shards/%d/payload"):format(class), { op = 3, d = d })
    assert.equal(200, status, answer.error)
  end
end

-- What befalls them in the midst of it, when one or so many classes have come to that step; one is held up,
-- and does not go over before all is well again. strike() does it to another host than that one's, and
-- returns who is to be started again. allows: what the verdict is to allow for.
local FAULTS = {
  {
    name = "one is killed that has a class which has gone over", usual = true, step = "switched",
    strike = function(t, spared)
      local victim = t:host_with("switched", spared)
      victim:kill()
      return victim
    end,
    allows = { repeated = true, spare = 4 },
  },
  {
    name = "one is killed before all new shards are up", step = "up", late = true,
    strike = function(t, spared)
      assert.is_true(t:steps().up < FROM)
      local victim = t:host_with("up", spared)
      victim:kill()
      return victim
    end,
    allows = { repeated = true, spare = 4 }, -- new shards of classes that have not gone over begin anew
  },
  {
    name = "the one is killed that leads", step = "up",
    strike = function(t)
      local victim = t:leader()
      victim:kill()
      return victim
    end,
    allows = { repeated = true, spare = 4 },
  },
  {
    name = "one dies, and is back before anybody has noticed", step = "switched",
    strike = function(t, spared)
      local victim = t:host_with("switched", spared)
      victim:kill()
      victim:again()
    end,
    allows = { repeated = true, spare = 4 },
  },
  {
    name = "one is stopped, and started again", step = "switched",
    strike = function(t, spared)
      local victim = t:host_with("switched", spared)
      victim:stop()
      return victim
    end,
    allows = { repeated = true, spare = 4 },
  },
  {
    name = "one stands still until others have its shards", step = "switched",
    strike = function(t, spared)
      local victim = t:host_with("switched", spared)
      t:await_resumed({ (victim:freeze())[1] }, t:now())
      victim:thaw()
    end,
    allows = { repeated = true, spare = 4 },
  },
  {
    name = "Redis is away for 12 s", step = "switched", count = FROM - 1,
    strike = function(t)
      t.redis:kill()
      t:await_flow(12000)
      t.redis:restart()
      t:await_peace()
    end,
    allows = { pause = 4000 },
  },
  {
    name = "Redis is back with nothing", step = "switched", count = FROM - 1,
    strike = function(t)
      t.redis:restart { empty = true }
      t:await_peace()
    end,
    allows = { pause = 4000 },
  },
  {
    name = "the bot is down, and one is killed", step = "switched",
    strike = function(t, spared)
      t.bot:down()
      t:pass(3000)
      local victim = t:host_with("switched", spared)
      victim:kill()
      t:pass(10000)
      t.bot:up()
      return victim
    end,
    allows = { repeated = true, spare = 4 },
  },
}

describe("hosts of a cluster that go over to more shards go on when", function()
  for _, fault in ipairs(FAULTS) do
    if fault.usual or together.LONG then
      it(fault.name, function()
        local t = start { redis = { appendonly = true } }
        local held = hold_up(t)
        if fault.late then -- the READY of a shard of that class
          t.fake:fault { at = "identify", ["do"] = "delay", ms = 6000, shard = held + FROM, total = TO }
        end
        t:reshard(TO)
        t:await_step(fault.step, fault.count or 1)
        local victim = fault.strike(t, t:holder(held))
        if victim then
          t:await("others to have its shards", function() return #victim:shards() == 0 end)
        end
        if fault.usual then
          command_what_has_gone_over(t)
        end
        t:await_flow(1000)
        if victim then
          victim:again()
        end
        let_go(t)
        finish(t, fault.name, fault.allows)
      end)
    end
  end
end)

describe("hosts of a cluster that go over to more shards", function()
  local may = together.LONG and it or function() end

  may("take in who was away all the while, who has been told by nobody", function()
    local t = start()
    local victim = t.hosts[2]
    victim:kill()
    t:await("others to have its shards", function() return #victim:shards() == 0 end)
    t:reshard(TO)
    t:await_changed(TO)
    victim:again()
    finish(t, "away all the while", { repeated = true })
  end)

  may("begin by themselves when more are needed: the one that leads", function()
    local own = { script = SCRIPT }
    local t = start { each = { own, own, own } }
    t.fake:settings { shards = TO }
    t:await_changed(TO)
    local asked = 0
    for _, host in ipairs(t.hosts) do
      for _ in host.gateway.stderr:gmatch "more shards are needed: Discord recommends 8" do
        asked = asked + 1
      end
    end
    assert.equal(1, asked)
    finish(t, "by themselves", { repeated = false })
  end)

  may("lose worker after worker", function()
    local t = start()
    t:reshard(TO)
    for _ = 1, 8 do
      t:pass(t.random:between(500, 1700))
      local pid = t.random:one_of(t:any_host().gateway:worker_pids())
      if pid then
        uv.kill(pid, "sigkill")
      end
    end
    finish(t, "8 workers killed", { repeated = true, spare = TO })
  end)

  may("are killed at random moments", function()
    for round = 1, 3 do
      local t = start()
      t:reshard(TO)
      for _ = 1, 4 do
        t:pass(t.random:between(0, 5000))
        local victim = t:any_host()
        victim:kill()
        t:pass(t.random:chance(0.5) and t.random:between(0, 3000) or t.random:between(7000, 10000))
        victim:again()
      end
      finish(t, ("4 x kill -9 (%d)"):format(round), { repeated = true, spare = 4 * TO })
      together.stop()
    end
  end)
end)
