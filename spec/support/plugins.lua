-- Plugins that a spec writes, in a tree that the gateway looks into.
--
--   local tree = plugins.tree { ["try"] = { load = "self.log.info('hello')", schema = "{}", more = "..." } }
--   scene.start { env = { TIDEGATE_ROCKS_TREES = tree }, script = plugins.script "gateway.plugin('try')" }

local paths = require "spec.support.paths"

local plugins = {}

-- Text of a handler: what `load` does, more of its file, and its priority and version of the interface.
function plugins.handler(plugin)
  return ([[
local Handler = { VERSION = "%s", PRIORITY = %d, API = %s }
%s
function Handler:load(config)
  local _ = config
  %s
end
return Handler
]]):format(plugin.version or "1.0.0", plugin.priority or 500, plugin.api or 1, plugin.more or "",
    plugin.load or "")
end

-- Writes them, by their names, and returns the tree: of each `handler` is the whole file, or what handler()
-- takes;
-- `schema` the fields.
function plugins.tree(list, into)
  local tree = into or paths.tmp()
  for name, plugin in pairs(list) do
    local dir = ("%s/share/lua/5.1/tidegate/plugins/%s"):format(tree, name)
    assert(os.execute(("mkdir -p '%s'"):format(dir)) == 0)
    paths.write(dir .. "/handler.lua", plugin.handler or plugins.handler(plugin))
    paths.write(dir .. "/schema.lua", ("return { fields = %s }\n"):format(plugin.schema or "{}"))
  end
  return tree
end

function plugins.script(text)
  return 'local gateway = require "tidegate"\n' .. text .. "\n"
end

-- `tidegate check` of a script that says `text`, with these plugins: its exit code, output and errors.
function plugins.check(list, text, ...)
  local process = require "spec.support.process"
  local dir = paths.tmp()
  local script = paths.write(dir .. "/script.lua", plugins.script(text))
  local argv = { paths.bin "tidegate", "check", script, ... }
  local check = process.start(argv, { env = {
    DISCORD_TOKEN = "fake-token", INTENTS = "513", TIDEGATE_STATE_DIR = dir .. "/state",
    TIDEGATE_ROCKS_TREES = plugins.tree(list),
  } })
  check:wait()
  return check.exit_code, check.stdout, check.stderr
end

return plugins
