-- The disk fails under the running gateway: what cannot be written stays in memory, what has to go is told.

local accounts = require "spec.support.accounts"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local trial = require "spec.support.kill_trial"
local uv = require "luv"

local SHARDS, NOBODY = 3, 65534

local function script(queue)
  return ([[
require "tidegate".configure { event_handler = { markers = true }, queue = { %s } }
]]):format(queue)
end

local function log_directory(t)
  local parent = t.gateway.state_dir .. "/log"
  return parent .. "/" .. uv.fs_scandir_next(uv.fs_scandir(parent))
end

-- Ends the load; all of it has to be at the bot, or named by markers.
local function settle(t, name)
  t.fake:settings { rate = 0 }
  t.fake:wait_emitted()
  t.bot:up()
  local told = accounts.await(t)
  print(("# %s: %d events came, %d are named by markers"):format(name, #t.bot.events, told))
  assert.equal(SHARDS, t:counters().identifies)
  assert.same({}, t:list "violations")
  return told
end

describe("a log directory that can no longer be written", function()
  after_each(trial.stop)

  -- Permissions do not count for root: the gateway runs as nobody then.
  local function start(queue)
    local dir, wrap = paths.tmp(), nil
    local state_dir, file = dir .. "/state", paths.write(dir .. "/queue.lua", script(queue))
    assert(uv.fs_mkdir(state_dir, 448))
    if uv.getuid() == 0 then
      wrap = {
        "setpriv", "--pdeathsig", "KILL", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--",
      }
      assert(uv.fs_chmod(dir, 493))
      assert(uv.fs_chown(state_dir, NOBODY, NOBODY))
    end
    local t = trial.start {
      shards = SHARDS, workers = 1, rate = 1500, state_dir = state_dir, script = file, wrap = wrap,
    }
    t.bot:down()
    return t
  end

  local function forbid(t)
    assert(uv.fs_chmod(log_directory(t), 320)) -- r-x
    t.gateway:wait_for_log "the log cannot be written: [^\n]*Permission denied"
  end

  local function allow(t)
    assert(uv.fs_chmod(log_directory(t), 448))
  end

  it("costs nothing while memory lasts, and is written again when it can be", function()
    local t = start "disk_bytes = 8388608"
    t:await_emitted(500)
    forbid(t)
    t:await_emitted(1000)
    allow(t)
    t.gateway:wait_for_log "the log is written again"
    t:await_emitted(500)
    assert.equal(0, settle(t, "unwritable at run time"))
  end)

  it("does not cost what is on disk already, when memory is full", function()
    local t = start "disk_bytes = 8388608, memory_bytes = 524288"
    t:await_emitted(500)
    forbid(t) -- a segment of 1 MiB is full, at least
    t:await_emitted(2500) -- a fifth of them fits into memory
    local told = settle(t, "unwritable at run time, memory full")
    local last = t.fake:sent(0).shards[1].sessions[1].sequence
    for _, event in ipairs(t.bot.by_shard[0]) do
      if event.gap then
        assert.is_true(event.gap.from > 250, "the oldest are lost, which were on disk")
        assert.is_true(event.gap.to < last, "the newest are lost")
      end
    end
    assert.is_true(told > 1000, told)
  end)

  it("has Discord asked again for what was dropped, when the gateway is killed meanwhile", function()
    local t = start "disk_bytes = 16777216, memory_bytes = 524288"
    t:await_emitted(500)
    forbid(t)
    t:await_emitted(2500)
    t.fake:settings { rate = 0 }
    t:kill_group()
    allow(t)
    t:again()
    assert.equal(0, settle(t, "unwritable at run time, memory full, killed"))
  end)

  it("keeps what it had, when the gateway is killed meanwhile", function()
    local t = start "disk_bytes = 16777216"
    t:await_emitted(500)
    forbid(t)
    t:await_emitted(500)
    t:kill_group()
    allow(t)
    t:again() -- Discord is asked for the rest
    assert.equal(0, settle(t, "unwritable at run time, killed"))
  end)
end)

describe("a disk that is full", function()
  local mounted

  after_each(function()
    trial.stop()
    if mounted then
      os.execute("umount " .. mounted)
      mounted = nil
    end
  end)

  local function mount(megabytes)
    local dir = paths.tmp() .. "/state"
    assert(uv.fs_mkdir(dir, 448))
    local command = ("mount -t tmpfs -o mode=700,size=%dm tmpfs %s 2>/dev/null"):format(megabytes, dir)
    if os.execute(command) == 0 then
      mounted = dir
    end
    return mounted
  end

  -- Others take all the room that is left.
  local function fill()
    local file = assert(io.open(mounted .. "/others", "wb"))
    file:setvbuf "no"
    while file:write(("x"):rep(4096)) do end
    file:close()
  end

  it("costs the oldest events, and nothing once there is room again", function()
    if not mount(12) then
      pending "a small file system can only be mounted by root"
      return
    end
    local t = trial.start {
      shards = SHARDS, workers = 1, rate = 6000, state_dir = mounted, script = script "memory_bytes = 524288",
    }
    t.bot:down()
    t:await_emitted(3000)
    fill()
    t:await_emitted(6000)
    t.gateway:wait_for_log "the disk is full"
    os.remove(mounted .. "/others")
    t:await_emitted(3000)
    local told = settle(t, "disk full")
    assert.is_true(told > 1000, told)
    for _, event in ipairs(t.bot.by_shard[0]) do
      assert.is_true(not event.gap or event.gap.reason == "disk_full" or event.gap.reason == "overflow")
    end
    local last = t.bot.by_shard[0][#t.bot.by_shard[0]]
    assert.is_nil(last.gap)
  end)

  it("keeps the gateway from starting, with a line that says why", function()
    if not mount(1) then
      pending "a small file system can only be mounted by root"
      return
    end
    fill()
    local t = scene.start { ready = false, state_dir = mounted }
    t.gateway.process:wait()
    assert.is_true(t.gateway.exit_code == 1 or t.gateway.exit_code == 78, t.gateway.exit_code)
    t.gateway:wait_for_log "No space left on device"
  end)
end)

describe("a log directory that is removed", function()
  after_each(trial.stop)

  it("costs what was in it only", function()
    local t = trial.start {
      shards = SHARDS, workers = 1, rate = 6000, script = script "disk_bytes = 4194304",
    }
    t.bot:down()
    t:await_emitted(2000)
    os.execute(("rm -r %s/log"):format(t.gateway.state_dir))
    t:await_emitted(2000)
    settle(t, "directory removed at run time")
    t.gateway:stop()
    t:again()
    t.fake:emit { count = 10 }
    settle(t, "and after a restart")
    assert.equal(0, t.gateway:count_log "a worker has ended[^\n]* worker=0")
  end)
end)

describe("queue.durability = memory", function()
  after_each(trial.stop)

  it("tells what did not fit, in its place", function()
    local t = trial.start {
      shards = SHARDS, workers = 1, rate = 6000,
      script = script 'durability = "memory", memory_bytes = 262144',
    }
    t.bot:down()
    t:await_emitted(3000)
    local told = settle(t, "memory is full")
    assert.is_true(told > 1000, told)
  end)
end)
