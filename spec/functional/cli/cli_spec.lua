local paths = require "spec.support.paths"
local process = require "spec.support.process"
local unread = require "spec.support.unread"
local uv = require "luv"

local function run(args, env)
  local argv = { paths.bin "tidegate" }
  for _, arg in ipairs(args) do
    argv[#argv + 1] = arg
  end
  local dir = paths.tmp()
  env = env or {}
  env.HOME = dir
  local p = process.start(argv, { env = env, cwd = dir })
  p:wait(20000)
  return p
end

local function script(text)
  return paths.write(paths.tmp() .. "/bot.lua", text)
end

local GOOD = [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = { "guilds", "guild_messages" } }
gateway.filter({ "TYPING_START", "PRESENCE_UPDATE" }, false)
gateway.filter("MESSAGE_CREATE", function(event) return event.size < 100000 end)
function gateway.manager:calculate_worker_id(shard_id) return shard_id % 2 end
function gateway.shard:heartbeat(interval) return gateway.default.shard.heartbeat(self, interval) end
gateway.on("ready", function() end)
]]

describe("the command line", function()
  after_each(process.cleanup)

  it("tells its version", function()
    local p = run { "version" }
    assert.equal(0, p.exit_code)
    assert.matches("^tidegate %d+%.%d+%.%d+\n$", p.stdout)
  end)

  it("tells the versions of its libraries with --verbose", function()
    local p = run { "version", "--verbose" }
    assert.equal(0, p.exit_code)
    local told = {}
    for name, version in p.stdout:match("^tidegate [%d.]+\n\n(.*)"):gmatch "(%S+) +([^\n]+)\n" do
      assert.matches("^%d+%.%d+", version)
      told[name:lower()] = version
    end
    assert.truthy(told.llhttp or told["http-parser"])
    for _, name in ipairs { "lua-cjson", "linux" } do assert.truthy(told[name], name) end
    local libraries = {
      "luajit", "libuv", "libwebsockets", "openssl", "libcurl", "zlib", "libzstd", "jansson", "hiredis",
    }
    for _, name in ipairs(libraries) do
      local built = process.run({ "pkg-config", "--modversion", name })
      assert.equal(0, built.exit_code, name)
      assert.equal(built.stdout:match "^(.-)%-?\n", told[name], name)
    end
  end)

  it("has a help page for each command that fits a screen", function()
    local pages = { { "help" }, { "run", "--help" }, { "check", "--help" }, { "test", "--help" },
      { "ctl", "--help" }, { "plugin", "--help" }, { "completion", "--help" }, { "version", "--help" }, {} }
    for _, args in ipairs(pages) do
      local p = run(args)
      assert.equal(0, p.exit_code)
      local _, lines = p.stdout:gsub("\n", "")
      assert.is_true(lines >= 3 and lines <= 24, p.stdout)
    end
  end)

  it("has a page for each command of ctl that fits a screen, and leads to no other", function()
    local count = 0
    for command, what in run({ "ctl", "--help" }).stdout:gmatch "\n  (%l[%l-]+)  +([^\n]+)" do
      local p = run { "ctl", command, "--help" }
      assert.equal(0, p.exit_code)
      assert.matches("^tidegate ctl " .. command:gsub("%-", "%%-") .. "[ \n]", p.stdout)
      local _, lines = p.stdout:gsub("\n", "")
      assert.is_true(lines >= 5 and lines <= 24, p.stdout)
      for line in p.stdout:gmatch "[^\n]+" do assert.is_true(#line <= 110, line) end
      assert.is_true(#what <= 85, what)
      assert.equal(p.stdout, run({ "help", "ctl", command }).stdout)
      assert.equal(p.stdout, run({ "ctl", "-h", command }).stdout)
      count = count + 1
    end
    assert.is_true(count >= 10)
    local p = run { "help", "ctl", "stauts" }
    assert.equal(64, p.exit_code)
    assert.matches('ctl has no command "stauts"', p.stderr, 1, true)
  end)

  it("refuses unknown commands, options and words with 64", function()
    for _, args in ipairs {
      { "rum" }, { "run", "--wach" }, { "check", "a.lua", "b.lua" }, { "help", "nope" },
      { "help", "run", "x" }, { "help", "--all" }, { "version", "x" }, { "--version", "x" },
      { "completion", "tcsh" },
    } do
      local p = run(args)
      assert.equal(64, p.exit_code)
      assert.matches(args[#args], p.stderr, 1, true)
      assert.equal("", p.stdout)
    end
  end)

  it("says which command was meant", function()
    for _, args in ipairs { { "rum" }, { "help", "rum" } } do
      assert.matches('did you mean "run"?', run(args).stderr, 1, true)
    end
    assert.matches('did you mean "environment"?', run({ "help", "environmnet" }).stderr, 1, true)
  end)

  it("fails when what it says cannot be written", function()
    for _, command in ipairs { "version", "help", "help run", "check --json" } do
      local p = process.run({ "sh", "-c", ("exec %s %s >/dev/full"):format(paths.bin "tidegate", command) },
        { env = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds" } })
      assert.equal(1, p.exit_code, command)
      assert.matches("standard output cannot be written: No space left", p.stderr, 1, true)
    end
  end)

  it("ends as other programs do when who reads it has had enough", function()
    local env = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds" }
    for _, command in ipairs { "version", "help", "help run", "check --json", "completion bash" } do
      local words = unread.new("gone"):words(1)
      words[#words + 1] = paths.bin "tidegate"
      for word in command:gmatch "%S+" do
        words[#words + 1] = word
      end
      local p = process.run(words, { env = env })
      assert.equal("SIGPIPE", p.signal, command)
      assert.equal("", p.stderr, command)
      local told = process.run({ "sh", "-c", 'trap "" PIPE; exec "$@"', "sh", unpack(words) }, { env = env })
      assert.equal(1, told.exit_code, command)
      assert.matches("standard output cannot be written: Broken pipe", told.stderr, 1, true)
    end
  end)

  it("says that it failed whether or not anybody reads of what", function()
    local words = unread.new("gone"):words(1)
    for _, word in ipairs { paths.bin "tidegate", "check", "--json", script "x = = 1" } do
      words[#words + 1] = word
    end
    assert.equal(1, process.run(words).exit_code)
  end)

  describe("check", function()
    it("shows configuration, overrides, filters and handlers, and no secret", function()
      local p = run({ "check", script(GOOD) }, { EVENT_HANDLER_SECRET_KEY = "hush-hush-hush" })
      assert.equal(0, p.exit_code, p.stderr)
      assert.matches("calculate_worker_id", p.stdout, 1, true)
      assert.matches("heartbeat", p.stdout, 1, true)
      assert.matches("TYPING_START", p.stdout, 1, true)
      assert.is_nil(p.stdout:find("abc.def.ghi", 1, true))
      assert.is_nil(p.stdout:find("hush-hush-hush", 1, true))
    end)

    it("prints one JSON object with --json", function()
      local p = run { "check", "--json", script(GOOD) }
      assert.equal(0, p.exit_code, p.stderr)
      local report = require "cjson".decode(p.stdout)
      assert.equal("***", report.configuration.token)
      assert.is_table(report.worker)
      assert.is_table(report.manager)
    end)

    it("names every mistake of the configuration at once, each with its path", function()
      local p = run { "check", script [[
require "tidegate".configure {
  token = "abc", intents = { "guilds", "guild_mesages" }, spawn_shard_delya = 1,
  event_handler = { urls = { "ftp://x" }, timeout = "long" },
}
]] }
      assert.equal(1, p.exit_code)
      for _, part in ipairs { "intents[2]", "guild_messages", "spawn_shard_delya", "spawn_shard_delay",
        "event_handler.urls[1]", "event_handler.timeout" } do
        assert.matches(part, p.stderr, 1, true)
      end
    end)

    it("shows file, line and traceback of an error in the script", function()
      local p = run { "check", script "require 'tidegate'\nlocal function f() error('oh no') end\nf()\n" }
      assert.equal(1, p.exit_code)
      assert.matches("bot.lua:2: oh no", p.stderr, 1, true)
      assert.matches("traceback", p.stderr, 1, true)
    end)

    it("suggests the name that was meant", function()
      local p = run { "check", script [[
local gateway = require "tidegate"
gateway.configure { token = "abc", intents = 1 }
function gateway.shard:hartbeat() end
]] }
      assert.equal(1, p.exit_code)
      assert.matches("heartbeat", p.stderr, 1, true)
      assert.matches("bot.lua:3", p.stderr, 1, true)
    end)

    it("says so when the script is not there", function()
      local p = run { "check", "no-such-file.lua" }
      assert.equal(1, p.exit_code)
      assert.matches("no-such-file.lua", p.stderr, 1, true)
    end)
  end)

  describe("run", function()
    it("refuses to start without token and intents, with 78, and names both", function()
      local p = run { "run" }
      assert.equal(78, p.exit_code)
      assert.matches("DISCORD_TOKEN", p.stderr, 1, true)
      assert.matches("INTENTS", p.stderr, 1, true)
    end)

    it("ends with 69 when Discord cannot be reached at start", function()
      local p = run({ "run" }, { DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds", TIDEGATE_HURRY = "20",
        REST_URL = "http://127.0.0.1:9/api/v10" })
      assert.equal(69, p.exit_code, p.stderr)
      assert.matches("127.0.0.1:9", p.stderr, 1, true)
    end)

    -- What is at $1, who runs "$@", and what the log has to say.
    local UNUSABLE = {
      ["that cannot be made"] = {
        at = "/proc/nope", says = "cannot be made: /proc/nope: .*TIDEGATE_STATE_DIR",
      },
      ["that is a file"] = { before = 'touch "$1"', says = "Not a directory.*has to name a directory" },
      ["in a file"] = {
        before = 'touch "${1%/*}"', at = "f/state", says = "cannot be made: .*Not a directory",
      },
      ["that is a link to nowhere"] = { before = 'ln -s nowhere "$1"', says = "No such file" },
      ["whose lock is a directory"] = {
        before = 'mkdir -p "$1/lock"', says = "lock cannot be opened: it is a directory[^\n]*remove it",
      },
      ["of another user"] = {
        root = true, before = 'mkdir "$1"', by = "setpriv --reuid 65534 --regid 65534 --clear-groups",
        says = "Permission denied.*has to be writable for this user",
      },
      ["on a file system that is read only"] = {
        root = true, by = "", mounts = true, before = 'mkdir "$1"; mount -t tmpfs -o mode=700,ro tmpfs "$1"',
        says = "Read%-only file system.*TIDEGATE_STATE_DIR",
      },
      ["that has no room"] = {
        root = true, by = "", mounts = true,
        before = 'mkdir "$1"; mount -t tmpfs -o mode=700,nr_inodes=1 tmpfs "$1"',
        says = "No space left on device", code = 1, -- that may be otherwise the next time
      },
    }
    for which, case in pairs(UNUSABLE) do
      it("ends with " .. (case.code or 78) .. " for a state directory " .. which, function()
        if case.root and uv.getuid() ~= 0 then
          pending "needs root"
          return
        end
        local dir = paths.tmp()
        uv.fs_chmod(dir, 493)
        local at = (case.at or "state"):gsub("^[^/]", dir .. "/%0")
        local command = ('%s; shift; exec %s "$@"'):format(case.before or ":", case.by or "")
        local argv = { "sh", "-c", command, "sh", at, paths.bin "tidegate", "run" }
        if case.mounts then
          table.insert(argv, 1, "--mount")
          table.insert(argv, 1, "unshare")
        end
        local p = process.run(argv, {
          env = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds", TIDEGATE_STATE_DIR = at,
            TIDEGATE_CONTROL = "127.0.0.1:0", REST_URL = "http://127.0.0.1:9/api/v10" },
          cwd = "/", timeout = 20000,
        })
        assert.equal(case.code or 78, p.exit_code, p.stderr)
        assert.matches("error manager: [^\n]*" .. case.says, p.stderr)
        assert.matches(at, p.stderr, 1, true)
      end)
    end
  end)
end)
