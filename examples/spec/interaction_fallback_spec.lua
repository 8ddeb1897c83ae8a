local test = require "tidegate.test"

local CALLBACK = "POST https://discord.com/api/v10/interactions/11/secret-token/callback"

local function interaction(kind)
  return { id = "11", token = "secret-token", type = kind, guild_id = "7", data = { name = "ping" } }
end

local function load(options)
  local kit = test.load("examples/interaction_fallback.lua", options)
  kit:answer_http("/interactions/", { status = 204 })
  return kit
end

describe("interaction_fallback.lua", function()
  it("leaves interactions to the bot while it is there", function()
    local kit = load()
    assert.equal("passed", kit:event("INTERACTION_CREATE", interaction(2)).outcome)
    assert.same({}, kit:requests())
  end)

  for _, kind in ipairs { 2, 3, 5 } do
    it("answers interactions of type " .. kind .. " with a text while the bot is down", function()
      local kit = load { env = { MAINTENANCE_TEXT = "Soon." } }
      kit:fire("handler_down", { url = "http://bot", reason = "connection refused" })
      assert.equal("dropped", kit:event("INTERACTION_CREATE", interaction(kind)).outcome)
      local request = kit:requests()[1]
      assert.equal(CALLBACK, request.method .. " " .. request.url)
      assert.same({ type = 4, data = { content = "Soon.", flags = 64 } }, request.json)
    end)
  end

  it("answers autocompletion with an empty list of choices", function()
    local kit = load()
    kit:fire("handler_down", { url = "http://bot", reason = "connection refused" })
    kit:event("INTERACTION_CREATE", interaction(4))
    local request = kit:requests()[1]
    assert.equal(8, request.json.type)
    assert.matches('"choices":[]', request.body, 1, true)
  end)

  it("still knows after a reload, and stops when the bot is back", function()
    local kit = load()
    kit:fire("handler_down", { url = "http://bot", reason = "connection refused" })
    kit:reload()
    assert.equal("dropped", kit:event("INTERACTION_CREATE", interaction(2)).outcome)
    kit:fire("handler_up", { url = "http://bot", reason = "answers again" })
    assert.equal("passed", kit:event("INTERACTION_CREATE", interaction(2)).outcome)
    assert.equal(1, #kit:requests())
  end)

  it("says so when Discord does not take the answer", function()
    local kit = test.load "examples/interaction_fallback.lua"
    kit:answer_http("/interactions/", {
      status = 404, json = { message = "Unknown interaction", code = 10062 },
    })
    kit:fire("handler_down", { url = "http://bot", reason = "connection refused" })
    kit:event("INTERACTION_CREATE", interaction(2))
    assert.equal(1, #kit:log "interaction 11 was not answered")
  end)
end)
