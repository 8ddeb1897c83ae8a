local test = require "tidegate.test"

describe("statistics.lua", function()
  local kit
  before_each(function()
    local env = { COUNTER_URL = "http://counter/" }
    kit = test.load("examples/scripts/statistics.lua", { env = env, shards = 2 })
  end)

  local function message(guild, sequence)
    local data = { guild_id = guild, content = "hello" }
    return test.event("MESSAGE_CREATE", data, { shard = 1, sequence = sequence })
  end

  local function deliver(...)
    return kit:sink("statistics").deliver(test.events { ... })
  end

  it("sums the messages of each guild up, under a key of the first and the last", function()
    kit:answer_http("POST http://counter/", { status = 204 })
    assert.is_true(deliver(message("1", 7), message("2", 8), message("1", 9), message(nil, 10)))
    local requests = kit:requests "http://counter/"
    assert.equal(1, #requests)
    assert.same({ ["1"] = 2, ["2"] = 1, direct = 1 }, requests[1].json)
    assert.matches("^1%.%d+%.7%-10$", requests[1].headers["idempotency-key"])
  end)

  it("says what the counter has answered, or that it has not", function()
    kit:answer_http("POST http://counter/", { status = 503 })
    local ok, err = deliver(message("1", 1))
    assert.same({ nil, 503 }, { ok, err.status })
    kit:answer_http("POST http://counter/", "refused")
    ok, err = deliver(message("1", 1))
    assert.same({ nil, "refused" }, { ok, err.code })
  end)

  it("leaves what the bot gets alone", function()
    assert.equal("passed", kit:event("MESSAGE_CREATE", { guild_id = "1", content = "hello" }).outcome)
    assert.equal(1, #kit:delivered())
    assert.equal(0, #kit:requests())
  end)

  it("tells when messages have waited for long", function()
    kit:advance(60000)
    assert.equal(0, #kit:log "wait for the counter")
    kit:fill_queue(0, { test.event("MESSAGE_CREATE", { guild_id = "1" }), test.event("READY", {}) })
    kit:advance(120000)
    local line = kit:log("wait for the counter")[1]
    assert.equal("1 messages wait for the counter, the oldest for 120 s", line.text)
  end)
end)
