-- What a script costs an event: the difference to an empty script. The hooks are called as the delivery does,
-- with events in memory (script_cost.c): as a part of all that a worker does they are smaller than its noise.

local lab = require "spec.bench.lab"
local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"

local hooks = {}

local ROUNDS = 2 -- for each of the other measures'

local NOISE = 0.02 -- us: taken for 0, which nothing that is measured is

local EMPTY = ""

local PLUGINS = {
  filter = { load = [[
    self:filter("MESSAGE_CREATE", function(event) return event.size > 10 and event.sequence > 0 end)
  ]] },
  silent = { load = [[
    self:filter("TYPING_START", function(event) return event.size < 100 end)
    self:on("TYPING_START", function() end)
    self:override("manager", "fetch_gateway_bot", function(next, ...) return next(...) end)
    self:every(3600000, function() end)
  ]] },
}

-- name, aim in microseconds, script
local SCRIPTS = {
  { "no hook for this type", 0, [[
gateway.on("TYPING_START", function() end)
gateway.filter("TYPING_START", function(event) return event.size < 100 end)
]] },
  { "constant filter", 0, [[gateway.filter("MESSAGE_CREATE", false)]] },
  { "computed filter, reads scalars", 0.15, [[
gateway.filter("MESSAGE_CREATE", function(event) return event.size > 10 and event.sequence > 0 end)
]] },
  { "the same filter, of a plugin", 0.15, [[gateway.plugin "filter"]] },
  { "ten plugins, none for this type", 0, [[
for i = 1, 10 do gateway.plugin("silent", nil, { as = "silent-" .. i }) end
]] },
  { "computed filter, reads event.data", 6, [[
gateway.filter("MESSAGE_CREATE", function(event) return not event.data.author.bot end)
]] },
  { "override that calls the default", 0.3, [[
local handle_discord_payload = gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event)
  return handle_discord_payload(self, shard, event)
end
]] },
  { "on handler", 0.3, [[
local count = 0
gateway.on("MESSAGE_CREATE", function() count = count + 1 end)
]] },
}

local HEAD = [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 0 }
]]

function hooks.measure(options)
  print "Lua, CPU microseconds an event on top of an empty script:"
  local env = { TIDEGATE_ROCKS_TREES = plugins.tree(PLUGINS) }
  local folder = paths.tmp()
  local function cost_of(script)
    local argv = { paths.bin "bench/script_cost", paths.write(folder .. "/bot.lua", HEAD .. script) }
    local run = process.run(argv, { env = env, timeout = 60000 })
    return assert(tonumber(run.stdout), run.stderr)
  end
  local base, costs = {}, {}
  for round = 1, options.rounds * ROUNDS do
    base[round] = cost_of(EMPTY)
    for i, script in ipairs(SCRIPTS) do
      costs[i] = costs[i] or {}
      costs[i][round] = cost_of(script[3]) - base[round]
    end
  end
  print(("  %-36s %7.2f"):format("(the event's envelope, empty script)", lab.median(base)))
  for i, script in ipairs(SCRIPTS) do
    local name, aim, cost = script[1], script[2], lab.median(costs[i])
    local verdict = cost <= math.max(aim, NOISE) and "ok  " or "MISS"
    print(("  %-36s %+7.2f   %s <= %g"):format(name, cost, verdict, aim))
  end
end

return hooks
