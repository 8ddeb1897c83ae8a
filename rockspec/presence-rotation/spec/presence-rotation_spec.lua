local test = require "tidegate.test"

local METHOD = "manager:edit_bot_status"

local function load(config, guilds)
  local kit = test.plugin("presence-rotation", config, { role = "manager" })
  kit:answer(METHOD, true)
  kit:answer("manager:get_shard_info",
    { { shard_id = 0, state = "Connected" }, { shard_id = 1, state = "Offline" } })
  kit:answer_http("/applications/@me", { json = { id = "1", approximate_guild_count = guilds or 1234 } })
  return kit
end

local function names(kit)
  local list = {}
  for i, call in ipairs(kit:calls(METHOD)) do
    local activity = call.args[1].activities[1]
    list[i] = activity and activity.name or "nothing"
  end
  return list
end

describe("presence-rotation", function()
  it("goes through its list again and again", function()
    local kit = load { interval = 10000, presences = { { text = "a" }, { text = "b" }, { text = "c" } } }
    kit:advance(35000)
    assert.same({ "a", "b", "c", "a" }, names(kit))
  end)

  it("says what Discord wants to know", function()
    local kit = load { interval = 5000, presences = {
      { text = "the stars", type = "watching", status = "idle" },
      { text = "in peace", type = "custom", status = "dnd" },
      { text = "live", type = "streaming", url = "https://twitch.tv/tide" },
    } }
    kit:advance(11000)
    local calls = kit:calls(METHOD)
    assert.equal("idle", calls[1].args[1].status)
    assert.same({ { name = "the stars", type = 3 } }, calls[1].args[1].activities)
    assert.same({ { name = "Custom Status", type = 4, state = "in peace" } }, calls[2].args[1].activities)
    assert.same({ { name = "live", type = 1, url = "https://twitch.tv/tide" } }, calls[3].args[1].activities)
  end)

  it("fills numbers in, and leaves other braces alone", function()
    local kit = load { presences = { { text = "{guilds} guilds, {online} of {shards} shards {here}" } } }
    kit:advance(10)
    assert.same({ "1234 guilds, 1 of 2 shards {here}" }, names(kit))
  end)

  it("passes over what has a number that is not known, and asks again", function()
    local kit = test.plugin("presence-rotation", { interval = 60000, refresh = 60000,
      presences = { { text = "{guilds}" }, { text = "here" } } }, { role = "manager" })
    kit:answer(METHOD, true)
    kit:answer_http("/applications/@me", { status = 500, json = { message = "broken" } })
    kit:advance(1000)
    assert.same({ "here" }, names(kit))
    assert.matches("the number of guilds is not known", kit:log("warn")[1].text)
    kit:answer_http("/applications/@me", { json = { approximate_guild_count = 5 } })
    kit:advance(200000)
    assert.equal("5", names(kit)[2])
  end)

  it("asks nobody for guilds when no text has them", function()
    local kit = load { presences = { { text = "a" }, { status = "invisible" } } }
    kit:advance(3600000)
    assert.same({}, kit:requests())
  end)

  it("does not show again what is shown", function()
    local kit = load { interval = 5000, presences = { { text = "a" } } }
    kit:advance(100000)
    assert.same({ "a" }, names(kit))
  end)

  it("stays within the interval through a reload, and goes on in its list", function()
    local kit = load { interval = 10000, presences = { { text = "a" }, { text = "b" } } }
    kit:advance(2000)
    kit:reload()
    kit:advance(7000)
    assert.same({ "a" }, names(kit))
    kit:advance(2000)
    assert.same({ "a", "b" }, names(kit))
  end)

  it("shows all by chance, none twice in a row", function()
    local kit = load { interval = 5000, order = "random",
                       presences = { { text = "a" }, { text = "b" }, { text = "c" } } }
    kit:advance(400000)
    local list, seen = names(kit), {}
    for i, name in ipairs(list) do
      seen[name] = true
      assert.not_equal(name, list[i + 1])
    end
    assert.is_true(#list > 70)
    assert.same({ a = true, b = true, c = true }, seen)
  end)

  it("goes on when the presence cannot be changed", function()
    local kit = load { interval = 5000, presences = { { text = "a" }, { text = "b" } } }
    kit:answer(METHOD, nil, { code = "timeout", message = "it was not sent in time" })
    kit:advance(6000)
    assert.equal(2, #names(kit))
    assert.matches("the presence was not changed: it was not sent in time", kit:log("warn")[1].text)
  end)

  it("does nothing in a worker", function()
    local kit = test.plugin("presence-rotation", { presences = { { text = "{guilds}" } } })
    kit:advance(100000)
    assert.same({}, kit:calls())
    assert.same({}, kit:requests())
  end)

  it("refuses a stream without its URL, and changes that Discord would not take", function()
    local function refused(config, why)
      local ok, problem = pcall(load, config)
      assert.is_false(ok)
      assert.matches(why, tostring(problem), 1, true)
    end
    refused({ presences = { { text = "x" }, { text = "live", type = "streaming" } } },
      "plugins.presence-rotation.presences[2].url: is required for `streaming`")
    refused({ interval = 1000, presences = { { text = "x" } } }, "plugins.presence-rotation.interval: ")
    refused({ presences = {} }, "plugins.presence-rotation.presences: ")
  end)
end)
