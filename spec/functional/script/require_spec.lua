-- Where `require` finds modules, in the gateway's scripts and in `tidegate test`.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

local HEAD = [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 0 }
]]

-- A folder with the script and what else it needs.
local function folder(text, files)
  local dir = paths.tmp()
  for name, content in pairs(files or {}) do
    local parent = dir
    for part in name:gmatch "([^/]+)/" do
      parent = parent .. "/" .. part
      uv.fs_mkdir(parent, 493)
    end
    paths.write(dir .. "/" .. name, content)
  end
  paths.write(dir .. "/bot.lua", HEAD .. text)
  return dir
end

local function check(text, files, env)
  local dir = folder(text, files)
  for name, value in pairs(env or {}) do env[name] = value:gsub("%%", dir) end
  return process.run({ paths.bin "tidegate", "check", dir .. "/bot.lua" }, { env = env })
end

local function passes(text, files, env)
  local run = check(text, files, env)
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
end

it("modules of Debian's packages are found, in Lua and in C", function()
  passes [[
assert(type(require "say".set) == "function")
assert(type(require "lfs".currentdir) == "function")
assert(type(require "pl.stringx".strip) == "function")
]]
end)

it("the script's folder comes first, the rocks trees come second", function()
  local rocks = {
    ["rocks/share/lua/5.1/say.lua"] = "return 'of the tree'",
    ["rocks/share/lua/5.1/mediator.lua"] = "return 'of the tree'",
    ["say.lua"] = "return 'of the folder'",
  }
  passes([[
assert(require "say" == "of the folder")
assert(require "mediator" == "of the tree")
]], rocks, { TIDEGATE_ROCKS_TREES = "%/rocks" })
  passes([[assert(require "mediator" ~= "of the tree")]], rocks)
end)

it("so it is with C modules", function()
  local text = [[require "lfs"]]
  local broken = check(text, { ["lfs.so"] = "no library" })
  assert.equal(1, broken.exit_code)
  assert.matches("error loading module 'lfs' from file '[^\n]*/lfs.so'", broken.stderr)
  broken = check(text, { ["rocks/lib/lua/5.1/lfs.so"] = "no library" }, { TIDEGATE_ROCKS_TREES = "%/rocks" })
  assert.matches("error loading module 'lfs' from file '[^\n]*/rocks/lib/lua/5.1/lfs.so'", broken.stderr)
end)

it("what is nowhere is told with the places", function()
  local run = check [[require "no.such.module"]]
  assert.equal(1, run.exit_code)
  for _, place in ipairs { "", "/usr/share/lua/5.1" } do
    assert.matches("no file '[^\n]*" .. place .. "/no/such/module%.lua'", run.stderr)
  end
  assert.matches("no file '[^\n]*/no/such/module%.so'", run.stderr)
  assert.is_nil(run.stderr:find("cjson", 1, true))
end)
