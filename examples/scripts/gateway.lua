-- What a service starts with: the .deb puts this file at /etc/tidegate/gateway.lua.
--
-- The token and the bot's address stand in /etc/tidegate/tidegate.env. After a change here, as root:
--
--   (set -a; . /etc/tidegate/tidegate.env; tidegate check /etc/tidegate/gateway.lua)
--   systemctl reload tidegate                     no connection is dropped

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds", "guild_messages" }, -- which events Discord shall send
}

-- Events that never reach the bot:
--   gateway.filter({ "TYPING_START", "PRESENCE_UPDATE" }, false)
--
-- More to start from: first.lua, beside this file in Tidegate's examples.
