-- One script, run in the manager and in each worker: what it sees of the other processes, and of the end.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  return scene.start(options)
end

describe("the end of a process", function()
  after_each(scene.stop)

  it("runs unload handlers while the shards are still there, up to their first wait", function()
    local s = start([[
local first
gateway.on("ready", function(shard) first = shard end)
gateway.on("unload", function()
  if gateway.role == "worker" then
    gateway.log.info("unload: shard %d had session %s", first.id, first.session_id)
  else
    gateway.log.info("unload in the manager")
  end
  gateway.sleep(1)
  gateway.log.error("somebody turned the loop once more")
end)
]], { reload = false })
    local session = s:list("sessions")[1]
    assert.equal(0, (s.gateway:stop()))
    s.gateway:wait_for_log("unload: shard 0 had session " .. session.session_id)
    s.gateway:wait_for_log "unload in the manager"
    assert.equal(0, s.gateway:count_log "once more")
  end)
end)

describe("gateway.manager in a worker", function()
  after_each(scene.stop)

  it("runs the manager's override, gateway.default.manager the default", function()
    local s = start([[
function gateway.manager:calculate_shard_id(guild_id, total)
  return 41
end

gateway.on("ready", function()
  local id, manager = "41771983423143937", gateway.manager
  gateway.log.info("override: %d", manager:calculate_shard_id(id, 16))
  gateway.log.info("default: %d", gateway.default.manager.calculate_shard_id(manager, id, 16))
end)
]], { reload = false })
    s.gateway:wait_for_log "worker 0.*: override: 41\n"
    s.gateway:wait_for_log "worker 0.*: default: 6\n"
  end)
end)

describe("a worker that is started again", function()
  after_each(scene.stop)

  local function write(s, name, text)
    paths.write(s.gateway.dir .. "/" .. name .. ".lua", text)
  end

  -- Everybody says what code it runs; workers have a module of their own.
  local function write_all(s, version)
    write(s, "script", ([[
local gateway = require "tidegate"
local shared = require "shared"
local own = gateway.role == "worker" and require "own" or "-"
local function tell()
  gateway.log.info("runs VERSION, %s, %s", shared, own)
end
gateway.on("load", tell)
]]):gsub("VERSION", version))
    write(s, "shared", ("return 'shared %s'"):format(version))
    write(s, "own", ("return 'own %s'"):format(version))
  end

  local function kill_worker(s)
    local pid = s.gateway:worker_pids()[1]
    local log = #s.gateway.stderr
    uv.kill(pid, "sigkill")
    loop.wait_for("another worker", function()
      return s.gateway.stderr:find(": resumed epoch=", log, true)
    end)
    return s.gateway.stderr:sub(log + 1)
  end

  local function scene_of_files()
    local dir = paths.tmp()
    local s = { gateway = { dir = dir } }
    write_all(s, "one")
    s = scene.start { script = dir .. "/script.lua", bot = false, reload = false }
    s.gateway.dir = dir
    s.gateway:wait_for_log "worker 0: runs one, shared one, own one\n"
    return s
  end

  it("runs the code of the others, not what the files have become", function()
    local s = scene_of_files()
    write_all(s, "two")
    local log = kill_worker(s)
    assert.matches("worker 0: runs one, shared one, own one\n", log, 1, true)
    assert.matches("a worker is ready worker=0 generation=1", log, 1, true)
    os.remove(s.gateway.dir .. "/own.lua")
    assert.matches("worker 0: runs one, shared one, own one\n", kill_worker(s), 1, true)

    write_all(s, "three")
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "manager: runs three, shared three, %-\n"
    s.gateway:wait_for_log "worker 0: runs three, shared three, own three\n"
    write_all(s, "four")
    log = kill_worker(s)
    assert.matches("worker 0: runs three, shared three, own three\n", log, 1, true)
    assert.matches("a worker is ready worker=0 generation=2", log, 1, true)
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "worker 0: runs four, shared four, own four\n"
  end)

  it("runs the code of before when a reload has failed", function()
    local s = scene_of_files()
    write_all(s, "two")
    write(s, "own", "return +")
    local ok = s.gateway:reload()
    assert.is_false(ok)
    assert.matches("worker 0: runs one, shared one, own one\n", kill_worker(s), 1, true)
  end)
end)

describe("run --watch", function()
  after_each(scene.stop)

  local MAIN = [[
local gateway = require "tidegate"
local shared = require "shared"
local own = gateway.role == "worker" and require "own" or "-"
gateway.on("load", function() gateway.log.info("runs %s, %s, VERSION", shared, own) end)
]]
  local s, dir

  local function write(name, text)
    paths.write(dir .. "/new", text)
    assert(os.rename(dir .. "/new", ("%s/%s.lua"):format(dir, name))) -- as editors do
  end

  before_each(function()
    dir = paths.tmp()
    write("script", MAIN)
    write("shared", "return 'shared one'")
    write("own", "return 'own one'")
    s = scene.start { script = dir .. "/script.lua", args = { "--watch" }, bot = false }
    s.gateway:wait_for_log "worker 0: runs shared one, own one, VERSION\n"
  end)

  it("reloads for the script and for each module, whichever process requires it", function()
    write("shared", "return 'shared two'")
    s.gateway:wait_for_log "shared%.lua has changed: reloading\n"
    s.gateway:wait_for_log "worker 0: runs shared two, own one, VERSION\n"
    write("own", "return 'own two'")
    s.gateway:wait_for_log "own%.lua has changed: reloading\n"
    s.gateway:wait_for_log "worker 0: runs shared two, own two, VERSION\n"
    write("script", (MAIN:gsub("VERSION", "last")))
    s.gateway:wait_for_log "script%.lua has changed: reloading\n"
    s.gateway:wait_for_log "worker 0: runs shared two, own two, last\n"
  end)

  it("waits until the files have come to rest", function()
    write("shared", "return 'shared two'")
    write("own", "return 'own two'")
    write("script", (MAIN:gsub("VERSION", "two")))
    s.gateway:wait_for_log "worker 0: runs shared two, own two, two\n"
    assert.equal(1, s.gateway:count_log "has changed: reloading")
  end)

  it("tries again when what was broken has changed", function()
    write("own", "return +")
    s.gateway:wait_for_log "nothing has changed:\n  worker 0: [^\n]*\n[^\n]*own.lua:1: "
    write("own", "return 'own two'")
    s.gateway:wait_for_log "worker 0: runs shared one, own two, VERSION\n"
    write("script", "require 'shared' require 'nowhere'")
    s.gateway:wait_for_log "nothing has changed:\n  manager: [^\n]*nowhere"
    write("shared", "return 'shared two'")
    loop.wait_for("a second try", function()
      return s.gateway:count_log "nothing has changed" == 3
    end)
    assert.equal(4, s.gateway:count_log "has changed: reloading")
  end)
end)
