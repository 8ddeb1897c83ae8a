-- A fake Discord by names that only a proxy knows.
--
--   local fake, proxy, place = hidden_discord.start { tls = true, login = "user:password", bot = bot }
--   gateway.start { fake = fake, bot = bot, env = hidden_discord.env(place, { https_proxy = proxy.url }) }
--   place.gateway, place.rest     "gateway.discord.test:PORT", as CONNECT names them
--
-- bot: reached as http://bot.test, too. proxy: spec/support/connect_proxy.lua, to be cleaned up.

local connect_proxy = require "spec.support.connect_proxy"
local fake_discord = require "spec.support.fake_discord"

local hidden_discord = {}

function hidden_discord.start(options)
  local fake = fake_discord.start { shards = 1, tls = options.tls }
  local port = fake.gateway:match ":(%d+)$"
  local url = (options.tls and "wss" or "ws") .. "://gateway.discord.test:" .. port
  fake:settings { url = url, resume_url = url }
  local proxy = connect_proxy.start {
    hosts = {
      ["gateway.discord.test"] = fake.gateway, ["rest.discord.test"] = fake.rest,
      ["bot.test"] = options.bot and options.bot.url,
    },
    login = options.login,
  }
  return fake, proxy, {
    REST_URL = ("%s://rest.discord.test:%d/api/v10"):format(options.tls and "https" or "http", port),
    gateway = "gateway.discord.test:" .. port,
    rest = "rest.discord.test:" .. port,
  }
end

-- The environment of a gateway that knows Discord by these names, and more variables.
function hidden_discord.env(place, variables)
  local all = { REST_URL = place.REST_URL }
  for name, value in pairs(variables) do
    all[name] = value
  end
  return all
end

return hidden_discord
