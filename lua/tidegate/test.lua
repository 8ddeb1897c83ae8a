-- The test kit: loads a script as the gateway would, but without network, and with time that stands still.
-- For specs that `tidegate test` runs.
--
--   local test = require "tidegate.test"
--
--   describe("my script", function()
--     local kit
--     before_each(function() kit = test.load "bot.lua" end)
--
--     it("keeps other bots out", function()
--       local result = kit:event("MESSAGE_CREATE", { author = { bot = true } })
--       assert.equal("dropped", result.outcome)
--     end)
--   end)
--
-- The whole of it: lua/tidegate/meta/test.lua.

local ok, host = pcall(require, "tidegate.test.host")
if not ok then -- plain busted with the rock `tidegate`: the kit of plugins alone
  if package.searchpath("tidegate.test.kit", package.path) then return require "tidegate.test.kit" end
  error("tidegate.test works in specs that `tidegate test` runs", 2)
end

local json = host.json

-- For bodies that specs look at: what a spec compares does not depend on how an empty list would be written.
-- An instance of the kit's own, so that neither the spec's settings change it nor it those of the spec.
local cjson
ok, cjson = pcall(require, "cjson.safe")
if not ok then error("tidegate.test needs lua-cjson (on Debian: apt-get install lua-cjson)", 2) end
cjson = cjson.new()
cjson.decode_invalid_numbers(false)

local test = { null = json.null, array = json.array, object = json.object }

local Kit, Shard, Methods = {}, {}, {}

-- ---- checking what a test says ----

local function suggestion(word, known)
  local meant = host.suggest(tostring(word), known)
  return meant and ("; did you mean '%s'?"):format(meant) or ""
end

local function check_options(where, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(where, type(options)), 3)
  end
  for key in pairs(options) do
    local found = false
    for _, name in ipairs(known) do found = found or name == key end
    if not found then
      error(("%s: unknown option '%s'%s"):format(where, tostring(key), suggestion(key, known)), 3)
    end
  end
  return options
end

