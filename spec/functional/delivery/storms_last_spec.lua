-- storm rules with keep = "last": what is held back comes once, whatever ends in between.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local trial = require "spec.support.upgrade_trial"
local uv = require "luv"

local RULE = "TYPING_START per user"

local function script_of(rate, more)
  return ([[
local gateway = require "tidegate"
gateway.configure {
  storm = { rules = { { events = "TYPING_START", per = "user", rate = %s, burst = 1, keep = "last" } } },
  %s
}
]]):format(rate, more or "")
end

local HOLDS = script_of "0.0001"

local function start(options)
  options = options or {}
  options.script = options.script or HOLDS
  if options.reload == nil then options.reload = false end
  return scene.start(options)
end

local function rule_of(s)
  for _, rule in ipairs(assert(s.gateway:control("GET", "/status"):json()).storm.rules) do
    if rule.rule == RULE then return rule end
  end
end

local function wait_dropped(s, count)
  loop.ask_until(count .. " dropped", function()
    local rule = rule_of(s)
    return rule and rule.dropped == count
  end)
end

local function appear(s, user, count, shard)
  s.fake:emit { event = "TYPING_START", shard = shard or 0, count = count,
    d = { channel_id = "1", user_id = user } }
end

-- Messages, behind what is held: when they are at the bot all of it has come.
local function pass_by(s, shard)
  s.fake:emit { count = 20, guild = s.fake:guilds(shard or 0)[1].id }
  s:wait_delivered()
end

local function typing(s)
  return s.bot:select "TYPING_START"
end

