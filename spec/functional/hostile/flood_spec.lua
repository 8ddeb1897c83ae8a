-- A gateway that sends and sends, and takes nothing of what is sent to it.

local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- libwebsockets answers one of each heap that comes at once.
local PINGS = 100000
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

  it("gets few answers to many pings, and each when it reads", function()
    s = scene.start {}
    flood()
    s.fake:fault { ["do"] = "clear" }
    s.fake:wait_for("the PONGs that were held", function(state)
      return state.connections[1].pongs > 0
    end, { only = "connections" })

    -- And the connection is as good as ever. A PING that comes before the last of those PONGs has gone is one
    -- of the heap, too.
    s.fake:wait_for("its PONG", function(state)
      if state.connections[1].last_pong == "once more" then
        return true
      end
      s.fake:fault { ["do"] = "ping", payload = "once more" }
      return false
    end, { only = "connections" })
    assert.equal(1, s:counters().upgrades)
  end)

  local many = {}
  for i = 1, 180 do
    many[i] = ("9"):rep(19)
  end

  -- A command of almost 4 KB.
  local function push(number, timeout)
    return s.gateway:control("POST", "/shards/0/payload", { json = {
      op = 31, d = { guild_ids = { tostring(number), unpack(many) } }, timeout = timeout * paths.slow,
    } })
  end

  -- Until one of them waits in the gateway's socket, and the next one is too late.
  local function fill()
    s.fake:fault { ["do"] = "half_open", writes = true }
    for i = 1, 100 do
      local answer = push(i, 300)
      if answer.status ~= 200 then
        return answer
      end
    end
    error("the socket takes whatever it is given")
  end

  local function send(channel)
    local guild = s.fake:guilds(0)[1].id
    return s.gateway:control("POST", "/shards/0/payload", { json = {
      op = 4, d = { guild_id = guild, channel_id = channel, self_mute = false, self_deaf = false },
    } })
  end

  it("gets commands when it reads again, those that were not too late then", function()
    s = scene.start { fake = { receive_buffer = 8192 } }
    local refused = fill()
    assert.equal(504, refused.status)
    assert.matches("Discord does not take what was sent before", refused:json().error, 1, true)
    s.fake:fault { ["do"] = "clear" }
    assert.equal(200, send("2").status)
    local seen
    s.fake:wait_for("the command", function(state)
      seen = state.commands
      return #seen > 0 and seen[#seen].op == 4
    end, { only = "commands" })
    assert.equal("2", seen[#seen].d.channel_id)
    for i = 1, #seen - 1 do
      assert.equal(i, tonumber(seen[i].d.guild_ids[1]), "each that was taken, in order, and no other")
    end
    assert.equal(1, s:counters().upgrades)
  end)

  it("is left by RESUME when it has not even taken the last heartbeat, whatever it acknowledges", function()
    s = scene.start { fake = { receive_buffer = 8192, heartbeat_interval = 1500 * paths.slow } }
    fill()
    local acknowledged = 0
    s.fake:wait_for("a RESUME", function(state)
      if state.counters.resumes_ok == 1 then
        return true
      end
      acknowledged = acknowledged + 1
      push(0, 50) -- the kernel finds room for a little more now and then
      pcall(s.fake.fault, s.fake, { ["do"] = "message", text = '{"op":11,"d":null}' })
      pcall(s.fake.fault, s.fake, { ["do"] = "heartbeat_request" })
    end, { only = "counters" })
    assert.is_true(acknowledged > 1)
    assert.matches("Discord does not take what is sent, not even the last heartbeat", s.gateway.stderr, 1,
      true)
    assert.equal(1, s:counters().identifies)
  end)
end)
