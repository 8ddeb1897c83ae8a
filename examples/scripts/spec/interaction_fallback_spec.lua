local test = require "tidegate.test"

local CALLBACK = "POST https://discord.com/api/v10/interactions/11/secret-token/callback"

local function interaction(kind)
  return test.event("INTERACTION_CREATE", {
    id = "11", token = "secret-token", type = kind, guild_id = "7", data = { name = "ping" },
  })
end

local function load(options)
  local kit = test.load("examples/scripts/interaction_fallback.lua", options)
  kit:answer_http("/interactions/", { status = 204 })
  return kit
end

describe("interaction_fallback.lua", function()
  it("leaves interactions to the bot while it is there", function()
    local kit = load()
    local data = { id = "11", token = "secret-token", type = 2 }
    assert.equal("passed", kit:event("INTERACTION_CREATE", data).outcome)
    assert.same({}, kit:requests())
  end)

  for _, kind in ipairs { 2, 3, 5 } do
    it("answers interactions of type " .. kind .. " with a text, and the bot does not get them", function()
      local kit = load { env = { MAINTENANCE_TEXT = "Soon." } }
      assert.is_false(kit.delivery:handle_interaction_queueing(interaction(kind)))
      local request = kit:requests()[1]
      assert.equal(CALLBACK, request.method .. " " .. request.url)
      assert.same({ type = 4, data = { content = "Soon.", flags = 64 } }, request.json)
    end)
  end

  it("answers autocompletion with an empty list of choices", function()
    local kit = load()
    assert.is_false(kit.delivery:handle_interaction_queueing(interaction(4)))
    local request = kit:requests()[1]
    assert.equal(8, request.json.type)
    assert.matches('"choices":[]', request.body, 1, true)
  end)

  it("lets the default try when Discord does not take the answer", function()
    local kit = test.load "examples/scripts/interaction_fallback.lua"
    kit:answer_http("/interactions/", {
      status = 503, json = { message = "Service unavailable", code = 0 },
    })
    local queued, err = kit.delivery:handle_interaction_queueing(interaction(2))
    assert.is_nil(queued)
    assert.matches("answered 503", err.message)
  end)
end)
