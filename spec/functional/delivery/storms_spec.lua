-- storm: events that come faster than a rule allows, seen from the bot, the log, /status and the metrics.

local loop = require "spec.support.loop"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local TYPING = [[{ events = { "TYPING_START" }, per = "guild", rate = 0.001, burst = 3 }]]

local function script_of(storm, more)
  return ([[
local gateway = require "tidegate"
gateway.configure { storm = { %s } }
%s]]):format(storm, more or "")
end

local function storms_of(s)
  local status = assert(s.gateway:control("GET", "/status"):json()).storm
  local rules = {}
  for _, rule in ipairs(status.rules) do rules[rule.rule] = rule end
  return rules, status.setBy
end

local function wait_dropped(s, rule, count)
  loop.ask_until(("%d dropped by %s"):format(count, rule), function()
    local its = storms_of(s)[rule]
    return its and its.dropped == count
  end)
end

local function flood(s, guild, count, event)
  s.fake:emit { event = event or "TYPING_START", guild = guild, count = count,
    d = { guild_id = guild, channel_id = "1", user_id = "5", user = { id = "5" } } }
end

local function count_of(bot, event, guild)
  local count = 0
  for _, one in ipairs(bot:select(event)) do
    if one:data().guild_id == guild then count = count + 1 end
  end
  return count
end

