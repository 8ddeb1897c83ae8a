-- A page in a browser on the gateway's machine reaches its loopback addresses: it must not reach the
-- control API.

local http = require "spec.support.http"
local scene = require "spec.support.scene"

describe("a web page", function()
  local s

  setup(function() s = scene.start {} end)
  teardown(scene.stop)

  local function status(path, headers)
    local method = path == "/reload" and "POST" or "GET"
    return s.gateway:control(method, path, { headers = headers }).status
  end

  -- A name of the page's own that leads to this machine, or what a browser says of a request. Names that
  -- resolve to loopback are as good as any other: who owns them decides where they lead.
  for what, headers in pairs {
    ["by a name of its own"] = { Host = "rebound.example:80" },
    ["by a name that begins like an address"] = { Host = "127.evil.example" },
    ["by a name that begins with an address"] = { Host = "127.0.0.1.evil.example:8377" },
    ["by a name that ends like localhost"] = { Host = "evil.localhost" },
    ["by a name that begins like localhost"] = { Host = "localhost.evil.example" },
    ["by another address"] = { Host = "192.0.2.1:8377" },
    ["by an address that is short for a loopback one"] = { Host = "127.1" },
    ["by the address of everybody"] = { Host = "0.0.0.0:8377" },
    ["by a name behind an address in brackets"] = { Host = "[::1].evil.example" },
    ["of another site"] = { ["Sec-Fetch-Site"] = "cross-site" },
    ["of a site beside it"] = { ["Sec-Fetch-Site"] = "same-site" },
    ["with its origin"] = { Origin = "https://example.com" },
    ["with an origin on this machine"] = { Origin = "http://localhost:3000" },
    ["with no origin that it would name"] = { Origin = "null" },
  } do
    it(what .. " can neither read nor do anything", function()
      for _, path in ipairs { "/shards", "/status", "/metrics", "/reload", "/gateway/bot", "/live" } do
        assert.equal(403, status(path, headers), path)
      end
      assert.equal(200, status("/healthz", headers))
    end)
  end

  for what, headers in pairs {
    ["localhost"] = { Host = "localhost:8377" },
    ["LOCALHOST, as names have no case"] = { Host = "LOCALHOST" },
    ["a loopback address"] = { Host = "127.0.0.1:8377" },
    ["another loopback address"] = { Host = "127.9.8.7" },
    ["the loopback address of IPv6"] = { Host = "[::1]:8377" },
    ["an address that its user has typed"] = { ["Sec-Fetch-Site"] = "none" },
    ["the gateway's own page"] = { ["Sec-Fetch-Site"] = "same-origin" },
  } do
    it("does not keep out who comes by " .. what, function()
      assert.equal(200, status("/shards", headers))
    end)
  end

  it("has the status page under no name of its own, but may have a link to it", function()
    for _, path in ipairs { "/", "/page/main.js" } do
      local function get(headers)
        headers.Accept = "text/html"
        return s.gateway:control("GET", path, { headers = headers }).status
      end
      assert.equal(403, get { Host = "rebound.example" })
      assert.equal(403, get { Host = "127.evil.example", ["Sec-Fetch-Site"] = "same-origin" })
      assert.equal(200, get { ["Sec-Fetch-Site"] = "cross-site", ["Sec-Fetch-Mode"] = "navigate" })
    end
  end)

  it("is the gateway's own only at the very name and port that it asks", function()
    local function reload(origin, host)
      return status("/reload", { Origin = origin, Host = host, ["Sec-Fetch-Site"] = "same-origin" })
    end
    assert.equal(200, reload("http://localhost:8377", "localhost:8377"))
    assert.equal(200, reload("http://127.0.0.1:9", "127.0.0.1:9"))
    assert.equal(403, reload("http://localhost:3000", "localhost:8377"))
    assert.equal(403, reload("https://localhost:8377", "localhost:8377"))
    assert.equal(403, reload("http://rebound.example", "rebound.example"))
    assert.equal(403, reload("null", "localhost:8377"))
    assert.equal(403, status("/reload", {
      Origin = "http://localhost:8377", Host = "localhost:8377", ["Sec-Fetch-Site"] = "cross-site",
    }))
  end)

  it("that gets through all the same finds no session there", function()
    for _, shard in ipairs(s.gateway:control("GET", "/shards"):json()) do
      assert.is_nil(shard.sessionId)
    end
    local url = s.gateway:control_url():gsub("127.0.0.1", "localhost")
    assert.not_matches("sessionId", http.request("GET", url .. "/shards").body)
  end)
end)

describe("with a secret", function()
  after_each(scene.stop)

  it("sessions are shown, and the secret alone decides", function()
    local s = scene.start { env = { TIDEGATE_CONTROL_SECRET = "open sesame, please" } }
    local shards = s.gateway:control("GET", "/shards", { headers = { Host = "gateway.example" } }):json()
    assert.is_string(shards[1].sessionId)
    assert.equal(401, s.gateway:control("GET", "/shards", { secret = false }).status)
  end)
end)
