-- The Debian package: what is in it, and its life on a system that is a copy of this one: installed,
-- configured, started by the command line of its unit, upgraded under a running bot, removed, purged.

local bot_support = require "spec.support.bot"
local fake_discord = require "spec.support.fake_discord"
local notify_socket = require "spec.support.notify_socket"
local overlay = require "spec.support.overlay"
local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local UNIT = "/usr/lib/systemd/system/tidegate.service"

local function run(...)
  local p = process.run({ ... }, { timeout = 60000 })
  assert.equal(0, p.exit_code, p.stdout .. p.stderr)
  return p.stdout
end

local dir, deb

setup(function()
  dir = paths.tmp()
  local said = run("cpack", "--config", paths.build .. "/CPackConfig.cmake", "-B", dir)
  deb = assert(said:match "package: (%S+%.deb) generated", said)
end)
teardown(process.cleanup)

-- The values of a key of the unit, in order.
local function unit(text, key)
  local values = {}
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^(%w+)=(.*)$"
    if name == key then
      values[#values + 1] = value
    end
  end
  return values
end

describe("the package", function()
  it("needs the libraries that install-deps --runtime brings", function()
    local needed, brought = {}, {}
    for name in run("dpkg-deb", "-f", deb, "Depends"):gmatch "%f[%w](lib[%w.+-]+)[^,|]*[,|\n]" do
      needed[name] = name ~= "libc6" or nil
    end
    needed["libluajit2-5.1-2"] = nil -- the other of an either-or
    needed.zlib1g, brought.zlib1g = true, nil
    local list = paths.read(paths.root .. "/scripts/install-deps"):match "\nlibraries=%((.-)%)"
    for names in list:gmatch '[^%s"]+' do
      local name
      for one in names:gmatch "[^|]+" do -- the names of several releases
        name = needed[one] and one or name or one
      end
      brought[name] = true
    end
    for _, name in ipairs { "libasan8", "libubsan1" } do
      needed[name] = nil -- of a build with sanitizers
    end
    assert.same(brought, needed)
  end)

  it("needs what scripts and TLS find at run time", function()
    local depends = run("dpkg-deb", "-f", deb, "Depends")
    local count = 0
    for name in paths.read(paths.root .. "/scripts/install-deps"):match "\nrun=%((.-)%)":gmatch "%S+" do
      assert.matches("%f[%w]" .. name:gsub("%-", "%%-") .. "%f[^%w-]", depends)
      count = count + 1
    end
    assert.equal(2, count)
  end)

  it("keeps the settings of the operator, and secrets from other users", function()
    local conffiles = run("dpkg-deb", "-I", deb, "conffiles")
    assert.equal("/etc/tidegate/gateway.lua\n/etc/tidegate/tidegate.env\n", conffiles)
    local list = run("dpkg-deb", "-c", deb)
    assert.matches("\n%-rw%-%-%-%-%-%-%- root/root [^\n]* ./etc/tidegate/tidegate.env\n", list)
    for line in list:gmatch "[^\n]+" do
      assert.matches("^[d-]rw[x-]......? root/root ", line)
      assert.is_nil(line:find "^.....w" or line:find "^........w", line) -- only root changes it
    end
    assert.is_nil(list:find(paths.root, 1, true))
  end)

  it("has what the installation has: programs, unit, manual, types, examples", function()
    local list = run("dpkg-deb", "-c", deb)
    for _, path in ipairs {
      "bin/tidegate", "bin/tidegate-fake-discord", "lib/systemd/system/tidegate.service",
      "share/man/man1/tidegate.1.gz", "share/bash-completion/completions/tidegate",
      "share/zsh/vendor-completions/_tidegate", "share/fish/vendor_completions.d/tidegate.fish",
      "share/tidegate/meta/gateway.lua", "share/doc/tidegate/copyright",
      "share/doc/tidegate/README.md", "share/doc/tidegate/lua/README.md",
      "share/doc/tidegate/examples/deploy/README.md", "share/doc/tidegate/examples/scripts/first.lua",
    } do
      assert.matches(" ./usr/" .. path .. "\n", list, 1, true)
    end
  end)
end)

describe("the unit", function()
  local text = paths.read(paths.root .. "/examples/deploy/tidegate.service")

  it("has the exit codes that a restart does not mend", function()
    assert.same({ "64 78" }, unit(text, "RestartPreventExitStatus"))
    assert.same({ "on-failure" }, unit(text, "Restart"))
  end)

  it("leaves LuaJIT its machine code, and the ending to the manager", function()
    assert.same({ "no" }, unit(text, "MemoryDenyWriteExecute"))
    assert.same({ "mixed" }, unit(text, "KillMode"))
  end)

  it("keeps memory, and the secrets in it, out of core dumps", function()
    assert.same({ "0" }, unit(text, "LimitCORE"))
  end)

  it("bounds what a script can reach", function()
    local path = paths.root .. "/examples/deploy/tidegate.service"
    local argv = { "systemd-analyze", "security", "--offline=true", "--threshold=16", "--no-pager", path }
    if not uv.fs_stat "/usr/bin/systemd-analyze" then
      pending "no systemd-analyze here"
      return
    end
    local security = process.run(argv)
    assert.equal(0, security.exit_code, security.stdout .. security.stderr)
    assert.matches("Overall exposure level for tidegate.service: [01]%.[0-9]", security.stdout)
  end)

  it("has a credential for each secret, named as the gateway looks for it", function()
    local secrets, credentials = {}, {}
    for row in paths.read(paths.root .. "/src/config/config_options.c")
      :gsub("\\%s*\n", " "):gsub("\n?  X%(", "\n"):gmatch "[^\n]+" do
      local variable = row:match '^"[%l_.]+", .-%.env = "([%u_]+)"'
      if variable and (row:find "%.secret = true" or row:find "%.in_file = true") then
        secrets[#secrets + 1] = variable:lower()
      end
    end
    for _, credential in ipairs(unit(text, "LoadCredential")) do
      local name, file = credential:match "^([%l_]+):(tidegate%.[%l_]+)$"
      assert.matches(file, pages.all(), 1, true)
      credentials[#credentials + 1] = name
    end
    assert.is_true(#secrets >= 5)
    assert.same(secrets, credentials)
  end)
end)

describe("on a system", function()
  local root, why, fake, bot, socket, service
  local SHARDS = 2

  setup(function()
    root, why = overlay.open(dir)
    fake = fake_discord.start { shards = SHARDS }
    bot = bot_support.start {}
    socket = notify_socket.open { abstract = true }
  end)

  teardown(function()
    process.cleanup()
    notify_socket.cleanup()
    bot_support.cleanup()
  end)

  local function on_system(what, fn)
    it(what, function()
      if not root then
        pending("no overlay here: " .. why)
        return
      end
      fn()
    end)
  end

  local function file(path) return paths.read(root:path(path)) end
  local function exists(path) return uv.fs_lstat(root:path(path)) ~= nil end

  local function dpkg(...)
    local p = root:run({ "dpkg", "--no-triggers", ... }, {
      env = { DEBIAN_FRONTEND = "noninteractive" }, timeout = 60000,
    })
    assert.equal(0, p.exit_code, p.stdout .. p.stderr)
    return p.stdout .. p.stderr
  end

  -- What systemd does with the unit, but for its sandbox.
  local function start_service()
    local text = file(UNIT)
    local env = {
      NOTIFY_SOCKET = socket.name, TIDEGATE_HURRY = 20, HOME = "/var/lib/tidegate",
      STATE_DIRECTORY = "/var/lib/" .. unit(text, "StateDirectory")[1],
      WATCHDOG_USEC = unit(text, "WatchdogSec")[1] * 1000000,
    }
    for name, value in file(unit(text, "EnvironmentFile")[1]:match "^%-(.*)"):gmatch "\n([A-Z_]+)=([^\n]*)" do
      env[name] = value
    end
    local words = {}
    for word in unit(text, "ExecStart")[1]:gmatch "%S+" do
      words[#words + 1] = word
    end
    service = root:start(words, { env = env, user = unit(text, "User")[1] })
    return service
  end

  local function wait_ready()
    local from = #socket:read() + 1
    start_service()
    local message = socket:wait_for("READY=1", from)
    assert.equal(service.pid, message.pid)
    socket:wait_for(("STATUS=%d of %d shards up"):format(SHARDS, SHARDS), from)
  end

  local function counters() return fake:state("counters").counters end

  on_system("it installs: user, state directory, settings; and says what to do next", function()
    local said = dpkg("-i", deb)
    assert.matches("the bot's token into /etc/tidegate/tidegate.env, then: systemctl enable", said, 1, true)
    assert.matches("\ntidegate:x:%d+:%d+:[^:]*:/var/lib/tidegate:/usr/sbin/nologin\n", file "/etc/passwd")
    local state = assert(uv.fs_stat(root:path "/var/lib/tidegate"))
    assert.equal(tonumber(file "/etc/passwd":match "\ntidegate:x:(%d+)"), state.uid)
    assert.equal(tonumber("40750", 8), state.mode)
    assert.equal(tonumber("100600", 8), uv.fs_stat(root:path "/etc/tidegate/tidegate.env").mode)
  end)

  on_system("the unit is in order", function()
    if not exists "/usr/bin/systemd-analyze" then
      pending "no systemd-analyze here"
      return
    end
    local verify = root:run { "systemd-analyze", "--man=no", "verify", UNIT }
    assert.equal(0, verify.exit_code, verify.stderr)
    assert.equal("", verify.stderr)
    local security = root:run {
      "systemd-analyze", "security", "--offline=true", "--threshold=16", "--no-pager", UNIT,
    }
    assert.equal(0, security.exit_code, security.stdout .. security.stderr)
  end)

  on_system("without a token it says what is missing, and is not started again", function()
    start_service()
    assert.equal(78, (service:wait()))
    assert.matches("token: is required; set DISCORD_TOKEN in the environment", service.stderr, 1, true)
    assert.matches(" 78$", unit(file(UNIT), "RestartPreventExitStatus")[1])
  end)

  on_system("scripts of the service find lua-cjson", function()
    paths.write(root:path "/srv/bot.lua", [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 0 }
assert(require "cjson".null == gateway.json.null)
]])
    local program, user = unit(file(UNIT), "ExecStart")[1]:match "^%S+", unit(file(UNIT), "User")[1]
    local check = root:run({ program, "check", "/srv/bot.lua" }, {
      user = user, env = { HOME = "/nonexistent" }, -- as such users have it
    })
    assert.equal(0, check.exit_code, check.stderr)
    assert.equal("", check.stderr)
  end)

  on_system("with a token and a bot it starts", function()
    local env = file "/etc/tidegate/tidegate.env"
    local values = {
      DISCORD_TOKEN = fake.token, EVENT_HANDLER_URL = bot.url, EVENT_HANDLER_SECRET_KEY = bot.authorization,
      TIDEGATE_CONTROL = "127.0.0.1:0",
    }
    for name, value in pairs(values) do
      local count
      env, count = env:gsub("\n#?" .. name .. "=[^\n]*", function() return "\n" .. name .. "=" .. value end)
      assert.equal(1, count, name .. " is not in the example")
    end
    paths.write(root:path "/etc/tidegate/tidegate.env", ("%sREST_URL=%s\nSPAWN_SHARD_DELAY=%d\n"):format(
      env, fake.rest, fake.identify_interval))
    wait_ready()
    fake:emit { count = 10 }
    bot:wait_for_events(10, "MESSAGE_CREATE")
    assert.equal(SHARDS, counters().identifies_ok)
  end)

  local function stub(name, body)
    local path = root:path("/usr/local/sbin/" .. name)
    paths.write(path, "#!/bin/sh\necho " .. name .. ' "$@" >>/calls\n' .. (body or ""))
    uv.fs_chmod(path, tonumber("755", 8))
  end

  local function next_version(name)
    local tree, next_deb = dir .. "/" .. name, dir .. "/" .. name .. ".deb"
    run("dpkg-deb", "-R", deb, tree)
    local control = paths.read(tree .. "/DEBIAN/control")
    control = control:gsub("\nVersion: [^\n]*", "%0+" .. name)
    paths.write(tree .. "/DEBIAN/control", control)
    run("dpkg-deb", "--root-owner-group", "-b", tree, next_deb)
    return next_deb
  end

  on_system("an upgrade has the new version take over in the running process", function()
    run("mkdir", "-p", root:path "/run/systemd/system")
    stub("systemctl", ([[
case "$*" in
  *MainPID*) echo %d ;;
  *SIGUSR2*) kill -USR2 %d ;;
  *ActiveState*) echo active ;;
esac
]]):format(service.pid, service.pid))
    stub "deb-systemd-invoke"
    dpkg("-i", next_version "newer")
    service:wait_for_output("manager: upgraded from", "stderr", 30000)
    assert.is_nil(file "/calls":find("deb-systemd-invoke", 1, true))
    assert.is_nil(service.ended)
    fake:emit { count = 5 }
    bot:wait_for_events(15, "MESSAGE_CREATE")
    assert.equal(SHARDS, counters().resumes_ok)
    assert.equal(SHARDS, counters().identifies)
    os.remove(root:path "/calls")
  end)

  on_system("where that cannot be, it restarts it, and every session goes on", function()
    stub("systemctl", 'case "$*" in *SIGUSR2*) exit 1 ;; esac\n') -- the service is active
    local settings = file "/etc/tidegate/tidegate.env"
    local said = dpkg("-i", next_version "next")
    assert.is_nil(said:find("systemctl enable", 1, true))
    assert.equal("systemctl daemon-reload\nsystemctl --quiet is-active tidegate.service\n"
      .. "systemctl show --property=MainPID --value tidegate.service\n"
      .. "systemctl kill --kill-who=main --signal=SIGUSR2 tidegate.service\n"
      .. "deb-systemd-invoke restart tidegate.service\n", file "/calls")
    assert.equal(settings, file "/etc/tidegate/tidegate.env")
    assert.is_nil(service.ended) -- the old version ran on until now
    fake:emit { count = 10 }
    bot:wait_for_events(25, "MESSAGE_CREATE")

    service:kill "SIGTERM"
    assert.equal(0, (service:wait(20000)))
    fake:emit { count = 10 } -- while nobody is there
    wait_ready()
    bot:wait_for_events(35, "MESSAGE_CREATE")
    local counted = counters()
    assert.equal(2 * SHARDS, counted.resumes_ok)
    assert.equal(SHARDS, counted.identifies)
    assert.same({}, fake:state("violations").violations)
  end)

  on_system("its removal ends it, and keeps settings and state", function()
    os.remove(root:path "/calls")
    local uid = uv.fs_stat(root:path "/var/lib/tidegate").uid
    dpkg("-r", "tidegate")
    assert.equal("deb-systemd-invoke stop tidegate.service\nsystemctl --quiet disable tidegate.service\n"
      .. "systemctl daemon-reload\n", file "/calls")
    service:kill "SIGTERM"
    assert.equal(0, (service:wait(20000)))
    for _, path in ipairs { "/usr/bin/tidegate", UNIT, "/usr/share/doc/tidegate", "/usr/share/tidegate" } do
      assert.is_false(exists(path), path)
    end
    assert.is_true(exists "/etc/tidegate/tidegate.env")
    assert.equal(uid, uv.fs_stat(root:path "/var/lib/tidegate").uid)
    assert.is_true(exists "/var/lib/tidegate/shards")
  end)

  on_system("a purge leaves nothing", function()
    dpkg("-P", "tidegate")
    for _, path in ipairs { "/etc/tidegate", "/var/lib/tidegate" } do
      assert.is_false(exists(path), path)
    end
    assert.is_nil(file "/etc/passwd":find("tidegate", 1, true))
    assert.is_nil(file "/etc/group":find("tidegate", 1, true))
    assert.is_nil(root:run({ "dpkg", "-l", "tidegate" }).stdout:find "\nii")
  end)
end)

