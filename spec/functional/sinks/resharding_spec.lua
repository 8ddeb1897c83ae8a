-- A bot goes over to another number of shards while it has two sinks: what one sees of it the other one sees,
-- too, and neither loses, doubles or mixes up anything.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local resharding = require "spec.support.resharding"
local streams = require "spec.support.streams"

local FROM, TO = 4, 8

local SCRIPT = [[
require "tidegate".configure {
  event_handler = { markers = true },
  sinks = { audit = { url = %q, authorization = "secret-of-audit", markers = true }, %s },
}
]]

local function start(server)
  local streams_sink = server and ("streams = { url = %q, markers = true }"):format(server:url()) or ""
  return resharding.start {
    shards = FROM, per_worker = 2, workers = 2, rate = 300, repeat_rate = 60,
    sinks = { audit = { authorization = "secret-of-audit" } },
    script = function(scene) return SCRIPT:format(scene.sinks.audit.url, streams_sink) end,
  }
end

-- Which guilds went from where to where: each told once, to the old shard and to the new one.
local function handovers(bot)
  local found = {}
  for _, event in ipairs(bot.events) do
    local told = event.resharding
    for _, guild in ipairs(told and told.guilds or {}) do
      local name = ("%s at %d of %d"):format(guild, event.shard, event.total)
      found[name] = ("%s to %s"):format(cjson.encode(told.from), cjson.encode(told.to))
    end
  end
  return found
end

describe("going over with two sinks", function()
  after_each(resharding.stop)

  it("from 4 shards to 8: each guild's order is kept in both, and both are told", function()
    local t = start()
    t:interact(4)
    t:reshard(TO)
    t:await_phase "matching"
    t:interact(4)
    t:await_over()
    t:assert_verdict {
      name = "4 to 8, two sinks", identifies = { [FROM] = FROM, [TO] = TO }, others = { t.sinks.audit },
    }
    local told = handovers(t.bot)
    assert.is_truthy(next(told), "no marker came")
    assert.same(told, handovers(t.sinks.audit))
  end)

  it("while one of them is down: it gets the same, in the same order, later", function()
    local t = start()
    t.sinks.audit:down()
    t:reshard(TO)
    t:await_phase "settling" -- until the old shards' events are delivered
    t:await_events(100)
    t.sinks.audit:up()
    t:await_over()
    t:assert_verdict {
      name = "4 to 8, one down", identifies = { [FROM] = FROM, [TO] = TO }, others = { t.sinks.audit },
    }
    assert.same(handovers(t.bot), handovers(t.sinks.audit))
  end)

  it("while it is the bot that is down", function()
    local t = start()
    t.bot:down()
    t:reshard(TO)
    t:await_phase "settling"
    t.bot:up()
    t:await_over()
    t:assert_verdict {
      name = "4 to 8, the bot down", identifies = { [FROM] = FROM, [TO] = TO }, others = { t.sinks.audit },
    }
    assert.same(handovers(t.sinks.audit), handovers(t.bot))
  end)

  it("and a Redis, killed meanwhile: the streams of both sets have each event once", function()
    local server = redis.start { appendonly = "always" }
    local t = start(server)
    local reader = streams.reader(server)
    t:reshard(TO)
    t:await_phase "matching"
    server:kill()
    t:await_phase "switching"
    server:restart()
    t:await_over()
    t:assert_verdict {
      name = "4 to 8, with a Redis", identifies = { [FROM] = FROM, [TO] = TO },
      others = { t.sinks.audit, reader },
    }
    assert.equal(FROM + TO, #reader:streams()) -- a shard 3 of each set has its own
    local told, at_bot = handovers(reader), handovers(t.bot)
    assert.is_truthy(next(told), "no marker is in the streams")
    for name, what in pairs(told) do
      assert.equal(at_bot[name], what)
    end
  end)

  it("of which one comes, and one goes, in the midst of it: who stays notices nothing", function()
    local t = start()
    local late = bot_support.start { authorization = "secret-of-audit" }
    t:reshard(TO)
    t:await_phase "matching"
    local text = paths.read(t.gateway.script)
    local sink = ("late = { url = %q,"):format(late.url)
    paths.write(t.gateway.script, (text:gsub("audit = { url = [^,]+,", sink)))
    local ok, line = t.gateway:reload()
    assert.is_true(ok, line)
    t:await_over()
    t:await_events(50)
    t:assert_verdict { name = "4 to 8, one comes and one goes", identifies = { [FROM] = FROM, [TO] = TO } }
    local events = {}
    for _, event in ipairs(late:wait_for_events(50)) do
      events[#events + 1] = event.s and event or nil
    end
    local report = checker.compare(events)
    assert.same({ 0, 0 }, { #report.doubled, #report.out_of_order }, report.text)
    assert.same({}, report.doubled_with_other_key)
  end)

  -- The files that tell which side ruled are gone when it is there again.
  it("while one of them is not configured: what had waited for it comes when it is there again", function()
    local t = start()
    t.sinks.audit:wait_for_events(20)
    t.fake:settings { rate = 0, repeat_rate = 0 }
    t:wait_delivered(nil, t.sinks.audit)
    t.sinks.audit:down()
    t.fake:emit { count = 20, total = FROM }
    local sent = t:wait_delivered()
    local text = paths.read(t.gateway.script)
    paths.write(t.gateway.script, (text:gsub("sinks = %b{},", "")))
    assert.is_true((t.gateway:reload()))
    t:reshard(TO)
    t:await_over()
    t.sinks.audit:up()
    paths.write(t.gateway.script, text)
    assert.is_true((t.gateway:reload()))
    loop.wait_for("what had waited", function()
      return #checker.compare(t.sinks.audit.events, { guilds = sent }).lost == 0
    end)
  end)

  it("and killed at random moments of it: neither loses anything", function()
    local t = start()
    t:reshard(TO)
    t:await_phase "matching"
    for i = 1, 4 do
      t:pass(t.random:between(0, 600))
      if i % 2 == 0 then
        t:kill_group()
        t:again()
      else
        t:kill_worker(t:await_worker())
      end
    end
    t:await_over()
    t:assert_verdict {
      name = "4 to 8, two sinks, 4 x kill -9", repeated = true, identifies = { [FROM] = FROM, [TO] = TO },
      spare = 4, others = { t.sinks.audit },
    }
  end)
end)
