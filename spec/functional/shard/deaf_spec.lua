-- Sessions that Discord has forgotten: heartbeats are acknowledged, and no events come, or none of one type.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

local SHARDS = 8
-- A minute of the gateway's is 0.4 s.
local HURRY = math.max(1, math.floor(150 / paths.slow))
local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { deaf_after = %d, resharding = { identify_reserve = %d } }
gateway.on("deaf", function(_, details)
  local shard_id, event = tostring(details.shard_id), tostring(details.event)
  gateway.log.info("deaf: %%s shard=%%s event=%%s", details.step, shard_id, event)
end)
]]

-- Each hour was busy in each of its minutes: with messages, and with nothing else that is watched by itself.
local BUSY = ("ff00"):rep(168) .. ("ff00"):rep(24) .. ("0000"):rep(9 * 24)

-- A gateway that has known its shards for a week, of which each gets messages all the time.
local function start()
  local s = scene.start {
    shards = SHARDS, workers = 2, hurry = HURRY, fake = { guilds = 8, remaining = 905 }, reload = false,
    intents = 33281 + 2048, -- and typing
    script = SCRIPT:format(60000, 10),
  }
  s.gateway:stop()
  local path = s.gateway.state_dir .. "/baseline.json"
  local content = cjson.decode(paths.read(path))
  for id = 0, SHARDS - 1 do
    content.shards[tostring(id)] = BUSY
  end
  content.together = BUSY
  paths.write(path, cjson.encode(content))
  s.fake:emit { count = 1000000, rate = 40 }
  s:again()
  return s
end

describe("a session that is deaf", function()
  local s

  setup(function() s = start() end)
  teardown(scene.stop)

  local function status()
    return s.gateway:control("GET", "/status"):json().deaf
  end

  local function metrics()
    return prometheus.parse(s.gateway:control("GET", "/metrics").body)
  end

  -- The gateway's minutes, in which it looks at all shards.
  local function pass(minutes)
    local length = minutes * 60000 / HURRY
    local ends = loop.now() + length
    loop.wait_for("time to pass", function() return loop.now() >= ends end, length + 5000)
  end

  local function configure(deaf_after, reserve)
    paths.write(s.gateway.script, SCRIPT:format(deaf_after, reserve))
    assert.equal(200, s.gateway:control("POST", "/reload").status)
  end

  -- What is done until that is in the log once more.
  local function does(counts, what, told)
    local before, said = s:counters(), s.gateway:count_log(told)
    what()
    loop.wait_for(told, function() return s.gateway:count_log(told) > said end, 60000)
    local after = s:counters()
    assert.same(counts, {
      resumes = after.resumes - before.resumes, identifies = after.identifies - before.identifies,
    })
  end

  local function does_nothing_for(minutes)
    local before = s:counters()
    pass(minutes)
    local after = s:counters()
    assert.same({ before.resumes, before.identifies }, { after.resumes, after.identifies })
  end

  local function deafen(fault)
    return function()
      fault["do"] = "deafen"
      s.fake:fault(fault)
    end
  end

  -- The messages are all there is.
  it("is not what it seems while questions are answered: nothing is done", function()
    assert.equal(SHARDS, status().known)
    does({ resumes = 0, identifies = 0 }, deafen { event = "MESSAGE_CREATE", shard = 0 },
      "shard 0: [^\n]*it hears, so that there are none")
    does_nothing_for(6)
    local asked = {}
    for _, command in ipairs(s:list "commands") do
      asked[#asked + 1] = { command.op, command.shard }
    end
    assert.same({ { 8, 0 } }, asked)
    assert.equal(1, metrics():value("tidegate_deaf_questions_total", { result = "answered" }))
    s.fake:fault { ["do"] = "clear" }
  end)

  it("is resumed, which helps", function()
    does({ resumes = 1, identifies = 0 }, deafen { heals = true, shard = 1 }, "deaf: hears shard=1 event=nil")
    assert.matches("warn  manager shard 1: no events had come for [^\n]*: the session seems to be deaf, "
      .. "and is resumed on another connection\n", s.gateway.stderr)
    assert.equal(1, s.gateway:count_log "deaf: resume shard=1 event=nil")
    assert.equal(1, status().resumes)
    assert.equal(1, metrics():value("tidegate_deaf_actions_total", { action = "resume" }))
    assert.equal(1, metrics():value("tidegate_deaf_questions_total", { result = "unanswered" }))
    assert.equal(1, metrics():value("tidegate_deaf_results_total", { result = "heard" }))
  end)

  it("gets a new one where that does not help", function()
    does({ resumes = 1, identifies = 1 }, deafen { shard = 2 }, "deaf: hears shard=2")
    assert.equal(1, s.gateway:count_log "deaf: identify shard=2 event=nil")
    assert.equal(1, status().identifies)
  end)

  it("waits for a new one where session starts are down to the reserve", function()
    configure(60000, 90)
    does({ resumes = 1, identifies = 0 }, deafen { shard = 1 }, "deaf: waits shard=1")
    does_nothing_for(6)
    configure(60000, 10)
    s.fake:fault { ["do"] = "clear" }
  end)

  it("is found, too, when only events of one type are gone", function()
    s.fake:settings { repeat_rate = 80 }
    does({ resumes = 1, identifies = 0 }, deafen { event = "MESSAGE_CREATE", heals = true, shard = 3 },
      "deaf: hears shard=3 event=MESSAGE_CREATE")
    assert.matches("no MESSAGE_CREATE had come for [^\n]*, which its sisters get", s.gateway.stderr)
  end)

  it("has its turn when another one has had it, and is told by then", function()
    local before, seen = s:counters().resumes, {}
    deafen { heals = true, shard = 4 }()
    deafen { heals = true, shard = 5 }()
    local late = loop.now() + 60000 * paths.slow
    repeat
      assert(loop.now() < late, "not both of them hear again")
      local deaf = status()
      if deaf.shard ~= cjson.null then
        seen[deaf.shard.step] = deaf.shard.shardId
        for _, suspect in ipairs(deaf.suspects) do
          assert.is_true(suspect ~= deaf.shard.shardId and (suspect == 4 or suspect == 5))
          seen.suspected = suspect
        end
      end
      for _, shard in ipairs(s.gateway:control("GET", "/shards"):json()) do
        seen.word = shard.deaf == "suspected" and shard.shardId or seen.word
        assert(not shard.deaf or shard.shardId == 4 or shard.shardId == 5)
      end
    until s.gateway:count_log "deaf: hears shard=[45]" == 2
    assert.equal(before + 2, s:counters().resumes)
    assert.is_number(seen.suspected)
    assert.is_number(seen.word)
    assert.is_number(seen.asking)
    assert.same({}, status().suspects)
  end)

  it("is left alone where all are: that is an outage", function()
    does({ resumes = 0, identifies = 0 }, deafen {}, "that looks like an outage of Discord")
    assert.is_true(status().outage)
    does_nothing_for(6)
    does({ resumes = 0, identifies = 0 }, function() s.fake:fault { ["do"] = "clear" } end,
      "the shards get events again")
  end)

  it("is not looked for with deaf_after = 0", function()
    configure(0, 10)
    deafen { shard = 1 }()
    does_nothing_for(10)
    assert.same({ 0, 0 }, { status().after, status().known })
  end)

  it("was nobody's but those", function()
    assert.equal(0, s.gateway:count_log "deaf: [^\n]*shard=0")
    assert.same({}, s.fake:state("violations").violations)
  end)
end)
