-- The room of one sink is full, on disk or in memory, or its disk fails: what it loses is told to it alone,
-- and the other one has all.

local accounts = require "spec.support.accounts"
local checker = require "spec.support.checker"
local failing_disk = require "spec.support.failing_disk"
local paths = require "spec.support.paths"
local sinks_trial = require "spec.support.sinks_trial"
local uv = require "luv"

local SHARDS = 2

local function start(options)
  options.shards, options.workers = SHARDS, 1
  options.rate = options.rate or 0
  local t = sinks_trial.start(options)
  t.sinks.audit:wait_for_events(SHARDS, "READY")
  return t
end

-- The bot has all, once, without a word of a loss; the other one has it or is told.
local function judge(t, name)
  t.fake:settings { rate = 0 }
  t.fake:wait_emitted()
  t:assert_nothing_lost { name = name, identifies = SHARDS, of = { "bot" }, repeated = 0, told = true }
  t.sinks.audit:up()
  local told = accounts.await(t, 60000, t.sinks.audit)
  print(("# %s: %d events came to the other one, %d are named by markers"):format(
    name, #t.sinks.audit.events, told))
  return told
end

local BOUNDS = {
  ["disk"] = { disk_bytes = 1048576, memory_bytes = 65536 },
  ["memory"] = { durability = "memory", memory_bytes = 262144 },
  ["memory of a sink without a log"] = { durability = "none", memory_bytes = 262144 },
}

describe("a sink that is down for longer than there is room", function()
  after_each(sinks_trial.stop)

  for where, queue in pairs(BOUNDS) do
    it("on its " .. where .. ": loses its oldest events, and the bot none", function()
      local t = start { sinks = { audit = { queue = queue } }, size = 1000 }
      t.sinks.audit:down()
      t.fake:emit { count = 1500, size = 1000 }
      t:wait_delivered()
      local told = judge(t, "no room on its " .. where)
      assert.is_true(told > 500, told)
      for _, event in ipairs(t.sinks.audit.events) do
        assert.is_true(not event.gap or event.gap.reason == "overflow")
      end
      local shard = t.sinks.audit.by_shard[0]
      assert.is_nil(shard[#shard].gap)
    end)
  end

  it("while it is the bot that is down: the sink has all", function()
    local t = start { queue = BOUNDS.disk, sinks = { audit = {} }, size = 1000 }
    t.bot:down()
    t.fake:emit { count = 1500, size = 1000 }
    local sent = t:wait_delivered(nil, t.sinks.audit)
    checker.assert_complete(t.sinks.audit.events, { guilds = sent })
    t.bot:up()
    assert.is_true(accounts.await(t) > 500)
  end)
end)

describe("a disk that one sink has for itself and that is full", function()
  local mounted

  after_each(function()
    sinks_trial.stop()
    if mounted then
      os.execute("umount " .. mounted)
      mounted = nil
    end
  end)

  it("costs that sink's oldest events, and the other one nothing", function()
    local state_dir = paths.tmp() .. "/state"
    local directory = state_dir .. "/sinks/audit"
    assert(uv.fs_mkdir(state_dir, 448))
    assert(uv.fs_mkdir(state_dir .. "/sinks", 448))
    assert(uv.fs_mkdir(directory, 448))
    if os.execute(("mount -t tmpfs -o mode=700,size=6m tmpfs %s 2>/dev/null"):format(directory)) ~= 0 then
      pending "a small file system can only be mounted by root"
      return
    end
    mounted = directory
    local t = start { state_dir = state_dir, sinks = { audit = { queue = { memory_bytes = 262144 } } } }
    t.sinks.audit:down()
    t.fake:emit { count = 500, size = 1000 }
    t:wait_delivered()
    local others = assert(io.open(mounted .. "/others", "wb"))
    others:setvbuf "no"
    while others:write(("x"):rep(4096)) do end
    others:close()
    t.fake:emit { count = 3000, size = 1000 }
    t:wait_delivered()
    t.gateway:wait_for_log "No space left on device"
    os.remove(mounted .. "/others")
    t.fake:emit { count = 200, size = 1000 }
    t:wait_delivered()
    assert.is_true(judge(t, "its disk is full") > 500)
  end)
end)

describe("a disk that fails where one sink has its log", function()
  after_each(sinks_trial.stop)

  for name, part in pairs { audit = "/sinks/audit/", bot = "/state/log/" } do
    it("and all die: Discord is asked for what was not kept, and nobody has anything twice: " .. name,
      function()
        local disk = failing_disk.new(part)
        local t = start { env = disk:env(), sinks = { audit = {} } }
        t.fake:emit { count = 10 }
        t:wait_delivered()
        t:wait_delivered(nil, t.sinks.audit)
        t.bot:down()
        t.sinks.audit:down()
        t.fake:settings { rate = 400 }
        t:await_emitted(100)
        disk:fail(failing_disk.EIO)
        t.gateway:wait_for_log "the log cannot be written"
        t:await_emitted(200)
        t:kill_group()
        disk:mend()
        t:again()
        t:await_emitted(50)
        t.fake:settings { rate = 0 }
        t.bot:up()
        t.sinks.audit:up()
        t:assert_nothing_lost { name = "the disk of " .. name .. " fails", identifies = SHARDS, repeated = 0 }
      end)
  end
end)
