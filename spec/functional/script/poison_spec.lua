-- An event that is the end of its worker, in whatever function of the script: it comes again by RESUME, and
-- passes without that function. Where nothing else is said each of three such events ends the worker in
-- another way.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local CHANNEL = "1"
local WAYS = { "loops", "crashes", "exits" }

-- poison(event): does to the worker what stands in the event.
local HEAD = [[
local gateway = require "tidegate"
local ffi = require "ffi"
ffi.cdef "void _exit(int); int pause(void);"
local ways = {
  loops = function() local x = 0 while true do x = (x + 1) %% 1000003 end end,
  crashes = function() ffi.cast("int *", 8)[0] = 1 end,
  exits = function() ffi.C._exit(3) end,
  blocks = function() while true do ffi.C.pause() end end,
}
local function poison(text)
  local way = text:match '"poison":"(%%a+)"'
  if way then ways[way]() end
end
gateway.configure {
  script = { kill_after = %d }, queue = { durability = "%s" }, interaction = { grace = 100 }, %s
}
]]

-- The event that a row poisons, MESSAGE_CREATE if it says none, and what its d must have.
local FIELDS = {
  MESSAGE_CREATE = { channel_id = CHANNEL, content = "" },
  MESSAGE_UPDATE = { channel_id = CHANNEL, content = "" },
  GUILD_CREATE = {},
  INTERACTION_CREATE = { application_id = "2", type = 2, token = "interaction.token", version = 1 },
}

local HOOKS = {
  {
    name = "gateway.filter", group = "filter", script = [[
gateway.filter("MESSAGE_CREATE", function(event) poison(event.raw) end)
]],
  },
  {
    name = "gateway.delivery:handle_discord_payload", group = "delivery", script = [[
local default = gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event)
  poison(event.raw)
  return default(self, shard, event)
end
]],
  },
  {
    name = "gateway.cache:message_changed", group = "cache", event = "MESSAGE_UPDATE", script = [[
function gateway.cache:message_changed(event) poison(event.raw) end
]],
  },
  {
    name = "gateway.cache:guild_create_kind", group = "cache", event = "GUILD_CREATE", script = [[
function gateway.cache:guild_create_kind(event) poison(event.raw) end
]],
  },
  {
    name = "gateway.shard:handle_packet", group = "shard", script = [[
local default = gateway.shard.handle_packet
function gateway.shard:handle_packet(packet)
  poison(packet)
  return default(self, packet)
end
]],
  },
  {
    name = "gateway.shard:decompress_packet", group = "shard", script = [[
local default = gateway.shard.decompress_packet
function gateway.shard:decompress_packet(bytes)
  local text = default(self, bytes)
  poison(text)
  return text
end
]],
  },
  {
    name = "gateway.on", group = "handler", script = [[
gateway.on("MESSAGE_CREATE", function(event) poison(event.raw) end)
]],
  },
  {
    name = "gateway.on", group = "handler", as = "a handler that has its events in order", script = [[
gateway.on("MESSAGE_CREATE", function(event)
  gateway.sleep(1)
  poison(event.raw)
end, { ordered = "guild" })
]],
  },
  {
    name = "gateway.delivery:deliver", group = "delivery", script = [[
local default = gateway.delivery.deliver
function gateway.delivery:deliver(events)
  for _, event in ipairs(events) do poison(event.raw) end
  return default(self, events)
end
]],
  },
  {
    name = "gateway.delivery:handle_interaction_queueing", group = "delivery", event = "INTERACTION_CREATE",
    bot_is_late = true, script = [[
local default = gateway.delivery.handle_interaction_queueing
function gateway.delivery:handle_interaction_queueing(event)
  poison(event.raw)
  return default(self, event)
end
]],
  },
}

