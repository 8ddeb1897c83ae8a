-- Commands of scripts to Discord, from the manager and from workers: what is sent by which shard, what the
-- caller is told, and why not when not.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

-- Where a script runs its body: in the manager, or in the worker of shard 0, when all shards are up.
local PLACES = {
  manager = [[
local spawn = gateway.manager.spawn_shards
function gateway.manager:spawn_shards()
  local up = spawn(self)
  gateway.spawn(run)
  return up
end
]],
  ["another worker"] = [[
gateway.on("TYPING_START", function(event, shard)
  if shard.id == 0 then run(event.data.user_id) end
end)
]],
}

local function start(place, body, options)
  options = options or {}
  options.script = ([[
local gateway = require "tidegate"
%s
local manager = gateway.manager
local function say(what, ok, err)
  gateway.log.info("%%s: %%s, %%s, %%s", what, ok, err and err.code, err and err.message)
  return ok
end
local function run(guild)
%s
  gateway.log.info("that was all")
end
%s
]]):format(options.head or "", body, PLACES[place])
  options.head = nil
  options.shards = options.shards or 2
  options.per_worker, options.workers = 1, options.shards
  options.bot = options.bot or false
  options.reload = false -- it ends functions that wait for their command
  options.fake = options.fake or {}
  options.fake.max_concurrency = options.fake.max_concurrency or 4
  local s = scene.start(options)
  if place ~= "manager" then
    s:type(s.fake:guilds(options.shards - 1)[1].id) -- a guild of the last shard
  end
  return s
end

local function commands(s, n)
  return s.fake:wait_for((n or "all") .. " commands", function(state)
    return #state.commands >= (n or 0) and state.commands
  end, { only = "commands" })
end

