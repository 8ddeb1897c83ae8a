-- While the bot is down or too slow, people who use its commands and buttons get a text from the gateway.
--
--   MAINTENANCE_TEXT="Back in a minute." tidegate run examples/scripts/interaction_fallback.lua
--
-- Discord shows "The application did not respond" unless an interaction is answered within 3 seconds. Without
-- a script the gateway defers it: the person sees that the application is thinking, and the bot answers when
-- it is back. Here the person is told to try again instead, and the bot does not get the interaction later.

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds" },
}

-- Kinds of interactions, and of answers, as Discord numbers them.
local AUTOCOMPLETE = 4
local MESSAGE = 4
local ONLY_FOR_YOU = 64 -- the flag of a message that nobody else sees

local text = os.getenv "MAINTENANCE_TEXT" or "I am being restarted. Please try again in a minute."

function gateway.delivery:handle_interaction_queueing(event)
  local interaction = event.data
  if interaction.type == AUTOCOMPLETE then -- only a list is allowed here: that of the default is empty
    return gateway.default.delivery.handle_interaction_queueing(self, event)
  end
  local ok, err = gateway.rest.post({ "interactions", interaction.id, interaction.token, "callback" }, {
    json = { type = MESSAGE, data = { content = text, flags = ONLY_FOR_YOU } },
    timeout = 1000,
  })
  if not ok then
    return nil, err -- the log says so, and the default tries its luck
  end
  return false -- the bot need not get it any more
end
