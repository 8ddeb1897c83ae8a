-- `tidegate plugin`, with the real luarocks and without network.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

local function tool(dir, argv, env)
  return process.run(argv, { cwd = dir, env = env })
end

-- Runs `tidegate plugin ...` in the folder.
local function plugin(dir, argv, env)
  table.insert(argv, 1, paths.bin "tidegate")
  table.insert(argv, 2, "plugin")
  return tool(dir, argv, env)
end

local function well(run)
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
  return run
end

local function exists(path)
  return uv.fs_stat(path) ~= nil
end

-- Adds a dependency to the plugin's rockspec.
local function depend(dir, name, on)
  local path = ("%s/tidegate-plugin-%s/tidegate-plugin-%s-0.1.0-1.rockspec"):format(dir, name, name)
  local text, count = paths.read(path):gsub('("lua >= 5.1, < 5.2")', '%1, "' .. on .. '"')
  assert.equal(1, count)
  paths.write(path, text)
end

-- A folder with the plugin's rock in it; returns the path of both.
local function packed(dir, name, on)
  well(plugin(dir, { "new", name }))
  if on then
    depend(dir, name, on)
  end
  local folder = dir .. "/tidegate-plugin-" .. name
  well(plugin(folder, { "pack" }))
  return ("%s/tidegate-plugin-%s-0.1.0-1.all.rock"):format(folder, name), folder
end

local function handler_in(tree, name)
  return ("%s/share/lua/5.1/tidegate/plugins/%s/handler.lua"):format(tree, name)
end

describe("tidegate plugin new", function()
  it("writes a plugin that the tools have nothing to say about", function()
    local dir = paths.tmp()
    local run = well(plugin(dir, { "new", "quiet-hours" }))
    local folder = dir .. "/tidegate-plugin-quiet-hours"
    for _, name in ipairs {
      ".luacheckrc", "README.md", "spec/quiet-hours_spec.lua", "tidegate-plugin-quiet-hours-0.1.0-1.rockspec",
      "tidegate/plugins/quiet-hours/handler.lua", "tidegate/plugins/quiet-hours/schema.lua",
    } do
      local text = assert(paths.read(folder .. "/" .. name), name)
      assert.is_nil(text:find("my-plugin", 1, true), name)
      assert.matches("tidegate-plugin-quiet-hours/" .. name, run.stdout, 1, true)
    end
    well(tool(folder, { "luarocks", "lint", "tidegate-plugin-quiet-hours-0.1.0-1.rockspec" }))
    run = well(tool(folder, { "luacheck", "--no-color", "." }))
    assert.matches("0 warnings / 0 errors in 3 files", run.stdout, 1, true)
  end)

  it("overwrites nothing", function()
    local dir = paths.tmp()
    uv.fs_mkdir(dir .. "/tidegate-plugin-mine", 493)
    local run = plugin(dir, { "new", "mine" })
    assert.equal(1, run.exit_code)
    assert.matches("tidegate-plugin-mine is there already, and stays as it is", run.stderr, 1, true)
    assert.is_false(exists(dir .. "/tidegate-plugin-mine/README.md"))
  end)

  it("says where it cannot write", function()
    local run = plugin("/proc", { "new", "mine" })
    assert.equal(1, run.exit_code)
    assert.matches("cannot make tidegate-plugin-mine: ", run.stderr, 1, true)
  end)
end)