describe("storm", function()
  after_each(scene.stop)

  it("caps a guild that floods, without touching the others", function()
    local s = scene.start { script = script_of("rules = { " .. TYPING .. " }"), reload = false }
    local loud, quiet = s.fake:guilds()[1].id, s.fake:guilds()[2].id
    flood(s, loud, 500)
    flood(s, quiet, 2)
    s.fake:emit { count = 20, guild = loud } -- messages are no part of the rule
    s:wait_delivered()
    s.bot:wait_for_events(5, "TYPING_START")
    wait_dropped(s, "TYPING_START per guild", 497)
    assert.equal(3, count_of(s.bot, "TYPING_START", loud))
    assert.equal(2, count_of(s.bot, "TYPING_START", quiet))
    local rule = storms_of(s)["TYPING_START per guild"]
    assert.same({ 1, 1 }, { rule.storms, rule.running })
    local line = ("a storm (TYPING_START per guild, guild %s): more than 0.001 a second; "
      .. "what is more is dropped"):format(loud)
    assert.is_truthy(s.gateway.stderr:find(line, 1, true))
    assert.equal(1, s.gateway:count_log "a storm %(")
    local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
    assert.equal(497, metrics:sum "tidegate_storm_dropped_total")
    assert.equal(1, metrics:sum "tidegate_storms_total")
    assert.equal(1, metrics:sum "tidegate_storms_running")
    assert.equal(0, metrics:sum "tidegate_shard_gaps_total")
  end)

  it("says when it is over, and how many it has dropped", function()
    local s = scene.start { hurry = 20, reload = false,
      script = script_of [[rules = { { events = { "TYPING_START" }, rate = 50, burst = 5 } }]] }
    flood(s, s.fake:guilds()[1].id, 300)
    s.gateway:wait_for_log "a storm %(TYPING_START per guild, guild %d+%): more than 50 a second"
    s.gateway:wait_for_log "the storm %(TYPING_START per guild, guild %d+%) is over events=%d+ duration=%d+"
    assert.equal(0, storms_of(s)["TYPING_START per guild"].running)
  end)

  it("drops the bot's own member updates, and leaves those of others", function()
    local s = scene.start { script = script_of "self_updates = false", reload = false,
      shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    local id = s.bot:select "READY"[1]:data().user.id
    for _, guild in ipairs(s.fake:guilds()) do
      s.fake:emit { event = "GUILD_MEMBER_UPDATE", guild = guild.id, count = 50,
        d = { guild_id = guild.id, roles = {}, user = { id = id } } }
    end
    local guild = s.fake:guilds()[1].id
    s.fake:emit { event = "GUILD_MEMBER_UPDATE", guild = guild,
      d = { guild_id = guild, roles = {}, user = { id = "5" } } }
    s.bot:wait_for_events(1, "GUILD_MEMBER_UPDATE")
    wait_dropped(s, "self_updates", 50 * #s.fake:guilds())
    assert.equal(1, #s.bot:select "GUILD_MEMBER_UPDATE")
    s.gateway:wait_for_log "the bot's own GUILD_MEMBER_UPDATEs come, and are dropped"
  end)

  it("counts on over the death of a worker, and is no gap to the bot", function()
    local s = scene.start { script = script_of("rules = { " .. TYPING .. " }"), reload = false }
    local guild = s.fake:guilds()[1].id
    flood(s, guild, 100)
    wait_dropped(s, "TYPING_START per guild", 97)
    s:wait_delivered()
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "resumed"
    loop.ask_until("no storm runs", function()
      return storms_of(s)["TYPING_START per guild"].running == 0
    end)
    s:type()
    s.bot:wait_for_events(4, "TYPING_START")
    assert.is_true(storms_of(s)["TYPING_START per guild"].dropped >= 97) -- the last ones may have come again
    assert.equal(0, s.gateway:count_log "never came")
  end)
end)

describe("gateway.storm", function()
  after_each(scene.stop)

  local ON_MESSAGE = [[
gateway.on("MESSAGE_CREATE", function(event)
  if event.shard_id == 0 and event.data.content == "on" then
    local rule = { events = "TYPING_START", per = "shard", rate = 0.001, burst = 1 }
    assert(gateway.storm { rules = { rule } } == true)
  elseif event.shard_id == 0 and event.data.content == "off" then
    assert(gateway.storm(nil))
  end
end)
]]

  local function say(s, content)
    s.fake:emit { event = "MESSAGE_CREATE", shard = 0,
      d = { id = "1", channel_id = "2", content = content, author = { id = "3" } } }
  end

  local function start(options)
    options = options or {}
    options.script = options.script or script_of("", ON_MESSAGE)
    options.shards, options.per_worker, options.fake = 2, 1, { max_concurrency = 2 }
    return scene.start(options)
  end

  local function wait_set_by(s, who)
    loop.ask_until("rules of the " .. who, function()
      local _, set_by = storms_of(s)
      return set_by == who
    end)
  end

  local function type_on_each(s, count)
    for shard = 0, 1 do
      s.fake:emit { event = "TYPING_START", shard = shard, count = count,
        d = { channel_id = "1", user_id = tostring(count) } }
    end
  end

  it("sets rules in all workers, until they are taken back", function()
    local s = start()
    say(s, "on")
    wait_set_by(s, "script")
    wait_dropped(s, "TYPING_START per shard", 0)
    loop.ask_until("both workers", function()
      type_on_each(s, 1)
      local its = storms_of(s)["TYPING_START per shard"]
      return its.running == 2
    end)
    say(s, "off")
    wait_set_by(s, "configuration")
    loop.ask_until("no storm runs", function()
      return storms_of(s)["TYPING_START per shard"].running == 0
    end)
    local before = storms_of(s)["TYPING_START per shard"].dropped
    s.bot:forget()
    type_on_each(s, 5)
    s.bot:wait_for_events(10, "TYPING_START")
    assert.equal(before, storms_of(s)["TYPING_START per shard"].dropped)
  end)

  it("holds in a worker that starts later; a reload ends it", function()
    local s = start { reload = true }
    say(s, "on")
    wait_set_by(s, "script")
    uv.kill(s.gateway:worker_pids()[2], "sigkill")
    s.gateway:wait_for_log "resumed"
    loop.ask_until("the new worker's", function()
      s.fake:emit { event = "TYPING_START", shard = 1, d = { channel_id = "1", user_id = "2" } }
      local its = storms_of(s)["TYPING_START per shard"]
      return its and its.running > 0
    end)
    assert.is_true((s.gateway:reload()))
    loop.ask_until("the end of the script's rules", function()
      local rules, set_by = storms_of(s)
      return set_by == "configuration" and rules["TYPING_START per shard"].running == 0
    end)
  end)

  it("refuses what the configuration would", function()
    local s = start { reload = false, script = script_of("", [[
if gateway.role == "manager" then
  gateway.log.info("top: %s", select(2, pcall(gateway.storm, {})))
  gateway.on("load", function()
    local function try(...) gateway.log.info("try: %s", tostring(select(2, pcall(gateway.storm, ...)))) end
    try { rules = { { events = "all", rate = 0 }, { events = "READY", rate = 1 } } }
    try { rule = {} }
    try(5)
    try()
  end)
end
]]) }
    for _, text in ipairs {
      "top: gateway.storm: is for run time; while the script is loaded",
      "try: gateway.storm: storm.rules[1].rate: expected a number of events a second",
      "storm.rules[2].events[1]: no rule may drop READY",
      "try: gateway.storm: storm.rule: ",
      "try: gateway.storm: expected a table like { rules = { ... } }, or nil, got number",
      "try: gateway.storm: expected a table like { rules = { ... } }, or nil, got no value",
    } do
      s.gateway:wait_for_log((text:gsub("%p", "%%%0")))
    end
  end)
end)
