-- gateway.delivery and gateway.cache: each method overridden, and what that changes at the bot.
-- (lua_events_spec has handle_discord_payload.)

local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  return scene.start(options)
end

-- A bot that refuses the first attempts at each message, and notes when they come.
local function stubborn(refusals, status, headers)
  local times = {}
  return times, function(request, event)
    if event.t ~= "MESSAGE_CREATE" then
      return nil
    end
    local key = request.headers["idempotency-key"]
    times[key] = times[key] or {}
    table.insert(times[key], loop.now())
    if #times[key] <= refusals then
      return status, headers
    end
  end
end

describe("gateway.delivery", function()
  after_each(scene.stop)

  it(":retry_delay decides when an event is sent again", function()
    local times, policy = stubborn(2, 500)
    local s = start([[
function gateway.delivery:retry_delay(attempt, err)
  gateway.log.info("attempt %d: %s, %d, %s", attempt, err.code, err.status, err.message)
  return attempt == 1 and 700 or 0
end
]], { bot = { answer = policy } })
    s.fake:emit { count = 1 }
    local event = s.bot:wait_for_events(1, "MESSAGE_CREATE")[1]
    local at = times[event.key]
    assert.equal(3, #at)
    assert.is_true(at[2] - at[1] >= 690, ("%d ms"):format(at[2] - at[1]))
    s.gateway:wait_for_log "attempt 1: status, 500, [^\n]*500"
    s.gateway:wait_for_log "attempt 2: status, 500"
  end)

  it(":retry_delay knows what Retry-After said, and its default obeys", function()
    local times, policy = stubborn(1, 429, { ["Retry-After"] = "1" })
    local s = start([[
local delay = gateway.delivery.retry_delay
function gateway.delivery:retry_delay(attempt, err)
  local ms = delay(self, attempt, err)
  gateway.log.info("asked to wait %d ms, waiting %d", err.retry_after, ms)
  return ms
end
]], { bot = { answer = policy } })
    s.fake:emit { count = 1 }
    local event = s.bot:wait_for_events(1, "MESSAGE_CREATE")[1]
    s.gateway:wait_for_log "asked to wait 1000 ms, waiting 1000"
    local at = times[event.key]
    assert.is_true(at[2] - at[1] >= 990)
  end)

  it(":retry_delay hears of connections that fail, too", function()
    local s = start [[
function gateway.delivery:retry_delay(attempt, err)
  gateway.log.info("%s, %d", err.code, err.status)
  return 50
end
]]
    s.bot:wait_for_events(1, "READY")
    s.bot:down()
    s.fake:emit { count = 1 }
    s.gateway:wait_for_log "refused, 0"
    s.bot:up()
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
  end)

  for what, value in pairs { ["fails"] = "error 'late'", ["says a word"] = "return 'soon'",
                             ["says less than nothing"] = "return -1", ["has no opinion"] = "" } do
    it(":retry_delay that " .. what .. " is not heeded", function()
      local _, policy = stubborn(1, 500)
      local s = start("function gateway.delivery:retry_delay() " .. value .. " end\n",
        { bot = { answer = policy } })
      s.fake:emit { count = 3 }
      s:wait_delivered()
    end)
  end

  it(":is_delivered decides which answers accept an event", function()
    local s = start([[
local is_delivered = gateway.delivery.is_delivered
function gateway.delivery:is_delivered(status)
  if status == 409 then return true end -- "known already"
  if status == 202 then return false end -- "perhaps later"
  return is_delivered(self, status)
end
]], { ready = false, bot = { answer = function(request, event)
      if event.t == "READY" then
        return 409
      end
      return request.headers["idempotency-key"]:find "%.2$" and event.t == "GUILD_CREATE" and 202 or nil
    end } })
    s.gateway:wait_ready(1)
    local function attempts(sequence)
      for key, count in pairs(s.bot.attempts) do
        if key:find("^0%.%d+%." .. sequence .. "$") then
          return count
        end
      end
      return 0
    end
    loop.wait_for("the second event, again", function() return attempts(2) >= 2 end)
    assert.equal(1, attempts(1))
    assert.equal(0, attempts(3)) -- order is kept
    s.bot:answer(nil)
    s.fake:emit { count = 5 }
    s:wait_delivered()
  end)

  for what, value in pairs { ["fails"] = "error 'cannot say'", ["says a word"] = "return 'yes'" } do
    it(":is_delivered that " .. what .. " is not heeded", function()
      local times, policy = stubborn(1, 500)
      local s = start("function gateway.delivery:is_delivered() " .. value .. " end\n",
        { bot = { answer = policy } })
      s.fake:emit { count = 1 }
      local event = s.bot:wait_for_events(1, "MESSAGE_CREATE")[1]
      assert.equal(2, #times[event.key])
      s.gateway:wait_for_log "gateway%.delivery:is_delivered [^\n]* failed; the default is used"
    end)
  end
end)

describe("gateway.cache", function()
  after_each(scene.stop)

  it(":guild_create_kind decides what the bot is told of a guild", function()
    local s = start [[
local kind = gateway.cache.guild_create_kind
function gateway.cache:guild_create_kind(event)
  gateway.log.info("guild %s is %s", event.guild_id, kind(self, event))
  return "joined"
end
gateway.filter("GUILD_CREATE", function(event) gateway.log.info("filtered as %s", event.guild_create) end)
]]
    for _, event in ipairs(s.bot:wait_for_events(2, "GUILD_CREATE")) do
      assert.equal("joined", event.guild_create)
    end
    s.gateway:wait_for_log "guild %d+ is loading"
    s.gateway:wait_for_log "filtered as joined"
  end)

  for what, value in pairs { ["fails"] = "error 'unknown'", ["says nonsense"] = "return 'old'",
                             ["says a number"] = "return 7", ["has no opinion"] = "" } do
    it(":guild_create_kind that " .. what .. " is not heeded", function()
      local s = start("function gateway.cache:guild_create_kind() " .. value .. " end\n")
      assert.equal("loading", s.bot:wait_for_events(1, "GUILD_CREATE")[1].guild_create)
    end)
  end

  local function update(s, id, content)
    local guild = s.fake:guilds()[1].id
    for _, name in ipairs { "MESSAGE_CREATE", "MESSAGE_UPDATE" } do
      s.fake:emit { event = name, d = {
        id = id, guild_id = guild, channel_id = "1", content = content or "ahoy", author = { id = "1" },
        embeds = name == "MESSAGE_UPDATE" and { {} } or nil,
      } }
    end
  end

  it(":message_changed decides which updates the bot gets", function()
    local s = start [[
local changed = gateway.cache.message_changed
function gateway.cache:message_changed(event)
  gateway.log.info("update of %s: %s", event.id, changed(self, event))
  return event.id == "77"
end
]]
    update(s, "76")
    update(s, "77")
    update(s, "78")
    s.gateway:wait_for_log "update of 78: false"
    local updates = s.bot:wait_for_events(1, "MESSAGE_UPDATE")
    s.bot:wait_for_events(3, "MESSAGE_CREATE")
    assert.equal(1, #updates)
    assert.matches('"id":"77"', updates[1].body, 1, true)
  end)

  it(":message_changed that fails or has no opinion is not heeded", function()
    local s = start [[
function gateway.cache:message_changed(event)
  if event.id == "77" then error "blind" end
  if event.id == "78" then return "perhaps" end
end
]]
    for id = 76, 78 do
      update(s, tostring(id)) -- embeds only: dropped by default
    end
    s.fake:emit { event = "MESSAGE_UPDATE", d = { id = "78", channel_id = "1", content = "avast",
      edited_timestamp = "2026-01-02T00:00:00.000000+00:00", author = { id = "1" } }, shard = 0 }
    local updates = s.bot:wait_for_events(1, "MESSAGE_UPDATE")
    assert.equal(1, #updates)
    assert.matches("avast", updates[1].body, 1, true)
    assert.matches("blind\n%s+stack traceback:", s.gateway.stderr)
  end)
end)
