-- Gateways that lead a session astray: numbers of events that no session has.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local HURRY = math.max(1, math.floor(100 / paths.slow))

describe("the number of an event", function()
  after_each(scene.stop)

  local function message(s)
    return ('{"t":"TYPING_START","s":%s,"op":0,"d":{"user_id":"7","channel_id":"1","timestamp":1}}'):format(s)
  end

  for _, s in ipairs { "4294967296", "9007199254740993", "18446744073709551615", "18446744073709551616" } do
    it(s .. " is refused, and the session goes on where it was", function()
      local t = scene.start { hurry = HURRY, fake = { guilds = 1 } }
      t.fake:emit { count = 5 }
      t:wait_delivered()
      t.fake:emit { text = message(s) }
      t:wait_counter("resumes_ok", 1)
      t.fake:emit { count = 5 }
      t:wait_delivered()
      assert.matches('given up [^\n]*reason="Discord sent an event with a sequence above 4294967295"', t.gateway.stderr)
      assert.equal(1, t:counters().identifies)
      assert.equal(0, t.gateway:count_log "never came")
      for _, event in ipairs(t.bot.events) do
        assert.is_nil(event.body:find('"user_id":"7"', 1, true))
      end
    end)
  end

  it("4294967296 in READY begins no session", function()
    local t = scene.start { ready = false, hurry = HURRY, fake = { identify_window = 50 } }
    t:wait_counter("handshakes", 1)
    t.gateway:stop()
    t.fake:fault {
      at = "identify", ["do"] = "message",
      text = '{"t":"READY","s":4294967296,"op":0,"d":{"session_id":"a","resume_gateway_url":"ws://127.0.0.1:9"}}',
    }
    t:again { state_dir = paths.tmp() }
    t.gateway:wait_for_log "given up [^\n]*sequence above 4294967295"
  end)

  it("4294967295 reaches the bot as it is", function()
    local t = scene.start { fake = { guilds = 1 } }
    t.fake:emit { text = message "4294967295" }
    local found
    loop.wait_for("the event", function()
      for _, event in ipairs(t.bot.events) do
        found = found or (event.body:find('"user_id":"7"', 1, true) and event)
      end
      return found
    end)
    assert.matches('"s":4294967295,', found.body, 1, true)
    assert.matches("[^%d]4294967295$", found.key)
  end)
end)
