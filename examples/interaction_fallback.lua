-- While the bot is down, people who use its commands and buttons get an answer from the gateway.
--
--   MAINTENANCE_TEXT="Back in a minute." tidegate run examples/interaction_fallback.lua
--
-- Discord shows "The application did not respond" unless an interaction is answered within 3 seconds, and
-- a bot that restarts may need longer. What is answered here does not reach the bot later: the person has
-- been told to try again.

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds" },
}

-- Kinds of interactions, and of answers, as Discord numbers them.
local AUTOCOMPLETE = 4
local MESSAGE, CHOICES = 4, 8
local ONLY_FOR_YOU = 64 -- the flag of a message that nobody else sees

local text = os.getenv "MAINTENANCE_TEXT" or "I am being restarted. Please try again in a minute."

-- Which event handlers are down, by URL. In gateway.state it outlives a reload of this script.
local state = gateway.state
state.down = state.down or {}

gateway.on("handler_down", function(_, details)
  state.down[details.url] = true
end)

gateway.on("handler_up", function(_, details)
  state.down[details.url] = nil
end)

-- While somebody types, only a list of choices is allowed: an empty one.
local function answer_for(kind)
  if kind == AUTOCOMPLETE then
    return { type = CHOICES, data = { choices = gateway.json.array {} } }
  end
  return { type = MESSAGE, data = { content = text, flags = ONLY_FOR_YOU } }
end

local function respond(id, token, kind)
  local path = ("/interactions/%s/%s/callback"):format(id, token)
  local ok, err = gateway.rest.post(path, { json = answer_for(kind), timeout = 2500 })
  if not ok then
    gateway.log.warn("interaction %s was not answered: %s", id, err)
  end
end

-- A filter may not wait, so the answer goes its own way (gateway.spawn).
gateway.filter("INTERACTION_CREATE", function(event)
  if next(state.down) == nil then
    return nil -- the bot is there, and answers by itself
  end
  local interaction = event.data
  gateway.spawn(respond, interaction.id, interaction.token, interaction.type)
  return false
end)
