-- kill -9 while the bot goes over from 4 shards to 8, or back, under load: of a worker, of the manager, of
-- everything, at each step and at random moments. Nothing is lost, nothing comes twice but with an equal key,
-- all is in order, no identify is spent but those for the new shards, and nothing stays behind. With
-- TG_SPEC_LONG=1 (scripts/test --long) each step is a run of its own, and series are longer.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local resharding = require "spec.support.resharding"
local sudden_death = require "spec.support.sudden_death"
local uv = require "luv"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local FROM, TO = 4, 8

local SCRIPT = [[
require "tidegate".configure { event_handler = { markers = true }, queue = { durability = "%s" } }
]]

after_each(resharding.stop)

local function start(durability)
  local death = sudden_death.new()
  local t = resharding.start {
    shards = FROM, per_worker = 2, workers = 2, rate = 300, repeat_rate = 60, env = death:env(),
    script = SCRIPT:format(durability or "log"),
  }
  t.death = death
  return t
end

-- ---- what is written ----

local function record(t)
  local text = paths.read(t.gateway.state_dir .. "/resharding.json")
  return text and cjson.decode(text) or { phase = "none" }
end

local function await_record(t, what, predicate)
  loop.wait_for(function()
    return ("%s in the record, which says %s. The log ends:\n%s"):format(
      what, cjson.encode(record(t)), t.gateway.stderr:sub(-3000))
  end, function() return predicate(record(t)) end, 60000, 2)
end

local function is_over(now, total)
  return now.phase == "none" and (not now.current or now.current.total == total)
end

