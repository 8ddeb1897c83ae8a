-- The bot's voice connections hang on the session of a shard: before it goes they leave it.

local cjson = require "cjson"
local resharding = require "spec.support.resharding"

local CHANNEL = "41771983423143999"

local function start(voice)
  return resharding.start {
    shards = 2, per_worker = 1, workers = 2, rate = 100,
    script = ([[
      require "tidegate".configure { event_handler = { markers = true }, resharding = { voice = "%s" } }
    ]]):format(voice),
  }
end

-- `channel` nil: it leaves.
local function go_to(t, guild, channel)
  local response = assert(t.gateway:control("POST", "/guilds/" .. guild .. "/payload", {
    json = {
      op = 4,
      d = { channel_id = channel or cjson.null, self_mute = false, self_deaf = true },
    },
  }))
  assert.equal(200, response.status, response.body)
end

-- The sessions with which the bot was told to be in its channel of a guild, as they followed each other.
local function sessions(t, guild)
  local list = {}
  for _, event in ipairs(t.bot:select "VOICE_STATE_UPDATE") do
    local d = event:data()
    if d.guild_id == guild and d.channel_id == CHANNEL and d.session_id ~= list[#list] then
      list[#list + 1] = d.session_id
    end
  end
  return list
end

local function join(t, count)
  local guilds = t.fake:guilds()
  local joined = {}
  for i = 1, count do
    joined[i] = guilds[i].id
    go_to(t, guilds[i].id, CHANNEL)
  end
  t.bot:wait_for_events(count, "VOICE_SERVER_UPDATE")
  return joined
end

describe("the bot's voice connections", function()
  after_each(resharding.stop)

  it("are joined by the new shards before the old ones go", function()
    local t = start "move"
    local joined = join(t, 3)
    t:reshard(4)
    t:await_over()
    assert.same({}, t:list "voices_dropped")
    t.bot:wait_for_events(2 * #joined, "VOICE_SERVER_UPDATE") -- the voice client connects again
    for _, guild in ipairs(joined) do
      assert.equal(2, #sessions(t, guild), "a new session has it now")
    end
    t:assert_verdict { name = "2 to 4 with voice connections", identifies = { [2] = 2, [4] = 4 } }
  end)

  it("outlive a worker that dies meanwhile: nobody tells a session that is resumed of them", function()
    local t = start "move"
    local joined = join(t, 3)
    t:reshard(4)
    t:await_phase "switching"
    for _, pid in ipairs(t.gateway:worker_pids()) do
      t:kill_worker(pid)
    end
    t:await_over()
    assert.same({}, t:list "voices_dropped")
    t.bot:wait_for_events(2 * #joined, "VOICE_SERVER_UPDATE")
  end)

  it("that have been left are not joined again", function()
    local t = start "move"
    local joined = join(t, 2)
    t:reshard(4)
    t:await_phase "matching"
    go_to(t, joined[1])
    t:await_over()
    assert.same({}, t:list "voices_dropped")
    t.bot:wait_for_events(3, "VOICE_SERVER_UPDATE")
    assert.equal(1, #sessions(t, joined[1]))
    assert.equal(2, #sessions(t, joined[2]))
  end)

  it("keep the old shards as long as they last, if that is wanted", function()
    local t = start "wait"
    local joined = join(t, 2)
    t:reshard(4)
    t:await_phase "closing"
    t.gateway:wait_for_log "their end is waited for"
    local status, answer = t:abort()
    assert.same({ 409, "too_late" }, { status, answer.code })
    go_to(t, joined[1])
    go_to(t, joined[2])
    t:await_over()
    assert.same({}, t:list "voices_dropped")
    assert.equal(2, #t.bot:select "VOICE_SERVER_UPDATE")
  end)
end)
