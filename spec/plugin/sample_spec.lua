-- sample in front of a bot.

local plugins = require "spec.support.plugins"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

describe("sample", function()
  after_each(scene.stop)

  local function emit(s, count, guild, name)
    for i = 1, count do
      local data = { id = tostring(i), guild_id = guild, channel_id = "1", user_id = "1", timestamp = i }
      s.fake:emit { event = name, shard = 0, d = data }
    end
  end

  local function count(s, name, guild)
    local n = 0
    for _, event in ipairs(s.bot:select(name)) do
      if event:data().guild_id == guild then n = n + 1 end
    end
    return n
  end

  it("lets of each guild what its rules say through, and counts what it drops", function()
    local s = scene.start { script = plugins.script [[
      gateway.plugin("sample", { rates = {
        { events = { "TYPING_START" }, guilds = { "100" }, fraction = 1 },
        { events = { "TYPING_START" }, per_second = 0.001, burst = 3, per = "guild" },
        { events = { "MESSAGE_DELETE" }, fraction = 0 },
      } })
    ]] }
    for _, guild in ipairs { "100", "200", "300" } do emit(s, 10, guild, "TYPING_START") end
    emit(s, 10, "100", "MESSAGE_DELETE")
    emit(s, 1, "100", "CHANNEL_PINS_UPDATE")
    s.bot:wait_for_events(1, "CHANNEL_PINS_UPDATE")
    assert.same({ 10, 3, 3, 0 }, { count(s, "TYPING_START", "100"), count(s, "TYPING_START", "200"),
      count(s, "TYPING_START", "300"), count(s, "MESSAGE_DELETE", "100") })
    local page = prometheus.parse(s.gateway:control("GET", "/metrics").body)
    local function dropped(event)
      return page:value("sample_dropped_total", { plugin = "sample", event = event })
    end
    assert.equal(14, dropped "TYPING_START")
    assert.equal(10, dropped "MESSAGE_DELETE")
  end)
end)
