-- Plugins: a rock tidegate-plugin-<name> with the modules tidegate.plugins.<name>.handler and .schema.
--
--   gateway.plugin("drop-bots", { except = { "123" } })
--   gateway.plugin("drop-bots", { ... }, { as = "drop-more", version = "~> 1.2" })
--
-- Those that the configuration names (`plugins`, TIDEGATE_PLUGINS) are loaded after the script.
--
-- A plugin is loaded while its script is; what it has registered goes with the script's state, at the next
-- reload.

local core = require "tidegate.core"
local guard = require "tidegate.guard"
local instance = require "tidegate.plugin.self"
local rocks = require "tidegate.rocks"
local schema = require "tidegate.plugin.schema"
local stack = require "tidegate.plugin.stack"

local API = 1

-- What lies beside the script is loaded from there, whatever is installed.
local plugin = { folder = core.script and (core.script:match "^(.*/)" or "./") }

local loaded, names = {}, {} -- by name; in the order of loading

local function fail(text, ...) error(text:format(...), 0) end

-- ---- finding ----

local function prefix(name) return "tidegate.plugins." .. name .. "." end

local function is_embedded(name) return package.preload[prefix(name) .. "handler"] ~= nil end

local function embedded_names()
  local found = {}
  for module in pairs(package.preload) do
    found[#found + 1] = tostring(module):match "^tidegate%.plugins%.(.+)%.handler$"
  end
  return found
end

-- A module that is none of a rock's, nor embedded: the folder in which `require` finds it.
local function folder_of(name)
  local file = package.searchpath(prefix(name) .. "handler", package.path)
  return file and file:match "^(.*)/tidegate/plugins/"
end

local function is_beside_script(name)
  return plugin.folder and package.searchpath(prefix(name) .. "handler", plugin.folder .. "?.lua") ~= nil
end

-- Where the plugin comes from: "the script's folder", a tree, another folder, "built in". Raises when it is
-- nowhere.
local function find(name, version)
  if is_beside_script(name) then return "the script's folder" end
  local rock, problem = rocks.use("tidegate-plugin-" .. name, version)
  if problem then fail("plugin %s: %s", name, problem) end
  if rock then return rock.tree, rock.version end
  local folder = folder_of(name)
  if folder then return folder end
  if is_embedded(name) then return "built in" end
  fail("there is no plugin '%s'%s; `tidegate plugin install %s` installs one", name,
    guard.suggestion(name, embedded_names()), name)
end

-- What is embedded stands in package.preload, which `require` asks before the trees.
local function require_from(from, module)
  local embedded = package.preload[module]
  if from ~= "built in" then package.preload[module] = nil end
  local ok, made = pcall(require, module)
  package.preload[module] = embedded
  if not ok then fail("%s", made) end
  return made
end

-- ---- checking ----

local kinds = { VERSION = "string", PRIORITY = "number", API = "number", load = "function",
                unload = "function", save = "function", restore = "function" }
local needed = { "VERSION", "PRIORITY", "API", "load" }

local function check_handler(name, handler)
  if type(handler) ~= "table" then
    fail("plugin %s: its handler returns %s instead of a table", name, type(handler))
  end
  for _, field in ipairs(needed) do
    if handler[field] == nil then
      fail("plugin %s: its handler has no %s (a %s)", name, field, kinds[field])
    end
  end
  for field, kind in pairs(kinds) do
    local value = handler[field]
    if value ~= nil and type(value) ~= kind then
      fail("plugin %s: %s of its handler is a %s, not a %s", name, field, type(value), kind)
    end
  end
  if handler.API ~= API then
    fail("plugin %s is made for version %s of the plugin interface; this gateway has version %d", name,
      tostring(handler.API), API)
  end
  local hidden = instance.hidden_by(handler)
  if hidden then
    fail("plugin %s: '%s' of its handler is a name of the gateway's; take another", name, hidden)
  end
end

local function check_schema(name, rules)
  local problem = schema.problem(rules)
  if problem then fail("plugin %s: its schema is wrong: %s", name, problem) end
end

local function check_config(name, rules, config)
  local made, problems = schema.check(rules, config, "plugins." .. name)
  if not made then fail("%s", table.concat(problems, "\n")) end
  return made
end

-- Of what is no rock only the handler tells the version.
local function check_version(name, from, handler, version)
  if version and not rocks.fits(handler.VERSION, version) then
    fail("plugin %s: version %s (%s) does not fit \"%s\", and no tree of rocks has one that does", name,
      handler.VERSION, from, version)
  end
end

-- ---- life ----

-- What of a plugin lives through reloads: a part of gateway.state.
local function box_of(name)
  local key = "plugin:" .. name
  if type(core.state[key]) ~= "table" then core.state[key] = {} end
  local box = core.state[key]
  if type(box.state) ~= "table" then box.state = {} end
  return box
end

local LEAST_SECRET = 6 -- bytes, as in the log: shorter ones would blank out half of every text

-- Secrets of a configuration are in no text that is shown, in no line of the log.
local function veil(text, secrets)
  for _, secret in ipairs(secrets) do
    if #secret >= LEAST_SECRET then text = text:gsub(secret:gsub("%p", "%%%0"), "***") end
  end
  return text
end

local function run_load(self, secrets)
  local handler = self.handler
  for _, secret in ipairs(secrets) do core.log_secret(secret) end
  local before = core.plugin_account(self.name)
  local ok, problem = xpcall(handler.load, core.traceback, self, self.config)
  core.plugin_account(before)
  if not ok then fail("plugin %s does not load: %s", self.name, veil(tostring(problem), secrets)) end
end

local function attend(self, box)
  local handler, described = self.handler, self.made.handlers
  self.made.handlers = {}
  local function leave()
    if handler.unload then handler.unload(self) end
    if handler.save then box.saved = handler.save(self) end
  end
  local function come()
    local saved = box.saved
    box.saved = nil
    if saved ~= nil and handler.restore then handler.restore(self, saved) end
  end
  if handler.unload or handler.save then self:on("unload", leave) end
  if handler.restore then self:on("load", come) end
  self.made.handlers = described
end

local known_options = { as = "string", version = "string" }

local LONGEST_NAME = 40 -- bytes: it has room in messages and metrics

local function is_name(name) return name:find "^%l[%l%d-]*$" ~= nil and #name <= LONGEST_NAME end

local function check_call(name, config, options)
  if type(name) ~= "string" or not is_name(name) then
    fail("gateway.plugin: the name of a plugin has up to %d lower-case letters, digits and -, got %s",
      LONGEST_NAME, tostring(name))
  end
  if config ~= nil and type(config) ~= "table" then
    fail("gateway.plugin: the configuration of %s is a table, not a %s", name, type(config))
  end
  if options ~= nil and type(options) ~= "table" then
    fail("gateway.plugin: the options of %s are a table, not a %s", name, type(options))
  end
  for key, value in pairs(options or {}) do
    if not known_options[key] then
      fail("gateway.plugin: %s: unknown option '%s' (known: as, version)", name, tostring(key))
    elseif type(value) ~= known_options[key] then
      fail("gateway.plugin: %s: the option '%s' is a string, not a %s", name, key, type(value))
    end
  end
  local as = options and options.as
  if as and not is_name(as) then
    fail("gateway.plugin: %s: as = \"%s\": a name has up to %d lower-case letters, digits and -", name, as,
      LONGEST_NAME)
  end
end

local function use(name, config, options, where)
  check_call(name, config, options)
  options = options or {}
  local as = options.as or name
  if loaded[as] then
    fail("plugin %s is loaded already, by %s; a second one, by %s, needs another name: { as = \"...\" }", as,
      loaded[as].where, where)
  end
  local from, rock_version = find(name, options.version)
  local handler = require_from(from, prefix(name) .. "handler")
  local rules = require_from(from, prefix(name) .. "schema")
  check_handler(name, handler)
  check_schema(name, rules)
  if not rock_version then check_version(name, from, handler, options.version) end
  local box = box_of(as)
  local self = instance.new(as, handler, check_config(as, rules, config), box)
  run_load(self, schema.secrets(rules, self.config))
  attend(self, box)
  loaded[as] = { plugin = name, self = self, rules = rules, from = from, rock = rock_version, where = where }
  names[#names + 1] = as
end

-- Loads a plugin under a name, because `where` ("bot.lua:12") says so. Raises a text that names it; it stays
-- as plugin.failed, since a script must not go on with half of a plugin.
function plugin.use(name, config, options, where)
  local ok, problem = pcall(use, name, config, options, where)
  if ok then return end
  plugin.failed = plugin.failed or problem
  error(problem, 0)
end

-- Loads those of the configuration, { ["drop-bots"] = { ... } }, which stand in `where`. Returns nil, or all
-- that is wrong with all of them.
function plugin.use_all(list, where)
  local ordered, problems = {}, {}
  for name in pairs(list) do ordered[#ordered + 1] = name end
  table.sort(ordered)
  for _, name in ipairs(ordered) do
    local ok, problem = pcall(use, name, list[name], nil, where)
    if not ok then problems[#problems + 1] = problem end
  end
  return #problems > 0 and table.concat(problems, "\n") or nil
end

-- Empty lists and tables keep their shape in JSON.
local function shaped(field, value)
  if type(value) ~= "table" then return value end
  for key, element in pairs(value) do
    local rule = field.elements or field.values or field.fields and field.fields[key]
    value[key] = rule and shaped(rule, element)
  end
  return (field.type == "array" and core.json.array or core.json.object)(value)
end

-- What is loaded, for people: /plugins of `tidegate check --json`.
function plugin.describe()
  local list = {}
  for i, name in ipairs(names) do
    local one = loaded[name]
    local made = one.self.made
    list[i] = {
      plugin = one.plugin, name = name, version = one.self.handler.VERSION, rock = one.rock,
      priority = one.self.handler.PRIORITY, from = one.from,
      config = shaped({ fields = one.rules.fields }, schema.mask(one.rules, one.self.config)),
      overrides = core.json.array(made.overrides), filters = core.json.array(made.filters),
      handlers = core.json.array(made.handlers), routes = core.json.array(made.routes),
    }
  end
  return list
end

-- What may not be meant as it is, one text each.
function plugin.warnings() return stack.ties() end

return plugin
