-- The test kit: events on their way through a script; run as test_kit_spec.lua is.

local test = require "tidegate.test"

local HEAD = 'local gateway = require "tidegate"\n'

local function script(text, options)
  return test.script(HEAD .. text, options)
end

local function raises(part, fn)
  local ok, problem = pcall(fn)
  assert.is_false(ok)
  assert.matches(part, tostring(problem), 1, true)
end

local function message(fields)
  local data = { id = "5", channel_id = "6", content = "hi", author = { id = "7" }, embeds = {} }
  for name, value in pairs(fields or {}) do data[name] = value end
  return data
end

describe("events", function()
  it("are passed on as the bot would get them", function()
    local kit = script ""
    local result = kit:event("MESSAGE_CREATE", message())
    assert.equal("passed", result.outcome)
    assert.same({
      shardId = 0,
      totalShards = 1,
      epoch = 1,
      message = { t = "MESSAGE_CREATE", s = 1, op = 0, d = message() },
    }, result.body)
    kit:event("CHANNEL_CREATE", { id = "9" })
    assert.equal(2, #kit:delivered())
    assert.equal(2, kit:delivered("CHANNEL_CREATE")[1].message.s)
  end)

  it("say of how many shards theirs is one", function()
    local kit = script([[
      gateway.filter("MESSAGE_CREATE", function(event)
        local told = event.body:match '"totalShards":%d+'
        return { content = event.shard_id .. " of " .. event.total_shards .. " " .. told }
      end)
    ]], { shards = 4 })
    local body = kit:event("MESSAGE_CREATE", message(), { shard = 3 }).body
    assert.same({ 4, '3 of 4 "totalShards":4' }, { body.totalShards, body.message.d.content })
  end)

  it("are dropped and replaced by filters", function()
    local kit = script [[
      gateway.filter("TYPING_START", false)
      gateway.filter("MESSAGE_CREATE", function(event)
        if event.data.author.bot then return false end
        if event.data.content == "secret" then return { content = "***" } end
      end)
    ]]
    assert.same({ outcome = "dropped", sequence = 1 }, kit:event("TYPING_START"))
    assert.equal("dropped", kit:event("MESSAGE_CREATE", message { author = { bot = true } }).outcome)
    local result = kit:event("MESSAGE_CREATE", message { content = "secret" })
    assert.equal("replaced", result.outcome)
    assert.same({ content = "***" }, result.body.message.d)
    assert.equal("passed", kit:event("MESSAGE_CREATE", message()).outcome)
  end)

  it("have names that there are, or that the script asks for", function()
    local kit = script [[
      gateway.on("FERRY_CREATE", function() end)
      gateway.filter("FERRY_DELETE", false)
    ]]
    kit:event "FERRY_CREATE"
    kit:event "FERRY_DELETE"
    assert.equal(1, #kit:delivered "FERRY_CREATE")
    for name, said in pairs {
      MESSAGE_CRAETE = "there is no event 'MESSAGE_CRAETE'; did you mean 'MESSAGE_CREATE'?",
      message_create = "there is no event 'message_create'; did you mean 'MESSAGE_CREATE'?",
      FERRY_UPDATE = "there is no event 'FERRY_UPDATE', and the script does not ask for it",
    } do
      raises(": kit:event: " .. said, function() kit:event(name) end)
    end
    raises("events_spec.lua:", function() kit:event "MESSAGE_CRAETE" end)
    local words = "there is no event 'TYPING_STRAT'; did you mean 'TYPING_START'?"
    raises(": test.event: " .. words, function() test.event "TYPING_STRAT" end)
    raises(": kit:delivered: " .. words, function() kit:delivered "TYPING_STRAT" end)
    script("function gateway.delivery:handle_discord_payload() end"):event "FERRY_UPDATE"
  end)

  it("reach an override of handle_discord_payload, which may keep them", function()
    local kit = script [[
      local default = gateway.delivery.handle_discord_payload
      function gateway.delivery:handle_discord_payload(shard, event)
        if event.type == "MESSAGE_CREATE" then return default(self, shard, event) end
        gateway.state.kept = event.type .. " of shard " .. shard.id
        return true
      end
    ]]
    assert.truthy(kit:event("MESSAGE_CREATE", message()).body)
    assert.same({ outcome = "passed", sequence = 2 }, kit:event("CHANNEL_CREATE"))
    assert.equal("CHANNEL_CREATE of shard 0", kit:eval "return gateway.state.kept")
  end)

  it("pass the caches of the gateway", function()
    local kit = script ""
    kit:event("READY", { guilds = { { id = "100", unavailable = true } } })
    assert.equal("loading", kit:event("GUILD_CREATE", { id = "100" }).body.guildCreate)
    assert.equal("joined", kit:event("GUILD_CREATE", { id = "200" }).body.guildCreate)
    kit:event("MESSAGE_CREATE", message { edited_timestamp = test.null })
    assert.equal("dropped", kit:event("MESSAGE_UPDATE", message { edited_timestamp = test.null }).outcome)
  end)

  it("run the handlers, which may wait", function()
    local kit = script [[
      gateway.on("MESSAGE_CREATE", function(event, shard)
        gateway.sleep(1000)
        gateway.log.info("shard %d: %s", shard.id, event.data.content)
      end)
    ]]
    kit:event("MESSAGE_CREATE", message())
    kit:advance(999)
    assert.same({}, kit:log "info")
    kit:advance(1)
    assert.same({ { level = "info", shard_id = 0, text = "shard 0: hi", at = 1000 } }, kit:log "info")
  end)

  it("come to the shard that the test names", function()
    local kit = script("", { shards = 4 })
    assert.equal(3, kit:event("CHANNEL_CREATE", {}, { shard = 3, sequence = 70, epoch = 2 }).body.shardId)
    assert.equal(70, kit:shard(3) and kit:delivered()[1].message.s)
    assert.equal("dropped", kit:event("CHANNEL_CREATE", {}, { shard = 3, sequence = 70 }).outcome)
    raises("no shard 4", function() kit:event("CHANNEL_CREATE", {}, { shard = 4 }) end)
  end)

  it("are for workers only", function()
    local kit = script("", { role = "manager" })
    raises("manager is given no events", function() kit:event "READY" end)
  end)

  it("of the life cycle are fired by the test", function()
    local kit = script [[
      gateway.on("handler_down", function(shard, details)
        gateway.log.warn("%s %s", tostring(shard), details.url)
      end)
    ]]
    kit:fire("handler_down", { url = "http://bot" })
    assert.equal("nil http://bot", kit:log("warn")[1].text)
    raises("did you mean 'handler_down'", function() kit:fire "handler_dwon" end)
  end)
end)
