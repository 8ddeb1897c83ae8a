-- `require "tidegate"`: puts the gateway table together from what C offers.

local core = require "tidegate.core"
local guard = require "tidegate.guard"

local log = require "tidegate.log"
require "tidegate.coroutine"
require "tidegate.standard"

local http = require "tidegate.http"

local crypto = core.crypto
for _, name in ipairs { "hex", "base64", "base64url" } do
  crypto[name] = guard.sealed("gateway.crypto." .. name, crypto[name])
end

local fields = {
  version = core.version,
  role = core.role,
  worker_id = core.worker_id,
  script = core.script,

  manager = core.manager,
  shard = core.shard,
  delivery = core.delivery,
  cache = core.cache,
  default = guard.sealed("gateway.default", core.default),
  sink = require "tidegate.sink",

  on = core.on,
  filter = core.filter,
  broadcast = core.broadcast,
  on_broadcast = core.on_broadcast,
  storm = core.storm,

  now = core.now,
  spawn = core.spawn,
  sleep = core.sleep,
  after = core.after,
  every = core.every,

  http = guard.sealed("gateway.http", http.http),
  rest = guard.sealed("gateway.rest", http.rest),
  log = guard.sealed("gateway.log", log),
  json = guard.sealed("gateway.json", core.json),
  utf8 = guard.sealed("gateway.utf8", core.utf8),
  crypto = guard.sealed("gateway.crypto", crypto),
  metrics = guard.sealed("gateway.metrics", require "tidegate.metrics"),
  state = core.state,
}

function fields.plugin(name, config, options)
  local caller = debug.getinfo(2, "Sl")
  local where = ("gateway.plugin in %s:%d"):format(caller.short_src, caller.currentline)
  local ok, problem = pcall(require("tidegate.plugin").use, name, config, options, where)
  if not ok then error(problem, 2) end
end

function fields.configure(given)
  if type(given) ~= "table" then
    error("gateway.configure: expected a table, got " .. type(given), 2)
  end
  local problem = core.configure(given)
  if problem then error("gateway.configure: " .. problem, 2) end
end

-- config appears with the configuration; worker_id and script may be absent.
local function missing(_, name)
  if name == "config" then
    local config = core.config()
    if not config then
      error("gateway.config: there is no configuration yet; it comes with gateway.configure, or once "
        .. "the script is loaded", 2)
    end
    fields.config = guard.read_only("gateway.config", config)
    return fields.config
  end
  if name == "worker_id" or name == "script" then return nil end
  local known = { "config", "worker_id", "script" }
  for key in pairs(fields) do known[#known + 1] = key end
  error("gateway has no field '" .. tostring(name) .. "'" .. guard.suggestion(name, known), 2)
end

local assignable = "the tables with methods to assign to are gateway.manager, shard, delivery and cache"

return setmetatable({}, {
  __index = setmetatable(fields, { __index = missing }),
  __newindex = function(_, name)
    if name == "state" then
      error("gateway.state is a table to put values into; it cannot be replaced", 2)
    end
    error(("gateway.%s cannot be assigned; %s"):format(tostring(name), assignable), 2)
  end,
  __metatable = "gateway",
})
