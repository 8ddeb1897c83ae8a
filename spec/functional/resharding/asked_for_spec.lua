-- Who may have a resharding, and who takes it back: refusals, aborts, what a script decides and hears, and
-- the check that begins one by itself.

local cjson = require "cjson"
local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { event_handler = { markers = true }, resharding = { check_interval = 1000 } }
]]

local function start(options)
  local given = { shards = 4, per_worker = 2, workers = 2, rate = 100 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

local function shards_of(t)
  return #cjson.decode(t.gateway:control("GET", "/shards").body)
end

describe("a resharding", function()
  it("is refused where it makes no sense, and changes nothing", function()
    local t = start()
    for total, text in pairs { [4] = "4 shards already", [5] = "9 sessions", [7] = "11 sessions" } do
      local status, answer = t:ask_reshard { totalShards = total }
      assert.equal(400, status)
      assert(answer.error:find(text, 1, true), answer.error)
      assert(answer.error:find("the nearest totals that are possible are", 1, true) or
        answer.error:find("the nearest total that is possible is", 1, true), answer.error)
    end
    local status, answer = t:abort()
    assert.same({ 409, "no_resharding" }, { status, answer.code })
    t:assert_verdict { name = "refused", identifies = { [4] = 4 } }
  end)

  it("is one at a time, and undone before a class has switched", function()
    local t = start()
    t.fake:pace { lag = 60000, total = 8 } -- the new sessions see nothing for a while
    t:reshard(8)
    local status, answer = t:ask_reshard { totalShards = 2 }
    assert.same({ 409, "resharding_running" }, { status, answer.code })
    assert(answer.error:find("from 4 to 8", 1, true), answer.error)
    t:await_phase "identifying"
    assert.equal(202, t:abort())
    local over = t:await_over "aborted"
    assert.same({ 4, 8 }, { over.from, over.to })
    assert.equal(4, shards_of(t))
    t:assert_verdict { name = "aborted early" }
  end)

  it("is undone after classes have switched", function()
    local t = start { repeat_rate = 50 }
    t:reshard(8)
    t:await_classes("switched", 1)
    assert.equal(202, t:abort())
    t:await_over "aborted"
    assert.equal(4, shards_of(t))
    t:assert_verdict { name = "aborted late", identifies = { [4] = 4, [8] = 8 } }
    t.fake:settings { rate = 100, repeat_rate = 50 }
    t:reshard(8)
    t:await_over()
    t:assert_verdict { name = "and once more", identifies = { [4] = 4, [8] = 16 } }
  end)

  it("needs room in the day's identifies, and Discord to say how much there is", function()
    local t = start()
    t.fake:settings { total = 100, remaining = 18 } -- nine are needed, ten are kept back
    local status, answer = t:ask_reshard { totalShards = 8 }
    assert.same({ 503, "budget" }, { status, answer.code })
    assert(answer.error:find("of 100 a day 18 are left, 10 of which are the reserve", 1, true), answer.error)
    t.fake:fault { at = "rest", ["do"] = "status", status = 500, count = "all" }
    status, answer = t:ask_reshard { totalShards = 8 }
    assert.same({ 503, "rest_away" }, { status, answer.code })
    t:assert_verdict { name = "no room", identifies = { [4] = 4 } }
  end)
end)

describe("a script", function()
  it("decides about it, and hears how far it is", function()
    local t = start { script = SCRIPT .. [[
local asked = 0
function gateway.manager:resharding_needed()
  return asked < 2 and 8 or nil
end
local reshard = gateway.default.manager.reshard
function gateway.manager:reshard(info)
  asked = asked + 1
  gateway.log.info("wanted: %d, automatic %s", info.total_shards, tostring(info.automatic))
  if asked == 1 then
    return false
  end
  return reshard(self, info)
end
function gateway.manager:on_resharding_switch(guild_ids)
  gateway.log.info("switched: %s", table.concat(guild_ids, " "))
end
function gateway.manager:tell_worker_to_prepare(worker_id, shard_id, bucket_id, total)
  gateway.log.info("prepare: %d of %d in %d", shard_id, total, worker_id)
  return gateway.default.manager.tell_worker_to_prepare(self, worker_id, shard_id, bucket_id, total)
end
gateway.on("resharding", function(_, details)
  gateway.log.info("step: %s %d %d %s", details.step, details.from, details.to, tostring(details.switched))
end)
]] }
    t:await_reshard("what the script has put off", function(status)
      local planned = status.planned
      return planned and planned.to == 8 and (planned.waitsFor or ""):find "put it off"
    end)
    t:await_over()
    t.gateway:wait_for_log "step: done 4 8"
    local function count(pattern)
      return t.gateway:count_log(pattern)
    end
    assert.equal(2, count "wanted: 8, automatic true")
    assert.equal(8, count "prepare: %d of 8 in %d")
    assert.same({ 1, 4, 1 },
      { count "step: started 4 8", count "step: switched 4 8 %d", count "step: done 4 8" })
    local guilds = {}
    for ids in t.gateway.stderr:gmatch "switched: ([%d ]+)" do
      for id in ids:gmatch "%d+" do
        assert.is_nil(guilds[id], "a guild switched twice")
        guilds[id] = true
      end
    end
    for _, guild in ipairs(t.fake:guilds()) do
      assert(guilds[guild.id], "nobody said that guild " .. guild.id .. " has switched")
    end
    t:assert_verdict { name = "by a script", identifies = { [4] = 4, [8] = 8 } }
  end)
end)

describe("by itself", function()
  it("a bot follows what Discord recommends", function()
    local t = start { script = SCRIPT }
    t.fake:settings { shards = 8 }
    t:await_over()
    assert.equal(8, shards_of(t))
    t:assert_verdict { name = "recommended", identifies = { [4] = 4, [8] = 8 } }
  end)
end)
