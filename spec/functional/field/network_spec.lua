-- Reports from the field: what stands between the gateway and Discord. Each case is a row of a table.

local bot_support = require "spec.support.bot"
local connect_proxy = require "spec.support.connect_proxy"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local hidden_discord = require "spec.support.hidden_discord"
local middlebox = require "spec.support.middlebox"
local names = require "spec.support.names"
local paths = require "spec.support.paths"
local rest_server = require "spec.support.rest_server"
local scene = require "spec.support.scene"

local HTML = "<!DOCTYPE html><html><head><title>Access denied</title></head><body>error 1015</body></html>"
local JSON = '{"message":"You are being rate limited.","retry_after":%s,"global":%s}'
local UNTOLD = 300000 / 20 -- ms: five minutes, and TIDEGATE_HURRY

-- The date of HTTP for so many seconds from now.
local function date(seconds)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + seconds)
end

-- GET /gateway/bot is answered with `status`, `body` and, if given, `retry_after`. Then either
--   waits   it waits at least so many ms, asks again, is answered and starts; or
--   told    it says in the log that it waits about so many ms, and ends with 0 by SIGTERM; or
--   exit    it ends with this code; then `says` stands in the log
local REST = {
  { "1015 with Retry-After", status = 429, body = HTML, retry_after = 1, waits = 1000 },
  { "1015 with Retry-After as a date", status = 429, body = HTML, retry_after = date, waits = 500 },
  { "1015 with an empty body", status = 429, body = "", retry_after = 1, waits = 1000 },
  { "1020 with Retry-After", status = 403, body = HTML, retry_after = 1, waits = 1000 },
  { "a 503 page with Retry-After", status = 503, body = HTML, retry_after = 1, waits = 1000 },
  { "Cloudflare's 520 with Retry-After", status = 520, body = HTML, retry_after = 1, waits = 1000 },
  { "the global limit", status = 429, body = JSON:format("1.2", "true"), waits = 1200 },
  { "a limit longer than a start's patience", status = 429, body = JSON:format("40", "true"), told = 40000 },
  { "a limit told by the header", status = 429, body = "{}", retry_after = 40, told = 40000 },
  { "1015 for two hours", status = 429, body = HTML, retry_after = 7200, told = 7200000 },
  { "1015 without Retry-After", status = 429, body = HTML, told = UNTOLD },
  { "1020 without Retry-After", status = 403, body = HTML, told = UNTOLD },
  { "1020 in JSON", status = 403, body = '{"message":"internal network error","code":40333}', told = UNTOLD },
  { "429 with a list for a body", status = 429, body = "[]", told = UNTOLD },
  { "429 with a bare number for a body", status = 429, body = "1015", told = UNTOLD },
  { "Retry-After: -5", status = 429, body = HTML, retry_after = -5, told = UNTOLD },
  { "Retry-After: NaN", status = 429, body = HTML, retry_after = "NaN", told = UNTOLD },
  { "Retry-After of 32,000 years", status = 429, body = HTML, retry_after = "1000000000000", told = UNTOLD },
  { "retry_after of 32,000 years", status = 429, body = JSON:format("1e12", "false"), told = UNTOLD },
  { "negative retry_after", status = 429, body = JSON:format("-1", "false"), told = UNTOLD },
  { "a captive portal", status = 200, body = HTML, exit = 69, says = "a login page of the network" },
  { "a captive portal's redirect", status = 302, body = HTML, exit = 69, says = "a login page of the" },
  { "a 5xx page", status = 502, body = HTML, exit = 69, says = "502" },
  { "an empty 200", status = 200, body = "", exit = 69, says = "REST_URL" },
}

