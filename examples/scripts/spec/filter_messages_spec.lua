local test = require "tidegate.test"

describe("filter_messages.lua", function()
  local kit

  before_each(function()
    kit = test.load("examples/scripts/filter_messages.lua", { env = { BLOCKED_GUILDS = "100,200" } })
  end)

  local function outcome(name, fields)
    local data = { id = "1", guild_id = "300", author = { id = "2" }, content = "", mentions = {} }
    for field, value in pairs(fields) do
      data[field] = value
    end
    return kit:event(name, data).outcome
  end

  it("lets commands pass, and what mentions somebody", function()
    assert.equal("passed", outcome("MESSAGE_CREATE", { content = "!help" }))
    assert.equal("passed", outcome("MESSAGE_CREATE", { content = "hello you", mentions = { { id = "9" } } }))
    assert.equal("dropped", outcome("MESSAGE_CREATE", { content = "hello" }))
  end)

  it("drops what bots write", function()
    assert.equal("dropped", outcome("MESSAGE_CREATE", { content = "!help", author = { bot = true } }))
  end)

  it("drops messages of blocked guilds", function()
    for _, name in ipairs { "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE" } do
      assert.equal("dropped", outcome(name, { content = "!help", guild_id = "200", id = name }))
      assert.equal("passed", outcome(name, { content = "!help", guild_id = "300", id = name .. "2" }))
    end
  end)

  it("keeps the rules that never change in C", function()
    local constant = kit:describe().filters[1]
    assert.is_true(constant.compiled)
    assert.same({ "CHANNEL_PINS_UPDATE", "PRESENCE_UPDATE", "TYPING_START" }, constant.events)
  end)
end)
