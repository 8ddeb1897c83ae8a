-- allow-guilds lets the events of listed guilds reach the bot, and drops those of all others. The list is in
-- the configuration, in a file that is read again when it changes, or in both.

local handler = { VERSION = "1.0.0", PRIORITY = 900, API = 1 }

-- What Discord documents, but for what a bot cannot start without (READY, RESUMED) and what is about the
-- connection (RATE_LIMITED).
local EVENTS = {
  "APPLICATION_COMMAND_PERMISSIONS_UPDATE", "AUTO_MODERATION_ACTION_EXECUTION", "AUTO_MODERATION_RULE_CREATE",
  "AUTO_MODERATION_RULE_DELETE", "AUTO_MODERATION_RULE_UPDATE", "CHANNEL_CREATE", "CHANNEL_DELETE",
  "CHANNEL_INFO", "CHANNEL_PINS_UPDATE", "CHANNEL_UPDATE", "ENTITLEMENT_CREATE", "ENTITLEMENT_DELETE",
  "ENTITLEMENT_UPDATE", "GUILD_AUDIT_LOG_ENTRY_CREATE", "GUILD_BAN_ADD", "GUILD_BAN_REMOVE", "GUILD_CREATE",
  "GUILD_DELETE", "GUILD_EMOJIS_UPDATE", "GUILD_INTEGRATIONS_UPDATE", "GUILD_MEMBERS_CHUNK",
  "GUILD_MEMBER_ADD", "GUILD_MEMBER_REMOVE", "GUILD_MEMBER_UPDATE", "GUILD_ROLE_CREATE", "GUILD_ROLE_DELETE",
  "GUILD_ROLE_UPDATE", "GUILD_SCHEDULED_EVENT_CREATE", "GUILD_SCHEDULED_EVENT_DELETE",
  "GUILD_SCHEDULED_EVENT_UPDATE", "GUILD_SCHEDULED_EVENT_USER_ADD", "GUILD_SCHEDULED_EVENT_USER_REMOVE",
  "GUILD_SOUNDBOARD_SOUNDS_UPDATE", "GUILD_SOUNDBOARD_SOUND_CREATE", "GUILD_SOUNDBOARD_SOUND_DELETE",
  "GUILD_SOUNDBOARD_SOUND_UPDATE", "GUILD_STICKERS_UPDATE", "GUILD_UPDATE", "INTEGRATION_CREATE",
  "INTEGRATION_DELETE", "INTEGRATION_UPDATE", "INTERACTION_CREATE", "INVITE_CREATE", "INVITE_DELETE",
  "MESSAGE_CREATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "MESSAGE_POLL_VOTE_ADD",
  "MESSAGE_POLL_VOTE_REMOVE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE",
  "MESSAGE_REACTION_REMOVE_ALL", "MESSAGE_REACTION_REMOVE_EMOJI", "MESSAGE_UPDATE", "PRESENCE_UPDATE",
  "SOUNDBOARD_SOUNDS", "STAGE_INSTANCE_CREATE", "STAGE_INSTANCE_DELETE", "STAGE_INSTANCE_UPDATE",
  "SUBSCRIPTION_CREATE", "SUBSCRIPTION_DELETE", "SUBSCRIPTION_UPDATE", "THREAD_CREATE", "THREAD_DELETE",
  "THREAD_LIST_SYNC", "THREAD_MEMBERS_UPDATE", "THREAD_MEMBER_UPDATE", "THREAD_UPDATE", "TYPING_START",
  "USER_UPDATE", "VOICE_CHANNEL_EFFECT_SEND", "VOICE_CHANNEL_START_TIME_UPDATE",
  "VOICE_CHANNEL_STATUS_UPDATE", "VOICE_SERVER_UPDATE", "VOICE_STATE_UPDATE", "WEBHOOKS_UPDATE",
}

local LINES_AT_A_TIME = 2000 -- so that a long list does not hold up events

local function every_guild()
  return setmetatable({}, { __index = function() return true end })
end

local function read(path)
  local file, problem = io.open(path, "r")
  if not file then return nil, problem end
  local text = file:read "*a"
  file:close()
  if not text then return nil, path .. ": it is no file that can be read" end
  return text
end

-- The ids in a text: a set, and how many they are; or nil and what is wrong. A text that is whole ends with
-- the end of a line, and names at least one guild. `pause` is called now and then, and may wait.
local function parse(text, pause)
  if text == "" then return nil, "it is empty" end
  if text:sub(-1) ~= "\n" then return nil, "its last line is not complete" end
  local ids, count, number = {}, 0, 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    for id in line:gsub("#.*", ""):gmatch "[^%s,]+" do
      if not id:find "^%d+$" then return nil, ("line %d: '%s' is no id of a guild"):format(number, id) end
      if not ids[id] then count = count + 1 end
      ids[id] = true
    end
    if number % LINES_AT_A_TIME == 0 then pause() end
  end
  if count == 0 then return nil, "it names no guild" end
  return ids, count
end

local function add_all(ids, list)
  for _, id in ipairs(list) do ids[id] = true end
  return ids
end

-- The list as the plugin loads: of the file, or the last good one before a reload. Nothing may wait here.
function handler:first_list(config)
  local function pause() end
  local text, problem = read(config.file)
  local ids, count
  if text then ids, count = parse(text, pause) end
  if ids then
    self.state.file, self.state.text = config.file, text
    return ids
  end
  self.trouble = problem or config.file .. ": " .. count
  if self.state.file == config.file then
    self.log.warn("%s; the last good list is kept", self.trouble)
    return (parse(self.state.text, pause))
  end
  -- A gateway does not start like this. A worker in the place of one that has ended, however, has to.
  if self.role == "manager" then error(self.trouble, 0) end
  self.log.error("%s; events of all guilds pass until there is a list", self.trouble)
  return every_guild()
end

-- Tells a trouble once.
function handler:complain(problem)
  if problem ~= self.trouble then self.log.warn("%s; the last good list is kept", problem) end
  self.trouble = problem
end

-- Looks at the file; returns a new list when there is one.
function handler:look(config)
  local text, problem = read(config.file)
  local before = self.seen
  self.seen = text
  if not text then return self:complain(problem) end
  if text ~= before then return end -- it may still be in the writing
  if text == self.refused or text == self.state.text and not self.trouble then return end
  local ids, count = parse(text, function() self:sleep(0) end)
  if not ids then
    self.refused = text
    return self:complain(config.file .. ": " .. count)
  end
  self.refused, self.trouble = nil, nil
  self.state.file, self.state.text = config.file, text
  self.log.info("%d guilds are in %s", count, config.file)
  return ids
end

function handler:load(config)
  if not config.file and #config.guilds == 0 then
    error(("plugins.%s: neither `guilds` nor `file` names a guild: nothing would pass"):format(self.name), 0)
  end
  local allowed = add_all(config.file and self:first_list(config) or {}, config.guilds)
  local drops_others = config.without_guild == "drop"

  self:filter(#config.events > 0 and config.events or EVENTS, function(event)
    local guild = event.guild_id
    if guild then
      if not allowed[guild] then return false end
    elseif drops_others then
      return false
    end
  end)

  if config.file and self.role == "worker" then
    self:every(config.interval, function()
      local ids = self:look(config)
      if ids then allowed = add_all(ids, config.guilds) end
    end)
  end
end

return handler
