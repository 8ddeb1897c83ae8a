-- A spec says what a script shall do, and checks that it does:
--
--   tidegate test examples/scripts/spec
--
-- The test kit loads the script as the gateway would, but without network.

local test = require "tidegate.test"

describe("first.lua", function()
  local kit

  before_each(function()
    kit = test.load "examples/scripts/first.lua"
  end)

  it("drops what the bot has no use for", function()
    local result = kit:event("TYPING_START", { channel_id = "1", user_id = "2" })
    assert.equal("dropped", result.outcome)
  end)

  it("drops what other bots write", function()
    assert.equal("dropped", kit:event("MESSAGE_CREATE", { author = { bot = true } }).outcome)
    assert.equal("passed", kit:event("MESSAGE_CREATE", { author = { id = "2" } }).outcome)
  end)

  it("says so in the log when the bot is added to a server", function()
    kit:event("READY", { guilds = { { id = "1", unavailable = true } } })
    kit:event("GUILD_CREATE", { id = "1", name = "an old one" }) -- known from READY: it only loads
    kit:event("GUILD_CREATE", { id = "2", name = "a new one" })
    local lines = kit:log "has been added"
    assert.equal(1, #lines)
    assert.equal("shard 0: the bot has been added to a new one", lines[1].text)
  end)

  it("logs why a connection was closed, and leaves the decision to the gateway", function()
    assert.equal("resume", kit:shard(0):handle_close(4000, "unknown error"))
    assert.equal("stop", kit:shard(0):handle_close(4004, "authentication failed"))
    assert.equal(1, #kit:log "closed with code 4000 (unknown error)")
  end)
end)