local function late_ones(s)
  local list = {}
  for _, one in ipairs(typing(s)) do
    if one.late then list[#list + 1] = one end
  end
  return list
end

-- One of user 5 is there, and the last of `count` more is held.
local function hold(s, count)
  appear(s, "5", 1 + count)
  s.bot:wait_for_events(1, "TYPING_START")
  wait_dropped(s, count)
  pass_by(s)
  assert.equal(1, #typing(s))
end

-- The last one of those comes, once.
local function assert_released(s, count)
  s.bot:wait_for_events(2, "TYPING_START")
  pass_by(s)
  local late = late_ones(s)
  assert.equal(1, #late)
  assert.equal("5", late[1]:data().user_id)
  assert.equal(count, late[1].s - typing(s)[1].s)
  assert.equal(2, #typing(s))
end

describe("a rule with keep = \"last\"", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("brings the newest of each user after all, once, as late", function()
    local s = start { script = script_of "0.5" }
    appear(s, "5", 40)
    appear(s, "6", 30)
    s.bot:wait_for_events(4, "TYPING_START")
    loop.ask_until("what is released", function() return rule_of(s).released == 2 end)
    pass_by(s)
    local late = late_ones(s)
    assert.equal(2, #late)
    assert.equal("5", late[1]:data().user_id)
    assert.equal("6", late[2]:data().user_id)
    assert.equal(39, late[1].s - typing(s)[1].s)
    assert.equal(4, #typing(s))
  end)

  it("brings it after the death of the worker", function()
    local s = start()
    hold(s, 39)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "resumed"
    assert_released(s, 39)
  end)

  it("and after several, while the bot is down", function()
    local s = start { hurry = 20 }
    hold(s, 5)
    s.bot:down()
    for n = 1, 3 do
      uv.kill(s.gateway:worker_pids()[1], "sigkill")
      loop.ask_until("resumed again", function() return s.gateway:count_log "resumed" == n end)
    end
    s.bot:up()
    assert_released(s, 5)
  end)

  it("without a log, too: once it is with the bot or its process is gone", function()
    local s = start { script = script_of("0.0001", [[queue = { durability = "memory" },]]) }
    hold(s, 5)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "resumed"
    assert_released(s, 5)
  end)

  it("brings it at the stop of the gateway", function()
    local s = start()
    hold(s, 5)
    s.gateway:stop()
    s.bot:wait_for_events(2, "TYPING_START")
    s:again()
    assert_released(s, 5)
  end)

  it("brings it after the death of all processes, in other workers", function()
    local s = start { shards = 2, per_worker = 1, fake = { max_concurrency = 2 } }
    hold(s, 5)
    appear(s, "6", 4, 1)
    wait_dropped(s, 8)
    pass_by(s, 1)
    uv.kill(-s.gateway.pid, "sigkill")
    s.gateway:stop "SIGKILL"
    s:again { per_worker = 2 }
    s.bot:wait_for_events(4, "TYPING_START")
    pass_by(s, 0)
    pass_by(s, 1)
    local late = late_ones(s)
    assert.equal(2, #late)
    table.sort(late, function(one, other) return one.shard < other.shard end)
    assert.same({ "5", "6" }, { late[1]:data().user_id, late[2]:data().user_id })
    assert.equal(4, #typing(s))
  end)

  it("brings it at once when the rules change", function()
    local s = start { reload = true }
    hold(s, 5)
    paths.write(s.gateway.dir .. "/script.lua", script_of "0.0002")
    assert(s.gateway:reload())
    assert_released(s, 5)
  end)

  it("brings it when the session is lost, in front of the next", function()
    local s = start { hurry = 20 }
    hold(s, 5)
    s.fake:fault { ["do"] = "invalid_session", resumable = false, shard = 0 }
    s.bot:wait_for_events(2, "READY")
    assert_released(s, 5)
    local at = {}
    for i, event in ipairs(s.bot.events) do
      at[event.t == "READY" and "ready" or event.late and "late" or ""] = i
    end
    assert.is_true(at.late < at.ready)
  end)

  it("shows it to the handlers of the script as what it is, once", function()
    local s = start { script = script_of "0.0001" .. [[
      gateway.on("TYPING_START", function(event)
        gateway.log.info("typing: %s %s", tostring(event.sequence), tostring(event.late))
      end)
    ]] }
    hold(s, 5)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "typing: %d+ true"
    assert_released(s, 5)
    assert.equal(2, s.gateway:count_log "typing: %d+")
  end)

  it("gives it to a Redis in the stream of what is late, and the others as ever", function()
    local r = redis.start()
    local s = start { script = script_of("0.0001", ("sinks = { stream = { url = %q } },"):format(r:url())) }
    hold(s, 5)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "resumed"
    assert_released(s, 5)
    local function keys(stream)
      local list = {}
      for _, entry in ipairs(r:stream(stream)) do
        if entry.fields.t == "TYPING_START" then list[#list + 1] = entry.fields.key end
      end
      return list
    end
    loop.ask_until("what is late in Redis", function() return #keys "tidegate:1:0:late" > 0 end)
    local first, last = typing(s)[1], late_ones(s)[1]
    assert.same({ last.key }, keys "tidegate:1:0:late")
    assert.same({ first.key }, keys "tidegate:1:0")
    assert.equal("1", r:stream "tidegate:1:0:late"[1].fields.late)
    loop.ask_until("all behind it", function()
      local entries = r:stream "tidegate:1:0"
      return entries[#entries].fields.key == s.bot.events[#s.bot.events].key
    end)
  end)

  it("is not led astray by what is in the directory", function()
    local s = start()
    hold(s, 5)
    s.gateway:stop()
    s.bot:wait_for_events(2, "TYPING_START")
    local directory = s.gateway.state_dir .. "/storms"
    paths.write(directory .. "/worker-0-1.1", ("tg-held1"):rep(1200000))
    paths.write(directory .. "/worker-0-2.1", "")
    paths.write(directory .. "/notes", "not ours")
    assert(uv.fs_mkdir(directory .. "/worker-0-3.1", tonumber("700", 8)))
    assert(uv.fs_symlink("/dev/zero", directory .. "/worker-0-4.1"))
    s:again()
    assert_released(s, 5)
    assert.is_nil(uv.fs_stat(directory .. "/worker-0-1.1"))
    assert.is_nil(uv.fs_stat(directory .. "/worker-0-2.1"))
    assert.is_not_nil(uv.fs_stat(directory .. "/notes"))
  end)
end)

describe("a live upgrade", function()
  after_each(trial.stop)

  it("brings what a rule with keep = \"last\" holds, once", function()
    local t = trial.start { shards = 2, per_worker = 1, workers = 2, rate = 100,
      script = script_of("0.0001", "event_handler = { markers = true },") }
    appear(t, "5", 6)
    appear(t, "6", 4, 1)
    wait_dropped(t, 8)
    assert.equal("done", t:upgrade().result)
    t.bot:wait_for_events(4, "TYPING_START")
    pass_by(t, 0)
    pass_by(t, 1)
    assert.equal(2, t:counters().resumes_ok)
    assert.equal(2, #late_ones(t))
    assert.equal(4, #typing(t))
  end)
end)
