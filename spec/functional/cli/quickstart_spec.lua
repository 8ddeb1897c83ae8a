-- scripts/quickstart, as a newcomer runs it: gateway, fake Discord over TLS and example bot.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

after_each(process.cleanup)

local function start(...)
  local script = process.start({ "scripts/quickstart", ... },
    { env = { TG_BUILD = os.getenv "TG_BUILD" or "build" }, cwd = paths.root })
  return script
end

-- Everything that the script had started has ended.
local function assert_nothing_left(pids)
  for _, pid in ipairs(pids) do
    loop.wait_for("process " .. pid .. " to end", function() return not process.is_running(pid) end)
  end
end

local function wait_for_figures(script)
  script:wait_for_output("%-%- 4 shards, %d+ events/s", "stdout", 60000)
  return process.children(script.pid)
end

it("shows events of all shards, and ends by itself", function()
  local script = start("--seconds", "12")
  local pids = wait_for_figures(script)
  script:wait_for_output("shard %d +MESSAGE_CREATE +guild %d+", "stdout")
  script:wait(60000)
  assert.equal(0, script.exit_code, script.stderr)
  assert.matches("%d+ events from 4 shards, 0 repeats dropped\n$", script.stdout)
  assert.is_nil(script.stderr:find "fake.discord.token")
  assert.is_true(#pids >= 3)
  assert_nothing_left(pids)
end)

it("ends cleanly on Ctrl-C", function()
  local script = start()
  local pids = wait_for_figures(script)
  script:kill "SIGINT"
  script:wait(60000)
  assert.equal(0, script.exit_code, script.stderr)
  assert_nothing_left(pids)
end)

it("says what is wrong with its options", function()
  local script = process.run { "scripts/quickstart", "--seconds", "many" }
  assert.equal(64, script.exit_code)
  assert.matches("whole number", script.stderr)
end)
