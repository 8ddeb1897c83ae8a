-- optional_intents: when Discord refuses a privileged intent, the gateway identifies without it.

local null = require("cjson").null
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

local GUILDS, MEMBERS, PRESENCES, CONTENT = 1, 2, 256, 32768
local ALL = GUILDS + MEMBERS + PRESENCES + CONTENT
local HURRY = 10
local DAY = 24 * 3600 * 1000 / HURRY

local s

-- `optional`: names for optional_intents; `allowed`: what the fake has switched on.
local function start(optional, allowed, options)
  options = options or {}
  options.script = ([[
local gateway = require "tidegate"
gateway.configure { intents = %d, optional_intents = { %s } }
]]):format(ALL, optional) .. (options.script or "")
  options.fake = options.fake or {}
  options.fake.privileged_intents = allowed
  options.fake.identify_window, options.env = 300, { SPAWN_SHARD_DELAY = 320 }
  options.log_level, options.hurry = "info", options.hurry or HURRY
  s = scene.start(options)
  return s
end

-- Of the IDENTIFYs so far, {intents, verdict} each.
local function identifies()
  local list = {}
  for i, one in ipairs(s:list "identifies") do
    list[i] = { one.intents, one.verdict }
  end
  return list
end

local function wait_identifies(n)
  s:wait_counter("identifies_ok", n, 20000)
  return identifies()
end

local function status()
  return s.gateway:control("GET", "/status"):json().intents
end

local function without(intent)
  local body = s.gateway:control("GET", "/metrics").body
  return tonumber(body:match('tidegate_shards_without_intent{intent="' .. intent .. '"} (%d+)'))
end

