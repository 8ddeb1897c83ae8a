-- What happens to single sessions while a bot goes over to another number of shards: they are lost, break
-- off, stand still, are far behind. Nobody notices.

local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function start(options)
  local given = { shards = 4, per_worker = 2, workers = 2, rate = 300, repeat_rate = 60 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

local function lose(t, shard, total)
  t.fake:fault { ["do"] = "invalid_session", resumable = false, shard = shard, total = total }
end

describe("a session that is lost while the bot goes over", function()
  it("costs nothing: of the old shards before a switch, of the new ones behind it", function()
    local t = start()
    t:reshard(8)
    t:await_switched(1) -- and a pause
    t:await_classes("ready", 3)
    lose(t, 3, 4) -- the class goes over at once
    t.gateway:wait_for_log "class 3 of the guilds goes over to the new shards at once: a session"
    lose(t, 0, 8)
    t.gateway:wait_for_log "class 0 of the guilds goes over to the old shards at once: a session"
    t:interact(20)
    t:await_over()
    t:assert_verdict { name = "lost sessions", identifies = { [4] = 5, [8] = 9 } }
  end)

  it("on both sides at once costs what comes meanwhile, here nothing, and the bot is told", function()
    local t = start { shards = 2, per_worker = 1 }
    t:reshard(4)
    t:await_phase "matching"
    lose(t, 3, 4) -- of the class that has still to wait, and before that of new shards alone
    t:await_switched(1)
    t.fake:settings { rate = 0, repeat_rate = 0 }
    t:wait_delivered()
    local total = t:counters().identifies_ok
    for _, who in ipairs { { 0, 2 }, { 0, 4 }, { 2, 4 } } do
      lose(t, who[1], who[2])
    end
    t:wait_counter("identifies_ok", total + 3)
    t.fake:settings { rate = 300, repeat_rate = 60 }
    t:await_over()
    t:assert_verdict { name = "lost on both sides", gaps = true, identifies = { [2] = 3, [4] = 7 } }
    local told = t.bot:select(function(event) return event.gap and event.gap.reason == "session_lost" end)
    assert.is_true(#told > 0)
  end)
end)

local FAULTS = {
  { "op 7", function(t, who) t.fake:fault { ["do"] = "reconnect", shard = who[1], total = who[2] } end },
  { "RST", function(t, who) t.fake:fault { ["do"] = "rst", shard = who[1], total = who[2] } end },
  { "op 9, resumable", function(t, who)
    t.fake:fault { ["do"] = "invalid_session", resumable = true, shard = who[1], total = who[2] }
  end },
  { "a zombie", function(t, who)
    t.fake:fault { ["do"] = "withhold_acks", times = 1000, dispatches = true, shard = who[1], total = who[2] }
  end },
}

describe("a session that breaks off while the bot goes over", function()
  it("costs nothing, on either side and in each phase", function()
    local t = start { fake = { heartbeat_interval = 1000 } }
    local resumed = 0
    t:reshard(8)
    for _, phase in ipairs { "matching", "switching", "settling" } do
      t:await_phase(phase)
      for i, fault in ipairs(FAULTS) do
        fault[2](t, { i - 1, 4 })
        fault[2](t, { 2 * i - 1, 8 })
        resumed = resumed + 2
        t:interact(2)
      end
      t:wait_counter("resumes_ok", resumed, 30000)
    end
    t:await_over()
    t:assert_verdict { name = "sessions that break off", identifies = { [4] = 4, [8] = 8 } }
  end)
end)

describe("sessions that are behind while the bot goes over", function()
  it("cost nothing: old ones or new ones, those of a guild by seconds", function()
    local t = start()
    t.fake:pace { lag = 150, jitter = 150, total = 8 }
    t.fake:pace { lag = 20, jitter = 300, total = 4, shard = 1 }
    t:reshard(8)
    t:await_phase "matching"
    t.fake:pace { stall = 3000, total = 4, shard = 2 }
    t:await_switched(1)
    t.fake:pace { stall = 3000, total = 8, shard = 3 }
    t.fake:pace { stall = 3000, total = 4, shard = 0 }
    t:interact(10)
    t:await_over()
    t:assert_verdict { name = "sessions that are behind", identifies = { [4] = 4, [8] = 8 } }
  end)
end)

