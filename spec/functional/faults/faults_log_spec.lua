-- Whatever is done to the files of a log while nobody runs: the next start does not crash, and each event is
-- delivered or named by a marker.

local accounts = require "spec.support.accounts"
local paths = require "spec.support.paths"
local trial = require "spec.support.kill_trial"
local uv = require "luv"

local SHARDS = 3

-- Small segments, so that there are several.
local SCRIPT = [[
require "tidegate".configure {
  event_handler = { markers = true },
  queue = { disk_bytes = 4194304, memory_bytes = 65536 },
}
]]

local function names_in(directory)
  local names = {}
  local scan = uv.fs_scandir(directory)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then
      break
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- The log that has most in it: {directory, segments, cursors}, names with their path.
local function find_log(t)
  local found = { segments = {} }
  local parent = t.gateway.state_dir .. "/log"
  for _, name in ipairs(names_in(parent)) do
    local log = { directory = parent .. "/" .. name, segments = {}, cursors = {} }
    for _, file in ipairs(names_in(log.directory)) do
      local list = file:find "%.segment$" and log.segments or file:find "^cursor" and log.cursors or {}
      list[#list + 1] = log.directory .. "/" .. file
    end
    if #log.segments > #found.segments then
      found = log
    end
  end
  return found
end

-- How much of a segment is written.
local function used_size(path)
  local content = paths.read(path)
  return #content - #content:match "%z*$"
end

local function overwrite(path, offset, bytes)
  local file = assert(io.open(path, "r+b"))
  file:seek("set", offset)
  file:write(bytes)
  file:close()
end

local function flip_bits(t, path, count)
  local size = used_size(path)
  for _ = 1, count do
    local offset = t.random:between(0, size - 1)
    local file = assert(io.open(path, "rb"))
    file:seek("set", offset)
    local byte = file:read(1):byte()
    file:close()
    overwrite(path, offset, string.char(require("bit").bxor(byte, 2 ^ t.random:between(0, 7))))
  end
end

local function truncate(path, size)
  local fd = assert(uv.fs_open(path, "r+", 384))
  assert(uv.fs_ftruncate(fd, size))
  uv.fs_close(fd)
end

local DAMAGES = {
  { "a flipped bit", function(t, log) flip_bits(t, t.random:one_of(log.segments), 1) end },
  { "many flipped bits in all segments", function(t, log)
    for _, path in ipairs(log.segments) do
      flip_bits(t, path, 20)
    end
  end },
  { "a missing segment", function(t, log) os.remove(t.random:one_of(log.segments)) end },
  { "only the last segment", function(_, log)
    for i = 1, #log.segments - 1 do
      os.remove(log.segments[i])
    end
  end },
  { "a truncated segment", function(t, log)
    local path = t.random:one_of(log.segments)
    truncate(path, t.random:between(1, used_size(path)))
  end },
  { "an empty segment", function(t, log) truncate(t.random:one_of(log.segments), 0) end },
  { "all segments empty", function(_, log)
    for _, path in ipairs(log.segments) do
      truncate(path, 0)
    end
  end },
  { "a segment of zeros", function(t, log)
    local path = t.random:one_of(log.segments)
    overwrite(path, 0, ("\0"):rep(used_size(path)))
  end },
  { "two segments that have changed places", function(_, log)
    os.rename(log.segments[1], log.directory .. "/x")
    os.rename(log.segments[2], log.segments[1])
    os.rename(log.directory .. "/x", log.segments[2])
  end },
  { "a directory in the place of a segment", function(t, log)
    local path = t.random:one_of(log.segments)
    os.remove(path)
    assert(uv.fs_mkdir(path, 448))
  end },
  { "flipped bits in the cursor", function(t, log) flip_bits(t, t.random:one_of(log.cursors), 30) end },
  { "an empty cursor", function(_, log) truncate(log.cursors[1], 0) end },
  { "no cursor", function(_, log) os.remove(log.cursors[1]) end },
  { "a cursor of something else", function(_, log) paths.write(log.cursors[1], ("noise "):rep(2000)) end },
  { "strange files", function(_, log)
    paths.write(log.directory .. "/99999999999.segment", "noise")
    paths.write(log.directory .. "/nonsense.segment", "noise")
    paths.write(log.directory .. "/../noise", "noise")
    assert(uv.fs_mkdir(log.directory .. "/../worker-7", 448))
  end },
}

describe("the next start finds", function()
  after_each(trial.stop)

  for _, damage in ipairs(DAMAGES) do
    it(damage[1], function()
      local t = trial.start { shards = SHARDS, workers = 1, rate = 600, script = SCRIPT }
      t:await_events(20)
      t.bot:down()
      -- So many and no more: what there is no room for is given up, and only the cursor knows of it.
      t.fake:settings { rate = 0 }
      t.fake:emit { count = 1000 } -- a shard
      t.fake:wait_emitted()
      t:kill_group()
      local log = find_log(t)
      assert.is_true(#log.segments >= 3)
      damage[2](t, log)
      t:again()
      t.bot:up()
      t.fake:emit { count = 20 }
      t.fake:wait_emitted()
      local told = accounts.await(t)
      print(("# %s: %d events came, %d are named by markers"):format(damage[1], #t.bot.events, told))
      assert.equal(SHARDS, t:counters().identifies)
      assert.same({}, t:list "violations")
      assert.equal(1, #t.gateway:worker_pids())
      assert.equal(0, t.gateway:count_log "a worker has ended[^\n]* worker=0")
    end)
  end
end)

describe("the running gateway", function()
  after_each(trial.stop)

  it("names what it can no longer read back, and goes on", function()
    local t = trial.start { shards = SHARDS, workers = 1, rate = 6000, script = SCRIPT }
    t:await_events(20)
    t.bot:down()
    t:await_emitted(3000)
    t.fake:settings { rate = 0 }
    t.fake:wait_emitted()
    local log = find_log(t)
    assert.is_true(#log.segments >= 3)
    for i = 1, 3 do
      flip_bits(t, log.segments[i], 10)
    end
    t.bot:up()
    t.fake:emit { count = 20 }
    t.fake:wait_emitted()
    local told = accounts.await(t)
    print(("# flipped while it runs: %d events came, %d are named by markers"):format(#t.bot.events, told))
    assert.is_true(told > 0)
    assert.same({ SHARDS, 0 }, { t:counters().identifies, t:counters().resumes })
    assert.equal(0, t.gateway:count_log "a worker has ended[^\n]* worker=0")
  end)
end)
