local test = require "tidegate.test"

describe("sample", function()
  -- How many of n events pass.
  local function passed(kit, n, guild, name)
    local count = 0
    for i = 1, n do
      local data = { guild_id = guild, user_id = tostring(i), channel_id = "1", timestamp = i }
      if kit:event(name or "TYPING_START", data).outcome == "passed" then count = count + 1 end
    end
    return count
  end

  local function with(...) return test.plugin("sample", { rates = { ... } }) end

  it("lets so many events a second pass", function()
    local kit = with { events = { "TYPING_START" }, per_second = 5 }
    assert.equal(5, passed(kit, 20, "1"))
    assert.equal(0, passed(kit, 20, "2"))
    kit:advance(400)
    assert.equal(2, passed(kit, 20, "3"))
    kit:advance(60000)
    assert.equal(5, passed(kit, 20, "1"))
    assert.equal(20, passed(kit, 20, "1", "MESSAGE_DELETE"))
  end)

  it("counts each type and each guild by itself", function()
    local kit = with { events = { "TYPING_START", "MESSAGE_DELETE" }, per_second = 2, per = "guild" }
    for _, guild in ipairs { "1", "2" } do
      assert.equal(2, passed(kit, 10, guild))
      assert.equal(2, passed(kit, 10, guild, "MESSAGE_DELETE"))
    end
  end)

  it("lets a burst pass, and rates below one a second be", function()
    local kit = with { events = { "TYPING_START" }, per_second = 0.01, burst = 3 }
    assert.equal(3, passed(kit, 10, "1"))
    for _ = 1, 3 do
      kit:advance(99000)
      assert.equal(0, passed(kit, 1, "1"))
      kit:advance(1000)
      assert.equal(1, passed(kit, 10, "1"))
    end
  end)

  it("forgets guilds that are quiet without giving them more than their rate", function()
    local kit = with { events = { "TYPING_START" }, per_second = 0.004, per = "guild" } -- one in 250 s
    assert.equal(1, passed(kit, 2, "1"))
    for i = 1, 3 do
      kit:advance(61000)
      assert.equal(i == 1 and 1 or 0, passed(kit, 2, "2"))
    end
    assert.equal(0, passed(kit, 2, "1"))
    kit:advance(1000000)
    assert.equal(1, passed(kit, 2, "1"))
  end)

  it("lets a fraction pass", function()
    assert.equal(0, passed(with { events = { "TYPING_START" }, fraction = 0 }, 50, "1"))
    assert.equal(50, passed(with { events = { "TYPING_START" }, fraction = 1 }, 50, "1"))
    local some = passed(with { events = { "TYPING_START" }, fraction = 0.25 }, 2000, "1")
    assert.is_true(some > 350 and some < 650, some .. " of 2000") -- more than seven deviations around 500
  end)

  it("asks the first rule that names the guild", function()
    local kit = with({ events = { "TYPING_START" }, guilds = { "1" }, fraction = 1 },
      { events = { "TYPING_START" }, guilds = { "2" }, per_second = 3 },
      { events = { "TYPING_START" }, fraction = 0 })
    assert.equal(10, passed(kit, 10, "1"))
    assert.equal(3, passed(kit, 10, "2"))
    assert.equal(0, passed(kit, 10, "3"))
    assert.equal(0, passed(kit, 10, nil))
  end)

  it("leaves guilds alone that no rule names", function()
    local kit = with { events = { "TYPING_START" }, guilds = { "1" }, fraction = 0 }
    assert.equal(10, passed(kit, 10, "2"))
    assert.equal(10, passed(kit, 10, nil))
  end)

  it("refuses rules that say too little or too much", function()
    local function refusal(rate)
      local ok, problem = pcall(with, { events = { "TYPING_START" }, fraction = 1 }, rate)
      assert.is_false(ok)
      return tostring(problem)
    end
    assert.matches("plugins.sample.rates[2]: needs per_second or fraction",
      refusal { events = { "READY" } }, 1, true)
    assert.matches("rates[2]: needs per_second or fraction, and not both",
      refusal { events = { "READY" }, fraction = 1, per_second = 1 }, 1, true)
    assert.matches("rates[2]: burst belongs",
      refusal { events = { "READY" }, fraction = 1, burst = 1 }, 1, true)
    assert.matches("rates[2].fraction: expected 0 to 1, got 2",
      refusal { events = { "READY" }, fraction = 2 }, 1, true)
    assert.matches("rates[2].events: is required", refusal { fraction = 1 }, 1, true)
  end)
end)
