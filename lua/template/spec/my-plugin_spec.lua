local test = require "tidegate.test"

local QUIET, LOUD = "1001", "1002"

describe("my-plugin", function()
  it("keeps messages of its channels away from the bot", function()
    local kit = test.plugin("my-plugin", { channels = { QUIET } })
    assert.equal("dropped", kit:event("MESSAGE_CREATE", { channel_id = QUIET }).outcome)
    assert.equal("passed", kit:event("MESSAGE_CREATE", { channel_id = LOUD }).outcome)
  end)

  it("lets all messages pass as it comes", function()
    local kit = test.plugin "my-plugin"
    assert.equal("passed", kit:event("MESSAGE_CREATE", { channel_id = QUIET }).outcome)
  end)

  it("refuses what is no id of a channel", function()
    assert.error_matches(function()
      test.plugin("my-plugin", { channels = { "general" } })
    end, "channels%[1%]")
  end)
end)
