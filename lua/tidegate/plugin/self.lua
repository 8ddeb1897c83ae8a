-- What a plugin's `self` has. All that it registers goes on its account: errors and memory name the plugin.

local core = require "tidegate.core"
local stack = require "tidegate.plugin.stack"

local tables = { manager = true, shard = true, delivery = true, cache = true }

-- ---- tables ----

local function log_of(name)
  local log, prefix = require "tidegate.log", name:gsub("%%", "%%%%") .. ": "
  local made = {}
  for level, write in pairs(log) do
    made[level] = function(text, ...)
      if select("#", ...) == 0 then return write(name .. ": " .. tostring(text)) end
      return write(prefix .. tostring(text), ...)
    end
  end
  return made
end

local function metrics_of(name)
  local made = {}
  for kind, make in pairs(require "tidegate.metrics") do
    made[kind] = function(metric, options)
      options = options or {}
      local labels = { plugin = name }
      for key, value in pairs(options.labels or {}) do labels[key] = value end
      return make(metric, { help = options.help, labels = labels, buckets = options.buckets })
    end
  end
  return made
end

-- ---- methods ----

local methods = {}

-- Runs a registration on the plugin's account; what it raises is the caller's mistake.
local function on_account(self, register, ...)
  local before = core.plugin_account(self.name)
  local ok, made, problem = pcall(register, ...)
  core.plugin_account(before)
  if not ok then error(made, 3) end
  return made, problem
end

local function with_priority(self, options)
  local made = { priority = self.handler.PRIORITY }
  for key, value in pairs(options or {}) do made[key] = value end
  return made
end

local function list(names)
  return type(names) == "table" and { unpack(names) } or { names }
end

-- An event's filter: nil = no opinion, false = drop, a table or a string = the new payload.
function methods:filter(names, rule, options)
  local made = on_account(self, core.filter, names, rule, with_priority(self, options))
  local compiled = type(rule) == "boolean"
  local filter = { events = list(names), compiled = compiled }
  if compiled then filter.rule = rule end
  table.insert(self.made.filters, filter)
  return made
end

function methods:on(names, fn, options)
  local made = on_account(self, core.on, names, fn, with_priority(self, options))
  table.insert(self.made.handlers, { events = list(names) })
  return made
end

function methods:on_broadcast(topic, fn)
  return (on_account(self, core.on_broadcast, topic, fn, with_priority(self)))
end

function methods:broadcast(topic, value) -- luacheck: ignore 212
  return core.broadcast(topic, value)
end

-- fn(next, ...): `...` is what a function assigned to gateway.<table>.<method> gets, and next takes the same.
function methods:override(name, method, fn)
  if not tables[name] then
    error(("self:override: expected manager, shard, delivery or cache, got %s"):format(tostring(name)), 2)
  end
  if type(fn) ~= "function" then
    error(("self:override: expected a function for gateway.%s:%s, got %s"):format(name, tostring(method),
      type(fn)), 2)
  end
  local where = on_account(self, core.override_place, name, method, fn)
  table.insert(self.made.overrides, name .. ":" .. method)
  if not core.is_ours(name) then return end -- the other role's, where this plugin is loaded as well
  stack.add(name, method, { plugin = self.name, priority = self.handler.PRIORITY, run = fn, where = where })
end

function methods:after(ms, fn) return on_account(self, core.after, ms, fn) end

function methods:every(ms, fn) return on_account(self, core.every, ms, fn) end

function methods:spawn(fn, ...) return on_account(self, core.spawn, fn, ...) end

function methods:sleep(ms) -- luacheck: ignore 212
  return core.sleep(ms)
end

function methods:route(method, path, fn)
  on_account(self, core.route, self.name, method, path, fn)
  table.insert(self.made.routes, method .. " " .. path)
end

-- ---- the object ----

local fields = { name = true, config = true, state = true, log = true, http = true, rest = true,
                 metrics = true, role = true, worker_id = true, handler = true, made = true }

-- The name of a handler's own field that would hide one of these, or nil.
local function hidden_by(handler)
  for name in pairs(handler) do
    if methods[name] or fields[name] then return name end
  end
end

local function new(name, handler, config, box)
  local http = require "tidegate.http"
  local self = {
    name = name, handler = handler, config = config, state = box.state,
    role = core.role, worker_id = core.worker_id,
    log = log_of(name), metrics = metrics_of(name), http = http.http, rest = http.rest,
    made = { overrides = {}, filters = {}, handlers = {}, routes = {} },
  }
  return setmetatable(self, { __index = function(_, key)
    local method = methods[key]
    if method ~= nil then return method end
    return handler[key]
  end })
end

return { new = new, hidden_by = hidden_by }
