-- Guilds that come, go, and are away while a bot goes over to another number of shards, and types of events
-- that differ between its sessions.

local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function start(options)
  local given = { shards = 4, per_worker = 2, workers = 2, rate = 200, repeat_rate = 40, hurry = 20 }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return resharding.start(given)
end

-- What the bot was told of a guild behind its start: "joined", "available", "outage", "left".
local function told(t, guild, from)
  local list = {}
  for i = (from or 0) + 1, #t.bot.events do
    local event = t.bot.events[i]
    if (event.t == "GUILD_CREATE" or event.t == "GUILD_DELETE") and event:data().id == guild then
      local word = event.guild_create or (event:data().unavailable and "outage" or "left")
      list[#list + 1] = word ~= "loading" and word or nil
    end
  end
  return list
end

describe("guilds", function()
  it("that come, go, and are away are told of once each, in each phase", function()
    local t = start()
    local guilds, from, expected = t.fake:guilds(), #t.bot.events, {}
    local next_guild = 0
    local function do_some()
      local joined = t.fake:emit({ kind = "joined" }).guild
      next_guild = next_guild + 1
      local gone = guilds[next_guild].id
      next_guild = next_guild + 1
      local away = guilds[next_guild].id
      t.fake:emit { kind = "left", guild = gone }
      t.fake:emit { kind = "outage", guild = away }
      t.fake:emit { kind = "available", guild = away }
      expected[joined] = { "joined" }
      expected[gone] = { "left" }
      expected[away] = { "outage", "available" }
      t.fake:emit { count = 3, guild = joined }
    end
    t:reshard(8)
    for _, phase in ipairs { "identifying", "matching", "switching", "settling" } do
      t:await_phase(phase)
      do_some()
    end
    t:await_over()
    do_some()
    t:assert_verdict { name = "guilds that come and go", identifies = { [4] = 4, [8] = 8 } }
    for guild, words in pairs(expected) do
      assert.same(words, told(t, guild, from), guild)
    end
  end)

  it("that are away for one set of shards alone hold up their class, and are named", function()
    local t = start()
    local guilds, from = t.fake:guilds(), #t.bot.events
    local here, there = guilds[1].id, nil
    for _, guild in ipairs(guilds) do
      there = resharding.shard_of(guild.id, 4) ~= resharding.shard_of(here, 4) and guild.id or there
    end
    local function await_named(guild)
      t:await_reshard("the guild to be named", function(status)
        return (status.running.waitsFor or ""):find(guild, 1, true)
      end)
    end
    t:reshard(8)
    t:await_phase "identifying"
    t.fake:settings { rate = 0, repeat_rate = 0 } -- what comes to the new ones alone is nobody's
    t:wait_delivered()
    t.fake:emit { kind = "outage", guild = here, total = 8 }
    t.fake:emit { kind = "outage", guild = there, total = 4 }
    t:await_switched(2)
    await_named(here)
    t.fake:emit { kind = "available", guild = here, total = 8 }
    t:await_switched(3)
    await_named(there)
    assert.equal(1, t:reshard_status().running.byState.loading)
    t.fake:emit { kind = "available", guild = there, total = 4 }
    t.fake:settings { rate = 200 }
    t:await_over()
    assert.same({}, told(t, here, from))
    assert.same({ "outage", "available" }, told(t, there, from))
    t:assert_verdict { name = "away on one side", identifies = { [4] = 4, [8] = 8 } }
  end)
end)

describe("a type of events", function()
  it("that is worded otherwise for the new sessions is named", function()
    local t = start()
    t.fake:differ { event = "TYPING_START", total = 8, how = "built" }
    t.fake:settings { repeat_rate = 200 }
    t:reshard(8)
    -- As one that is cut by time, or, where it is over before that is certain, by what had no copy.
    t:await_reshard("the type to be named", function(status)
      local running = status.running or {}
      return (running.cut or {})[1] == "TYPING_START" or ((running.unmatched or {}).TYPING_START or 0) > 0
    end)
    t:await_switched(4)
    t.fake:settings { rate = 0, repeat_rate = 0 }
    t:wait_delivered()
    assert.same({}, t:list "violations")
  end)
end)
