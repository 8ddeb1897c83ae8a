-- The gateway is stopped in the middle of a resharding and started again, perhaps with another number of
-- workers: both sets of sessions are kept, and it goes on.

local resharding = require "spec.support.resharding"

after_each(resharding.stop)

-- Both sets RESUME: no identify more than without the stop. One that is on its way at that moment is lost.
local function stop_in(phase, changes, spare)
  local t = resharding.start { shards = 4, per_worker = 2, workers = 2, rate = 150, repeat_rate = 50 }
  t:reshard(8)
  t:await_phase(phase)
  t.gateway:stop()
  t:again(changes)
  local over = t:await_over()
  assert.same({ 4, 8 }, { over.from, over.to })
  t:assert_verdict { name = "stopped while " .. phase, repeated = true }
  local identifies = t:counters().identifies
  assert(identifies >= 12 and identifies <= 12 + (spare or 0), identifies .. " identifies")
end

describe("a gateway that is stopped while it reshards", function()
  it("goes on identifying", function() stop_in("identifying", { ready = false }, 1) end)

  it("goes on switching, with the workers that it had, however many are configured", function()
    stop_in("switching", { ready = false, workers = 1, per_worker = 4 })
  end)

  it("goes on settling", function() stop_in("settling", { ready = false }) end)
end)
