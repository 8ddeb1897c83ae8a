-- What happens when the bot does not take an event: how soon it is tried again, which answers count as
-- accepted, what gives way when the queue grows, where else events can go, and who hears of it.
--
--   ALERT_URL=https://discord.com/api/webhooks/... tidegate run examples/scripts/queue_policy.lua
--
-- Events stay in order. If one of these functions fails, or never returns, the gateway goes on as it would
-- without it.

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

-- What goes when the queue is full (queue.disk_bytes; without a log queue.memory_bytes). `queue` is that of
-- the whole worker. First what the bot can do without, then what is old anyway; if that is not enough, the
-- gateway goes on with its own rule: the oldest, but interactions last.
local EXPENDABLE = { "TYPING_START", "PRESENCE_UPDATE", "VOICE_STATE_UPDATE", "MESSAGE_REACTION_ADD" }
local MUCH = 1000

function gateway.delivery:queue_overflow(queue)
  local dropped = queue:drop(EXPENDABLE)
  if dropped < MUCH then
    dropped = dropped + queue:drop(MUCH - dropped)
  end
  gateway.log.warn("the queue was full: dropped %d events, %d wait, the oldest for %d s", dropped, #queue,
    queue:age() / 1000)
end

-- Where events go. This one keeps a second copy of each message at an archive before the bot gets it; when
-- the archive fails, the event is tried again as if the bot had failed. `events` are the first of one shard's
-- queue: one, or with event_handler.batch up to 64.
local archive_url = os.getenv "ARCHIVE_URL"
local deliver = gateway.delivery.deliver

local function archive(events)
  local bodies = {}
  for _, event in ipairs(events) do
    if event.type == "MESSAGE_CREATE" then
      bodies[#bodies + 1] = event.body
    end
  end
  if #bodies == 0 then
    return true
  end
  local response, err = gateway.http.post(archive_url, { body = table.concat(bodies, "\n") })
  if not response then
    return nil, err
  elseif response.status >= 300 then
    return nil, { code = "archive", message = "the archive answered " .. response.status, status = 503 }
  end
  return true
end

if archive_url then
  function gateway.delivery:deliver(events)
    local ok, err = archive(events)
    if not ok then
      return nil, err
    end
    return deliver(self, events)
  end
end

-- When a queue is drained. The bot's host is backed up at night: its events wait meanwhile, safe on disk. The
-- rest is the gateway's own work, which returns when nothing waits any more.
local BACKUP_HOUR = tonumber(os.getenv "BACKUP_HOUR")
local handle_queue = gateway.delivery.handle_queue

if BACKUP_HOUR then
  function gateway.delivery:handle_queue(queue)
    while os.date("*t").hour == BACKUP_HOUR and queue:length() > 0 do
      gateway.sleep(10000)
    end
    return handle_queue(self, queue)
  end
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
