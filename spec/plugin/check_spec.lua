-- What `tidegate check` says of plugins.

local cjson = require "cjson.safe"
local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"

local function check(list, env, text, ...)
  local dir = paths.tmp()
  local argv = { paths.bin "tidegate", "check", ... }
  if text then table.insert(argv, 3, paths.write(dir .. "/script.lua", plugins.script(text))) end
  local variables = { DISCORD_TOKEN = "fake-token", INTENTS = "0", TIDEGATE_STATE_DIR = dir .. "/state",
                      TIDEGATE_ROCKS_TREES = plugins.tree(list) }
  for name, value in pairs(env) do variables[name] = value end
  local result = process.run(argv, { env = variables })
  return result.exit_code, result.stdout, result.stderr
end

local full = {
  version = "1.2.0", priority = 700,
  schema = [[{
    words = { type = "array", elements = { type = "string" }, default = { "a" } },
    channels = { type = "array", elements = { type = "string" }, default = {} },
    names = { type = "map", keys = { type = "string" }, values = { type = "string" }, default = {} },
    hooks = { type = "array", elements = { type = "record", fields = {
      url = { type = "string", secret = true }, at = { type = "integer" } } } },
  }]],
  load = [[
    self:filter({ "MESSAGE_CREATE", "MESSAGE_UPDATE" }, function() end)
    self:filter("TYPING_START", false)
    self:on({ "ready", "MESSAGE_CREATE" }, function() end)
    self:override("delivery", "is_delivered", function(next, ...) return next(...) end)
    if self.role == "manager" then
      self:override("manager", "spawn_shards", function(next, ...) return next(...) end)
    end
  ]],
}

local env = { TIDEGATE_PLUGINS = "full,quiet",
              TIDEGATE_PLUGIN_FULL = '{"hooks": [{"url": "http://secret-word", "at": 5}]}' }

describe("tidegate check", function()
  it("lists plugins, with what they set up in either role, and configured with", function()
    local code, out, problem = check({ full = full, quiet = {} }, env)
    assert.equal(0, code, problem)
    local listed = out:match "\nPlugins\n.-\n\n"
    assert.truthy(listed, out)
    for _, pattern in ipairs {
      "full   1.2.0  from /%S+, priority 700\n", "  overrides delivery:is_delivered, manager:spawn_shards\n",
      "  filters MESSAGE_CREATE, MESSAGE_UPDATE: a function is asked for each\n",
      "  filters TYPING_START: constant, at no cost\n", "  listens to ready, MESSAGE_CREATE\n",
      '  channels = %[%]\n%s+hooks = %[{"at": 5, "url": "%*%*%*"}%]\n%s+names = {}\n%s+words = %["a"%]\n',
      "quiet  1.0.0  from /%S+, priority 500\n",
    } do
      assert.matches(pattern, listed)
    end
    assert.matches("\n  plugins%s+full, quiet\n", out)
    assert.not_matches("secret%-word", out .. problem)
  end)

  it("has them in its JSON, once for both roles, and of each role", function()
    local code, out = check({ full = full, quiet = {} }, env, nil, "--json")
    assert.equal(0, code, out)
    local said = assert(cjson.decode(out))
    assert.equal(2, #said.plugins)
    local first = said.plugins[1]
    assert.same({ "full", "full", "1.2.0", 700 }, { first.plugin, first.name, first.version, first.priority })
    assert.same({ words = { "a" }, hooks = { { url = "***", at = 5 } }, channels = {}, names = {} },
      first.config)
    assert.same({ "delivery:is_delivered", "manager:spawn_shards" }, first.overrides)
    assert.same({ { events = { "MESSAGE_CREATE", "MESSAGE_UPDATE" }, compiled = false },
                  { events = { "TYPING_START" }, compiled = true, rule = false } }, first.filters)
    assert.same({ "delivery:is_delivered" }, said.worker.plugins[1].overrides)
    assert.same({ full = "***", quiet = "***" }, said.configuration.plugins)
    assert.not_matches("secret%-word", out)
  end)

  it("shows those of a script with their other names", function()
    local code, out, problem = check({ quiet = {} }, {}, [[gateway.plugin("quiet", nil, { as = "again" })]])
    assert.equal(0, code, problem)
    assert.matches("\nPlugins\n  again  1.0.0  quiet, from /%S+, priority 500\n", out)
    assert.not_matches("\nPlugins\n", (select(2, check({}, {}))))
  end)

  it("warns of two of equal priority on one method, and of variables of no plugin", function()
    local tied = { load = [[
      self:override("delivery", "is_delivered", function(next, ...) return next(...) end)
      self:override("manager", "spawn_shards", function(next, ...) return next(...) end)
    ]] }
    local _, _, said = check({ a = tied, b = tied, c = { priority = 400, load = tied.load } }, {
      TIDEGATE_PLUGINS = "a,b,c", TIDEGATE_PLUGIN_D = "{}",
    })
    assert.matches("warning: plugins a and b both override gateway.delivery:is_delivered with PRIORITY 500: "
      .. "a is asked first", said, 1, true)
    assert.matches("warning: plugins a and b both override gateway.manager:spawn_shards", said, 1, true)
    assert.not_matches("and c both", said, 1, true)
    assert.equal(3, select(2, said:gsub("warning: ", "")), said)
    assert.matches("warning: environment variable TIDEGATE_PLUGIN_D: TIDEGATE_PLUGINS names no plugin 'd'",
      said, 1, true)
  end)

  it("fails for one that does not load, and veils secrets in what that says", function()
    local code, _, said = check({ bad = { load = "error('it is ' .. config.url)",
      schema = [[{ url = { type = "string", secret = true } }]] } }, {
      TIDEGATE_PLUGINS = "bad", TIDEGATE_PLUGIN_BAD = '{"url": "http://secret-word/%1"}',
    })
    assert.equal(1, code)
    assert.matches("plugin bad does not load: [^\n]*it is %*%*%*\n", said)
    assert.not_matches("secret%-word", said)
  end)
end)
