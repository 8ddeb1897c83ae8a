-- What each queue.durability of a sink is worth when processes die: from where Discord is asked to resume.

local checker = require "spec.support.checker"
local sinks_trial = require "spec.support.sinks_trial"

local SHARDS = 2

local function start(options)
  options.shards, options.per_worker, options.workers = SHARDS, 1, 2
  options.rate = 0
  local t = sinks_trial.start(options)
  t.fake:emit { count = 20 }
  t:wait_delivered()
  t:wait_delivered(nil, t.sinks.audit)
  return t
end

-- How many events the RESUMEs of a spec have brought again.
local function replayed(t)
  local count = 0
  for _, resume in ipairs(t:list "resumes") do
    count = count + (resume.replayed or 0)
  end
  return count
end

-- Events of which one bot has all, and the other one none, are in the gateway when it dies: it may not have
-- heard yet that the bot has the last one of each shard.
local function die_with_a_backlog(t, behind, other)
  behind:down()
  t.fake:emit { count = 100 }
  t:wait_delivered(nil, other)
  t:kill_group()
  t:again()
end

describe("when all die while one sink is behind", function()
  after_each(sinks_trial.stop)

  it("with a log: it has it there, and Discord sends nothing again", function()
    local t = start { sinks = { audit = {} } }
    die_with_a_backlog(t, t.sinks.audit, t.bot)
    t.sinks.audit:up()
    t.fake:emit { count = 20 }
    t:assert_nothing_lost { name = "behind, with a log", identifies = SHARDS, repeated = SHARDS }
    assert.equal(0, replayed(t))
  end)

  it("which is the bot, in memory: Discord sends it again, and who has a log has nothing twice", function()
    local t = start { queue = { durability = "memory" }, sinks = { audit = {} } }
    die_with_a_backlog(t, t.bot, t.sinks.audit)
    t.bot:up()
    t.fake:emit { count = 20 }
    t:assert_nothing_lost { name = "the bot behind, in memory", identifies = SHARDS, repeated = SHARDS }
    assert.is_true(replayed(t) >= 200, replayed(t))
  end)

  it("which is the bot, in memory, and all are stopped in order: the same", function()
    local t = start { queue = { durability = "memory" }, sinks = { audit = {} } }
    t.bot:down()
    t.fake:emit { count = 100 }
    t:wait_delivered(nil, t.sinks.audit)
    t.gateway:stop()
    t:again()
    t.bot:up()
    t.fake:emit { count = 20 }
    t:assert_nothing_lost { name = "the bot behind, in memory, stopped", identifies = SHARDS, repeated = 0 }
    assert.is_true(replayed(t) >= 200, replayed(t))
  end)

  -- What it had may be further back than Discord keeps, which would cost all their session.
  for _, durability in ipairs { "memory", "none" } do
    it(("which is not the bot, with %s: what it had is lost to it, and Discord sends nothing again"):format(
      durability), function()
      local t = start { sinks = { audit = { queue = { durability = durability } } } }
      die_with_a_backlog(t, t.sinks.audit, t.bot)
      t.sinks.audit:up()
      t.fake:emit { count = 20 }
      t:assert_nothing_lost { name = "behind, " .. durability, identifies = SHARDS, of = { "bot" },
        repeated = SHARDS }
      assert.equal(0, replayed(t))
      t:await_newest(t.sinks.audit)
      local report = checker.compare(t.sinks.audit.events)
      assert.same({ 0, 0, 0 }, { #report.doubled, #report.doubled_with_other_key, #report.out_of_order })
      assert.is_true(#t.sinks.audit.events < #t.bot.events, "nothing of it was lost")
    end)
  end
end)

describe("a sink of copies that may be lost", function()
  after_each(sinks_trial.stop)

  it("gets all of them while nobody dies, and writes no file", function()
    local t = start { sinks = { audit = { queue = { durability = "none" } } } }
    t.sinks.audit:down()
    t.fake:emit { count = 200 }
    t:wait_delivered()
    assert.same({}, t:logs "audit")
    t.sinks.audit:up()
    t:assert_nothing_lost { name = "copies", identifies = SHARDS, repeated = 0 }
  end)

  it("may lose what a worker had that dies, and stays in order", function()
    local t = start { sinks = { audit = { queue = { durability = "none" } } } }
    t.fake:settings { rate = 600 }
    for _ = 1, 5 do
      t:await_events(40)
      local resumed = t:counters().resumes_ok
      t:kill_worker(t:await_worker())
      t:wait_counter("resumes_ok", resumed + 1, 30000)
    end
    t:assert_nothing_lost { name = "copies, killed", identifies = SHARDS, of = { "bot" } }
    local report = checker.compare(t.sinks.audit.events)
    assert.same({ 0, 0 }, { #report.doubled_with_other_key, #report.out_of_order })
  end)
end)
