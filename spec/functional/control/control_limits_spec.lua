-- What the control API bears from its clients: wrong, slow, many, and gone ones; and where it listens.

local gateway = require "spec.support.gateway"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"
local uv = require "luv"

local MIB = 1024 * 1024

local function get(path, headers)
  return ("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"):format(path, headers or "")
end

local function post(path, body, headers)
  return ("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n%s"):format(
    path, #body, headers or "", body)
end

local SOUNDS = '{"op":31,"d":{"guild_ids":["%d"]}}'

describe("the control API", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  local function start(options)
    options = options or {}
    options.bot = false
    s = scene.start(options)
    return s
  end

  local function connect()
    return raw_client.connect(s.gateway:control_url())
  end

  local function answer_to(text)
    local client = connect()
    client:write(text)
    return client:wait_closed()
  end

  describe("refuses", function()
    it("bodies that are not the JSON it needs, and says where", function()
      start()
      for body, wanted in pairs {
        [""] = "needs a body", ["{"] = "line 1, column 1", ['{"op":\n\n 8,}'] = "line 3, column 4",
        ["[]"] = "not a list", ["8"] = "line 1", ['{"op":8,"op":9}'] = "duplicate", ["{}x"] = "end of file",
        ['{"op":"\255"}'] = "byte 0xff", ['{"op":"\\u0000"}'] = "u0000", [("["):rep(5000)] = "depth",
      } do
        local answer = s.gateway:control("POST", "/shards/0/payload", { body = body })
        assert.equal(400, answer.status, body)
        assert.matches(wanted, answer:json().error, 1, true)
      end
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
    end)

    it("bodies over 1 MiB, announced or in chunks, and closes", function()
      start()
      local large = SOUNDS:format(1) .. (" "):rep(MIB - #SOUNDS + 1)
      assert.equal(200, s.gateway:control("POST", "/shards/0/payload", { body = large }).status)
      assert.matches("^HTTP/1.1 413 .*Connection: close.*1 MiB", answer_to(post("/payload", large .. " ")))
      local chunk = ("10000\r\n%s\r\n"):format((" "):rep(65536))
      local all = "POST /payload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      assert.matches("^HTTP/1.1 413 .*Connection: close", answer_to(all .. chunk:rep(17)))
      assert.matches("^HTTP/1.1 413 ", answer_to("POST /payload HTTP/1.1\r\nHost: localhost\r\n"
        .. "Content-Length: 99999999999\r\n\r\n"))
    end)

    it("large bodies of those who may not ask before it has read them", function()
      start { env = { TIDEGATE_CONTROL_SECRET = "open sesame" } }
      local client = connect()
      client:write "POST /payload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
      assert.matches("^HTTP/1.1 401 ", client:wait_closed())
    end)

    it("heads that are too long", function()
      start()
      assert.matches("^HTTP/1.1 431 ", answer_to(get("/" .. ("x"):rep(17000))))
      assert.matches("^HTTP/1.1 431 ", answer_to(get("/healthz", "X-Long: " .. ("x"):rep(17000) .. "\r\n")))
      assert.matches("^HTTP/1.1 431 ", answer_to(get("/healthz", ("X-Many: x\r\n"):rep(70))))
    end)

    it("what is not HTTP/1.1", function()
      start()
      for text, status in pairs {
        ["hello\r\n\r\n"] = 400, ["\22\3\1\2\0\1\0\1\252\3\3"] = 400, ["GET /\r\n\r\n"] = 505,
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] = 400, ["GET / HTTP/3.0\r\n\r\n"] = 505,
        ["GET /healthz HTTP/1.1\r\nNo colon\r\n\r\n"] = 400,
        ["POST /payload HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"] = 400,
        ["POST /payload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"] = 400,
        ["POST /payload HTTP/1.1\r\nContent-Length: -5\r\n\r\n"] = 400,
        ["GET /healthz HTTP/1.1\r\nExpect: miracles\r\n\r\n"] = 417,
      } do
        local wanted = ("^HTTP/1.1 %d .*Connection: close.*{\"error\":"):format(status)
        assert.matches(wanted, answer_to(text), nil, text)
      end
    end)
  end)

  describe("ends", function()
    it("clients that are slow with a head or a body, and idle ones", function()
      start { hurry = 20 }
      local idle, head, body, silent = connect(), connect(), connect(), connect()
      idle:write(get "/healthz")
      head:write "GET /healthz HT"
      body:write(post("/payload", (" "):rep(100)):sub(1, -50))
      idle:wait_for "ok"
      assert.matches("^HTTP/1.1 408 .*head of the request", head:wait_closed())
      assert.matches("^HTTP/1.1 408 .*body of the request", body:wait_closed())
      assert.equal("", silent:wait_closed())
      assert.equal(1, select(2, idle:wait_closed():gsub("HTTP/1.1", "")))
    end)

    it("nobody who sends one byte after the other, as long as it is in time", function()
      start()
      local client = connect()
      client.stream:nodelay(true)
      local text = get "/healthz" .. post("/nowhere", "{}")
      for i = 1, #text do
        client:write(text:sub(i, i))
        loop.turn()
      end
      client:wait_for "HTTP/1.1 404"
      assert.matches("^HTTP/1.1 200 ", client.received)
    end)
  end)

  describe("serves", function()
    it("200 clients at once", function()
      start { shards = 2, fake = { max_concurrency = 2 } }
      local clients = {}
      for i = 1, 200 do
        clients[i] = connect()
      end
      for i = 1, 200 do
        clients[i]:write(get(i % 2 == 0 and "/shards" or "/status"))
      end
      for i = 1, 200 do
        clients[i]:wait_for(i % 2 == 0 and '"shardId":1' or '"phase":"ready"')
        clients[i]:write(post("/nowhere", "{}"))
      end
      for i = 1, 200 do
        clients[i]:wait_for "HTTP/1.1 404"
      end
    end)

    it("requests that come all at once, in order, however long one takes", function()
      start { hurry = 1 }
      local client = connect()
      s.gateway:control("POST", "/shards/0/payload", { body = SOUNDS:format(1) })
      local parts = {}
      for i = 1, 40 do
        parts[i] = get "/timecheck" .. post("/shards/0/payload", SOUNDS:format(i)) .. get "/healthz"
          .. post("/shards/0/payload", "{") .. "HEAD /shards HTTP/1.1\r\n\r\n" .. get "/nowhere"
      end
      client:write(table.concat(parts))
      loop.wait_for("all answers", function() return client:count "HTTP/1.1 404" == 40 end)
      local order = {}
      for status in client.received:gmatch "HTTP/1.1 (%d+)" do
        order[#order + 1] = status
      end
      assert.equal(("200 200 200 400 200 404 "):rep(40), table.concat(order, " ") .. " ")
    end)

    it("HTTP/1.0, and whoever wants to close or to keep the connection", function()
      start()
      assert.matches("^HTTP/1.1 200 .*Connection: close", answer_to "GET /healthz HTTP/1.0\r\n\r\n")
      assert.matches("^HTTP/1.1 200 .*Connection: close", answer_to(get("/healthz", "Connection: close\r\n")))
      local client = connect()
      client:write "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
      client:wait_for '"ok"'
      assert.matches("Connection: keep%-alive", client.received)
      client:write(get("/timecheck", "Upgrade: h2c\r\nConnection: Upgrade\r\n"))
      client:wait_for '"message"'
    end)

    it("chunks, and whoever asks before sending a body", function()
      start()
      local client = connect()
      client:write "POST /shards/0/payload HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
      client:wait_for "HTTP/1.1 100 Continue\r\n\r\n"
      client:write "{}"
      client:wait_for "HTTP/1.1 400"
      client:write("POST /shards/0/payload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. '5\r\n{"op"\r\n1c;x=y\r\n:31,"d":{"guild_ids":["1"]}}\r\n0\r\nTrailer: x\r\n\r\n')
      client:wait_for '{"sent":true}'
      client:write "POST /nowhere HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
      assert.equal(1, select(2, client:wait_closed():gsub("100 Continue", "")))
      assert.matches("HTTP/1.1 404", client.received)
    end)

    it("a client that has said all it will ever say", function()
      start()
      local client = connect()
      client:write(get "/healthz" .. post("/shards/0/payload", SOUNDS:format(1)))
      client.stream:shutdown()
      assert.matches('"ok".*{"sent":true}$', client:wait_closed())
    end)

    it("others when clients vanish while they wait", function()
      start { shards = 2, fake = { max_concurrency = 2 }, hurry = 1 }
      s.fake:fault { at = "resume", ["do"] = "delay", ms = 1500, shard = 1 }
      s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
      s.gateway:wait_for_log "shard 1: [^\n]*4000"
      local clients = {}
      for i = 1, 20 do
        clients[i] = connect()
        clients[i]:write(post("/shards/1/payload", SOUNDS:format(i)):rep(1 + i % 2))
      end
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
      for i, client in ipairs(clients) do
        client[i % 3 == 0 and "reset" or "close"](client)
      end
      assert.equal(200, s.gateway:control("POST", "/shards/1/payload", { body = SOUNDS:format(99) }).status)
    end)
  end)

  describe("listens", function()
    local function ends(options, code)
      local g = gateway.start(options)
      assert.equal(code, (g.process:wait(20000)))
      return g.stderr
    end

    it("on a unix socket of the user's own, in the place of a dead one", function()
      local path = paths.tmp() .. "/control.sock"
      local dead = uv.new_pipe(false)
      assert(dead:bind(path))
      local copy = paths.tmp() .. "/dead.sock"
      assert(uv.fs_link(path, copy)) -- closing the pipe takes its own name away
      dead:close()
      loop.turn()
      assert(uv.fs_rename(copy, path))
      start { env = { TIDEGATE_CONTROL = "unix:" .. path } }
      assert.equal(200, s.gateway:control("GET", "/shards", { headers = { Host = "gateway" } }).status)
      local status = uv.fs_stat(path)
      assert.same({ "socket", 384 }, { status.type, status.mode % 512 }) -- 0600
      local log = ends({ fake = s.fake, env = { TIDEGATE_CONTROL = "unix:" .. path } }, 78)
      assert.matches("the process " .. s.gateway.pid .. " does", log)
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
      assert.equal(0, (s.gateway:stop()))
      assert.is_nil((uv.fs_stat(path)))
    end)

    it("nowhere that it cannot, and says what to do", function()
      start()
      local busy = s.gateway:control_url():gsub("http://", "")
      local log = ends({ fake = s.fake, env = { TIDEGATE_CONTROL = busy } }, 78)
      assert.matches("cannot listen on " .. busy:gsub("%p", "%%%0") .. ": address already in use. [^\n]*"
        .. "another gateway[^\n]*TIDEGATE_CONTROL", log)
      local file = paths.write(paths.tmp() .. "/file", "precious")
      log = ends({ fake = s.fake, env = { TIDEGATE_CONTROL = "unix:" .. file } }, 78)
      assert.matches("that is no socket", log)
      assert.equal("precious", paths.read(file))
      assert.matches("directory", ends({ fake = s.fake, env = { TIDEGATE_CONTROL = "unix:/nowhere/x" } }, 78))
      assert.matches("may have 107 bytes", ends({ fake = s.fake,
        env = { TIDEGATE_CONTROL = "unix:/" .. ("x"):rep(120) } }, 78))
      assert.matches("control.authorization: is required", ends({ fake = s.fake,
        env = { TIDEGATE_CONTROL = "0.0.0.0:0" } }, 78))
      assert.matches("cannot listen on 192.0.2.1:1: ", ends({ fake = s.fake,
        env = { TIDEGATE_CONTROL = "192.0.2.1:1", TIDEGATE_CONTROL_SECRET = "open sesame" } }, 78))
    end)

    it("elsewhere with a secret, for everybody who has it", function()
      start { env = { TIDEGATE_CONTROL = "0.0.0.0:0", TIDEGATE_CONTROL_SECRET = "open sesame" } }
      local url = s.gateway:control_url():gsub("0%.0%.0%.0", "127.0.0.1")
      local headers = { Authorization = "open sesame", Host = "gateway.example", Origin = "https://x" }
      assert.equal(200, http.request("GET", url .. "/shards", { headers = headers }).status)
      assert.equal(401, http.request("GET", url .. "/shards").status)
    end)

    it("not at all when it is off", function()
      start { env = { TIDEGATE_CONTROL = "off" } }
      s.gateway:wait_for_log "the control API is off"
    end)

    it("until the end of the gateway, and answers whoever still waits", function()
      start { shards = 2, fake = { max_concurrency = 2 } }
      s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 1 }
      s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
      s.gateway:wait_for_log "shard 1: [^\n]*4000"
      local client = connect()
      client:write(get "/timecheck" .. post("/shards/1/payload", SOUNDS:format(1)) .. get "/status"
        .. post("/shutdown", ""))
      client:wait_for '"message"'
      assert.equal(0, (s.gateway:stop()))
      assert.matches("HTTP/1.1 503 ", client:wait_closed())
    end)
  end)
end)
