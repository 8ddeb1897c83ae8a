-- The types for editors (lua/tidegate/meta) say what the code has: the live `gateway` table, the methods, the
-- configuration, the names of events. Run by `tidegate test`: spec/functional/script/test_kit_spec.lua.

local test = require "tidegate.test"

local META = { "gateway", "manager", "shard", "delivery", "events", "http", "tools", "config",
               "plugin", "test" }

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- classes[name] = { fields = { name = type }, functions = { name = ":" or "." } }; aliases[name] = { word }
local classes, aliases = {}, {}

local function parse(text)
  local class, alias
  local variables = {}
  for line in text:gmatch "([^\n]*)\n" do
    local name = line:match "^%-%-%-@class ([%w_.]+)"
    if name then
      classes[name] = { fields = {}, functions = {} }
      class = classes[name]
    end
    local field, kind = line:match "^%-%-%-@field ([%w_]+)%??%s+(%S+)"
    if field then class.fields[field] = kind end
    name = line:match "^%-%-%-@alias ([%w_.]+)"
    if name then
      alias = {}
      aliases[name] = alias
    end
    local value = line:match '^%-%-%-| "([%w_]+)"'
    if value then alias[#alias + 1] = value end
    local variable = line:match "^local ([%w_]+) = {}$"
    if variable then variables[variable] = class end
    local owner, separator, method = line:match "^function ([%w_]+)([.:])([%w_]+)%("
    local target = owner and variables[owner]
    if target then target.functions[method] = separator end
  end
end

for _, name in ipairs(META) do parse(read("lua/tidegate/meta/" .. name .. ".lua")) end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function both(...)
  local set = {}
  for _, one in ipairs { ... } do
    for name in pairs(one) do set[name] = true end
  end
  return sorted(set)
end

-- The live names behind a sealed table; methods and functions are "function".
local WALK = [[
  local function names(of)
    local found = {}
    local meta = debug.getmetatable(of)
    local fields = meta and type(meta.__index) == "table" and meta.__index or of
    for name, value in pairs(fields) do found[name] = type(value) end
    return found
  end
  local all = { gateway = names(gateway), default = names(gateway.default) }
  for name, value in pairs(all.gateway) do
    if value == "table" and name ~= "state" then all[name] = names(gateway[name]) end
  end
  return all
]]

local function live(role)
  return test.script("", { role = role }):eval(WALK)
end

local function class_of(name)
  return classes["tidegate." .. name:sub(1, 1):upper() .. name:sub(2)]
end

it("every function and table of gateway is declared, and nothing else", function()
  local there = live "worker"
  local gateway = classes["tidegate.Gateway"]
  there.gateway.config = "table" -- these appear when they are asked for
  there.gateway.script = "string"
  assert.same(both(gateway.fields, gateway.functions), sorted(there.gateway))
  for name, kind in pairs(there.gateway) do
    assert.equal(kind == "function", gateway.functions[name] ~= nil, name)
  end
  for _, name in ipairs { "http", "rest", "log", "json", "utf8", "crypto", "metrics" } do
    assert.same(both(class_of(name).fields, class_of(name).functions), sorted(there[name]), name)
  end
  assert.same(sorted(classes["tidegate.Default"].fields), sorted(there.default))
end)

it("is so in the manager, too", function()
  local there = live "manager"
  assert.equal("manager", test.script("", { role = "manager" }):eval "return gateway.role")
  for name in pairs(there.gateway) do
    local gateway = classes["tidegate.Gateway"]
    assert.truthy(gateway.fields[name] or gateway.functions[name], name)
  end
end)

it("every method is declared, and nothing else", function()
  local expected = {}
  for table_name, method in read("src/hooks/methods.h"):gmatch "X%((%l+), ([%l_]+), TG_" do
    expected[table_name] = expected[table_name] or {}
    expected[table_name][method] = ":"
  end
  local there = live "worker"
  for _, name in ipairs { "manager", "shard", "delivery", "cache" } do
    assert.same(expected[name], class_of(name).functions, name)
    assert.same(sorted(expected[name]), sorted(there[name]), name)
  end
end)

-- The keys of the first table in `text` after `start`.
local function keys_after(text, start)
  local found = {}
  local at = select(2, assert(text:find(start, 1, true)))
  for name in text:match("%b{}", at):gmatch "([%w_]+) =" do found[name] = true end
  return found
end

it("everything of a plugin's self, its handler and its schema is declared", function()
  local own = read "lua/tidegate/plugin/self.lua"
  local methods = {}
  for name in own:gmatch "\nfunction methods:([%w_]+)%(" do methods[name] = true end
  local fields = keys_after(own, "local fields =")
  fields.handler, fields.made = nil, nil -- the host's
  assert.same(sorted(methods), sorted(classes["tidegate.Plugin"].functions))
  assert.same(sorted(fields), sorted(classes["tidegate.Plugin"].fields))
  assert.same(sorted(keys_after(read "lua/tidegate/plugin/init.lua", "local kinds =")),
    sorted(classes["tidegate.PluginHandler"].fields))
  assert.same(sorted(keys_after(read "lua/tidegate/plugin/schema.lua", "local traits =")),
    sorted(classes["tidegate.PluginField"].fields))
  assert.same(sorted(keys_after(read "lua/tidegate/plugin/init.lua", "local known_options =")),
    sorted(classes["tidegate.PluginOptions"].fields))
end)

local function c_list(path, pattern)
  local names = {}
  for name in read(path):match(pattern):gmatch '"([%w_]+)"' do names[#names + 1] = name end
  table.sort(names)
  return names
end

it("every field of events and shards is declared", function()
  assert.same(c_list("src/script/api/event_handle.c", "field_names%[%] = (%b{})"),
    sorted(classes["tidegate.Event"].fields))
  assert.same(c_list("src/script/api/shard_handle.c", "} fields%[%] = (%b{})"),
    sorted(classes["tidegate.Shard"].fields))
end)

it("fields that are declared can be read", function()
  local kit = test.script [[
    local gateway = require "tidegate"
    function gateway.cache:guild_create_kind(event)
      for _, name in ipairs(gateway.state.names) do local _ = event[name] end
      gateway.state.read = true
    end
  ]]
  local names = table.concat(sorted(classes["tidegate.Event"].fields), '", "')
  kit:eval(('gateway.state.names = { "%s" }'):format(names))
  kit:event("GUILD_CREATE", { id = "1" })
  assert.is_true(kit:eval "return gateway.state.read")
end)

it("every name of an event is declared, and nothing else", function()
  local dispatch = {}
  for name in read("src/proto/event_names.h"):gmatch "\n  X%((%u[%u_]+)%)" do
    dispatch[#dispatch + 1] = name
  end
  assert.same(dispatch, aliases["tidegate.DispatchName"])
  local life = {}
  local list = read("src/hooks/methods.h"):match "TG_LIFE_EVENTS%(X%).-enum"
  for name in list:gmatch "\n  X%((%l[%l_]+)%)" do life[#life + 1] = name end
  assert.same(life, aliases["tidegate.LifeName"])
end)

-- ---- the configuration ----

local options = read "src/config/config_options.c"

local function choices(name)
  local list = options:match(name .. "%[%] = (%b{})")
  local words = {}
  for word in list:gmatch '"[%w_-]+"' do words[#words + 1] = word end
  return table.concat(words, "|")
end

local CUSTOM = {
  token = "string",
  intents = "integer|tidegate.Intent[]",
  transport_compression = '"zlib-stream"|"zstd-stream"|false',
  optional_intents = "integer|tidegate.Intent[]",
  presence = "tidegate.Presence",
  plugins = "table<string,table>",
  ["cluster.url"] = "string|tidegate.InFile", -- it may stand in one
  ["log.format"] = '"text"|"json"',
  ["event_handler.batch"] = "boolean|tidegate.Batch",
  ["event_handler.headers"] = "table<string,string|tidegate.InFile>",
  sinks = "table<string,tidegate.Config.sink>",
  ["storm.rules"] = "tidegate.StormRule[]",
}

-- Of a sink: what may stand in files, or be a table.
local OF_SINKS = {
  batch = "boolean|tidegate.Batch",
  url = "string|tidegate.InFile",
  urls = "(string|tidegate.InFile)[]",
  authorization = "string|tidegate.InFile",
  signing_secrets = "(string|tidegate.InFile)[]",
  headers = "table<string,string|tidegate.InFile>",
}

local function type_of(path, kind, arguments)
  if kind == "CHOICE" then return choices(arguments:match "^[^,]+,%s*([%w_]+)") end
  local simple = { BOOL = "boolean", RANGE = "integer", STRING = "string", STRINGS = "string[]" }
  return CUSTOM[path] or simple[kind]
end

local function declared_keys(class, prefix, into)
  for name, kind in pairs(classes[class].fields) do
    if kind:find "^tidegate%.Config%." then
      declared_keys(kind, prefix .. name .. ".", into)
    else
      into[prefix .. name] = kind
    end
  end
  return into
end

it("every key of the configuration is declared, with its type", function()
  local expected = {}
  for path, kind, arguments in options:gmatch 'X%("([%l_.]+)",%s*\\?%s*(%u+)(%b())' do
    expected[path] = type_of(path, kind, arguments:sub(2, -2))
  end
  assert.truthy(expected["tls.ca_file"])
  assert.same(expected, declared_keys("tidegate.Config", "", {}))
end)

it("so is every key of a sink", function()
  local expected = {}
  for path, kind, arguments in options:gmatch 'S%("([%l_.]+)",%s*\\?%s*(%u+)(%b())' do
    expected[path] = OF_SINKS[path] or type_of(path, kind, arguments:sub(2, -2))
  end
  assert.truthy(expected["queue.durability"])
  assert.same(expected, declared_keys("tidegate.Config.sink", "", {}))
end)

-- Of a table of options in C, and as declared.
local function same_keys(file, rows, class, count)
  local expected = {}
  for name in read(file):match(" " .. rows .. "%[%] = (%b{})"):gmatch '%.path = "([%l_]+)"' do
    expected[#expected + 1] = name
  end
  table.sort(expected)
  assert.equal(count, #expected)
  assert.same(expected, sorted(classes[class].fields))
end

it("so is every key of a rule against storms, and of a batch", function()
  same_keys("src/config/storm_values.c", "rule_options", "tidegate.StormRule", 5)
  same_keys("src/config/batch_values.c", "options", "tidegate.Batch", 3)
end)

it("the configuration that holds has only declared keys", function()
  local declared = declared_keys("tidegate.Config", "", {})
  local function look(config, prefix)
    for name, value in pairs(config) do
      local path = prefix .. name
      if not declared[path] then
        assert.is_table(value, path)
        look(value, path .. ".")
      end
    end
  end
  look(test.script("").config, "")
end)

it("every intent is declared", function()
  local names = {}
  for name in read("src/proto/intents.c"):match("intents_table%[%] = (%b{})"):gmatch '"([%l_]+)"' do
    names[#names + 1] = name
  end
  assert.same(names, aliases["tidegate.Intent"])
end)

it("every option of a request is declared", function()
  local names = c_list("lua/tidegate/http.lua", "local option_names = (%b{})")
  assert.same(names, sorted(classes["tidegate.HttpOptions"].fields))
end)

-- ---- the test kit ----

it("every method of the test kit is declared, and nothing else", function()
  local kit = test.script ""
  local found = {}
  for name, value in pairs(debug.getmetatable(kit)) do
    if name:find "^%l" and type(value) == "function" then found[name] = ":" end
  end
  assert.same(found, classes["tidegate.Kit"].functions)
  assert.same(both(classes["tidegate.Test"].fields, classes["tidegate.Test"].functions), sorted(test))
  local options_known = read("lua/tidegate/test.lua"):match "load_options = (%b{})"
  for name in pairs(classes["tidegate.KitOptions"].fields) do
    assert.truthy(options_known:find('"' .. name .. '"', 1, true), name)
  end
end)

it("each file is valid Lua that declares itself as types", function()
  for _, name in ipairs(META) do
    local path = "lua/tidegate/meta/" .. name .. ".lua"
    assert(loadfile(path))
    assert.matches("^%-%-%-@meta", read(path))
  end
end)