it("refuses what is no name, no version, and words that it does not know", function()
  local dir = paths.tmp()
  for _, case in ipairs {
    { { "new", "Drop" }, '"Drop" is no name of a plugin' },
    { { "new", "../drop" }, '"../drop" is no name' },
    { { "new", "1st" }, '"1st" is no name' },
    { { "new", "" }, '"" is no name' },
    { { "install", "drop bots" }, '"drop bots" is no name' },
    { { "remove", "tidegate-plugin-" }, '"tidegate-plugin-" is no name' },
    { { "install", "drop-bots", "--", "--force" }, '"--force" is no version' },
    { { "install", "drop-bots", "1", "2" }, "too many words" },
    { { "install", "./x.rock", "1.0" }, "a file has one version" },
    { { "install", "drop-bots", "--tree", "" }, "the name of a folder is empty" },
    { { "install" }, "install needs the NAME of a plugin, or a FILE.rock" },
    { { "pack", "x" }, '"x" is one word too many' },
    { { "new", "drop", "--tree", "x" }, "new has no --tree" },
    { { "remove", "drop", "--only-server", "x" }, "remove has no --only-server" },
    { { "install", "drop", "--json" }, "install has no --json" },
    { { "list", "--only-server", "x" }, "list has no --only-server" },
    { { "instal", "x" }, "did you mean install?" },
    { {}, "a command is missing" },
  } do
    local run = plugin(dir, case[1])
    assert.equal(64, run.exit_code, case[2])
    assert.matches(case[2], run.stderr, 1, true)
    assert.is_nil(run.stderr:find("luarocks --", 1, true)) -- it never got that far
  end
end)

describe("tidegate plugin pack", function()
  it("makes a rock that can be installed, and leaves nothing else behind", function()
    local dir = paths.tmp()
    local tmp = paths.tmp()
    well(plugin(dir, { "new", "mine" }))
    local folder = dir .. "/tidegate-plugin-mine"
    local run = well(plugin(folder, { "pack" }, { TMPDIR = tmp }))
    assert.matches("make --deps-mode=none tidegate-plugin-mine-0.1.0-1.rockspec\n", run.stderr, 1, true)
    assert.is_true(exists(folder .. "/tidegate-plugin-mine-0.1.0-1.all.rock"))
    assert.is_nil(uv.fs_scandir_next(uv.fs_scandir(tmp)))
  end)

  it("says what it misses", function()
    local dir = paths.tmp()
    local run = plugin(dir, { "pack" })
    assert.equal(1, run.exit_code)
    assert.matches("there is no *.rockspec here", run.stderr, 1, true)
    paths.write(dir .. "/a-1-1.rockspec", "")
    paths.write(dir .. "/a-2-1.rockspec", "")
    run = plugin(dir, { "pack" })
    assert.equal(1, run.exit_code)
    assert.matches("a-1-1.rockspec and a-2-1.rockspec", run.stderr, 1, true)
    uv.fs_unlink(dir .. "/a-1-1.rockspec")
    uv.fs_rename(dir .. "/a-2-1.rockspec", dir .. "/mine.rockspec")
    run = plugin(dir, { "pack" })
    assert.equal(1, run.exit_code)
    assert.matches("named NAME-VERSION-REVISION.rockspec, not mine.rockspec", run.stderr, 1, true)
  end)
end)