local function start(hook, durability, options)
  options = options or {}
  options.script = HEAD:format(options.kill_after or 300, durability, options.settings or "") .. hook.script
  options.settings, options.kill_after = nil, nil
  options.env, options.reload, options.hurry = scene.crashes, false, 10
  local s = scene.start(options)
  if s.bot then
    s.bot:wait_for_events(1 + #s.fake:guilds())
  end
  return s
end

local last_id = 41771983423143937ULL

local function emit(s, hook, way)
  local type = hook.event or "MESSAGE_CREATE"
  last_id = last_id + 1
  local d = { id = tostring(last_id):match "%d+", poison = way }
  for key, value in pairs(FIELDS[type]) do
    d[key] = value
  end
  s.fake:emit { event = type, shard = 0, d = d }
  return { type = type, id = d.id }
end

local function wait_for_bot(s, event)
  loop.wait_for(function()
    return ("%s %s at the bot. The log ends:\n%s"):format(event.type, event.id, s.gateway.stderr:sub(-3000))
  end, function()
    for _, each in ipairs(s.bot:select(event.type)) do
      if each.body:find('"id":"' .. event.id .. '"', 1, true) then
        return true
      end
    end
  end, 20000)
end

local function pattern(text)
  return (text:gsub("%p", "%%%0"))
end

-- The line that tells of the event's end of worker 0.
local function said(hook, event)
  return ("error manager shard 0: %s was inside of %s %%([^\n]*script%%.lua:%%d+%%) when worker 0 ended; "
    .. "[^\n]* worker=0 epoch=%%d+ sequence=%%d+"):format(event, pattern(hook.name))
end

local function lua_errors(s, group)
  local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
  return metrics:value("tidegate_lua_errors_total", { worker = 0, group = group })
end

-- contiguous: no RESUMED has died with its worker, whose number does not come again.
local function assert_nothing_lost(s, contiguous)
  local sent = s:wait_delivered(20000)
  checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = contiguous })
  assert.equal(1, s:counters().identifies)
end

local function hook_of(name)
  for _, hook in ipairs(HOOKS) do
    if hook.name == name then
      return hook
    end
  end
end

-- Nothing is left of the gateway then.
local function kill_all(s)
  local workers = s.gateway:worker_pids()
  uv.kill(s.gateway.pid, "sigkill")
  s.gateway.process:wait()
  for _, pid in ipairs(workers) do
    loop.wait_for("worker " .. pid .. " to end", function() return not process.is_running(pid) end)
  end
end

