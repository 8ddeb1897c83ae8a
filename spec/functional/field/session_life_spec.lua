-- What sessions have met in the field, a row each: what Discord did, and what becomes of the shard.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local trial = require "spec.support.fault_trial"

local INTERVAL = 200 * paths.slow
local BEATING = { heartbeat_interval = INTERVAL, send_limit = 100000 }
local CUT = { ["do"] = "rst" }

-- While events flow: what happens, what follows (as in fault_trial), and what the log says of it.
local MISHAPS = {
  { "no heartbeat is acknowledged any more, and events go on",
    fake = BEATING, faults = { { ["do"] = "withhold_acks" } },
    expected = { resumes = 1, connections = 1 }, log = "no longer acknowledged[^\n]* delay=0\n" },
  { "a RESUME is not answered, and heartbeats are acknowledged all the while",
    fake = { heartbeat_interval = INTERVAL / 2, send_limit = 100000 },
    faults = { { at = "resume", ["do"] = "withhold" }, CUT },
    expected = { resumes = 2, connections = 2 }, log = "no RESUMED came code=1006 next=resume delay=%d+\n" },
  { "an IDENTIFY is not answered, and heartbeats are acknowledged all the while",
    fake = { heartbeat_interval = INTERVAL / 2, send_limit = 100000 },
    faults = { { at = "identify", ["do"] = "withhold" }, { ["do"] = "close", code = 4006 } },
    expected = { identifies = 2, connections = 2 },
    log = "no READY came code=1006 next=identify delay=%d+\n" },
  { "RESUMED has no s", fake = { number_resumed = false }, faults = { CUT },
    expected = { resumes = 1, connections = 1 }, log = "nothing can name[^\n]* event=RESUMED" },
  { "op 7 comes as soon as the session runs",
    faults = { { ["do"] = "reconnect" } },
    expected = { resumes = 1, connections = 1 }, log = "asks for a reconnect delay=0\n" },
}

describe("in the field", function()
  after_each(scene.stop)

  for _, row in ipairs(MISHAPS) do
    it(row[1], function()
      local t = trial.start { fake = row.fake }
      local log = t:survives(row.expected, function()
        for _, fault in ipairs(row.faults) do
          t.fake:fault(fault)
        end
      end)
      assert.matches(row.log, log)
    end)
  end
end)

-- READY's session_id, and whether the session can be resumed: by its own process, and by the next one.
local IDS = {
  { "127 bytes", { session_id_size = 127 }, resumes = true },
  { "128 bytes", { session_id_size = 128 }, resumes = true },
  { "1023 bytes", { session_id_size = 1023 }, resumes = true },
  { "escapes", { escapes = true }, resumes = true },
  { "escapes and 300 bytes", { escapes = true, session_id_size = 300 }, resumes = true },
  { "1024 bytes", { session_id_size = 1024 }, log = "READY has too long or too strange a session_id: " },
  { "nothing in it", { session_id_size = 0 }, log = "READY has no session_id: " },
}

