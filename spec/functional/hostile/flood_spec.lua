-- A gateway that sends and sends, and takes nothing of what is sent to it.

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

    -- And the connection is as good as ever.
    s.fake:fault { ["do"] = "ping", payload = "once more" }
    s.fake:wait_for("its PONG", function(state)
      return state.connections[1].last_pong == "once more"
    end, { only = "connections" })
    assert.equal(1, s:counters().upgrades)
  end)

  -- PONGs filled the socket when each PING had one; those of libwebsockets are too few, and what else the
  -- gateway sends is limited.
  pending("gets commands when it reads again, those that were not too late then")
  pending("is left by RESUME when it has not even taken the last heartbeat, whatever it acknowledges")
end)
