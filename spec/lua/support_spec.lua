-- The tools of the specs themselves.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local sudden_death = require "spec.support.sudden_death"
local uv = require "luv"
local wall_clock = require "spec.support.wall_clock"

after_each(function()
  bot_support.cleanup()
  process.cleanup()
end)

describe("wait_for", function()
  it("returns the value", function()
    local n = 0
    assert.equal(3, loop.wait_for("three", function()
      n = n + 1
      return n == 3 and n
    end))
  end)

  it("fails with its description at the caller's line", function()
    local ok, problem = pcall(function() loop.wait_for("pigs to fly", function() return false end, 20) end)
    assert.is_false(ok)
    assert.matches("support_spec%.lua:%d+: waited %d+ ms in vain for pigs to fly", problem)
  end)

  it("passes on errors of callbacks and predicates", function()
    local timer = uv.new_timer()
    timer:start(1, 0, loop.callback(function() error "from a callback" end))
    assert.error_matches(function() loop.wait_for("it", function() end) end, "from a callback")
    timer:close()
    assert.error_matches(function() loop.wait_for("it", function() error "from a predicate" end) end,
      "from a predicate")
    assert.is_true(loop.wait_for("the next one", function() return true end))
  end)
end)

describe("process", function()
  it("collects output and exit code", function()
    local p = process.run({ "sh", "-c", "echo out; echo $NAME >&2; exit 3" }, { env = { NAME = "value" } })
    assert.equal(3, p.exit_code)
    assert.equal("out\n", p.stdout)
    assert.equal("value\n", p.stderr)
    assert.same({ "out" }, p:lines())
  end)

  it("has a clean environment", function()
    local p = process.run { "env" }
    assert.is_nil(p.stdout:find "TG_BUILD=")
    assert.is_nil(p.stdout:find("HOME=" .. os.getenv "HOME" .. "\n", 1, true))
  end)

  it("names the signal that ended it", function()
    local p = process.start { "sleep", "60" }
    p:kill "TERM"
    p:wait()
    assert.equal("SIGTERM", p.signal)
    assert.is_nil(p.exit_code)
    assert.is_false(process.is_running(p.pid))
  end)

  it("finds children, and cleans them up", function()
    local p = process.start { "sh", "-c", "sleep 60 & wait" }
    local child = loop.wait_for("a child", function() return process.children(p.pid)[1] end)
    process.cleanup()
    loop.wait_for("its end", function() return not process.is_running(child) end)
  end)

  it("says what happened when output does not come", function()
    local p = process.start { "sh", "-c", "echo broken >&2; exit 1" }
    assert.error_matches(function() p:wait_for_output "ready" end, "broken")
  end)
end)

describe("wall_clock", function()
  it("moves what programs and their scripts see, while they run", function()
    local clock = wall_clock.new()
    clock:set(86400000)
    local date = process.run({ "date", "-u", "+%F" }, { env = clock:env() })
    assert.equal("1970-01-02\n", date.stdout)
    local script = paths.write(paths.tmp() .. "/script.lua",
      'require("tidegate").configure { token = "a-token", intents = 1 } print("it is", os.date "!%F")')
    clock:step(300 * wall_clock.DAY)
    clock:step(-wall_clock.DAY)
    local check = process.run({ paths.bin "tidegate", "check", script }, { env = clock:env() })
    assert.equal(0, check.exit_code, check.stderr)
    assert.matches("1970%-10%-28T[^\n]*: it is\t1970%-10%-28\n", check.stderr)
    assert.is_true(math.abs(clock:now() - 300 * wall_clock.DAY) < 60000 * paths.slow)
  end)

  it("leaves the monotonic clock alone", function()
    local clock = wall_clock.new()
    local program = [[
      local uv = require "luv"
      io.stdout:setvbuf "line"
      print(uv.hrtime(), (uv.gettimeofday()))
      io.read()
      print(uv.hrtime(), (uv.gettimeofday()))
    ]]
    local fifo = paths.tmp() .. "/go"
    local p = process.start({ "sh", "-c", 'mkfifo "$1" && exec luajit -e "$2" <>"$1"', "sh", fifo, program },
      { env = clock:env { LUA_PATH = package.path, LUA_CPATH = package.cpath } })
    p:wait_for_output("\n", "stdout")
    clock:step(-3 * wall_clock.DAY)
    paths.write(fifo, "\n")
    p:wait()
    local before, wall_before, after, wall_after = p.stdout:match "(%S+)%s+(%d+)%s+(%S+)%s+(%d+)"
    local passed = (tonumber(after) - tonumber(before)) / 1e9
    assert.is_true(passed >= 0 and passed < 60 * paths.slow, p.stdout)
    assert.is_true(math.abs(wall_after - wall_before - passed + 3 * 86400) < 5, p.stdout)
  end)
end)

