-- A scene for specs of interactions that the bot does not answer in time.
--
--   local world = require "spec.support.interaction_world"
--   after_each(world.finish)
--
--   local s = world.start()              grace is 200 ms unless options.script says otherwise
--   world.bot_down()
--   local id = world.emit(world.COMMAND).id
--   world.wait_callbacks(1)
--
-- finish() fails when the token of an interaction stands in a log.

local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

local world = { COMMAND = 2, COMPONENT = 3, AUTOCOMPLETE = 4, MODAL = 5 }

local s
local tokens = {}

-- A script: what gateway.configure is given, and more Lua behind it.
function world.script(options, text)
  return ('local gateway = require "tidegate"\ngateway.configure { %s }\n%s'):format(options, text or "")
end

-- The gateway soon finds out that the bot is there, or is not.
function world.start(options)
  options = options or {}
  options.script = options.script or world.script "interaction = { grace = 200 }"
  options.hurry = options.hurry or 10
  s = scene.start(options)
  if options.bot ~= false then
    s.bot:wait_for_events((options.shards or 1) + #s.fake:guilds())
  end
  return s
end

-- Emits an interaction, or more.count of them, to shard 0; returns the first: {id, token}.
function world.emit(kind, more)
  local what = { interaction = kind, shard = 0 }
  for name, value in pairs(more or {}) do
    what[name] = value
  end
  local given = s.fake:emit(what).interactions
  for _, one in ipairs(given) do
    tokens[#tokens + 1] = one.token
  end
  return given[1]
end

-- What came to REST for interactions, oldest first: {id, type, callback, status, code, age}.
function world.wait_callbacks(n, timeout)
  return s.fake:wait_for(n .. " callbacks", function(state)
    return #state.callbacks >= n and state.callbacks
  end, { only = "callbacks", timeout = timeout })
end

function world.bot_down()
  s.bot:down()
  s.fake:emit { count = 1, shard = 0 }
  s.gateway:wait_for_log "the event handler is down"
end

-- Waits for n of them at the bot.
function world.interactions(n, timeout)
  return s.bot:wait_for_events(n, "INTERACTION_CREATE", timeout or 20000)
end

-- Discord has taken no more than one answer to each; returns the ids of these.
function world.assert_answered_once()
  local taken = {}
  for _, callback in ipairs(s:list "callbacks") do
    if callback.status == 204 then
      assert(not taken[callback.id], "answered twice: " .. callback.id)
      taken[callback.id] = true
    end
  end
  return taken
end

-- For what is not to happen.
function world.pause(ms)
  local until_then = loop.now() + ms
  loop.wait_for("the next moment", function() return loop.now() >= until_then end)
end

function world.finish()
  local leak
  for _, gateway in ipairs(s and s.gateways or {}) do
    for _, token in ipairs(tokens) do
      leak = leak or gateway.stderr:find(token, 1, true)
    end
  end
  s, tokens = nil, {}
  scene.stop()
  assert(not leak, "the token of an interaction stands in the log")
end

return world
