-- What a service starts with changes nothing on an event's way to the bot.

local test = require "tidegate.test"

describe("gateway.lua", function()
  it("asks for guilds and their messages", function()
    local kit = test.load "examples/scripts/gateway.lua"
    assert.equal(2 ^ 0 + 2 ^ 9, kit.config.intents)
  end)

  it("lets events pass as they come", function()
    local kit = test.load "examples/scripts/gateway.lua"
    assert.equal("passed", kit:event("MESSAGE_CREATE", { author = { bot = true } }).outcome)
    assert.equal("passed", kit:event("TYPING_START", { channel_id = "1", user_id = "2" }).outcome)
  end)
end)
