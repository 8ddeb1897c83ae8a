-- What happens when the bot does not take an event: how soon it is tried again, which answers count as
-- accepted, what gives way when the queue grows, and who hears of it.
--
--   ALERT_URL=https://discord.com/api/webhooks/... tidegate run examples/queue_policy.lua
--
-- Events stay in order, and none is thrown away by what this script decides: it only says when, and what
-- counts.

local gateway = require "tidegate"

local FIRST = 100 -- milliseconds, as everywhere
local LONGEST = 5000
local ALREADY_HAVE_IT = 409

gateway.configure {
  intents = { "guilds", "guild_messages" },
  queue = {
    memory_bytes = 128 * 1024 * 1024,
    -- These are no longer queued once it is nearly full, so that room is left for the others.
    drop_first = { "TYPING_START", "PRESENCE_UPDATE", "VOICE_STATE_UPDATE" },
  },
}

-- How long to wait before the next try. `attempt` is 1 after the first failure; `err.status` is the bot's
-- answer, or 0 when none came. This bot runs on the same machine and is back within seconds after a restart:
-- ask it often.
function gateway.delivery:retry_delay(attempt, err)
  if err.retry_after then
    return err.retry_after -- the bot knows best
  end
  return math.min(FIRST * 2 ^ (attempt - 1), LONGEST)
end

-- Which answers say that the event is safe with the bot. This one refuses what it has seen before with 409:
-- there is no use in trying that again. For all others the gateway's own rule holds: any 2xx.
local is_delivered = gateway.delivery.is_delivered

function gateway.delivery:is_delivered(status)
  if status == ALREADY_HAVE_IT then
    return true
  end
  return is_delivered(self, status)
end

-- Tell a person when the bot is down, and when it is back. Each worker sees this by itself, so only the
-- first one speaks. Handlers run beside delivery and may wait for an answer.
local alert_url = os.getenv "ALERT_URL"

local function alert(text)
  gateway.log.warn("%s", text)
  if not alert_url or gateway.worker_id ~= 0 then
    return
  end
  local response, err = gateway.http.post(alert_url, { json = { content = text } })
  if not response then
    gateway.log.error("the alert was not sent: %s", err)
  end
end

gateway.on("handler_down", function(_, details)
  alert(("The bot at %s does not take events: %s"):format(details.url, details.reason))
end)

gateway.on("handler_up", function(_, details)
  alert(("The bot at %s takes events again."):format(details.url))
end)
