-- The tool that runs Redis servers for specs (spec/support/redis.lua).

local process = require "spec.support.process"
local redis = require "spec.support.redis"
local uv = require "luv"
local loop = require "spec.support.loop"

after_each(redis.teardown)

local function cli(server, ...)
  local run = process.run { "redis-cli", "--no-auth-warning", "-u", server:url { host = "127.0.0.1" }, ... }
  return (run.stdout .. run.stderr):gsub("%s+$", "")
end

-- Whether anybody takes a connection on that port.
local function listens(port)
  local socket, answer = uv.new_tcp(), nil
  socket:connect("127.0.0.1", port, loop.callback(function(problem) answer = problem or "connected" end))
  loop.wait_for("an answer", function() return answer end)
  socket:close()
  return answer
end

describe("a Redis server of a spec", function()
  it("answers on a port of its own, and on another one's not", function()
    local one, other = redis.start(), redis.start()
    assert.equal("PONG", cli(one, "PING"))
    one:command("SET", "name", "one")
    assert.equal("one", cli(one, "GET", "name"))
    assert.is_false(other:command("GET", "name"))
    assert.not_equal(one.port, other.port)
    assert.same({ a = "1", b = "2" }, (function()
      one:command("HSET", "hash", "a", 1, "b", 2)
      return one:fields("HGETALL", "hash")
    end)())
  end)

  it("raises what Redis refuses, and tells it in a pipeline", function()
    local server = redis.start()
    server:command("SET", "text", "x")
    assert.error_matches(function() server:command("XLEN", "text") end, "refuses XLEN text: WRONGTYPE")
    local replies = server:pipeline { { "INCR", "n" }, { "XLEN", "text" }, { "MGET", "n", "none" } }
    assert.equal(1, replies[1])
    assert.matches("^WRONGTYPE", replies[2].error)
    assert.same({ "1", false }, replies[3])
  end)

  it("keeps its port while it is down, where nobody is answered", function()
    local server = redis.start { appendonly = true }
    local port = server.port
    server:command("XADD", "events", "7-1", "t", "READY")
    server:kill()
    assert.equal("ECONNREFUSED", listens(port))
    server:restart()
    assert.equal(port, server.port)
    assert.same({ { id = "7-1", fields = { t = "READY" } } }, server:stream "events")
    server:stop()
    server:restart()
    assert.equal(1, server:command("XLEN", "events"))
    server:restart { empty = true }
    assert.equal(0, server:command("DBSIZE"))
  end)

  it("has what was saved when it was stopped", function()
    local server = redis.start()
    server:command("SET", "name", "saved")
    server:stop(true)
    server:command("SET", "name", "lost", server:restart() and nil)
    server:kill()
    server:restart()
    assert.equal("saved", server:command("GET", "name"))
  end)

  it("lets in whom it is told to", function()
    local server = redis.start {
      password = "geheim", users = { "app on >pass@word ~tidegate:* +@all -flushall" },
    }
    assert.matches("NOAUTH", cli(server, "PING"))
    local function as(login, ...)
      return process.run { "redis-cli", "--no-auth-warning", "-u", server:url(login), ... }.stdout
    end
    assert.equal(("redis://:geheim@127.0.0.1:%d/0"):format(server.port), server:url { password = "geheim" })
    assert.equal("PONG\n", process.run({ "redis-cli", "-p", server.port, "-a", "geheim", "PING" }).stdout)
    assert.equal("PONG\n", as({ user = "app", password = "pass@word", db = 3 }, "PING"))
    assert.matches("NOPERM", as({ user = "app", password = "pass@word" }, "FLUSHALL"))
    assert.matches("NOPERM", as({ user = "app", password = "pass@word" }, "GET", "other"))
    assert.equal("PONG", server:command "PING")
  end)

  it("listens on a unix socket alone", function()
    local server = redis.start { unix = true }
    assert.equal("redis+unix://" .. server.socket .. "?db=1", server:url { db = 1 })
    assert.equal("PONG\n", process.run({ "redis-cli", "-s", server.socket, "PING" }).stdout)
    assert.equal("0", server:command("CONFIG", "GET", "port")[2])
  end)

  it("speaks TLS", function()
    local server = redis.start { tls = true }
    assert.matches("^rediss://localhost:%d+/0$", server:url())
    local run = process.run {
      "redis-cli", "--tls", "--cacert", server.ca, "-h", "localhost", "-p", server.port, "PING",
    }
    assert.equal("PONG\n", run.stdout)
  end)

  it("is full when its memory is", function()
    local server = redis.start { maxmemory = "3mb" }
    assert.error_matches(function()
      for i = 1, 100 do
        server:command("SET", i, ("x"):rep(100000))
      end
    end, "OOM command not allowed")
  end)

  it("stands still, and goes on", function()
    local server = redis.start()
    server:freeze()
    local client = process.start { "redis-cli", "-p", server.port, "INCR", "n" }
    assert.equal("connected", listens(server.port))
    assert.is_nil(client.ended)
    server:thaw()
    client:wait()
    assert.equal("1\n", client.stdout)
  end)

  it("is another one's replica, and takes its place", function()
    local master, replica = redis.start { password = "geheim" }, redis.start()
    master:command("SET", "name", "kept")
    replica:replica_of(master)
    assert.equal("kept", replica:command("GET", "name"))
    assert.error_matches(function() replica:command("SET", "name", "mine") end, "READONLY")
    master:command("SET", "name", "newer")
    replica:wait_replicated(master)
    master:kill()
    replica:promote()
    assert.equal("newer", replica:command("GET", "name"))
    assert.equal("OK", replica:command("SET", "name", "mine"))
  end)
end)
