-- Each row of the table of close codes: which of RESUME and IDENTIFY follows, or the
-- end of the program with an advice.

local libwebsockets = require "spec.support.libwebsockets"
local scene = require "spec.support.scene"
local trial = require "spec.support.fault_trial"

local RESUME, IDENTIFY = { resumes = 1, attempts = 1, connections = 1 }, { identifies = 1, attempts = 0 }

local ROWS = {
  { 1000, RESUME }, -- only our own ends a session
  { 1001, RESUME },
  { 1002, RESUME },
  { 1007, RESUME },
  { 1009, RESUME },
  { 1011, RESUME },
  { 1012, RESUME },
  { 1013, RESUME },
  { 4000, RESUME },
  { 4001, RESUME },
  { 4002, RESUME },
  { 4003, IDENTIFY },
  { 4005, RESUME },
  { 4006, IDENTIFY },
  { 4007, IDENTIFY },
  { 4008, RESUME },
  { 4015, RESUME }, -- nobody documents it
  { 4999, RESUME },
}

-- A part of the advice for each.
local FATAL = {
  { 4004, "DISCORD_TOKEN" },
  { 4010, "total_shards" },
  { 4011, "2500 guilds" },
  { 4012, "Update tidegate" },
  { 4013, "INTENTS" },
  { 4014, "Privileged Gateway Intents" },
}

describe("close codes", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  for _, row in ipairs(ROWS) do
    local code, expected = row[1], row[2]
    local how = expected.resumes and "resumed" or "identified anew"
    it(code .. " is " .. how, function()
      local log = t:survives(expected, function()
        t.fake:fault { ["do"] = "close", code = code, reason = "A reason." }
      end)
      local may_be_another = code == 1002 or (code > 1011 and code < 3000)
      if may_be_another and not libwebsockets.tells_all_codes then
        assert.matches('code=1002 reason="A reason%. %(or another code: ', log)
      else
        assert.matches("code=" .. code .. ' reason="A reason%."', log)
      end
    end)
  end

  it("4009 is tried to resume, and identified when op 9 says so", function()
    t:survives({ resumes = 0, identifies = 1, attempts = 1, connections = 2, violations = 1 }, function()
      t.fake:fault { ["do"] = "close", code = 4009 }
    end)
  end)

  it("4009 is resumed when Discord still has the session", function()
    t:survives(RESUME, function()
      t.fake:fault { ["do"] = "close", code = 4009, session = "keep" }
    end)
  end)

  it("an empty close frame is resumed", function()
    local log = t:survives(RESUME, function()
      t.fake:fault { ["do"] = "close", code = 0 }
    end)
    assert.matches(" code=1005 next=resume", log)
  end)

  it("the end of the stream without a close frame is resumed", function()
    local log = t:survives(RESUME, function()
      t.fake:fault { ["do"] = "fin" }
    end)
    assert.matches(" code=1006 next=resume", log)
  end)

  it("a reason of any bytes does no harm", function()
    t:survives(RESUME, function()
      t.fake:fault { ["do"] = "close", code = 4000, reason = ("ä\27[31m\n%s"):rep(12) }
    end)
    assert.is_nil(t.gateway.stderr:find("\27", 1, true))
  end)

  it("sends each first heartbeat of a new session without the old one's sequence", function()
    -- The fake would have closed with 4002, which survives() had shown.
    for _, violation in ipairs(t.scene:list "violations") do
      assert.not_equal("heartbeat_d", violation.rule)
    end
  end)
end)

describe("fatal close codes", function()
  after_each(scene.stop)

  local function assert_ends(s, code, advice)
    local exit_code = s.gateway.process:wait(5000)
    assert.equal(78, exit_code, s.gateway.stderr)
    assert.equal(1, s.gateway:count_log "All shards stop", s.gateway.stderr)
    assert.matches("All shards stop code=" .. code .. " reason=", s.gateway.stderr, 1, true)
    assert.matches(advice, s.gateway.stderr, 1, true)
  end

  for _, row in ipairs(FATAL) do
    local code, advice = row[1], row[2]
    it(code .. " ends all shards, with an advice and 78", function()
      local s = scene.start {
        shards = 2, workers = 2, per_worker = 1, hurry = trial.HURRY,
        script = 'require "tidegate".configure { resharding = { enabled = false } }', -- else 4011 begins one
      }
      local identifies = s:counters().identifies
      s.fake:fault { ["do"] = "close", code = code, shard = 1 }
      assert_ends(s, code, advice)
      assert.equal(identifies, s:counters().identifies)
      assert.same({}, s.fake:state("connections").connections)
    end)
  end

  it("4014 in answer to IDENTIFY ends the program after one try", function()
    local s = scene.start { ready = false, hurry = trial.HURRY, fake = { privileged_intents = 0 } }
    assert_ends(s, 4014, "message_content")
    assert.equal(1, s:counters().identifies)
    assert.equal(0, s:counters().resumes)
  end)

  it("4004 in answer to IDENTIFY ends the program after one try", function()
    local s = scene.start { ready = false, hurry = trial.HURRY, fake = {}, env = {
      DISCORD_TOKEN = "a.wrong.token", REST_AUTHORIZATION = "Bot fake.discord.token",
    } }
    assert_ends(s, 4004, "DISCORD_TOKEN")
    assert.equal(1, s:counters().identifies)
  end)

  it("a token that is reset while the shards run ends them all, once", function()
    local s = scene.start { shards = 4, workers = 2, per_worker = 2, hurry = trial.HURRY }
    s.fake:fault { ["do"] = "reset_token" }
    assert_ends(s, 4004, "DISCORD_TOKEN")
  end)
end)
