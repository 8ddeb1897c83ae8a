-- The consumers of examples/bots/redis-streams, in their languages, and both at work together: processes die,
-- stand still, are stopped and started, and Redis restarts.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

local FOLDER = paths.root .. "/examples/bots/redis-streams"
local EPOCH = 1790000000
local GROUP = "bot"

local function node()
  local modules, why = npm.install_for(FOLDER .. "/package.json")
  return modules and { "node", npm.copy(modules, FOLDER) .. "/consumer.mjs" }, why
end

local function python()
  -- Debian's packages are for Debian's own.
  local argv = { "/usr/bin/python3", FOLDER .. "/consumer.py" }
  if process.run({ argv[1], "-c", "import redis" }).exit_code ~= 0 then
    return nil, "there is no python3-redis here"
  end
  return argv
end

local ROWS = {
  { name = "in Node", node },
  { name = "in Python", python },
  { name = "in Node beside one in Python", mixed = true, node, python },
}

-- What the processes of a row are started as, in turn; nil and why not.
local function commands_of(row)
  local commands = {}
  for i, of in ipairs(row) do
    local argv, why = of()
    if not argv then
      return nil, why
    end
    commands[i] = argv
  end
  return commands
end

local server, output, fed, lease, commands

-- They all write into one file, so that the order of their lines is that of their work.
local function consumer(number)
  local argv = { "sh", "-c", 'exec "$@" >>"$OUTPUT"', "sh" }
  for _, word in ipairs(commands[(number - 1) % #commands + 1]) do
    argv[#argv + 1] = word
  end
  return process.start(argv, { env = {
    OUTPUT = output, REDIS_URL = server:url(), GROUP = GROUP, LEASE = lease,
  } })
end

local function printed()
  return paths.read(output) or ""
end

local function lines(pattern)
  local list = {}
  for line in printed():gmatch "[^\n]+" do
    if line:find(pattern) then
      list[#list + 1] = line
    end
  end
  return list
end

local function wait_for_lines(n, pattern)
  loop.wait_for(function()
    return ("%d lines with %q, but they have printed:\n%s"):format(n, pattern, printed():sub(-2000))
  end, function() return #lines(pattern) >= n end, 30000, 2)
end

local function stream(shard)
  return "tidegate:4:" .. shard
end

local function entry(shard, id, fields)
  local command = { "XADD", stream(shard), id }
  fields.shard, fields.key = shard, shard .. "." .. id:gsub("-", ".")
  for name, value in pairs(fields) do
    command[#command + 1] = name
    command[#command + 1] = value
  end
  return command
end

local function message()
  return {
    t = "MESSAGE_CREATE", g = "41771983423143937",
    d = cjson.encode { guild_id = "41771983423143937", content = 'Grüße "№ 1"\n' },
  }
end

-- `count` events for each of the first `shards`, as the gateway writes them.
local function feed(count, shards)
  local all = {}
  for shard = 0, (shards or 4) - 1 do
    all[#all + 1] = { "SADD", "tidegate:streams", stream(shard) }
    for _ = 1, count do
      fed[shard] = (fed[shard] or 0) + 1
      all[#all + 1] = entry(shard, EPOCH .. "-" .. fed[shard], message())
    end
  end
  for _, reply in ipairs(server:pipeline(all)) do
    assert.is_nil(type(reply) == "table" and reply.error or nil)
  end
end

local function total_fed()
  local sum = 0
  for _, count in pairs(fed) do
    sum = sum + count
  end
  return sum
end

local function wait_in_redis(what, predicate)
  local deadline = loop.now() + 60000 * paths.slow
  while not predicate() do
    if loop.now() > deadline then
      error(("waiting for %s, but they have printed:\n%s"):format(what, printed():sub(-2000)), 2)
    end
    server:command("WAIT", 1, 20) -- for a replica, which there is none: looks again in 20 ms
  end
end

-- All of it is acknowledged, the watermarks stand at the end, and each event has counted once.
local function wait_until_done()
  wait_in_redis(total_fed() .. " events", function()
    for shard, count in pairs(fed) do
      if server:command("HGET", "tidegate:bot:done", stream(shard)) ~= EPOCH .. "-" .. count then
        return false
      end
    end
    return true
  end)
  for shard in pairs(fed) do
    assert.equal(0, server:command("XPENDING", stream(shard), GROUP)[1])
  end
  assert.same({ MESSAGE_CREATE = tostring(total_fed()) }, server:fields("HGETALL", "tidegate:bot:counts"))
end

-- Not before it runs: until then a signal ends it in its own way.
local function end_by(each, signal)
  wait_in_redis("process " .. each.pid, function()
    for _, member in ipairs(server:command("ZRANGE", "tidegate:bot:members", 0, -1)) do
      if member:find("-" .. each.pid .. "-", 1, true) then
        return true
      end
    end
  end)
  each:kill(signal)
  each:wait()
  assert.equal(0, each.exit_code, each.stderr)
end

local function lease_of(shard)
  return server:command("GET", stream(shard) .. ":bot:lease")
end

-- In each shard every event stands behind the one before it. One whose process died, or lost its
-- connection, between doing it and saying so is done again, once for each such `accident`.
local function assert_in_order(accidents)
  local last, repeats = {}, 0
  for _, line in ipairs(lines " MESSAGE_CREATE ") do
    local shard, s = line:match "^shard (%d+) #(%d+) MESSAGE_CREATE 41771983423143937$"
    shard, s = assert(tonumber(shard), line), tonumber(s)
    if s == last[shard] then
      repeats = repeats + 1
    else
      assert.equal((last[shard] or 0) + 1, s, line)
      last[shard] = s
    end
  end
  assert.same(fed, last)
  assert.is_true(repeats <= accidents * 4, repeats .. " repeats")
end

for _, row in ipairs(ROWS) do
  describe("the consumer of streams " .. row.name, function()
    local why

    before_each(function()
      commands, why = commands_of(row)
      server = commands and redis.start { appendonly = true }
      output, fed, lease = paths.tmp() .. "/output", {}, 2000 * paths.slow
    end)

    after_each(function()
      scene.stop()
      process.cleanup()
      redis.teardown()
    end)

    local function promises(what, fn)
      it(what, function()
        if not commands then
          return pending(why)
        end
        fn()
      end)
    end

    promises("works on each event once and in order, though a process and Redis die in the middle", function()
      local one, two = consumer(1), consumer(2)
      feed(10)
      wait_for_lines(40, "MESSAGE_CREATE")
      feed(300)
      wait_for_lines(100, "MESSAGE_CREATE")
      one:kill "SIGKILL"
      assert.is_true(#lines "MESSAGE_CREATE" < 1240) -- or it was not in the middle
      feed(50)
      wait_for_lines(600, "MESSAGE_CREATE")
      server:restart()
      feed(50)
      local three = consumer(1)
      wait_until_done()
      assert_in_order(2)
      end_by(two, "SIGINT")
      end_by(three, "SIGTERM")
    end)

    promises("takes events from the gateway, of all shards", function()
      local s = scene.start {
        bot = false, shards = 4, fake = { max_concurrency = 4 }, script = FOLDER .. "/gateway.lua",
        env = { REDIS_URL = server:url() },
      }
      local one, two = consumer(1), consumer(2)
      wait_for_lines(4, "READY")
      wait_for_lines(#s.fake:guilds(), "GUILD_CREATE")
      s.fake:emit { count = 400, rate = 2000 }
      wait_for_lines(400, "MESSAGE_CREATE")
      local last = {}
      for _, line in ipairs(lines "^shard ") do
        local shard, number = line:match "^shard (%d+) #(%d+) [A-Z_]+ %d*$"
        assert.equal((last[shard] or 0) + 1, tonumber(number), line)
        last[shard] = tonumber(number)
      end
      end_by(one, "SIGINT")
      end_by(two, "SIGINT")
    end)

    if row.mixed then
      return
    end

    promises("shares the shards evenly, each in one process, and hands them over when it stops", function()
      feed(5)
      local one = consumer(1)
      wait_for_lines(20, "MESSAGE_CREATE")
      local two = consumer(2)
      local function holders()
        local count = {}
        for shard = 0, 3 do
          local holder = lease_of(shard)
          if holder then
            count[holder] = (count[holder] or 0) + 1
          end
        end
        return count
      end
      wait_in_redis("two shards for each", function()
        local _, shards = next(holders())
        local rest = holders()
        rest[next(rest) or ""] = nil
        return shards == 2 and select(2, next(rest)) == 2
      end)
      feed(5)
      wait_for_lines(40, "MESSAGE_CREATE")
      end_by(one, "SIGINT")
      wait_in_redis("four shards for one", function() return select(2, next(holders())) == 4 end)
      feed(5)
      wait_until_done()
      end_by(two, "SIGINT")
      for shard = 0, 3 do
        assert.is_false(lease_of(shard))
      end
      assert_in_order(0)
      assert.equal(#lines "^takes ", #lines "^leaves ")
    end)

    promises("does nothing to what another has taken over while it stood still", function()
      feed(10, 2)
      local one = consumer(1)
      wait_for_lines(20, "MESSAGE_CREATE")
      local stood = lease_of(0)
      feed(300, 2)
      wait_for_lines(60, "MESSAGE_CREATE")
      one:kill "SIGSTOP"
      local two = consumer(2)
      wait_in_redis("another holder", function()
        return (lease_of(0) or stood) ~= stood and (lease_of(1) or stood) ~= stood
      end)
      one:kill "SIGCONT"
      feed(50, 2)
      wait_until_done()
      end_by(one, "SIGINT")
      end_by(two, "SIGINT")
    end)

    promises("leaves at once what is another's, and does first what another has read", function()
      feed(500, 1)
      local one = consumer(1)
      wait_for_lines(20, "MESSAGE_CREATE")
      local mark = { "HGET", "tidegate:bot:done", stream(0) }
      local replies = server:pipeline {
        { "MULTI" }, { "SET", stream(0) .. ":bot:lease", "another" }, mark, { "EXEC" },
      }
      local stood = replies[4][2]
      assert.is_true(tonumber(stood:match "-(%d+)$") < 500)
      wait_for_lines(1, "^leaves ")
      assert.equal(stood, server:command(unpack(mark)))
      server:command("DEL", stream(0) .. ":bot:lease")
      wait_until_done()
      assert_in_order(1)

      local first, second = entry(0, EPOCH .. "-501", message()), entry(0, EPOCH .. "-502", message())
      server:pipeline {
        { "MULTI" }, first, { "XREADGROUP", "GROUP", GROUP, "another", "STREAMS", stream(0), ">" }, second,
        { "EXEC" },
      }
      fed[0] = 502
      wait_until_done()
      assert_in_order(1)
      end_by(one, "SIGINT")
    end)

    promises("drops repeats, tells of gaps, and passes by what it cannot do", function()
      feed(3, 1)
      server:command("HSET", "tidegate:bot:done", stream(0), EPOCH .. "-2")
      local function add(id, fields)
        server:command(unpack(entry(0, EPOCH .. "-" .. id, fields)))
      end
      add(6, { marker = "gap", d = '{"from":4,"to":6,"count":3,"reason":"overflow"}' })
      add(7, { t = "TYPING_START", g = "", d = "nonsense" })
      add(8, { marker = "resharding", d = '{"guilds":[],"from":[0,4],"to":[0,8]}' })
      add(9, { t = "READY", g = "", d = "{}" })
      local one = consumer(1)
      wait_in_redis("its end", function()
        return server:command("HGET", "tidegate:bot:done", stream(0)) == EPOCH .. "-9"
      end)
      assert.same({
        "shard 0 #3 MESSAGE_CREATE 41771983423143937",
        "shard 0 has lost 3 events: overflow",
        "shard 0 #9 READY ",
      }, lines "^shard 0 ")
      local _, tries = (printed() .. one.stderr):gsub("\n?0%.1790000000%.7, try %d of 3:", "")
      assert.equal(3, tries)
      assert.equal(0, server:command("XPENDING", stream(0), GROUP)[1])
      assert.same({ MESSAGE_CREATE = "1", TYPING_START = "1", READY = "1", gap = "1", resharding = "1" },
        server:fields("HGETALL", "tidegate:bot:counts"))
      end_by(one, "SIGINT")
    end)

    promises("waits for a Redis that is away, and for one that has lost everything", function()
      server:stop()
      local one = consumer(1)
      loop.wait_for("its complaint", function()
        return (printed() .. one.stderr):find "shares: "
      end, 30000)
      server:restart { empty = true }
      feed(5, 1)
      wait_until_done()
      server:restart { empty = true }
      output = output .. ".2" -- what it prints stays in the first
      fed = {}
      feed(7, 1)
      wait_until_done()
      end_by(one, "SIGINT")
    end)
  end)
end
