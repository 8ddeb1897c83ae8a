-- One of two sinks is in trouble: it costs the other one nothing, and the one in trouble gets all of it in
-- the end, in order.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local sinks_trial = require "spec.support.sinks_trial"
local uv = require "luv"

local SHARDS = 4

local function start(options)
  options = options or {}
  options.shards, options.per_worker, options.workers = SHARDS, 2, 2
  options.rate = options.rate or 400
  options.sinks = options.sinks or { audit = { timeout = 1000 } }
  return sinks_trial.start(options)
end

local function always(...)
  local answer = { ... }
  return function(bot)
    bot:answer(function() return unpack(answer) end)
  end
end

local function mend(bot)
  bot:answer(nil)
end

local TROUBLES = {
  { "is down", function(bot) bot:down() end, function(bot) bot:up() end },
  { "hangs", function(bot) bot:hang() end, mend },
  { "answers 503", always(503, { ["Retry-After"] = "1" }), mend },
  { "answers 401", function(bot) bot.authorization = "another-secret" end,
    function(bot) bot.authorization = "secret-of-the-sink-audit" end },
  { "breaks connections", always "reset", mend },
  { "half answers", always "half", mend },
}

describe("a sink that", function()
  after_each(sinks_trial.stop)

  for _, trouble in ipairs(TROUBLES) do
    local what, begin, finish = unpack(trouble)
    it(what .. " costs the bot nothing", function()
      local t = start()
      local audit = t.sinks.audit
      t:await_events(50)
      begin(audit)
      t:await_events(300)
      -- All of it is at the bot while the other one still has its trouble.
      t.fake:settings { rate = 0 }
      t:assert_nothing_lost { name = "audit " .. what, identifies = SHARDS, of = { "bot" }, repeated = 0 }
      assert.equal(1, math.max(unpack(t.bot.max_in_flight, 0, SHARDS - 1)))
      finish(audit)
      t:assert_nothing_lost { name = "audit " .. what .. ", later", identifies = SHARDS }
      assert.same({ 0, 0 }, { t:counters().resumes, #t:list "violations" })
      assert.is_nil(paths.read(t.gateway.state_dir .. "/dead.jsonl"))
    end)
  end

  it("is in trouble costs the bot nothing when it is the bot that is", function()
    local t = start()
    t:await_events(50)
    t.bot:hang()
    t:await_emitted(300)
    t.fake:settings { rate = 0 }
    t:assert_nothing_lost { name = "bot hangs", identifies = SHARDS, of = { "audit" }, repeated = 0 }
    t.bot:answer(nil)
    t:assert_nothing_lost { name = "bot hangs, later", identifies = SHARDS }
  end)

  it("answers 413 has dead letters of its own, and the bot gets the event", function()
    local t = start { rate = 0 }
    t.fake:emit { count = 5 }
    t:wait_delivered(nil, t.sinks.audit)
    local guild = t.fake:guilds(0)[1].id
    local bad = ('"nonce":"%s:'):format(guild)
    t.sinks.audit:answer(function(request)
      return request.body:find(bad, 1, true) and 413 or nil
    end)
    t.fake:emit { count = 2, guild = guild }
    t.fake:emit { count = 5, shard = 1 }
    local sent = t:wait_delivered()
    local refused = 0
    loop.wait_for("the dead letters", function()
      local letters = paths.read(t.gateway.state_dir .. "/dead.jsonl") or ""
      refused = select(2, letters:gsub('"status":413', ""))
      return refused == 2
    end)
    local others = {}
    for id, last in pairs(sent) do
      others[id] = last - (id == guild and 2 or 0)
    end
    loop.wait_for("all others at the sink", function()
      local report = checker.compare(t.sinks.audit.events, { guilds = others })
      return #report.lost == 0
    end)
    checker.assert_complete(t.bot.events, { guilds = sent })
    checker.assert_complete(t.sinks.audit.events, { guilds = others })
  end)
end)

-- ---- an hour ----

local function memory(pid)
  return tonumber(paths.read(("/proc/%d/status"):format(pid)):match "VmRSS:%s*(%d+)")
end

local function open_files(pid)
  local count, scan = 0, assert(uv.fs_scandir(("/proc/%d/fd"):format(pid)))
  for _ in uv.fs_scandir_next, scan do
    count = count + 1
  end
  return count
end

-- Of all files of the logs of a sink.
local function disk_bytes(t, name)
  local bytes = 0
  for _, directory in ipairs(t:logs(name)) do
    local scan = assert(uv.fs_scandir(directory))
    for file in uv.fs_scandir_next, scan do
      bytes = bytes + uv.fs_stat(directory .. "/" .. file).size
    end
  end
  return bytes
end

-- A second of the gateway's patience is as much shorter.
local HURRY = 600

describe("a sink that is down for an hour", function()
  after_each(sinks_trial.stop)

  it("costs the bot neither time, memory nor files, and gets all of it afterwards", function()
    local t = sinks_trial.start {
      shards = 2, workers = 1, rate = 0, hurry = HURRY, size = 1000,
      queue = { memory_bytes = 262144, disk_bytes = 16777216 },
      sinks = { audit = { queue = { memory_bytes = 262144, disk_bytes = 67108864 } } },
    }
    t.fake:emit { count = 100 }
    t:wait_delivered()
    t:wait_delivered(nil, t.sinks.audit)
    local worker = t.gateway:worker_pids()[1]
    t.sinks.audit:down()
    t.fake:emit { count = 500 } -- the window is full from here on
    t:wait_delivered()
    local before = { memory = memory(worker), files = open_files(worker), disk = disk_bytes(t, "bot") }
    local began = loop.now()
    t.fake:settings { rate = 600 }
    t:pass(3600000 / HURRY)
    t.fake:settings { rate = 0 }
    local sent = t:wait_delivered()
    local after = { memory = memory(worker), files = open_files(worker), disk = disk_bytes(t, "bot") }
    local report = checker.assert_complete(t.bot.events, { guilds = sent })
    print(("# down for %d s of the gateway's: %d events, the bot's longest pause %d ms; memory %d to %d KiB, "
      .. "files %d to %d, the bot's log %d to %d bytes, the other one %d"):format(
      (loop.now() - began) * HURRY / 1000, report.numbered, report.longest_pause.ms, before.memory,
      after.memory, before.files, after.files, before.disk, after.disk, disk_bytes(t, "audit")))
    -- Sanitizers keep what is freed for a while.
    assert.is_true(paths.slow > 1 or after.memory - before.memory < 4096, "memory")
    assert.is_true(after.files - before.files <= 4, "files")
    assert.is_true(after.disk <= math.max(before.disk, 8388608), "the bot's log")
    t.sinks.audit:up()
    t:assert_nothing_lost { name = "audit down for an hour", identifies = 2, repeated = 0 }
    assert.equal(0, t:counters().resumes)
  end)
end)
