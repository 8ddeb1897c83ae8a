-- Plugins and what they depend on in trees of rocks, which the real luarocks has built.

local luarocks = require "spec.support.luarocks"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

-- Where LuaRocks has the handler of try 1.0-1 next to a newer one.
local OLDER = "/share/lua/5.1/tidegate_plugin_try_1_0_1-tidegate/plugins/try/handler.lua"

local PREFIX = "tidegate.plugins."

-- A plugin that says `text`, an expression, while it loads.
local function plugin(name, version, text, needs)
  return { rock = "tidegate-plugin-" .. name, version = version .. "-1", needs = needs, modules = {
    [PREFIX .. name .. ".handler"] = ([[
local Handler = { VERSION = %q, PRIORITY = 500, API = 1 }
function Handler:load() self.log.info("says %%s.", %s) end
return Handler]]):format(version, text or "self.VERSION"),
    [PREFIX .. name .. ".schema"] = "return { fields = {} }",
  } }
end

-- A rock of one module, in Lua and in C, that tells its version.
local function library(name, version, needs)
  return { rock = name, version = version .. "-1", needs = needs, modules = {
    [name] = ("return { version = %q, inner = require '%s.inner' }"):format(version, name),
    [name .. ".inner"] = ([[
#include <lua.h>
int luaopen_%s_inner(lua_State *L) { lua_pushstring(L, "C of %s"); return 1; }
]]):format(name, version),
  } }
end

local function script(text)
  return paths.write(paths.tmp() .. "/bot.lua", 'local gateway = require "tidegate"\n' .. text .. "\n")
end

-- `tidegate check` of a script that says `text`, with these trees, or those that are looked into anyway.
local function check(trees, text, env, ...)
  env = env or {}
  env.DISCORD_TOKEN, env.INTENTS = "fake-token", "513"
  env.TIDEGATE_ROCKS_TREES = trees and table.concat(trees, ",")
  return process.run({ paths.bin "tidegate", "check", script(text), ... }, { env = env })
end

local function passes(...)
  local run = check(...)
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
  return run
end

local function says(name, what, ...)
  local run = passes(...)
  assert.matches(("%s: says %s."):format(name, what), run.stderr, 1, true)
  return run
end

local function refused(words, ...)
  local run = check(...)
  assert.equal(1, run.exit_code, run.stdout .. run.stderr)
  assert.matches(words, run.stderr, 1, true)
end

local function named(name, version)
  return ("gateway.plugin(%q, {}%s)"):format(name, version and (", { version = %q }"):format(version) or "")
end

local several -- a tree with versions of plugins and of what they need
local second  -- a tree with a newer version, and with nothing of the first

local ALL = [[(function() local a, b = require "stem", require "leaf"
  return a.version .. ", " .. a.inner .. ", " .. b.version .. ", " .. b.inner end)()]]

setup(function()
  several, second = paths.tmp(), paths.tmp()
  for _, version in ipairs { "1.0", "2.0", "1.10", "1.9", "3.0rc1" } do
    luarocks.make(several, plugin("try", version))
  end
  luarocks.make(second, plugin("try", "4.0"))
  luarocks.make(second, plugin("far", "1.0"))
  for _, version in ipairs { "1.1", "1.0", "2.0" } do luarocks.make(several, library("leaf", version)) end
  luarocks.make(several, library("stem", "1.4", { "leaf ~> 1" }))
  luarocks.make(several, library("stem", "2.0", { "leaf >= 2" }))
  luarocks.make(several, plugin("old", "1.0", ALL, { "lua >= 5.1, < 5.2", "stem < 2", "tidegate" }))
  luarocks.make(several, plugin("new", "1.0", ALL, { "stem >= 1" }))
  luarocks.make(several, plugin("alone", "1.0", "require 'nowhere'", { "nowhere >= 1.5, < 2" }))
end)

after_each(function()
  scene.stop()
  process.cleanup()
end)

for constraint, version in pairs {
  ["~> 1"] = "1.10", ["~> 1.9"] = "1.9", [">= 1, < 1.10"] = "1.9", ["== 1.0"] = "1.0", ["1.0-1"] = "1.0",
  ["< 3"] = "3.0rc1", ["> 2, ~= 3.0rc1, <= 4"] = "4.0", ["~= 3.0rc1"] = "2.0", [">= 3.0rc1"] = "3.0rc1",
  [">= 3"] = "4.0", ["~> 3"] = "3.0rc1",
} do
  it(("the newest version that fits %s is taken"):format(constraint), function()
    says("try", version, { several, second }, named("try", constraint))
  end)
end

it("without a constraint the newest version of the first tree is taken", function()
  says("try", "3.0rc1", { several, second }, named "try")
  says("try", "4.0", { second, several }, named "try")
  says("far", "1.0", { several, second }, named "far")
end)

