-- drop-bots in front of a bot.

local plugins = require "spec.support.plugins"
local scene = require "spec.support.scene"

local PERSON, BOT = { id = "2" }, { id = "50", bot = true }

describe("drop-bots", function()
  after_each(scene.stop)

  -- Sends messages of these authors, each with a text of its own, and one of a person as the last; returns
  -- the texts that have come to the bot.
  local function texts_of(s, messages)
    messages[#messages + 1] = { author = PERSON, content = "the last" }
    for i, message in ipairs(messages) do
      local name = message.event or "MESSAGE_CREATE"
      message.id, message.channel_id, message.event = tostring(i), message.channel_id or "10", nil
      s.fake:emit { event = name, shard = 0, d = message }
    end
    s.bot:wait_for_events(1, function(event)
      return event.t == "MESSAGE_CREATE" and event:data().content == "the last"
    end)
    local texts = {}
    for _, event in ipairs(s.bot.events) do
      if event.t:find "^MESSAGE_" then texts[#texts + 1] = event:data().content end
    end
    return table.concat(texts, ", ")
  end

  it("keeps what bots write from the bot, with its exceptions", function()
    local s = scene.start { script = plugins.script [[
      gateway.plugin("drop-bots", { except_channels = { "11" }, except_bots = { "51" } })
    ]] }
    assert.equal("of a person, of a bot in its channel, of its bot, of a webhook, the last", texts_of(s, {
      { author = BOT, content = "of a bot" },
      { author = PERSON, content = "of a person" },
      { author = BOT, content = "changed by a bot", event = "MESSAGE_UPDATE" },
      { author = BOT, content = "of a bot in its channel", channel_id = "11" },
      { author = { id = "51", bot = true }, content = "of its bot" },
      { author = { id = "60", bot = true }, webhook_id = "60", content = "of a webhook" },
      { author = { id = "70", bot = true }, webhook_id = "70", application_id = "70",
        content = "of a command" },
    }))
  end)

  it("is there twice, with another configuration each", function()
    local s = scene.start { script = plugins.script [[
      gateway.plugin("drop-bots", { channels = { "11" } })
      gateway.plugin("drop-bots", { channels = { "12" }, webhooks = true }, { as = "drop-hooks" })
    ]] }
    local hook = { id = "60", bot = true }
    assert.equal("a, c, e, the last", texts_of(s, {
      { author = BOT, channel_id = "10", content = "a" },
      { author = BOT, channel_id = "11", content = "b" },
      { author = hook, webhook_id = "60", channel_id = "11", content = "c" },
      { author = hook, webhook_id = "60", channel_id = "12", content = "d" },
      { author = PERSON, channel_id = "12", content = "e" },
    }))
  end)
end)
