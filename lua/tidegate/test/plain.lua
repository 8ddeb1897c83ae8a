-- The host of a plugin in plain busted: what of the gateway's core the plugin base asks for, in Lua alone.
-- Time stands still; what waits goes on when the test lets time pass.

local cjson = require "cjson.safe"
local routes = require "tidegate.test.routes"

local plain = {}

local WAIT = {} -- yielded by what waits

-- ---- coroutines and time ----

local function is_waiting_allowed(core) return core.running ~= nil end

local function failed(core, what, problem, co)
  core.kit:note_error(what, co and debug.traceback(co, tostring(problem)) or tostring(problem))
end

local function resume(core, thread, ...)
  local before = core.running
  core.running = thread
  local ok, token = coroutine.resume(thread.co, ...)
  core.running = before
  if not ok then
    failed(core, thread.what, token, thread.co)
  elseif coroutine.status(thread.co) ~= "dead" and token ~= WAIT then
    failed(core, thread.what, "it yielded to nobody")
  end
end

-- Runs a function that may wait.
local function run(core, what, fn, ...)
  resume(core, { co = coroutine.create(fn), what = what }, ...)
end

local function at(core, ms, act)
  core.serial = core.serial + 1
  local alarm = { at = core.time + ms, serial = core.serial, act = act }
  core.alarms[#core.alarms + 1] = alarm
  return alarm
end

local function next_alarm(core, limit)
  local found
  for i, alarm in ipairs(core.alarms) do
    local best = found and core.alarms[found]
    if alarm.at <= limit and (not best or alarm.at < best.at
      or alarm.at == best.at and alarm.serial < best.serial) then
      found = i
    end
  end
  return found and table.remove(core.alarms, found)
end

-- Lets time pass up to the next that is due; false: nothing is, up to `limit`.
function plain.step(core, limit)
  local alarm = next_alarm(core, limit)
  if not alarm then
    core.time = limit
    return false
  end
  core.time = alarm.at
  if not alarm.cancelled then alarm.act() end
  return true
end

-- Lets time pass.
function plain.advance(core, ms)
  local limit = core.time + ms
  while plain.step(core, limit) do end -- luacheck: ignore 542
end

-- Waits inside of a coroutine until `begin(wake)` has called wake(...).
local function wait(core, name, begin)
  if not is_waiting_allowed(core) then
    error(name .. " waits, which is impossible here: use self:spawn or a handler of self:on", 3)
  end
  local thread = core.running
  local results
  begin(function(...)
    if coroutine.status(thread.co) ~= "suspended" then
      results = { n = select("#", ...), ... }
      return
    end
    resume(core, thread, ...)
  end)
  if results then return unpack(results, 1, results.n) end
  return coroutine.yield(WAIT)
end

-- ---- what plugins register ----

local function listed(names) return type(names) == "table" and names or { names } end

local function subscribe(core, list, names, fn, options)
  for _, name in ipairs(listed(names)) do
    list[name] = list[name] or {}
    local entry = { fn = fn, priority = options and options.priority or 0, plugin = core.account }
    local place = #list[name] + 1
    while place > 1 and list[name][place - 1].priority < entry.priority do place = place - 1 end
    table.insert(list[name], place, entry)
  end
  return { remove = function()
    for _, name in ipairs(listed(names)) do
      for i = #list[name], 1, -1 do
        if list[name][i].fn == fn then table.remove(list[name], i) end
      end
    end
  end }
end

local function timer(core, ms, fn, repeats)
  local what = repeats and "self:every" or "self:after"
  local handle = {}
  local function beat()
    run(core, what, fn)
    if repeats and not handle.cancelled then handle.alarm = at(core, ms, beat) end
  end
  handle.alarm = at(core, ms, beat)
  function handle:cancel()
    self.cancelled = true
    self.alarm.cancelled = true
  end
  return handle
end

local function add_registration(core)
  function core.on(names, fn, options) return subscribe(core, core.handlers, names, fn, options) end
  function core.filter(names, rule, options) return subscribe(core, core.filters, names, rule, options) end
  function core.on_broadcast(topic, fn, options)
    return subscribe(core, core.listeners, topic, fn, options)
  end
  function core.broadcast(topic, value)
    core.kit:note_broadcast(topic, value)
    for _, entry in ipairs(core.listeners[topic] or {}) do run(core, "on_broadcast", entry.fn, value) end
  end
  function core.route(plugin, method, path, fn) routes.add(core.routes, plugin, method, path, fn) end
  function core.after(ms, fn) return timer(core, ms, fn, false) end
  function core.every(ms, fn) return timer(core, ms, fn, true) end
  function core.spawn(fn, ...)
    local args = { n = select("#", ...), ... }
    at(core, 0, function() run(core, "self:spawn", fn, unpack(args, 1, args.n)) end)
    return true
  end
  function core.sleep(ms)
    return wait(core, "sleep", function(wake) at(core, ms, function() wake(true) end) end)
  end
end

-- ---- overrides ----

local function add_overrides(core)
  local function key(name, method) return name .. ":" .. method end
  function core.plugin_account(name)
    local before = core.account
    core.account = name
    return before
  end
  function core.log_secret() end
  function core.override_place(_, _, fn)
    local info = debug.getinfo(fn, "S")
    return ("plugin %s, %s:%d"):format(core.account, info.short_src:match "[^/]*$", info.linedefined)
  end
  function core.is_ours(name) return (name == "manager") == (core.role == "manager") end
  function core.stack(name, method, fn) core.methods[key(name, method)] = fn end
  function core.on_rebase() end
  function core.assigned() return nil end
  function core.default_of(name, method)
    return function(_, ...) return core.kit:default(key(name, method), ...) end
  end
  function core.plugin_fault(name, method, where, problem)
    failed(core, ("gateway.%s (%s)"):format(key(name, method), where), problem)
  end
  function core.plugin_off() end
  function core.plugin_trace() return debug.traceback end
  function core.plugin_stopped() return nil end -- nothing has a budget here
end

-- ---- values ----

-- Whether text is UTF-8, but for overlong forms and surrogates, which the gateway refuses, too.
local function is_utf8(text)
  local from, tail = 1, "[\128-\191]"
  while from <= #text do
    local character = text:match("^[%z\1-\127]+", from) or text:match("^[\194-\223]" .. tail, from)
      or text:match("^[\224-\239]" .. tail .. tail, from) or text:match("^[\240-\244]" .. tail:rep(3), from)
    if not character then return false end
    from = from + #character
  end
  return true
end

local function cut_utf8(text, bytes)
  if #text <= bytes then return text end
  while bytes > 0 and text:find("^[\128-\191]", bytes + 1) do bytes = bytes - 1 end
  return text:sub(1, bytes)
end

local function add_values(core)
  core.utf8 = { cut = cut_utf8, valid = is_utf8 }
  core.json = {
    null = cjson.null,
    encode = function(value) return assert(cjson.encode(value)) end,
    decode = function(text)
      local value, problem = cjson.decode(text)
      if value == nil then return core.failure("json", tostring(problem)) end
      return value
    end,
    array = function(list)
      list = list or {}
      return next(list) == nil and cjson.empty_array or list
    end,
    object = function(object) return object or {} end,
  }
  local failure = { __tostring = function(err) return err.message end }
  function core.failure(code, message)
    return nil, setmetatable({ code = code, message = message }, failure)
  end
  function core.rocks_trees() return {} end -- `require` has its own ways to rocks
  function core.suggest() return nil end
  function core.placeholder() return nil end
  core.traceback = debug.traceback
  core.log_fields, core.log_fields_max = {}, 16
  function core.log_on() return true end
  function core.log(level, text, _, ...)
    core.kit:note_line(({ [0] = "debug", "info", "warn", "error" })[level], text, ...)
  end
  function core.now() return core.time, core.time end
  function core.rest() return "https://discord.com/api/v10", "Bot token-of-the-test" end
  function core.http(_, method, url, headers, body, timeout)
    return wait(core, "an HTTP request", function(wake)
      core.kit:note_request({ method = method, url = url, headers = headers, body = body }, timeout, wake)
    end)
  end
  function core.metric(kind, name, _, labels)
    local series = { value_now = 0, kind = kind }
    function series:add(n) self.value_now = self.value_now + (n or 1) end
    function series:set(n) self.value_now = n end
    function series:observe() self.value_now = self.value_now + 1 end
    function series:value() return self.value_now end
    core.kit:note_metric(name, labels, series)
    return series
  end
end

-- A core for one kit, which hears of all that happens (kit:note_...).
function plain.new(kit, options)
  local core = {
    kit = kit, version = "0.1.0", role = options.role, worker_id = options.role == "worker" and 0 or nil,
    state = options.state or {}, time = options.time or 0, serial = 0, alarms = {}, handlers = {},
    filters = {}, listeners = {}, routes = {}, methods = {},
  }
  add_values(core)
  add_registration(core)
  add_overrides(core)
  core.run, core.at = run, at
  return core
end

return plain
