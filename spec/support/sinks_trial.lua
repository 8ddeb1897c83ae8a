-- A gateway under load with several sinks: for specs of what befalls one of them, or all, and the others.
--
--   local sinks_trial = require "spec.support.sinks_trial"
--   after_each(sinks_trial.stop)
--
--   local t = sinks_trial.start {
--     shards = 4, workers = 2, per_worker = 2, rate = 600,
--     sinks = { audit = { queue = { memory_bytes = 65536 } } },       what configure() takes for each
--     queue = { disk_bytes = 4194304 }, configure = { ... },          of the bot, and whatever else
--   }
--   t.bot, t.sinks.audit                  the bots; each gets markers
--   t:configure { sinks = { ... } }       writes the script anew, and reloads it
--   t:assert_nothing_lost { name = "...", identifies = 4 }            in any of them
--
-- It is a kill_trial, too: t:kill_worker(pid), t:kill_group(), t:again(), t:await_emitted(n) ... A sink that
-- is given a `url` or `urls` has no bot of the trial's; with `redis` (of spec.support.redis) it has a reader
-- of its streams: t.readers.name. `bots` are options of the bots of sinks, by name.

local kill_trial = require "spec.support.kill_trial"
local paths = require "spec.support.paths"
local streams = require "spec.support.streams"
local tally = require "spec.support.tally"
local uv = require "luv"

local sinks_trial = {}

local Trial = {}

function Trial:__index(key)
  return Trial[key] or kill_trial.Trial.__index(self, key)
end

-- ---- the script ----

local literal

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

function literal(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for _, key in ipairs(sorted_keys(value)) do
    parts[#parts + 1] = ("[%s] = %s"):format(literal(key), literal(value[key]))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function merge(...)
  local result = {}
  for i = 1, select("#", ...) do
    for key, value in pairs((select(i, ...)) or {}) do
      result[key] = value
    end
  end
  return result
end

-- One sink as configure() takes it.
local function sink_of(self, name, given)
  local bot, sink = self.bots_of_sinks[name], merge(given)
  if sink.redis then
    sink.redis = nil
    sink.url = sink.url or given.redis:url()
  elseif bot and not sink.url and not sink.urls then
    sink.url = bot.url
    sink.authorization = sink.authorization or bot.authorization or nil
    sink.markers = sink.markers == nil or sink.markers
  end
  return sink
end

local function script_of(self)
  local sinks = {}
  for name, given in pairs(self.settings.sinks) do
    sinks[name] = sink_of(self, name, given)
  end
  local options = merge(self.settings.configure, {
    event_handler = merge({ markers = true }, self.settings.event_handler),
    queue = self.settings.queue, sinks = next(sinks) and sinks or nil,
  })
  return ('local gateway = require "tidegate"\ngateway.configure %s\n%s\n'):format(
    literal(options), self.settings.lua or "")
end

-- ---- the trial ----

local OWN = { sinks = true, bots = true, queue = true, event_handler = true, configure = true, lua = true }

local function is_redis(sink)
  return sink.redis ~= nil
end

-- options: those of kill_trial.start(), but for `script`; sinks, queue, event_handler, configure: what
-- configure() takes; lua: what stands behind it; bots.
function sinks_trial.start(options)
  local settings, given, bots = {}, {}, {}
  for name, value in pairs(options) do
    if OWN[name] then
      settings[name] = value
    else
      given[name] = value
    end
  end
  settings.sinks = settings.sinks or {}
  for name, sink in pairs(settings.sinks) do
    if not is_redis(sink) and not sink.url and not sink.urls then
      bots[name] = merge({ authorization = "secret-of-the-sink-" .. name }, (settings.bots or {})[name])
    end
  end
  local self = { settings = settings, readers = {} }
  given.sinks = bots
  function given.script(scene)
    self.bots_of_sinks = scene.sinks
    return script_of(self)
  end
  local trial = kill_trial.start(given)
  for key, value in pairs(self) do
    trial[key] = value
  end
  setmetatable(trial, Trial)
  trial:make_readers()
  return trial
end

sinks_trial.stop = kill_trial.stop

function Trial:make_readers()
  for name, sink in pairs(self.settings.sinks) do
    if is_redis(sink) and not self.readers[name] then
      self.readers[name] = streams.reader(sink.redis, { prefix = sink.prefix })
    end
  end
end

function Trial:configure(changes)
  for name, value in pairs(changes) do
    self.settings[name] = value
  end
  paths.write(self.gateway.script, script_of(self))
  local ok, line = self.gateway:reload()
  assert(ok, line)
  self:make_readers()
end

-- ---- what is on disk ----

-- Where a sink keeps its logs; "bot" is the event handler.
function Trial:log_directory(name)
  return self.gateway.state_dir .. (name == "bot" and "/log" or "/sinks/" .. name)
end

-- The directories of logs of a sink, with their path.
function Trial:logs(name)
  local list, parent = {}, self:log_directory(name)
  local scan = uv.fs_scandir(parent)
  while scan do
    local entry, kind = uv.fs_scandir_next(scan)
    if not entry then
      break
    elseif kind == "directory" then
      list[#list + 1] = parent .. "/" .. entry
    end
  end
  table.sort(list)
  return list
end

-- ---- the verdict ----

local function judge(self, name, expected, more)
  local passed = merge(expected, more)
  passed.name = ("%s (%s)"):format(expected.name, name)
  return tally.assert_nothing_lost(self.scene, passed)
end

-- Each sink that is configured has got all, or those that `expected.of` lists ("bot" is the event handler);
-- in streams nothing stands twice.
function Trial:assert_nothing_lost(expected)
  local wanted = {}
  for _, name in ipairs(expected.of or {}) do
    wanted[name] = true
  end
  self.fake:settings { rate = 0 }
  if not expected.of or wanted.bot then
    judge(self, "bot", expected)
  end
  for name in pairs(self.settings.sinks) do
    if not expected.of or wanted[name] then
      local bot, reader = self.bots_of_sinks[name], self.readers[name]
      if reader then
        judge(self, name, expected, { bot = reader, repeated = 0 })
        if not expected.kept then
          reader:reread()
          judge(self, name .. ", read again", expected, { bot = reader, repeated = 0 })
        end
      elseif bot then
        judge(self, name, expected, { bot = bot })
      end
    end
  end
end

return sinks_trial
