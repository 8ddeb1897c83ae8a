-- The test kit for plugins in plain busted, without the program:
--
--   local test = require "tidegate.test"
--
--   it("keeps other bots out", function()
--     local kit = test.plugin("drop-bots", { except = { "1" } })
--     assert.equal("dropped", kit:event("MESSAGE_CREATE", { author = { bot = true } }).outcome)
--   end)
--
-- `tidegate test` runs the same specs with the gateway's own event path and queues, where this file is not
-- used. Here the defaults of methods do nothing but what kit:answer() says, and names of events and methods
-- are not checked. It needs LuaJIT: busted --lua=luajit.

local plain = require "tidegate.test.plain"
local routes = require "tidegate.test.routes"
local cjson = require "cjson.safe"

local test = { null = cjson.null }

local Kit = {}
Kit.__index = Kit

-- ---- loading ----

-- What the plugin base is, and keeps for one host.
local MODULES = { "tidegate", "tidegate.core", "tidegate.guard", "tidegate.http", "tidegate.log",
                  "tidegate.metrics", "tidegate.plugin", "tidegate.plugin.self", "tidegate.plugin.stack",
                  "tidegate.rocks", "tidegate.rocks.manifest" }

local function gateway_of(core)
  local gateway = {}
  for _, name in ipairs { "version", "role", "worker_id", "on", "filter", "broadcast", "on_broadcast", "now",
                          "spawn", "sleep", "after", "every", "json", "utf8", "state" } do
    gateway[name] = core[name]
  end
  local http = require "tidegate.http"
  gateway.http, gateway.rest = http.http, http.rest
  gateway.log, gateway.metrics = require "tidegate.log", require "tidegate.metrics"
  for _, name in ipairs { "manager", "shard", "delivery", "cache" } do
    gateway[name] = setmetatable({}, { __index = function(_, method)
      return function(this, ...)
        local run = core.methods[name .. ":" .. method] or core.default_of(name, method)
        return run(this, ...)
      end
    end })
  end
  return gateway
end

local function forget_modules()
  for _, name in ipairs(MODULES) do package.loaded[name] = nil end
  for name in pairs(package.loaded) do
    if name:find "^tidegate%.plugins%." then package.loaded[name] = nil end
  end
end

local function load_plugin(self)
  forget_modules()
  local time = self.core and self.core.time -- goes on through a reload
  self.core = plain.new(self, { role = self.role, state = self.state, time = time })
  package.loaded["tidegate.core"] = self.core
  self.gateway = gateway_of(self.core)
  package.loaded.tidegate = self.gateway
  self.base = require "tidegate.plugin"
  self.base.use(self.name, self.given, self.options)
  for _, name in ipairs { "manager", "delivery", "cache" } do self[name] = self.gateway[name] end
  self:fire "load"
end

-- options: role ("worker" unless given), keep_errors, as, version.
function test.plugin(name, config, options)
  options = options or {}
  local self = setmetatable({
    name = name, given = config, options = { as = options.as, version = options.version },
    role = options.role or "worker", keep_errors = options.keep_errors, state = {}, sequence = 0,
    answers = {}, http_answers = {}, lines = {}, faults = {}, reported = 0, sent = {}, asked = {},
    called = {}, series = {}, bodies = {},
  }, Kit)
  load_plugin(self)
  return self:finish(self)
end

function test.array(list) return list or {} end

function test.object(object) return object or {} end

-- ---- what the host tells ----

function Kit:note_error(what, message)
  table.insert(self.faults, { what = what, message = message, at = self.core.time })
end

function Kit:note_line(level, text, ...)
  local fields, flat = nil, { ... }
  for i = 1, #flat, 2 do
    fields = fields or {}
    fields[flat[i]] = flat[i + 1]
  end
  table.insert(self.lines, { level = level, text = text, fields = fields, at = self.core.time })
end

function Kit:note_broadcast(topic, value)
  table.insert(self.sent, { topic = topic, value = value, at = self.core.time })
end

function Kit:note_metric(name, labels, series)
  table.insert(self.series, { name = name, labels = labels, series = series })
end

function Kit:default(name, ...)
  table.insert(self.called, { name = name, args = { ... }, at = self.core.time })
  local answer = self.answers[name]
  if not answer then return nil end
  if type(answer.value) == "function" then return answer.value(...) end
  if answer.value == nil and answer.err ~= nil then
    local err = type(answer.err) == "table" and answer.err or { code = answer.err }
    return self.core.failure(err.code, err.message or err.code)
  end
  return answer.value
end

-- ---- requests ----

local function matches(request, pattern)
  return pattern == nil or (request.method .. " " .. request.url):find(pattern, 1, true) ~= nil
end

local function answer_of(self, request)
  for i = #self.http_answers, 1, -1 do
    local one = self.http_answers[i]
    if matches(request, one.pattern) then
      local answer = one.answer
      if type(answer) == "function" then answer = answer(request) end
      return type(answer) == "string" and { error = answer } or answer
    end
  end
end

