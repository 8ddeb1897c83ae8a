-- The network between a program and its Redis, as specs of a cluster have it (spec/support/redis_proxy.lua).

local loop = require "spec.support.loop"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local redis_proxy = require "spec.support.redis_proxy"
local resp = require "spec.support.resp"
local uv = require "luv"

after_each(redis_proxy.cleanup)
after_each(redis.teardown)

-- A client on port `port`: client:say("PING"), client.replies, client.ended.
local function connect(proxy)
  local client = { socket = uv.new_tcp(), replies = {} }
  local reader, connected = resp.reader(), nil
  client.socket:connect("127.0.0.1", proxy.port, loop.callback(function(problem)
    assert(not problem, problem)
    connected = true
    client.socket:read_start(loop.callback(function(_, bytes)
      if not bytes then
        client.ended = true
        return
      end
      for reply in reader:feed(bytes) do
        table.insert(client.replies, { text = reply, at = loop.now() })
      end
    end))
  end))
  loop.wait_for("a connection", function() return connected end)
  function client:say(...)
    self.socket:write(resp.command(...))
  end
  function client:wait_for_replies(n)
    loop.wait_for(n .. " replies", function() return #self.replies >= n end)
  end
  return client
end

local function pass(ms)
  local until_then = loop.now() + ms
  loop.wait_for("the time", function() return loop.now() >= until_then end)
end

describe("a proxy in front of a Redis", function()
  local server, proxy

  before_each(function()
    server = redis.start { password = "geheim" }
    proxy = redis_proxy.start(server)
  end)

  it("is where its URL says", function()
    local login = { user = "default", password = "geheim", db = 2 }
    local url = proxy:url(login)
    assert.equal(("redis://default:geheim@127.0.0.1:%d/2"):format(proxy.port), url)
    local run = process.run { "redis-cli", "--no-auth-warning", "-u", url, "PING" }
    assert.equal("PONG\n", run.stdout)
    assert.equal(1, proxy.accepted)
  end)

  it("lets nothing through while it is cut, and all of it afterwards", function()
    local before, gone = connect(proxy), connect(proxy)
    for _, client in ipairs { before, gone } do
      client:say("AUTH", "geheim")
      client:wait_for_replies(1)
    end
    proxy:cut()
    before:say("INCR", "n")
    gone:say("INCR", "m")
    gone.socket:close()
    local meanwhile = connect(proxy)
    meanwhile:say("AUTH", "geheim")
    pass(100)
    assert.same({ 1, 0 }, { #before.replies, #meanwhile.replies })
    assert.is_false(server:command("GET", "n"))
    proxy:heal()
    before:wait_for_replies(2)
    meanwhile:wait_for_replies(1)
    assert.equal(1, before.replies[2].text)
    redis.wait_for("what was said by who is gone", function() return server:command("GET", "m") == "1" end)
  end)

  it("may close all connections, and refuse others", function()
    local client = connect(proxy)
    proxy:cut { refuse = true }
    loop.wait_for("the end", function() return client.ended end)
    local refused = connect(proxy)
    loop.wait_for("the end", function() return refused.ended end)
    proxy:heal()
    client = connect(proxy)
    client:say "PING"
    client:wait_for_replies(1)
  end)

  it("holds up answers, and keeps their order", function()
    local client = connect(proxy)
    client:say("AUTH", "geheim")
    client:wait_for_replies(1)
    local delays = { 300, 0, 200 }
    proxy:stall(function() return table.remove(delays, 1) end)
    local began = loop.now()
    for i = 1, 3 do
      client:say("ECHO", i)
      redis.wait_for("Redis' answer", function() return #delays == 3 - i end)
    end
    assert.equal(1, #client.replies)
    client:wait_for_replies(4)
    assert.same({ "1", "2", "3" },
      { client.replies[2].text, client.replies[3].text, client.replies[4].text })
    assert.is_true(client.replies[2].at - began >= 299)
  end)

  it("leads to another server", function()
    local other = redis.start()
    other:command("SET", "who", "the other")
    local client = connect(proxy)
    proxy:lead_to(other)
    loop.wait_for("the end", function() return client.ended end)
    client = connect(proxy)
    client:say("GET", "who")
    client:wait_for_replies(1)
    assert.equal("the other", client.replies[1].text)
  end)

  it("sends away whom it has no server for", function()
    server:kill()
    local client = connect(proxy)
    loop.wait_for("the end", function() return client.ended end)
    server:restart()
    client = connect(proxy)
    client:say("AUTH", "geheim")
    client:wait_for_replies(1)
  end)
end)
