-- Deadlines, heartbeats, and connections that die without a word.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local trial = require "spec.support.fault_trial"

local INTERVAL = 200 * paths.slow
-- So many beats are more than the fake's limit of sends allows.
local BEATING = { heartbeat_interval = INTERVAL, send_limit = 100000 }

local function fault_of(t)
  return function(what)
    t.fake:fault(what)
  end
end

describe("a shard that waits in vain", function()
  local t, fault

  setup(function()
    t = trial.start()
    fault = fault_of(t)
  end)
  teardown(trial.stop)

  local function cut()
    t.fake:fault { ["do"] = "rst" }
  end

  it("for HELLO, takes another connection", function()
    local log = t:survives({ resumes = 1, attempts = 1, connections = 2 }, function()
      fault { at = "hello", ["do"] = "withhold" }
      cut()
    end)
    assert.matches("connected, but no HELLO came", log)
  end)

  it("for READY, identifies again", function()
    local log = t:survives({ identifies = 2, connections = 2 }, function()
      fault { at = "identify", ["do"] = "withhold" }
      fault { ["do"] = "close", code = 4006 }
    end)
    assert.matches("warn [^\n]*no READY came code=1006 next=identify delay=%d+\n", log)
  end)

  it("for RESUMED, while nothing comes, resumes again", function()
    local log = t:survives({ resumes = 2, connections = 2 }, function()
      fault { at = "resume", ["do"] = "withhold" }
      cut()
    end)
    assert.matches("warn [^\n]*no RESUMED came code=1006 next=resume delay=%d+\n", log)
  end)

  it("for RESUMED, in vain three times, gives the session up and identifies", function()
    local log = t:survives({ resumes = 3, identifies = 1, connections = 4, quiet = true }, function()
      fault { at = "resume", ["do"] = "withhold", count = 3 }
      cut()
    end)
    local _, waited = log:gsub("no RESUMED came", "")
    assert.equal(3, waited)
    assert.matches("no RESUMED came code=1006 next=identify", log)
    assert.matches("given up", log)
  end)

  it("for RESUMED, while events come, goes on waiting", function()
    t:survives({ resumes = 1, connections = 1 }, function()
      fault { at = "resume", ["do"] = "delay", ms = 3 * 60000 / t.given.hurry, replay = true }
      cut()
      t.fake:wait_for("RESUMED", function(state)
        return state.counters.resumes_ok and t.gateway.stderr:find ": resumed epoch=[^\n]*\n$"
      end, { only = "counters" })
    end)
  end)

  it("for the answer to its upgrade, tries again", function()
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      fault { at = "upgrade", ["do"] = "hang" }
      cut()
    end)
    assert.matches("no connection within the time allowed", log)
  end)

  it("takes a HELLO without a sensible interval for a usual one", function()
    -- The fake counts what it said as no HELLO.
    local log = t:survives({ resumes = 1, connections = 1, violations = 1 }, function()
      fault { at = "hello", ["do"] = "message", ["then"] = "instead",
        text = '{"op":10,"d":{"heartbeat_interval":-5},"s":null,"t":null}' }
      cut()
    end)
    assert.matches("taking 41250 ms", log)
  end)

  it("for the close frame of a peer that no longer answers, ends without it", function()
    t:mend()
    fault { ["do"] = "half_open" }
    t.broken = "stopped"
    local before = loop.now()
    assert.equal(0, t.gateway:stop())
    assert.is_true(loop.now() - before < 3000 * paths.slow)
  end)
end)

