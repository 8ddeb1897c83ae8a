-- `test.plugin` in specs that `tidegate test` runs.

local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"

after_each(process.cleanup)

local SPEC = [[
local test = require "tidegate.test"

it("configures the plugin", function()
  local given = { word = 'quo"te\n', list = { "a", "b" }, none = {}, map = { ["x.y"] = 0.1 }, on = false }
  local kit = test.plugin("try", given)
  assert.equal(given.word, kit:eval "return config.word")
  assert.same({ "a", "b", 0, 0.1, false },
    kit:eval "return { config.list[1], config.list[2], #config.none, config.map['x.y'], config.on }")
end)

it("loads it in either role, under another name", function()
  local kit = test.plugin("try", nil, { role = "manager", as = "other" })
  assert.equal("manager", kit.role)
  assert.equal(1, #kit:log "other: here")
end)

it("shows what it does, and fails with it", function()
  local kit = test.plugin "try"
  assert.equal("dropped", kit:event("MESSAGE_CREATE", { content = "bad" }).outcome)
  assert.equal("passed", kit:event("MESSAGE_CREATE", { content = "good" }).outcome)
  local ok, problem = pcall(kit.event, kit, "MESSAGE_CREATE", { content = "wrong" })
  assert.is_false(ok)
  assert.matches("filter of MESSAGE_CREATE %(plugin try, handler.lua:%d+%) failed.*wrong", problem)
end)

it("tells what is wrong with configuration, options and names", function()
  for problem, arguments in pairs {
    ["plugins.try.list[2]: expected a string, got 5"] = { "try", { list = { "a", 5 } } },
    ["try.word cannot be configured with a function"] = { "try", { word = print } },
    ["test.plugin: unknown option 'rol'; did you mean 'role'"] = { "try", {}, { rol = "manager" } },
    ["there is no plugin 'tri'"] = { "tri" },
  } do
    local ok, message = pcall(test.plugin, unpack(arguments))
    assert.is_false(ok)
    assert.truthy(tostring(message):find(problem, 1, true), message)
  end
end)
]]

local PLUGIN = {
  schema = [[{
    word = { type = "string" }, list = { type = "array", elements = { type = "string" } },
    none = { type = "array", elements = { type = "string" } }, on = { type = "boolean" },
    map = { type = "map", keys = { type = "string" }, values = { type = "number" } },
  }]],
  load = [[
    _G.config = config
    self.log.info("here")
    self:filter("MESSAGE_CREATE", function(event)
      if event.data.content == "wrong" then error "wrong" end
      return event.data.content ~= "bad"
    end)
  ]],
}

-- What `tidegate test` says where the plugin lies in `folder`, and others are installed in `tree`.
local function run(folder, tree)
  paths.write(folder .. "/try_spec.lua", SPEC)
  return process.run({ paths.bin "tidegate", "test", "-o", "TAP", "try_spec.lua" },
    { cwd = folder, env = { TIDEGATE_ROCKS_TREES = tree } })
end

-- A folder as an author has it: tidegate/plugins/try/.
local function folder_of(plugin)
  local dir = paths.tmp()
  plugins.tree({ try = plugin }, dir)
  assert(os.rename(dir .. "/share/lua/5.1/tidegate", dir .. "/tidegate"))
  return dir
end

it("the test kit loads a plugin by itself", function()
  local p = run(folder_of(PLUGIN))
  assert.equal(0, p.exit_code, p.stdout .. p.stderr)
  assert.matches("1..4", p.stdout, 1, true)
end)

-- A tree in which LuaRocks has installed a plugin of that name, which does not load.
local function tree_of_another()
  local dir = paths.tmp()
  local function must(...)
    local p = process.run({ ... }, { cwd = dir })
    assert.equal(0, p.exit_code, p.stdout .. p.stderr)
  end
  local folder, tree = dir .. "/tidegate-plugin-try", dir .. "/tree"
  must(paths.bin "tidegate", "plugin", "new", "try")
  paths.write(folder .. "/tidegate/plugins/try/handler.lua", plugins.handler { load = "error 'of the tree'" })
  must("sh", "-c", 'cd "$1" && exec luarocks --lua-version=5.1 --tree="$2" make', "sh", folder, tree)
  return tree
end

it("the test kit takes the plugin that is worked on, not the one that is installed", function()
  local tree = tree_of_another()
  local p = run(folder_of(PLUGIN), tree)
  assert.equal(0, p.exit_code, p.stdout .. p.stderr)
  p = run(paths.tmp(), tree) -- where there is no other, it is taken
  assert.is_true(p.exit_code > 0)
  assert.matches("of the tree", p.stdout, 1, true)
end)
