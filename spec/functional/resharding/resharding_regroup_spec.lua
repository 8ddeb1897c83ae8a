-- Where the shards of a class lie in several workers, these end and start again with other shards: what waits
-- for the bot in the log of one of them is delivered by another, once and in order.

local resharding = require "spec.support.resharding"

-- Of 4 to 6 there are two classes: shards 0 and 2, 1 and 3. Each worker has one of both.
local function start(rate)
  return resharding.start { shards = 4, per_worker = 2, workers = 2, rate = rate }
end

local function await_regroup(t)
  t.gateway:wait_for_log "workers end and start again"
  t:await_reshard("the workers to be there again", function(status)
    local running = status.running
    return running and running.phase ~= "waiting" and running.phase ~= "preparing"
  end)
end

describe("a resharding for which shards go to other workers", function()
  after_each(resharding.stop)

  it("loses and doubles nothing of what waits while the bot is down", function()
    local t = start(400)
    t.bot:down()
    t:await_emitted(600)
    t:reshard(6)
    await_regroup(t)
    t.bot:up()
    t:await_over()
    t:assert_verdict { name = "4 to 6, regrouped, the bot down", identifies = { [4] = 4, [6] = 6 } }
  end)

  it("goes down, with events flowing", function()
    local t = resharding.start { shards = 6, per_worker = 3, workers = 2, rate = 300, repeat_rate = 60 }
    t:reshard(4)
    await_regroup(t)
    t:interact(5)
    t:await_over()
    t:assert_verdict { name = "6 to 4, regrouped", identifies = { [6] = 6, [4] = 4 } }
  end)

  it("has them die afterwards, too: each knows which shards are its own now", function()
    local t = start(400)
    t.bot:down()
    t:await_emitted(400)
    t:reshard(6)
    t:await_phase "matching"
    for _, pid in ipairs(t.gateway:worker_pids()) do
      t:kill_worker(pid)
    end
    t.bot:up()
    t:await_over()
    t:assert_verdict {
      name = "4 to 6, regrouped, then all workers killed", identifies = { [4] = 4, [6] = 6 }, repeated = true,
    }
  end)
end)