-- ACKs and pings show that somebody is there, not that anybody works on the answer.
describe("a shard that waits for an answer while only heartbeats are acknowledged", function()
  after_each(trial.stop)

  it("does not wait longer for RESUMED than without them", function()
    local t = trial.start { fake = { heartbeat_interval = 100 * paths.slow, send_limit = 100000 } }
    local resumes = #t.scene:list "resumes"
    local log = t:survives({ resumes = 2, connections = 2 }, function()
      t.fake:fault { at = "resume", ["do"] = "withhold" }
      t.fake:fault { ["do"] = "rst" }
    end)
    assert.matches("no RESUMED came", log)
    local list = t.scene:list "resumes"
    local waited, due = list[resumes + 2].at - list[resumes + 1].at, 60000 / t.given.hurry
    assert.is_true(waited >= due and waited < 5 * due, ("waited for %d ms, not %d"):format(waited, due))
    local closed = t.scene:list "closed_connections"
    assert.is_true(closed[#closed].heartbeats_acked > 1)
  end)

  it("waits for READY, longer each time, as an IDENTIFY is worth more than the time", function()
    local due = 120000 / trial.HURRY * paths.slow
    local s = scene.start { ready = false, hurry = trial.HURRY / paths.slow, fake = {
      heartbeat_interval = 100 * paths.slow, send_limit = 100000,
    } }
    s.fake:fault { at = "identify", ["do"] = "withhold", count = 2 }
    s.fake:fault { at = "identify", ["do"] = "delay", ms = 2 * due }
    s.gateway:wait_ready(1, 30000)
    local closed = s:list "closed_connections"
    local lived = {}
    for i = 1, 2 do
      lived[i] = closed[i].at - s:list("identifies")[i].at
      assert.is_true(closed[i].heartbeats_acked > 1)
      -- The fake may have seen the IDENTIFY a little late.
      local fits = lived[i] >= 0.9 * i * due and lived[i] < 4 * i * due
      assert.is_true(fits, ("waited for %d ms"):format(lived[i]))
    end
    assert.equal(3, s:counters().identifies)
    assert.equal(2, s.gateway:count_log "no READY came")
  end)
end)

describe("a shard that beats", function()
  local t, fault

  setup(function()
    t = trial.start { fake = BEATING, hurry = 50 } -- T_RESUMED is a little longer than a zombie's life
    fault = fault_of(t)
  end)
  teardown(trial.stop)

  it("with an interval between beats, each with the sequence of then", function()
    t:wait_heartbeats(6)
    local connection = t.fake:state("connections").connections[1]
    local beats = connection.last_heartbeats
    for i = 2, #beats do
      local gap = beats[i].at - beats[i - 1].at
      assert.is_true(gap >= INTERVAL - 5 and gap < INTERVAL * 1.5, ("beats are %d ms apart"):format(gap))
      assert.is_true(beats[i].d > beats[i - 1].d)
      assert.is_true(beats[i].acked)
    end
  end)

  it("stays while two ACKs are withheld, but events come", function()
    t:survives({ connections = 0 }, function()
      fault { ["do"] = "withhold_acks", times = 2 }
      t:wait_heartbeats(6)
    end)
  end)

  it("stays while two ACKs are withheld, but pings come", function()
    t:survives({ connections = 0, quiet = true }, function()
      fault { ["do"] = "withhold_acks", times = 2 }
      for _ = 1, 4 do
        t:wait_heartbeats(1)
        fault { ["do"] = "ping", payload = "still there?" }
      end
    end)
  end)

  it("resumes when no ACK has come for three intervals, though events come", function()
    local beats = t:connection().heartbeats
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      fault { ["do"] = "withhold_acks" }
    end)
    assert.matches("heartbeats are no longer acknowledged, whatever else comes: reconnecting "
      .. "duration=%d+ delay=0\n", log)
    local closes = t.scene:list "closed_connections"
    local closed = closes[#closes]
    assert.is_true(closed.heartbeats - closed.heartbeats_acked == 3, "after " .. closed.heartbeats - beats)
    assert.equal("fin", t:last_close().how)
  end)

  it("drops a connection on which neither ACKs nor events come, and resumes", function()
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      fault { ["do"] = "withhold_acks", dispatches = true }
    end)
    assert.matches("the connection is dead", log)
    assert.equal("fin", t:last_close().how) -- at once, without the politeness of a close frame
  end)

  it("drops a half-open connection, and resumes", function()
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      fault { ["do"] = "half_open" }
    end)
    assert.matches("the connection is dead", log)
  end)

  it("drops a connection that goes dead in the midst of a resume, and resumes", function()
    local log = t:survives({ resumes = 2, connections = 2 }, function()
      fault { at = "resume", ["do"] = "half_open" }
      fault { ["do"] = "rst" }
    end)
    assert.matches("the connection is dead", log)
  end)

  it("gives up a session whose resumes all go dead", function()
    local log = t:survives({ resumes = 3, identifies = 1, connections = 4, quiet = true }, function()
      fault { at = "resume", ["do"] = "half_open", count = 3 }
      fault { ["do"] = "rst" }
    end)
    assert.matches("given up", log)
  end)

  it("does not judge a beat that was asked for before its time", function()
    t:survives({ connections = 0, quiet = true }, function()
      -- Just before a beat is due another one is asked for, whose ACK does not come, and then an event:
      -- whoever takes this beat for the last regular one sees a dead connection when the next is due.
      fault { ["do"] = "clear" }
      t:wait_heartbeats(1)
      t:pass(INTERVAL * 0.7)
      fault { ["do"] = "withhold_acks", times = 1 }
      fault { ["do"] = "heartbeat_request" }
      t:pass(INTERVAL * 0.7)
      t.fake:emit { event = "SOMETHING_NEW", d = {}, shard = 0 }
      t:wait_heartbeats(2)
    end)
  end)
end)