describe("a refused intent that is optional", function()
  after_each(scene.stop)

  it("is left out; the others, which Discord allows, are not", function()
    start([["guild_members", "guild_presences", "message_content"]], PRESENCES + CONTENT)
    assert.same({ { ALL, "4014" }, { ALL - MEMBERS, "ok" } }, identifies())
    s.gateway:wait_for_log "error [^\n]*identifying without guild_members, which is optional"
    local now = status()
    assert.same({ { "guild_members" }, { "guild_members" }, 1 }, { now.withheld, now.missing, now.shards })
    assert.is_true(now.retryIn > DAY - 60000 and now.retryIn <= DAY)
    assert.same({ 1, 0 }, { without "guild_members", without "message_content" })
    s.bot:wait_for_events(1, "GUILD_CREATE")
  end)

  it("is left out with all that are optional where nobody says which it is", function()
    start([["guild_members", "message_content"]], PRESENCES + CONTENT, { fake = { max_concurrency = 1 },
      ready = false })
    s.fake:fault { at = "rest", route = "/applications/@me", ["do"] = "status", status = 500, count = "all" }
    s.gateway:wait_ready(1, 20000)
    local last = identifies()[#identifies()]
    assert.same({ ALL - MEMBERS - CONTENT, "ok" }, last)
  end)

  it("ends the gateway all the same when another one is refused that is not", function()
    start([["guild_members"]], MEMBERS + PRESENCES, { ready = false })
    assert.equal(78, (s.gateway.process:wait(20000)))
    assert.matches("All shards stop code=4014", s.gateway.stderr, 1, true)
    assert.matches("optional_intents", s.gateway.stderr, 1, true)
    assert.same({ { ALL, "4014" }, { ALL - MEMBERS, "4014" } }, identifies())
  end)

  it("costs one IDENTIFY a bucket, whatever the workers", function()
    start([["message_content"]], MEMBERS + PRESENCES,
      { shards = 8, per_worker = 2, workers = 4, fake = { max_concurrency = 4 } })
    local refused = 0
    for _, one in ipairs(identifies()) do
      refused = refused + (one[2] == "4014" and 1 or 0)
    end
    assert.is_true(refused >= 1 and refused <= 4, refused)
    assert.equal(8, s:counters().identifies_ok)
    assert.equal(8, status().shards)
    assert.equal(8, without "message_content")
    assert.equal(1, s.gateway:count_log "identifying without message_content")
  end)
end)

describe("sessions without an intent", function()
  after_each(scene.stop)

  it("are made when it is withdrawn while shards run, and those that run go on", function()
    start([["guild_members"]], MEMBERS + PRESENCES + CONTENT, { shards = 2, fake = { max_concurrency = 2 } })
    assert.equal(null, status())
    s.fake:settings { privileged_intents = PRESENCES + CONTENT }
    s.fake:fault { ["do"] = "close", code = 4003, shard = 0 } -- as Discord does then
    wait_identifies(3)
    s.gateway:wait_ready(2, 20000)
    assert.equal(1, status().shards)
    s.fake:fault { ["do"] = "close", code = 4000, session = "keep", shard = 1 }
    s:wait_counter("resumes_ok", 1)
    s.gateway:wait_ready(2, 20000)
    assert.equal(1, status().shards)
    assert.equal(0, s.gateway:count_log "All shards stop")
  end)

  it("are made as well when Discord closes a running one with 4014", function()
    start([["guild_members"]], PRESENCES + CONTENT + MEMBERS)
    s.fake:settings { privileged_intents = PRESENCES + CONTENT }
    s.fake:fault { ["do"] = "close", code = 4014 }
    assert.same({ { ALL, "ok" }, { ALL - MEMBERS, "ok" } }, wait_identifies(2))
  end)

  it("are told of after a restart, too, which asks for all again", function()
    start([["guild_members"]], PRESENCES + CONTENT, { shards = 2, fake = { max_concurrency = 2 } })
    s.gateway:stop()
    s:again {}
    assert.equal(2, s:counters().resumes_ok)
    s.gateway:wait_for_log "error [^\n]*2 of 2 shards run without guild_members"
    assert.same({ {}, { "guild_members" }, 2 }, { status().withheld, status().missing, status().shards })
    s.fake:settings { privileged_intents = ALL - GUILDS }
    for shard = 0, 1 do
      s.fake:fault { ["do"] = "invalid_session", resumable = false, shard = shard }
    end
    s.gateway:wait_for_log "no shard runs without guild_members any more"
    assert.equal(null, status())
    assert.equal(ALL, identifies()[#identifies()][1])
  end)

  it("do not ask Discord for all members, which would not answer", function()
    start([["guild_members"]], PRESENCES + CONTENT)
    local guild = s.fake:guilds(0)[1].id
    local answer = s.gateway:control("POST", ("/guilds/%s/payload"):format(guild),
      { json = { op = 8, join = true, d = { query = "", limit = 0 } } })
    assert.equal(400, answer.status)
    assert.matches("refused the intent guild_members", answer:json().error)
  end)
end)

describe("the intents are asked for again", function()
  after_each(scene.stop)

  it("after a reload, if they are allowed: shards get new sessions, one after another", function()
    start([["guild_members", "message_content"]], PRESENCES, { shards = 4, per_worker = 2, workers = 2,
      fake = { max_concurrency = 4 } })
    local lacking = s:counters().identifies
    assert.is_true(s.gateway:reload())
    s.gateway:wait_for_log "Discord still refuses guild_members, message_content"
    assert.equal(lacking, s:counters().identifies)
    s.fake:settings { privileged_intents = PRESENCES + CONTENT }
    assert.is_true(s.gateway:reload())
    s:wait_counter("identifies_ok", 8, 20000)
    s.gateway:wait_for_log "shard 3: ends its session.*shard 3: ready: a new session"
    assert.same({ 4, 0 }, { without "guild_members", without "message_content" })
    for i = lacking + 1, #identifies() do
      assert.same({ ALL - MEMBERS, "ok" }, identifies()[i])
    end
    s.fake:settings { privileged_intents = ALL - GUILDS }
    assert.is_true(s.gateway:reload())
    s.gateway:wait_for_log("no shard runs without guild_members any more", 20000)
    assert.equal(null, status())
    assert.equal(lacking + 8, s:counters().identifies)
  end)

  it("after a reload where nobody says which are allowed, by the next sessions", function()
    start([["guild_members"]], PRESENCES + CONTENT)
    s.fake:fault { at = "rest", route = "/applications/@me", ["do"] = "rst", count = "all" }
    s.fake:settings { privileged_intents = ALL - GUILDS }
    assert.is_true(s.gateway:reload())
    s.gateway:wait_for_log "the next IDENTIFY asks for guild_members again"
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    s.gateway:wait_for_log("no shard runs without guild_members any more", 20000)
    assert.equal(0, without "guild_members")
  end)

  it("after a day; the log says every hour what is missing", function()
    start([["guild_members"]], PRESENCES + CONTENT, { hurry = 20000 })
    loop.wait_for("three alarms", function()
      return s.gateway:count_log "1 of 1 shards run without guild_members" >= 3
    end, 20000)
    s.gateway:wait_for_log("the next IDENTIFY asks for guild_members again", 20000)
    assert.equal(2, s:counters().identifies)
  end)
end)
