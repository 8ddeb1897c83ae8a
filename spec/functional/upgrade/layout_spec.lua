-- What a worker has counted is read by the next program where that lays its statistics out in the same way:
-- by a text that the build makes of what is declared.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local trial = require "spec.support.upgrade_trial"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

describe("the layout of statistics", function()
  after_each(trial.stop)

  it("is another text for other fields, and the same for other words about them", function()
    local dir = paths.tmp()
    local declared = read(paths.root .. "/src/shared/stats.h")
    local function layout(text)
      local source, made = paths.write(dir .. "/stats.h", text), dir .. "/layout.c"
      local run = process.run {
        "cmake", "-DSOURCES=" .. source, "-DOUTPUT=" .. made, "-P", paths.root .. "/src/shared/layout.cmake",
      }
      assert.equal(0, run.exit_code, run.stderr)
      return (assert(read(made):match '"(stats%-%x+)"'))
    end
    local function changed(from, to)
      local text, count = declared:gsub(from, to)
      assert.equal(1, count, from)
      return layout(text)
    end
    local now = layout(declared)
    assert.equal(now, changed("/%* of the messages received, inflated %*/", "/* as\n * they came */"))
    assert.equal(now, changed("struct tg_stats {\n", "struct tg_stats\n{\n\n"))
    assert.not_equal(now, changed("received, filtered, delivered;", "received, delivered, filtered;"))
    assert.not_equal(now, changed("_Atomic uint64_t lua_skipped;", "_Atomic int64_t lua_skipped;"))
    assert.not_equal(now, changed("_Atomic uint64_t lua_renewed;", "_Atomic uint64_t lua_renowned;"))
  end)

  it("of another program: counters of workers begin anew, and the log says so", function()
    local t = trial.start { shards = 2, per_worker = 1, workers = 2 }
    local made = read(paths.build .. "/stats_layout.c"):match '"(stats%-%x+)"'
    local other = made:sub(1, -2) .. (made:sub(-1) == "0" and "1" or "0")
    t:await_events(200)
    local before = t:metrics():sum "tidegate_events_received_total"
    t:install { [made] = other }
    t.fake:settings { rate = 0 }
    t.scene:wait_delivered()
    assert.equal("done", t:upgrade().result)
    assert.equal(2, t.gateway:count_log "what the worker has counted is of another version")
    assert.is_true(t:metrics():sum "tidegate_events_received_total" < before)
    t:install { [made] = other, ["0.1.0"] = "0.1.7" }
    before = t:metrics():sum "tidegate_events_received_total"
    assert.equal("done", t:upgrade().result)
    assert.equal(2, t.gateway:count_log "what the worker has counted is of another version")
    assert.is_true(t:metrics():sum "tidegate_events_received_total" >= before)
  end)
end)
