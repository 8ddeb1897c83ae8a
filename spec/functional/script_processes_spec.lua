-- One script, run in the manager and in each worker: what it sees of the other processes, and of the end.

local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  return scene.start(options)
end

describe("the end of a process", function()
  after_each(scene.stop)

  it("runs unload handlers while the shards are still there, up to their first wait", function()
    local s = start [[
local first
gateway.on("ready", function(shard) first = shard end)
gateway.on("unload", function()
  if gateway.role == "worker" then
    gateway.log.info("unload: shard %d had session %s", first.id, first.session_id)
  else
    gateway.log.info("unload in the manager")
  end
  gateway.sleep(1)
  gateway.log.error("somebody turned the loop once more")
end)
]]
    local session = s:list("sessions")[1]
    assert.equal(0, (s.gateway:stop()))
    s.gateway:wait_for_log("unload: shard 0 had session " .. session.session_id)
    s.gateway:wait_for_log "unload in the manager"
    assert.equal(0, s.gateway:count_log "once more")
  end)
end)

describe("gateway.manager in a worker", function()
  after_each(scene.stop)

  it("runs the manager's override, gateway.default.manager the default", function()
    local s = start [[
function gateway.manager:calculate_shard_id(guild_id, total)
  return 41
end

gateway.on("ready", function()
  local id, manager = "41771983423143937", gateway.manager
  gateway.log.info("override: %d", manager:calculate_shard_id(id, 16))
  gateway.log.info("default: %d", gateway.default.manager.calculate_shard_id(manager, id, 16))
end)
]]
    s.gateway:wait_for_log "worker 0.*: override: 41\n"
    s.gateway:wait_for_log "worker 0.*: default: 6\n"
  end)
end)
