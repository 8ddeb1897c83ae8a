-- What an audio server needs to speak for the bot comes in two events: VOICE_STATE_UPDATE of the bot's own
-- user has the session, VOICE_SERVER_UPDATE the server and a token. This joins them, guild by guild, into one
-- message, in which `voice` is as Lavalink takes it:
--
--   {"guildId":"1","userId":"2","shardId":0,
--    "voice":{"token":"..","endpoint":"..","sessionId":"..","channelId":"3"}}
--
-- "voice" is null when the bot has left. A new session of a shard (after an identify, not after a resume)
-- ends its voice connections: the bot then goes back to where it was.

local gateway = require "tidegate"

local Voice = { VERSION = "1.0.0", PRIORITY = 100, API = 1 }

local EARLY = 1000 -- states of anybody that are kept while it is not known who the bot is
local FIRST_ASK, LAST_ASK = 1000, 60000 -- ms between two questions who the bot is
local FIRST_PAUSE, LONGEST_PAUSE = 250, 5000 -- ms between two tries

local null = gateway.json.null

local function plain(value)
  if value ~= null then return value end
end

-- ---- messages ----

local function message_of(self, guild_id, guild)
  local voice = null
  if guild.channel_id then
    voice = { token = guild.token, endpoint = guild.endpoint, sessionId = guild.session_id,
              channelId = guild.channel_id }
  end
  return { guildId = guild_id, userId = self.state.user_id, shardId = guild.shard_id, voice = voice }
end

-- True: it is taken, or never will be.
local function is_done(self, response, message)
  if not response or response.status >= 500 or response.status == 429 or response.status == 408 then
    return false
  elseif response.status > 299 then
    self.lost:add()
    self.log.error("guild %s: the message was not taken: answered %d", message.guildId, response.status)
  end
  return true
end

-- Until it is taken, or too old. Of a guild only the newest message counts: it has all of them in it.
local function post(self, guild_id)
  local message = self.outbox[guild_id]
  local deadline, pause = gateway.now() + self.config.give_up, FIRST_PAUSE
  while self.outbox[guild_id] == message do
    local response, err = self.http.post(self.config.url, { json = message, headers = self.config.headers })
    if err and err.code == "cancelled" then return end
    if is_done(self, response, message) then break end
    if gateway.now() >= deadline then
      self.lost:add()
      self.log.error("guild %s: the message was not taken: %s", guild_id,
        response and "answered " .. response.status or err.code)
      break
    end
    if not self:sleep(response and response.retry_after or pause) then return end
    pause = math.min(2 * pause, LONGEST_PAUSE)
  end
  if self.outbox[guild_id] == message then self.outbox[guild_id] = nil end
end

local function send(self, guild_id, message)
  if not self.config.url then return end
  self.outbox[guild_id] = message
  if self.senders[guild_id] then return end
  self.senders[guild_id] = true
  self:spawn(function()
    while self.outbox[guild_id] do
      local ok, problem = pcall(post, self, guild_id)
      if not ok then
        self.outbox[guild_id] = nil
        self.log.error("guild %s: %s", guild_id, problem)
      end
    end
    self.senders[guild_id] = nil
  end)
end

-- ---- the two halves ----

local function guild_of(self, guild_id, shard_id)
  local guild = self.state.guilds[guild_id] or {}
  self.state.guilds[guild_id] = guild
  guild.shard_id = shard_id
  return guild
end

-- The message, if both halves are there and something of it is new.
local function complete(self, guild_id, guild)
  if not (guild.channel_id and guild.session_id and guild.token and guild.endpoint) then return nil end
  local told = table.concat({ guild.channel_id, guild.session_id, guild.token, guild.endpoint }, "\n")
  if guild.told == told then return nil end
  guild.told = told
  local message = message_of(self, guild_id, guild)
  send(self, guild_id, message)
  return message
end

local function leave(self, guild_id, guild)
  self.state.guilds[guild_id] = nil
  if guild.told then
    guild.channel_id = nil
    send(self, guild_id, message_of(self, guild_id, guild))
  end
end

-- The bot's own state: {guild_id, channel_id, session_id, self_mute, self_deaf}.
local function take_state(self, state, shard_id)
  local guild = guild_of(self, state.guild_id, shard_id)
  local channel_id, session_id = plain(state.channel_id), plain(state.session_id)
  if not channel_id then
    if guild.lost and session_id == guild.lost then return nil end -- the end of the session before this one
    return leave(self, state.guild_id, guild)
  end
  guild.channel_id, guild.session_id, guild.rejoin = channel_id, session_id, nil
  guild.self_mute, guild.self_deaf = state.self_mute == true, state.self_deaf == true
  return complete(self, state.guild_id, guild)
