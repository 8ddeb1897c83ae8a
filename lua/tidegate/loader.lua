-- Runs the script, and finds its modules. Files of the script's directory share
-- one environment with strict globals; rocks keep the plain one.

local core = require "tidegate.core"
local guard = require "tidegate.guard"
local rocks = require "tidegate.rocks"

local loader = {}

local declared = {}

-- A global is made by assigning to it at the top level of a file. Anything else
-- is a spelling error, or a local that nobody declared.
local environment = setmetatable({ _G = false }, {
  __index = function(_, name)
    local value = _G[name]
    if value == nil and not declared[name] then
      local known = {}
      for key in pairs(_G) do
        if type(key) == "string" then known[#known + 1] = key end
      end
      for key in pairs(declared) do known[#known + 1] = key end
      error(("undeclared variable '%s'%s"):format(tostring(name), guard.suggestion(name, known)), 2)
    end
    return value
  end,
  __newindex = function(self, name, value)
    local info = debug.getinfo(2, "S")
    if not declared[name] and info.what ~= "main" and info.what ~= "C" then
      error(("assignment to the undeclared variable '%s'; write `local %s` where it belongs"):format(
        tostring(name), tostring(name)), 2)
    end
    declared[name] = true
    rawset(self, name, value)
  end,
})
environment._G = environment

local directory = core.script and (core.script:match "^(.*/)" or "./")

local function load_own(path)
  local chunk, problem = core.loadfile(path)
  if chunk then return setfenv(chunk, environment) end
  return nil, problem
end

-- A file that belongs to this generation is taken even if it is gone from disk.
local function search(name)
  local file = name:gsub("%.", "/")
  for pattern in package.path:gmatch "[^;]+" do
    local path = pattern:gsub("%?", (file:gsub("%%", "%%%%")))
    if core.has_source(path) then return path end
  end
  return package.searchpath(name, package.path)
end

local loadlib = package.loadlib

-- A module of a rock in use, in the version that is. What is not there must not be found in another version.
local function load_of_rock(name)
  local path, native, rock = rocks.find(name)
  if not path then return nil end
  local chunk, problem
  if native then
    chunk, problem = loadlib(path, "luaopen_" .. name:gsub("^[^-]*%-", ""):gsub("%.", "_"))
  else
    chunk, problem = core.loadfile(path)
  end
  if chunk then return chunk end
  error(("error loading module '%s' of the rock %s:\n\t%s"):format(name, rock, problem), 0)
end

-- The searcher of Lua files: source only, and the script's own are strict. They come first, then rocks in
-- use, then what else is in trees.
package.loaders[2] = function(name)
  local path, tried = search(name)
  local own = path and directory and path:sub(1, #directory) == directory
  local of_rock = not own and load_of_rock(name)
  if of_rock then return of_rock end
  if not path then return tried .. rocks.missing() end
  local chunk, problem = (own and load_own or core.loadfile)(path)
  if not chunk then error(("error loading module '%s':\n\t%s"):format(name, problem), 0) end
  return chunk
end

-- Asked last. A package of the gateway brings lua-cjson along; a program that was copied by hand does not.
package.loaders[#package.loaders + 1] = function(name)
  if name ~= "cjson" and name ~= "cjson.safe" then return nil end
  return "\n\tlua-cjson is not installed (on Debian: apt-get install lua-cjson); gateway.json does without"
end

-- As far as can be told without loading it.
local package, searchpath = package, package.searchpath
function loader.has_cjson()
  return (package.loaded.cjson or package.preload.cjson or searchpath("cjson", package.path)
    or searchpath("cjson", package.cpath)) ~= nil
end

-- What is wrong with the file itself is returned: no traceback says more.
function loader.run(path)
  local chunk, problem = load_own(path)
  if not chunk then return problem end
  chunk()
  local plugins = package.loaded["tidegate.plugin"]
  if plugins and plugins.failed then return plugins.failed .. "\n(the script went on without it)" end
end

return loader
