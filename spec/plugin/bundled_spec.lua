-- What each plugin in rockspec/ has to be: a rock whose papers say what it is, and that passes its own spec.
-- What a plugin does at a real gateway is in the spec of its name.

local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"
local uv = require "luv"

local function names_in(dir)
  local names = {}
  local scan = uv.fs_scandir(dir)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local rockspec = paths.root .. "/rockspec"

local function bundled()
  local names = {}
  for _, name in ipairs(names_in(rockspec)) do
    if uv.fs_stat(("%s/%s/tidegate/plugins"):format(rockspec, name)) then names[#names + 1] = name end
  end
  return names
end

local function file_of(name, module)
  return ("%s/%s/tidegate/plugins/%s/%s.lua"):format(rockspec, name, name, module)
end

local function file_with(dir, pattern)
  for _, name in ipairs(names_in(dir)) do
    if name:find(pattern) then return dir .. "/" .. name end
  end
  error(("no file of %s has a name like %s"):format(dir, pattern))
end

-- The table of a README, from the schema: schema.lua of the plugin base, which needs no gateway.
local function table_of(rules)
  local base = dofile(paths.root .. "/lua/tidegate/plugin/schema.lua")
  assert.is_nil(base.problem(rules))
  local lines = { "| field | type | default | |", "|---|---|---|---|" }
  for _, row in ipairs(base.rows(rules)) do
    assert.is_true(#row[4] > 0, row[1] .. " has no description")
    local default = row[3]
    if default ~= "" and default ~= "required" then default = "`" .. default .. "`" end
    lines[#lines + 1] = ("| `%s` | %s | %s | %s |"):format(row[1], row[2], default, row[4])
  end
  return table.concat(lines, "\n") .. "\n"
end

local function rockspec_of(name)
  local path = file_with(rockspec .. "/" .. name, "%.rockspec$")
  local made = {}
  setfenv(assert(loadfile(path)), made)()
  return made, path
end

-- `tidegate check` of a text as script, or without one, with what the examples of the pages want to be there.
local function check(text, variables)
  local dir = paths.tmp()
  local list = paths.write(dir .. "/guilds.txt", "41771983423143937\n")
  local function settled(value) return (value:gsub("/etc/tidegate/guilds%.txt", list)) end
  local env = { DISCORD_TOKEN = "fake-token", INTENTS = "513", TIDEGATE_STATE_DIR = dir .. "/state",
                ALERT_WEBHOOK = "http://127.0.0.1:1/alerts" }
  for name, value in pairs(variables or {}) do env[name] = settled(value) end
  local argv = { paths.bin "tidegate", "check" }
  if text then argv[3] = paths.write(dir .. "/script.lua", plugins.script(settled(text))) end
  local run = process.run(argv, { env = env })
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
  return run.stdout
end

describe("the bundled plugin", function()
  after_each(process.cleanup)

  for _, name in ipairs(bundled()) do
    local dir = rockspec .. "/" .. name

    it(name .. " has a README with the table of its schema", function()
      local readme = assert(paths.read(dir .. "/README.md"))
      local expected = table_of(dofile(file_of(name, "schema")))
      local found = readme:match "| field | type .-|\n\n" or readme:match "| field | type .-|\n$" or ""
      assert.equal(expected, (found:gsub("\n\n$", "\n")))
    end)

    it(name .. " is loaded by the examples of its README, with a script and without", function()
      local readme = assert(paths.read(dir .. "/README.md"))
      local script = assert(readme:match "```lua\n(.-)```", "there is no example of a script")
      assert.matches("plugin " .. name, check(script), 1, true)
      local variables, count = {}, 0
      for variable, value in readme:gmatch "\n(TIDEGATE_PLUGIN[%u_]*)=([^\n]*)" do
        variables[variable], count = value, count + 1
      end
      assert.equal(name, variables.TIDEGATE_PLUGINS)
      assert.equal(2, count)
      assert.matches("plugin " .. name, check(nil, variables), 1, true)
    end)

    it(name .. " is in the index", function()
      local index = assert(paths.read(rockspec .. "/README.md"))
      assert.matches(("| [`%s`](%s/README.md) |"):format(name, name), index, 1, true)
    end)

    it(name .. " is a rock of its version, with all its modules", function()
      local made, path = rockspec_of(name)
      local version = assert(paths.read(file_of(name, "handler"))):match 'VERSION = "([%d.]+)"' .. "-1"
      assert.equal("tidegate-plugin-" .. name, made.package)
      assert.equal(version, made.version)
      assert.matches(("tidegate-plugin-%s-%s.rockspec"):format(name, version), path, 1, true)
      local modules = {}
      for _, file in ipairs(names_in(("%s/tidegate/plugins/%s"):format(dir, name))) do
        local relative = ("tidegate/plugins/%s/%s"):format(name, file)
        modules[relative:gsub("%.lua$", ""):gsub("/", ".")] = relative
      end
      assert.same(modules, made.build.modules)
      local lint = process.run { "luarocks", "--lua-version=5.1", "lint", path }
      assert.equal(0, lint.exit_code, lint.stdout .. lint.stderr)
    end)

    it(name .. " passes its own spec with the gateway's test kit", function()
      local run = process.run({ paths.bin "tidegate", "test", "-o", "TAP", dir .. "/spec" },
        { timeout = 60000 })
      assert.equal(0, run.exit_code, run.stdout .. run.stderr)
      assert.matches("\nok 2 ", "\n" .. run.stdout, 1, true)
    end)

    it(name .. " passes its own spec without the gateway", function()
      local run = process.run({ "busted", "--lua=luajit", "-o", "TAP", dir .. "/spec" }, {
        env = { LUA_PATH = ("lua/?.lua;lua/?/init.lua;%s/?.lua;;"):format(dir) }, timeout = 60000,
      })
      assert.equal(0, run.exit_code, run.stdout .. run.stderr)
      assert.matches("\nok 2 ", "\n" .. run.stdout, 1, true)
    end)
  end
end)
