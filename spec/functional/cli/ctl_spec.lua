-- `tidegate ctl` against servers that answer as the spec wants it. What a real gateway answers:
-- ctl_gateway_spec.lua.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local STATUS = {
  version = "0.1.0", generation = 3, pid = 4711, uptime = 7380000, phase = "ready", ready = true,
  progress = { ready = 16, total = 16, eta = cjson.null },
  shards = { total = 32, first = 0, last = 15, states = { Connected = 15, Resuming = 1, Offline = 0 } },
  guilds = 31234,
  workers = {
    { workerId = 0, pid = 4712, state = "running", shards = 8, restarts = 0, generation = 3,
      memory = 2 ^ 25 },
    { workerId = 1, pid = 4713, state = "restarting", shards = 8, restarts = 2, generation = 3,
      memory = cjson.null },
  },
  identify = {
    total = 1000, remaining = 950, resetAfter = 18180000, maxConcurrency = 1, reserve = 100, waiting = 0,
  },
  handlers = { { url = "http://127.0.0.1:8081", state = "down", inFlight = 3, since = 65000 } },
  queue = { events = 1234, bytes = 3355443, oldest = 4000, delivered = 123456, retried = 1, dropped = 0,
    dead = 0, replayed = 2, gaps = 0, spool = 4194304 },
  resharding = cjson.null,
}

local function copy(changes)
  local result = {}
  for key, value in pairs(STATUS) do result[key] = value end
  for key, value in pairs(changes) do result[key] = value end
  return result
end

local STARTING = copy {
  phase = "starting", ready = false, progress = { ready = 4, total = 16, eta = 62000 },
}

