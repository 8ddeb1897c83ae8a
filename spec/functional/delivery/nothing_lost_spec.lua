-- The bot, a worker, the gateway or the disk fails: nothing is lost, nothing is out of order, and what had
-- to go is told.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

-- Emits while the bot is down, and waits until Discord has sent it all.
local function pile_up(s, options)
  s.bot:down()
  s.fake:emit(options)
  return s.fake:wait_emitted(30000)
end

local function lines_of(command)
  local found = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do
    found[#found + 1] = line
  end
  pipe:close()
  return found
end

local function segments(s)
  return lines_of(("find %s/log -name '*.segment' | sort"):format(s.gateway.state_dir))
end

local function logs(s)
  return lines_of(("ls %s/log 2>/dev/null"):format(s.gateway.state_dir))
end

-- The manager and with it all of the gateway is gone from one moment to the next.
local function kill_gateway(s)
  local workers = s.gateway:worker_pids()
  s.gateway.process:kill "SIGKILL"
  s.gateway.process:wait(10000)
  loop.wait_for("the workers to be gone", function()
    for _, pid in ipairs(workers) do
      if uv.kill(pid, 0) == 0 then
        return false
      end
    end
    return true
  end)
end

local function gaps(s)
  return s.bot:select(function(event) return event.gap end)
end

local function events(s)
  return s.bot:select(function(event) return not event.gap end)
end

local function script(text)
  return 'require "tidegate".configure { ' .. text .. ' }\n'
end

describe("with a log", function()
  after_each(scene.stop)

  it("the bot may be down for thousands of events", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 2500, rate = 5000 })
    s.bot:up()
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(2, s:counters().identifies)
  end)

  it("memory holds a window, the rest is read back", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 },
      script = script "queue = { memory_bytes = 16384 }" }
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 1500, rate = 5000 })
    s.bot:up()
    s.fake:emit { count = 500, rate = 1000 } -- meanwhile more comes
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(0, s.gateway:count_log "events are dropped")
  end)

  it("a worker may be killed while thousands of events wait", function()
    local s = scene.start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
    s.bot:wait_for_events(4, "READY")
    pile_up(s, { count = 600, rate = 3000 })
    for _, pid in ipairs(s.gateway:worker_pids()) do
      uv.kill(pid, "sigkill")
    end
    s:wait_counter("resumes_ok", 4)
    s.fake:emit { count = 100 }
    s.fake:wait_emitted()
    s.bot:up()
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(4, s:counters().identifies)
    assert.same({}, s:list "violations")
    loop.wait_for("the logs of the dead to be gone", function() return #logs(s) == 2 end)
  end)

  for _, workers in ipairs { 2, 1, 4 } do
    it("the whole gateway may be killed and started again with " .. workers .. " workers", function()
      local s = scene.start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
      s.bot:wait_for_events(4, "READY")
      pile_up(s, { count = 500, rate = 3000 })
      kill_gateway(s)
      s:again { workers = workers, per_worker = 4 / workers }
      s.fake:emit { count = 100 }
      s.fake:wait_emitted()
      s.bot:up()
      local sent = s:wait_delivered(60000)
      checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
      assert.equal(4, s:counters().identifies)
      assert.same({}, s:list "violations")
      loop.wait_for("the logs of the dead to be gone", function() return #logs(s) == workers end)
    end)
  end

  it("SIGTERM keeps what waits for the next start", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 500, rate = 3000 })
    s.gateway:wait_for_log "the event handler is down"
    assert.equal(0, s.gateway:stop())
    s.gateway:wait_for_log "events stay in the log"
    s:again()
    s.bot:up()
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(2, s:counters().identifies)
    assert.equal(0, s.gateway:stop())
    assert.same({}, logs(s)) -- nothing waits: nothing stays
  end)

  it("a session that ends meanwhile: the old events come first, and the marker", function()
    local s = scene.start { script = script "event_handler = { markers = true }" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 300, rate = 3000 })
    s.gateway:stop "SIGINT" -- ends the session
    s:again()
    s.fake:emit { count = 50 }
    s.bot:up()
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(events(s), { guilds = sent })
    local list = gaps(s)
    assert.equal(1, #list)
    assert.equal("session_lost", list[1].gap.reason)
    assert.equal(s.bot:first_epoch(), list[1].epoch)
  end)
end)

