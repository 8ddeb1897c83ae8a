-- What is left when a bot has gone over to another number of shards, and back: nothing. With TG_SPEC_LONG=1
-- (scripts/test --long) ten times in a row.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local resharding = require "spec.support.resharding"
local uv = require "luv"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local TURNS = LONG and 5 or 1

local function list(path)
  local names, scan = {}, assert(uv.fs_scandir(path))
  for name in function() return (uv.fs_scandir_next(scan)) end do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function processes(t)
  local pids = t.gateway:worker_pids()
  pids[#pids + 1] = t.gateway.pid
  return pids
end

-- What a process has open or mapped, but for connections: how many of each kind.
local function open_files(pid)
  local counts = {}
  for _, fd in ipairs(list(("/proc/%d/fd"):format(pid))) do
    local target = uv.fs_readlink(("/proc/%d/fd/%s"):format(pid, fd)) or "socket:"
    if not target:find "^socket:" then
      local kind = target:gsub("%d+", "N")
      counts[kind] = (counts[kind] or 0) + 1
    end
  end
  for line in io.lines(("/proc/%d/maps"):format(pid)) do
    local file = line:match "(/[^%s]*/state/.*)$"
    if file then
      local kind = "mapped " .. file:gsub("shards%.1", "shards"):gsub("guilds%.1", "guilds"):gsub("%d+", "N")
      counts[kind] = 1
    end
  end
  return counts
end

local function memory(pid)
  return tonumber(paths.read(("/proc/%d/status"):format(pid)):match "VmRSS:%s*(%d+)")
end

local function series_of_shards(t)
  local found = {}
  for _, family in pairs(prometheus.parse(t.gateway:control("GET", "/metrics").body).families) do
    for _, sample in ipairs(family.samples) do
      if sample.labels.shard then
        found[tonumber(sample.labels.shard)] = true
      end
    end
  end
  return found
end

local function go_over(t, total)
  t:reshard(total)
  t:await_over()
  assert.equal(total, #cjson.decode(t.gateway:control("GET", "/shards").body))
  local shards = series_of_shards(t)
  assert.equal(total, #shards + 1)
end

describe("a bot that has gone over, and back", function()
  after_each(resharding.stop)

  it("has nothing left of that", function()
    local t = resharding.start { shards = 2, per_worker = 1, workers = 2, rate = 200, repeat_rate = 40,
      hurry = 20 }
    local before, files, sizes = {}, list(t.gateway.state_dir), {}
    for _, pid in ipairs(processes(t)) do
      before[pid] = open_files(pid)
    end
    for turn = 1, TURNS do
      go_over(t, 4)
      go_over(t, 2)
      for _, pid in ipairs(processes(t)) do
        sizes[pid] = turn == 1 and memory(pid) or sizes[pid]
      end
    end
    t:assert_verdict {
      name = ("%d reshardings in a row"):format(2 * TURNS),
      identifies = { [2] = 2 + 2 * TURNS, [4] = 4 * TURNS },
    }
    for pid, counts in pairs(before) do
      assert.same(counts, open_files(pid))
      assert.is_true(memory(pid) < sizes[pid] + 2048, ("%d KiB, then %d"):format(sizes[pid], memory(pid)))
    end
    for _, name in ipairs(list(t.gateway.state_dir)) do
      assert.is_nil(name:find "^%.?reshard%.", name)
      assert.is_nil(name:find "^shards%.1", name)
    end
    assert.same({}, list(t.gateway.state_dir .. "/guilds.1"))
    assert.is_true(#list(t.gateway.state_dir) <= #files + 3, "resharding.json, guilds.1, baseline.json")
  end)
end)