local function await_files_gone(t)
  local left
  loop.wait_for(function() return "files to be removed: " .. cjson.encode(left) end, function()
    left = {}
    local scan = uv.fs_scandir(t.gateway.state_dir)
    for name in uv.fs_scandir_next, scan do
      if name:find "^reshard%." or name:find "%.new$" then
        left[#left + 1] = name
      end
    end
    return #left == 0
  end, 10000, 2)
end

-- All has gone over to so many shards; the verdict.
local function finish(t, name, total, identifies)
  t:interact(5)
  await_record(t, "the end", function(now) return now.current and is_over(now, total) end)
  t:interact(5)
  t:assert_verdict {
    name = name, repeated = true, identifies = identifies or { [FROM] = FROM, [TO] = TO }, spare = t.cut_off,
    under_way = t.under_way,
  }
  await_files_gone(t)
end

-- ---- deaths ----

local function again(t)
  t.gateway.process:wait()
  t:again()
end

local KILLS = {
  worker = function(t) t:kill_worker(t:await_worker()) end,
  manager = function(t)
    t:kill_manager()
    again(t)
  end,
  group = function(t)
    t:kill_group()
    again(t)
  end,
}

-- A worker starts one new shard at a time. If it dies when Discord has answered, and it has not noted that
-- yet, the identify is spent.
local function kill(t, victim)
  local phase = record(t).phase
  if phase == "preparing" or phase == "identifying" then
    t.cut_off = (t.cut_off or 0) + (victim == "worker" and 1 or 2)
  end
  KILLS[victim](t)
end

-- who: "worker", "manager" or "group" dies when `by` (a worker, or the manager) comes to the last of `steps`.
local function plan(t, who, by, steps)
  t.death:plan(steps, who == "group" and "group" or who == by and "self" or "parent")
end

-- `prepare` comes before the next start, which may die on its way, too.
local function survive(t, who, prepare)
  loop.wait_for(function()
    return "the death that is planned; the log ends:\n" .. t.gateway.stderr:sub(-3000)
  end, function() return t.death:has_struck() end, 60000, 2)
  if who ~= "worker" then
    t.gateway.process:wait()
  end
  if prepare then
    prepare()
  end
  if who ~= "worker" then
    t:again { ready = false }
  end
end

-- It may be the end of who is asked.
local function ask(t, total)
  local ok, status = pcall(t.ask_reshard, t, { totalShards = total })
  return ok and status == 202
end

local function begin(t, total)
  local deadline = loop.now() + 30000 * paths.slow
  while not ask(t, total) and not t.death:has_struck() do
    assert.is_true(loop.now() < deadline, "no resharding could be begun")
    t:pass(20)
  end
end

local function await_switched(t, n)
  t:await_reshard(n .. " classes to have switched", function(status)
    local by = status.running and status.running.byState
    return by and (by.switched or 0) + (by.settled or 0) >= n
  end)
end

-- ---- at each step ----

local PHASES = { "preparing", "identifying", "matching", "switching", "settling", "closing", "none" }
local RECORD = "resharding.json"
local DECIDED = { "rename", "reshard.", "after" }

-- What a worker does that decides something.
local STEPS = {
  { "before a switch is decided", { { "rename", "reshard.", "before" } } },
  { "when it is decided", { DECIDED } },
  { "before what was held is in the log", { DECIDED, { "pwrite", ".segment", "before" } } },
  { "when that is in the log", { DECIDED, { "pwrite", ".segment", "after" } } },
  { "in the middle of forgetting a set", { { "unlink", "reshard.", "after", 2 } } },
}

describe("killed with -9 in the middle of a resharding,", function()
  it("a worker, at each step: nothing is lost", function()
    local t = start()
    begin(t, TO)
    t:await_phase "identifying"
    kill(t, "worker")
    for _, step in ipairs(STEPS) do
      plan(t, "worker", "worker", step[2])
      survive(t, "worker")
    end
    finish(t, "kill -9 of a worker, at each step", TO)
  end)

  it("the manager and the whole group, around each step that is written: nothing is lost", function()
    local t = start()
    local plans = {}
    for i = 1, #PHASES do
      for k, when in ipairs { "before", "after" } do
        local who = (i + k) % 2 == 0 and "manager" or "group"
        table.insert(plans, { who, "manager", { { "rename", RECORD, when } } })
      end
    end
    local function plan_next(i)
      return plans[i] and plan(t, unpack(plans[i]))
    end
    plan_next(1)
    for i = 1, #plans do
      if i <= 2 then -- else one runs
        begin(t, TO)
      end
      survive(t, plans[i][1], function() plan_next(i + 1) end)
    end
    finish(t, "kill -9 of the manager or all, at each step", TO)
  end)

  it("anything, on the way back: nothing is lost", function()
    local t = start()
    t.fake:pace { total = FROM, lag = 100, jitter = 30 }
    begin(t, TO)
    await_switched(t, 2)
    local deaths = {
      { "manager", "manager", { { "rename", RECORD, "after" } } },
      { "worker", "worker", STEPS[2][2] },
      { "group", "worker", STEPS[3][2] },
      { "group", "manager", { { "rename", RECORD, "after" } } },
    }
    plan(t, unpack(deaths[1]))
    pcall(t.abort, t)
    for i, death in ipairs(deaths) do
      survive(t, death[1], deaths[i + 1] and function() plan(t, unpack(deaths[i + 1])) end)
    end
    finish(t, "kill -9 on the way back", FROM)
  end)
end)

-- ---- at random moments ----

local function series(durability, victims, kills)
  local t = start(durability)
  -- What the bot has taken, and the gateway has not heard of, right after a switch; of each shard one.
  t.under_way = durability == "memory" and kills * FROM or 0
  local total, identifies, up = FROM, { [FROM] = FROM }, true
  for _ = 1, kills do
    if is_over(record(t), total) then -- back again
      total = FROM + TO - total
      begin(t, total)
      identifies[total] = (identifies[total] or 0) + total
    end
    if t.random:chance(0.4) then
      local which = t.random:one_of { FROM, TO }
      t.fake:pace { total = which, lag = t.random:between(0, 300), jitter = t.random:between(0, 60) }
    end
    if t.random:chance(0.2) then
      up = not up
      t.bot[up and "up" or "down"](t.bot)
    end
    if durability == "log" then -- else what was deferred is forgotten
      t:interact(1)
    end
    t:pass(t.random:between(0, t.random:chance(0.3) and 3000 or 1000))
    kill(t, t.random:one_of(victims))
  end
  t.bot:up()
  finish(t, ("%d x kill -9, durability %s"):format(kills, durability), total, identifies)
end

describe("killed with -9 at random moments of a resharding,", function()
  local ANY = { "worker", "manager", "group" }

  for _, durability in ipairs { "log", "memory" } do
    if LONG or durability == "memory" then
      it("anything, with queue.durability = " .. durability .. ": nothing is lost", function()
        series(durability, ANY, 3)
      end)
    end

    for _, victim in ipairs(LONG and ANY or {}) do
      it(("20 times, %s, with queue.durability = %s: nothing is lost"):format(victim, durability), function()
        series(durability, { victim }, 20)
      end)
    end
  end
end)
