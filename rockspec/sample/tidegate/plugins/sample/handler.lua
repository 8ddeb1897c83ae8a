-- sample lets only so many events a second, or a fraction of them, reach the bot: by type, and by guild.
-- What it drops is counted in sample_dropped_total.

local gateway = require "tidegate"

local max, min, random = math.max, math.min, math.random

local handler = { VERSION = "1.0.0", PRIORITY = 100, API = 1 } -- late: what others drop does not count

local FORGET = 60000 -- ms after which a full bucket may go

-- Gates: whether an event passes.

local function by_chance(fraction)
  return function() return random() < fraction end
end

-- A bucket for each guild, or one for all: it holds `burst` events and is filled at `rate` events per ms.
-- Buckets that have been full for long are dropped, since a new one is full, too: those in use move from
-- `old` to `young`.
local function by_rate(rate, burst, by_guild)
  local keep = max(FORGET, burst / rate)
  local young, old, since = {}, {}, 0
  return function(event)
    local _, now = gateway.now()
    if now - since > keep then young, old, since = {}, young, now end
    local key = by_guild and event.guild_id or "all"
    local bucket = young[key]
    if not bucket then
      bucket = old[key] or { level = burst, at = now }
      young[key] = bucket
    end
    local level = min(burst, bucket.level + (now - bucket.at) * rate)
    local passes = level >= 1
    bucket.level, bucket.at = passes and level - 1 or level, now
    return passes
  end
end

local function new_gate(rate)
  if rate.fraction then return by_chance(rate.fraction) end
  local burst = rate.burst or max(1, math.ceil(rate.per_second))
  return by_rate(rate.per_second / 1000, burst, rate.per == "guild")
end

local function set_of(list)
  local set = {}
  for _, id in ipairs(list) do set[id] = true end
  return set
end

-- What the types of single fields cannot say.
local function check(self, rates)
  for i, rate in ipairs(rates) do
    local problem
    if (rate.fraction == nil) == (rate.per_second == nil) then
      problem = "needs per_second or fraction, and not both"
    elseif rate.fraction and rate.burst then
      problem = "burst belongs to per_second"
    end
    if problem then error(("plugins.%s.rates[%d]: %s"):format(self.name, i, problem), 0) end
  end
end

-- The rules of each type, in their order, and the types in theirs.
local function rules_by_type(rates)
  local rules, names = {}, {}
  for _, rate in ipairs(rates) do
    local guilds = rate.guilds and set_of(rate.guilds)
    for _, name in ipairs(rate.events) do
      if not rules[name] then
        rules[name] = {}
        names[#names + 1] = name
      end
      table.insert(rules[name], { passes = new_gate(rate), guilds = guilds })
    end
  end
  return rules, names
end

function handler:load(config)
  check(self, config.rates)
  local rules_of, names = rules_by_type(config.rates)
  for _, name in ipairs(names) do
    local rules = rules_of[name]
    local dropped = self.metrics.counter("sample_dropped_total", {
      help = "Events that the plugin sample has dropped.", labels = { event = name },
    })
    self:filter(name, function(event)
      for i = 1, #rules do
        local rule = rules[i]
        if not rule.guilds or rule.guilds[event.guild_id or ""] then
          if rule.passes(event) then return end
          dropped:add()
          return false
        end
      end
    end)
  end
end

return handler