describe("commands", function()
  after_each(scene.stop)

  for place in pairs(PLACES) do
    describe("from the " .. place, function()
      it("reach the shard they are for", function()
        local s = start(place, [[
  say("payload", manager:send_payload(1, { op = 31, d = { guild_ids = { "7" } } }))
  say("status", manager:edit_shard_status(1, { status = "idle" }))
  say("bot", manager:edit_bot_status { status = "dnd", activities = { { name = "tide", type = 3 } } })
  say("sounds", manager:request_soundboard_sounds { "4194304", "8388608", "12582912" })
  say("join", manager:join_voice_channel("4194304", "77", { self_mute = true }))
  say("leave", manager:leave_voice_channel("4194304"))
]])
        s.gateway:wait_for_log "that was all"
        for _, what in ipairs { "payload", "status", "bot", "sounds", "join", "leave" } do
          s.gateway:wait_for_log(what .. ": true")
        end
        local sent = commands(s, 8)
        local by_kind = {}
        for _, command in ipairs(sent) do
          local kind = ("%d/%d"):format(command.shard, command.op)
          by_kind[kind] = by_kind[kind] or {}
          table.insert(by_kind[kind], command.d)
        end
        assert.equal(8, #sent)
        assert.same({ "7" }, by_kind["1/31"][1].guild_ids)
        assert.equal("idle", by_kind["1/3"][1].status)
        assert.equal("dnd", by_kind["1/3"][2].status)
        local activity = by_kind["0/3"][1].activities[1]
        assert.same({ "dnd", "tide", 3 }, { by_kind["0/3"][1].status, activity.name, activity.type })
        assert.same({ "8388608" }, by_kind["0/31"][1].guild_ids) -- (id >> 22) % 2
        assert.same({ "4194304", "12582912" }, by_kind["1/31"][2].guild_ids)
        assert.same({ "4194304", "77", true, true },
          { by_kind["1/4"][1].guild_id, by_kind["1/4"][1].channel_id, by_kind["1/4"][1].self_mute,
            by_kind["1/4"][1].self_deaf })
        assert.equal(cjson.null, by_kind["1/4"][2].channel_id)
        assert.same({}, s:list "violations")
      end)

      it("that cannot be sent say why", function()
        local s = start(place, [[
  local ids = {}
  for i = 1, 400 do ids[i] = tostring(4194304 * i) end
  say("long", manager:send_payload(1, { op = 31, d = { guild_ids = ids } }))
  say("op", manager:send_payload(1, { op = 2, d = {} }))
  say("shape", manager:send_payload(1, { op = 8, d = { guild_id = "1" } }))
  say("shard", manager:send_payload(7, { op = 31, d = { guild_ids = { "1" } } }))
  say("word", manager:send_payload("x", { op = 31, d = { guild_ids = { "1" } } }))
  say("nothing", manager:send_payload(1))
  say("option", manager:send_payload(1, { op = 31, d = { guild_ids = { "1" } } }, { timeout = -1 }))
  say("presence", manager:edit_shard_status(1, { status = "asleep" }))
  say("activity", manager:edit_bot_status { activities = { { type = 0 } } })
  say("guild", manager:join_voice_channel("abc", "1"))
  say("number", manager:leave_voice_channel(2 ^ 60))
  say("flag", manager:join_voice_channel("1", "1", { self_mute = "yes" }))
  say("list", manager:request_soundboard_sounds {})
  say("entry", manager:request_soundboard_sounds { "1", true })
  say("tiemout", manager:request_members("1", { tiemout = 1 }))
  say("both", manager:request_members("1", { query = "", user_ids = { "1" } }))
  say("intent", manager:request_members("1", { query = "", limit = 0 }))
]])
        s.gateway:wait_for_log "that was all"
        for what, why in pairs {
          long = "too_large, [^\n]*4096", op = "bad_payload, ", shape = "bad_payload, ",
          shard = "no_shard, [^\n]*shard 7[^\n]* 0 to 1", word = "bad_argument, [^\n]*shard_id",
          nothing = "bad_argument, [^\n]*payload", option = "bad_argument, [^\n]*timeout",
          presence = "bad_argument, [^\n]*status must be one of",
          activity = "bad_argument, [^\n]*activities",
          guild = "bad_argument, [^\n]*guild_id", number = "bad_argument, [^\n]*string of digits",
          flag = "bad_argument, [^\n]*self_mute", list = "bad_argument, [^\n]*guild_ids",
          entry = "bad_argument, [^\n]*guild_ids%[2%]",
          tiemout = 'bad_argument, [^\n]*did you mean "timeout"',
          both = "bad_argument, [^\n]*not both", intent = "bad_argument, [^\n]*guild_members",
        } do
          s.gateway:wait_for_log(what .. ": nil, " .. why)
        end
        assert.same({}, s:list "commands")
        assert.same({}, s:list "violations")
      end)

      it("that find no budget in time say so", function()
        local s = start(place, [[
  say("first", manager:send_payload(1, { op = 31, d = { guild_ids = { "1" } } }))
  say("second", manager:send_payload(1, { op = 31, d = { guild_ids = { "2" } } }, { timeout = 300 }))
]], { head = "function gateway.shard:calculate_safe_requests() return 1 end" })
        s.gateway:wait_for_log "first: true"
        s.gateway:wait_for_log "second: nil, timeout, shard 1 [^\n]*budget %(1 a minute%)"
        assert.equal(1, #commands(s, 1))
      end)

      it("wait until the shard is ready, but not longer than they may", function()
        local s = start(place, [[
  say("kill", manager:kill(1))
  say("late", manager:send_payload(1, { op = 31, d = { guild_ids = { "1" } } }, { timeout = 300 }))
  gateway.spawn(function()
    say("in time", manager:send_payload(1, { op = 31, d = { guild_ids = { "2" } } }, { timeout = 9000 }))
  end)
  say("again", manager:tell_worker_to_identify(1, 1, 1))
]])
        s.gateway:wait_for_log "late: nil, timeout, shard 1 [^\n]*Offline"
        s.gateway:wait_for_log "again: true"
        s.gateway:wait_for_log "in time: true"
        assert.same({ "2" }, commands(s, 1)[1].d.guild_ids)
      end)
    end)
  end
end)

describe("gateway.manager:request_members", function()
  after_each(scene.stop)

  local WITH_MEMBERS = 33281 + 2 -- and guild members

  local function members(body, options)
    options = options or {}
    options.intents = options.intents or WITH_MEMBERS
    return start("another worker", [[
  local function request(what, ...)
    local answer, err = manager:request_members(...)
    if answer then
      gateway.log.info("%s: %d members, %d not found", what, #answer.members, #answer.not_found)
    else
      say(what, answer, err)
    end
    return answer
  end
]] .. body, options)
  end

  it("splits ids by 100, each request with its own nonce, and joins the answers", function()
    local s = members [[
  local ids = {}
  for i = 1, 250 do ids[i] = tostring(1000 + i) end
  local answer = request("ids", guild, { user_ids = ids })
  gateway.log.info("the last is %s", answer.not_found[250])
]]
    s.gateway:wait_for_log "ids: 0 members, 250 not found"
    s.gateway:wait_for_log "the last is 1250"
    local sent = commands(s, 3)
    assert.equal(3, #sent)
    local guild = s.fake:guilds(1)[1].id
    local nonces = {}
    for i, command in ipairs(sent) do
      assert.same({ 1, 8, guild, i < 3 and 100 or 50 },
        { command.shard, command.op, command.d.guild_id, #command.d.user_ids })
      assert.is_true(#command.d.nonce <= 32)
      assert.is_nil(nonces[command.d.nonce])
      nonces[command.d.nonce] = true
    end
    assert.same({}, s:list "violations")
  end)

  it("joins the chunks of a large guild; those of several requests do not mix", function()
    local s = members([[
  gateway.spawn(function() request("some", guild, { query = "Sailor", limit = 5 }) end)
  gateway.spawn(function() request("ids", guild, { user_ids = { "9", "8" } }) end)
  request("all", guild, { query = "", limit = 0 })
]], { fake = { members = 2500 } })
    s.gateway:wait_for_log "all: 2500 members, 0 not found"
    s.gateway:wait_for_log "some: 5 members, 0 not found"
    s.gateway:wait_for_log "ids: 0 members, 2 not found"
  end)

  it("fails at RATE_LIMITED that does not say which request it means; others go on", function()
    local s = members([[
  request("first", guild, { query = "", limit = 0 })
  gateway.spawn(function() request("limited", guild, { query = "", limit = 0 }) end)
  request("ids", guild, { user_ids = { "9" } })
]], { fake = { limited_nonce = false } })
    s.gateway:wait_for_log "first: 3 members"
    s.gateway:wait_for_log "limited: nil, rate_limited"
    s.gateway:wait_for_log "ids: 0 members, 1 not found"
  end)

  it("obeys RATE_LIMITED, when there is time", function()
    local s = members([[
  request("first", guild, { query = "", limit = 0 })
  request("short of time", guild, { query = "", limit = 0, timeout = 1000 })
  request("second", guild, { query = "", limit = 0 })
]], { fake = { members_window = 1500 } })
    s.gateway:wait_for_log "first: 3 members"
    s.gateway:wait_for_log "short of time: nil, rate_limited"
    s.gateway:wait_for_log "Discord asks to wait delay=%d+"
    s.gateway:wait_for_log "second: 3 members"
    local results = {}
    for i, command in ipairs(commands(s, 3)) do
      results[i] = command.result
    end
    assert.same({ "ok", "rate limited", "ok" }, results) -- the one short of time was enough to know it
  end)

  local function results_of(s, n)
    local results = {}
    for i, command in ipairs(commands(s, n)) do
      results[i] = command.result
    end
    return results
  end

  it("asks Discord once for all who ask for the same at a time", function()
    local s = members([[
  for i = 1, 5 do
    gateway.spawn(function() request("all " .. i, guild, { query = "", limit = 0 }) end)
    gateway.spawn(function() request("ids " .. i, guild, { user_ids = { "9", "8" } }) end)
  end
  request("others", guild, { user_ids = { "8", "7", "6" } })
]], { fake = { members = 2500 } })
    for i = 1, 5 do
      s.gateway:wait_for_log(("all %d: 2500 members, 0 not found"):format(i))
      s.gateway:wait_for_log(("ids %d: 0 members, 2 not found"):format(i))
    end
    s.gateway:wait_for_log "others: 0 members, 3 not found"
    s.gateway:wait_for_log "that was all"
    assert.same({ "ok", "ok", "ok" }, results_of(s, 3))
  end)

  it("gives each of those its own time", function()
    local s = members [[
  local function ask(what, timeout)
    request(what, "4194304", { query = "Sailor", limit = 1, timeout = timeout })
  end
  gateway.spawn(ask, "long", 2500)
  gateway.spawn(ask, "short", 1000)
]]
    s.gateway:wait_for_log "long: nil, timeout"
    local log = s.gateway.stderr
    assert.is_true(log:find("short: nil, timeout", 1, true) < log:find("long: nil, timeout", 1, true))
    assert.equal(1, #results_of(s, 1))
  end)

  it("waits out RATE_LIMITED once for all", function()
    local s = members([[
  local presences = { query = "", limit = 0, presences = true }
  gateway.on("RATE_LIMITED", function()
    if not gateway.state.asked then
      gateway.state.asked = true
      for i = 1, 3 do
        gateway.spawn(function() request("same " .. i, guild, { query = "", limit = 0 }) end)
        gateway.spawn(function() request("presences " .. i, guild, presences) end)
      end
    end
  end)
  request("first", guild, { query = "", limit = 0 })
  request("limited", guild, { query = "", limit = 0 })
]], { fake = { members_window = 1500 }, intents = WITH_MEMBERS + 256, shards = 1 })
    s.gateway:wait_for_log "limited: 3 members"
    for i = 1, 3 do
      s.gateway:wait_for_log(("same %d: 3 members"):format(i))
      s.gateway:wait_for_log(("presences %d: 3 members"):format(i))
    end
    assert.same({ "ok", "rate limited", "ok", "rate limited", "ok" }, results_of(s, 5))
    assert.equal(2, s.gateway:count_log "Discord asks to wait")
  end)

  it("gives up when Discord does not answer in time", function()
    local s = members [[
  request("nobody", "4194304", { query = "Sailor", limit = 1, timeout = 1000 })
]]
    s.gateway:wait_for_log "nobody: nil, timeout, members of guild 4194304: not all answers came in time"
  end)

  it("has its answer also when the connection is cut meanwhile", function()
    local s = members([[
  request("cut", guild, { query = "Sailor", limit = 50 })
]], { fake = { members = 60 }, head = [[
gateway.on("resumed", function(shard) gateway.log.info("shard %d is back", shard.id) end)
]] })
    s.gateway:wait_for_log "cut: 50 members"
    s.fake:fault { ["do"] = "withhold_acks", dispatches = true, shard = 1 }
    s:type(s.fake:guilds(1)[1].id)
    commands(s, 2)
    s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
    s.gateway:wait_for_log "shard 1 is back"
    loop.wait_for("the second answer", function() return s.gateway:count_log "cut: 50 members" == 2 end)
  end)

  it("ends when the worker of the shard ends", function()
    local s = members([[
  request("lost", "4194304", { query = "Sailor", limit = 1 })
]], { head = "function gateway.manager:calculate_shard_id() return 1 end" })
    commands(s, 1)
    for _, pid in ipairs(s.gateway:worker_pids()) do
      local file = assert(io.open(("/proc/%d/cmdline"):format(pid)))
      if file:read("*a"):find "%-%-id%z1%z" then
        require("luv").kill(pid, "sigkill")
      end
      file:close()
    end
    s.gateway:wait_for_log "lost: nil, closed, [^\n]*the worker of its shard has ended"
  end)
end)

describe("the presence", function()
  after_each(scene.stop)

  local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { presence = { status = "idle" } }
gateway.on("TYPING_START", function(event)
  local what = event.data.user_id
  local ok, err
  if what == "nil" then
    ok, err = gateway.manager:edit_bot_status(nil)
  elseif what:find "^shard" then
    ok, err = gateway.manager:edit_shard_status(1, { activities = { { name = what, type = 0 } } })
  else
    ok, err = gateway.manager:edit_bot_status { activities = { { name = what, type = 0 } } }
  end
  gateway.log.info("%s: %s, %s", what, ok, err and err.code)
end)
]]

  local function name_of(presence)
    return presence.activities[1] and presence.activities[1].name or presence.status
  end

  -- What the last identify of the shard carried.
  local function identified(s, shard, n)
    return s.fake:wait_for("identifies", function(state)
      local seen, last = 0, nil
      for _, identify in ipairs(state.identifies) do
        if identify.shard == shard then
          seen, last = seen + 1, identify
        end
      end
      return seen >= n and last
    end, { only = "identifies" })
  end

  it("is kept, for the bot and for a shard, and goes with the next identify", function()
    local s = scene.start { shards = 2, bot = false, script = SCRIPT, hurry = 20,
      fake = { max_concurrency = 2 } }
    assert.equal("idle", name_of(identified(s, 0, 1).presence))
    s:type "bot"
    s.gateway:wait_for_log "bot: true"
    s:type "shard one"
    s.gateway:wait_for_log "shard one: true"
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    assert.equal("bot", name_of(identified(s, 0, 2).presence))
    assert.equal("shard one", name_of(identified(s, 1, 2).presence))
    -- A worker that is started anew knows it, too.
    require("luv").kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 2)
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    assert.equal("bot", name_of(identified(s, 0, 3).presence))
    assert.equal("shard one", name_of(identified(s, 1, 3).presence))
    local before = #commands(s)
    s:type "nil"
    s.gateway:wait_for_log "nil: true"
    local sent = commands(s, before + 2)
    assert.equal("idle", name_of(sent[before + 1].d))
    assert.equal("idle", name_of(sent[before + 2].d))
  end)

  it("goes out after a RESUME when it was changed meanwhile", function()
    local s = scene.start { shards = 2, per_worker = 1, workers = 2, bot = false, script = SCRIPT,
      fake = { max_concurrency = 2 } }
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 500, shard = 1 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
    s.fake:wait_for("the resume", function(state) return #state.resumes == 1 end, { only = "resumes" })
    s:type "shard in between"
    s.gateway:wait_for_log "shard in between: true"
    assert.equal("shard in between", name_of(commands(s, 1)[1].d))
    assert.equal(1, s:counters().resumes_ok)
  end)

  it("that is changed too often: the newest counts, those in between hear of it", function()
    local s = scene.start { bot = false, script = SCRIPT, reload = false }
    for i = 1, 5 do
      s:type("number " .. i)
    end
    s.gateway:wait_for_log "number 5: true"
    s:type "number 6"
    s:type "number 7"
    s.gateway:wait_for_log "number 6: nil, replaced"
    assert.equal(5, #commands(s, 5))
    assert.same({}, s:list "violations")
  end)
end)
