-- Several plugins, and the script, on one method.

local loop = require "spec.support.loop"
local plugins = require "spec.support.plugins"
local scene = require "spec.support.scene"

-- Asks, and says what it has got from the next one.
local function asks(name)
  return ([[self:override("delivery", "is_delivered", function(next, delivery, status)
    local answer = next(delivery, status)
    self.log.info("%s got %%s of %%d", tostring(answer), status)
    return answer
  end)]]):format(name)
end

local function start(list, text)
  return scene.start { reload = false, env = { TIDEGATE_ROCKS_TREES = plugins.tree(list) },
                       script = plugins.script(text) }
end

-- The words of these plugins' lines, in the order of the log.
local function order(s, pattern)
  local words = {}
  for word in s.gateway.stderr:gmatch(pattern) do words[#words + 1] = word end
  return table.concat(words, " ")
end

describe("overrides of plugins", function()
  after_each(scene.stop)

  it("stand by priority, then by name, and the script's own behind them", function()
    local s = start({
      b = { load = asks "b" }, a = { load = asks "a" }, first = { priority = 900, load = asks "first" },
    }, [[
      gateway.plugin "b"
      function gateway.delivery:is_delivered(status)
        gateway.log.info("script got %d", status)
        return gateway.default.delivery.is_delivered(self, status)
      end
      gateway.plugin "first"
      gateway.plugin "a"
    ]])
    s:type "1"
    s.gateway:wait_for_log "first got true of 2"
    assert.matches("^script b a first", order(s, "(%w+) got [^\n]*2%d%d"))
  end)

  it("that fail are left out of that call, and what they had of the next one counts", function()
    local s = start({
      early = { priority = 2, load = [[self:override("delivery", "is_delivered", function()
        error "early fault"
      end)]] },
      late = { priority = 1, load = [[self:override("delivery", "is_delivered", function(next, ...)
        next(...)
        error "late fault"
      end)]] },
    }, [[
      gateway.plugin "early"
      gateway.plugin "late"
      function gateway.delivery:is_delivered(status)
        gateway.log.info("script got %d", status)
        return true
      end
    ]])
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "is_delivered %(plugin early, handler.lua:%d+%) failed; the next in line is used"
    s.gateway:wait_for_log "is_delivered %(plugin late, handler.lua:%d+%) failed; the next in line is used"
    local answers = #s.bot.events
    assert.is_true(s.gateway:count_log "script got 200" <= answers, "something was asked twice")
  end)

  it("are not blamed for the script's own function behind them, which is asked once", function()
    local s = start({ a = { load = asks "a" }, b = { load = asks "b" } }, [[
      gateway.plugin "a"
      gateway.plugin "b"
      function gateway.delivery:is_delivered(status)
        gateway.log.info("script got %d", status)
        error "the script's fault"
      end
    ]])
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "is_delivered [^\n]*failed; the default is used\n[^\n]*the script's fault"
    assert.is_true(s.gateway:count_log "script got 200" <= #s.bot.events, "it was asked twice")
    assert.equal(0, s.gateway:count_log "the next in line is used")
  end)

  it("that fail again and again are switched off alone", function()
    local s = start({
      bad = { load = [[self:override("delivery", "is_delivered", function() error "bad" end)]] },
      good = { load = asks "good" },
    }, [[
      gateway.plugin "bad"
      gateway.plugin "good"
    ]])
    for i = 1, 12 do s:type(tostring(i)) end
    s.bot:wait_for_events(12, "TYPING_START")
    s.gateway:wait_for_log "%(plugin bad, handler.lua:%d+%) failed 10 times in a minute and is switched off"
    local before = s.gateway:count_log "good got true"
    s:type "13"
    s.bot:wait_for_events(13, "TYPING_START")
    loop.wait_for("the other one", function() return s.gateway:count_log "good got true" > before end)
  end)

  it("may wait where the method may", function()
    local s = start({ slow = { load = [[self:override("delivery", "deliver", function(next, ...)
      self:sleep(1)
      self.log.info "slept"
      return next(...)
    end)]] } }, [[gateway.plugin "slow"]])
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "slow: slept"
  end)

  it("are not run in circles by a script that keeps what was there before", function()
    local s = start({ a = { load = asks "a" } }, [[
      gateway.plugin "a"
      local before = gateway.delivery.is_delivered
      function gateway.delivery:is_delivered(status)
        gateway.log.info("script got %d", status)
        return before(self, status)
      end
    ]])
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "a got true of 2"
    assert.matches("^script a", order(s, "(%w+) got [^\n]*2%d%d"))
    assert.equal(0, s.gateway:count_log "failed")
  end)

  it("of a method that is none, or of no function, are refused", function()
    local code, _, problem = plugins.check({ odd = { load = [[
      self:override("delivery", "is_deliverd", function() end)
    ]] } }, [[gateway.plugin "odd"]])
    assert.equal(1, code)
    assert.matches("gateway.delivery has no method 'is_deliverd'; did you mean 'is_delivered'?", problem, 1,
      true)
  end)
end)
