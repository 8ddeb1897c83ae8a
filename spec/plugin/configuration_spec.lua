-- Plugins that the configuration names, with a script and without one.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

-- Says what it hears, and in which role it was loaded.
local teller = { schema = [[{
  word = { type = "string", required = true },
  url = { type = "string", secret = true },
}]], load = [[
  self.log.info("loaded in the %s with %s and %s", self.role, config.word, config.url or "none")
  self:on("TYPING_START", function() self.log.info("%s heard it", config.word) end)
]] }

local function start(list, options)
  options.reload = false
  options.env = options.env or {}
  options.env.TIDEGATE_ROCKS_TREES = plugins.tree(list)
  local s = scene.start(options)
  s.tree = options.env.TIDEGATE_ROCKS_TREES
  return s
end

-- `tidegate run` that is to refuse: its exit code and what it says.
local function run(list, env, text)
  local dir = paths.tmp()
  local argv = { paths.bin "tidegate", "run" }
  if text then argv[3] = paths.write(dir .. "/script.lua", plugins.script(text)) end
  local variables = { DISCORD_TOKEN = "fake-token", INTENTS = "0", TIDEGATE_STATE_DIR = dir .. "/state",
                      TIDEGATE_ROCKS_TREES = plugins.tree(list) }
  for name, value in pairs(env) do variables[name] = value end
  local gateway = process.start(argv, { env = variables })
  gateway:wait()
  return gateway.exit_code, gateway.stderr
end

