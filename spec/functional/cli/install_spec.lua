-- `cmake --install` to a prefix: what runs in the build directory runs from there, and needs nothing of it.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

describe("installed", function()
  local build, prefix = paths.build, nil

  setup(function()
    prefix = paths.tmp()
    local install = process.run({ "cmake", "--install", build, "--prefix", prefix }, { timeout = 30000 })
    assert.equal(0, install.exit_code, install.stderr)
    paths.build = prefix .. "/bin"
  end)
  teardown(function() paths.build = build end)
  after_each(scene.stop)

  it("gateway and fake Discord run, workers included", function()
    local s = scene.start { shards = 2, per_worker = 1, script = [[
local gateway = require "tidegate"
gateway.on("load", function() gateway.log.info "loaded" end)
]] }
    assert.equal(2, #s.gateway:worker_pids())
    for _, pid in ipairs(s.gateway:worker_pids()) do
      assert.equal(prefix .. "/bin/tidegate", require "luv".fs_readlink(("/proc/%d/exe"):format(pid)))
    end
    s.fake:emit { count = 10 }
    s.bot:wait_for_events(10, "MESSAGE_CREATE")
    s.gateway:wait_for_log "worker 1: loaded"
    assert.equal(0, (s.gateway:stop()))
  end)

  it("the test kit is there", function()
    local dir = paths.tmp()
    paths.write(dir .. "/bot.lua", 'require "tidegate".filter("TYPING_START", false)\n')
    paths.write(dir .. "/bot_spec.lua", [[
it("drops typing", function()
  local kit = require "tidegate.test".load "bot.lua"
  assert.equal("dropped", kit:event("TYPING_START", {}).outcome)
end)
]])
    local run = process.run({ paths.bin "tidegate", "test", "." }, { cwd = dir, timeout = 30000 })
    assert.equal(0, run.exit_code, run.stdout .. run.stderr)
  end)

  it("the manual is there", function()
    for _, name in ipairs { "tidegate", "tidegate-fake-discord" } do
      assert.matches("^.*%.TH ", paths.read(("%s/share/man/man1/%s.1"):format(prefix, name)))
    end
  end)

  it("what shells complete is there, as the program writes it", function()
    for shell, path in pairs {
      bash = "bash-completion/completions/tidegate", zsh = "zsh/site-functions/_tidegate",
      fish = "fish/vendor_completions.d/tidegate.fish",
    } do
      local said = process.run({ paths.bin "tidegate", "completion", shell }).stdout
      assert.equal(said, paths.read(prefix .. "/share/" .. path))
    end
  end)

  it("the unit of the service names the program that is there", function()
    local unit = paths.read(prefix .. "/lib/systemd/system/tidegate.service")
    assert.matches("\nExecStart=" .. prefix .. "/bin/tidegate run /etc/tidegate/gateway.lua\n", unit, 1, true)
    local example = paths.read(paths.root .. "/examples/deploy/tidegate.service")
    assert.equal(example, (unit:gsub(prefix:gsub("%p", "%%%0") .. "/bin", "/usr/bin")))
  end)

  it("manual, README and examples are there", function()
    for _, path in ipairs {
      "man/man1/tidegate.1", "doc/tidegate/README.md", "doc/tidegate/lua/README.md",
      "doc/tidegate/examples/deploy/README.md", "doc/tidegate/examples/scripts/first.lua",
    } do
      assert.is_truthy(paths.read(prefix .. "/share/" .. path), path)
    end
  end)

  it("the types for editors are there", function()
    assert.matches("^%-%-%-@meta tidegate\n", paths.read(prefix .. "/share/tidegate/meta/gateway.lua"))
  end)
end)