describe("heartbeats that Discord asks for (op 1)", function()
  local t, fault

  setup(function()
    t = trial.start()
    fault = fault_of(t)
  end)
  teardown(trial.stop)

  it("are sent at once, with the sequence", function()
    t:survives({ connections = 0 }, function()
      local before = t:connection().heartbeats
      fault { ["do"] = "heartbeat_request" }
      t.fake:wait_for("the beat", function(state)
        return state.connections[1].heartbeats == before + 1
      end, { only = "connections", timeout = 1000 })
      local beats = t:connection().last_heartbeats
      assert.is_true(beats[#beats].d > 1)
    end)
  end)

  it("in storms do not make it send more than it may", function()
    t:survives({ connections = 0 }, function()
      fault { ["do"] = "heartbeat_request", times = 1000 }
      t.fake:wait_for("answers", function(state)
        return state.counters.heartbeats > 50
      end, { only = "counters" })
    end)
    assert.is_true(t:connection().frames <= 120)
  end)
end)

describe("the first heartbeat", function()
  after_each(scene.stop)

  it("comes at any time within the interval, without a sequence before READY", function()
    local interval, shards = 1000 * paths.slow, 16
    local s = scene.start { shards = shards, ready = false, fake = {
      max_concurrency = shards, heartbeat_interval = interval, send_limit = 100000,
    } }
    s.fake:fault { at = "identify", ["do"] = "delay", ms = interval * 1.2, count = "all" }
    s.gateway:wait_ready(shards)
    local early, late = 0, 0
    for _, connection in ipairs(s.fake:state("connections").connections) do
      local first = connection.last_heartbeats[1]
      local after = first.at - connection.opened_at
      assert.is_true(after < interval + 300 * paths.slow, ("the first beat came after %d ms"):format(after))
      assert.is_nil(tonumber(first.d))
      early, late = early + (after < interval / 2 and 1 or 0), late + (after > interval / 2 and 1 or 0)
    end
    assert.is_true(early > 0 and late > 0, ("%d early, %d late"):format(early, late))
    assert.same({}, s:list "violations")
  end)

  it("of a new session does not carry the sequence of the old one", function()
    local t = trial.start { fake = BEATING, hurry = 50 }
    -- The fake closes with 4002 when a beat names a sequence that its session has not reached.
    t:survives({ identifies = 1 }, function()
      t.fake:fault { at = "identify", ["do"] = "delay", ms = 3 * INTERVAL }
      t.fake:fault { ["do"] = "invalid_session", resumable = false }
    end)
    assert.is_nil(tonumber(t:connection().last_heartbeats[1].d))
  end)
end)

describe("the end of the transport", function()
  for _, close_notify in ipairs { false, true } do
    describe(close_notify and "over TLS, with close_notify," or "over TLS,", function()
      local t

      setup(function()
        t = trial.start { fake = { tls = true, close_notify = close_notify } }
      end)
      teardown(trial.stop)

      for _, how in ipairs { "fin", "rst" } do
        it("by " .. how .. " is no loss", function()
          local log = t:survives({ resumes = 1, connections = 1 }, function()
            t.fake:fault { ["do"] = how }
          end)
          assert.matches(how == "rst" and "Connection reset" or "closed the connection", log)
          assert.is_nil(log:find "error ")
        end)
      end

      it("after a close frame is no loss", function()
        local log = t:survives({ resumes = 1, connections = 1 }, function()
          local reason = "Discord WebSocket requesting client reconnect."
          t.fake:fault { ["do"] = "close", code = 1001, reason = reason }
        end)
        assert.matches('code=1001 reason="Discord WebSocket', log)
      end)
    end)
  end

  it("during the TLS handshake is tried again", function()
    local t = trial.start { fake = { tls = true } }
    finally(trial.stop)
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      t.fake:fault { at = "accept", ["do"] = "fin" }
      t.fake:fault { at = "accept", ["do"] = "rst" }
      t.fake:fault { at = "accept", ["do"] = "hang" }
      t.fake:fault { ["do"] = "rst" }
    end)
    local _, failures = log:gsub("connecting failed", "")
    assert.equal(3, failures)
  end)
end)