local every_method = {}
for table_name, methods in pairs(host.methods) do
  for _, method in ipairs(methods) do every_method[#every_method + 1] = table_name .. ":" .. method end
end

every_method[#every_method + 1] = "sink:deliver"

local function check_method(where, name)
  for _, known in ipairs(every_method) do
    if name == known then return end
  end
  error(("%s: there is no method '%s'%s"):format(where, tostring(name), suggestion(name, every_method)), 3)
end

-- ---- errors of the script ----

local failure_meta = { __tostring = function(err) return err.message end }

-- What a call returned, with err as scripts see it.
local function as_returned(value, err, ...)
  if value == nil and type(err) == "table" and err.code then setmetatable(err, failure_meta) end
  return value, err, ...
end

-- Ends every step of a test: what the script did wrong meanwhile is the test's failure.
local function finish(self, ...)
  local new = self.reported + 1
  self.reported = #self.faults
  if self.faults[new] and not self.keeps_errors then
    local fault = self.faults[new]
    error(("%s failed: %s"):format(fault.what, fault.message), 0)
  end
  return ...
end

-- ---- what the script tells ----

local function copy_into(target, source)
  for key, value in pairs(source) do target[key] = value end
  return target
end

local function response(answer, request)
  if type(answer) == "function" then answer = answer(request) end
  if type(answer) == "string" then return { error = { code = answer, message = answer } } end
  if type(answer) ~= "table" then
    error("an answer to a request is a table, or the code of an error like \"refused\"", 0)
  end
  if type(answer.error) == "string" then return { error = { code = answer.error }, delay = answer.delay } end
  local lines, retry_after = {}, nil
  for name, value in pairs(answer.headers or {}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
    if name:lower() == "retry-after" then retry_after = tonumber(value) and tonumber(value) * 1000 end
  end
  local body = answer.body
  if answer.json ~= nil then body = json.encode(answer.json) end
  return {
    status = answer.status or 200,
    body = body or "",
    headers = table.concat(lines),
    retry_after = retry_after,
    delay = answer.delay,
  }
end

local function matches(request, pattern)
  return pattern == nil or (request.method .. " " .. request.url):find(pattern, 1, true) ~= nil
end

-- The newest answer counts, so that a single test may differ from before_each.
local function find_answer(self, request)
  for i = #self.http_answers, 1, -1 do
    if matches(request, self.http_answers[i].pattern) then
      request.answered = true
      return response(self.http_answers[i].answer, request)
    end
  end
end

local function read_headers(lines)
  local headers = {}
  for _, line in ipairs(lines) do
    local name, value = line:match "^([^:]+):%s*(.*)$"
    headers[name:lower()] = value
  end
  return headers
end

local function now(self)
  local kit = rawget(self, "host") -- not there while the script loads
  return kit and kit:now() or 0
end

local function watchers(self)
  local watch = {}

  function watch.call(name, shard_id, args)
    local call = { name = name, shard_id = shard_id, args = args, at = now(self) }
    self.recorded_calls[#self.recorded_calls + 1] = call
    local answer = self.answers[name]
    if answer == nil then return nil end
    local value, err = answer.value, answer.err
    if type(value) == "function" then
      if shard_id then value, err = value(shard_id, unpack(args)) else value, err = value(unpack(args)) end
    end
    if value == nil and err ~= nil then
      if type(err) ~= "table" then err = { code = tostring(err) } end
      return {
        error = {
          code = err.code, message = err.message, status = err.status, retry_after = err.retry_after,
        },
      }
    end
    return { value = value == nil and json.null or value }
  end

  function watch.broadcast(topic, value)
    self.sent[#self.sent + 1] = { topic = topic, value = value, at = now(self) }
  end

  function watch.http(id, request)
    request.id, request.at, request.answered = id, now(self), false
    request.headers = read_headers(request.headers)
    if request.body == json.null then request.body = nil end
    local kind = request.headers["content-type"]
    if request.body and kind and kind:find("json", 1, true) then request.json = cjson.decode(request.body) end
    self.recorded_requests[#self.recorded_requests + 1] = request
    return find_answer(self, request)
  end

  function watch.deliver(body)
    self.bodies[#self.bodies + 1] = body
    self.last_body = body
  end

  function watch.log(level, shard_id, text, fields)
    if next(fields) == nil then fields = nil end
    self.lines[#self.lines + 1] = {
      level = level, shard_id = shard_id, text = text, fields = fields, at = now(self),
    }
  end

  function watch.fault(what, message)
    self.faults[#self.faults + 1] = { what = what, message = message, at = now(self) }
  end

  return watch
end

-- ---- loading ----

local load_options = { "role", "worker_id", "shards", "env", "keep_errors" }
local plugin_options = { "as", "version", unpack(load_options) }

local function open(path, options, where)
  options = check_options(where, options, load_options)
  local role = options.role or "worker"
  if role ~= "worker" and role ~= "manager" then
    error(("%s: role is \"worker\" or \"manager\", not \"%s\""):format(where, tostring(role)), 3)
  end
  local self = setmetatable({
    path = path,
    role = role,
    keeps_errors = options.keep_errors == true,
    has_text = false, -- the path is of a file that is gone
    plugin_text = false, -- of the script that loads the plugin under test
    recorded_calls = {}, recorded_requests = {}, bodies = {}, lines = {}, faults = {}, reported = 0,
    sent = {}, answers = {}, http_answers = {}, shards = {},
  }, Kit)
  for table_name in pairs(host.methods) do
    if table_name ~= "shard" then
      self[table_name] = setmetatable({ kit = self, table_name = table_name }, Methods)
    end
  end
  local variables = copy_into({ DISCORD_TOKEN = "token-of-the-test", INTENTS = "0" }, options.env or {})
  for name, value in pairs(variables) do
    if value == false then variables[name] = nil else variables[name] = tostring(value) end
  end
  local settings = { role = role, worker_id = options.worker_id or 0, shards = options.shards or 1 }
  self.host = host.open(path, settings, variables, watchers(self))
  local _, config = self.host:describe()
  self.config = config
  return finish(self, self)
end

function test.load(path, options)
  if type(path) ~= "string" then error("test.load: expected the path of a script, got " .. type(path), 2) end
  return open(path, options, "test.load")
end

local function write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

function test.script(text, options)
  if type(text) ~= "string" then
    error("test.script: expected the text of a script, got " .. type(text), 2)
  end
  local path = os.tmpname()
  write_file(path, text)
  local opened, kit = pcall(open, path, options, "test.script")
  os.remove(path)
  if not opened then error(kit, 0) end
  kit.has_text = true
  return kit
end

-- A plain value as Lua source.
local function source(value, where)
  if type(value) == "number" then return ("%.17g"):format(value) end
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then
    if value == nil or type(value) == "boolean" then return tostring(value) end
    error(("test.plugin: %s cannot be configured with a %s"):format(where, type(value)), 0)
  end
  local fields = {}
  for key, field in pairs(value) do
    fields[#fields + 1] = ("[%s]=%s"):format(source(key, where), source(field, where .. "." .. tostring(key)))
  end
  return "{" .. table.concat(fields, ",") .. "}"
end

-- The plugin that lies where the specs are run comes first, also where another version of it is installed.
-- What it depends on is in the trees of whoever tests.
local plugin_script = [[
local gateway = require "tidegate"
package.path = "./?.lua;./?/init.lua;" .. package.path
require("tidegate.plugin").folder = "./"
gateway.plugin(%s, %s, %s)
]]

function test.plugin(name, config, options)
  local kit_options, its_options = {}, {}
  for key, value in pairs(check_options("test.plugin", options, plugin_options)) do
    local takers = (key == "as" or key == "version") and its_options or kit_options
    takers[key] = value
  end
  local env = { TIDEGATE_ROCKS_TREES = os.getenv "TIDEGATE_ROCKS_TREES" }
  kit_options.env = copy_into(env, kit_options.env or {})
  local text = plugin_script:format(source(name, "the name"), source(config or {}, tostring(name)),
    source(its_options, tostring(name)))
  local kit = test.script(text, kit_options)
  kit.plugin_text = text
  return kit
end

-- Names that Discord may have added since pass; typing errors are raised where the test has made them.
local function check_event(what, name)
  local good, problem = pcall(host.check_event, what, name)
  if not good then error(problem, 3) end
end

function test.event(name, data, options)
  check_event("test.event", name)
  options = check_options("test.event", options, { "shard", "sequence" })
  return {
    ["$event"] = { name = name, data = data or {}, shard = options.shard, sequence = options.sequence },
  }
end

function test.events(list)
  if type(list) ~= "table" or list[1] == nil then
    error("test.events: expected a list of what test.event() returns", 2)
  end
  return { ["$events"] = list }
end

function test.shard(id)
  return { ["$shard"] = id }
end

function test.queue(id)
  return { ["$queue"] = id == nil and json.null or id }
end

-- ---- the kit ----

function Kit.__index(_, name)
  local method = Kit[name]
  if method ~= nil then return method end
  local known = {}
  for key in pairs(Kit) do known[#known + 1] = key end
  error(("a kit has no '%s'%s"):format(tostring(name), suggestion(name, known)), 2)
end

local event_options = { "shard", "sequence", "epoch" }

function Kit:event(name, data, options)
  check_event("kit:event", name)
  if not self.host:expects(name) then
    error(("kit:event: there is no event '%s', and the script does not ask for it"):format(name), 2)
  end
  options = check_options("kit:event", options, event_options)
  self.last_body = false
  local outcome, sequence = self.host:event(options.shard or 0, name, data or {}, options.sequence,
    options.epoch)
  return finish(self, { outcome = outcome, body = self.last_body or nil, sequence = sequence })
end

function Kit:fire(name, details, options)
  options = check_options("kit:fire", options, { "shard" })
  local known = false
  for _, life in ipairs(host.life) do known = known or life == name end
  if not known then
    error(("kit:fire: there is no life-cycle event '%s'%s"):format(tostring(name),
      suggestion(name, host.life)), 2)
  end
  self.host:life(name, options.shard, details)
  return finish(self)
end

function Kit:broadcast(topic, value, options)
  options = check_options("kit:broadcast", options, { "worker_id" })
  self.host:broadcast(topic, value, options.worker_id)
  return finish(self)
end

function Kit:route(method, target, body)
  if self.role ~= "manager" then
    error("kit:route: routes are the manager's: load the script with role = \"manager\"", 2)
  end
  return finish(self, (self.host:route(method, target, body)))
end

function Kit:advance(ms)
  self.host:advance(ms)
  return finish(self)
end

function Kit:now()
  return self.host:now()
end

function Kit:reload(text)
  text = text or self.plugin_text or nil
  if self.has_text then
    if type(text) ~= "string" then error("kit:reload: expected the new text of the script", 2) end
    write_file(self.path, text)
  end
  local reloaded, problem = self.host:reload()
  if self.has_text then os.remove(self.path) end
  if not reloaded then return nil, problem end
  local _, config = self.host:describe()
  self.config = config
  return finish(self, true)
end

function Kit:eval(text)
  return finish(self, as_returned(self.host:eval("local gateway = ... " .. text)))
end

function Kit:describe()
  return (self.host:describe())
end

function Kit:close()
  self.host:close()
end

-- ---- calling methods ----

local function call(self, name, shard_id, ...)
  local args = json.array()
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if value == nil then value = json.null end
    args[i] = value
  end
  return finish(self, as_returned(self.host:call(name, shard_id, args)))
end

local function missing_method(table_name, name)
  local methods = host.methods[table_name]
  error(("gateway.%s has no method '%s'%s"):format(table_name, tostring(name), suggestion(name, methods)), 3)
end

local function is_method(table_name, name)
  for _, method in ipairs(host.methods[table_name]) do
    if method == name then return true end
  end
  return false
end

function Methods:__index(name)
  local kit, table_name = rawget(self, "kit"), rawget(self, "table_name")
  if not is_method(table_name, name) then missing_method(table_name, name) end
  return function(_, ...) return call(kit, table_name .. ":" .. name, nil, ...) end
end

function Shard:__index(name)
  local kit, id = rawget(self, "kit"), rawget(self, "id")
  if name == "set" then
    return function(_, fields) kit.host:set_shard(id, fields) end
  end
  if not is_method("shard", name) then missing_method("shard", name) end
  return function(_, ...) return call(kit, "shard:" .. name, id, ...) end
end

function Kit:shard(id)
  id = id or 0
  self.shards[id] = self.shards[id] or setmetatable({ kit = self, id = id }, Shard)
  return self.shards[id]
end

-- What takes the events of a sink beside the bot: gateway.sink(name).deliver, with what it returns.
function Kit:sink(name)
  if type(name) ~= "string" then error("kit:sink: expected the name of a sink, got " .. type(name), 2) end
  return {
    deliver = function(events)
      return finish(self, as_returned(self.host:call_sink(name, json.array { events })))
    end,
  }
end

-- ---- queues ----

function Kit:fill_queue(shard_id, list)
  if type(list) ~= "table" then
    error("kit:fill_queue: expected a list of what test.event() returns, got " .. type(list), 2)
  end
  for _, item in ipairs(list) do
    local event = item["$event"]
    self.host:fill_queue(shard_id, event.name, event.data)
  end
end

function Kit:queued(shard_id)
  return self.host:queued(shard_id or 0)
end

-- ---- answering ----

function Kit:answer(name, value, err)
  check_method("kit:answer", name)
  self.answers[name] = { value = value, err = err }
end

function Kit:answer_http(pattern, answer)
  if type(pattern) ~= "string" then
    error("kit:answer_http: expected a part of \"METHOD url\", got " .. type(pattern), 2)
  end
  self.http_answers[#self.http_answers + 1] = { pattern = pattern, answer = answer }
  for i = 1, #self.recorded_requests do
    local request = self.recorded_requests[i]
    if not request.answered and matches(request, pattern) then
      request.answered = self.host:answer(request.id, response(answer, request))
    end
  end
  return finish(self)
end

-- ---- looking ----

local function selected(list, wanted)
  local found = {}
  for _, item in ipairs(list) do
    if wanted(item) then found[#found + 1] = item end
  end
  return found
end

function Kit:calls(name)
  if name ~= nil then check_method("kit:calls", name) end
  return selected(self.recorded_calls, function(item) return name == nil or item.name == name end)
end

function Kit:broadcasts(topic)
  return selected(self.sent, function(item) return topic == nil or item.topic == topic end)
end

function Kit:requests(pattern)
  return selected(self.recorded_requests, function(request) return matches(request, pattern) end)
end

function Kit:delivered(event_type)
  if event_type ~= nil then check_event("kit:delivered", event_type) end
  return selected(self.bodies, function(body) return event_type == nil or body.message.t == event_type end)
end

function Kit:log(part)
  return selected(self.lines, function(line)
    return part == nil or line.level == part or line.text:find(part, 1, true) ~= nil
  end)
end

function Kit:errors()
  return selected(self.faults, function() return true end)
end

return test
