-- `tidegate ctl cluster` and `ctl drain` against a control API that says of a cluster what the spec wants it
-- to.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local function host(name, changes)
  local result = {
    name = name, shards = 22, target = 22, age = 300, digest = "d1", draining = false, alive = true,
    holes = { count = 0, events = 0, oldest = cjson.null },
  }
  for key, value in pairs(changes or {}) do result[key] = value end
  return result
end

local function cluster(changes)
  local result = {
    name = "ferry", host = "gw-1", leader = "gw-2",
    engine = { url = "redis://redis.test:6379/0", up = true, beat = 1 },
    shards = { total = 43, held = 22, unsure = 0, free = 0 },
    hosts = { host "gw-1", host("gw-2", { shards = 21, age = 900 }) },
    holes = 0, quiet = 0, draining = false, othersTake = true, queued = 0, moves = 0, lostLeases = 0,
    budget = {
      remaining = 958, heldBack = cjson.null, total = 1000, resetAfter = 3600000, maxConcurrency = 16,
    },
  }
  for key, value in pairs(changes or {}) do result[key] = value end
  return result
end

local function draining(held, changes)
  local result = cluster(changes)
  result.draining = true
  result.shards = { total = 43, held = held, unsure = 0, free = 0 }
  return { cluster = result }
end

local server, asked

