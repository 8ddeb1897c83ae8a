-- `tidegate ctl` and a real gateway. What it makes of answers of all kinds: ctl_spec.lua.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

describe("tidegate ctl asks a gateway", function()
  after_each(scene.stop)

  local SECRET = "open-sesame"

  local function start(options)
    options = options or {}
    options.reload = false -- the generation is looked at
    options.shards = options.shards or 2
    options.fake = options.fake or { max_concurrency = 2 }
    options.env = options.env or {}
    options.env.TIDEGATE_CONTROL_SECRET = SECRET
    return scene.start(options)
  end

  local function environment(s, env)
    local result = {
      TIDEGATE_CONTROL = s.gateway:control_url():gsub("^http%+unix://(.*):$", "unix:%1"):gsub("^http://", ""),
      TIDEGATE_CONTROL_SECRET = SECRET,
    }
    for name, value in pairs(env or {}) do result[name] = value end
    return result
  end

  local function ctl(s, args, env)
    return process.run({ paths.bin "tidegate", "ctl", unpack(args) }, { env = environment(s, env) })
  end

  local function json(s, ...)
    local p = ctl(s, { ... })
    assert.equal(0, p.exit_code, p.stderr)
    return cjson.decode(p.stdout)
  end

  it("which intents its sessions do without", function()
    local s = start { bot = false, fake = { max_concurrency = 2, privileged_intents = 0 }, script = [[
local optional = { "guild_members" }
require("tidegate").configure { intents = { "guilds", "guild_members" }, optional_intents = optional }
]] }
    assert.matches("\nIntents +2 shards run without guild_members, which Discord has refused\n",
      ctl(s, { "status", "--table" }).stdout)
    assert.same({ "guild_members" }, json(s, "status").intents.missing)
  end)

  it("how it is: status, shards and identify budget", function()
    local s = start { bot = {} }
    local status = json(s, "status")
    assert.same({ "ready", true, 2, s.gateway.pid },
      { status.phase, status.ready, status.shards.states.Connected, status.pid })
    local shards = json(s, "shards")
    assert.same({ 0, 1 }, { shards[1].shardId, shards[2].shardId })
    assert.equal(998, json(s, "identify-budget").remaining)
    local table = ctl(s, { "status", "--table" }).stdout
    assert.matches("^tidegate [%d.]+, pid " .. s.gateway.pid .. ", up [^\n]+, generation 1: ready\n", table)
    assert.matches("\nShards +0 to 1 of 2: Connected 2\n", table)
    assert.matches("\nIdentifies +998 of 1,000 left", table)
    assert.matches("\n +0 +%d+ +running +2 +0 +%d+%.%d MiB +1\n", table)
    assert.matches("\n" .. s.bot.url .. " +up +", table)
    assert.matches("^Shard +Worker +State +RTT +Sequence +Delivered +Queued\n +0 +0 +Connected ",
      ctl(s, { "shards", "--table" }).stdout)
    assert.matches("^Left +Of +Reserve .*\n +998 +1,000 ", ctl(s, { "identify-budget", "--table" }).stdout)
  end)

  it("what rules against storms have done, where there are some", function()
    local s = start()
    assert.is_nil(ctl(s, { "status", "--table" }).stdout:find "Storms")
    scene.stop()
    s = start { script = [[
      require "tidegate".configure { storm = { rules = {
        { events = "TYPING_START", per = "user", rate = 0.001, burst = 2 },
      } } }
    ]] }
    s.fake:emit { event = "TYPING_START", shard = 0, count = 7, d = { channel_id = "1", user_id = "5" } }
    local shown
    local deadline = loop.now() + 10000 * paths.slow
    repeat
      shown = ctl(s, { "status", "--table" }).stdout
    until shown:find " 5 +0\n" or loop.now() > deadline
    assert.matches("\nStorms +Running +So far +Dropped +Came later\n", shown)
    assert.matches("\nTYPING_START per user +1 +1 +5 +0\n", shown)
  end)

  it("on a unix socket", function()
    local path = paths.tmp() .. "/control.sock"
    local s = start { bot = false, env = { TIDEGATE_CONTROL = "unix:" .. path } }
    assert.equal("unix:" .. path, environment(s).TIDEGATE_CONTROL)
    assert.is_true(json(s, "status").ready)
    s.gateway:stop()
    local p = ctl(s, { "status" }, { TIDEGATE_CONTROL = "unix:" .. path })
    assert.equal(69, p.exit_code, p.stderr)
  end)

  it("while it starts: progress, and --wait until it is ready", function()
    local s = start { bot = false, shards = 4, fake = { identify_window = 400 }, ready = false }
    local p = process.start({ paths.bin "tidegate", "ctl", "status", "--wait" }, { env = environment(s) })
    local early = ctl(s, { "status", "--table" }).stdout
    assert.matches("generation %d: starting\n%[[#.]+%] %d of 4 shards up", early)
    assert.equal(0, (p:wait(20000)))
    assert.equal(4, cjson.decode(p.stdout).shards.states.Connected)
  end)

  it("to reload: what has changed, or all that is wrong", function()
    local s = start { bot = false, script = "require 'tidegate'.configure { large_threshold = 100 }" }
    local answer = json(s, "reload")
    assert.same({ 2, {} }, { answer.generation, answer.needsRestart })
    paths.write(s.gateway.script, "require 'tidegate'.configure { state_dir = 'elsewhere' }")
    assert.equal("reloaded: generation 3\nchanged, but needs a restart: state_dir\n",
      ctl(s, { "reload", "--table" }).stdout)
    paths.write(s.gateway.script, "require 'tidegate'\nlocal function f() error 'oh no' end\nf()\n")
    local p = ctl(s, { "reload" })
    assert.same({ 1, "" }, { p.exit_code, p.stdout })
    assert.matches("^tidegate ctl: the reload failed, nothing has changed:\n[^\n]*script.lua:2: oh no\n"
      .. "stack traceback:\n", p.stderr)
    assert.equal(3, json(s, "status").generation)
  end)

  it("to take a new connection for a shard, which resumes", function()
    local s = start { bot = false }
    local said = ctl(s, { "reconnect", "1", "--table" }).stdout
    assert.equal("reconnecting; the shard resumes its session\n", said)
    s:wait_counter("resumes", 1)
    s:wait_counter("identifies_ok", 2)
    local p = ctl(s, { "reconnect", "7" })
    assert.same({ 1, "" }, { p.exit_code, p.stdout })
    assert.matches("^tidegate ctl: [^\n]*7", p.stderr)
  end)

  it("for dead letters: which there are, to send them again, and to remove them", function()
    local refuse = function(_, event)
      if event.t == "MESSAGE_CREATE" then
        return 413, nil, "too\27[31m large"
      end
    end
    local s = start { bot = { answer = refuse } }
    assert.equal("no dead letters\n", ctl(s, { "dead", "--table" }).stdout)
    s.fake:emit { count = 3, shard = 1 }
    s.gateway:wait_for_log "too large for the event handler"
    repeat until json(s, "dead").matching == 3
    local shown = ctl(s, { "dead", "--shard", "1", "--since", "1h", "--limit", "2", "--table" }).stdout
    assert.matches("^Letter +Age +Shard +Type +Sink +Answer +Bytes +Retries +It said\n", shown)
    assert.matches("\n +3 +[^\n]* +1 +MESSAGE_CREATE +bot +413 [^\n]* 0 +too\\u001b%[31m large\n", shown)
    assert.matches("2 of 3; %-%-before 2 shows older ones\n$", shown)
    assert.matches('"t": "MESSAGE_CREATE"', ctl(s, { "dead", "show", "2", "--table" }).stdout)
    local p = ctl(s, { "dead", "retry", "2", "--table" })
    assert.same({ 1, "0 of 1 delivered, 1 refused again; what was not delivered stays\n"
      .. "letter 2: refused (413): too\\u001b[31m large\n" }, { p.exit_code, p.stdout })
    s.bot:answer(nil)
    p = ctl(s, { "dead", "retry", "2", "3", "--table" })
    assert.same({ 0, "2 of 2 delivered\n" }, { p.exit_code, p.stdout })
    assert.equal("1 removed\n", ctl(s, { "dead", "purge", "--all", "--table" }).stdout)
    assert.equal("there are no such letters\n", ctl(s, { "dead", "retry", "--all", "--table" }).stdout)
    assert.equal(1, ctl(s, { "dead", "show", "2" }).exit_code)
  end)

  it("to send payloads", function()
    local s = start { bot = false }
    local presence = '{"op":3,"d":{"since":null,"afk":false,"status":"idle","activities":[]}}'
    assert.equal("sent\n", ctl(s, { "payload", "1", presence, "--table" }).stdout)
    assert.equal("sent over 2 shards\n", ctl(s, { "payload", "all", presence, "--table" }).stdout)
    s:wait_counter("identifies_ok", 2)
    for _, case in ipairs {
      { { "payload", "7", presence }, "7" },
      { { "payload", "0", '{"op":2,"d":{}}' }, "op" },
      { { "reshard", "2" }, "the bot has 2 shards already" },
      { { "reshard", "abort" }, "no resharding runs" },
    } do
      local p = ctl(s, case[1])
      assert.same({ 1, "" }, { p.exit_code, p.stdout })
      assert.matches("^tidegate ctl: [^\n]*" .. case[2], p.stderr)
    end
  end)

  it("with a wrong secret in vain, and never says it", function()
    local s = start { bot = false }
    for _, secret in ipairs { "wrong-wrong-wrong", false } do
      local p = ctl(s, { "status" }, { TIDEGATE_CONTROL_SECRET = secret })
      assert.equal(77, p.exit_code, p.stderr)
      assert.is_nil(p.stderr:find("wrong-wrong-wrong", 1, true))
    end
  end)

  it("that hangs, no longer than it is patient", function()
    local s = start { bot = false }
    local env = environment(s)
    s.gateway.process:kill "SIGSTOP"
    local p = process.run({ paths.bin "tidegate", "ctl", "status", "--timeout", "300" }, { env = env })
    s.gateway.process:kill "SIGCONT"
    assert.equal(69, p.exit_code)
    assert.matches("has not answered within 300 ms", p.stderr, 1, true)
  end)

  it("to end, with its sessions", function()
    local s = start { bot = false }
    local env = environment(s)
    local said = ctl(s, { "shutdown", "--table" }).stdout
    assert.equal("the gateway is stopping; its sessions are ended\n", said)
    assert.equal(0, (s.gateway.process:wait(15000)))
    local state = s.fake:wait_for("two closes", function(now)
      return #now.closes == 2 and now
    end, { only = "closes" })
    for _, close in ipairs(state.closes) do
      assert.equal(1000, close.code)
    end
    local p = process.run({ paths.bin "tidegate", "ctl", "status" }, { env = env })
    assert.equal(69, p.exit_code)
  end)
end)
