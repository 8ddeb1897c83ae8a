-- Turns to identify, which hosts of a cluster share: one after the other, whatever a script says, and out of
-- one budget.

local loop = require "spec.support.loop"
local trial = require "spec.support.cluster_trial"

local SHARDS = 3

-- Coordinates by itself, as it thinks.
local SCRIPT = [[
local gateway = require "tidegate"
function gateway.manager:request_identify(shard_id)
  gateway.log.info("shard %d may identify, says the script", shard_id)
  return true
end
]]

describe("two hosts of a cluster", function()
  after_each(trial.stop)

  it("have one turn after the other, and one budget, though a script grants by itself", function()
    local t = trial.start { hosts = 2, shards = SHARDS, max_concurrency = 1, script = SCRIPT }
    local list = t:list "identifies"
    assert.equal(SHARDS, #list)
    for i, identify in ipairs(list) do
      assert.equal("ok", identify.verdict)
      assert.is_true(i == 1 or identify.at - list[i - 1].at >= 5000)
    end
    for _, host in ipairs(t.hosts) do
      assert.is_true(host.gateway:count_log "may identify, says the script" >= 1)
      local deadline = loop.now() + 10000
      local left
      repeat
        left = host.gateway:control("GET", "/identify"):json().remaining
      until left == 1000 - SHARDS or loop.now() > deadline
      assert.equal(1000 - SHARDS, left)
    end
  end)
end)