describe("a session whose id has", function()
  after_each(scene.stop)

  for _, row in ipairs(IDS) do
    local what, settings, resumes = row[1], row[2], row.resumes
    local fate = resumes and "is resumed" or "lives as long as its connection, and the log says so"
    it(what .. " " .. fate, function()
      local env = { TIDEGATE_CONTROL_SECRET = "shows the ids" }
      local s = scene.start { fake = settings, hurry = 10, env = env, script = [[
local gateway = require "tidegate"
gateway.on("TYPING_START", function(_, shard)
  gateway.log.info("length of the id: %d", #(shard.session_id or ""))
end)
]] }
      local function assert_counts(identifies, resumed)
        s:wait_counter(resumes and "resumes_ok" or "identifies_ok", resumes and resumed or identifies)
        local counters = s:counters()
        assert.same({ identifies, resumed }, { counters.identifies, counters.resumes })
      end
      s:type()
      s.bot:wait_for_events(1, "TYPING_START")
      local length = resumes and (settings.session_id_size or 32) or 0
      s.gateway:wait_for_log("length of the id: " .. length .. "\n")
      assert.equal(row.log and 1 or 0, s.gateway:count_log "warn [^\n]*READY has")
      assert.equal(row.log and 1 or 0, s.gateway:count_log(row.log or "READY has"))
      assert.equal(1, s:counters().identifies) -- the connection is worth what it cost
      if resumes then
        local shown = s.gateway:control("GET", "/shards"):json()[1].sessionId
        assert.equal(s:list("sessions")[1].session_id, shown)
      end
      s.fake:fault(CUT)
      assert_counts(resumes and 1 or 2, resumes and 1 or 0)
      s:type()
      s.bot:wait_for_events(2, "TYPING_START")
      s.gateway:stop()
      s:again()
      assert_counts(resumes and 1 or 3, resumes and 2 or 0)
      s:type()
      s.bot:wait_for_events(3, "TYPING_START")
      assert.same({}, s:list "violations")
    end)
  end
end)

-- What an event calls itself, as JSON; the name that the bot reads; whether a filter of MESSAGE_CREATE has
-- `seen` it.
local NAMES = {
  { "lower case", '"message_create"', "message_create" },
  { "300 bytes", '"' .. ("N"):rep(300) .. '"', ("N"):rep(300) },
  { "not ASCII", '"NACHRICHT_\195\164"', "NACHRICHT_\195\164" },
  { "escapes", '"MESSAGE\\u005fCREATE"', "MESSAGE_CREATE", seen = true },
  { "quotes and line breaks", '"A\\"\\n\\\\"', 'A"\n\\' },
  { "nothing", '""', "" },
  { "null", "null", cjson.null },
  { "a number", "5", 5 },
}

describe("an event whose name is", function()
  local s

  setup(function()
    s = scene.start { script = [[
local gateway = require "tidegate"
gateway.filter("MESSAGE_CREATE", function(event)
  gateway.log.info("filter: %s of %d", event.type, event.sequence)
end)
]] }
    s.bot:wait_for_events(1 + #s.fake:guilds())
  end)
  teardown(scene.stop)

  for _, row in ipairs(NAMES) do
    local what, t, name = row[1], row[2], row[3]
    it(what .. " reaches the bot, in its turn", function()
      local before = #s.bot.events
      s:type("before")
      s.fake:emit { event = "ODD", t = t, d = { id = "7", content = what }, shard = 0 }
      s:type("behind")
      local events = s.bot:wait_for_events(before + 3)
      local odd = events[before + 2]
      assert.equal(name, odd:message().t)
      assert.equal(what, odd:data().content)
      assert.matches('"t":' .. t:gsub("%p", "%%%0") .. ',"s":', odd.body)
      assert.same({ odd.s - 1, odd.s + 1 }, { events[before + 1].s, events[before + 3].s })
      assert.equal(row.seen and 1 or 0, s.gateway:count_log("filter: MESSAGE_CREATE of " .. odd.s))
      assert.equal(0, s.gateway:count_log "warn ")
      assert.equal(200, s.gateway:control("GET", "/metrics").status)
    end)
  end
end)

-- What nothing can name: it is told once a connection, and costs nothing else.
local NAMELESS = {
  { "s is null", '{"t":"MESSAGE_CREATE","s":null,"op":0,"d":{}}' },
  { "there is no s", '{"t":"MESSAGE_CREATE","op":0,"d":{}}' },
  { "s is 0", '{"t":"MESSAGE_CREATE","s":0,"op":0,"d":{}}' },
  { "s is text", '{"t":"MESSAGE_CREATE","s":"12","op":0,"d":{}}' },
  { "s and t are null", '{"t":null,"s":null,"op":0,"d":{}}' },
}

describe("an event in which", function()
  after_each(scene.stop)

  for _, row in ipairs(NAMELESS) do
    it(row[1] .. " is told once, and leaves the session as it was", function()
      local s = scene.start { fake = { guilds = 1 } }
      for _ = 1, 3 do
        s.fake:emit { text = row[2], shard = 0 }
      end
      s.fake:emit { count = 20 }
      s:wait_delivered()
      assert.equal(1, s.gateway:count_log "warn [^\n]*nothing can name[^\n]* reason=\"it has no sequence\"")
      assert.equal(0, #s.bot:select(function(event) return not event.s end))
      s.fake:fault(CUT)
      s:wait_counter("resumes_ok", 1)
      s.fake:emit { count = 20 }
      s:wait_delivered()
      assert.same({ 1, 1 }, { s:counters().identifies, s:counters().resumes })
    end)
  end

  it("s is null in READY: the session begins, and is resumed", function()
    local s = scene.start { fake = { number_ready = false, guilds = 2 } }
    local ready = s.bot:wait_for_events(3)[1]
    assert.matches('"t":"READY","s":null', ready.body)
    assert.matches("%.1$", ready.key)
    for _, event in ipairs(s.bot:select "GUILD_CREATE") do
      assert.equal("loading", event.guild_create)
    end
    s.fake:fault(CUT)
    s:wait_counter("resumes_ok", 1)
    s.fake:emit { count = 20 }
    s:wait_delivered()
    assert.same({ 1, 1 }, { s:counters().identifies, s:counters().resumes })
    assert.equal(0, s.gateway:count_log "never came")
  end)
end)
