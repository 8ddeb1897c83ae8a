-- gateway.sink(name): where events go beside the bot, and a function in the place of its URL.
--
--   gateway.sink("statistics").deliver = function(events) ... return true end     waits; or nil, err
--   gateway.sink("statistics"):queue():length()
--
-- What was there before is read before it is assigned: another function, or the default, which sends events
-- to the sink's URL. nil is the default again.

local core = require "tidegate.core"
local guard = require "tidegate.guard"

local defaults = {} -- by the sink's name: one that is assigned back is known again

local function default_of(name)
  defaults[name] = defaults[name] or function(events) return core.sink_deliver(name, events) end
  return defaults[name]
end

local function title(name) return ("gateway.sink(%q)"):format(name) end

local fields = {} -- of each object, by name: of the sink's name

function fields.name(name) return name end

function fields.deliver(name) return core.sink_function(name) or default_of(name) end

function fields.queue(name)
  return function() return core.sink_queue(name) end
end

local known = { "name", "deliver", "queue" }

local function assign(name, value)
  if value == default_of(name) then value = nil end
  if value ~= nil and type(value) ~= "function" then
    error(("%s.deliver: expected a function, or nil for the default, got %s"):format(title(name),
      type(value)), 3)
  end
  core.sink_assign(name, value)
end

local function object(name)
  return setmetatable({}, {
    __index = function(_, key)
      local field = fields[key]
      if not field then
        error(("%s has no '%s'%s"):format(title(name), tostring(key), guard.suggestion(key, known)), 2)
      end
      return field(name)
    end,
    __newindex = function(_, key, value)
      if key ~= "deliver" then
        error(("%s.%s cannot be assigned; deliver can%s"):format(title(name), tostring(key),
          guard.suggestion(key, { "deliver" })), 2)
      end
      assign(name, value)
    end,
    __tostring = function() return "sink " .. name end,
    __metatable = "gateway.sink",
  })
end

return function(name)
  local names = core.sink_names()
  if type(name) ~= "string" then
    error("gateway.sink: expected the name of a sink, got " .. type(name), 2)
  elseif not names then
    error("gateway.sink: there is no configuration yet; sinks come with gateway.configure", 2)
  end
  for _, one in ipairs(names) do
    if one == name then return object(name) end
  end
  if name == "bot" then error("gateway.sink: the bot's is gateway.delivery", 2) end
  local configured = #names > 0 and "configured are " .. table.concat(names, ", ") or "none are configured"
  error(("gateway.sink: there is no sink '%s'%s (%s)"):format(name, guard.suggestion(name, names),
    configured), 2)
end
