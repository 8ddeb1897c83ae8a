-- What sessions have met in the field, a row each: what Discord did, and what becomes of the shard.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local trial = require "spec.support.fault_trial"
local uv = require "luv"

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
      if row.seen then
        s.gateway:wait_for_log("filter: MESSAGE_CREATE of " .. odd.s)
      end
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

-- Guild A was seen before, B is in READY's list and has not come, C is new, D was left before. What a
-- GUILD_CREATE without the key "unavailable" is, when the process ...
local GUILDS = { A = "available", B = "loading", C = "joined", D = "joined" }

local DEATHS = {
  { "has resumed", function(s) s.fake:fault(CUT) end },
  { "was stopped and started again", function(s)
    s.gateway:stop()
    s:again()
  end },
  { "was a worker, and was killed", function(s)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
  end },
  { "was killed with all others", function(s)
    local workers = s.gateway:worker_pids()
    uv.kill(-s.gateway.pid, "sigkill")
    s.gateway.process:wait()
    loop.wait_for("the workers to be gone", function()
      for _, pid in ipairs(workers) do
        if process.is_running(pid) then
          return false
        end
      end
      return true
    end)
    s:again()
  end },
  { "has lost what it knew", function(s)
    s.gateway:stop()
    os.remove(s.gateway.state_dir .. "/guilds/0")
    s:again()
  end, kinds = { A = "joined", B = "joined", C = "joined", D = "joined" } },
  { "found that damaged", function(s)
    s.gateway:stop()
    paths.write(s.gateway.state_dir .. "/guilds/0", ("damage"):rep(100))
    s:again()
  end, kinds = { A = "joined", B = "joined", C = "joined", D = "joined" }, log = "is damaged" },
  { "was another bot's", function(s)
    s.gateway:stop()
    s.fake:settings { token = "another.bot.token" }
    s:again { env = { DISCORD_TOKEN = "another.bot.token" } }
  end, identifies = 2, kinds = { A = "loading", B = "loading", C = "joined", D = "joined" } },
  { "had another number of shards", function(s)
    s.gateway:stop()
    s.fake:settings { max_concurrency = 2 }
    s:again { shards = 2, env = { TOTAL_SHARDS = 2 } }
  end, identifies = 3, kinds = { A = "loading", B = "loading", C = "joined", D = "joined" } },
}

describe("a GUILD_CREATE, when the process", function()
  after_each(scene.stop)

  local function emit(s, event, id)
    local before = #s.bot.events
    s.fake:emit { event = event, d = { id = id, name = "a guild" }, shard = 0 }
    return s.bot:wait_for_events(before + 1, nil)[before + 1].guild_create
  end

  for _, row in ipairs(DEATHS) do
    local what, die, expected = row[1], row[2], row.kinds or GUILDS
    it(what .. ", is what it would have been", function()
      local s = scene.start { fake = { guilds = 4, guild_create = "none" }, hurry = 10 }
      s.bot:wait_for_events(1, "READY")
      local ids, guilds = { C = "4398046511104", D = "8796093022208" }, s.fake:guilds()
      for _, guild in ipairs(guilds) do -- those of shard 0 when there are two
        local name = not ids.A and "A" or not ids.B and "B"
        if name and math.floor(tonumber(guild.id) / 2 ^ 22) % 2 == 0 then
          ids[name] = guild.id
        end
      end
      assert.equal("loading", emit(s, "GUILD_CREATE", ids.A))
      assert.equal("joined", emit(s, "GUILD_CREATE", ids.D))
      emit(s, "GUILD_DELETE", ids.D)
      die(s)
      if row.identifies then
        s:wait_counter("identifies_ok", row.identifies)
        s.bot:wait_for_events(row.identifies, "READY")
      else
        s:wait_counter("resumes_ok", 1)
        s.bot:wait_for_events(1, "RESUMED")
        assert.equal(1, s:counters().identifies)
      end
      for name, kind in pairs(expected) do
        assert.same({ name, kind }, { name, emit(s, "GUILD_CREATE", ids[name]) })
        assert.same({ name, "available" }, { name, emit(s, "GUILD_CREATE", ids[name]) })
      end
      if row.log then
        assert.equal(1, s.gateway:count_log(row.log))
      end
    end)
  end

  it("has just started, of a guild that was said to be left, is loading", function()
    local s = scene.start { fake = { guilds = 2, guild_create = "none" } }
    s.bot:wait_for_events(1, "READY")
    local guilds = s.fake:guilds()
    emit(s, "GUILD_DELETE", guilds[1].id)
    assert.equal("loading", emit(s, "GUILD_CREATE", guilds[1].id))
    emit(s, "GUILD_DELETE", guilds[1].id)
    assert.equal("joined", emit(s, "GUILD_CREATE", guilds[1].id))
  end)

  it("dies before it is safe, is what it was when it comes again", function()
    local s = scene.start { fake = { guilds = 1 }, hurry = 10, script = [[
local ffi = require "ffi"
ffi.cdef "int kill(int, int); int getpid(void);"
require("tidegate").filter("GUILD_CREATE", function(event)
  if event.data.name == "deadly" and not event.replayed then
    ffi.C.kill(ffi.C.getpid(), 9)
  end
end)
]] }
    local guild = s.fake:guilds()[1].id
    s.bot:wait_for_events(1, "GUILD_CREATE")
    for i, id in ipairs { "4398046511104", guild } do
      s.fake:emit { event = "GUILD_CREATE", d = { id = id, name = "deadly" }, shard = 0 }
      s:wait_counter("resumes_ok", i)
    end
    local kinds, came = {}, {} -- one that was accepted right before a death may come twice
    for i, event in ipairs(s.bot:wait_for_events(3, function(event)
      local first = event.t == "GUILD_CREATE" and (came[event.key] or event) == event
      came[event.key] = came[event.key] or event
      return first
    end)) do
      kinds[i] = event.guild_create
    end
    assert.same({ "loading", "joined", "available" }, kinds)
    assert.equal(1, s:counters().identifies)
  end)
end)
