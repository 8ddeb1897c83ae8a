-- The bundled plugin `presence-rotation` on the real gateway: what Discord is sent.

local scene = require "spec.support.scene"

local SHARDS = 2

describe("the plugin presence-rotation", function()
  after_each(scene.stop)

  -- The activities' names of the presences that a shard has sent, by op 3, and that of its identify.
  local function shown(s, shard)
    local names = {}
    for _, command in ipairs(s:list "commands") do
      if command.op == 3 and command.shard == shard then
        names[#names + 1] = command.d.activities[1].name
      end
    end
    return names
  end

  it("shows one after the other on all shards, with numbers in them, within Discord's limit", function()
    local s = scene.start {
      shards = SHARDS, reload = false, fake = { guilds = 7 },
      script = [[
        require("tidegate").plugin("presence-rotation", { interval = 5000, presences = {
          { text = "for {guilds} servers", type = "watching", status = "idle" },
          { text = "on {shards} shards of {what}" },
        } })
      ]],
    }
    s.fake:wait_for("both presences on both shards", function()
      return #shown(s, 0) >= 2 and #shown(s, 1) >= 2
    end, { only = "commands", timeout = 15000 })
    for shard = 0, SHARDS - 1 do
      local names = table.concat(shown(s, shard), ", ")
      assert.matches("for 7 servers", names, 1, true)
      assert.matches("on 2 shards of {what}", names, 1, true)
    end
    assert.same({}, s:list "violations")
  end)

  it("shows the one of the moment when a shard identifies anew", function()
    local s = scene.start {
      shards = SHARDS, reload = false,
      script = [[
        require("tidegate").plugin("presence-rotation", { presences = {
          { text = "hide and seek", type = "competing", status = "dnd" },
        } })
      ]],
    }
    s.fake:fault { ["do"] = "invalid_session", resumable = false, shard = 0 }
    s:wait_counter("identifies_ok", SHARDS + 1)
    local identifies = s:list "identifies"
    local presence = identifies[#identifies].presence
    assert.equal("dnd", presence.status)
    assert.same({ name = "hide and seek", type = 5 }, presence.activities[1])
  end)
end)