describe("plugins of the configuration", function()
  after_each(scene.stop)

  it("need no script: the environment names and configures them, in both roles", function()
    local s = start({ ["tell-it"] = teller, other = { load = [[self.log.info "is there"]] } }, { env = {
      TIDEGATE_PLUGINS = "tell-it, other",
      TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin", "url": null}',
    } })
    for _, role in ipairs { "manager", "worker" } do
      s.gateway:wait_for_log("tell%-it: loaded in the " .. role .. " with robin and none")
    end
    s:type "1"
    s.gateway:wait_for_log "tell%-it: robin heard it"
    assert.equal(2, s.gateway:count_log "other: is there")
  end)

  it("stand in gateway.configure, too, and count in the place of the environment's", function()
    local s = start({ ["tell-it"] = teller }, {
      env = { TIDEGATE_PLUGINS = "no-such", TIDEGATE_PLUGIN_NO_SUCH = "{}" },
      script = plugins.script [[
        gateway.configure { plugins = { ["tell-it"] = { word = "wren" } } }
        gateway.plugin("tell-it", { word = "crow" }, { as = "again" })
      ]],
    })
    s:type "1"
    s.gateway:wait_for_log "tell%-it: wren heard it"
    s.gateway:wait_for_log "again: crow heard it"
    s.gateway:wait_for_log "TIDEGATE_PLUGIN_NO_SUCH: it means nothing here, because plugins in gateway%."
  end)

  it("come again with a reload, without a script, too; one that does not load changes nothing", function()
    local s = start({ ["tell-it"] = teller }, { env = {
      TIDEGATE_PLUGINS = "tell-it", TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin"}',
    } })
    local sound = teller.load
    plugins.tree({ ["tell-it"] = { schema = teller.schema, load = "error 'not today'" } }, s.tree)
    assert.is_false((s.gateway:reload()))
    s.gateway:wait_for_log "plugin tell%-it does not load: [^\n]*not today"
    s:type "1"
    s.gateway:wait_for_log "robin heard it"
    local changed = sound:gsub("heard it", "listened")
    plugins.tree({ ["tell-it"] = { schema = teller.schema, load = changed } }, s.tree)
    assert.is_true((s.gateway:reload()))
    s:type "1"
    s.gateway:wait_for_log "robin listened"
    assert.equal(1, s.gateway:count_log "robin heard it")
  end)

  it("are looked at with --watch, without a script, too", function()
    local s = start({ ["tell-it"] = teller }, { args = { "--watch" }, env = {
      TIDEGATE_PLUGINS = "tell-it", TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin"}',
    } })
    local changed = teller.load:gsub("heard it", "listened") .. [[
      self:on("reload", function() self.log.info "is the new one" end)
    ]]
    plugins.tree({ ["tell-it"] = { schema = teller.schema, load = changed } }, s.tree)
    s.gateway:wait_for_log "handler.lua has changed: reloading"
    s.gateway:wait_for_log "worker 0: tell%-it: is the new one"
    s:type "1"
    s.gateway:wait_for_log "robin listened"
  end)

  it("are of one generation: a new worker runs what the others run, whatever is on disk", function()
    local s = start({ ["tell-it"] = teller }, { env = {
      TIDEGATE_PLUGINS = "tell-it", TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin"}',
    } })
    plugins.tree({ ["tell-it"] = { schema = teller.schema, load = "error 'of a later day'" } }, s.tree)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    loop.wait_for("a second load", function()
      return s.gateway:count_log "loaded in the worker with robin" == 2
    end)
    s.gateway:wait_ready(1)
    s:type "1"
    s.gateway:wait_for_log "robin heard it"
    assert.equal(0, s.gateway:count_log "of a later day")
  end)

  it("that end workers as they load are left out, until the next reload", function()
    local file = paths.tmp() .. "/go"
    local s = start({ ["tell-it"] = { schema = teller.schema, load = ([[
      if self.role == "worker" and io.open(%q) then
        local ffi = require "ffi"
        ffi.cdef "void _exit(int status);"
        ffi.C._exit(3)
      end
    ]]):format(file) .. teller.load } }, { hurry = 20, env = {
      TIDEGATE_PLUGINS = "tell-it", TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin"}',
    } })
    paths.write(file, "")
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "worker 0: the plugins are not loaded, since they end workers as they load"
    s.gateway:wait_ready(1)
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    os.remove(file)
    assert.is_true((s.gateway:reload()))
    s:type "2"
    s.gateway:wait_for_log "robin heard it"
  end)

  it("that do not load end the start with 78, all of them named", function()
    local code, said = run({ ["tell-it"] = teller, other = { load = "error 'not today'" } }, {
      TIDEGATE_PLUGINS = "tell-it,other,no-such", TIDEGATE_PLUGIN_TELL_IT = '{"word": 5, "wrod": 6}',
    })
    assert.equal(78, code)
    for _, words in ipairs {
      "plugin other does not load: ", "not today", "plugins.tell-it.word: expected a string, got 5",
      "plugins.tell-it.wrod: unknown; did you mean 'word'?", "there is no plugin 'no-such'",
    } do
      assert.matches(words, said, 1, true)
    end
  end)

  it("whose variables are no JSON are refused, all at once, and nothing of the text is told", function()
    local code, said = run({ ["tell-it"] = teller, other = {} }, {
      TIDEGATE_PLUGINS = "tell-it,other,Odd",
      TIDEGATE_PLUGIN_TELL_IT = '{"url": "secret-word}', TIDEGATE_PLUGIN_OTHER = '["secret-word"]',
      TOTAL_SHARDS = "none",
    })
    assert.equal(78, code)
    for _, words in ipairs {
      'total_shards (environment variable TOTAL_SHARDS): ',
      'plugins[3] (environment variable TIDEGATE_PLUGINS): "Odd" is no name of a plugin',
      "plugins.tell-it (environment variable TIDEGATE_PLUGIN_TELL_IT): expected a JSON object",
      "plugins.other (environment variable TIDEGATE_PLUGIN_OTHER): expected a JSON object",
    } do
      assert.matches(words, said, 1, true)
    end
    assert.not_matches("secret%-word", said)
  end)

  it("are refused where the script loads them under the same name, with both places", function()
    local code, said = run({ ["tell-it"] = teller }, {}, [[
      gateway.configure { plugins = { ["tell-it"] = { word = "wren" } } }
      gateway.plugin("tell-it", { word = "crow" })
    ]])
    assert.equal(78, code)
    assert.matches("plugin tell%-it is loaded already, by gateway.plugin in [^\n]*script.lua:3; a second "
      .. "one, by plugins in gateway.configure, needs another name", said)
    code, said = run({ ["tell-it"] = teller }, {
      TIDEGATE_PLUGINS = "tell-it", TIDEGATE_PLUGIN_TELL_IT = '{"word": "wren"}',
    }, [[gateway.plugin("tell-it", { word = "crow" })]])
    assert.equal(78, code)
    assert.matches("script.lua:2; a second one, by TIDEGATE_PLUGINS, needs another name", said)
  end)

  it("keep their configurations to themselves: neither the API nor scripts nor children see them", function()
    local s = start({ ["tell-it"] = teller }, {
      env = { TIDEGATE_PLUGINS = "tell-it",
              TIDEGATE_PLUGIN_TELL_IT = '{"word": "robin", "url": "http://secret-word"}' },
      script = plugins.script [[
        gateway.on("load", function()
          gateway.log.info("config: %s; variable: %s", gateway.config.plugins["tell-it"],
            os.getenv "TIDEGATE_PLUGIN_TELL_IT")
        end)
      ]],
    })
    s.gateway:wait_for_log "config: %*%*%*; variable: %*%*%*"
    s.gateway:wait_for_log "loaded in the worker with robin and %*%*%*"
    for _, page in ipairs { "/status", "/shards", "/metrics" } do
      assert.not_matches("secret%-word", s.gateway:control("GET", page).body)
    end
    for _, pid in ipairs { s.gateway.pid, s.gateway:worker_pids()[1] } do
      assert.not_matches("secret%-word", paths.read(("/proc/%d/environ"):format(pid)))
    end
    assert.not_matches("secret%-word", s.gateway.stderr)
  end)

  it("do not get secrets of the gateway for their placeholders", function()
    local s = start({ ["tell-it"] = teller }, { script = plugins.script [[
      gateway.configure { plugins = { ["tell-it"] = { word = os.getenv "DISCORD_TOKEN" } } }
    ]] })
    s.gateway:wait_for_log "loaded in the worker with %*%*%*token%*%*%* and none"
  end)
end)