end

local function take_server(self, server, shard_id)
  local guild = guild_of(self, server.guild_id, shard_id)
  -- Without an endpoint the server is gone, and another one will be told.
  guild.token, guild.endpoint = plain(server.token), plain(server.endpoint)
  return complete(self, server.guild_id, guild)
end

-- ---- who the bot is ----

local function learn(self, user_id)
  if self.state.user_id then return end
  self.state.user_id = user_id
  local early = self.early
  self.early = {}
  for _, kept in ipairs(early) do
    if kept.state.user_id == user_id then take_state(self, kept.state, kept.shard_id) end
  end
end

-- READY says it, too, but a shard that resumes gets none.
local function ask_who_it_is(self)
  local pause = FIRST_ASK
  while not self.state.user_id do
    local user, err = self.rest.get "/users/@me"
    if type(user) == "table" and type(user.id) == "string" then return learn(self, user.id) end
    if err and err.code == "cancelled" then return end
    if pause == FIRST_ASK then self.log.warn("Discord does not say who the bot is, yet: %s", err) end
    if not self:sleep(pause) then return end
    pause = math.min(2 * pause, LAST_ASK)
  end
end

local function on_state(self, event)
  local user_id = self.state.user_id
  -- Most are of other people: those are not decoded.
  if not event.guild_id or user_id and not event.raw:find(user_id, 1, true) then return nil end
  local state = event.data
  if not user_id then
    if #self.early < EARLY then
      self.early[#self.early + 1] = { state = state, shard_id = event.shard_id }
    end
    return nil
  end
  return state.user_id == user_id and take_state(self, state, event.shard_id) or nil
end

-- ---- new sessions ----

-- All voice connections of the shard have ended with its last session.
local function on_ready(self, event)
  if not self.state.user_id then learn(self, event.data.user.id) end
  for guild_id, guild in pairs(self.state.guilds) do
    if guild.shard_id == event.shard_id then
      guild.lost, guild.rejoin = guild.session_id, guild.channel_id ~= nil and self.config.rejoin
      guild.session_id, guild.token, guild.endpoint = nil, nil, nil
      if not guild.rejoin then leave(self, guild_id, guild) end
    end
  end
end

local function rejoin(self, guild_id)
  local guild = self.state.guilds[guild_id]
  if not guild or not guild.rejoin then return end
  guild.rejoin = nil
  local ok, err = gateway.manager:join_voice_channel(guild_id, guild.channel_id, {
    self_mute = guild.self_mute, self_deaf = guild.self_deaf,
  })
  if ok then
    self.log.info("guild %s: joins its voice channel again, after a new session", guild_id)
  elseif err.code ~= "cancelled" then
    self.log.warn("guild %s: it could not join its voice channel again: %s", guild_id, err)
  end
end

-- Guilds that have not come until now may still take the command.
local function rejoin_rest(self, shard_id)
  local waiting = {}
  for guild_id, guild in pairs(self.state.guilds) do
    if guild.rejoin and guild.shard_id == shard_id then waiting[#waiting + 1] = guild_id end
  end
  for _, guild_id in ipairs(waiting) do rejoin(self, guild_id) end
end

-- ---- registration ----

-- As an event for the bot: what came, with all of it in `voice`.
local function with_voice(self, event, message)
  if not message or not self.config.event then return nil end
  local data = event.data
  data.voice = message.voice
  return data
end

function Voice:load(config)
  if not config.url and not config.event then
    error(("plugins.%s: give `url`, or `event = true`: as it is, nobody would be told"):format(self.name), 0)
  end
  if self.role ~= "worker" then return end
  self.state.guilds = self.state.guilds or {}
  self.early, self.outbox, self.senders = {}, {}, {}
  self.lost = self.metrics.counter("voice_lost", { help = "Messages that nobody has taken." })
  self:filter("VOICE_STATE_UPDATE", function(event)
    return with_voice(self, event, on_state(self, event))
  end)
  self:filter("VOICE_SERVER_UPDATE", function(event)
    return with_voice(self, event, take_server(self, event.data, event.shard_id))
  end)
  self:filter("READY", function(event) on_ready(self, event) end)
  self:filter("GUILD_DELETE", function(event)
    local guild = self.state.guilds[event.id or ""]
    if guild and not event.data.unavailable then leave(self, event.id, guild) end
  end)
  if config.rejoin then
    self:on("GUILD_CREATE", function(event) rejoin(self, event.id) end)
    self:on("guilds_loaded", function(_, details) rejoin_rest(self, details.shard_id) end)
  end
  self:on("load", function() ask_who_it_is(self) end)
end

return Voice
