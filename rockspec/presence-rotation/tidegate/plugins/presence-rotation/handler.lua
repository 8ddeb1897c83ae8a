-- Changes the bot's presence again and again, through a list. The manager does it, for all shards at once;
-- what was shown last is kept by the gateway, so that a shard that identifies anew shows it, too.

local gateway = require "tidegate"

local Rotation = { VERSION = "1.0.0", PRIORITY = 100, API = 1 }

local NAME_BYTES = 128 -- of an activity, as far as Discord takes it
local number_of = { playing = 0, streaming = 1, listening = 2, watching = 3, custom = 4, competing = 5 }

-- ---- placeholders ----

local function count_shards() return #gateway.manager:get_shard_info() end

local function count_online()
  local count = 0
  for _, shard in ipairs(gateway.manager:get_shard_info()) do
    if shard.state == "Connected" then count = count + 1 end
  end
  return count
end

local counts = {
  shards = count_shards,
  online = count_online,
  guilds = function(self) return self.state.guilds end, -- nil until Discord has told it
}

-- The text with numbers in it; nil if one of them is not known yet. Other words in braces stay as they are.
local function fill(self, text)
  local is_known = true
  local filled = text:gsub("{(%l+)}", function(name)
    if not counts[name] then return nil end
    local count = counts[name](self)
    is_known = is_known and count ~= nil
    return count and ("%d"):format(count)
  end)
  return is_known and gateway.utf8.cut(filled, NAME_BYTES) or nil
end

local function presence_of(self, entry)
  if not entry.text then return { status = entry.status, afk = false, activities = gateway.json.array {} } end
  local text = fill(self, entry.text)
  if not text then return nil end
  local activity = { name = text, type = number_of[entry.type], url = entry.url }
  if entry.type == "custom" then
    activity.name, activity.state = "Custom Status", text
  end
  return { status = entry.status, afk = false, activities = { activity } }
end

-- ---- the rotation ----

local function next_index(self)
  local count, last = #self.config.presences, self.state.last or 0
  if self.config.order == "list" or count == 1 then return last % count + 1 end
  local index = math.random(count - 1)
  return index >= last and last > 0 and index + 1 or index -- not the same one twice
end

local function same(a, b)
  return a ~= nil and gateway.json.encode(a) == gateway.json.encode(b)
end

-- The next one that can be shown; those whose numbers are not known yet are passed over.
local function choose(self)
  for _ = 1, #self.config.presences do
    self.state.last = next_index(self)
    local presence = presence_of(self, self.config.presences[self.state.last])
    if presence then return presence end
  end
end

local function rotate(self)
  local presence = choose(self)
  if not presence or same(self.shown, presence) then return end
  self.state.changed = gateway.now()
  local ok, err = gateway.manager:edit_bot_status(presence)
  if ok then
    self.shown = presence
  elseif err.code ~= "cancelled" then
    self.log.warn("the presence was not changed: %s", err)
  end
end

-- ---- the number of guilds ----

local function ask_for_guilds(self)
  local application, err = self.rest.get "/applications/@me"
  local count = type(application) == "table" and tonumber(application.approximate_guild_count)
  if count then
    self.state.guilds = count
  elseif not err or err.code ~= "cancelled" then
    self.log.warn("the number of guilds is not known: %s", application and "Discord does not tell it" or err)
  end
end

local function has_guilds(presences)
  for _, entry in ipairs(presences) do
    if entry.text and entry.text:find("{guilds}", 1, true) then return true end
  end
  return false
end

function Rotation:load(config)
  for i, entry in ipairs(config.presences) do
    if entry.type == "streaming" and not entry.url then
      error(("plugins.%s.presences[%d].url: is required for `streaming`"):format(self.name, i), 0)
    end
  end
  if self.role ~= "manager" then return end
  self:on("load", function()
    if has_guilds(config.presences) then
      if not self.state.guilds then ask_for_guilds(self) end
      self:every(config.refresh, function() ask_for_guilds(self) end)
    end
    -- The last change may have been that of the version before a reload, a moment ago.
    local changed = self.state.changed
    local wait = changed and math.min(config.interval, changed + config.interval - gateway.now()) or 1
    self:after(math.max(1, wait), function()
      self:every(config.interval, function() rotate(self) end)
      rotate(self)
    end)
  end)
end

return Rotation
