local test = require "tidegate.test"

local DISCORD = "https://discord.com/api/webhooks/123/secret-part"
local TOPIC = "alerts:alerts"

local function with(config)
  config.url = config.url or "http://alerts.example/in"
  return config
end

local function worker(config) return test.plugin("alerts", with(config or {}), { shards = 2 }) end

local function manager(config, answer)
  local kit = test.plugin("alerts", with(config or {}), { role = "manager" })
  kit:answer_http("POST", answer or { status = 204 })
  return kit
end

local function alert(event, shards, count)
  return { event = event, text = event, count = count or 1, shards = test.array(shards or {}),
           first = 1, last = 2 }
end

describe("alerts in a worker", function()
  it("hands what comes together to the manager, each kind once", function()
    local kit = worker()
    for shard = 0, 1 do
      kit:fire("disconnected", { code = 1006, reason = "cut off" }, { shard = shard })
      kit:fire("disconnected", { code = 1006, reason = "cut off" }, { shard = shard })
    end
    kit:fire("handler_down", { url = "http://bot", reason = "refused" })
    kit:advance(1000)
    local sent = kit:broadcasts(TOPIC)
    assert.equal(1, #sent)
    local first, second = sent[1].value[1], sent[1].value[2]
    assert.equal("disconnected with code 1006: cut off", first.text)
    assert.equal(4, first.count)
    assert.same({ 0, 1 }, first.shards)
    assert.equal("the event handler http://bot takes no events: refused", second.text)
  end)

  it("hands on only the events that are wanted", function()
    local kit = worker { events = { "handler_up" } }
    kit:fire("disconnected", { code = 4000, reason = "" }, { shard = 0 })
    kit:fire("handler_up", { url = "http://bot", reason = "" })
    kit:advance(1000)
    assert.equal(1, #kit:broadcasts(TOPIC)[1].value)
  end)

  it("posts nothing itself", function()
    local kit = worker()
    kit:fire("invalid_session", { resumable = false }, { shard = 0 })
    kit:advance(600000)
    assert.same({}, kit:requests())
  end)
end)

describe("alerts of deaf sessions", function()
  it("are posted by the manager, with their shards", function()
    local kit = manager { delay = 0, quiet = 1000 }
    kit:fire("deaf", { step = "resume", silent = 600000, shard_id = 3 })
    kit:advance(10)
    kit:fire("deaf", { step = "hears", silent = 600000, shard_id = 3 })
    kit:fire("deaf", { step = "vanished", silent = 1800000, event = "MESSAGE_CREATE" })
    kit:advance(2000)
    local texts = {}
    for i, request in ipairs(kit:requests()) do texts[i] = request.json.text end
    assert.same({ "Tidegate: shard 3: the session gets no events, and is resumed",
                  "Tidegate:\n- shard 3: the session gets events again\n"
                    .. "- no shard gets MESSAGE_CREATE any more" }, texts)
  end)
end)

describe("alerts of resharding", function()
  local function tell(kit, step, reason)
    kit:fire("resharding", { step = step, from = 4, to = 8, switched = 1, classes = 4, reason = reason })
  end

  it("are posted by the manager: its beginning and its end", function()
    local kit = manager { delay = 0, quiet = 0 }
    tell(kit, "started")
    kit:advance(10)
    for _ = 1, 4 do tell(kit, "switched") end
    kit:advance(10)
    tell(kit, "done")
    kit:advance(10)
    local texts = {}
    for i, request in ipairs(kit:requests()) do texts[i] = request.json.text end
    assert.same({ "Tidegate: the bot goes over from 4 to 8 shards",
                  "Tidegate: the bot has gone over from 4 to 8 shards" }, texts)
  end)

  it("say why it was taken back", function()
    for step, text in pairs { aborted = "was taken back", failed = "has failed, and is taken back" } do
      local kit = manager { delay = 0 }
      tell(kit, step, "Discord refuses 8 shards (4010)")
      kit:advance(10)
      local said = "Tidegate: going over from 4 to 8 shards %s: Discord refuses 8 shards (4010)"
      assert.equal(said:format(text), kit:requests()[1].json.text)
    end
  end)

  it("are left out with the event", function()
    local kit = manager { delay = 0, events = { "handler_up" } }
    tell(kit, "started")
    kit:advance(10)
    assert.same({}, kit:requests())
  end)
end)

describe("alerts in the manager", function()
  it("posts one message for what comes together, and one more after the quiet time", function()
    local kit = manager { delay = 2000, quiet = 60000 }
    kit:broadcast(TOPIC, { alert("disconnected", { 0 }) })
    kit:broadcast(TOPIC, { alert("disconnected", { 1, 2, 9 }, 3), alert("handler_down") })
    kit:advance(2000)
    assert.equal("Tidegate:\n- shards 0-2, 9: disconnected (4 times)\n- handler_down",
      kit:requests()[1].json.text)
    for shard = 0, 50 do
      kit:advance(1000)
      kit:broadcast(TOPIC, { alert("disconnected", { shard }) })
    end
    assert.equal(1, #kit:requests())
    kit:advance(60000)
    assert.equal(2, #kit:requests())
    assert.equal(51, kit:requests()[2].json.alerts[1].count)
  end)

  it("writes to Discord in its form, cut to what it takes", function()
    local kit = manager { url = DISCORD, delay = 0 }
    local alerts = {}
    for i = 1, 60 do
      alerts[i] = alert("disconnected", { i })
      alerts[i].text = ("ä"):rep(80) .. i
    end
    kit:broadcast(TOPIC, alerts)
    kit:advance(10)
    local body = kit:requests("POST " .. DISCORD)[1].json
    assert.is_true(#body.content <= 2000)
    assert.matches("%.%.%.$", body.content)
    assert.same({ parse = {} }, body.allowed_mentions)
  end)

  it("takes no other host for Discord's", function()
    for _, url in ipairs { "https://discord.com.example/api/webhooks/1/a",
                           "https://notdiscord.com/api/webhooks/1/a",
                           "https://example.com/?discord.com/webhooks/" } do
      local kit = manager { url = url, delay = 0 }
      kit:broadcast(TOPIC, { alert "ready" })
      kit:advance(10)
      assert.is_nil(kit:requests()[1].json.content, url)
    end
  end)

  it("waits as long as it is told, takes along what has come, and does not name the URL", function()
    local first = true
    local kit = manager({ url = DISCORD, delay = 0, quiet = 0 }, function()
      if not first then return { status = 204 } end
      first = false
      return { status = 429, headers = { ["Retry-After"] = "20" }, retry_after = 20000,
               json = { retry_after = 20.5 } }
    end)
    kit:broadcast(TOPIC, { alert("disconnected", { 0 }) })
    kit:advance(100)
    kit:broadcast(TOPIC, { alert("disconnected", { 1 }) })
    kit:advance(20000)
    assert.equal(1, #kit:requests())
    kit:advance(700)
    assert.equal(2, #kit:requests())
    assert.matches("shards 0%-1: disconnected %(2 times%)", kit:requests()[2].json.content)
    for _, line in ipairs(kit:log()) do assert.is_nil(line.text:find("secret-part", 1, true)) end
  end)

  it("gives up in the end, says so, and posts what comes later", function()
    local kit = manager({ delay = 0, quiet = 0 }, { status = 500 })
    kit:broadcast(TOPIC, { alert "ready" })
    kit:advance(3600000)
    assert.equal(5, #kit:requests())
    assert.matches("were not sent: it answered 500", kit:log("error")[1].text)
    kit:answer_http("POST", { status = 204 })
    kit:broadcast(TOPIC, { alert "resumed" })
    kit:advance(10)
    assert.equal("Tidegate: resumed", kit:requests()[6].json.text)
  end)

  it("does not insist where the URL is refused", function()
    local kit = manager({ delay = 0 }, { status = 404 })
    kit:broadcast(TOPIC, { alert "ready" })
    kit:advance(3600000)
    assert.equal(1, #kit:requests())
  end)

  it("keeps what waits through a reload", function()
    local kit = manager { delay = 5000 }
    kit:broadcast(TOPIC, { alert("disconnected", { 3 }) })
    kit:advance(1000)
    kit:reload()
    kit:advance(5000)
    assert.equal("Tidegate: shard 3: disconnected", kit:requests()[1].json.text)
  end)

  it("tells of workers that end", function()
    local kit = manager { delay = 0 }
    kit.manager:handle_worker_exit(2, "killed by signal 9")
    kit:advance(10)
    assert.equal("Tidegate: worker 2 has ended: killed by signal 9", kit:requests()[1].json.text)
  end)

  it("sends its headers, and shows neither them nor the URL", function()
    local kit = manager { url = DISCORD, delay = 0, headers = { ["X-Key"] = "very-secret" } }
    kit:broadcast(TOPIC, { alert "ready" })
    kit:advance(10)
    assert.equal("very-secret", kit:requests()[1].headers["x-key"])
    local config = kit:describe().plugins[1].config
    assert.equal("***", config.url)
    assert.equal("***", config.headers["X-Key"])
  end)
end)
