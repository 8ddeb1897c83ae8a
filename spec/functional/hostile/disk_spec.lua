-- A disk that takes no more, under the running gateway.

local accounts = require "spec.support.accounts"
local failing_disk = require "spec.support.failing_disk"
local paths = require "spec.support.paths"
local trial = require "spec.support.kill_trial"
local uv = require "luv"

local SHARDS = 3

-- Segments are of 1 MiB, and all that a spec sends fits into disk_bytes.
local SCRIPT = [[
require "tidegate".configure {
  event_handler = { markers = true },
  queue = { disk_bytes = 8388608, %s },
}
]]

-- A small file system, filled up by others.
local function small()
  local dir = paths.tmp() .. "/state"
  local others = dir .. "/others"
  assert(uv.fs_mkdir(dir, 448))
  if os.execute(("mount -t tmpfs -o mode=700,size=12m tmpfs %s 2>/dev/null"):format(dir)) ~= 0 then
    return nil, "a small file system can only be mounted by root"
  end
  return {
    options = { state_dir = dir },
    fail = function()
      local file = assert(io.open(others, "ab"))
      file:setvbuf "no"
      while file:write(("x"):rep(4096)) do end
      file:close()
    end,
    mend = function() assert(os.remove(others)) end,
    away = function() os.execute("umount -l " .. dir) end,
  }
end

local function failing(number)
  return function()
    local disk = failing_disk.new()
    return {
      options = { env = disk:env() },
      fail = function() disk:fail(number) end,
      mend = function() disk:mend() end,
    }
  end
end

-- RLIMIT_FSIZE of the worker.
local function small_files()
  local function limit(t, size)
    local pid = t.gateway:worker_pids()[1]
    assert.equal(0, os.execute(("prlimit --pid %d --fsize=%s:unlimited"):format(pid, size)))
  end
  return {
    options = {},
    fail = function(t) limit(t, "4096") end,
    mend = function(t) limit(t, "unlimited") end,
  }
end

local DISKS = {
  { "is full", small, "No space left on device" },
  { "is over its quota", failing(failing_disk.EDQUOT), "Disk quota exceeded" },
  { "has errors", failing(failing_disk.EIO), "Input/output error" },
  { "may have no files of that size", small_files, "File too large" },
}

describe("a disk that", function()
  local disk

  after_each(function()
    trial.stop()
    if disk and disk.away then
      disk.away()
    end
    disk = nil
  end)

  for _, row in ipairs(DISKS) do
    it(row[1] .. " costs nothing while there is memory, and has it all once it is mended", function()
      local problem
      disk, problem = row[2]()
      if not disk then
        pending(problem)
        return
      end
      local options = {
        shards = SHARDS, workers = 1, rate = 2500, size = 2000,
        script = SCRIPT:format 'drop_first = { "MESSAGE_CREATE" }',
      }
      for name, value in pairs(disk.options) do
        options[name] = value
      end
      local t = trial.start(options)
      t.bot:down()
      t:await_emitted(200)
      disk.fail(t)
      t.gateway:wait_for_log("the log cannot be written: [^\n]*" .. row[3], 30000)
      t:await_emitted(1000)
      disk.mend(t)
      t:await_emitted(100)
      t.fake:settings { rate = 0 }
      t.fake:wait_emitted()
      t.gateway:wait_for_log("the log is written again", 20000)
      -- All of it is in the log: after a kill Discord is asked for nothing.
      t:kill_group()
      t:again()
      t.bot:up()
      assert.equal(0, accounts.await(t))
      for _, resume in ipairs(t:list "resumes") do
        assert.equal(0, resume.replayed)
      end
      assert.equal(SHARDS, t:counters().identifies)
      assert.same({}, t:list "violations")
    end)
  end

  it("is full, while others take what it gives back, costs what is told, and no more later", function()
    local problem
    disk, problem = small()
    if not disk then
      pending(problem)
      return
    end
    local t = trial.start {
      shards = SHARDS, workers = 1, rate = 2500, size = 2000, script = SCRIPT:format "memory_bytes = 1048576",
      state_dir = disk.options.state_dir,
    }
    t.bot:down()
    t:await_emitted(1000)
    disk.fail()
    t.gateway:wait_for_log("the log cannot be written", 30000)
    for _ = 1, 10 do -- memory is full meanwhile
      t:await_emitted(150)
      disk.fail()
    end
    disk.mend()
    t.gateway:wait_for_log "the log is written again"
    t:await_emitted(100)
    t.fake:settings { rate = 0 }
    t.fake:wait_emitted()
    t.bot:up()
    assert.is_true(accounts.await(t) > 0)
    assert.is_nil(t.bot.by_shard[0][#t.bot.by_shard[0]].gap) -- the newest are there
    assert.equal(SHARDS, t:counters().identifies)
  end)
end)
