-- What Discord does about new sessions while a bot goes over to another number of shards: it has no more of
-- them for the day, refuses the number, does not answer.

local cjson = require "cjson"
local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function start(options)
  local given = { shards = 2, per_worker = 1, workers = 2, rate = 200, repeat_rate = 40, hurry = 20 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

local function shards_of(t)
  return #cjson.decode(t.gateway:control("GET", "/shards").body)
end

local function lose(t, shard, total)
  t.fake:fault { ["do"] = "invalid_session", resumable = false, shard = shard, total = total }
end

describe("identifies that run out in the middle", function()
  it("are waited for, however long that takes", function()
    -- Two are the reserve, and there is one to spare.
    local t = start { fake = { identify_window = 400, total = 20, remaining = 9, reset_after = 5000 } }
    t:reshard(4)
    t:await_reshard("one to be up", function(s) return s.running and s.running.up >= 2 end)
    lose(t, 0, 4)
    lose(t, 1, 4)
    t:await_reshard("the budget to be what it waits for", function(s)
      return s.running and (s.running.waitsFor or ""):find "identifies"
    end)
    t:await_events(100)
    t:await_over()
    t:assert_verdict { name = "no identifies left", identifies = { [2] = 2, [4] = 6 } }
  end)
end)

describe("a number that Discord refuses", function()
  it("with 4010 costs the first identify alone, and the old shards go on", function()
    local t = start()
    t.fake:settings { totals = "2" }
    t:reshard(4)
    local over = t:await_over "failed"
    assert.matches("Discord refuses new shards %(4010", over.reason)
    assert.equal(1, t:counters().closes_by_code.server["4010"])
    t:await_events(100)
    t:assert_verdict { name = "4010", violations = #t:list "violations", identifies = { [2] = 2 } }
  end)

  it("with 4011 is undone, too", function()
    local t = start()
    t.fake:settings { min_total = 8 }
    t:reshard(4)
    local over = t:await_over "failed"
    assert.matches("Discord refuses new shards %(4011", over.reason)
    assert.equal(1, t:counters().closes_by_code.server["4011"])
    t:await_events(100)
    t:assert_verdict { name = "4011 of the new shards", violations = #t:list "violations" }
  end)

  it("with 4011 for an old session that is lost has more shards begin at once", function()
    local t = start()
    t.fake:settings { min_total = 4, shards = 4, rate = 0, repeat_rate = 0 }
    t:wait_delivered()
    lose(t, 1, 2)
    t.gateway:wait_for_log "Discord refuses this shard, whose session was lost"
    t:await_reshard("the new shards", function(s) return s.running and s.running.up == 4 end)
    t.fake:settings { rate = 200 }
    t:await_over()
    assert.equal(4, shards_of(t))
    t:assert_verdict {
      name = "4011 of an old shard", gaps = true, violations = #t:list "violations",
      identifies = { [2] = 2, [4] = 4 },
    }
  end)

  it("with 4011 for an old session that is lost while the bot goes over is no matter, nor is REST", function()
    local t = start()
    t:reshard(4)
    t.fake:fault { at = "rest", ["do"] = "hang", route = "/gateway/bot", count = "all" }
    t:await_switched(1)
    t:await_classes("ready", 1)
    t.fake:settings { min_total = 4 }
    lose(t, 1, 2)
    t:await_over()
    t:assert_verdict {
      name = "4011 meanwhile", violations = #t:list "violations", identifies = { [2] = 2, [4] = 4 },
    }
  end)
end)

describe("by itself", function()
  local FULL = [[
local gateway = require "tidegate"
gateway.configure {
  event_handler = { markers = true },
  resharding = { check_interval = 1000, enabled = %s, shards_full_percentage = 1 },
}
]]

  it("a bot whose shards are full of guilds goes over", function()
    local t = start { script = FULL:format "true", fake = { guilds = 60 } }
    local running = t:await_phase "matching"
    assert.same({ 2, 4 }, { running.from, running.to })
    t:abort()
    t:await_over "aborted"
    t:assert_verdict { name = "full" }
  end)

  it("none does where that is switched off", function()
    local t = start { script = FULL:format "false", fake = { guilds = 60 } }
    t.fake:settings { shards = 4 }
    t:await_events(600)
    assert.same({}, t:reshard_status())
    t:assert_verdict { name = "switched off", identifies = { [2] = 2 } }
  end)
end)
