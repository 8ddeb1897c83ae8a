-- Gateways that lead a session astray: where READY says that it is to be resumed, and numbers of events that
-- no session has.

local bot_support = require "spec.support.bot"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local middlebox = require "spec.support.middlebox"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local HURRY = math.max(1, math.floor(100 / paths.slow))
local REFUSED = "the resume URL is refused, the session is resumed over the main URL"

describe("a resume URL", function()
  local fake, g, trap

  after_each(function()
    gateway.teardown()
    middlebox.cleanup()
  end)

  -- The shard is up. In `url` PORT is that of the main URL; TRAP that of somebody else on this machine, who
  -- hears nothing.
  local function start(tls, url)
    fake = fake_discord.start { shards = 1, tls = tls }
    trap = middlebox.start("127.0.0.1", 0)
    local own = { PORT = fake.gateway:match ":(%d+)", TRAP = trap.port }
    fake:settings { resume_url = url:gsub("%u+", own) }
    g = gateway.start { fake = fake, bot = bot_support.start(), env = { TIDEGATE_HURRY = HURRY } }
    g:wait_ready(1)
  end

  local function wait_resumed(n)
    return fake:wait_for("a RESUME", function(state)
      return state.counters.resumes_ok == n and state.resumes[n].host
    end)
  end

  local function cut_and_wait(n)
    fake:fault { ["do"] = "rst" }
    return wait_resumed(n)
  end

  -- The main URL was taken, once with a warning that says why and then without one.
  local function assert_refused(says)
    local main = fake.gateway:match "//([^/]+)"
    assert.equal(main, wait_resumed(1))
    assert.equal(main, cut_and_wait(2))
    assert.matches(REFUSED .. ' reason="' .. says, g.stderr)
    assert.equal(1, g:count_log(REFUSED))
    assert.equal(0, trap.accepted)
    assert.equal(1, fake:state("counters").counters.identifies)
  end

  local NO_TLS = "%S+ without TLS %(ws://%), which the main URL has"
  local OTHER, OTHER_PLAIN = "%S+, which is neither localhost nor", "%S+, which is neither 127%.0%.0%.1 nor"
  local PORT, NONE = "port %d+ of %S+, but the main URL has port", "the gateway URL [^\n]* no valid port"

  for _, row in ipairs {
    { "without TLS", tls = true, url = "ws://localhost:PORT", says = NO_TLS },
    { "without TLS, of another port", tls = true, url = "ws://127.0.0.1:TRAP", says = NO_TLS },
    { "of another port", tls = true, url = "wss://localhost:TRAP", says = PORT },
    { "of another domain", tls = true, url = "wss://gateway.discord.gg.example:PORT", says = OTHER },
    { "of Discord, unlike the main URL", tls = true, url = "wss://gateway.discord.gg:PORT", says = OTHER },
    { "of a link-local address", tls = true, url = "wss://169.254.169.254:PORT", says = OTHER },
    { "of a link-local IPv6 address", tls = true, url = "wss://[fe80::1]:PORT", says = OTHER },
    { "of a name for cloud metadata", tls = true, url = "wss://metadata.google.internal:PORT", says = OTHER },
    { "that is none", tls = true, url = "wss://localhost:99999999", says = NONE },
    { "of another port, without any TLS", url = "ws://127.0.0.1:TRAP", says = PORT },
    { "of a link-local address, without any TLS", url = "ws://169.254.169.254:PORT", says = OTHER_PLAIN },
  } do
    it(row[1] .. " is refused", function()
      start(row.tls, row.url)
      fake:fault { ["do"] = "rst" }
      assert_refused(row.says)
    end)
  end

  for _, row in ipairs {
    { "of the main URL's own host", tls = true, url = "wss://localhost:PORT/?v=9", host = "localhost" },
    { "of this machine, as the main URL is", tls = true, url = "wss://127.0.0.1:PORT", host = "127.0.0.1" },
    { "without TLS, as the operator's own URL is", url = "ws://localhost:PORT", host = "localhost" },
  } do
    it(row[1] .. " is taken", function()
      start(row.tls, row.url)
      assert.equal(row.host .. ":" .. fake.gateway:match ":(%d+)", cut_and_wait(1))
      assert.equal(0, g:count_log(REFUSED))
    end)
  end

  it("in a session that another worker takes over is judged, too", function()
    start(true, "ws://127.0.0.1:TRAP")
    uv.kill(g:worker_pids()[1], "sigkill")
    assert_refused(NO_TLS)
  end)

  it("in a session of an earlier start is judged, too", function()
    start(true, "ws://127.0.0.1:TRAP")
    assert.equal(0, (g:stop()))
    assert.matches("ws://127.0.0.1:" .. trap.port, paths.read(g.state_dir .. "/shards"), 1, true)
    g = gateway.start {
      fake = fake, bot = bot_support.start(), state_dir = g.state_dir, env = { TIDEGATE_HURRY = HURRY },
    }
    assert_refused(NO_TLS)
  end)
end)

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
      assert.matches("given up [^\n]*sent an event with a sequence above 4294967295", t.gateway.stderr)
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
      text = '{"t":"READY","s":4294967296,"op":0,"d":{"session_id":"a"}}',
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
