-- gateway.broadcast and gateway.on_broadcast: values between the scripts of all processes.

local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local HEAD = [[
local gateway = require "tidegate"
local me = gateway.role == "manager" and "manager" or "worker " .. gateway.worker_id
local function name(from)
  return from.role == "manager" and "manager" or "worker " .. from.worker_id
end
]]

local function start(script, options)
  options = options or {}
  options.bot, options.script = false, HEAD .. script
  options.shards, options.per_worker = 2, 1
  options.fake = { max_concurrency = 2 }
  return scene.start(options)
end

local PROCESSES = { "manager", "worker 0", "worker 1" }

describe("gateway.broadcast", function()
  after_each(scene.stop)

  it("reaches the handlers of all processes, the sender's too", function()
    local s = start [[
gateway.on_broadcast("greeting", function(value, from)
  local encode = gateway.json.encode
  local text = type(value) == "table" and encode(value.list) .. encode(value.none) or value
  gateway.log.info("%s hears %s from %s", me, text, name(from))
end)
gateway.on_broadcast("nothing", function(value, from)
  gateway.log.info("%s hears %s from %s", me, tostring(value), name(from))
end)
gateway.on_broadcast("another", function() gateway.log.error "not for this topic" end)
gateway.on_broadcast("question", function()
  if me == "manager" then
    assert(gateway.broadcast("greeting", "the answer"))
    assert(gateway.broadcast("nothing"))
  end
end)
gateway.on("ready", function(shard)
  if shard.id == 1 then
    local value = { list = { 1, 2.5, "three" }, none = gateway.json.array {} }
    assert(gateway.broadcast("greeting", value) == true)
    assert(gateway.broadcast("question", true))
  end
end)
]]
    for _, process in ipairs(PROCESSES) do
      s.gateway:wait_for_log(process .. ' hears %[1,2.5,"three"%]%[%] from worker 1\n')
      s.gateway:wait_for_log(process .. " hears the answer from manager\n")
      s.gateway:wait_for_log(process .. " hears nil from manager\n")
    end
    assert.equal(0, s.gateway:count_log "not for this topic")
  end)

  it("comes in one order everywhere, each sender's values in the order they were sent", function()
    local s = start([[
local heard, last, count = {}, {}, 0
gateway.on_broadcast("go", function()
  for i = 1, 200 do gateway.broadcast("count", i) end
end)
gateway.on_broadcast("count", function(i, from)
  local sender = name(from)
  assert(i == (last[sender] or 0) + 1, "out of order")
  last[sender] = i
  heard[#heard + 1] = sender:sub(-1)
  if #heard == 600 then gateway.log.info("order: %s.", table.concat(heard)) end
end)
local up = 0
gateway.on_broadcast("up", function()
  up = up + 1
  if up == 2 and me == "manager" then gateway.broadcast("go") end
end)
gateway.on("ready", function() gateway.broadcast("up") end)
]], { reload = false })
    local orders = {}
    for _, process in ipairs(PROCESSES) do
      orders[process] = s.gateway:wait_for_log(process .. ": order: (%w+)%.")
      assert.equal(600, #orders[process])
    end
    assert.equal(orders.manager, orders["worker 0"])
    assert.equal(orders.manager, orders["worker 1"])
    assert.equal(0, s.gateway:count_log "out of order")
  end)

  it("runs handlers by priority, which may wait, until they are removed", function()
    local s = start([[
local once
once = gateway.on_broadcast("beat", function(i)
  gateway.log.info("first %d", i)
  once:remove()
end, { priority = 10 })
gateway.on_broadcast("beat", function(i)
  gateway.log.info("second %d", i)
  gateway.sleep(10)
  gateway.log.info("later %d", i)
  if i == 3 then error "on purpose" end
end)
gateway.on("ready", function(shard)
  if shard.id == 0 then
    for i = 1, 3 do gateway.broadcast("beat", i) end
  end
end)
]], { reload = false })
    for _, process in ipairs(PROCESSES) do
      s.gateway:wait_for_log(process .. ": later 3\n")
      s.gateway:wait_for_log(process .. ": gateway.on_broadcast [^\n]*failed; it has ended\n[^\n]*on purpose")
      local first = s.gateway.stderr:find(process .. ": first 1\n")
      assert.is_true(first < s.gateway.stderr:find(process .. ": second 1\n"))
      assert.is_nil(s.gateway.stderr:find(process .. ": first 2\n"))
    end
  end)

  it("forgets the handlers of a script that was reloaded", function()
    local script = [[
gateway.on_broadcast("news", function(value) gateway.log.info("GENERATION hears %s", value) end)
gateway.on("reload", function() if me == "worker 0" then gateway.broadcast("news", "GENERATION") end end)
]]
    local s = start((script:gsub("GENERATION", "one")), { reload = false })
    paths.write(s.gateway.script, HEAD .. script:gsub("GENERATION", "two"))
    assert.is_true((s.gateway:reload()))
    for _, process in ipairs(PROCESSES) do
      s.gateway:wait_for_log(process .. ": two hears two\n")
    end
    assert.equal(0, s.gateway:count_log "one hears")
  end)

  it("refuses what cannot be sent", function()
    local s = start [[
local tries = {
  { 5, 1 },
  { "topic", print },
  { "topic", { deep = { coroutine.create(print) } } },
  { "topic", ("x"):rep(2 ^ 20 + 1) },
  { "\255", 1 },
}
gateway.on("ready", function(shard)
  for i, arguments in ipairs(tries) do
    local ok, result, err = pcall(gateway.broadcast, arguments[1], arguments[2])
    gateway.log.info("%d: %s", i, ok and tostring(err) or tostring(result))
  end
end)
local ok, problem = pcall(gateway.broadcast, "topic", 1)
gateway.log.info("loading: %s", problem)
]]
    s.gateway:wait_for_log "1: gateway.broadcast: expected a topic %(a string%), got number\n"
    s.gateway:wait_for_log "2: gateway.broadcast: the value contains [^\n]*function"
    s.gateway:wait_for_log "3: gateway.broadcast: the value contains [^\n]*coroutine"
    s.gateway:wait_for_log "4: gateway.broadcast: the value is 1048579 bytes of JSON, 1048576 are allowed\n"
    s.gateway:wait_for_log "5: gateway.broadcast: the topic is not UTF%-8\n"
    s.gateway:wait_for_log 'loading: [^\n]*nobody listens while the script is loaded'
  end)
end)