describe("an event that ends its worker", function()
  after_each(scene.stop)

  for i, hook in ipairs(HOOKS) do
    for k, durability in ipairs { "log", "memory" } do
      it(("in %s passes without it, durability \"%s\""):format(hook.as or hook.name, durability), function()
        local s = start(hook, durability)
        if hook.bot_is_late then
          s.bot:answer(function(_, event) return event.t == "INTERACTION_CREATE" and 503 or 204 end)
        end
        local events = {}
        for n = 1, 3 do
          s.fake:emit { count = 5, shard = 0 }
          events[n] = emit(s, hook, WAYS[(i + k + n) % 3 + 1])
          s.fake:emit { count = 5, shard = 0 }
          loop.wait_for(function()
            return ("death %d. The log ends:\n%s"):format(n, s.gateway.stderr:sub(-3000))
          end, function() return s.gateway:count_log(said(hook, events[n].type)) >= n end)
          if hook.bot_is_late then
            s:wait_counter("resumes_ok", n)
          else
            wait_for_bot(s, events[n])
            s.bot:wait_for_events(n, "RESUMED")
          end
        end
        s.bot:answer(nil)
        for _, event in ipairs(events) do
          wait_for_bot(s, event)
        end
        assert_nothing_lost(s, durability == "log" and not hook.bot_is_late)
        assert.equal(3, s.gateway:count_log "a worker has ended")
        assert.equal(3, lua_errors(s, hook.group))
      end)
    end
  end

  -- The manager would not kill it for a minute: everything is killed from outside.
  for _, durability in ipairs { "log", "memory" } do
    for _, name in ipairs { "gateway.filter", "gateway.shard:handle_packet" } do
      it(("in %s passes without it when the whole gateway was killed, with durability \"%s\"")
        :format(name, durability), function()
        local hook = hook_of(name)
        local s = start(hook, durability, { kill_after = 60000 })
        s.fake:emit { count = 5, shard = 0 }
        local event = emit(s, hook, "blocks")
        s.fake:emit { count = 5, shard = 0 }
        s.gateway:wait_for_log "has not returned"
        kill_all(s)
        s:again()
        wait_for_bot(s, event)
        assert_nothing_lost(s, durability == "log")
        assert.equal(1, s.gateway:count_log(said(hook, event.type)))
        assert.equal(0, s.gateway:count_log "a worker has ended")
        assert.equal(1, lua_errors(s, hook.group))
      end)
    end
  end

  it("is remembered by the next gateway, too, until it has passed", function()
    local hook = hook_of "gateway.delivery:deliver"
    local s = start(hook, "log")
    s.bot:answer(function(request) return request.body:find "poison" and 503 or 204 end)
    local event = emit(s, hook, "crashes")
    s.gateway:wait_for_log(said(hook, event.type))
    s:wait_counter("resumes_ok", 1)
    kill_all(s)
    s:again()
    s.bot:answer(nil)
    wait_for_bot(s, event)
    assert.equal(0, s.gateway:count_log "was inside of")
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)

  -- In each function that sees it: two of them are asked, in the order in which they come.
  it("in every function of the script ends two workers, and is shown to none any more", function()
    local all = { name = "", script = "" }
    for _, hook in ipairs(HOOKS) do
      all.script = all.script .. "do\n" .. hook.script .. "end\n"
    end
    for _, durability in ipairs { "log", "memory" } do
      local s = start(all, durability)
      s.fake:emit { count = 5, shard = 0 }
      local event = emit(s, all, "crashes")
      s.fake:emit { count = 5, shard = 0 }
      wait_for_bot(s, event)
      assert_nothing_lost(s)
      assert.equal(2, s.gateway:count_log "a worker has ended")
      local first = said(hook_of "gateway.shard:decompress_packet", event.type)
      local second = said(hook_of "gateway.shard:handle_packet", event.type)
      assert.equal(1, s.gateway:count_log(first))
      assert.equal(1, s.gateway:count_log(second))
      assert.equal(1, s.gateway:count_log "it will be shown to no function of the script any more")
    end
  end)

  it("goes to the dead letters when only the script could deliver it; those beside it do not", function()
    local s = start({
      script = [[
function gateway.delivery:deliver(events)
  for _, event in ipairs(events) do poison(event.raw) end
  for _, event in ipairs(events) do
    if event.type == "MESSAGE_CREATE" then gateway.log.info("delivered: %s", event.data.nonce) end
  end
  gateway.sleep(100) -- the next ones come together
  return true
end
]],
    }, "log", { bot = false, settings = "event_handler = { batch = true }" })
    s.fake:emit { count = 5, shard = 0 }
    local event = emit(s, {}, "loops")
    s.fake:emit { count = 5, shard = 0 }
    local letters = loop.wait_for(function()
      return "the dead letter. The log ends:\n" .. s.gateway.stderr:sub(-3000)
    end, function()
      return paths.read(s.gateway.state_dir .. "/dead.jsonl")
    end, 20000)
    assert.matches('"id":"' .. event.id .. '"', letters, 1, true)
    assert.equal(1, select(2, letters:gsub("\n", "")))
    for guild, last in pairs(s.fake:wait_emitted()) do
      for n = 1, last do
        s.gateway:wait_for_log(("delivered: %s:%d\n"):format(guild, n))
      end
    end
    local deaths = s.gateway:count_log "a worker has ended"
    assert(deaths == 1 or deaths == 2, deaths)
  end)
end)