describe("GET /gateway/bot is answered by", function()
  local rest
  after_each(function()
    rest:close()
    gateway.teardown()
  end)

  for _, row in ipairs(REST) do
    it(row[1], function()
      local fake = fake_discord.start { shards = 1 }
      local retry_after = row.retry_after
      if type(retry_after) == "function" then
        retry_after = retry_after(2)
      end
      local refusal = { row.status, { ["Retry-After"] = retry_after }, row.body }
      rest = rest_server.start(row.waits and { refusal, rest_server.info(fake) } or { refusal })
      local g = gateway.start {
        fake = fake, bot = bot_support.start(), env = { REST_URL = rest.url, TIDEGATE_HURRY = 20 },
      }
      if row.waits then
        g:wait_ready(1)
        assert.matches("waiting until %d+%-%d+%-%d+ %d+:%d+:%d+ UTC, then asking again", g.stderr)
        local asked = #rest.requests -- the first answer may have been too late on a slow machine
        assert.is_true(asked == 2 or paths.slow > 1 and asked == 3, tostring(asked))
        assert.is_true(rest.requests[asked].at - rest.requests[1].at >= row.waits)
      elseif row.told then
        local delay = g:wait_for_log "waiting until [^\n]*, then asking again attempt=1 delay=(%d+)"
        assert.is_true(delay - row.told >= 0 and delay - row.told <= 100, delay)
        assert.equal(0, (g:stop()))
        assert.equal(1, #rest.requests)
        assert.equal(0, fake:state("counters").counters.handshakes)
      else
        assert.equal(row.exit, (g.process:wait()))
        assert.matches(row.says, g.stderr, 1, true)
      end
    end)
  end
end)

-- gateway.discord.test has two addresses. At the first, `box` takes the connections
-- (spec/support/middlebox.lua), at the second is Discord. The shard becomes ready by the second, and begins
-- with that one when it resumes.
--   tls    wss
--   log    stands in the log
local BROKEN_ADDRESSES = {
  { "mute in TLS", tls = true, box = {}, log = "takes connections, but does not answer in TLS" },
  { "mute in the upgrade", box = {}, log = "takes connections, but does not answer the WebSocket upgrade" },
  { "mute before HELLO", box = { mute_after = "\r\n\r\n" }, log = "no HELLO came" },
  { "closed without a word", tls = true, box = { closes = true } },
  { "of another service", box = { says = "SSH-2.0-OpenSSH_9.2\r\n" } },
  { "of another service, by TLS", tls = true, box = { says = "SSH-2.0-OpenSSH_9.2\r\n" } },
  { "of a box whose other side is down", box = { says = "HTTP/1.1 502 Bad\r\n\r\n" }, log = "status 502" },
}

describe("of the gateway's two addresses the first is", function()
  after_each(function()
    scene.stop()
    middlebox.cleanup()
  end)

  for _, row in ipairs(BROKEN_ADDRESSES) do
    it(row[1], function()
      local wrap, why = names.wrap { ["gateway.discord.test"] = { "127.0.0.1", "127.0.0.2" } }
      if not wrap then
        pending(why)
        return
      end
      local fake = fake_discord.start { shards = 1, listen = "127.0.0.2:0", tls = row.tls }
      local port = fake.gateway:match ":(%d+)$"
      local url = (row.tls and "wss" or "ws") .. "://gateway.discord.test:" .. port
      fake:settings { url = url, resume_url = url }
      row.box.to = row.box.mute_after and "127.0.0.2:" .. port
      local box = middlebox.start("127.0.0.1", tonumber(port), row.box)
      local rest = rest_server.start { rest_server.info(fake, { url = url }) }
      local env = { REST_URL = rest.url, TIDEGATE_HURRY = 5 }
      local g = gateway.start { fake = fake, bot = bot_support.start(), wrap = wrap, env = env }
      g:wait_ready(1, 30000)
      rest:close()
      assert.equal(1, box.accepted)
      if row.log then
        assert.matches(row.log, g.stderr, 1, true)
      end
      fake:fault { ["do"] = "close", code = 4000, shard = 0 }
      fake:wait_for("a RESUME", function(state)
        return state.counters.resumes_ok == 1
      end, { only = "counters" })
      assert.equal(1, box.accepted)
      assert.equal(1, fake:state("counters").counters.identifies)
    end)
  end

  it("mute, and so is the second: the log says what it waits for, nothing is burnt", function()
    local wrap, why = names.wrap { ["gateway.discord.test"] = { "127.0.0.1", "127.0.0.2" } }
    if not wrap then
      pending(why)
      return
    end
    local first = middlebox.start("127.0.0.1", 0)
    local second = middlebox.start("127.0.0.2", first.port)
    local url = "wss://gateway.discord.test:" .. first.port
    local s = scene.start { ready = false, wrap = wrap, hurry = 20, env = { GATEWAY_URL = url } }
    local pattern = "connecting failed [^\n]*no connection within the time allowed: gateway.discord.test "
      .. "%(127.0.0.[12]%) is connected, but does not answer in TLS"
    s.gateway:wait_for_log(pattern)
    assert.equal(1, first.accepted)
    assert.equal(1, second.accepted)
    assert.equal(0, s:counters().identifies)
  end)
end)

describe("of REST's two addresses the first is", function()
  after_each(function()
    scene.stop()
    middlebox.cleanup()
  end)

  for _, row in ipairs { { "mute in TLS", tls = true }, { "mute" } } do
    it(row[1] .. ", and the next try takes the second", function()
      local wrap, why = names.wrap { ["rest.discord.test"] = { "127.0.0.1", "127.0.0.2" } }
      if not wrap then
        pending(why)
        return
      end
      local fake = fake_discord.start { shards = 1, listen = "127.0.0.2:0", tls = row.tls }
      local port = fake.rest:match ":(%d+)/"
      local rest = ("%s://rest.discord.test:%d/api/v10"):format(row.tls and "https" or "http", port)
      local box = middlebox.start("127.0.0.1", tonumber(port))
      local env = { REST_URL = rest, TIDEGATE_HURRY = 20 }
      local g = gateway.start { fake = fake, bot = bot_support.start(), wrap = wrap, env = env }
      g:wait_for_log "Discord recommends 1 shard"
      assert.equal(1, g:count_log "no gateway information yet attempt=1 ")
      assert.equal(1, box.accepted)
    end)
  end
end)

-- `policy` is the proxy's answer, `login` what it wants (spec/support/connect_proxy.lua), `given` what it
-- gets; `says` what the log says of it, as a pattern, for REST and for the gateway.
local PROXIES = {
  { "wants a login", login = "user:secret", says = "wants a login %(407%)" },
  { "does not like the login", login = "user:secret", given = "user:wrong@",
    says = "does not accept the user and password in its URL %(407%)" },
  { "forbids the host", policy = 403, says = "does not allow connections to %S+ %(403%)" },
  { "cannot reach the host", policy = 502, says = "cannot connect to %S+: it answers 502" },
  { "is overloaded", policy = 429, says = "cannot connect to %S+: it answers 429" },
  { "breaks off", policy = "close",
    says = { "the connection broke", "broke the connection off when it was asked for" } },
  { "is mute", policy = "mute", says = { "the proxy did not answer CONNECT", "does not answer CONNECT" } },
  { "speaks something else", policy = "220 smtp.test ESMTP\r\n",
    says = { ": ", "does not answer CONNECT as HTTP has it" } },
  { "is not there", gone = true, says = "Connection refused" },
}

describe("the proxy", function()
  after_each(function()
    gateway.teardown()
    connect_proxy.cleanup()
  end)

  for _, row in ipairs(PROXIES) do
    it(row[1] .. ": the log says so, of REST and of the gateway; no identify is spent", function()
      local fake, proxy, place = hidden_discord.start { tls = true }
      local says = type(row.says) == "table" and row.says or { row.says, row.says }
      local url = proxy.url:gsub("http://", "http://" .. (row.given or ""))
      proxy.policy, proxy.login = function() return row.policy end, row.login
      if row.gone then
        proxy:close()
      end
      local variables = { https_proxy = url, TIDEGATE_HURRY = 20 }
      local environment = hidden_discord.env(place, variables)
      local g = gateway.start { fake = fake, bot = bot_support.start(), env = environment }
      local which = "[^\n]*127.0.0.1:" .. proxy.port .. " %(https_proxy%)[^\n]*"
      g:wait_for_log("no gateway information yet " .. which .. says[1])
      g:stop()
      variables.REST_URL, variables.no_proxy = fake.rest, "localhost"
      local again = gateway.start { fake = fake, bot = bot_support.start(), env = variables }
      again:wait_for_log("connecting failed [^\n]*127.0.0.1:" .. proxy.port .. "[^\n]*" .. says[2])
      assert.equal(0, again:count_log "blocked for a while")
      assert.equal(0, fake:state("counters").counters.identifies)
      assert.is_nil((g.stderr .. again.stderr):find("wrong", 1, true))
    end)
  end
end)
