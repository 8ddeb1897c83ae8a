-- A function of the script that ends its process again and again, whatever it is called for: it is switched
-- off until the next reload, and the shards go on.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

-- end_it(): ends the process as soon as the file is there; loops end as the manager sees fit.
local HEAD = [[
local gateway = require "tidegate"
local ffi = require "ffi"
ffi.cdef "void _exit(int);"
local function end_it()
  local file = gateway.role == "%s" and io.open(os.getenv "GO")
  if not file then return end
  local x = 0
  while file:read "*a" == "loops" do
    while true do x = (x + 1) %% 1000003 end
  end
  ffi.C._exit(3)
end
]]
local CONFIGURE = 'gateway.configure { script = { kill_after = 300 }, queue = { durability = "log" } }\n'

local function start(script, role, options)
  options = options or {}
  options.script = HEAD:format(role or "worker") .. script
  local file = paths.tmp() .. "/go"
  options.env = { GO = file, ASAN_OPTIONS = scene.crashes.ASAN_OPTIONS }
  options.reload, options.hurry = false, 20
  local s = scene.start(options)
  s.file = file
  return s
end

local function go(s, how)
  paths.write(s.file, how)
end

local function kill_worker(s)
  uv.kill(s.gateway:worker_pids()[1], "sigkill")
end

local function value(s, name, labels)
  return prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body):value(name, labels)
end

local function pattern(text)
  return (text:gsub("%p", "%%%0"))
end

local HOOKS = {
  {
    name = "gateway.shard:heartbeat", group = "shard", fake = { heartbeat_interval = 200 }, script = [[
local default = gateway.shard.heartbeat
function gateway.shard:heartbeat(interval)
  end_it()
  gateway.log.info "it runs"
  return default(self, interval)
end
]],
  },
  {
    name = "gateway.shard:calculate_safe_requests", group = "shard", by = "reconnect", script = [[
function gateway.shard:calculate_safe_requests()
  end_it()
  gateway.log.info "it runs"
  return 100
end
]],
  },
  {
    name = "gateway.shard:handle_close", group = "shard", by = "close", again = true, script = [[
local default = gateway.shard.handle_close
function gateway.shard:handle_close(code, reason)
  end_it()
  gateway.log.info "it runs"
  return default(self, code, reason)
end
]],
  },
  {
    name = "gateway.on hello", group = "life_cycle", by = "reconnect", script = [[
gateway.on("hello", function()
  end_it()
  gateway.log.info "it runs"
end)
]],
  },
  {
    name = "gateway.on load", group = "life_cycle", by = "reload", script = [[
gateway.on("load", function()
  end_it()
  gateway.log.info "it runs"
end)
]],
  },
  {
    name = "gateway.spawn, after or every", group = "timer", script = [[
gateway.every(20, function()
  end_it()
  gateway.log.info "it runs"
end)
]],
  },
  {
    name = "gateway.spawn, after or every", as = "gateway.spawn", group = "timer", by = "reload", script = [[
gateway.spawn(function()
  gateway.sleep(10)
  end_it()
  gateway.log.info "it runs"
end)
]],
  },
  {
    name = "gateway.on_broadcast", group = "broadcast", script = [[
if gateway.role == "manager" then
  gateway.every(50, function() gateway.broadcast("topic", 1) end)
end
gateway.on_broadcast("topic", function()
  end_it()
  gateway.log.info "it runs"
end)
]],
  },
  {
    name = "gateway.delivery:is_delivered", group = "delivery", by = "message", script = [[
function gateway.delivery:is_delivered(status)
  end_it()
  gateway.log.info "it runs"
  return status == 204
end
]],
  },
}

local TRIGGERS = {
  reconnect = function(s) s.fake:fault { ["do"] = "reconnect", shard = 0 } end,
  close = function(s) s.fake:fault { ["do"] = "close", code = 4000, shard = 0 } end,
  message = function(s) s.fake:emit { count = 1, shard = 0 } end,
  reload = function(s) s.gateway.process:kill "SIGHUP" end,
}

