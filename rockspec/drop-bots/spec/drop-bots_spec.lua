local test = require "tidegate.test"

local BOT, WEBHOOK, APPLICATION = { id = "50", bot = true }, "60", "70"

describe("drop-bots", function()
  local function outcome(kit, name, fields)
    local data = { id = "1", channel_id = "10", author = { id = "2" }, content = "hello" }
    for key, value in pairs(fields) do data[key] = value end
    return kit:event(name, data).outcome
  end

  it("drops messages of bots, and lets those of people pass", function()
    local kit = test.plugin "drop-bots"
    for _, name in ipairs { "MESSAGE_CREATE", "MESSAGE_UPDATE" } do
      assert.equal("dropped", outcome(kit, name, { id = name, author = BOT }))
      assert.equal("passed", outcome(kit, name, { id = name .. "2" }))
      assert.equal("passed", outcome(kit, name, { id = name .. "3", author = { id = "2", bot = false } }))
    end
  end)

  it("is not misled by bots that a message mentions, or by its text", function()
    local kit = test.plugin "drop-bots"
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { mentions = { BOT }, content = '"bot":true' }))
  end)

  it("lets updates pass that do not say who has written the message", function()
    local kit = test.plugin "drop-bots"
    assert.equal("passed", kit:event("MESSAGE_UPDATE", { id = "1", channel_id = "10",
      mentions = { BOT } }).outcome)
  end)

  it("lets webhooks pass, unless it is to drop them, too", function()
    local hook = { webhook_id = WEBHOOK, author = { id = WEBHOOK, bot = true } }
    assert.equal("passed", outcome(test.plugin "drop-bots", "MESSAGE_CREATE", hook))
    local kit = test.plugin("drop-bots", { webhooks = true })
    assert.equal("dropped", outcome(kit, "MESSAGE_CREATE", hook))
    kit = test.plugin("drop-bots", { webhooks = true, except_bots = { WEBHOOK } })
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", hook))
  end)

  it("knows answers to interactions for what they are: of bots", function()
    local kit = test.plugin "drop-bots"
    assert.equal("dropped", outcome(kit, "MESSAGE_CREATE", { webhook_id = APPLICATION,
      application_id = APPLICATION, author = { id = APPLICATION } }))
  end)

  it("takes null for a field that is not there", function()
    local kit = test.plugin "drop-bots"
    assert.equal("dropped", outcome(kit, "MESSAGE_CREATE", { webhook_id = test.null, author = BOT }))
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { webhook_id = WEBHOOK, author = BOT,
      application_id = test.null }))
  end)

  it("makes exceptions by channel and by bot", function()
    local kit = test.plugin("drop-bots", { except_channels = { "11" }, except_bots = { "51" } })
    assert.equal("dropped", outcome(kit, "MESSAGE_CREATE", { author = BOT }))
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { author = BOT, channel_id = "11" }))
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { author = { id = "51", bot = true } }))
  end)

  it("is about some channels alone, if they are named", function()
    local kit = test.plugin("drop-bots", { channels = { "11" } })
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { author = BOT }))
    assert.equal("dropped", outcome(kit, "MESSAGE_CREATE", { author = BOT, channel_id = "11" }))
  end)

  it("drops reactions and typing of bots when asked to", function()
    local kit = test.plugin("drop-bots", { events = { "MESSAGE_REACTION_ADD", "TYPING_START" } })
    for _, name in ipairs { "MESSAGE_REACTION_ADD", "TYPING_START" } do
      assert.equal("dropped", outcome(kit, name, { member = { user = BOT } }))
      assert.equal("passed", outcome(kit, name, { member = { user = { id = "2" } } }))
      assert.equal("passed", outcome(kit, name, { user_id = "50" }))
    end
    assert.equal("passed", outcome(kit, "MESSAGE_CREATE", { author = BOT }))
  end)

  it("refuses what is no id, and events that say nothing about bots", function()
    local ok, problem = pcall(test.plugin, "drop-bots", { channels = { "11", "general" },
      events = { "PRESENCE_UPDATE" } })
    assert.is_false(ok)
    assert.matches("plugins.drop-bots.channels[2]: ", tostring(problem), 1, true)
    assert.matches("plugins.drop-bots.events[1]: ", tostring(problem), 1, true)
  end)
end)
