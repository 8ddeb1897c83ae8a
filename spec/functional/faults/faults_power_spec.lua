-- The machine has lost its power: what the kernel had not written is as it was before. The rest is in
-- spec/unit/event_log/event_log_power_test.c and its like.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

after_each(scene.stop)

-- As a start of the machine leaves it, an hour later.
local function start_machine_anew(state_dir)
  local file = state_dir .. "/clock.json"
  local text = assert(paths.read(file))
  local clock = cjson.decode(text)
  clock.boot, clock.steady = "another", clock.steady + 3600000
  paths.write(file, cjson.encode(clock))
end

local function lose_session(s)
  local sessions = s:counters().identifies_ok
  s.fake:fault { ["do"] = "invalid_session", resumable = false }
  s:wait_counter("identifies_ok", sessions + 1)
end

it("a session that neither table nor log remember has an epoch that no later one gets", function()
  local s = scene.start { hurry = 10 }
  local state_dir = s.gateway.state_dir
  local first = s.bot:wait_for_events(1, "READY")[1].epoch
  local table_before = paths.read(state_dir .. "/shards")
  for _ = 1, 3 do
    lose_session(s)
  end
  local seen = s.bot:wait_for_events(4, "READY")[4].epoch
  assert.equal(first + 3, seen)

  s.gateway:stop "SIGKILL"
  paths.write(state_dir .. "/shards", table_before)
  os.execute(("rm -rf '%s/log'"):format(state_dir))
  start_machine_anew(state_dir)
  s:again()
  local after = s.bot:wait_for_events(5, "READY")[5].epoch
  assert.is_true(after > seen, ("epoch %d was had already: %d"):format(after, seen))
end)