local function wait_for(s, what, predicate)
  loop.wait_for(function()
    return what .. ". The log ends:\n" .. s.gateway.stderr:sub(-3000)
  end, predicate, 20000)
end

-- The shard is up again after the last of so many deaths.
local function wait_until_back(s, deaths)
  local log, at = s.gateway, 0
  wait_for(s, "the shard to be back", function()
    at = 0
    for _ = 1, deaths do
      at = at and log.stderr:find("a worker has ended", at + 1, true)
    end
    return at and log.stderr:find("shard 0: resumed epoch=", at, true)
  end)
end

local OFF = "error manager: %s[^\n]* has ended its process %d times in 10 minutes: it is switched off until "
  .. "the next reload"

-- Until the line is there that tells of it.
local function end_until_off(s, hook, deaths)
  for n = 1, deaths do
    if hook.by and (n == 1 or hook.again) then
      TRIGGERS[hook.by](s)
    end
    wait_for(s, "death " .. n, function() return s.gateway:count_log "a worker has ended" >= n end)
    if hook.again then
      wait_until_back(s, n)
    end
  end
  s.gateway:wait_for_log(OFF:format(pattern(hook.name), deaths))
end

-- Nothing is lost, and the worker that runs now stays. A RESUMED at the end of a replay that another death
-- has cut off does not come again (in_replay).
local function assert_well(s, deaths, in_replay)
  wait_until_back(s, deaths)
  s.fake:emit { count = 20, shard = 0 }
  checker.assert_nothing_lost(s.bot.events, { guilds = s:wait_delivered(20000), contiguous = not in_replay })
  assert.equal(1, s:counters().identifies)
  assert.equal(deaths, s.gateway:count_log "a worker has ended")
end

