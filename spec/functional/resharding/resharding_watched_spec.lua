-- What is seen of a resharding while it runs, and afterwards: ctl, routes, metrics, alerts, markers.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local resharding = require "spec.support.resharding"

local function get(t, path)
  local answer = t.gateway:control("GET", path)
  return answer:json(), answer.status
end

local function ctl(t, ...)
  return process.start({ paths.bin "tidegate", "ctl", ... }, { env = {
    TIDEGATE_CONTROL = t.gateway:control_url():gsub("^http%+unix://(.*):$", "unix:%1"):gsub("^http://", ""),
    TIDEGATE_CONTROL_SECRET = t.gateway.control_secret or nil,
  } })
end

local function scrape(t)
  local text = t.gateway:control("GET", "/metrics").body
  return prometheus.parse(text), text
end

local function shard_ids(t, path)
  local ids = {}
  for i, shard in ipairs((get(t, path))) do ids[i] = shard.shardId end
  return ids
end

-- Those of the manual that are there while one runs.
local function metrics_of_one()
  local names = {}
  for name in pages.section "Resharding":gmatch "`(tidegate_[%w_]+)`" do
    names[#names + 1] = not name:find "_cluster_" and name or nil -- one gateway alone has none
  end
  assert(#names > 5)
  return names
end

-- Markers stand behind the last event of their guilds in the old shard, and in front of the first in the
-- new one.
local function check_markers(t)
  local gone, here, keys = {}, {}, {}
  for _, event in ipairs(t.bot.events) do
    local handover, is_old = event.resharding, event.total == 4
    local d = event.s and event:data()
    local guild = type(d) == "table" and (d.guild_id or event.t:find "^GUILD_" and d.id)
    if handover then
      assert.is_nil(keys[event.key], event.key)
      keys[event.key] = true
      assert.same({ event.shard, event.total }, is_old and handover.from or handover.to)
      for _, id in ipairs(handover.guilds) do
        local known = is_old and gone or here
        assert.is_nil(known[id])
        known[id] = true
      end
    elseif guild and is_old then
      assert.is_nil(gone[guild], event.key)
    elseif guild then
      assert.is_true(here[guild], event.key)
    end
  end
  for _, guild in ipairs(t.fake:guilds()) do
    assert.same({ true, true }, { gone[guild.id], here[guild.id] })
  end
end

-- Whether there are samples of types depends on what the two sets show.
local OF_TYPES = { tidegate_resharding_unmatched_total = true, tidegate_resharding_cut = true }

describe("a resharding that runs", function()
  local webhook

  after_each(function()
    resharding.stop()
    if webhook then webhook:close() end
  end)

  it("is shown by ctl, routes of both sets, metrics that go with it, alerts and markers", function()
    -- Seconds between the last identify and the last switch: there is a lot to look at.
    local hurry = math.max(1, math.floor(5 / paths.slow))
    local alerts = {}
    webhook = http.serve(function(request)
      alerts[#alerts + 1] = request:json().text
      return 204
    end)
    local t = resharding.start { shards = 4, per_worker = 2, rate = 200, hurry = hurry, env = {
      TIDEGATE_PLUGINS = "alerts",
      TIDEGATE_PLUGIN_ALERTS = cjson.encode {
        url = webhook.url, delay = 0, quiet = 0, events = { "resharding" },
      },
    } }
    assert.equal("Resharding  none runs\n", (function()
      local p = ctl(t, "reshard", "--table")
      p:wait()
      return p.stdout
    end)())
    local following = ctl(t, "reshard", "8")
    local running = t:await_phase "matching"
    assert.same({ 4, 8, 8, 4 }, { running.from, running.to, running.up, running.classes })

    assert.same({ 0, 1, 2, 3 }, shard_ids(t, "/shards"))
    assert.same({ 0, 1, 2, 3 }, shard_ids(t, "/shards?total=4"))
    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7 }, shard_ids(t, "/shards?total=8"))
    local refused, status = get(t, "/shards?total=16")
    assert.same({ 404, "there is no set of 16 shards: there is one of 4 and of 8" },
      { status, refused.error })
    local of_status = get(t, "/status").resharding
    assert.same({ 4, 8, 4 }, { of_status.from, of_status.to, of_status.classes })
    assert.equal(4, get(t, "/status").shards.total)

    local metrics, text = scrape(t)
    for _, name in ipairs(metrics_of_one()) do
      assert(metrics.families[name] or OF_TYPES[name], name)
    end
    assert.same({ 1, 4, 8, 8, 4 }, {
      metrics:value("tidegate_resharding_running", {}), metrics:value("tidegate_resharding_from_shards", {}),
      metrics:value("tidegate_resharding_to_shards", {}), metrics:value("tidegate_resharding_shards_up", {}),
      metrics:sum "tidegate_resharding_classes",
    })
    assert(prometheus.promtool("metrics", text) ~= false)

    following:wait(120000)
    assert.equal(0, following.exit_code, following.stderr)
    assert.matches("^from 4 to 8 shards, with about %d+ session starts\n", following.stdout)
    for _, step in ipairs { "\nidentifying, %d of 8 shards up", "\nswitching, %d of 4 classes over",
      "\nsettling, 4 of 4 classes settled", "\ndone: from 4 to 8 shards, [^\n]*, 8 session starts\n$" } do
      assert.matches(step, following.stdout)
    end

    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7 }, shard_ids(t, "/shards"))
    assert.equal(404, select(2, get(t, "/shards?total=4")))
    assert.equal(cjson.null, get(t, "/status").resharding)
    metrics = scrape(t)
    for _, name in ipairs(metrics_of_one()) do assert.is_nil(metrics.families[name], name) end
    assert.same({ 0, 1, 0, 8 }, {
      metrics:value("tidegate_resharding_running", {}),
      metrics:value("tidegate_reshardings_total", { result = "done" }),
      metrics:value("tidegate_reshardings_total", { result = "aborted" }),
      metrics:value("tidegate_resharding_identifies_total", {}),
    })
    assert.equal(6, metrics:value("tidegate_shard_state", { shard = 7, worker = 1 }))
    assert.equal(8, metrics:value("tidegate_shards", { state = "Connected" }))
    loop.wait_for("two alerts", function() return #alerts >= 2 end)
    assert.same({ "Tidegate: the bot goes over from 4 to 8 shards",
                  "Tidegate: the bot has gone over from 4 to 8 shards" }, alerts)
    -- A new session says so itself, and brings nothing that the bot has.
    local readies, creates = {}, 0
    for _, event in ipairs(t.bot.events) do
      if event.total == 8 and event.t == "READY" then
        readies[event.shard] = (readies[event.shard] or 0) + 1
      elseif event.total == 8 and event.t == "GUILD_CREATE" then
        creates = creates + 1
      end
    end
    assert.same({ [0] = 1, 1, 1, 1, 1, 1, 1, 1 }, readies)
    assert.equal(0, creates)
    check_markers(t)
    t:assert_verdict { name = "watched", identifies = { [4] = 4, [8] = 8 } }
  end)
end)
