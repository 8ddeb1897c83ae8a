-- Hosts that go over to more shards go back: since Discord does not take the new ones, or since somebody
-- wants that, when hosts have let classes go over of which the others do not know yet. And they go over then.

local together = require "spec.support.cluster_resharding"

local FROM, TO = 4, 8

after_each(together.stop)

-- What each host says of the last one, when all have come to its end: {result -> how many}, and a reason.
local function results(t)
  return t:await("all hosts to have come to the end", function()
    local counts, reason = {}, nil
    for _, host in ipairs(t.hosts) do
      local status = t:status(host)
      local last = type(status.running) ~= "table" and status.last
      if type(last) ~= "table" then
        return false
      end
      counts[last.result] = (counts[last.result] or 0) + 1
      reason = last.result == "failed" and last.reason or reason
    end
    return { counts = counts, reason = reason }
  end, 60000)
end

describe("hosts of a cluster that go over to more shards", function()
  it("go back when Discord refuses the number, which costs one identify", function()
    local t = together.start { shards = FROM }
    t.fake:settings { totals = tostring(FROM) }
    t:reshard(TO)
    local over = results(t)
    assert.same({ failed = 1, aborted = #t.hosts - 1 }, over.counts)
    assert.matches("Discord refuses new shards %(4010", over.reason)
    assert.equal(1, t:counters().closes_by_code.server["4010"])
    t:flow()
    t:assert_verdict { name = "4010", identifies = { [FROM] = FROM }, violations = 1, repeated = false }
  end)

  it("go back though some have gone over, of which nobody knows yet, and then go over", function()
    local t = together.start { shards = FROM }
    t:reshard(TO)
    t:await_step("up", FROM)
    t.bot:down() -- so that what the old shards have is not delivered, and the others are not told
    t:await("a host to have let a class go over", function()
      for _, host in ipairs(t.hosts) do
        if host.gateway.stderr:find "of 4 classes of guilds ha%w+ switched" then
          return true
        end
      end
    end, 60000)
    assert.equal(0, t:steps().switched)
    assert.equal(202, (t:ask(t:any_host(), { abort = true })))
    t:await_taken_back()
    t.bot:up()
    t:flow()
    t:reshard(TO)
    t:await_changed(TO)
    t:flow()
    t:assert_verdict {
      name = "gone back and over", identifies = { [FROM] = FROM, [TO] = 2 * TO }, repeated = true,
    }
  end)

  if together.LONG then
    it("do so again and again, and are started again each", function()
      local t = together.start { shards = FROM }
      for _, total in ipairs { TO, 2 * TO } do
        t:reshard(total)
        t:await_changed(total)
        for _, host in ipairs(t.hosts) do
          host:stop()
          host:again()
          t:await_even()
        end
        t:flow()
      end
      t:assert_verdict {
        name = "twice", identifies = { [FROM] = FROM, [TO] = TO, [2 * TO] = 2 * TO }, repeated = true,
      }
    end)
  end
end)
