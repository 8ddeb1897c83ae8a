-- What comes over the wire, in all the ways in which it may come, and in some in which it must not
-- (RFC 6455).

local libwebsockets = require "spec.support.libwebsockets"
local trial = require "spec.support.fault_trial"

local COMPRESSIONS = { "zlib-stream", "zstd-stream", "false" }
local RESUMED = { resumes = 1, connections = 1 }

-- The wire is so from the HELLO of the next connection on, which carries a replay as well.
local function with_wire(t, wire)
  t:survives(RESUMED, function()
    t.fake:fault { at = "hello", ["do"] = "wire", wire = wire }
    t.fake:fault { ["do"] = "rst" }
    t.fake:emit { count = 60 }
  end)
  t.fake:fault { ["do"] = "clear" }
end

for _, compression in ipairs(COMPRESSIONS) do
  describe("with compression " .. compression, function()
    local t

    setup(function() t = trial.start { env = { TRANSPORT_COMPRESSION = compression } } end)
    teardown(trial.stop)

    local function now(what)
      return function() t.fake:fault(what) end
    end

    it("bytes may come one by one", function()
      with_wire(t, { dribble = true })
    end)

    it("messages may be split over frames, with pings between them", function()
      with_wire(t, { fragment = 7, pings = true })
    end)

    it("messages may be split over frames of a byte each", function()
      with_wire(t, { fragment = 1 })
    end)

    it("a GUILD_CREATE may have 20 MB", function()
      local before = #t.bot:select "GUILD_CREATE"
      t:survives({ connections = 0 }, function()
        t.fake:fault { ["do"] = "big_guild", bytes = 20 * 1024 * 1024 }
        t.bot:wait_for_events(before + 1, "GUILD_CREATE", 20000)
      end)
      local events = t.bot:select "GUILD_CREATE"
      assert.is_true(#events[#events].body >= 20 * 1024 * 1024)
      events[#events].body, events[#events].decoded = "", nil
    end)

    it("bytes that cannot be decoded make it resume from before them", function()
      local log = t:survives(RESUMED, function()
        t.fake:fault { ["do"] = "corrupt" }
        t.fake:emit { count = 50 }
      end)
      assert.matches(compression == "false" and "not a gateway message" or "stream is corrupt", log)
      local _, said = log:gsub("corrupt", "")
      assert.is_true(said <= 1, log)
    end)

    it("JSON that is cut short makes it resume from before it", function()
      local log = t:survives(RESUMED, function()
        t.fake:fault { ["do"] = "truncate" }
        t.fake:emit { count = 50 }
      end)
      assert.matches("not a gateway message", log)
    end)

    for name, text in pairs {
      ["no JSON"] = "<html><body>502 Bad Gateway</body></html>",
      ["an array"] = "[1,2,3]",
      ["two messages in one"] = '{"op":11}{"op":11}',
      ["an object without op"] = '{"d":null}',
      ["an op that is no number"] = '{"op":"0","d":null}',
      ["an op beyond all numbers"] = '{"op":12345678901234567890,"d":null}',
    } do
      it(name .. " makes it resume", function()
        t:survives(RESUMED, now { ["do"] = "message", text = text })
      end)
    end

    it("a corrupt HELLO makes it take another connection", function()
      t:survives({ resumes = 1, connections = 3 }, function()
        t.fake:fault { at = "hello", ["do"] = "corrupt", count = 2 }
        t.fake:fault { ["do"] = "rst" }
      end)
    end)

    it("a replay that is corrupt is asked for again", function()
      -- The RESUMED of the first try has had a number, and is not sent again: that is no gap.
      t:survives({ resumes = 2, connections = 2 }, function()
        t.fake:fault { at = "resume", ["do"] = "corrupt" }
        t.fake:fault { ["do"] = "rst" }
      end)
    end)

    it("a replay that can never be read ends the session, not the loop", function()
      t:survives({ resumes = 3, identifies = 1, connections = 4, quiet = true }, function()
        t.fake:fault { at = "resume", ["do"] = "message", text = "{", count = 3 }
        t.fake:fault { ["do"] = "rst" }
      end)
    end)
  end)
end

describe("with zlib-stream", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  it("a message may be split over WebSocket messages, at each of its bytes", function()
    with_wire(t, { split_walk = true })
  end)

  it("a message may be split over WebSocket messages of a byte each", function()
    with_wire(t, { split = 1 })
  end)

  it("a message may be split over WebSocket messages, frames and writes", function()
    with_wire(t, { split = 50, fragment = 9, pings = true, dribble = true })
  end)

  it("the marker may stand in the midst of a message, where a frame ends", function()
    with_wire(t, { flush_inside = true })
  end)

  it("text that is not compressed makes it resume", function()
    t:survives(RESUMED, function()
      t.fake:fault { ["do"] = "frame", opcode = 1, payload = '{"op":7,"d":null}' }
    end)
  end)

  it("starts with a fresh stream after each connection", function()
    t:survives(RESUMED, function()
      t.fake:fault { ["do"] = "bytes", hex = "827e" } -- the beginning of a frame
      t.fake:fault { ["do"] = "rst" }
    end)
  end)
end)

describe("frames that RFC 6455 does not allow", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  for name, frame in pairs {
    ["reserved bits"] = { rsv = 4, opcode = 2 },
    ["an unknown opcode"] = { opcode = 5 },
    ["a continuation of nothing"] = { opcode = 0 },
    ["a ping in pieces"] = { opcode = 9, fin = false },
    ["a ping that is too long"] = { opcode = 9, payload = ("x"):rep(126) },
    ["a close frame of one byte"] = { opcode = 8, payload = "x" },
  } do
    it("such as one with " .. name .. " make it resume", function()
      local log = t:survives(RESUMED, function()
        frame["do"] = "frame"
        t.fake:fault(frame)
      end)
      assert.matches("not a WebSocket frame", log)
    end)
  end

  it("such as noise make it resume", function()
    t:survives(RESUMED, function()
      t.fake:fault { ["do"] = "bytes", hex = ("ffee77"):rep(50) }
    end)
  end)
end)

-- A server masks nothing, and text is UTF-8. libwebsockets does not look for the latter, and not always for
-- the former.
describe("frames that RFC 6455 does not allow, and that may do no harm", function()
  local t

  setup(function() t = trial.start { env = { TRANSPORT_COMPRESSION = "false" } } end)
  teardown(trial.stop)

  it("have a mask", function()
    t:survives(libwebsockets.takes_masks and { connections = 0 } or RESUMED, function()
      t.fake:fault { ["do"] = "frame", masked = true, opcode = 1, payload = '{"op":11,"d":null}' }
    end)
  end)

  it("have text that is not UTF-8", function()
    t:survives({ connections = 0 }, function()
      local text = '{"op":99,"d":"\255\254"}'
      local frame = "\x81" .. string.char(#text) .. text
      local hex = frame:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
      t.fake:fault { ["do"] = "bytes", hex = hex }
    end)
  end)
end)

describe("messages that nobody expects", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  local function passes(fault)
    t:survives({ connections = 0 }, fault)
  end

  for name, text in pairs {
    ["an unknown op"] = '{"op":99,"d":{"a":[1]},"s":null,"t":null}',
    ["an op of the client's"] = '{"op":2,"d":{},"s":null,"t":null}',
    ["an ACK without more"] = '{"op":11}',
    ["an ACK with more"] = '{"_trace":["x"],"d":null,"op":11,"s":null,"t":null,"new":{"op":7}}',
    ["a second HELLO"] = '{"op":10,"d":{"heartbeat_interval":1}}',
    ["white space"] = ' \n{ "op" : 11 , "d" : null }\n ',
    ["a dispatch without s"] = '{"op":0,"t":"MESSAGE_CREATE","d":{}}',
    ["a dispatch without t"] = '{"op":0,"s":1,"d":{}}',
    ["a dispatch of an old s"] = '{"op":0,"s":1,"t":"MESSAGE_CREATE","d":{}}',
  } do
    it("such as " .. name .. " do no harm", function()
      passes(function()
        t.fake:fault { ["do"] = "message", text = text }
      end)
    end)
  end

  it("such as unknown events are passed on", function()
    passes(function()
      t.fake:emit { event = "SOMETHING_ENTIRELY_NEW", d = { a = { 1, 2 } }, shard = 0 }
      t.bot:wait_for_events(1, "SOMETHING_ENTIRELY_NEW")
    end)
  end)

  it("such as an event whose d is an array are passed on", function()
    passes(function()
      t.fake:emit { event = "PRESENCES_REPLACE", d = { { user = { id = "1" } } }, shard = 0 }
      local event = t.bot:wait_for_events(1, "PRESENCES_REPLACE")[1]
      assert.equal("1", event:data()[1].user.id)
    end)
  end)

  it("such as events that come twice are passed on once", function()
    passes(function()
      t.fake:fault { ["do"] = "duplicate", times = 5 }
    end)
  end)

  it("such as a number that is left out are noted", function()
    local log = t:survives({ connections = 0, gaps = 1 }, function()
      t.fake:fault { ["do"] = "skip", times = 5 }
    end)
    assert.matches("events of this session never came epoch=%d+ sequence=%d+ last=%d+ events=%d+", log)
  end)

  it("such as pings are answered", function()
    passes(function()
      t.fake:fault { ["do"] = "ping", payload = "are you there?" }
      t.fake:fault { ["do"] = "ping", payload = "" }
    end)
  end)
end)