describe("killed at random moments under load", function()
  after_each(scene.stop)

  -- Pauses between 20 and 300 ms, the same in each run.
  local function pauses(seed)
    return function()
      seed = (seed * 1103515245 + 12345) % 2147483648
      return 20 + seed % 280
    end
  end

  local function pause(ms)
    local until_then = loop.now() + ms
    loop.wait_for("the next moment", function() return loop.now() >= until_then end)
  end

  local function start()
    local s = scene.start { shards = 4, per_worker = 2, workers = 2, fake = { max_concurrency = 4 } }
    s.bot:wait_for_events(4, "READY")
    s.fake:emit { count = 700, rate = 1500 }
    return s
  end

  local function finish(s)
    s.bot:up()
    local sent = s:wait_delivered(90000)
    -- A RESUMED that a kill has cut off leaves a hole: it is not part of the next replay.
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert.equal(4, s:counters().identifies)
    assert.same({}, s:list "violations")
  end

  it("workers, with a bot that comes and goes", function()
    local s = start()
    local next_pause = pauses(7)
    for i = 1, 8 do
      pause(next_pause())
      if i % 3 == 1 then
        s.bot:down()
      elseif i % 3 == 0 then
        s.bot:up()
      end
      local pids = s.gateway:worker_pids()
      if #pids > 0 then
        uv.kill(pids[i % #pids + 1], "sigkill")
      end
    end
    finish(s)
  end)

  it("the whole gateway, with a bot that comes and goes", function()
    local s = start()
    local next_pause = pauses(11)
    for i = 1, 5 do
      pause(next_pause())
      if i % 2 == 1 then
        s.bot:down()
      else
        s.bot:up()
      end
      kill_gateway(s)
      local workers = ({ 2, 4, 1 })[i % 3 + 1]
      s:again { workers = workers, per_worker = 4 / workers, ready = i % 2 == 0, shards = 4 }
    end
    finish(s)
  end)
end)

describe("a log that is damaged", function()
  after_each(scene.stop)

  local function damage_and_start(damage)
    local s = scene.start { script = script "event_handler = { markers = true }" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 400, rate = 4000 })
    kill_gateway(s)
    damage(segments(s)[1], s)
    s:again()
    s.bot:up()
    return s
  end

  it("in its tail: Discord is asked again", function()
    local s = damage_and_start(function(path)
      local file = assert(io.open(path, "r+b"))
      local content = file:read "*a"
      local last = content:find "%z+$" -- the room that is not used yet
      file:seek("set", last - 3000)
      file:write(("\255"):rep(3000))
      file:close()
    end)
    local sent = s:wait_delivered(60000)
    checker.assert_nothing_lost(events(s), { guilds = sent, contiguous = true })
    assert.equal(0, #gaps(s))
    assert.equal(1, s:counters().identifies)
  end)

  it("in the middle: a marker says what is gone, in its place", function()
    local s = damage_and_start(function(path)
      local file = assert(io.open(path, "r+b"))
      local content = file:read "*a"
      local last = content:find "%z+$"
      file:seek("set", math.floor(last / 2))
      file:write(("\255"):rep(2000))
      file:close()
    end)
    s.fake:emit { count = 1 }
    local sent = s.fake:wait_emitted()
    local guild, last = next(sent)
    s.bot:wait_for_events(1, function(event)
      return event.t == "MESSAGE_CREATE" and event.body:find(('"nonce":"%s:%d"'):format(guild, last), 1, true)
    end, 30000)
    local list = gaps(s)
    assert.equal(1, #list)
    assert.equal("log_damaged", list[1].gap.reason)
    local before, after
    for i, event in ipairs(s.bot.events) do
      if event.gap then
        before, after = s.bot.events[i - 1], s.bot.events[i + 1]
      end
    end
    assert.equal(before.s + 1, list[1].gap.from)
    assert.equal(after.s - 1, list[1].gap.to)
  end)

  it("by a segment that is missing", function()
    local s = damage_and_start(function(path) os.remove(path) end)
    s.fake:emit { count = 5 }
    local sent = s:wait_delivered(30000) -- Discord is asked for all of it again
    checker.assert_nothing_lost(events(s), { guilds = sent, contiguous = true })
  end)
end)

describe("bounds of the log", function()
  after_each(scene.stop)

  it("disk_bytes: the oldest go, and markers say which", function()
    local s = scene.start { script = script
      "event_handler = { markers = true }, queue = { disk_bytes = 524288, memory_bytes = 32768 }" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 2000, rate = 5000 })
    s.bot:up()
    s.fake:emit { count = 1 }
    local sent = s.fake:wait_emitted()
    local guild, last = next(sent)
    s.bot:wait_for_events(1, function(event)
      return event.t == "MESSAGE_CREATE" and event.body:find(('"nonce":"%s:%d"'):format(guild, last), 1, true)
    end, 30000)
    local expected, told = nil, 0
    for _, event in ipairs(s.bot.events) do
      if event.gap then
        assert.equal("overflow", event.gap.reason)
        assert.equal(expected, event.gap.from)
        assert.equal(event.gap.to - event.gap.from + 1, event.gap.count)
        expected = event.gap.to + 1
        told = told + event.gap.count
      elseif event.s and event.s + 1 ~= expected then
        assert.equal(expected or event.s, event.s)
        expected = event.s + 1
      end
    end
    assert.is_true(told > 500, tostring(told))
    assert.is_true(s.gateway:count_log "dropped the oldest events from the log" >= 1)
  end)

  it("max_age: what is older goes", function()
    local s = scene.start { script = script "queue = { max_age = 1000 }, event_handler = { markers = true }" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 100, rate = 3000 })
    kill_gateway(s)
    local aged = loop.now() + 2500
    loop.wait_for("the events to be old", function() return loop.now() >= aged end)
    s:again()
    s.gateway:wait_for_log "they are too old [^\n]*key=queue.max_age"
    s.bot:up()
    s.bot:wait_for_events(1, function(event) return event.gap end, 30000)
    assert.equal("expired", gaps(s)[1].gap.reason)
  end)
end)

describe("a log directory that cannot be written", function()
  after_each(scene.stop)

  it("is refused at the start", function()
    local dir = paths.tmp() .. "/state"
    os.execute("mkdir -p " .. dir)
    paths.write(dir .. "/log", "a file where the directory should be")
    local s = scene.start { ready = false, state_dir = dir }
    loop.wait_for("the end", function() return s.gateway.process.ended end)
    assert.equal(78, s.gateway.exit_code)
    s.gateway:wait_for_log "/state/log is not a directory [^\n]*: remove it"
  end)
end)

describe("a full disk, and memory that is full as well", function()
  local mounted

  after_each(function()
    scene.stop()
    if mounted then
      os.execute("umount " .. mounted)
      mounted = nil
    end
  end)

  it("do not stop the shards, and the oldest events go first", function()
    local dir = paths.tmp() .. "/state"
    os.execute("mkdir -p " .. dir)
    if os.execute("mount -t tmpfs -o mode=700,size=3m tmpfs " .. dir .. " 2>/dev/null") ~= 0 then
      pending "a small file system can only be mounted by root"
      return
    end
    mounted = dir
    local s = scene.start {
      state_dir = dir, script = script "event_handler = { markers = true }, queue = { memory_bytes = 65536 }",
    }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 3000, rate = 5000 })
    s.gateway:wait_for_log "the disk is full"
    s.bot:up()
    s.fake:emit { count = 5 }
    local sent = s.fake:wait_emitted()
    local guild, last = next(sent)
    s.bot:wait_for_events(1, function(event)
      return event.t == "MESSAGE_CREATE" and event.body:find(('"nonce":"%s:%d"'):format(guild, last), 1, true)
    end, 30000)
    local expected
    for _, event in ipairs(s.bot.events) do
      local from = event.gap and event.gap.from or event.s
      assert.equal(expected or from, from)
      expected = (event.gap and event.gap.to or event.s) + 1
    end
    assert.equal("disk_full", gaps(s)[1].gap.reason)
    assert.equal(1, s:counters().identifies)
    assert.equal(0, s:counters().resumes)
  end)
end)

describe("queue.durability = \"memory\"", function()
  after_each(scene.stop)

  it("keeps no log, and resumes from what was delivered", function()
    local s = scene.start { script = script 'queue = { durability = "memory" }' }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 50 })
    kill_gateway(s)
    assert.same({}, logs(s))
    s:again()
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(1, s:counters().identifies)
  end)

  it("says so at the start when logs of earlier runs are there; they wait for a start with a log", function()
    local s = scene.start { script = script "" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 50 })
    kill_gateway(s)
    s:again { script = script 'queue = { durability = "memory" }' }
    s.gateway:wait_for_log(
      "warn [^\n]*queue.durability is \"memory\", but logs of earlier runs %(1%) are in")
    s.gateway:stop()
    s.bot:up()
    s:again { script = script "" }
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
  end)
end)
