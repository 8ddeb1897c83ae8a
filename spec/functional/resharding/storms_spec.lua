-- Rules against storms while two sets of shards show the same events: each counts once, where it goes out.

local loop = require "spec.support.loop"
local resharding = require "spec.support.resharding"
local uv = require "luv"

local EVENTS, BURST = 60, 20

local SCRIPT = ([[
local gateway = require "tidegate"
gateway.configure {
  storm = { rules = { { events = "MESSAGE_REACTION_ADD", per = "guild", rate = 0.001, burst = %d } } },
}
]]):format(BURST)

local RULE = "MESSAGE_REACTION_ADD per guild"

local function storm_of(t)
  for _, rule in ipairs(t.gateway:control("GET", "/status"):json().storm.rules) do
    if rule.rule == RULE then return rule end
  end
end

local function wait_dropped(t, count)
  loop.ask_until(count .. " dropped", function() return storm_of(t).dropped >= count end, 15000)
end

-- Returns a function that makes so many reactions in a guild; their ids go on from 1.
local function reactions(t)
  local guild, number = t.fake:guilds(0)[1].id, 0
  return function(count)
    for _ = 1, count do
      number = number + 1
      t.fake:emit { event = "MESSAGE_REACTION_ADD", guild = guild,
        d = { guild_id = guild, channel_id = "1", message_id = tostring(number), user_id = "5",
          emoji = { id = nil, name = "tide" } } }
    end
  end
end

describe("a storm while the bot goes over to more shards", function()
  after_each(resharding.stop)

  it("is one storm of one guild, before and after the switch", function()
    local t = resharding.start { shards = 2, per_worker = 2, workers = 1, rate = 200, repeat_rate = 30,
      intents = resharding.INTENTS + 1024, script = SCRIPT }
    local react = reactions(t)
    t:reshard(4)
    t:await_phase "matching"
    react(EVENTS / 2)
    t:await_switched(1)
    react(EVENTS / 2)
    t:await_over()
    wait_dropped(t, EVENTS - BURST)
    t:assert_verdict { name = "2 to 4, in a storm", identifies = { [2] = 2, [4] = 4 } }
    assert.same({ EVENTS - BURST, 1 }, { storm_of(t).dropped, storm_of(t).storms })
    local seen = {}
    for _, event in ipairs(t.bot:select "MESSAGE_REACTION_ADD") do
      local id = event:data().message_id
      assert.is_nil(seen[id], "came twice: " .. id)
      seen[id] = true
    end
    for id = 1, EVENTS do
      assert.equal(id <= BURST or nil, seen[tostring(id)], tostring(id))
    end
  end)

  it("brings what it holds back once: at the switch, and after the death of its worker", function()
    local t = resharding.start { shards = 2, per_worker = 2, workers = 1, rate = 200, repeat_rate = 30,
      intents = resharding.INTENTS + 1024, script = SCRIPT:gsub("burst = %d+", '%0, keep = "last"') }
    local react = reactions(t)
    local function came(count)
      return function()
        local list = t.bot:select "MESSAGE_REACTION_ADD"
        return #list > 0 and list[#list]:data().message_id == tostring(count)
      end
    end
    t:reshard(4)
    t:await_phase "matching"
    react(EVENTS / 2)
    wait_dropped(t, EVENTS / 2 - BURST)
    t:await_switched(1)
    loop.wait_for("what was held before the switch", came(EVENTS / 2), 15000)
    t:await_over()
    react(EVENTS / 2)
    wait_dropped(t, EVENTS - BURST)
    for _, pid in ipairs(t.gateway:worker_pids()) do uv.kill(pid, "sigkill") end
    loop.wait_for("what was held after it", came(EVENTS), 15000)
    t:assert_verdict { name = "2 to 4, holding back", repeated = true, identifies = { [2] = 2, [4] = 4 } }
    local ids = {}
    for _, event in ipairs(t.bot:select "MESSAGE_REACTION_ADD") do
      local id = tonumber(event:data().message_id)
      ids[#ids + 1] = id
      assert.equal(id > BURST or nil, event.late)
    end
    assert.equal(BURST + 2, #ids)
    assert.same({ BURST, EVENTS / 2, EVENTS }, { ids[BURST], ids[BURST + 1], ids[BURST + 2] })
  end)
end)
