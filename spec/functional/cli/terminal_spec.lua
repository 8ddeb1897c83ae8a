-- What somebody sees who starts the gateway on a terminal (a pseudo-terminal of script(1)).

local fake_discord = require "spec.support.fake_discord"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

-- The rows that are left on an endless screen, and every bar that was ever to be seen. Knows what the gateway
-- uses: carriage return, newline and "erase to the end of the line".
local function render(output)
  local rows, bars, row, column = {}, {}, "", 0
  local at = 1
  local function note()
    local bar = row:match "%[[#.]+%] .*"
    if bar and bars[#bars] ~= bar then bars[#bars + 1] = bar end
  end
  while at <= #output do
    local text = output:match("^[^\r\n\27]+", at)
    if text then
      row = row:sub(1, column) .. text .. row:sub(column + #text + 1)
      column, at = column + #text, at + #text
    elseif output:sub(at, at + 2) == "\27[K" then
      note()
      row, at = row:sub(1, column), at + 3
    elseif output:sub(at, at) == "\r" then
      note()
      column, at = 0, at + 1
    else
      assert(output:sub(at, at) == "\n", "not known: " .. output:sub(at, at + 5))
      rows[#rows + 1] = row
      row, column, at = "", 0, at + 1
    end
  end
  rows[#rows + 1] = row
  return rows, bars
end

describe("on a terminal", function()
  after_each(process.cleanup)

  local function run(options)
    local fake = fake_discord.start { shards = 6, identify_window = 300 }
    local env = {
      DISCORD_TOKEN = fake.token, REST_URL = fake.rest, INTENTS = 1, TOTAL_WORKERS = 2, SHARDS_PER_WORKER = 3,
      SPAWN_SHARD_DELAY = fake.identify_interval, TIDEGATE_CONTROL = "127.0.0.1:0",
      TIDEGATE_STATE_DIR = paths.tmp() .. "/state",
      TERM = options.term or "xterm", LOG_FORMAT = options.format,
    }
    -- The first line after a bar is shorter than the bar.
    local script = paths.write(paths.tmp() .. "/script.lua",
      'local gateway = require "tidegate" gateway.on("identifying", function() gateway.log.info "x" end)')
    local command = ("%sexec %s run %s"):format(options.before or "", paths.bin "tidegate", script)
    local gateway = process.start({ "script", "-qec", command, "/dev/null" }, { env = env })
    gateway:wait_for_output("all shards are up", "stdout", 20000)
    for _, pid in ipairs(process.children(gateway.pid)) do uv.kill(pid, "sigterm") end
    gateway:wait(20000)
    return gateway.stdout
  end

  it("lines of all processes take the place of the bar", function()
    local rows, bars = render(run {})
    assert.is_true(#bars >= 4, "bars: " .. table.concat(bars, "\n"))
    assert.matches("%[[#.]+%] %d of 6 shards up, about %d s left", bars[1])
    local workers = 0
    for _, line in ipairs(rows) do
      if line ~= "" then
        assert.matches("^%d+%-%d+%-%d+T[%d:.]+Z %l+ +%l+[%w ]*: ", line)
        assert.is_nil(line:find "left *$" or line:find "there *$", line) -- the end of a bar
      end
      if line:find("worker 1", 1, true) then workers = workers + 1 end
    end
    assert.is_true(workers > 5)
  end)

  it("lines are wiped in JSON, too", function()
    local rows = render(run { format = "json" })
    for _, line in ipairs(rows) do
      assert.matches("^{.*}$", line == "" and "{}" or line)
    end
  end)

  it("the bar keeps to the width of the terminal", function()
    local _, bars = render(run { before = "stty cols 50; " })
    for _, bar in ipairs(bars) do assert.is_true(#bar < 50, bar) end
    assert.is_true(#bars > 0)
  end)

  it("that cannot wipe lines there is no bar", function()
    local output = run { term = "dumb" }
    assert.is_nil(output:find "\27")
    assert.matches("of 6 shards are up %(%d+ %%%)", output)
  end)
end)
