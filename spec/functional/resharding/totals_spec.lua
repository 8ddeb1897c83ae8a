-- From one number of shards to another under load, up and down, whole: nobody notices.

local resharding = require "spec.support.resharding"

after_each(resharding.stop)

local function goes_over(from, to, options)
  local t = resharding.start {
    shards = from, per_worker = options.per_worker, workers = 2, rate = options.rate or 400,
    repeat_rate = 80,
  }
  t:interact(5)
  t:reshard(to)
  t:await_phase "switching"
  t:interact(10)
  local over = t:await_over()
  t:interact(5)
  assert.equal(from, over.from)
  assert.equal(to, over.to)
  assert.equal(to, over.identifies)
  t:assert_verdict { name = ("%d to %d"):format(from, to), identifies = { [from] = from, [to] = to } }
end

describe("resharding under load", function()
  it("doubles the shards", function()
    goes_over(4, 8, { per_worker = 2 })
  end)

  if os.getenv "TG_SPEC_LONG" == "1" then
    it("doubles many, at 2,000 events a second", function()
      goes_over(16, 32, { per_worker = 8, rate = 2000 })
    end)
  end

  it("halves the shards", function()
    goes_over(8, 4, { per_worker = 8 })
  end)

  it("goes from one shard to some", function()
    goes_over(1, 3, { per_worker = 3 })
  end)
end)
