-- gateway.shard: each method overridden, and what that changes on the wire.

local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  options.hurry = options.hurry or 4
  return scene.start(options)
end

describe("gateway.shard", function()
  after_each(scene.stop)

  it(":identify decides when op 2 goes out", function()
    local s = start [[
local identify = gateway.shard.identify
local tries = 0
function gateway.shard:identify()
  tries = tries + 1
  gateway.log.info("try %d of shard %d of %d", tries, self.id, self.total_shards)
  if tries == 1 then
    return self:close(4000, "not yet")
  end
  return identify(self)
end
]]
    assert.equal(1, s:counters().identifies)
    assert.equal(2, #s:list "handshakes")
    local close = s:list("closes")[1]
    assert.same({ "client", 4000, "not yet" }, { close.by, close.code, close.reason })
    s.gateway:wait_for_log "try 2 of shard 0 of 1"
  end)

  it(":identify that never identifies does not hammer at Discord's door", function()
    local s = start("function gateway.shard:identify() self:close(4000, 'never') end\n", { ready = false })
    local list = s.fake:wait_for("three handshakes", function(state)
      return #state.handshakes >= 3 and state.handshakes
    end, { only = "handshakes" })
    assert.is_true(list[3].at - list[1].at >= 500)
    assert.equal(0, s:counters().identifies)
  end)

  it(":identify that fails is done by C", function()
    local s = start "function gateway.shard:identify() error 'oh no' end\n"
    assert.equal(1, s:counters().identifies)
    assert.matches("oh no\n  stack traceback:", s.gateway.stderr, 1, true)
  end)

  it(":resume may choose a new session instead", function()
    local s = start([[
local resume = gateway.shard.resume
local tries = 0
function gateway.shard:resume()
  tries = tries + 1
  gateway.log.info("session %s, after %d", self.session_id, self.sequence)
  if tries == 2 then
    return self:shutdown() -- ends the session
  end
  return resume(self)
end
]], { reload = false })
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", 1)
    local session = s:list("resumes")[1].session_id
    s.gateway:wait_for_log("session " .. session .. ", after %d+")
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("identifies_ok", 2, 15000)
    assert.equal(1, s:counters().resumes)
  end)

  it(":make_presence goes into the identify", function()
    local s = start([[
gateway.configure { presence = { status = "idle", afk = false, activities = {} } }
local make = gateway.shard.make_presence
function gateway.shard:make_presence()
  local presence = make(self)
  gateway.sleep(20) -- may wait
  presence.activities[1] = { name = "shard " .. self.id, type = 0 }
  return presence
end
]], { shards = 2, fake = { max_concurrency = 2 } })
    for _, identify in ipairs(s:list "identifies") do
      assert.equal("idle", identify.presence.status)
      assert.equal("shard " .. identify.shard, identify.presence.activities[1].name)
    end
  end)

  it(":make_presence starts from the presence that was set last", function()
    local s = start [[
gateway.configure { presence = { status = "idle", afk = false, activities = {} } }
local make = gateway.shard.make_presence
function gateway.shard:make_presence()
  local presence = make(self)
  presence.activities[1] = { name = "was " .. presence.status, type = 0 }
  return presence
end
local first = true
gateway.on("ready", function(shard)
  if first then
    first = false
    assert(gateway.manager:edit_shard_status(shard.id, { status = "dnd", afk = false, activities = {} }))
    shard:shutdown() -- the next one identifies
  end
end)
]]
    s:wait_counter("identifies_ok", 2, 15000)
    local identifies = s:list "identifies"
    assert.equal("was idle", identifies[1].presence.activities[1].name)
    assert.equal("was dnd", identifies[2].presence.activities[1].name)
    assert.equal("dnd", identifies[2].presence.status)
  end)

  it(":heartbeat decides whether a beat is sent", function()
    local s = start([[
local heartbeat = gateway.shard.heartbeat
local beats = 0
function gateway.shard:heartbeat(interval)
  beats = beats + 1
  gateway.log.info("beat %d, every %d ms", beats, interval)
  heartbeat(self, interval)
  return heartbeat(self, interval) -- one more than is due
end
]], { fake = { heartbeat_interval = 300 * paths.slow } })
    s.gateway:wait_for_log(("beat 3, every %d ms"):format(300 * paths.slow))
    s:wait_counter("heartbeats", 6)
  end)

  it(":heartbeat that keeps silent is missed by Discord", function()
    local s = start("function gateway.shard:heartbeat() end\n", {
      ready = false, fake = { heartbeat_interval = 300 * paths.slow },
    })
    s.fake:wait_for("a missed heartbeat", function(state)
      return #state.heartbeats_missed > 0
    end, { only = "heartbeats_missed" })
    assert.equal(0, s:counters().heartbeats)
  end)

  it(":heartbeat that fails is done by C", function()
    local s = start("function gateway.shard:heartbeat() error 'no heart' end\n", {
      fake = { heartbeat_interval = 300 * paths.slow },
    })
    s:wait_counter("heartbeats", 4)
    assert.matches("no heart\n  stack traceback:", s.gateway.stderr, 1, true)
    assert.same({}, s:list "heartbeats_missed")
    assert.equal(1, s:counters().identifies)
  end)

  it(":handle_close decides between resume and identify", function()
    local s = start [[
local handle_close = gateway.shard.handle_close
function gateway.shard:handle_close(code, reason)
  gateway.log.info("closed with %d %s, usually %s", code, reason, handle_close(self, code, reason))
  if code == 4000 then return "identify" end
  if code == 4014 then return "resume" end
end
]]
    s.fake:fault { ["do"] = "close", code = 4000, reason = "why not" }
    s.gateway:wait_for_log "closed with 4000 why not, usually resume"
    s:wait_counter("identifies_ok", 2)
    assert.equal(0, s:counters().resumes)
    s.fake:fault { ["do"] = "close", code = 4014, session = "keep" }
    s.gateway:wait_for_log "closed with 4014[^\n]*, usually stop"
    s:wait_counter("resumes_ok", 1)
    s.fake:fault { ["do"] = "close", code = 4001 } -- no opinion: the table decides
    s:wait_counter("resumes_ok", 2, 15000)
  end)

  it(":handle_close that returns nonsense is not heeded", function()
    local s = start "function gateway.shard:handle_close() return 'sleep' end\n"
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", 1)
    s.gateway:wait_for_log '"sleep"; expected "resume", "identify" or "stop"'
  end)

  it(":handle_close may stop the gateway", function()
    local s = start "function gateway.shard:handle_close(code) return code == 4000 and 'stop' end\n"
    s.fake:fault { ["do"] = "close", code = 4000 }
    assert.equal(1, (s.gateway.process:wait()))
    assert.matches("stopped by the script. All shards stop", s.gateway.stderr, 1, true)
  end)

  it(":request_identify may be granted by a script alone", function()
    local s = start([[
function gateway.shard:request_identify()
  gateway.sleep(self.id * 400) -- more than Discord asks for here
  return true
end
]], { shards = 3, fake = { identify_window = 100 }, spawn_shard_delay = 60000 })
    local list = s:list "identifies"
    assert.equal(3, #list)
    assert.is_true(list[3].at - list[1].at < 5000) -- the scheduler was not asked
    assert.same({}, s:list "violations")
    s.gateway:wait_for_log "identified without a slot"
  end)

  it(":request_identify that fails leaves it to the manager", function()
    local s = start([[
function gateway.shard:request_identify()
  if self.id == 0 then error "cannot" end
  gateway.log.info("asking for shard %d", self.id)
  return gateway.default.shard.request_identify(self)
end
]], { shards = 2 })
    assert.equal(2, s:counters().identifies)
    assert.same({}, s:list "violations")
    assert.matches("cannot\n  stack traceback:", s.gateway.stderr, 1, true)
    s.gateway:wait_for_log "asking for shard 1"
  end)
end)
