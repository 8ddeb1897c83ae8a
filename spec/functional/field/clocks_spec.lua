-- A wall clock that is set while the gateway runs, or between two starts: by NTP after a start of the
-- machine, by hand, or because the machine has slept. What waits, what is counted and what is due must not
-- notice.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local uv = require "luv"
local wall_clock = require "spec.support.wall_clock"
local world = require "spec.support.interaction_world"

local DAY = wall_clock.DAY

-- How far the clock is ahead when the gateway starts, and by how much it is set then.
local STEPS = {
  { "three days forward", 0, 3 * DAY },
  { "three days back", 0, -3 * DAY },
  { "from 1970 to today", -1, 1 },
}

local s, clock

local function step_of(row)
  local since_1970 = math.floor(uv.gettimeofday()) * 1000
  return row[3] == 1 and since_1970 or row[3]
end

local function start(row, options)
  clock = wall_clock.new()
  if row[2] == -1 then clock:step(-step_of(row)) end
  options.env = clock:env(options.env)
  s = world.start(options)
end

local function finish()
  local logs = {}
  for _, gateway in ipairs(s and s.gateways or {}) do logs[#logs + 1] = gateway.stderr end
  s = nil
  world.finish()
  for line in table.concat(logs):gmatch "[^\n]+" do
    assert.is_nil(line:find "%f[%w]duration=%-" or line:find "%f[%w]delay=%-", line)
  end
end

-- Once a minute the gateway looks at what is too old (with `hurry` sooner); this waits for the next look.
local function wait_for_look()
  local before = s.gateway:count_log "events wait for the event handler"
  loop.wait_for("a look at what waits", function()
    return s.gateway:count_log "events wait for the event handler" > before
  end)
end

local function pile_up(count)
  s.bot:down()
  s.fake:emit { count = count }
  s.fake:wait_emitted()
  s.gateway:wait_for_log("events wait for the event handler[^\n]* events=" .. count .. " ")
end

local function assert_all_delivered()
  s.bot:up()
  local sent = s:wait_delivered(20000)
  checker.assert_complete(s.bot.events, { guilds = sent })
  for _, event in ipairs(s.bot.events) do assert.is_nil(event.gap) end
  assert.equal(0, s.gateway:control("GET", "/status"):json().queue.dropped)
end

for _, row in ipairs(STEPS) do
  describe("a clock that is set " .. row[1], function()
    after_each(finish)

    for _, durability in ipairs { "log", "memory" } do
      it("drops nothing that waits with queue.durability = " .. durability, function()
        local queue = ('queue = { durability = "%s" }'):format(durability)
        start(row, { hurry = 100, script = world.script(queue) })
        pile_up(30)
        clock:step(step_of(row))
        wait_for_look()
        if durability == "log" then
          -- Measured against time that passes: a millisecond less is 2 days and some hours.
          s.gateway:wait_for_log(row[3] < 0 and "the clock of this machine was set back by [23] d"
            or "the clock of this machine has gone forward by [^\n]*d")
          uv.kill(s.gateway:worker_pids()[1], "sigkill")
          s:wait_counter("resumes_ok", 1)
          wait_for_look()
        end
        assert_all_delivered()
      end)
    end

    it("drops nothing over a restart, and keeps the order of what several gateways have left", function()
      start(row, { hurry = 100, script = world.script "event_handler = { markers = true }" })
      pile_up(10)
      for _ = 1, 2 do
        s.gateway:stop()
        clock:step(step_of(row) / 2)
        s:again()
        s.fake:emit { count = 10 }
        s.fake:wait_emitted()
        wait_for_look()
      end
      assert_all_delivered()
    end)

    it("makes no interaction look old, nor a new one of one that is", function()
      -- What is sent while the shard is away, which takes its time to come back.
      local function replayed(options)
        s.fake:fault { at = "resume", ["do"] = "delay", ms = 300 * paths.slow }
        s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
        world.emit(world.COMMAND, options)
      end
      start(row, { hurry = 10, script = world.script "interaction = { grace = 200 }" })
      world.emit(world.COMMAND)
      world.interactions(1)
      world.bot_down()
      clock:step(step_of(row))
      replayed()
      s:wait_counter("resumes_ok", 1)
      assert.equal(204, world.wait_callbacks(1)[1].status)
      replayed { skew = -10000 } -- and is 10 s old
      s:wait_counter("resumes_ok", 2)
      world.emit(world.COMMAND)
      world.wait_callbacks(2)
      s.bot:up()
      assert.equal(2, #s:list "callbacks")
      assert.same({ false, true, false, true }, (function()
        local deferred = {}
        for i, event in ipairs(world.interactions(4)) do deferred[i] = event.deferred or false end
        return deferred
      end)())
    end)

    it("neither ends the window of identifies nor puts off its end, now or after a restart", function()
      start(row, { bot = false, fake = { total = 100, remaining = 40, reset_after = 3600000 } })
      local function budget() return s.gateway:control("GET", "/identify"):json() end
      local before = budget()
      assert.equal(39, before.remaining)
      for _, restart in ipairs { false, true } do
        clock:step(restart and 0 or step_of(row))
        if restart then
          s.fake:settings { remaining = 100, reset_after = 86400000 } -- it does not tell
          s.gateway:stop()
          s:again()
        end
        local after = budget()
        assert.equal(before.remaining, after.remaining)
        local passed = before.resetAfter - after.resetAfter
        assert.is_true(passed >= 0 and passed < 60000 * paths.slow, passed)
      end
    end)

    it("gives no wrong times in status and metrics, and the right ones in the log", function()
      start(row, { hurry = 100 })
      pile_up(5)
      s.gateway:wait_for_log "the event handler is down"
      clock:step(step_of(row))
      wait_for_look()
      local status = s.gateway:control("GET", "/status"):json()
      for name, value in pairs {
        uptime = status.uptime, since = status.handlers[1].since, oldest = status.queue.oldest,
      } do
        assert.is_true(value ~= cjson.null and value >= 0 and value < 60000 * paths.slow, name)
      end
      local metrics = s.gateway:control("GET", "/metrics").body
      for _, name in ipairs { "tidegate_start_time_seconds", "tidegate_handler_changed_timestamp_seconds" } do
        local value = tonumber(metrics:match("\n" .. name .. "[^\n ]* (%S+)\n"))
        assert.is_true(math.abs(clock:now() / 1000 - value) < 60 * paths.slow, name .. " " .. value)
      end
      local oldest = tonumber(metrics:match "\ntidegate_shard_queue_oldest_seconds[^\n ]* (%S+)\n")
      assert.is_true(oldest >= 0 and oldest < 60 * paths.slow, oldest)
      s:type()
      s.gateway:stop()
      local today = os.date("!%Y%%-%m%%-%dT", math.floor(clock:now() / 1000))
      assert.matches("\n" .. today .. "[^\n]*stopping; the sessions are kept", s.gateway.stderr)
    end)

    it("does not change a wait that the bot has asked for by a date", function()
      start(row, {})
      clock:step(step_of(row))
      local refused
      s.bot:answer(function()
        if refused then return end
        refused = loop.now()
        local now = os.time()
        return 503, {
          Date = os.date("!%a, %d %b %Y %H:%M:%S GMT", now),
          ["Retry-After"] = os.date("!%a, %d %b %Y %H:%M:%S GMT", now + 1),
        }
      end)
      s.fake:emit { count = 1 }
      s:wait_delivered()
      local waited = loop.now() - refused
      assert.is_true(waited >= 950 and waited < 5000 * paths.slow, waited)
    end)
  end)
end
