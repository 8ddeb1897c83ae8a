-- The tools for specs of resharding: what they say of a load over which nothing happens, and what they find.

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
