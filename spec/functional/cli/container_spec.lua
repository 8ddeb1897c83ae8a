-- As process 1 of a container, in a process name space of its own; and the files to build one from.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

local UNSHARE = { "unshare", "--pid", "--mount-proc", "--fork", "--kill-child" }

-- The system may not let us.
local function has_name_spaces()
  local run = process.run { unpack(UNSHARE), "true" }
  return run.exit_code == 0, run.stderr
end

-- All children, zombies included: { [pid] = state }.
local function children(parent)
  local found = {}
  local scan = assert(uv.fs_scandir "/proc")
  for name in function() return uv.fs_scandir_next(scan) end do
    local stat = tonumber(name) and paths.read("/proc/" .. name .. "/stat")
    local state, its_parent = (stat or ""):match "^%d+ %(.*%) (%a) (%d+)"
    if tonumber(its_parent) == parent then
      found[tonumber(name)] = state
    end
  end
  return found
end

describe("process 1", function()
  local init, manager

  after_each(function()
    if init then
      uv.kill(init, "sigterm") -- unshare itself takes no such signals
    end
    init = nil
    scene.stop()
  end)

  local function find(s)
    init = process.children(s.gateway.pid)[1]
    manager = init and process.children(init)[1]
  end

  local function start(options)
    local possible, why = has_name_spaces()
    if not possible then
      pending("no process name spaces here: " .. why)
      return
    end
    options.wrap = UNSHARE
    options.reload = false
    local s = scene.start(options)
    find(s)
    return s
  end

  it("passes signals on, and ends as the gateway does", function()
    local s = start { script = 'local gateway = require "tidegate"\n' }
    if not s then return end
    assert.matches("NSpid:%s+%d+%s+1\n", paths.read(("/proc/%d/status"):format(init)))
    uv.kill(init, "sighup")
    s.gateway:wait_for_log "manager: reloaded generation="
    uv.kill(init, "sigterm")
    assert.equal(0, (s.gateway.process:wait()))
    assert.equal(1, s.gateway:count_log "stopping; the sessions are kept")
    assert.is_nil(s.gateway.stderr:find("asked twice", 1, true))

    s:again()
    assert.equal(1, s:counters().resumes_ok)
    find(s)
    uv.kill(manager, "sigkill")
    assert.equal(128 + 9, (s.gateway.process:wait()))
  end)

  it("is not upgraded: its program comes from an image", function()
    local s = start {}
    if not s then
      return
    end
    local answer = s.gateway:control("POST", "/upgrade")
    assert.equal(409, answer.status)
    assert.matches("start one of the new image in its place", answer:json().error)
    uv.kill(manager, "sigusr2")
    s.gateway:wait_for_log "no upgrade for now .*start one of the new image in its place.*no upgrade for now"
    assert.equal(200, s.gateway:control("GET", "/readyz").status)
  end)

  it("has the exit code of a gateway that cannot start", function()
    local s = start { ready = false, env = { INTENTS = false } }
    if not s then return end
    assert.equal(78, (s.gateway.process:wait()))
  end)

  it("waits for what scripts leave behind", function()
    local file = paths.tmp() .. "/orphan"
    local s = start { script = [[
local gateway = require "tidegate"
local ffi = require "ffi"
ffi.cdef "int system(const char *command);"
gateway.on("load", function()
  if gateway.role == "manager" then
    ffi.C.system "(sh -c 'echo $PPID >]] .. file .. [[') &"
  end
end)
]] }
    if not s then return end
    loop.wait_for("the orphan", function() return (paths.read(file) or ""):match "%d" end)
    loop.wait_for("the end of the orphan", function()
      local left = children(init)
      local is_left = left[manager] ~= nil
      left[manager] = nil
      return is_left and next(left) == nil
    end)
  end)
end)

describe("the Dockerfile", function()
  local text = paths.read(paths.root .. "/examples/deploy/Dockerfile"):gsub("\n#[^\n]*", ""):gsub("\\\n", "")

  local function instructions(name)
    local found = {}
    for arguments in text:gmatch("\n" .. name .. " ([^\n]+)") do
      found[#found + 1] = arguments
    end
    return found
  end

  it("takes only what is there", function()
    for _, arguments in ipairs(instructions "COPY") do
      local source = arguments:match "^(%S+) %S+$"
      if source then
        assert.is_truthy(uv.fs_stat(paths.root .. "/" .. source), arguments)
      else
        assert.matches("^%-%-from=build /usr/local/ /usr/local/$", arguments)
      end
    end
  end)

  it("goes the way of the README: dependencies, build, installation", function()
    local commands = table.concat(instructions "RUN", "\n")
    local readme = paths.read(paths.root .. "/README.md")
    local build = "cmake -G Ninja -B build && cmake --build build"
    assert.matches(build, readme, 1, true)
    assert.matches(build, commands:gsub(" %-S %.", ""), 1, true)
    local help = process.run({ "scripts/install-deps", "--help" }).stdout
    for option in commands:gmatch "install%-deps (%-%-[%l-]+)" do
      assert.matches("scripts/install-deps " .. option .. " ", help, 1, true)
    end
    local _, calls = commands:gsub("install%-deps %-%-", "")
    assert.equal(2, calls)
    assert.matches("cmake --install build --prefix /usr/local", commands, 1, true)
  end)

  it("runs as nobody's root, with the end that keeps the sessions, and asks how the gateway is", function()
    assert.same({ "tidegate" }, instructions "USER")
    assert.same({ "SIGTERM" }, instructions "STOPSIGNAL")
    assert.same({ '["tidegate"]' }, instructions "ENTRYPOINT")
    assert.matches('CMD %["tidegate", "ctl", "status"%]$', instructions "HEALTHCHECK"[1])
    assert.same({ "TIDEGATE_STATE_DIR=/var/lib/tidegate" }, instructions "ENV")
    assert.same({ "/var/lib/tidegate" }, instructions "VOLUME")
  end)
end)
