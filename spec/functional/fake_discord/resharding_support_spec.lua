-- The tools for specs of resharding: what they say of a load over which nothing happens, and what they find.

local cjson = require "cjson"
local http = require "spec.support.http"
local resharding = require "spec.support.resharding"

local t

setup(function()
  t = resharding.start { shards = 2, per_worker = 1, workers = 2, rate = 200, repeat_rate = 100 }
end)
teardown(resharding.stop)

describe("the verdict", function()
  it("is good when each event came once, and each interaction was answered", function()
    t:interact(5)
    t:await_events(100)
    local report = t:assert_verdict { name = "no resharding", identifies = { [2] = 2 } }
    assert.is_true(report.numbered > 30 and report.repeats > 10)
    assert.is_true(report.longest_pause.ms > 0)
  end)

  it("names what is wrong", function()
    local function fails(text, options)
      assert.error_matches(function() t:assert_verdict(options) end, text)
    end
    fails("identifies by total", { name = "other identifies", identifies = { [2] = 2, [4] = 4 } })
    fails("paused for longer", { name = "a pause", pause = 0 })
    local events = t.bot.events
    local function without(which)
      t.bot.events = {}
      for _, event in ipairs(events) do
        if event ~= which then
          table.insert(t.bot.events, event)
        end
      end
    end
    local message = t.bot:select("MESSAGE_CREATE")[3]
    events[#events + 1] = setmetatable({ key = "1.2.3" }, { __index = message })
    fails("1 doubled with other key", { name = "doubled" })
    events[#events] = nil
    for name, text in pairs { MESSAGE_CREATE = "in vain", TYPING_START = "equal are missing" } do
      without(t.bot:select(name)[3])
      fails(text, { name = "lost", timeout = 200 })
      t.bot.events = events
    end
  end)
end)

describe("GET /reshard", function()
  local server, answers

  -- Says one after the other, and the last for ever; false: the manager is away.
  local function say(...)
    answers = { ... }
  end

  setup(function()
    server = http.serve(function(request)
      local answer = #answers > 1 and table.remove(answers, 1) or answers[1]
      if not answer then
        request:reset()
        return nil
      end
      return 200, {}, cjson.encode(answer)
    end)
    rawset(t, "gateway", { control_url = function() return server.url end, stderr = "" })
  end)
  teardown(function()
    rawset(t, "gateway", nil)
    server:close()
  end)

  local function running(phase, by_state)
    return { running = { phase = phase, byState = by_state or {} }, last = cjson.null, planned = cjson.null }
  end

  local function over(result)
    return { running = cjson.null, planned = cjson.null, last = { result = result, identifies = 8 } }
  end

  it("is asked until a phase has come, or one behind it, also while the manager is away", function()
    say(running "preparing", false, running "identifying", running "switching")
    assert.equal("switching", t:await_phase("matching").phase)
    say(running "matching", over "done")
    assert.equal("done", t:await_phase("closing").result)
    say(over "failed")
    assert.error_matches(function() t:await_phase "matching" end, "over before the phase matching")
    say(running "preparing")
    assert.error_matches(function() t:await_phase("matching", 50) end, "in vain for the phase matching")
  end)

  it("is asked until so many classes are in a state, and until the end", function()
    local both = { ready = 2, overlap = 2 }
    say(running "matching", running("matching", { ready = 1 }), running("matching", both))
    assert.equal(2, t:await_classes("ready", 2).byState.overlap)
    say(running "closing", over "done")
    assert.equal(8, t:await_over().identifies)
    say(over "aborted")
    assert.equal("aborted", t:await_over("aborted").result)
    assert.error_matches(function() t:await_over() end, "it ended otherwise")
  end)
end)
