-- A gateway that sends interactions whose tokens are no tokens: they become a part of the URL of their
-- answers.

local cjson = require "cjson"
local scene = require "spec.support.scene"

describe("an interaction", function()
  local s

  setup(function()
    s = scene.start { env = { LOG_LEVEL = "debug" }, script = [[
local gateway = require "tidegate"
gateway.configure { interaction = { grace = 1 }, event_handler = { timeout = 1000 } }
gateway.on("INTERACTION_CREATE", function(event)
  if event.data.scripted then
    local path = { "interactions", event.data.id, event.data.token, "callback" }
    local _, err = gateway.rest.post(path, { json = {} })
    gateway.log.info("%s: %s", event.data.id, type(err) == "table" and err.code or "answered")
  end
end)
]] }
    s.bot:hang()
  end)
  teardown(scene.stop)

  local function paths()
    local found = {}
    for _, request in ipairs(s.fake:state("rest").rest) do
      found[#found + 1] = request.path
    end
    return found
  end

  local number = 1
  local function send(token, scripted)
    number = number + 1
    local id = ("%d"):format(number) .. "00000000000000000"
    s.fake:emit { event = "INTERACTION_CREATE", shard = 0, d = {
      id = id, type = 2, token = token, application_id = "1", version = 1, scripted = scripted,
    } }
    return id
  end

  -- Each is answered in the place of the bot, or not at all.
  for _, token in ipairs {
    ".", "..", "...", "%2e%2e", "../..", "a/../../../users", "a?b", "a#b", "a b", "a\r\nX-Name: b", "",
    "http://elsewhere.example/", "é", ("x"):rep(100000),
  } do
    it(("with the token %q asks REST for nothing else"):format(token:sub(1, 30)), function()
      local id = send(token)
      local good = send("a-good_token")
      s.fake:wait_for("the answer of the next one", function(state)
        for _, request in ipairs(state.rest) do
          if request.path:find(good, 1, true) then return true end
        end
      end, { only = "rest" })
      for _, path in ipairs(paths()) do
        assert.is_truthy(path:find "/gateway/bot$" or path:find "/interactions/%d+/[%w%-_.]+/callback$", path)
        assert.is_nil(path:find("/" .. id .. "/callback", 1, true), path)
      end
    end)
  end

  it("that a script answers by the parts of the path is not answered elsewhere, either", function()
    for _, token in ipairs { "..", "a/../..", "a?b" } do
      local id = send(token, true)
      local said = s.gateway:wait_for_log(id .. ": ([%l_]+)")
      assert.equal(token == ".." and "bad_url" or "status", said, cjson.encode(token))
    end
    for _, path in ipairs(paths()) do
      assert.is_nil(path:find("/../", 1, true), path)
    end
  end)
end)

-- Each is kept beside its event until somebody has answered it.
describe("interactions without number", function()
  after_each(scene.stop)

  for name, express in pairs { ["in order"] = false, ["that may pass others"] = true } do
    it("are watched as far as there is room, and all of them delivered: " .. name, function()
      local s = scene.start { hurry = 20, script = ([[
require "tidegate".configure {
  interaction = { express = %s, grace = 2500 }, event_handler = { timeout = 1000 },
}
]]):format(express) }
      s.bot:hang()
      local filler = ("x"):rep(900000) -- of which eight are 8 MB
      local function send(number, text)
        s.fake:emit { event = "INTERACTION_CREATE", shard = 0, d = {
          id = number .. "00000000000000000", type = 2, token = "token-" .. number, data = text,
        } }
      end
      s.fake:fault { ["do"] = "withhold_acks", dispatches = true }
      for i = 10, 29 do
        send(i, filler)
      end
      s.fake:fault { ["do"] = "clear" } -- all at once
      s.gateway:wait_for_log "could not be answered in the place[^\n]*too many wait already"
      s.fake:wait_for("the answers", function(state)
        return #state.rest > 8 -- the first is what the start has asked for
      end, { only = "rest" })
      -- What comes when those are over is watched again.
      send(30, "small")
      s.fake:wait_for("the answer of the last one", function(state)
        for _, request in ipairs(state.rest) do
          if request.path:find "/token%-30/callback$" then return true end
        end
      end, { only = "rest" })
      assert.is_true(#s:list "rest" < 20)
      s.bot:answer(nil)
      s.bot:wait_for_events(21, "INTERACTION_CREATE", 30000)
    end)
  end
end)
