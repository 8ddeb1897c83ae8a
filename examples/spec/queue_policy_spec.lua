local test = require "tidegate.test"

describe("queue_policy.lua", function()
  it("tries again soon, and never waits longer than five seconds", function()
    local kit = test.load "examples/queue_policy.lua"
    local refused = { code = "refused", message = "connection refused", status = 0 }
    assert.equal(100, kit.delivery:retry_delay(1, refused))
    assert.equal(400, kit.delivery:retry_delay(3, refused))
    assert.equal(5000, kit.delivery:retry_delay(20, refused))
    assert.equal(5000, kit.delivery:retry_delay(5000, refused))
  end)

  it("waits as long as the bot asks for", function()
    local kit = test.load "examples/queue_policy.lua"
    local busy = { code = "status", message = "it answered 503", status = 503, retry_after = 7000 }
    assert.equal(7000, kit.delivery:retry_delay(1, busy))
  end)

  it("takes 409 as accepted, and otherwise what the gateway takes", function()
    local kit = test.load "examples/queue_policy.lua"
    assert.is_true(kit.delivery:is_delivered(409))
    assert.is_true(kit.delivery:is_delivered(204))
    assert.is_false(kit.delivery:is_delivered(404))
  end)

  it("tells a person when the bot is down and when it is back", function()
    local kit = test.load("examples/queue_policy.lua", { env = { ALERT_URL = "http://chat/hook" } })
    kit:answer_http("POST http://chat/hook", { status = 204 })
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    kit:fire("handler_up", { url = "http://bot", reason = "answers again" })
    local requests = kit:requests "http://chat/hook"
    assert.equal("The bot at http://bot does not take events: it answered 503", requests[1].json.content)
    assert.equal("The bot at http://bot takes events again.", requests[2].json.content)
  end)

  it("speaks once, however many workers there are", function()
    local kit = test.load("examples/queue_policy.lua", {
      env = { ALERT_URL = "http://chat/hook" },
      worker_id = 1,
    })
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    assert.same({}, kit:requests())
    assert.equal(1, #kit:log "does not take events")
  end)

  it("says so when the alert cannot be sent", function()
    local kit = test.load("examples/queue_policy.lua", { env = { ALERT_URL = "http://chat/hook" } })
    kit:answer_http("http://chat/hook", "refused")
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    assert.equal("the alert was not sent: refused", kit:log("error")[1].text)
  end)
end)
