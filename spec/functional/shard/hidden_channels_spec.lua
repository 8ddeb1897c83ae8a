-- Channels that the bot cannot see come without what is in them, and IDENTIFY may say capabilities.

local cjson = require "cjson"
local http = require "spec.support.http"
local scene = require "spec.support.scene"

local HIDDEN = '"parent_id":null,"name":"___hidden___","id":"%s","flags":131072,"topic":null'

describe("IDENTIFY", function()
  after_each(scene.stop)

  local function capabilities(script)
    local s = scene.start { bot = false, script = script }
    return s:list("identifies")[1].capabilities
  end

  it("has no capabilities unless they are configured", function()
    assert.is_nil(capabilities())
  end)

  it("has the configured capabilities", function()
    assert.equal(32768, capabilities "require 'tidegate'.configure { capabilities = 32768 }")
  end)
end)

describe("a channel that the bot cannot see", function()
  after_each(scene.stop)

  it("comes to the bot as Discord has sent it, with its guild and alone", function()
    local s = scene.start { fake = { hidden_channels = 3 } }
    local guild = s.fake:guilds(0)[1].id
    local event = s.bot:wait_for_events(1, "GUILD_CREATE")[1]
    local n = 0
    for _, channel in ipairs(event:data().channels) do
      if channel.name == "___hidden___" then
        n = n + 1
        assert.matches(HIDDEN:format(channel.id), event.body, 1, true)
        assert.same({ 131072, cjson.null, cjson.null },
          { channel.flags, channel.permission_overwrites, channel.position })
      end
    end
    assert.equal(3, n)
    local shown = ('{"version":2,"type":0,"position":4,"permission_overwrites":[],"parent_id":null,'
      .. '"name":"brig","id":"77","guild_id":"%s","flags":0,"topic":"","nsfw":false}'):format(guild)
    local hidden = ('{"version":3,"type":0,"position":null,"permission_overwrites":null,"parent_id":null,'
      .. '"name":"___hidden___","id":"77","guild_id":"%s","flags":131072,"topic":null}'):format(guild)
    for i, d in ipairs { hidden, shown, hidden } do
      local body = ('{"event":"CHANNEL_UPDATE","guild":"%s","d":%s}'):format(guild, d)
      assert.equal(200, http.request("POST", s.fake.admin .. "/emit", { body = body }).status)
      assert.matches('"d":' .. d, s.bot:wait_for_events(i, "CHANNEL_UPDATE")[i].body, 1, true)
    end
  end)

  it("is in a script what it is in JSON, and so it stays when the script changes the event", function()
    local s = scene.start { script = [[
local gateway = require "tidegate"
gateway.filter("GUILD_CREATE", function(event)
  local data = event.data
  for _, channel in ipairs(data.channels) do
    if channel.name == "___hidden___" then
      assert(channel.topic == gateway.json.null and channel.permission_overwrites == gateway.json.null)
      channel.seen = true
    end
  end
  return data
end)
gateway.on("GUILD_CREATE", function(event)
  local channel = event.data.channels[5]
  gateway.log.info("the script has %s %d", channel.name, channel.flags)
end)
]], log_level = "info" }
    s.gateway:wait_for_log "the script has ___hidden___ 131072"
    local event = s.bot:wait_for_events(1, "GUILD_CREATE")[1]
    local channel = event:data().channels[5]
    assert.same({ "___hidden___", 131072, cjson.null, true },
      { channel.name, channel.flags, channel.permission_overwrites, channel.seen })
    assert.equal("loading", event.guild_create)
    assert.equal(0, s.gateway:count_log " error ")
  end)
end)
