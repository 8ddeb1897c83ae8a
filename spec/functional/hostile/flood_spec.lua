-- A gateway that sends and sends, and takes nothing of what is sent to it.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- libwebsockets answers one of each heap that comes at once: some hundred kilobytes, which the socket does not
-- hold.
local PINGS = 300000
local PAYLOAD = ("."):rep(95)

describe("a gateway that does not read", function()
  local s

  after_each(scene.stop)

  -- Until the gateway's socket is full.
  local function flood()
    s.fake:fault { ["do"] = "half_open", writes = true }
    s.fake:fault { ["do"] = "ping", payload = PAYLOAD, times = PINGS }
    s:type "1" -- behind them all
    s.bot:wait_for_events(1, "TYPING_START")
  end

  local function connection()
    return s.fake:state("connections").connections[1]
  end

  local function send(channel, timeout)
    local guild = s.fake:guilds(0)[1].id
    return s.gateway:control("POST", "/shards/0/payload", { json = {
      op = 4, d = { guild_id = guild, channel_id = channel, self_mute = false, self_deaf = false },
      timeout = timeout,
    } })
  end

  it("gets few answers to many pings, and each when it reads", function()
    s = scene.start {}
    flood()
    s.fake:fault { ["do"] = "clear" }
    s.fake:wait_for("the PONGs that were held", function(state)
      return state.connections[1].pongs > 0
    end, { only = "connections" })

    -- And the connection is as good as ever.
    s.fake:fault { ["do"] = "ping", payload = "once more" }
    s.fake:wait_for("its PONG", function(state)
      return state.connections[1].last_pong == "once more"
    end, { only = "connections" })
    assert.is_true(connection().pongs < PINGS / 2, "each of them was kept")
    assert.equal(1, s:counters().upgrades)
  end)

  it("gets commands when it reads again, those that were not too late then", function()
    s = scene.start {}
    flood()
    local refused = send("1", 200)
    assert.equal(504, refused.status)
    assert.matches("Discord does not take what was sent before", refused:json().error, 1, true)
    assert.equal(0, #s:list "commands")
    s.fake:fault { ["do"] = "clear" }
    assert.equal(200, send("2").status)
    s.fake:wait_for("the command", function(state) return #state.commands > 0 end, { only = "commands" })
    local commands = s:list "commands"
    assert.equal(1, #commands, cjson.encode(commands))
    assert.equal("2", commands[1].d.channel_id)
  end)

  it("is left by RESUME when it has not even taken the last heartbeat, whatever it acknowledges", function()
    s = scene.start { fake = { heartbeat_interval = 1500 * paths.slow } }
    flood()
    local acknowledged = 0
    s.fake:wait_for("a RESUME", function(state)
      if state.counters.resumes_ok == 1 then
        return true
      end
      acknowledged = acknowledged + 1
      pcall(s.fake.fault, s.fake, { ["do"] = "message", text = '{"op":11,"d":null}' })
      pcall(s.fake.fault, s.fake, { ["do"] = "heartbeat_request" })
    end, { only = "counters" })
    assert.is_true(acknowledged > 1)
    assert.matches("Discord does not take what is sent, not even the last heartbeat", s.gateway.stderr, 1,
      true)
    assert.equal(1, s:counters().identifies)
  end)
end)
