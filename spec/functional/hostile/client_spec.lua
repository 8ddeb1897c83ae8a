-- Clients of the control API that want all of it for themselves.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"

local PLACES = 512

describe("clients that never come to an end", function()
  local s

  -- Shard 1 is another host's, which may ask for its slots here.
  setup(function() s = scene.start { env = { TOTAL_SHARDS = "2", LAST_SHARD_ID = "0" } } end)
  after_each(raw_client.cleanup)
  teardown(scene.stop)

  -- All places and some more are taken by clients that begin like this, and go on byte by byte.
  local function crowd(beginning)
    local clients = {}
    for i = 1, PLACES + 8 do
      clients[i] = raw_client.connect(s.gateway:control_url())
      clients[i]:write(beginning)
    end
    return clients
  end

  local function assert_served(clients, more)
    local tries = 0 -- until the crowd is older than a moment
    repeat
      tries = tries + 1
      assert.is_true(tries < 1000)
    until s.gateway:control("GET", "/healthz").status == 200
    for _ = 1, 3 do
      for _, client in ipairs(clients) do
        if not client.closed then client:write(more) end
      end
      for _, path in ipairs { "/healthz", "/readyz", "/shards", "/status" } do
        assert.equal(200, s.gateway:control("GET", path).status, path)
      end
      loop.turn()
    end
  end

  for what, says in pairs {
    ["with a head"] = { "GET /healthz HTTP/1.1\r\nX-Name: ", "x" },
    ["with a first line"] = { "GET /healthz", "z" },
    ["with a body"] = { "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{", " " },
    ["since they say nothing"] = { "", "" },
  } do
    it(what .. " keep nobody out", function()
      local clients = crowd(says[1])
      assert_served(clients, says[2])
      -- The oldest have made room; the youngest are still waited for.
      clients[1]:wait_closed()
      assert.is_false(clients[PLACES].closed)
    end)
  end

  local ASK = "POST /identify/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

  it("do not cost who has come to an end its answer", function()
    local waiting = raw_client.connect(s.gateway:control_url())
    waiting:write(ASK)
    waiting:wait_for "granted"
    waiting:write(ASK) -- the bucket is taken for some seconds now
    assert_served(crowd "GET /healthz HTTP/1.1\r\nX-Name: ", "x")
    loop.wait_for("the second slot", function() return waiting:count "granted" == 2 end)
  end)
end)

it("more clients than there are places, each with a request of its own: the rest gets 503", function()
  finally(scene.stop)
  finally(raw_client.cleanup)
  -- A shard identifies every five seconds: commands for the last ones wait for a while.
  local s = scene.start { shards = 8, ready = false, spawn_shard_delay = 5300 * paths.slow }
  s.gateway:wait_ready(1)
  local body = '{"op":31,"d":{"guild_ids":["1"]}}'
  local clients = {}
  for i = 1, PLACES + 8 do
    clients[i] = raw_client.connect(s.gateway:control_url())
    clients[i]:write(("POST /shards/%d/payload HTTP/1.1\r\nHost: localhost\r\n"):format(4 + i % 4)
      .. ("Content-Length: %d\r\n\r\n%s"):format(#body, body))
  end
  for i, client in ipairs(clients) do
    if i <= PLACES then
      assert.is_false(client.closed)
    else
      assert.matches("^HTTP/1.1 503 .*too many connections", client:wait_closed())
    end
  end
end)

-- The figures of this script have 4 MB, which a unix socket does not hold.
describe("clients that ask for more than they read, or say more than they end", function()
  local s

  setup(function()
    local path = paths.tmp() .. "/control.sock"
    s = scene.start { env = { TIDEGATE_CONTROL = "unix:" .. path }, script = [[
local gateway = require "tidegate"
if gateway.role == "manager" then
  for i = 1, 1000 do
    gateway.metrics.gauge("long", { labels = { text = i .. ("x"):rep(3900) } }):set(i)
  end
end
]] }
  end)
  after_each(raw_client.cleanup)
  teardown(scene.stop)

  local function connect(count, text)
    local clients = {}
    for i = 1, count do
      clients[i] = raw_client.connect(s.gateway:control_url(), { reads = false })
      clients[i]:write(text)
    end
    return clients
  end

  local function assert_others_are_served()
    for _, path in ipairs { "/healthz", "/readyz", "/shards", "/status" } do
      assert.equal(200, s.gateway:control("GET", path).status, path)
    end
  end

  it("hold a bounded number of large answers", function()
    assert.is_true(#s.gateway:control("GET", "/metrics").body > 3900000)
    local clients = connect(40, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert_others_are_served()
    local refused = 0
    for _, client in ipairs(clients) do
      client:read()
      client:wait_for "\r\n\r\n"
      refused = refused + (client.received:find("^HTTP/1.1 503 ") and 1 or 0)
      client:close()
    end
    assert.is_true(refused > 0 and refused < 40, refused .. " of 40 were refused")
    assert.equal(200, s.gateway:control("GET", "/metrics").status)
  end)

  it("hold a bounded number of large bodies", function()
    local head = "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    local clients = connect(100, head .. (" "):rep(990000))
    for _, client in ipairs(clients) do
      client:read()
    end
    loop.wait_for("one that is refused", function()
      for _, client in ipairs(clients) do
        if client.received:find "^HTTP/1.1 503 " then
          return true
        end
      end
    end)
    assert_others_are_served()
    -- Which are refused depends on whose bytes were read first.
    local held
    for _, client in ipairs(clients) do
      if client.received == "" and not client.closed then
        held = client
      end
    end
    held:write((" "):rep(10000))
    held:wait_for "HTTP/1.1 "
  end)
end)
