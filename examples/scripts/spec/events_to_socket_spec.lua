-- The script talks to a real socket here: what the kit stands in for is Discord, not the system.

local test = require "tidegate.test"
local uv = require "luv"

describe("events_to_socket.lua", function()
  local kit, path, server, peers, received

  local function turn()
    for _ = 1, 20 do
      uv.run "nowait"
    end
  end

  local function listen()
    os.remove(path)
    server = uv.new_pipe(false)
    assert(server:bind(path))
    server:listen(8, function()
      local peer = uv.new_pipe(false)
      server:accept(peer)
      peers[#peers + 1] = peer
      peer:read_start(function(_, chunk)
        received = received .. (chunk or "")
      end)
    end)
  end

  local function stop_listening()
    for _, peer in ipairs(peers) do
      peer:close()
    end
    server:close()
    peers, server = {}, nil
    turn()
  end

  local function load()
    kit = test.load("examples/scripts/events_to_socket.lua", { env = { EVENT_SOCKET = path }, shards = 2 })
    turn()
  end

  before_each(function()
    path = os.tmpname()
    peers, received, server = {}, "", nil
  end)

  after_each(function()
    kit:close()
    if server then
      stop_listening()
    end
    os.remove(path)
  end)

  local function contents()
    local found = {}
    for content in received:gmatch '"content":"([^"]*)"' do
      found[#found + 1] = content
    end
    return found
  end

  it("writes one event a line, and gives none to the event handler", function()
    listen()
    load()
    local result = kit:event("MESSAGE_CREATE", { content = "a" }, { shard = 1, sequence = 42, epoch = 7 })
    turn()
    assert.is_nil(result.body)
    local message = '{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{"content":"a"}}'
    assert.equal('{"shardId":1,"totalShards":2,"epoch":7,"message":' .. message .. "}\n", received)
  end)

  it("keeps events while nobody listens, in order", function()
    load()
    for _, content in ipairs { "a", "b", "c" } do
      kit:event("MESSAGE_CREATE", { content = content })
    end
    assert.equal(1, #kit:log "nobody listens")
    listen()
    kit:advance(1000)
    turn()
    assert.same({ "a", "b", "c" }, contents())
  end)

  it("connects again when the connection is broken", function()
    listen()
    load()
    kit:event("MESSAGE_CREATE", { content = "a" })
    turn()
    stop_listening()
    kit:event("MESSAGE_CREATE", { content = "b" })
    assert.equal(1, #kit:log "is broken")
    listen()
    kit:advance(1000)
    turn()
    assert.same({ "a", "b" }, contents())
  end)

  it("never blocks, and loses nothing, when the other side is slow", function()
    listen()
    load()
    local long = ("x"):rep(100000)
    for i = 1, 20 do -- more than the kernel takes
      kit:event("MESSAGE_CREATE", { content = i .. long })
    end
    for _ = 1, 100 do
      turn()
      kit:advance(50)
    end
    turn()
    local found = contents()
    assert.equal(20, #found)
    for i, content in ipairs(found) do
      assert.equal(i .. long, content)
    end
  end)

  it("drops and counts what finds the queue full", function()
    load()
    local long = ("x"):rep(1000000)
    for _ = 1, 20 do
      kit:event("MESSAGE_CREATE", { content = long })
    end
    kit:advance(60000)
    assert.equal(1, #kit:log "4 events were dropped in the last minute")
  end)

  it("hands over what waits when the script is reloaded", function()
    load()
    kit:event("MESSAGE_CREATE", { content = "a" })
    listen()
    assert.is_true(kit:reload())
    turn()
    assert.same({ "a" }, contents())
  end)
end)