describe("tidegate ctl", function()
  local server, seen

  -- answers: "GET /status" -> {status, body} or a function(request)
  local function serve(answers, options)
    seen = {}
    server = http.serve(function(request)
      local key = request.method .. " " .. request.path
      seen[#seen + 1] = { key = key, body = request.body, authorization = request.headers.authorization }
      local answer = answers[key]
      if type(answer) == "function" then
        return answer(request)
      elseif answer then
        return answer[1], nil, answer[2]
      end
      return 404, nil, { error = "there is no such route" }
    end, options)
  end

  local function environment(env)
    local result = { TERM = "xterm" }
    if server then
      result.TIDEGATE_CONTROL = server.unix and "unix:" .. server.unix or "127.0.0.1:" .. server.port
    end
    for name, value in pairs(env or {}) do result[name] = value end
    return result
  end

  local function ctl(args, env)
    return process.run({ paths.bin "tidegate", "ctl", unpack(args) }, { env = environment(env) })
  end

  -- On a terminal; stdout and stderr are one.
  local function ctl_on_terminal(args, env)
    local words = {}
    for i, arg in ipairs(args) do words[i] = "'" .. arg .. "'" end
    local command = paths.bin "tidegate" .. " ctl " .. table.concat(words, " ")
    return process.run({ "script", "-qec", command, "/dev/null" }, { env = environment(env) })
  end

  after_each(function()
    process.cleanup()
    if server then server:close() end
    server = nil
  end)

  describe("asks for", function()
    it("each command what the control API has for it", function()
      local ok = { 200, {} }
      serve {
        ["GET /status"] = { 200, STATUS }, ["GET /shards"] = { 200, { { shardId = 0 } } },
        ["GET /queue"] = ok, ["POST /sinks/copy_2-x/forget"] = ok,
        ["GET /queue/types?sink=copy&shard=3"] = { 200, { types = {}, onDisk = 0 } },
        ["POST /queue/discard"] = { 200, { discarded = 1 } },
        ["GET /dead"] = { 200, { letters = {}, matching = 0 } }, ["GET /dead/17"] = ok,
        ["GET /dead?shard=3&type=%52%45%41%44%59&limit=5"] = { 200, { letters = {}, matching = 0 } },
        ["POST /dead/retry"] = ok, ["POST /dead/purge"] = ok,
        ["GET /config"] = ok, ["GET /config?key=queue.sync"] = ok, ["POST /shards/7/reconnect"] = ok,
        ["GET /log-level"] = ok, ["POST /log-level"] = ok,
        ["POST /reload"] = ok, ["POST /reshard"] = ok, ["GET /reshard"] = ok, ["POST /shards/3/payload"] = ok,
        ["POST /payload"] = ok,
        ["POST /guilds/4177198342314/payload"] = ok, ["GET /identify"] = ok, ["POST /shutdown"] = ok,
        ["GET /upgrade"] = ok,
      }
      local payload = '{"op":3,"d":{"since":null,"afk":false,"status":"idle","activities":[]}}'
      for _, case in ipairs {
        { { "status" }, "GET /status" }, { { "shards" }, "GET /shards" }, { { "reload" }, "POST /reload" },
        { { "queue" }, "GET /queue" }, { { "queue", "forget", "copy_2-x" }, "POST /sinks/copy_2-x/forget" },
        { { "queue", "types", "--sink", "copy", "--shard", "3" }, "GET /queue/types?sink=copy&shard=3" },
        { { "queue", "discard", "--all" }, "POST /queue/discard", '{"all":true}' },
        { { "queue", "discard", "--shard", "3", "--type", "READY", "--older", "2m" }, "POST /queue/discard",
          '{"type":"READY","shard":3,"older":120000}' },
        { { "dead" }, "GET /dead" }, { { "dead", "list" }, "GET /dead" },
        { { "dead", "show", "17" }, "GET /dead/17" },
        { { "dead", "--shard", "3", "--type", "READY", "--limit", "5" },
          "GET /dead?shard=3&type=%52%45%41%44%59&limit=5" },
        { { "dead", "retry", "17", "18" }, "POST /dead/retry", '{"numbers":[17,18]}' },
        { { "dead", "retry", "--all" }, "POST /dead/retry", '{"all":true}' },
        { { "dead", "purge", "--sink", "bot", "--status", "413" }, "POST /dead/purge",
          '{"sink":"bot","status":413}' },
        { { "config" }, "GET /config" }, { { "config", "queue.sync" }, "GET /config?key=queue.sync" },
        { { "reconnect", "7" }, "POST /shards/7/reconnect" },
        { { "log-level" }, "GET /log-level" },
        { { "log-level", "debug" }, "POST /log-level", '{"level":"debug"}' },
        { { "log-level", "configured" }, "POST /log-level", '{"level":null}' },
        { { "reshard", "64", "--json" }, "POST /reshard", '{"totalShards":64}' },
        { { "reshard", "abort", "--json" }, "POST /reshard", '{"abort":true}' },
        { { "reshard" }, "GET /reshard" }, { { "reshard", "status" }, "GET /reshard" },
        { { "payload", "3", payload }, "POST /shards/3/payload", payload },
        { { "payload", "all", payload }, "POST /payload", payload },
        { { "payload", "guild:4177198342314", payload },
          "POST /guilds/4177198342314/payload", payload },
        { { "upgrade", "status" }, "GET /upgrade" },
        { { "identify-budget" }, "GET /identify" }, { { "shutdown" }, "POST /shutdown" },
      } do
        local p = ctl(case[1], { TIDEGATE_CONTROL_SECRET = "hush hush" })
        assert.equal(0, p.exit_code, p.stderr)
        assert.equal(case[2], seen[#seen].key)
        assert.equal(case[3] or "", seen[#seen].body)
        assert.equal("hush hush", seen[#seen].authorization)
      end
    end)

    it("it with options wherever they stand", function()
      serve { ["GET /status"] = { 200, STATUS } }
      for _, args in ipairs {
        { "--timeout", "9000", "status", "--table" }, { "--table", "status", "--timeout", "9000", "--" },
      } do
        local p = ctl(args)
        assert.equal(0, p.exit_code, p.stderr)
        assert.matches("^tidegate 0.1.0, pid 4711", p.stdout)
      end
    end)

    it("the gateway, with a secret that stands in a file", function()
      serve { ["GET /status"] = { 200, STATUS } }
      local dir = paths.tmp()
      local file = paths.write(dir .. "/tidegate_control_secret", "hush hush\n")
      for _, env in ipairs { { TIDEGATE_CONTROL_SECRET_FILE = file }, { CREDENTIALS_DIRECTORY = dir } } do
        local p = ctl({ "status" }, env)
        assert.equal(0, p.exit_code, p.stderr)
        assert.equal("hush hush", seen[#seen].authorization)
      end
      local p = ctl({ "status" }, { TIDEGATE_CONTROL_SECRET_FILE = dir .. "/nothing" })
      assert.equal(64, p.exit_code)
      assert.matches("TIDEGATE_CONTROL_SECRET_FILE: cannot read " .. dir .. "/nothing: ", p.stderr, 1, true)
    end)

    it("the gateway on a unix socket, without a secret, whatever proxy there is", function()
      serve({ ["GET /status"] = { 200, STATUS } }, { unix = paths.tmp() .. "/control.sock" })
      local p = ctl({ "status" }, { http_proxy = "http://127.0.0.1:9", TIDEGATE_CONTROL_SECRET = "" })
      assert.equal(0, p.exit_code, p.stderr)
      assert.is_nil(seen[1].authorization)
    end)

    it("a payload on standard input", function()
      serve { ["POST /shards/0/payload"] = { 200, {} } }
      local file = paths.write(paths.tmp() .. "/payload.json", '{"op":8,\n"d":{}}')
      local command = ("exec %s ctl payload 0 - <%s"):format(paths.bin "tidegate", file)
      local p = process.run({ "sh", "-c", command }, { env = environment() })
      assert.equal(0, p.exit_code, p.stderr)
      assert.equal('{"op":8,\n"d":{}}', seen[1].body)
    end)
  end)

  describe("shows", function()
    it("JSON in one line where nobody looks", function()
      serve { ["GET /status"] = { 200, STATUS }, ["POST /shutdown"] = { 204 } }
      local p = ctl { "status" }
      assert.equal(1, #p:lines())
      assert.same(STATUS, cjson.decode(p.stdout))
      assert.equal("{}\n", ctl { "shutdown" }.stdout)
    end)

    it("a table with --table, in columns, without colours", function()
      serve { ["GET /status"] = { 200, STATUS } }
      local p = ctl { "status", "--table" }
      assert.equal(0, p.exit_code, p.stderr)
      assert.equal([[
tidegate 0.1.0, pid 4711, up 2 h 3 min, generation 3: ready

Shards      0 to 15 of 32: Connected 15, Resuming 1
Guilds      31,234
Identifies  950 of 1,000 left, the window ends in 5 h 3 min; 100 kept in reserve, 0 wait
Queue       1,234 events wait (3.2 MiB), the oldest for 4 s; log 4.0 MiB
Events      123,456 delivered, 1 retried, 2 replayed; 0 dropped, 0 dead letters, 0 gaps

Worker   Pid  State       Shards  Restarts    Memory  Generation
     0  4712  running          8         0  32.0 MiB           3
     1  4713  restarting       8         2         -           3

Event handler          State        For  In flight
http://127.0.0.1:8081  down   1 min 5 s          3
]], (p.stdout:gsub("Resuming 1, Connected 15", "Connected 15, Resuming 1")))
    end)

    it("sessions that are deaf, or were", function()
      local null = cjson.null
      local quiet = { shard = null, suspects = {}, vanished = {}, outage = false, resumes = 0, identifies = 0,
        heard = 0, givenUp = 0 }
      local function line(changes)
        local deaf = {}
        for key, value in pairs(quiet) do deaf[key] = value end
        for key, value in pairs(changes) do deaf[key] = value end
        server = server and server:close()
        serve { ["GET /status"] = { 200, copy { deaf = deaf } } }
        return ctl({ "status", "--table" }).stdout:match "Deaf +([^\n]+)\n"
      end
      local counts = "0 resumed, 0 with a new session: 0 hear again, 0 given up"
      assert.is_nil(line {})
      assert.equal("2 resumed, 1 with a new session: 1 hear again, 1 given up",
        line { resumes = 2, identifies = 1, heard = 1, givenUp = 1 })
      assert.equal("shard 3 has had no events for 12 min 0 s: asking; suspected: 7, 11; " .. counts,
        line { shard = { shardId = 3, event = null, step = "asking", silent = 720000 },
          suspects = { 7, 11 } })
      assert.equal("shard 3 has had no TYPING_START for 1 h 30 min: listening; " .. counts,
        line { shard = { shardId = 3, event = "TYPING_START", step = "listening", silent = 5400000 } })
      assert.equal("no shard gets TYPING_START, MESSAGE_CREATE; many shards are silent, as in an outage of "
        .. "Discord; " .. counts, line { vanished = { "TYPING_START", "MESSAGE_CREATE" }, outage = true })
    end)

    it("the shards", function()
      serve { ["GET /shards"] = { 200, {
        { workerId = 0, shardId = 9, rtt = 42, state = "Connected", sequence = 1234567,
          delivered = 1234560, queued = 7 },
        { workerId = 1, shardId = 10, rtt = -1, state = "Connecting", sequence = 0,
          delivered = 0, queued = 0 },
        { workerId = 1, shardId = 11, rtt = 40, state = "Connected", deaf = "asking", sequence = 2,
          delivered = 2, queued = 0 },
      } } }
      assert.equal([[
Shard  Worker  State                      RTT   Sequence  Delivered  Queued
    9       0  Connected                42 ms  1,234,567  1,234,560       7
   10       1  Connecting                   -          0          0       0
   11       1  Connected, deaf: asking  40 ms          2          2       0
]], ctl { "shards", "--table" }.stdout)
    end)

    it("what waits for which sink, and what is left", function()
      local null = cjson.null
      local sinks = {
        { name = "bot", kind = "http", up = true, delivered = 123456, retried = 1, dropped = 0, dead = 0,
          logBytes = 4194304, queued = { events = 0, bytes = 0, age = null } },
        { name = "copy", kind = "redis", up = false, delivered = 1000, retried = 3, dropped = 2, dead = 0,
          logBytes = null, queued = { events = 42, bytes = 43008, age = 65000 } },
        { name = "own", kind = "script", up = null, delivered = 0, retried = 0, dropped = 0, dead = 0,
          logBytes = null, queued = { events = 0, bytes = 0, age = null } },
      }
      local left = { { name = "old", events = 1234, bytes = 3355443 } }
      serve {
        ["GET /queue"] = { 200, { sinks = sinks, leftSinks = left, more = 3, waiting = {
          { sink = "copy", shardId = 3, totalShards = 16, events = 40, bytes = 40960, age = 65000 },
          { sink = "copy", shardId = 3, totalShards = 32, events = 2, bytes = 2048, age = 1000 },
        } } },
        ["GET /status"] = { 200, copy { sinks = sinks, leftSinks = left } },
        ["POST /sinks/old/forget"] = { 200, { forgotten = "old" } },
      }
      local all = [[
Sink  Kind    State  Waiting     Bytes     Oldest  Delivered  Retried  Dropped  Dead      Log
bot   http    up           0   0 bytes          -    123,456        1        0     0  4.0 MiB
copy  redis   down        42  42.0 KiB  1 min 5 s      1,000        3        2     0        -
own   script  -            0   0 bytes          -          0        0        0     0        -
]]
      local rest = [[

Not configured any more  Events left    Bytes
old                            1,234  3.2 MiB
"tidegate ctl queue forget NAME" removes what a sink has left.
]]
      assert.equal(all .. [[

For   Shard  Of  Waiting     Bytes     Oldest
copy      3  16       40  40.0 KiB  1 min 5 s
copy      3  32        2   2.0 KiB        1 s
Fewer events wait of 3 more shards.
]] .. rest, ctl({ "queue", "--table" }).stdout)
      local status = ctl({ "status", "--table" }).stdout
      assert.equal("\n" .. all .. rest, status:sub(-#all - #rest - 1))
      assert.equal("forgotten: what the sink old had left\n",
        ctl({ "queue", "forget", "old", "--table" }).stdout)
    end)

    it("the identify budget", function()
      serve { ["GET /identify"] = { 200, STATUS.identify } }
      assert.equal([[
Left     Of  Reserve  Window ends in  At a time  Waiting
 950  1,000      100       5 h 3 min          1        0
]], ctl { "identify-budget", "--table" }.stdout)
    end)

    it("figures that are missing as such", function()
      serve { ["GET /status"] = { 200, { phase = "ready" } }, ["GET /identify"] = { 200, {} } }
      for _, command in ipairs { "status", "identify-budget" } do
        local p = ctl { command, "--table" }
        assert.equal(0, p.exit_code, p.stderr)
        assert.matches("-", p.stdout, 1, true)
      end
    end)

    it("how far the start is, and when it will be over", function()
      serve { ["GET /status"] = { 200, STARTING } }
      assert.matches("[#######.......................] 4 of 16 shards up, about 1 min 2 s left\n",
        ctl { "status", "--table" }.stdout, 1, true)
    end)

    it("what became of a payload", function()
      serve {
        ["POST /payload"] = { 200, { sent = 1, failed = 1, results = {
          { shardId = 0, sent = true }, { shardId = 1, sent = false, error = "not in time" },
        } } },
        ["POST /shards/0/payload"] = { 200, { sent = true } },
        ["POST /guilds/1/payload"] = { 200, { members = { { nick = "x" } } } },
      }
      assert.equal("sent\n", ctl { "payload", "0", "{}", "--table" }.stdout)
      assert.matches('^{.*"members":', ctl { "payload", "guild:1", "{}", "--table" }.stdout)
      local p = ctl { "payload", "all", "{}", "--table" }
      assert.same({ 1, "sent over 1 shards\n", "tidegate ctl: shard 1: not in time\n" },
        { p.exit_code, p.stdout, p.stderr })
    end)

    it("which log level counts, and for how long", function()
      serve { ["GET /log-level"] = { 200, { level = "info", configured = "info" } },
        ["POST /log-level"] = { 200, { level = "debug", configured = "info" } } }
      assert.equal("the log level is info\n", ctl { "log-level", "--table" }.stdout)
      assert.equal("the log level is debug until the next reload or start; configured is info\n",
        ctl { "log-level", "debug", "--table" }.stdout)
    end)

    it("what a reload has come to", function()
      serve { ["POST /reload"] = { 200, { generation = 4, needsRestart = { "token", "intents" } } } }
      assert.equal("reloaded: generation 4\nchanged, but needs a restart: token, intents\n",
        ctl { "reload", "--table" }.stdout)
    end)
  end)

  describe("on a terminal", function()
    it("shows tables with colours, unless they are not wanted", function()
      serve { ["GET /status"] = { 200, STATUS } }
      assert.matches("\27[32mready\27[0m", ctl_on_terminal { "status" }.stdout, 1, true)
      local p = ctl_on_terminal({ "status" }, { NO_COLOR = "1" })
      assert.matches("generation 3: ready", p.stdout, 1, true)
      assert.is_nil(p.stdout:find "\27")
      assert.is_nil(ctl_on_terminal({ "status" }, { TERM = "dumb" }).stdout:find "\27")
      assert.is_nil(ctl_on_terminal({ "status" }, { TERM = "" }).stdout:find "\27")
      assert.matches("\27[32mready\27[0m", ctl_on_terminal({ "status" }, { NO_COLOR = "" }).stdout, 1, true)
      assert.is_nil(ctl({ "status", "--table" }).stdout:find "\27") -- not a terminal
    end)

    it("shows in the configuration what somebody has said before what holds anyway", function()
      serve { ["GET /config"] = { 200, { script = "bot.lua", generation = 1, values = {
        { key = "queue.max_age", value = 7200000, from = "script" },
        { key = "queue.sync", value = "none", from = "default" },
      } } } }
      local shown = ctl_on_terminal({ "config" }).stdout
      assert.matches("\27[1mqueue.max_age\27[0m  script ", shown, 1, true)
      assert.matches("\27[2mqueue.sync\27[0m     \27[2mdefault\27[0m", shown, 1, true)
    end)

    it("shows readable JSON with --json", function()
      serve { ["GET /status"] = { 200, STATUS } }
      local p = ctl_on_terminal { "status", "--json" }
      assert.matches('\n  "generation": 3', p.stdout, 1, true)
      assert.same(STATUS, cjson.decode(p.stdout))
    end)

    it("lets nobody write on it", function()
      local evil = "\27]0;owned\7\194\155[2J\226\128\174\r\nx"
      serve {
        ["GET /status"] = { 200, copy {
          version = evil, phase = evil, shards = { states = { [evil] = 1 } },
          handlers = { { url = evil, state = evil } },
        } },
        ["GET /shards"] = { 200, { { state = evil } } },
        ["GET /queue"] = { 200, {
          sinks = { { name = evil, kind = evil } }, waiting = { { sink = evil } },
          leftSinks = { { name = evil } },
        } },
        ["GET /config"] = { 200, { script = evil, needsRestart = { evil }, values = {
          { key = evil, value = evil, from = evil, variable = evil, file = evil },
          { key = "x", value = { evil } },
        } } },
        ["POST /sinks/x/forget"] = { 200, { forgotten = evil } },
        ["POST /reload"] = { 409, { error = evil, problem = evil .. evil } },
        ["POST /shutdown"] = { 200, "{" .. evil },
      }
      for _, args in ipairs {
        { "status" }, { "status", "--json" }, { "shards" }, { "queue" }, { "config" },
        { "queue", "forget", "x" }, { "reload" }, { "shutdown" },
      } do
        local p = ctl_on_terminal(args, { NO_COLOR = "1" })
        assert.is_nil(p.stdout:find "[%z\1-\8\11\12\14-\31\127]", p.stdout)
        assert.is_nil(p.stdout:find("\194\155", 1, true))
        assert.is_nil(p.stdout:find("\226\128\174", 1, true))
        if #args == 1 and args[1] ~= "shutdown" then
          assert.matches("\\u001b]0;owned", p.stdout, 1, true)
        end
      end
    end)

    it("draws how far the start is until it is over", function()
      local answers = 0
      serve { ["GET /status"] = function()
        answers = answers + 1
        return 200, nil, answers < 4 and STARTING or STATUS
      end }
      local p = ctl_on_terminal { "status", "--wait" }
      assert.equal(0, p.exit_code)
      assert.matches("\r\27[K[#######", p.stdout, 1, true)
      assert.matches("\27[32mready", p.stdout, 1, true)
      answers = 0 -- a bar is no colour
      p = ctl_on_terminal({ "status", "--wait" }, { NO_COLOR = "1" })
      assert.matches("\r\27[K[#######", p.stdout, 1, true)
      assert.is_nil(p.stdout:find "\27%[%d*m")
      assert.matches("generation 3: ready", p.stdout, 1, true)
    end)
  end)

  describe("--wait", function()
    it("comes back when all shards are up, even of a gateway that is not there yet", function()
      serve { ["GET /status"] = function()
        return 200, nil, #seen < 3 and STARTING or STATUS
      end }
      local port = server.port
      server:close()
      local p = process.start({ paths.bin "tidegate", "ctl", "status", "--wait" },
        { env = environment { TIDEGATE_CONTROL = "127.0.0.1:" .. port } })
      local timer = uv.new_timer()
      timer:start(300, 0, function() timer:close() server:listen() end)
      p:wait(20000)
      assert.equal(0, p.exit_code, p.stderr)
      assert.equal("ready", cjson.decode(p.stdout).phase)
      assert.equal(3, #seen)
    end)

    it("gives up at its time-out", function()
      serve { ["GET /status"] = { 200, STARTING } }
      local p = ctl { "status", "--wait", "--timeout", "300" }
      assert.equal(1, p.exit_code)
      assert.matches("not all shards are up after 300 ms", p.stderr, 1, true)
      server:close()
      assert.equal(69, ctl { "status", "--wait", "--timeout", "300" }.exit_code)
    end)

    it("does not blame the gateway for an answer that its time-out cuts off", function()
      serve { ["GET /status"] = function()
        if #seen == 1 then
          return 200, nil, STARTING
        end -- the second one is never answered
      end }
      local p = ctl { "status", "--wait", "--timeout", "900" }
      assert.equal(1, p.exit_code, p.stderr)
      assert.matches("not all shards are up after 900 ms", p.stderr, 1, true)
    end)
  end)

  describe("says what is wrong:", function()
    local function check(code, part, args, env)
      local p = ctl(args, env)
      assert.equal(code, p.exit_code, p.stderr)
      assert.equal("", p.stdout)
      assert.matches("^tidegate ctl: ", p.stderr)
      assert.matches(part, p.stderr, 1, true)
      return p
    end

    it("no gateway", function()
      serve {}
      server:close()
      check(69, "nothing listens on 127.0.0.1:" .. server.port, { "status" })
    end)

    it("no socket, an old one, or one of another user", function()
      local path = paths.tmp() .. "/control.sock"
      local env = { TIDEGATE_CONTROL = "unix:" .. path }
      check(69, "there is no socket " .. path, { "status" }, env)
      local pipe = uv.new_pipe(false)
      assert(pipe:bind(path))
      assert(os.rename(path, path .. ".old")) -- closing a pipe removes its path
      pipe:close()
      env.TIDEGATE_CONTROL = env.TIDEGATE_CONTROL .. ".old"
      check(69, "left over from a gateway that has ended", { "status" }, env)
    end)

    it("a gateway that does not answer", function()
      serve { ["POST /reload"] = function() end }
      check(69, "has not answered within 200 ms", { "reload", "--timeout", "200" })
    end)

    it("something else that listens", function()
      serve { ["GET /status"] = function(request) request:reset() end, ["GET /shards"] = { 200, "<html>" } }
      check(69, "does not answer as a gateway does", { "status" })
      check(1, "is it a gateway?", { "shards" })
    end)

    it("a request that the gateway does not take from here", function()
      serve { ["GET /status"] = { 403, { error = "without a secret only this machine may ask" } } }
      check(77, "only this machine may ask", { "status" })
    end)

    it("a secret that is wrong, or missing", function()
      serve { ["GET /status"] = { 401, { error = "no" } } }
      check(77, "asks for a secret", { "status" })
      local p = check(77, "refuses the secret", { "status" }, { TIDEGATE_CONTROL_SECRET = "not-it-not-it" })
      assert.is_nil(p.stderr:find("not-it-not-it", 1, true))
    end)

    it("the gateway's own words", function()
      serve {
        ["POST /shards/99/payload"] = { 404, { error = "there is no shard 99" } },
        ["POST /reload"] = { 422, { error = "the reload failed, nothing has changed: bot.lua:2",
          problem = "bot.lua:2: oh no\nstack traceback:\n\tbot.lua:2: in main chunk" .. ("x"):rep(5000) } },
        ["GET /status"] = { 500 }, ["GET /identify"] = { 404 },
      }
      check(1, "there is no shard 99", { "payload", "99", '{"op":3}' })
      local p = check(1, "nothing has changed:\nbot.lua:2: oh no\nstack traceback:\n\tbot", { "reload" })
      assert.matches("xxx\n$", p.stderr)
      check(1, "answers GET /status with 500", { "status" })
      check(1, "does not know GET /identify", { "identify-budget" })
    end)

    it("misuse, before anybody is asked", function()
      for _, case in ipairs {
        { "a command is missing" },
        { '"stauts" (did you mean status?)', "stauts" },
        { "one word too many", "status", "now" },
        { "one word too many", "reshard", "8", "16" },
        { "expected the new number of shards", "reshard", "0" },
        { "expected the new number of shards", "reshard", "64x" },
        { "queue forget needs NAME", "queue", "forget" },
        { '"old" is one word too many', "queue", "old" },
        { 'queue has no "forgte" (did you mean forget?)', "queue", "forgte", "old" },
        { 'no sink can be called "../log"', "queue", "forget", "../log" },
        { 'no key is called "a b"', "config", "a b" },
        { "expected the number of a shard", "reconnect", "all" },
        { 'expected debug, info, warn, error or configured, got "loud"', "log-level", "loud" },
        { "payload needs SHARD JSON", "payload", "3" },
        { "expected a shard's number", "payload", "guild:x", "{}" },
        { "line 1, column", "payload", "3", '{"op":3' },
        { "expected an object", "payload", "3", "[]" },
        { "not both", "status", "--json", "--table" },
        { "shards has no --wait", "shards", "--wait" },
        { "reshard abort has no --now", "reshard", "abort", "--now" },
        { "takes milliseconds", "status", "--timeout", "soon" },
      } do
        check(64, case[1], { unpack(case, 2) }, { TIDEGATE_CONTROL = "127.0.0.1:9" })
      end
      check(64, "a port that the system chooses", { "status" }, { TIDEGATE_CONTROL = "127.0.0.1:0" })
      check(64, 'TIDEGATE_CONTROL is "8377"', { "status" }, { TIDEGATE_CONTROL = "8377" })
      check(64, "line break", { "status" }, { TIDEGATE_CONTROL_SECRET = "a\r\nX: b" })
    end)
  end)
end)