it("check tells which tree and version a plugin is of", function()
  local run = passes({ several, second }, named("try", "~> 1.9"), nil, "--json")
  assert.matches(('"from":%q'):format(several), run.stdout:gsub('": ', '":'), 1, true)
  assert.matches('"rock":"1.9-1"', run.stdout:gsub('": ', '":'), 1, true)
end)

it("no version that fits, or no constraint, is told with what there is", function()
  refused("plugin try: tidegate-plugin-try >= 5: no version fits; there is 3.0rc1-1 in " .. several
    .. ", 2.0-1 in ", { several, second }, named("try", ">= 5"))
  refused('plugin try: "~> x/y" is no constraint on versions; write one like "~> 1.2"', { several },
    named("try", "~> x/y"))
end)

it("dependencies come in the versions that fit, in Lua and in C, whatever is deployed", function()
  says("old", "1.4, C of 1.4, 1.1, C of 1.1", { several }, named "old")
  says("new", "2.0, C of 2.0, 2.0, C of 2.0", { several }, named "new")
end)

it("the manifest may have versions as texts, and what nobody here knows", function()
  local tree = paths.tmp()
  luarocks.make(tree, library("leaf", "1.1"))
  luarocks.make(tree, library("leaf", "2.0"))
  luarocks.make(tree, plugin("try", "1.0", "require 'leaf'.version", { "leaf ~> 1" }))
  local text = paths.read(luarocks.manifest(tree)):gsub('version = {[^}]*string = ("[^"]*")[^}]*}',
    "no_upgrade = true, namespace = -1.5, version = %1")
  paths.write(luarocks.manifest(tree), text .. "unknown = { true }\n")
  assert.matches('version = "1"', text, 1, true)
  says("try", "1.1", { tree }, named "try")
end)

it("a rock that several need comes in a version for all, or loading says who needs which", function()
  local run = says("old", "1.4, C of 1.4, 1.1, C of 1.1", { several }, named "old" .. named "new")
  assert.matches("new: says 1.4, C of 1.4, 1.1, C of 1.1.", run.stderr, 1, true)
  refused("plugin old: tidegate-plugin-old: tidegate-plugin-old 1.0-1 needs stem < 2: version 2.0-1 is in "
    .. "use already, for tidegate-plugin-new 1.0-1", { several }, named "new" .. named "old")
end)

it("a rock that no tree has is named where its module is nowhere", function()
  refused("no tree has the rock nowhere >= 1.5, < 2, which tidegate-plugin-alone 1.0-1 needs", { several },
    named "alone")
end)

it("a file that is gone is not taken from another version", function()
  local tree = paths.tmp()
  luarocks.make(tree, plugin("try", "1.0"))
  luarocks.make(tree, plugin("try", "2.0"))
  local file = tree .. OLDER
  assert(os.remove(file))
  refused("error loading module 'tidegate.plugins.try.handler' of the rock tidegate-plugin-try 1.0-1:\n\t"
    .. "cannot open " .. file, { tree }, named("try", "~> 1"))
end)

