local test = require "tidegate.test"

describe("queue_policy.lua", function()
  it("tries again soon, and never waits longer than five seconds", function()
    local kit = test.load "examples/scripts/queue_policy.lua"
    local refused = { code = "refused", message = "connection refused", status = 0 }
    assert.equal(100, kit.delivery:retry_delay(1, refused))
    assert.equal(400, kit.delivery:retry_delay(3, refused))
    assert.equal(5000, kit.delivery:retry_delay(20, refused))
    assert.equal(5000, kit.delivery:retry_delay(5000, refused))
  end)

  it("waits as long as the bot asks for", function()
    local kit = test.load "examples/scripts/queue_policy.lua"
    local busy = { code = "status", message = "it answered 503", status = 503, retry_after = 7000 }
    assert.equal(7000, kit.delivery:retry_delay(1, busy))
  end)

  it("takes 409 as accepted, and otherwise what the gateway takes", function()
    local kit = test.load "examples/scripts/queue_policy.lua"
    assert.is_true(kit.delivery:is_delivered(409))
    assert.is_true(kit.delivery:is_delivered(204))
    assert.is_false(kit.delivery:is_delivered(404))
  end)

  it("tells a person when the bot is down and when it is back", function()
    local kit = test.load("examples/scripts/queue_policy.lua", { env = { ALERT_URL = "http://chat/hook" } })
    kit:answer_http("POST http://chat/hook", { status = 204 })
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    kit:fire("handler_up", { url = "http://bot", reason = "answers again" })
    local requests = kit:requests "http://chat/hook"
    assert.equal("The bot at http://bot does not take events: it answered 503", requests[1].json.content)
    assert.equal("The bot at http://bot takes events again.", requests[2].json.content)
  end)

  it("speaks once, however many workers there are", function()
    local kit = test.load("examples/scripts/queue_policy.lua", {
      env = { ALERT_URL = "http://chat/hook" },
      worker_id = 1,
    })
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    assert.same({}, kit:requests())
    assert.equal(1, #kit:log "does not take events")
  end)

  it("says so when the alert cannot be sent", function()
    local kit = test.load("examples/scripts/queue_policy.lua", { env = { ALERT_URL = "http://chat/hook" } })
    kit:answer_http("http://chat/hook", "refused")
    kit:fire("handler_down", { url = "http://bot", reason = "it answered 503" })
    assert.equal("the alert was not sent: refused", kit:log("error")[1].text)
  end)

  it("lets go of what the bot can do without, then of the oldest", function()
    local kit = test.load("examples/scripts/queue_policy.lua", { shards = 2 })
    local events = {}
    for i = 1, 600 do
      events[i] = test.event("MESSAGE_CREATE", { id = tostring(i) })
    end
    kit:fill_queue(0, events)
    kit:fill_queue(0, { test.event "INTERACTION_CREATE", test.event "TYPING_START" })
    kit:fill_queue(1, events)
    kit.delivery:queue_overflow(test.queue())
    local first, second = kit:queued(0), kit:queued(1)
    assert.equal(202, #first + #second)
    assert.is_true(math.abs(#first - #second) <= 64, "the fuller one gives more")
    assert.equal("INTERACTION_CREATE", first[#first].type)
    assert.equal(1, #kit:log "dropped 1000 events, 202 wait")
  end)

  describe("with an archive", function()
    local kit
    local events = test.events { test.event("MESSAGE_CREATE", { content = "hi" }), test.event "TYPING_START" }
    before_each(function()
      kit = test.load("examples/scripts/queue_policy.lua", { env = { ARCHIVE_URL = "http://archive/" } })
    end)

    it("keeps messages there before the bot gets them", function()
      kit:answer_http("POST http://archive/", { status = 201 })
      assert.is_true(kit.delivery:deliver(events))
      assert.matches('"content":"hi"', kit:requests("http://archive/")[1].body, 1, true)
      assert.equal(2, #kit:delivered())
    end)

    it("tries again when the archive fails", function()
      kit:answer_http("POST http://archive/", { status = 500 })
      local ok, err = kit.delivery:deliver(events)
      assert.is_nil(ok)
      assert.equal(503, err.status)
      assert.same({}, kit:delivered())
    end)
  end)

  it("lets events wait during the backup", function()
    local function load(hour)
      local kit = test.load("examples/scripts/queue_policy.lua", { env = { BACKUP_HOUR = hour } })
      kit:advance(kit:eval 'return (60 - os.date("*t").min) * 60000') -- an hour has just begun
      kit:fill_queue(0, { test.event "MESSAGE_CREATE" })
      return kit
    end
    local now = load(25):eval 'return os.date("*t").hour'
    local kit = load(now)
    local ok, problem = pcall(function() kit.delivery:handle_queue(test.queue(0)) end)
    assert.is_false(ok)
    assert.matches("still waits", problem, 1, true)
    assert.same({}, kit:delivered())
    kit = load((now + 2) % 24)
    assert.is_true(kit.delivery:handle_queue(test.queue(0)))
    assert.equal(1, #kit:delivered())
  end)
end)