describe("http", function()
  local server
  after_each(function() server:close() end)

  it("answers over TCP and unix sockets", function()
    for _, options in ipairs { {}, { unix = paths.tmp() .. "/http.sock" } } do
      server = http.serve(function(request)
        return 201, { ["X-Path"] = request.method .. " " .. request.path }, { got = request:json() }
      end, options)
      local response = http.request("POST", server.url .. "/a?b=c", { json = { x = 1 } })
      assert.equal(201, response.status)
      assert.equal("POST /a?b=c", response.headers["x-path"])
      assert.same({ got = { x = 1 } }, response:json())
      server:close()
    end
  end)

  it("takes large, chunked, slow and pipelined requests", function()
    local bodies = {}
    server = http.serve(function(request)
      bodies[#bodies + 1] = request.body
      return 204
    end)
    local large = ("x"):rep(5000000)
    assert.equal(204, http.request("POST", server.url, { body = large }).status)
    assert.equal(large, bodies[1])

    local text = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
      .. "PUT /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
    local tcp = uv.new_tcp()
    local answers = ""
    tcp:connect("127.0.0.1", server.port, function()
      tcp:read_start(function(_, chunk) answers = answers .. (chunk or "") end)
      for i = 1, #text do
        tcp:write(text:sub(i, i))
      end
      tcp:write(text)
    end)
    loop.wait_for("all answers", function() return select(2, answers:gsub("204 No Content", "")) == 4 end)
    tcp:close()
    assert.same({ "abc0123456789", "hi", "abc0123456789", "hi" }, { unpack(bodies, 2) })
  end)

  it("tells a broken connection from an answer", function()
    server = http.serve(function(request) request:reset() end)
    local response, problem = http.request("GET", server.url)
    assert.is_nil(response)
    assert.equal("ECONNRESET", problem)
    server:close()
    response, problem = http.request("GET", server.url)
    assert.is_nil(response)
    assert.equal("ECONNREFUSED", problem)
  end)

  it("times out", function()
    server = http.serve(function() end)
    assert.error_matches(function()
      http.request("GET", server.url, { timeout = 50 })
    end, "in vain for an answer")
  end)
end)

local function post(bot, shard, s, options)
  options = options or {}
  return http.request("POST", bot.url, {
    headers = { Authorization = bot.authorization, ["Idempotency-Key"] = ("%d.1.%d"):format(shard, s) },
    body = ('{"shardId":%d,"totalShards":4,"epoch":1,"message":{"t":"%s","s":%d,"op":0,'
      .. '"d":{"nonce":"7:%d"}}}'):format(
      shard, options.t or "MESSAGE_CREATE", s, options.n or s),
  })
end

describe("bot", function()
  it("records what it accepts, by shard", function()
    local bot = bot_support.start()
    post(bot, 0, 1)
    post(bot, 3, 1, { t = "GUILD_CREATE" })
    post(bot, 0, 2)
    bot:wait_for_events(3)
    assert.equal(2, #bot.by_shard[0])
    local event = bot.by_shard[0][2]
    assert.same({ 0, 4, 1, 2, "MESSAGE_CREATE", "0.1.2" },
      { event.shard, event.total, event.epoch, event.s, event.t, event.key })
    assert.equal("7:2", event:data().nonce)
    assert.equal(1, #bot:select "GUILD_CREATE")
  end)

  it("refuses by policy, a wrong secret and nonsense", function()
    local bot = bot_support.start()
    bot:answer(function(_, event) return event.s == 1 and 503 or 200, { ["Retry-After"] = "1" } end)
    local response = post(bot, 0, 1)
    assert.equal(503, response.status)
    assert.equal("1", response.headers["retry-after"])
    assert.equal(200, post(bot, 0, 2).status)
    assert.equal(401, http.request("POST", bot.url, { body = "{}" }).status)
    bot.authorization = false
    assert.equal(400, http.request("POST", bot.url, { body = "{}" }).status)
    assert.same({ 1, 1, 1, 1 }, { #bot.events, bot.refused, bot.unauthorized, #bot.malformed })
  end)

  it("goes down and comes up on the same port", function()
    local bot = bot_support.start()
    bot:down()
    assert.is_nil((post(bot, 0, 1)))
    bot:up()
    assert.equal(204, post(bot, 0, 1).status)
  end)

  it("hangs", function()
    local bot = bot_support.start()
    bot:hang()
    assert.error(function() http.request("POST", bot.url, {
      timeout = 30,
      headers = { Authorization = bot.authorization },
      body = '{"shardId":0,"totalShards":1,"epoch":1,"message":{"t":"X","s":1,"op":0,"d":{}}}',
    }) end)
    assert.equal(0, #bot.events)
    assert.equal(1, bot.in_flight[0])
  end)
end)

describe("checker", function()
  local function events(...)
    local list = {}
    for i, item in ipairs { ... } do
      list[i] = {
        shard = 0, epoch = item.epoch or 1, s = item.s, t = "MESSAGE_CREATE",
        key = item.key or "0.1." .. item.s,
        body = ('{"nonce":"7:%d"}'):format(item.n), late = item.late,
      }
    end
    return list
  end

  it("is content with each event once, in order", function()
    local list = events({ s = 1, n = 1 }, { s = 2, n = 2 }, { s = 1, n = 3, epoch = 2, key = "0.2.1" })
    assert.equal(3, checker.assert_complete(list, { guilds = { ["7"] = 3 }, contiguous = true }).numbered)
  end)

  it("names what is lost", function()
    local list = events({ s = 1, n = 1 }, { s = 3, n = 3 })
    local report = checker.compare(list, { guilds = { ["7"] = 4 }, contiguous = true })
    assert.same({ "message 7:2", "message 7:4", "shard 0 epoch 1 s 2" }, report.lost)
    assert.error_matches(function()
      checker.assert_nothing_lost(list, { guilds = { ["7"] = 4 } })
    end, "2 lost")
  end)

  it("tells doubles with the same key from others", function()
    local list = events({ s = 1, n = 1 }, { s = 2, n = 2 }, { s = 2, n = 2 })
    assert.equal(1, #checker.compare(list).doubled)
    assert.equal(0, #checker.assert_nothing_lost(list).out_of_order)
    assert.error(function() checker.assert_complete(list) end)
    list = events({ s = 1, n = 1 }, { s = 2, n = 1, key = "0.1.2" })
    assert.equal(1, #checker.compare(list).doubled_with_other_key)
    assert.error(function() checker.assert_nothing_lost(list) end)
    assert.equal(0, #checker.assert_nothing_lost(list, { under_way = 1 }).lost)
  end)

  it("sees what is out of order", function()
    local list = events({ s = 2, n = 1 }, { s = 1, n = 2 }, { s = 4, n = 4 }, { s = 5, n = 3 })
    local report = checker.compare(list)
    assert.same({ "message 7:3 after 4", "shard 0 epoch 1 s 1 after 2" }, report.out_of_order)
    list = events({ s = 1, n = 9, epoch = 2 }, { s = 1, n = 10, key = "0.1.1" })
    assert.same({ "shard 0 epoch 1 after 2" }, checker.compare(list).out_of_order)
    list = events({ s = 1, n = 1 }, { s = 3, n = 2 }, { s = 2, n = 3 })
    list[3].t, list[3].body = "RESUMED", ""
    assert.equal(1, #checker.compare(list).out_of_order)
    assert.equal(0, #checker.compare(list, { any_order = "RESUMED" }).out_of_order)
  end)

  it("lets those come late that are marked, but neither get lost nor be doubled", function()
    local late = { s = 2, n = 2, late = true }
    local list = events({ s = 1, n = 1 }, { s = 3, n = 3 }, late, { s = 4, n = 4 },
      { s = 1, n = 5, epoch = 2, key = "0.2.1" }, { s = 5, n = 6, late = true })
    local sent = { guilds = { ["7"] = 6 }, contiguous = true }
    assert.equal(2, checker.assert_complete(list, sent).late)
    table.insert(list, 3, events(late)[1])
    assert.equal(1, #checker.assert_nothing_lost(list, sent).doubled)
    list[4].key = "0.1.9"
    assert.error_matches(function() checker.assert_nothing_lost(list, sent) end, "1 doubled with other key")
    table.remove(list, 4)
    table.remove(list, 3)
    assert.same({ "message 7:2", "shard 0 epoch 1 s 2" }, checker.compare(list, sent).lost)
    list = events({ s = 1, n = 1 }, { s = 3, n = 3 }, { s = 2, n = 2 }) -- not marked
    assert.error_matches(function() checker.assert_nothing_lost(list) end, "2 out of order")
  end)

  it("counts events that nothing tells apart, and those that came by another way once more", function()
    local list = {}
    for s = 1, 3 do
      local body = '{"t":"PRESENCE_UPDATE","d":{"user":{"id":"5"},"guild_id":"7"}}'
      list[s] = { shard = 0, epoch = 1, s = s, t = "PRESENCE_UPDATE", key = "0.1." .. s, body = body }
    end
    local function sent(count)
      return { repeats = { { event = "PRESENCE_UPDATE", guild = "7", user = "5", count = count } } }
    end
    assert.equal(3, checker.assert_complete(list, sent(3)).repeats)
    local report = checker.compare(list, sent(5))
    assert.same({ 2, 0 }, { #report.lost, #report.doubled_with_other_key })
    assert.matches("PRESENCE_UPDATE of guild 7, user 5 %(3 of 5 came%)", report.lost[1])
    assert.error(function() checker.assert_nothing_lost(list, sent(5)) end)
    report = checker.compare(list, sent(2))
    assert.same({ 0, 1 }, { #report.lost, #report.doubled_with_other_key })
    list[4] = list[3]
    report = checker.compare(list, sent(3))
    assert.same({ 0, 0, 1 }, { #report.lost, #report.doubled_with_other_key, #report.doubled })
  end)

  it("measures the longest pause of a guild", function()
    local list = events({ s = 1, n = 1 }, { s = 2, n = 2 }, { s = 1, n = 3, epoch = 2, key = "0.2.1" })
    list[1].at, list[2].at, list[3].at = 10, 15, 215
    local pause = checker.compare(list).longest_pause
    assert.same({ ms = 200, guild = "7", from = "0.1.2", to = "0.2.1" }, pause)
    assert.is_nil(checker.compare(events({ s = 1, n = 1 })).longest_pause)
  end)
end)

describe("sudden_death", function()
  local PROGRAM = [[
    local dir = ...
    for i = 1, 3 do
      io.open(dir .. "/file." .. i, "w"):close()
      os.rename(dir .. "/file." .. i, dir .. "/name." .. i)
    end
    local ffi = require "ffi"
    ffi.cdef "int unlink(const char *path);"
    ffi.C.unlink(dir .. "/name.3")
  ]]

  local function die(...)
    local death, dir = sudden_death.new(), paths.tmp()
    death:plan(...)
    paths.write(dir .. "/program.lua", PROGRAM)
    local p = process.run({ "luajit", dir .. "/program.lua", dir }, { env = death:env() })
    local there = {}
    for i = 1, 3 do
      there[i] = paths.read(dir .. "/name." .. i) and "new"
        or paths.read(dir .. "/file." .. i) and "old" or "no"
    end
    return p.signal, death:has_struck(), table.concat(there, " ")
  end

  local function assert_dies(there, ...)
    assert.same({ "SIGKILL", true, there }, { die(...) })
  end

  it("comes before or after what a process does, the so-manieth time", function()
    assert_dies("old no no", { { "rename", "name.", "before" } })
    assert_dies("new no no", { { "rename", "name.", "after" } })
    assert_dies("new old no", { { "rename", "name.", "before", 2 } })
    assert_dies("new new new", { { "rename", "name.1", "after" }, { "unlink", "name.", "before" } })
    assert_dies("new new no", { { "unlink", "name.", "after" } }, "group")
  end)

  it("does not come to who does nothing of the kind", function()
    local signal, struck = die { { "rename", "name.4", "before" } }
    assert.is_nil(signal)
    assert.is_false(struck)
  end)
end)
