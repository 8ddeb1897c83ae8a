-- How often processes under test ask the resolver of the system for the addresses of a name.
--
--   local lookups = name_lookups.new()
--   local s = scene.start { env = lookups:env { LOG_LEVEL = "info" } }
--   lookups:count()                     of all processes with that environment, and their children

local ffi = require "ffi"
local paths = require "spec.support.paths"
local preload = require "spec.support.preload"

local name_lookups = {}

local Lookups = {}
Lookups.__index = Lookups

function name_lookups.new()
  local self = setmetatable({ path = paths.tmp() .. "/lookups" }, Lookups)
  paths.write(self.path, ("\0"):rep(8))
  return self
end

-- The environment of such processes: `more` and what counts.
function Lookups:env(more)
  return preload.env("name_lookups", { TG_NAME_LOOKUPS = self.path }, more)
end

function Lookups:count()
  return tonumber(ffi.cast("const int64_t *", assert(paths.read(self.path)))[0])
end

return name_lookups
