-- Connections that do not come about: refused upgrades, certificates, the wrong kind of port.

local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local trial = require "spec.support.fault_trial"

describe("an upgrade that is refused", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  local function refuse(status, more)
    local fault = { at = "upgrade", ["do"] = "status", status = status }
    for name, value in pairs(more or {}) do
      fault[name] = value
    end
    t.fake:fault(fault)
    t.fake:fault { ["do"] = "rst" }
  end

  for _, status in ipairs { 401, 500, 502, 503, 504, 520, 522 } do
    it("with " .. status .. " is tried again, and the session is kept", function()
      local log = t:survives({ resumes = 1, attempts = 1, connections = 1 }, function()
        refuse(status, { count = 2, html = true })
      end)
      local _, said = log:gsub("warn  worker 0 shard 0: connecting failed[^\n]* next=resume "
        .. "[^\n]* HTTP status " .. status, "")
      assert.equal(2, said, log)
    end)
  end

  it("with 400 is an error of ours, said as such, and tried again", function()
    local log = t:survives({ resumes = 1, connections = 1 }, function()
      refuse(400)
    end)
    assert.matches("error worker 0 shard 0: connecting failed .* HTTP status 400", log)
  end)

  it("with a redirection is not followed", function()
    t:survives({ resumes = 1, connections = 1 }, function()
      refuse(302, { headers = { Location = "https://example.com/" } })
    end)
  end)

  for _, how in ipairs { "rst", "fin" } do
    it("by " .. how .. " is tried again", function()
      t:survives({ resumes = 1, connections = 1 }, function()
        t.fake:fault { at = "upgrade", ["do"] = how, count = 2 }
        t.fake:fault { ["do"] = "rst" }
      end)
    end)
  end
end)

describe("an upgrade that shows that this address is blocked", function()
  local t

  setup(function() t = trial.start { shards = 2 } end)
  teardown(trial.stop)

  -- Ms between the refusal and the next handshake, of whichever shard.
  local function pause_after(status, retry_after, expected)
    local from = #t.scene:list "handshakes"
    local log = t:survives({ resumes = 2, connections = 2 }, function()
      t.fake:fault {
        at = "upgrade", ["do"] = "status", status = status, html = true, retry_after = retry_after,
      }
      t.fake:fault { ["do"] = "rst", shard = 0 }
      t.fake:wait_for("the refusal", function(state)
        return #state.handshakes == from + 1
      end, { only = "handshakes" })
      t.gateway:wait_for_log "this address is blocked[^\n]*\n"
      t.fake:fault { ["do"] = "rst", shard = 1 } -- it has to wait as well
    end)
    local handshakes = t.scene:list "handshakes"
    assert.equal(from + 3, #handshakes)
    local pause = handshakes[from + 2].at - handshakes[from + 1].at
    assert.is_true(pause >= expected and pause < expected + 1000 * paths.slow, ("%d ms"):format(pause))
    return log
  end

  it("with 429 keeps all shards back for as long as Retry-After says", function()
    local log = pause_after(429, 0.5, 500)
    assert.matches("error worker 0 shard 0: this address is blocked for a while[^\n]*HTTP status 429", log)
    assert.matches("no shard of this worker connects until then code=429 delay=500 ", log)
  end)

  for _, status in ipairs { 429, 403 } do
    it("with " .. status .. " and no Retry-After keeps all shards back for long", function()
      pause_after(status, nil, 120000 / t.given.hurry)
    end)
  end
end)

describe("TLS", function()
  local fakes = {}

  local function fake(options)
    local started = fake_discord.start(options)
    fakes[#fakes + 1] = started
    return started
  end

  after_each(function()
    for _, each in ipairs(fakes) do
      each:stop()
    end
    fakes = {}
    gateway.teardown()
  end)

  -- The gateway information comes from one fake without TLS, and leads to another one.
  local function run(gateway_url, ca)
    return gateway.start { fake = fake { shards = 1 }, workers = 1, env = {
      GATEWAY_URL = gateway_url, TIDEGATE_CA_FILE = ca, TIDEGATE_HURRY = trial.HURRY / paths.slow,
    } }
  end

  -- It says why, tries again, and ends when asked to.
  local function assert_refused(g, why)
    loop.wait_for(function()
      return why .. "; the log ends:\n" .. g.stderr:sub(-3000)
    end, function()
      return g:count_log("connecting failed.*" .. why) >= 2
    end)
    assert.is_nil(g.process.ended)
    assert.equal(0, g:ready_shards())
    assert.equal(0, g:stop())
  end

  it("refuses a certificate of an authority that is not trusted, with words", function()
    local tls, other = fake { tls = true }, fake { tls = true }
    local g = run(tls.gateway, other.ca)
    assert_refused(g, "the certificate of localhost %(127%.0%.0%.1%) is refused: .*tls%.ca_file")
    assert.equal(0, tls:state("counters").counters.handshakes)
  end)

  it("refuses a certificate that the system does not trust", function()
    local g = run(fake { tls = true }.gateway)
    assert_refused(g, "the certificate of localhost %(127%.0%.0%.1%) is refused")
  end)

  it("refuses a certificate of another host", function()
    local tls = fake { tls = true, listen = "127.0.0.2:0" }
    local g = run("wss://127.0.0.2:" .. tls.gateway:match "%d+$", tls.ca)
    assert_refused(g, "the certificate of 127%.0%.0%.2 is refused: .*mismatch")
  end)

  it("says so when the port does not speak it", function()
    local plain = fake {}
    local g = run(plain.gateway:gsub("^ws:", "wss:"), fake({ tls = true }).ca)
    assert_refused(g, "TLS with 127%.0%.0%.1 failed")
  end)

  it("says so when the port wants it", function()
    local tls = fake { tls = true }
    local g = run(tls.gateway:gsub("^wss:", "ws:"), tls.ca)
    assert_refused(g, "localhost")
  end)

  it("names the file when the certificates to trust cannot be read", function()
    local nowhere = paths.tmp() .. "/no-such-ca.pem"
    local g = run("wss://localhost:1", nowhere)
    local exit_code = g.process:wait()
    assert.is_true(exit_code ~= 0)
    assert.matches(nowhere, g.stderr, 1, true)
  end)

  it("goes to the host that READY names, by its own name", function()
    local s = scene.start { fake = { tls = true }, hurry = trial.HURRY / paths.slow }
    s.fake:settings { resume_url = s.fake.gateway:gsub("localhost", "127.0.0.1") .. "/?v=9&encoding=etf" }
    s.fake:fault { ["do"] = "close", code = 4006 }
    s.fake:wait_for("a new session", function(state)
      return state.counters.identifies_ok == 2
    end, { only = "counters" })
    s.fake:fault { ["do"] = "rst" }
    s.fake:wait_for("the resume", function(state)
      return state.counters.resumes_ok == 1
    end, { only = "counters" })
    local resume = s:list("resumes")[1]
    assert.matches("^127%.0%.0%.1:", resume.host)
    local handshakes = s:list "handshakes"
    assert.equal("/?v=10&encoding=json&compress=zlib-stream", handshakes[#handshakes].target)
    assert.same({}, s:list "violations")
    scene.stop()
  end)
end)

it("plain ws:// does without TLS", function()
  local s = scene.start {}
  finally(scene.stop)
  assert.matches("^ws://", s.fake.gateway)
  assert.matches("connecting to 127.0.0.1:%d+ next=identify", s.gateway.stderr)
end)
