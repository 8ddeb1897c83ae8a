-- kill -9 right before and after the write of either log: the two end at different events then. Nothing was
-- under way to anybody, so that each event comes exactly once, to each of them.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local sinks_trial = require "spec.support.sinks_trial"
local sudden_death = require "spec.support.sudden_death"

local SHARDS = 2

local WRITES = {
  { "the bot's log", "/log/*.segment" },
  { "the other one's", "/sinks/audit/*.segment" },
}

local function start(options)
  local death = sudden_death.new()
  options.shards, options.per_worker, options.workers = SHARDS, 1, 2
  options.rate, options.env = 0, death:env()
  local t = sinks_trial.start(options)
  t.death = death
  t.fake:emit { count = 20 }
  t:wait_delivered()
  t:wait_delivered(nil, t.sinks.audit)
  t.bot:down()
  t.sinks.audit:down()
  t.fake:settings { rate = 600 }
  return t
end

-- Who is the `count`th to write there dies, and all others with it if the victim is the "group".
local function die(t, where, when, victim)
  t.death:plan({ { "pwrite", where, when, t.random:between(1, 12) } }, victim)
  loop.wait_for(function()
    return "the death that is planned; the log ends:\n" .. t.gateway.stderr:sub(-3000)
  end, function() return t.death:has_struck() end, 30000, 2)
  if victim == "group" then
    t.gateway.process:wait()
    t:again()
  end
end

local function finish(t, name)
  t.death:cancel()
  t.fake:settings { rate = 0 }
  t.fake:wait_emitted()
  t.bot:up()
  t.sinks.audit:up()
  t:assert_nothing_lost { name = name, identifies = SHARDS, repeated = 0 }
end

describe("two logs of which one is written and the other one not, when", function()
  after_each(sinks_trial.stop)

  for _, victim in ipairs { "self", "group" } do
    it((victim == "self" and "a worker dies" or "all die") .. ": each event comes once, to both", function()
      local t = start { sinks = { audit = {} } }
      for _, write in ipairs(WRITES) do
        for _, when in ipairs { "before", "after" } do
          die(t, write[2], when, victim)
          t:await_emitted(50)
        end
      end
      finish(t, "kill -9 around each write of either log, " .. victim)
    end)
  end

  it("the one that is behind goes first once more: neither gets anything twice", function()
    local t = start { sinks = { audit = {} } }
    -- Without a worker in between that would make their ends equal again.
    for i, write in ipairs { WRITES[1], WRITES[2], WRITES[1], WRITES[2] } do
      die(t, write[2], i % 2 == 0 and "before" or "after", i % 3 == 0 and "group" or "self")
    end
    finish(t, "kill -9 between the logs, in turn")
  end)

  for i, write in ipairs(WRITES) do
    local name = "and again before Discord has sent what one lacks: not twice to who had it, before "
    it(name .. write[1], function()
      local t = start { sinks = { audit = {} } }
      t.death:plan({ { "pwrite", write[2], "before", t.random:between(1, 12) } }, "group")
      loop.wait_for("the death that is planned", function() return t.death:has_struck() end, 20000)
      t.gateway.process:wait()
      t.fake:settings { rate = 0 }
      t.fake:fault { at = "resume", ["do"] = "withhold", count = SHARDS }
      local ahead = i == 1 and t.sinks.audit or t.bot
      ahead:up()
      t:again { ready = false }
      t.fake:wait_for("the RESUMEs", function(state) return state.counters.resumes >= SHARDS end,
        { only = "counters" })
      t:pass(300) -- what its log holds reaches it, and nothing is left there
      t:kill_group()
      t:again()
      t.bot:up()
      t.sinks.audit:up()
      for _, bot in ipairs { t.bot, t.sinks.audit } do
        local sent = t:wait_delivered(nil, bot)
        checker.assert_complete(bot.events, { guilds = sent, contiguous = true })
      end
    end)
  end

  it("a bot was in the midst of an answer: it may get that event again, and nobody another one", function()
    local t = start { sinks = { audit = {} } }
    t.bot:up()
    t.sinks.audit:up()
    for i = 1, 6 do
      local write = WRITES[i % 2 + 1]
      die(t, write[2], i % 3 == 0 and "before" or "after", i % 2 == 0 and "self" or "group")
    end
    t.death:cancel()
    t:assert_nothing_lost { name = "kill -9 around writes, both up", identifies = SHARDS }
  end)
end)

describe("a log and a memory, when all die:", function()
  after_each(sinks_trial.stop)

  it("Discord is asked for what was in the bot's memory, and the log has nothing twice", function()
    local t = start { queue = { durability = "memory" }, sinks = { audit = {} } }
    t:await_emitted(200)
    t:kill_group()
    t:again()
    t:await_emitted(100)
    finish(t, "kill -9, the bot in memory")
  end)
end)
