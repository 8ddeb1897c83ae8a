-- Trees of rocks that the real luarocks has built, without network.
--
--   local tree = paths.tmp()
--   luarocks.make(tree, { rock = "leaf", version = "1.0-1", modules = { ["leaf"] = "return 1" },
--                         needs = { "other >= 1" } })
--
-- Versions that are there stay. Modules are Lua, or C where their text has an #include.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local luarocks = {}

local function run(name, tree, dir, ...)
  local argv = { name, "--lua-version=5.1", "--tree=" .. tree, ... }
  local made = process.run(argv, { cwd = dir, timeout = 60000 })
  assert(made.exit_code == 0, table.concat(argv, " ") .. "\n" .. made.stdout .. made.stderr)
  return made
end

-- Runs luarocks for a tree, in a folder.
function luarocks.run(tree, dir, ...) return run("luarocks", tree, dir, ...) end

function luarocks.admin(tree, dir, ...) return run("luarocks-admin", tree, dir, ...) end

local function quoted(list)
  local texts = {}
  for i, text in ipairs(list or {}) do texts[i] = ("%q"):format(text) end
  return table.concat(texts, ", ")
end

-- Writes the rock's sources; returns their folder and the name of the rockspec.
function luarocks.write(rock)
  local dir, lines = paths.tmp(), {}
  for module, text in pairs(rock.modules) do
    local file = module:gsub("%.", "-") .. (text:find "#include" and ".c" or ".lua")
    paths.write(dir .. "/" .. file, text)
    lines[#lines + 1] = ("    [%q] = %q,\n"):format(module, file)
  end
  local rockspec = ("%s-%s.rockspec"):format(rock.rock, rock.version)
  paths.write(dir .. "/" .. rockspec, ([[
rockspec_format = "3.0"
package = %q
version = %q
source = { url = "git://of.nowhere/it" }
dependencies = { %s }
build = { type = "builtin", modules = {
%s} }
]]):format(rock.rock, rock.version, quoted(rock.needs), table.concat(lines)))
  return dir, rockspec
end

function luarocks.make(tree, rock)
  local dir, rockspec = luarocks.write(rock)
  luarocks.run(tree, dir, "make", "--keep", "--deps-mode=none", rockspec)
end

function luarocks.manifest(tree) return tree .. "/lib/luarocks/rocks-5.1/manifest" end

return luarocks
