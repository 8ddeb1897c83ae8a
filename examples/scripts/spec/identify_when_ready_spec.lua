local test = require "tidegate.test"

describe("identify_when_ready.lua", function()
  local kit

  before_each(function()
    kit = test.load("examples/scripts/identify_when_ready.lua", { role = "manager", shards = 4 })
  end)

  it("lets a shard identify at once when the bot is ready", function()
    kit:answer_http("GET http://127.0.0.1:8081/ready", { status = 200 })
    assert.is_true(kit.manager:tell_worker_to_identify(0, 3, 1))
    assert.same({ 0, 3, 1 }, kit:calls("manager:tell_worker_to_identify")[1].args)
    assert.equal(0, kit:now())
  end)

  it("asks again until the bot is ready", function()
    local answers = { "refused", { status = 503 }, { status = 200 } }
    kit:answer_http("/ready", function() return table.remove(answers, 1) end)
    kit.manager:tell_worker_to_identify(0, 3, 1) -- waits, and so the kit's time goes on
    assert.equal(3, #kit:requests())
    assert.equal(4000, kit:calls("manager:tell_worker_to_identify")[1].at)
    assert.equal(1, #kit:log "shard 3 waits until the bot is ready: refused")
  end)

  it("does not wait for ever", function()
    kit:answer_http("/ready", { status = 503 })
    kit.manager:tell_worker_to_identify(0, 3, 1)
    assert.equal(5 * 60 * 1000, kit:calls("manager:tell_worker_to_identify")[1].at)
    assert.equal(1, #kit:log "starting all the same")
  end)

  it("says what went wrong when the gateway cannot do it", function()
    kit:answer_http("/ready", { status = 200 })
    kit:answer("manager:tell_worker_to_identify", nil, { code = "no_worker", message = "worker 0 is gone" })
    local ok, err = kit.manager:tell_worker_to_identify(0, 3, 1)
    assert.is_nil(ok)
    assert.equal("no_worker", err.code)
  end)
end)
