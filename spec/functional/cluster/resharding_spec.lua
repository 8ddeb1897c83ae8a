-- Three hosts go over from one number of shards to a multiple of it, while all goes on: quietly, taken back,
-- and with hosts that die, that are started again, or that have lost Redis in the midst of it. Nothing is
-- lost, what comes twice has an equal key, and comes so only after a death. With TG_SPEC_LONG=1 (scripts/test
-- --long) each fault is a world of its own, some more of them, and a series.

local together = require "spec.support.cluster_resharding"

local FROM, TO = 4, 8

after_each(together.stop)

local function start(options)
  local given = { shards = FROM, repeat_rate = 40 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return together.start(given)
end

-- The new session of that shard, and so its class, is not ready until it is let go.
local function hold_up(t, shard)
  t.fake:pace { total = TO, shard = shard, lag = 60000 }
end

local function let_go(t)
  t.fake:fault { ["do"] = "clear" }
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

-- The shard that has sent op 31 for each guild, and of how many it is one.
local function senders(t)
  local list = {}
  for _, command in ipairs(t:list "commands") do
    if command.op == 31 then
      list[#list + 1] = { command.shard, command.total, command.d.guild_ids[1] }
    end
  end
  return list
end

describe("hosts of a cluster", function()
  it("go over to a multiple of their shards, whichever is asked, and back while none has switched", function()
    local t = start()
    local leader, other = t:leader()
    local status, answer = t:ask(other, { totalShards = 6 })
    assert.equal(400, status)
    assert.matches("a multiple of the 4 shards that there are, .* total that is possible is 8", answer.error)
    status, answer = t:ask(other, { abort = true })
    assert.same({ 409, "no_resharding" }, { status, answer.code })

    hold_up(t, 1) -- so that it waits
    assert.same({ from = FROM, to = TO, identifies = 9 }, t:reshard(TO, other))
    status, answer = t:ask(leader, { totalShards = 12 })
    assert.same({ 409, "resharding_running" }, { status, answer.code })
    t:await_step("up", FROM)
    for _, host in ipairs(t.hosts) do
      local shown = host.gateway:control("GET", "/cluster"):json().resharding
      assert.same({ TO, 0 }, { shown.to, shown.switched })
      local running = t:status(host).running
      assert.same({ FROM, TO }, { running.from, running.to })
      assert.same({ FROM, FROM }, { running.classes, running.everywhere.up })
    end
    assert.equal(202, (t:ask(other, { abort = true })))
    t:await_taken_back()
    let_go(t)
    t:assert_verdict { name = "taken back", identifies = { [FROM] = FROM, [TO] = TO }, repeated = false }

    t:flow()
    t:reshard(TO, leader)
    t:await_changed(TO)
    for i, guild in ipairs(t.fake:guilds()) do
      local host = t.hosts[i % #t.hosts + 1]
      local sounds = { op = 31, d = { guild_ids = { guild.id } } }
      assert.equal(200, (post(host, "/guilds/" .. guild.id .. "/payload", sounds)))
    end
    for _, sent in ipairs(senders(t)) do
      assert.equal(TO, sent[2])
    end
    finish(t, "4 to 8", { identifies = { [FROM] = FROM, [TO] = 2 * TO } })
  end)

  it("go on when one is killed before all new shards are up, and when one is behind a switch", function()
    local t = start()
    t.fake:fault { at = "identify", ["do"] = "delay", ms = 6000, shard = 6, total = TO }
    t:reshard(TO)
    t:await_step("up", 1)
    local victim = t:host_with "up"
    assert.is_true(t:steps().up < FROM)
    victim:kill()
    hold_up(t, 7)
    t:await_step("switched", 1)
    victim:again()
    let_go(t)
    finish(t, "killed before all were up", { spare = 4, repeated = true })
  end)
end)