-- Answers, one after the other, the last for ever, to what is asked by GET; `post`: to POST.
local function serve(answers, post)
  asked = {}
  local gets = 0
  server = http.serve(function(request)
    asked[#asked + 1] = request.method .. " " .. request.path .. " " .. (request.body or "")
    if request.method == "POST" then
      return post[1], nil, post[2]
    end
    gets = gets + 1
    return 200, nil, answers[math.min(gets, #answers)]
  end)
end

local function environment()
  return { TERM = "xterm", TIDEGATE_CONTROL = "127.0.0.1:" .. server.port }
end

local function start(...)
  return process.start({ paths.bin "tidegate", "ctl", ... }, { env = environment() })
end

local function ctl(...)
  local p = start(...)
  p:wait(30000)
  return p
end

local function on_terminal(words)
  return process.run({ "script", "-qec", paths.bin "tidegate" .. " ctl " .. words, "/dev/null" },
    { env = environment() })
end

after_each(function()
  process.cleanup()
  if server then server:close() end
  server = nil
end)

describe("tidegate ctl cluster", function()
  it("shows each host and the day's identifies", function()
    serve { cluster() }
    local p = ctl("cluster", "--table")
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal("GET /cluster ", asked[1])
    assert.equal([[
ferry, this host is gw-1: 22 of 43 shards, 2 hosts, gw-2 leads; Redis is redis://redis.test:6379/0

Host  Shards  Target  Last beat  State         Holes
gw-1      22      22     300 ms  up, this one  0
gw-2      21      22     900 ms  up, leads     0

Identifies: 958 left of 1,000, the window ends in 1 h 0 min, 16 at a time
]], p.stdout)
    assert.same(cluster(), cjson.decode(ctl("cluster").stdout))
  end)

  it("shows hosts that are away, go, or have other intents, and what only they have", function()
    local all = cluster {
      hosts = {
        host "gw-1", host("gw-2", { draining = true, target = 0 }), host("gw-3", { digest = "d2" }),
        host("gw-4", { alive = false, shards = 0, target = 0, age = 7200000, digest = cjson.null,
          holes = { count = 2, events = 1234, oldest = 7200000 } }),
        host("gw-5", { alive = false, shards = 0, target = 0, age = cjson.null, digest = cjson.null,
          holes = { count = 1, events = cjson.null, oldest = 60000 } }),
      },
    }
    all.budget.heldBack = 1800000
    serve { all }
    local out = ctl("cluster", "--table").stdout
    assert.matches("shards, 3 hosts, gw-2 leads", out, 1, true)
    for _, row in ipairs {
      "gw-2      22       0     300 ms  goes, leads                   0",
      "gw-3      22      22     300 ms  up, other intents or options  0",
      "gw-4       0       0  2 h 0 min  away                          2: 1,234 events, 2 h 0 min old",
      "gw-5       0       0          -  away                          1: 1 min 0 s old",
      "; held back for 30 min 0 s, only the reserve is left",
    } do
      assert.matches(row, out, 1, true)
    end
  end)

  it("shows that the number of shards changes, and how far that is", function()
    serve { cluster { resharding = { to = 86, up = 43, switched = 9, settled = 2, closed = 0 } } }
    local line = "gw-2 leads, goes over to 86: of 43 classes 43 up, 9 switched, 2 settled, 0 closed; Redis is"
    assert.matches(line, ctl("cluster", "--table").stdout, 1, true)
  end)

  it("begins with what is not as it should be", function()
    serve { cluster {
      quiet = 4000, draining = true, holes = 2, shards = { total = 43, held = 22, unsure = 22, free = 1 },
    } }
    assert.matches([[
redis.test:6379/0
Redis has begun anew: for 4 s hosts say what they have, and nobody identifies or takes shards.
1 shard no host has.
of 22 shards this host is not sure.
this host gives its shards away.
this host has 2 holes to deliver late.
]], ctl("cluster", "--table").stdout, 1, true)
  end)

  it("shows what is known while Redis does not answer", function()
    local away = cluster { engine = { url = "redis://redis.test:6379/0", up = false, beat = cjson.null } }
    for _, each in ipairs(away.hosts) do
      each.alive, each.holes = nil, nil
    end
    away.budget = { remaining = 958, heldBack = cjson.null }
    serve { away }
    local out = ctl("cluster", "--table").stdout
    assert.matches("Redis does not answer: shards go on, none identifies or moves", out, 1, true)
    assert.matches("gw%-2 +21 +22 +900 ms +up, leads +%-\n", out)
    assert.matches("Identifies: 958 left\n", out, 1, true)
  end)

  it("forgets a host", function()
    serve({}, { 200, { host = "gw-4", holes = 2 } })
    local p = ctl("cluster", "forget", "gw-4", "--table")
    assert.equal('POST /cluster/forget {"host":"gw-4"}', asked[1])
    assert.same({ 0, "gw-4 is forgotten, with 2 holes\n" }, { p.exit_code, p.stdout })
    server:close()
    serve({}, { 409, { error = 'the host "gw-4" is alive', code = "host_alive" } })
    p = ctl("cluster", "forget", "gw-4")
    assert.same({ 1, 'tidegate ctl: the host "gw-4" is alive\n' }, { p.exit_code, p.stderr })
  end)

  it("is a line of the status", function()
    serve { { cluster = cluster() }, { cluster = cluster { holes = 1 } } }
    local out = ctl("status", "--table").stdout
    assert.matches("Cluster     ferry, this host is gw-1: 22 of 43 shards, 2 hosts, gw-2 leads; all is well",
      out, 1, true)
    out = ctl("status", "--table").stdout
    assert.matches("gw-2 leads; this host has 1 hole to deliver late\n", out, 1, true)
    server:close()
    serve { {} }
    assert.is_nil(ctl("status", "--table").stdout:find("Cluster", 1, true))
  end)

  it("lets nobody write on the terminal", function()
    local evil = "\27]0;owned\7\194\155"
    serve { cluster {
      name = evil, host = evil, leader = evil, engine = { url = evil, up = false },
      hosts = { host(evil, { digest = evil }) },
    } }
    for _, words in ipairs { "cluster", "cluster --table", "cluster --json" } do
      local out = on_terminal(words).stdout
      assert.is_nil(out:find("\27]", 1, true), out)
      assert.is_nil(out:find("\7", 1, true))
      assert.is_nil(out:find("\194\155", 1, true))
    end
  end)
end)

describe("tidegate ctl drain", function()
  local BEGUN = { 202, draining(12).cluster }

  it("says how many shards and events are here until none is", function()
    local first, second = draining(12, { queued = 1203 }), draining(12, { queued = 900 })
    serve({ first, second, draining(1), draining(0) }, BEGUN)
    local p = ctl "drain"
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal("POST /cluster/drain ", asked[1])
    assert.equal("GET /status ", asked[2])
    assert.equal([[
12 shards here, with 1,203 events that only this host has (--now does not wait for the bot to take them)
1 shard here
no shard is here any more
]], p.stdout)
  end)

  it("does not wait for the bot with --now, and tells of holes", function()
    serve({ draining(1, { queued = 1 }), draining(0, { holes = 2 }) }, BEGUN)
    local p = ctl("drain", "--now")
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal('POST /cluster/drain {"now":true}', asked[1])
    assert.equal("1 shard here, with 1 event that only this host has\n"
      .. "no shard is here any more; 2 holes of this host are to be delivered, late: by this process, or the "
      .. "next one with its state directory\n", p.stdout)
  end)

  it("says what is in the way", function()
    serve({
      draining(3, { engine = { url = "redis://h", up = false } }), draining(2, { othersTake = false }),
      draining(1, { quiet = 3000 }), draining(0),
    }, BEGUN)
    assert.equal([[
3 shards here; waits for Redis, which does not answer
2 shards here; waits for another host that takes them: none is there
1 shard here; waits for the quiet time after Redis has begun anew
no shard is here any more
]], ctl("drain").stdout)
  end)

  it("writes one line over and over on a terminal", function()
    serve({ draining(2), draining(1), draining(0) }, BEGUN)
    local p = on_terminal "drain"
    assert.equal("\r\27[K2 shards here\r\27[K1 shard here\r\27[Kno shard is here any more\r\n",
      (p.stdout:gsub("\27%[0m", "")))
  end)

  it("writes nothing but the end as JSON with --json", function()
    serve({ draining(2), draining(0) }, BEGUN)
    local p = ctl("drain", "--json")
    assert.equal(0, p.exit_code)
    assert.same(draining(0).cluster, cjson.decode(p.stdout))
  end)

  it("is refused in the gateway's own words", function()
    serve({}, { 409, { error = "no other host is there", code = "no_others" } })
    local p = ctl "drain"
    assert.same({ 1, "", "tidegate ctl: no other host is there\n", 1 },
      { p.exit_code, p.stdout, p.stderr, #asked })
  end)

  it("gives up at its time-out, and when the gateway is another one, and says so", function()
    serve({ draining(2) }, BEGUN)
    local p = ctl("drain", "--timeout", "600")
    assert.same({ 1, "tidegate ctl: not all shards have gone within the time given; the others still go\n" },
      { p.exit_code, p.stderr })
    server:close()
    serve({ draining(2), { cluster = cluster() } }, BEGUN)
    p = ctl "drain"
    assert.same({ 1, "tidegate ctl: the gateway was started again meanwhile, and keeps its shards\n" },
      { p.exit_code, p.stderr })
  end)

  it("goes on when it is interrupted, and says so", function()
    serve({ draining(2) }, BEGUN)
    local p = start "drain"
    p:wait_for_output("2 shards here", "stdout", 10000)
    p:kill "sigint"
    p:wait(10000)
    assert.equal("SIGINT", p.signal)
    assert.matches("the shards still go: `tidegate ctl cluster` shows how many are here\n$", p.stderr)
  end)

  it("does not know other words", function()
    serve { {} }
    for _, words in ipairs { { "drain", "now" }, { "status", "--now" }, { "cluster", "gw-1" },
      { "cluster", "forget" } } do
      assert.equal(64, ctl(unpack(words)).exit_code)
    end
    assert.equal(0, #asked)
  end)
end)
