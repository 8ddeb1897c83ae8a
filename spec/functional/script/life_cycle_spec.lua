-- What handlers of life-cycle events get is what the manual and the types for editors say.

local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- name -> { shard = whether there is one, fields = sorted names of details }
local function documented()
  local rows = {}
  local table_ = pages.section "Life-cycle events"
  for names, shard, details in table_:gmatch "| (`[^|]+) | (%S+) | ([^\n]*) |\n?" do
    local fields = {}
    for name in details:gmatch "`([%l_]+)`" do fields[#fields + 1] = name end
    table.sort(fields)
    for name in names:gmatch "`([%l_]+)`" do
      rows[name] = { shard = shard == "yes" and "table" or "nil", fields = table.concat(fields, " ") }
    end
  end
  return rows
end

local SCRIPT = [[
local gateway = require "tidegate"
for _, name in ipairs { %s } do
  gateway.on(name, function(shard, details)
    local fields = {}
    for field in pairs(details or {}) do fields[#fields + 1] = field end
    table.sort(fields)
    gateway.log.info("life: %%s: %%s: %%s.", name, shard and "table" or "nil", table.concat(fields, " "))
  end)
end
]]

describe("life-cycle events", function()
  after_each(scene.stop)

  local rows = documented()
  local names = {}
  for name in pairs(rows) do names[#names + 1] = name end
  table.sort(names)

  it("are all in the manual", function()
    local known = {}
    local list = paths.read(paths.root .. "/src/hooks/methods.h"):match "TG_LIFE_EVENTS%(X%).-enum"
    for name in list:gmatch "\n  X%((%l[%l_]+)%)" do
      known[#known + 1] = name
    end
    table.sort(known)
    assert.same(known, names)
  end)

  it("have the details that the manual and the types name", function()
    local s = scene.start {
      script = SCRIPT:format('"' .. table.concat(names, '", "') .. '"'),
      reload = false, fake = { heartbeat_interval = 400 * paths.slow }, hurry = 20,
    }
    local function await(name)
      local shard, fields = s.gateway:wait_for_log("worker 0[^\n]*life: " .. name .. ": (%S+): ([^\n]*)%.")
      assert.same(rows[name], { shard = shard, fields = fields }, name)
    end
    for _, name in ipairs { "load", "connecting", "connected", "hello", "identifying", "ready",
      "guilds_loaded", "heartbeat", "heartbeat_ack" } do
      await(name)
    end
    s.fake:fault { ["do"] = "close", code = 4000 }
    for _, name in ipairs { "disconnected", "resuming", "resumed" } do await(name) end
    s.fake:fault { ["do"] = "reconnect" }
    await "requested_reconnect"
    s:wait_counter("resumes_ok", 2)
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    await "invalid_session"
    s.bot:answer(function() return 500 end)
    s.fake:emit { count = 5 }
    await "handler_down"
    s.bot:answer(nil)
    await "handler_up"
    s.gateway:reload()
    await "reload"
    await "unload"
  end)

  it("have their details in the types, by the same names", function()
    local events = paths.read(paths.root .. "/lua/tidegate/meta/events.lua")
    local gateway = paths.read(paths.root .. "/lua/tidegate/meta/gateway.lua")
    local checked = 0
    for line in gateway:gmatch "%-%-%-@overload fun%(name: [^\n]+" do
      local shard, class = line:match "shard: ([%w.]+), details: tidegate%.(%w+)%)"
      local fields = {}
      local declared = events:match("%-%-%-@class tidegate%." .. class .. "\n(.-)\n\n")
      for field in declared:gmatch "@field ([%l_]+)" do
        fields[#fields + 1] = field
      end
      table.sort(fields)
      for name in line:match("name: (.-), handler"):gmatch '"([%l_]+)"' do
        assert.same(rows[name], { shard = shard == "nil" and "nil" or "table",
          fields = table.concat(fields, " ") }, name)
        checked = checked + 1
      end
    end
    for _, row in pairs(rows) do
      if row.fields ~= "" then checked = checked - 1 end
    end
    assert.equal(0, checked)
  end)
end)