describe("tidegate plugin install", function()
  it("takes a file, for which no network is asked, and shows the line that it runs", function()
    local dir, state = paths.tmp(), paths.tmp()
    local rock = packed(dir, "mine")
    local run = well(plugin(dir, { "install", rock }, { TIDEGATE_STATE_DIR = state }))
    assert.equal(("luarocks --lua-version=5.1 --tree=%s/rocks --only-server=%s install %s"):format(
      state, rock:match "^.*/", rock), run.stderr:match "^[^\n]+")
    assert.is_true(exists(handler_in(state .. "/rocks", "mine")))
  end)

  it("takes what a file depends on from the folder that the file is in", function()
    local dir, tree = paths.tmp(), paths.tmp()
    local _, folder = packed(dir, "base")
    local top = packed(dir, "top", "tidegate-plugin-base >= 0.1")
    local run = plugin(dir, { "install", top, "--tree", tree })
    assert.equal(1, run.exit_code)
    assert.matches("Could not satisfy dependency tidegate-plugin-base >= 0.1", run.stderr, 1, true)
    assert.is_false(exists(handler_in(tree, "top")))
    assert(uv.fs_rename(top, folder .. "/" .. top:match "[^/]+$"))
    well(tool(dir, { "luarocks-admin", "--lua-version=5.1", "make_manifest", folder }))
    well(plugin(folder, { "install", top:match "[^/]+$", "--tree", tree }))
    assert.is_true(exists(handler_in(tree, "top")))
    assert.is_true(exists(handler_in(tree, "base")))
  end)

  it("takes a name from a folder of rocks alone", function()
    local dir, tree = paths.tmp(), paths.tmp() .. "/it's a tree"
    local _, folder = packed(dir, "mine")
    well(tool(dir, { "luarocks-admin", "--lua-version=5.1", "make_manifest", folder }))
    local run = well(plugin(dir, { "install", "mine", "0.1.0", "--tree", tree, "--only-server", folder }))
    local line = "luarocks --lua-version=5.1 '--tree=%s' --only-server=%s install tidegate-plugin-mine 0.1.0"
    assert.equal(line:format(tree:gsub("'", "'\\''"), folder), run.stderr:match "^[^\n]+")
    assert.is_true(exists(handler_in(tree, "mine")))

    run = plugin(dir, { "install", "other", "--tree", tree, "--only-server", folder })
    assert.equal(1, run.exit_code)
    assert.matches("No results matching query", run.stderr, 1, true) -- luarocks says so

    run = well(plugin(dir, { "remove", "tidegate-plugin-mine", "--tree", tree }))
    assert.matches(" remove tidegate-plugin-mine\n", run.stderr, 1, true)
    assert.is_false(exists(handler_in(tree, "mine")))
  end)

  it("leaves what the service's user can load, whatever root's umask is", function()
    if uv.getuid() ~= 0 then
      return pending "needs root"
    end
    local dir, state = paths.tmp(), paths.tmp()
    local nobody = 65534
    assert(uv.fs_chown(state, nobody, nobody))
    local rock = packed(dir, "mine")
    local env = {
      TIDEGATE_STATE_DIR = state, DISCORD_TOKEN = "abc.def.ghi", INTENTS = "513", TIDEGATE_PLUGINS = "mine",
    }
    local command = { paths.bin "tidegate", "plugin", "install", rock }
    well(tool(dir, { "sh", "-c", 'umask 077; exec "$@"', "sh", unpack(command) }, env))
    local tree = state .. "/rocks"
    local hidden = { "find", tree, "!", "-perm", "-004", "-o", "-type", "d", "!", "-perm", "-005" }
    assert.equal("", well(tool(dir, hidden)).stdout)
    local run = well(tool("/", { "setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups",
      paths.bin "tidegate", "check" }, env))
    assert.matches("\n  mine  0.1.0  from " .. tree .. ", priority 500\n", run.stdout, 1, true)
  end)

  it("says that a file is not there, and how to get LuaRocks", function()
    local dir = paths.tmp()
    local run = plugin(dir, { "install", "./mine.rock" })
    assert.equal(1, run.exit_code)
    assert.matches("./mine.rock cannot be read, or is not there", run.stderr, 1, true)
    run = tool(dir, { "env", "PATH=" .. dir, paths.bin "tidegate", "plugin", "install", "mine" })
    assert.equal(1, run.exit_code)
    assert.matches("apt-get install luarocks", run.stderr, 1, true)
  end)

  -- A luarocks that tells what it gets.
  local function told(env)
    local dir = paths.tmp()
    local path = paths.write(dir .. "/luarocks", '#!/bin/sh\nenv\nexit 3\n')
    uv.fs_chmod(path, 493)
    env.PATH = dir .. ":" .. os.getenv "PATH"
    local run = plugin(dir, { "install", "mine" }, env)
    assert.equal(3, run.exit_code)
    return "\n" .. run.stdout, run.stderr
  end

  it("tells builds of rocks no secret, but luarocks its proxy", function()
    local env = told {
      DISCORD_TOKEN = "abc.def.ghi", https_proxy = "http://user:password@127.0.0.1:1", INTENTS = "1",
    }
    assert.is_nil(env:find("abc.def.ghi", 1, true))
    assert.matches("\nhttps_proxy=http://user:password@127.0.0.1:1\n", env, 1, true)
    assert.matches("\nINTENTS=1\n", env, 1, true)
  end)

  it("goes where the gateway of the same environment has its state", function()
    for _, case in ipairs {
      { { TIDEGATE_STATE_DIR = "/a" }, "/a/rocks" },
      { { TIDEGATE_STATE_DIR = "/a", STATE_DIRECTORY = "/b" }, "/a/rocks" },
      { { STATE_DIRECTORY = "/b:/c" }, "/b/rocks" },
    } do
      local _, line = told(case[1])
      assert.matches("--tree=" .. case[2] .. " ", line, 1, true)
    end
    local at = exists "/var/lib/tidegate" and uv.getuid() == 0 and "/var/lib/tidegate" or "/x/tidegate"
    local _, line = told { XDG_STATE_HOME = "/x" }
    assert.matches("--tree=" .. at .. "/rocks ", line, 1, true)
  end)
end)