local function give(self, request, answer, wake)
  request.answered = true
  if answer.error then return wake(self.core.failure(answer.error, answer.error)) end
  local lines, retry_after = {}, -1
  for name, value in pairs(answer.headers or {}) do
    lines[#lines + 1] = ("%s: %s\r\n"):format(name, value)
    if name:lower() == "retry-after" then retry_after = tonumber(value) * 1000 end
  end
  local body = answer.body or answer.json ~= nil and cjson.encode(answer.json) or ""
  return wake(answer.status or 200, body, table.concat(lines), retry_after, 0)
end

function Kit:note_request(request, timeout, wake)
  local headers = {}
  for _, line in ipairs(request.headers) do
    local name, value = line:match "^([^:]+):%s*(.*)$"
    headers[name:lower()] = value
  end
  request.headers, request.answered, request.at = headers, false, self.core.time
  request.json = request.body and cjson.decode(request.body) or nil
  table.insert(self.asked, request)
  request.wake = function(answer) give(self, request, answer, wake) end
  local answer = answer_of(self, request)
  if answer and not answer.delay then return request.wake(answer) end
  if answer then return self.core.at(self.core, answer.delay, function() request.wake(answer) end) end
  self.core.at(self.core, timeout, function()
    if not request.answered then request.wake { error = "timeout" } end
  end)
end

function Kit:answer_http(pattern, answer)
  table.insert(self.http_answers, { pattern = pattern, answer = answer })
  for _, request in ipairs(self.asked) do
    if not request.answered and matches(request, pattern) then request.wake(answer_of(self, request)) end
  end
  return self:finish()
end

-- ---- what tests do ----

-- Ends every step of a test: what the plugin did wrong meanwhile is the test's failure.
function Kit:finish(...)
  local fault = self.faults[self.reported + 1]
  self.reported = #self.faults
  if fault and not self.keep_errors then error(("%s failed: %s"):format(fault.what, fault.message), 0) end
  return ...
end

-- There are as many shards as the test needs: up to the one that it names.
local function new_event(self, name, data, options)
  self.sequence = self.sequence + 1
  local shard_id = options.shard or 0
  return {
    type = name, shard_id = shard_id, total_shards = shard_id + 1,
    sequence = options.sequence or self.sequence, id = data.id, guild_id = data.guild_id,
    size = #(cjson.encode(data) or ""), raw = cjson.encode(data), data = data,
  }
end

-- Asks the filters. Returns the outcome, and the data that go on.
local function filtered(self, event)
  local outcome = "passed"
  for _, entry in ipairs(self.core.filters[event.type] or {}) do
    local verdict = entry.fn
    if type(verdict) == "function" then
      local ok
      ok, verdict = pcall(verdict, event)
      if not ok then
        self:note_error("filter of " .. event.type, verdict)
        verdict = nil
      end
    end
    if verdict == false then return "dropped" end
    if type(verdict) == "string" then verdict = cjson.decode(verdict) end
    if type(verdict) == "table" then event.data, outcome = verdict, "replaced" end
  end
  return outcome
end

function Kit:event(name, data, options)
  options = options or {}
  local event = new_event(self, name, data or {}, options)
  local outcome = filtered(self, event)
  if outcome == "dropped" then return self:finish { outcome = outcome, sequence = event.sequence } end
  local body = { shardId = event.shard_id, totalShards = event.total_shards, epoch = 1,
                 message = { t = name, s = event.sequence, op = 0, d = event.data } }
  table.insert(self.bodies, body)
  for _, entry in ipairs(self.core.handlers[name] or {}) do
    self.core.run(self.core, name, entry.fn, event, { id = event.shard_id, state = "ready" })
  end
  return self:finish { outcome = outcome, body = body, sequence = event.sequence }
end

function Kit:fire(name, details, options)
  local shard = options and options.shard and { id = options.shard }
  for _, entry in ipairs(self.core.handlers[name] or {}) do
    self.core.run(self.core, name, entry.fn, shard, details)
  end
  return self:finish()
end

function Kit:advance(ms)
  plain.advance(self.core, ms)
  return self:finish()
end

function Kit:now() return self.core.time end

function Kit:broadcast(topic, value)
  for _, entry in ipairs(self.core.listeners[topic] or {}) do
    self.core.run(self.core, topic, entry.fn, value)
  end
  return self:finish()
end

function Kit:answer(name, value, err) self.answers[name] = { value = value, err = err } end

-- Asks for /plugins/<name>/... as a client of the control API does.
function Kit:route(method, target, body)
  if self.role ~= "manager" then
    error("kit:route: routes are the manager's: load the plugin with role = \"manager\"", 2)
  end
  return self:finish(routes.ask(self, self.core, plain.step, method, target, body))
end

-- The plugin goes, with what it saves, and comes again.
function Kit:reload()
  self:fire "unload"
  load_plugin(self)
  return self:finish(true)
end

function Kit:close() return self:fire "unload" end

-- ---- looking ----

local function selected(list, wanted)
  local found = {}
  for _, item in ipairs(list) do
    if wanted(item) then found[#found + 1] = item end
  end
  return found
end

function Kit:calls(name)
  return selected(self.called, function(call) return name == nil or call.name == name end)
end

function Kit:requests(pattern)
  return selected(self.asked, function(request) return matches(request, pattern) end)
end

function Kit:broadcasts(topic)
  return selected(self.sent, function(sent) return topic == nil or sent.topic == topic end)
end

function Kit:delivered(event_type)
  return selected(self.bodies, function(body) return event_type == nil or body.message.t == event_type end)
end

function Kit:log(part)
  return selected(self.lines, function(line)
    return part == nil or line.level == part or line.text:find(part, 1, true) ~= nil
  end)
end

function Kit:errors() return selected(self.faults, function() return true end) end

function Kit:describe() return { plugins = self.base.describe() } end

return test