describe("a function that ends its worker each time", function()
  after_each(scene.stop)

  for i, hook in ipairs(HOOKS) do
    it(("is switched off at the second death: %s"):format(hook.as or hook.name), function()
      local s = start(CONFIGURE .. hook.script, "worker", { fake = hook.fake })
      s.bot:wait_for_events(1 + #s.fake:guilds())
      go(s, i % 2 == 0 and "loops" or "exits")
      end_until_off(s, hook, 2)
      assert_well(s, 2, not hook.again)
      assert.equal(2, s.gateway:count_log(("inside of %s %%([^\n]*script%%.lua:%%d+%%) when worker 0 ended")
        :format(pattern(hook.name))))
      assert.equal(2, value(s, "tidegate_lua_errors_total", { worker = 0, group = hook.group }))
      assert.equal(1, value(s, "tidegate_lua_methods_switched_off", { worker = 0 }))
      os.remove(s.file)
      local before = #s.gateway.stderr
      assert.is_true((s.gateway:reload()))
      assert.equal(0, value(s, "tidegate_lua_methods_switched_off", { worker = 0 }))
      if hook.by and hook.by ~= "reload" then
        TRIGGERS[hook.by](s)
      end
      loop.wait_for("it to run again", function()
        return s.gateway.stderr:find("worker 0[^\n]*: it runs", before)
      end)
    end)
  end

  -- Here each death had an event to blame, which has passed by then.
  it("is switched off at the fifth death if it is one for events", function()
    local s = start(CONFIGURE .. [[
gateway.filter("MESSAGE_CREATE", function() end_it() end)
]])
    s.bot:wait_for_events(1 + #s.fake:guilds())
    go(s, "exits")
    s.fake:emit { count = 20, shard = 0 }
    s.gateway:wait_for_log(OFF:format("gateway%.filter", 5))
    assert_well(s, 5, true)
    assert.equal(5, s.gateway:count_log "MESSAGE_CREATE was inside of gateway%.filter")
  end)
end)

describe("a script that ends its worker as it loads", function()
  after_each(scene.stop)

  local SCRIPT = CONFIGURE .. [[
end_it()
gateway.filter("MESSAGE_CREATE", false)
gateway.on("load", function() gateway.log.info "it runs" end)
]]

  it("is left out at the third try: its configuration holds, all else goes by the defaults", function()
    local s = start(SCRIPT)
    s.bot:wait_for_events(1 + #s.fake:guilds())
    go(s, "exits")
    kill_worker(s)
    s.gateway:wait_for_log(OFF:format("the top level of the script", 2))
    s.gateway:wait_for_log "error worker 0: the script is not run, since it ends workers as it loads"
    assert_well(s, 3)
    os.remove(s.file)
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "worker 0: it runs\n.*worker 0: it runs"
    local before = #s.bot.events
    s.fake:emit { count = 1, shard = 0 }
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    assert.equal(before + 1, #s.bot.events) -- it filters again
  end)

  it("has the events kept for it, if it alone delivers them", function()
    local s = start(CONFIGURE .. [[
end_it()
function gateway.delivery:deliver(events)
  for _, event in ipairs(events) do
    if event.type == "MESSAGE_CREATE" then gateway.log.info("delivered: %s", event.data.nonce) end
  end
  return true
end
]], "worker", { bot = false })
    go(s, "exits")
    kill_worker(s)
    wait_until_back(s, 3)
    s.fake:emit { count = 20, shard = 0 }
    local sent = s.fake:wait_emitted()
    s.gateway:wait_for_log "the event handler is down"
    os.remove(s.file)
    assert.is_true((s.gateway:reload()))
    for guild, last in pairs(sent) do
      for n = 1, last do
        s.gateway:wait_for_log(("delivered: %s:%d\n"):format(guild, n))
      end
    end
  end)

  it("in a reload makes that fail, however often; the one before it goes on", function()
    local s = start(CONFIGURE)
    s.bot:wait_for_events(1 + #s.fake:guilds())
    go(s, "exits")
    paths.write(s.gateway.script, HEAD:format "worker" .. SCRIPT)
    for n = 1, 3 do
      assert.is_false((s.gateway:reload(20000)))
      wait_until_back(s, n)
    end
    assert.equal(3, s.gateway:count_log "inside of the top level of the script, in a reload, when worker 0")
    assert.equal(0, s.gateway:count_log "switched off")
  end)
end)

describe("a function that ends the manager each time", function()
  after_each(scene.stop)

  local SCRIPT = CONFIGURE .. [[
gateway.every(20, function()
  end_it()
  gateway.log.info "it runs"
end)
]]

  local function is_there(s)
    s.gateway:wait_for_log "all shards are up"
    assert.equal(1, s:counters().identifies)
  end

  -- Started again and again, as a service manager would do.
  it("is switched off at the second death, until somebody looks after it", function()
    local s = start(SCRIPT, "manager")
    s.bot:wait_for_events(1 + #s.fake:guilds())
    go(s, "exits")
    for _ = 1, 2 do
      s.gateway.process:wait()
      s:again { ready = false }
      s.gateway:wait_for_log "error manager: inside of gateway.spawn[^\n]*script%.lua:%d+%) when the manager"
    end
    s.gateway:wait_for_log(OFF:format("gateway.spawn, after or every", 2))
    is_there(s)
    assert.equal(1, value(s, "tidegate_lua_errors_total", { worker = "manager", group = "timer" }))
    assert.equal(1, value(s, "tidegate_lua_methods_switched_off", { worker = "manager" }))
    assert.equal(0, s.gateway:count_log "manager: it runs")

    os.remove(s.file)
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "manager: it runs"
  end)

  for what, change in pairs {
    ["stopped and started"] = function(s)
      os.remove(s.file)
      assert.equal(0, (s.gateway:stop()))
      s:again()
    end,
    ["given another script"] = function(s)
      os.remove(s.file)
      uv.kill(s.gateway.pid, "sigkill")
      s.gateway.process:wait()
      s:again { script = HEAD:format "manager" .. "\n" .. SCRIPT }
    end,
  } do
    it("is on again in a gateway that is " .. what, function()
      local s = start(SCRIPT, "manager")
      s.bot:wait_for_events(1 + #s.fake:guilds())
      go(s, "exits")
      for _ = 1, 2 do
        s.gateway.process:wait()
        s:again { ready = false }
      end
      is_there(s)
      change(s)
      s.gateway:wait_for_log "manager: it runs"
    end)
  end
end)
