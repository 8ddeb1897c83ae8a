-- my-plugin keeps messages of some channels away from the bot.

local handler = {
  VERSION = "0.1.0", -- as in the rockspec
  PRIORITY = 500, -- higher ones come first
  API = 1, -- the plugin interface that this is written for
}

-- Called in the manager and in each worker (self.role), and again at each reload. config is what schema.lua
-- lets through, with its defaults. All that is registered through self is gone when the plugin is.
function handler:load(config)
  local muted = {}
  for _, id in ipairs(config.channels) do
    muted[id] = true
  end
  self:filter("MESSAGE_CREATE", function(event)
    return not muted[event.data.channel_id]
  end)
end

return handler