describe("tidegate plugin list", function()
  local dir, first, second

  setup(function()
    dir, first, second = paths.tmp(), paths.tmp(), paths.tmp()
    well(plugin(dir, { "install", packed(dir, "mine"), "--tree", first }))
    well(plugin(dir, { "install", packed(dir, "other"), "--tree", first }))
    well(plugin(dir, { "install", dir .. "/tidegate-plugin-mine/tidegate-plugin-mine-0.1.0-1.all.rock",
      "--tree", second }))
    paths.write(dir .. "/bot.lua", [[
      local gateway = require "tidegate"
      gateway.configure { token = "abc.def.ghi", intents = 513 }
      gateway.plugin("mine", { channels = { "1001" } })
    ]])
  end)

  -- The lines, without what aligns them.
  local function list(argv, env)
    table.insert(argv, 1, "list")
    env = env or {}
    env.TIDEGATE_ROCKS_TREES = first .. "," .. second
    local run = plugin(dir, argv, env)
    return "\n" .. run.stdout:gsub("[ \t]+", " "):gsub(" \n", "\n"), run
  end

  local function find(list_of, name, from)
    for _, one in ipairs(list_of) do
      if one.plugin == name and one.from == from then
        return one
      end
    end
  end

  it("shows the plugins of all trees, the first one first, and what is built in", function()
    local text, run = list {}
    well(run)
    assert.matches(("\nmine 0.1.0-1 %s\nmine 0.1.0-1 %s\nother 0.1.0-1 %s\n"):format(first, second, first),
      text, 1, true)
    assert.matches("\ndrop%-bots %d+%.%d+%.%d+ built in\n", text)
    assert.is_nil(text:find "MESSAGE_CREATE") -- nothing loads them
  end)

  it("shows one tree", function()
    local text, run = list { "--tree", second }
    well(run)
    assert.equal(("\nPlugin Version From\nmine 0.1.0-1 %s\n"):format(second), text)
    text = list { "--tree", dir .. "/nowhere" }
    assert.equal("\nThere are none.\n", text)
  end)

  it("shows what those do that a script loads", function()
    local text, run = list { "bot.lua" }
    well(run)
    local shown = "\nPlugins\n mine 0.1.0 from %s, priority 500\n"
      .. " filters MESSAGE_CREATE: a function is asked for each\n"
    assert.matches(shown:format(first), text, 1, true)
    local _, of_json = list { "bot.lua", "--json" }
    local told = cjson.decode(well(of_json).stdout)
    assert.equal("0.1.0-1", find(told.installed, "other", first).version)
    assert.equal("MESSAGE_CREATE", told.plugins[1].filters[1].events[1])
    assert.same({}, told.problems)
  end)

  it("shows what those do that the environment names", function()
    local text, run = list({}, {
      DISCORD_TOKEN = "abc.def.ghi", INTENTS = "513", TIDEGATE_PLUGINS = "other",
    })
    well(run)
    assert.matches("\nPlugins\n other 0.1.0 ", text, 1, true)
  end)

  it("shows what is installed where the script does not load, and why it does not", function()
    paths.write(dir .. "/broken.lua", 'require("tidegate").plugin("mine", { channels = 5 })')
    local text, run = list { "broken.lua" }
    assert.equal(1, run.exit_code)
    assert.matches("\nmine 0.1.0-1 " .. first .. "\n", text, 1, true)
    assert.matches("tidegate plugin: broken.lua:1: plugins.mine.channels: ", run.stderr, 1, true)
  end)

  it("needs no LuaRocks", function()
    local run = tool(dir, { "env", "PATH=" .. dir, paths.bin "tidegate", "plugin", "list", "--tree", first })
    assert.matches("mine", well(run).stdout, 1, true)
  end)
end)