describe("a damaged manifest", function()
  -- Text of a manifest, and what is said about it.
  local kinds = {
    ["cut off"] = { "repository = {\n  try = {", "line 2: unexpected symbol near '<eof>'" },
    ["with a function"] = { "repository = {\n try = function() end }", "line 2: '(' has no place" },
    ["with a loop"] = { "repository = {}\n\nwhile true do end", "line 3: 'while' has no place" },
    ["with code in what seems a string"] = { 'a = [["]] os.exit(3) b = [["]]\n', "line 1: '[[' has" },
    ["with code behind what seems a string"] = { "a = '\"' while true do end b = '\"'", "''' has no place" },
    ["of bytecode"] = { string.dump(function() end), "has no place in a manifest" },
    ["that reaches into nothing"] = { "repository.x = 1", "attempt to index global 'repository'" },
    ["that is empty"] = { "", "repository is missing instead of a table" },
    ["with modules of another kind"] = { 'repository = { try = { ["1.0-1"] = { { modules = { a = 5 } } } } }',
      'repository["try"]["1.0-1"][1].modules["a"] is a number instead of a string' },
    ["with dependencies of another kind"] = {
      'repository = { try = { ["1.0-1"] = { { modules = {} } } } }\ndependencies = { try = { ["1.0-1"] = '
        .. '{ { name = "x", constraints = { { op = "<>", version = "1" } } } } } }',
      'dependencies["try"]["1.0-1"][1].constraints[1].op is unknown: <>' },
    ["that is too large"] = { ("-"):rep(2 * 1024 * 1024 + 1), "is no file of at most 2097152 bytes" },
  }

  local function damaged(text)
    local tree = paths.tmp()
    assert(os.execute(("mkdir -p '%s/lib/luarocks/rocks-5.1'"):format(tree)) == 0)
    if text then paths.write(luarocks.manifest(tree), text) end
    return tree
  end

  local function is_told(tree, words)
    local run = says("try", "4.0", { tree, second }, named "try")
    local told = "the rocks of the tree " .. tree .. " are left out"
    assert.matches("warn  tidegate: " .. told, run.stderr, 1, true)
    assert.matches("tidegate check: warning: " .. told, run.stderr, 1, true)
    assert.matches(luarocks.manifest(tree), run.stderr, 1, true)
    assert.matches(words, run.stderr, 1, true)
  end

  for name, kind in pairs(kinds) do
    it(name .. " is told with its tree and file, and other trees go on", function()
      is_told(damaged(kind[1]), kind[2])
    end)
  end

  it("which is a folder is told, too", function()
    local tree = damaged()
    assert(uv.fs_mkdir(luarocks.manifest(tree), 493))
    is_told(tree, "is no file of at most")
  end)

  it("is told by check without a plugin, and leaves plain modules as they are", function()
    local tree = damaged "repository = {"
    assert(os.execute(("mkdir -p '%s/share/lua/5.1'"):format(tree)) == 0)
    paths.write(tree .. "/share/lua/5.1/plain.lua", "return 5")
    local run = passes({ tree }, [[assert(require "plain" == 5)]])
    assert.matches("tidegate check: warning: the rocks of the tree " .. tree, run.stderr, 1, true)
  end)

  it("is told where plugins come without a script", function()
    local tree = damaged "repository = {"
    local run = process.run({ paths.bin "tidegate", "check" }, { env = { DISCORD_TOKEN = "fake-token",
      INTENTS = "513", TIDEGATE_ROCKS_TREES = tree .. "," .. second, TIDEGATE_PLUGINS = "try" } })
    assert.equal(0, run.exit_code, run.stderr)
    assert.matches("try: says 4.0.", run.stderr, 1, true)
    assert.matches("tidegate check: warning: the rocks of the tree " .. tree, run.stderr, 1, true)
  end)

  it("is mended by the command that is named", function()
    local tree = paths.tmp()
    luarocks.make(tree, plugin("try", "1.0"))
    luarocks.make(tree, plugin("try", "2.0"))
    paths.write(luarocks.manifest(tree), "repository = {")
    local run = passes({ tree }, named "try")
    local command = run.stderr:match "a new one is made by: (luarocks%-admin [^)]*)"
    assert(os.execute(command .. " >/dev/null 2>&1") == 0, command)
    run = says("try", "1.0", { tree }, named("try", "~> 1"))
    assert.is_nil(run.stderr:find("warning", 1, true), run.stderr)
  end)
end)

it("nobody has to say where the trees are", function()
  local server, build, state = paths.tmp(), paths.tmp(), paths.tmp()
  luarocks.make(build, plugin("try", "1.5"))
  luarocks.run(build, server, "pack", "tidegate-plugin-try", "1.5-1")
  process.run({ "luarocks-admin", "--lua-version=5.1", "make_manifest", server }, { timeout = 60000 })
  luarocks.run(state .. "/rocks", server, "--only-server=" .. server, "install", "tidegate-plugin-try")
  local run = says("try", "1.5", nil, named "try", { TIDEGATE_STATE_DIR = state })
  local at = 1
  for _, tree in ipairs { state .. "/rocks", "/usr/local", "/usr" } do
    local from, to = run.stdout:find(tree .. "/share/lua/5.1/?.lua", at, true)
    assert(from, tree .. "\n" .. run.stdout)
    at = to
  end
  assert.is_nil(run.stdout:find("/usr/share/lua/5.1/?.lua", at, true), run.stdout)
  says("try", "1.5", nil, ("gateway.configure { state_dir = %q } "):format(state) .. named "try")
end)

it("a reload takes what has been installed meanwhile, and what has changed", function()
  local tree = paths.tmp()
  luarocks.make(tree, plugin("try", "1.0", "require 'leaf'.version", { "leaf" }))
  luarocks.make(tree, library("leaf", "1.0"))
  local s = scene.start { reload = false, env = { TIDEGATE_ROCKS_TREES = tree }, bot = false,
    script = 'local gateway = require "tidegate"\n' .. named("try", "~> 1") }
  s.gateway:wait_for_log "try: says 1.0"
  luarocks.make(tree, library("leaf", "1.1"))
  luarocks.make(tree, plugin("try", "2.0", "'another'"))
  assert.is_true((s.gateway:reload()))
  s.gateway:wait_for_log "try: says 1.1"
  paths.write(tree .. OLDER,
    "return { VERSION = '1.0', PRIORITY = 1, API = 1, load = function(s) s.log.info 'has changed' end }")
  assert.is_true((s.gateway:reload()))
  s.gateway:wait_for_log "try: has changed"
end)
