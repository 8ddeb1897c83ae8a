-- Who would like to have the secrets: other programs of the same user, children of scripts, core dumps.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local HIDDEN = "hidden-word"

local function environment(more)
  local env = { -- the token is the fake Discord's own
    REST_AUTHORIZATION = "Bot fake.discord.token",
    TIDEGATE_CONTROL_SECRET = HIDDEN .. "-of-the-control-api",
    http_proxy = "http://user:" .. HIDDEN .. "@127.0.0.1:9",
    no_proxy = "*",
    PLAIN = "a plain word",
  }
  for name, value in pairs(more or {}) do
    env[name] = value
  end
  return env
end

local function assert_bare(text, token)
  assert.matches("PLAIN=a plain word", text, 1, true) -- it is the right text
  for _, secret in ipairs { HIDDEN, token } do
    assert.is_nil(text:find(secret, 1, true), text:gsub("%z", "\n"))
  end
end

-- Whether the system lets us have name spaces of our own.
local function possible(wrap)
  local argv = { unpack(wrap) }
  argv[#argv + 1] = "true"
  local run = process.run(argv)
  if run.exit_code ~= 0 then pending("no name spaces here: " .. run.stderr) end
  return run.exit_code == 0
end

describe("secrets of the environment", function()
  after_each(scene.stop)

  local BOT = { authorization = HIDDEN .. "-of-the-bot" }

  local function assert_no_environment(s)
    local pids = { s.gateway.pid, unpack(s.gateway:worker_pids()) }
    assert.equal(3, #pids)
    for _, pid in ipairs(pids) do
      assert_bare(paths.read(("/proc/%d/environ"):format(pid)), s.fake.token)
    end
  end

  it("are in force and not in the environment, also after a reload and in a worker that is started again",
    function()
      local s = scene.start { shards = 2, per_worker = 1, workers = 2, bot = BOT, hurry = 10, reload = false,
        env = environment(), script = "local gateway = require 'tidegate'\n" }
      assert_no_environment(s)
      assert.is_true(s.gateway:reload())
      uv.kill(s.gateway:worker_pids()[1], "sigkill")
      s.gateway:wait_for_log "a worker is started again"
      s:wait_counter("resumes_ok", 1)
      assert_no_environment(s)
      s:type(nil, 0)
      s:type(nil, 1)
      s.bot:wait_for_events(2, "TYPING_START")
      assert.equal(0, s.bot.unauthorized)
      assert.equal(200, s.gateway:control("GET", "/status").status)
      assert.equal(401, s.gateway:control("GET", "/status", { secret = false }).status)
    end)

  it("are not in the environment of process 1 of a container, which only waits", function()
    local wrap = { "unshare", "--pid", "--mount-proc", "--fork", "--kill-child" }
    if not possible(wrap) then return end
    local s = scene.start { bot = BOT, env = environment(), wrap = wrap, reload = false }
    local init = process.children(s.gateway.pid)[1]
    local manager = process.children(init)[1]
    for _, pid in ipairs { init, manager, process.children(manager)[1] } do
      assert_bare(paths.read(("/proc/%d/environ"):format(pid)), s.fake.token)
    end
    uv.kill(init, "sigterm") -- unshare itself takes no such signals
    s.gateway.process:wait()
  end)

  it("are not inherited by what a script starts", function()
    local dir = paths.tmp()
    local s = scene.start { bot = BOT, env = environment { DIR = dir }, script = [[
local gateway = require "tidegate"
local ffi = require "ffi"
ffi.cdef "int system(const char *command);"
ffi.C.system("env >" .. os.getenv "DIR" .. "/" .. gateway.role)
]] }
    for _, role in ipairs { "manager", "worker" } do
      assert_bare(paths.read(dir .. "/" .. role), s.fake.token)
    end
  end)

  it("are taken from check, too", function()
    local run = process.run({ paths.bin "tidegate", "check", paths.write(paths.tmp() .. "/script.lua", [[
local ffi = require "ffi"
ffi.cdef "int system(const char *command);"
ffi.C.system "env 1>&2"
]]) }, { env = environment { DISCORD_TOKEN = "the.tokens.own", INTENTS = "guilds" } })
    assert.equal(0, run.exit_code, run.stderr)
    assert_bare(run.stderr, "the.tokens.own")
  end)
end)

describe("the memory of the gateway", function()
  -- As root nobody is anybody's equal: then all of it runs as somebody else.
  local SOMEBODY = uv.getuid() == 0
    and { "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--" } or {}
  local dir

  before_each(function()
    dir = paths.tmp()
    if uv.getuid() == 0 then assert(uv.fs_chown(dir, 65534, 65534)) end
  end)
  after_each(scene.stop)
  after_each(process.cleanup)

  local function start(env, wrap)
    local words = {}
    for _, list in ipairs { wrap or {}, SOMEBODY } do
      for _, word in ipairs(list) do words[#words + 1] = word end
    end
    return scene.start { state_dir = dir .. "/state", env = environment(env), wrap = words, reload = false }
  end

  -- Whether another process of the same user can read that of the process.
  local function readable(pid, what)
    local words = { unpack(SOMEBODY) }
    for _, word in ipairs { "head", "-c1", ("/proc/%d/%s"):format(pid, what) } do words[#words + 1] = word end
    local run = process.run(words)
    -- Nothing is mapped at the beginning of the memory: that is found out by who may look.
    return run.exit_code == 0 or run.stderr:find "Input/output error" ~= nil
  end

  for says, may in pairs { [""] = false, ["0"] = false, ["1"] = true } do
    local name = "is %s to its own user with TIDEGATE_CORE_DUMPS=%s"
    it(name:format(may and "open" or "closed", says), function()
      local s = start { TIDEGATE_CORE_DUMPS = says }
      local pids = { s.gateway.pid, unpack(s.gateway:worker_pids()) }
      assert.equal(2, #pids)
      for _, pid in ipairs(pids) do
        assert.is_true(readable(pid, "status"))
        for _, what in ipairs { "environ", "mem", "maps" } do
          assert.equal(may, readable(pid, what), what)
        end
        assert_bare(paths.read(("/proc/%d/environ"):format(pid)), s.fake.token)
      end
    end)
  end

  -- As ProtectProc= of a service has it.
  it("is measured all the same where processes do not see each other", function()
    local wrap = { "unshare", "--mount", "sh", "-c",
      'mount -t proc -o hidepid=invisible proc /proc && exec "$@"', "sh" }
    if not possible(wrap) then return end
    local s = start({}, wrap)
    local answer = s.gateway:control("GET", "/metrics")
    local metrics = prometheus.parse(answer.body)
    for _, worker in ipairs { "manager", "0" } do
      assert.is_true(metrics:value("tidegate_process_resident_memory_bytes", { worker = worker }) > 1e6)
      assert.is_true(metrics:value("tidegate_process_cpu_seconds_total", { worker = worker }) > 0)
    end
  end)
end)
