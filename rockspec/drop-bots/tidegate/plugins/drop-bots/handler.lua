-- drop-bots keeps away from the bot what other bots do: messages above all, which most bots ignore anyway.

local find = string.find

local handler = { VERSION = "1.0.0", PRIORITY = 800, API = 1 }

local function set_of(list)
  local set = {}
  for _, id in ipairs(list) do set[id] = true end
  return set
end

-- JSON's null and a missing field say the same here.
local function id_or_nil(value) return type(value) == "string" and value or nil end

-- Who has written a message: an id, and whether it is "bot", "webhook", or neither (nil). What a bot answers
-- to an interaction goes through a webhook that is the bot itself.
local function author_of(message)
  local webhook = id_or_nil(message.webhook_id)
  if webhook and webhook ~= id_or_nil(message.application_id) then return webhook, "webhook" end
  local author = message.author
  if type(author) ~= "table" then return end -- an update that says only what has changed
  return author.id, (webhook or author.bot == true) and "bot" or nil
end

-- Who types, or reacts: Discord tells it of members only, not in direct messages.
local function member_of(data)
  local user = type(data.member) == "table" and data.member.user
  if type(user) ~= "table" then return end
  return user.id, user.bot == true and "bot" or nil
end

local actors = { MESSAGE_CREATE = author_of, MESSAGE_UPDATE = author_of, MESSAGE_REACTION_ADD = member_of,
                 TYPING_START = member_of }

function handler:load(config)
  local channels = #config.channels > 0 and set_of(config.channels) or nil
  local except_channels, except_bots = set_of(config.except_channels), set_of(config.except_bots)
  local dropped = { bot = true, webhook = config.webhooks }

  for _, name in ipairs(config.events) do
    local actor_of = actors[name]
    self:filter(name, function(event)
      -- People have no field "bot": most events need not be decoded to know it. Letters are rarer than quotes
      -- in JSON, so that a search for one gets along faster.
      local raw = event.raw
      if not find(raw, 'bot"', 1, true) and not find(raw, 'webhook_id"', 1, true) then return end
      local data = event.data
      local id, kind = actor_of(data)
      if not dropped[kind or "person"] or except_bots[id] or except_channels[data.channel_id]
        or channels and not channels[data.channel_id] then
        return
      end
      return false
    end)
  end
end

return handler
