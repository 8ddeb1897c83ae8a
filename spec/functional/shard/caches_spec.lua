-- What the gateway remembers of guilds and messages, and says of them to the bot.

local scene = require "spec.support.scene"
local uv = require "luv"

describe("a GUILD_CREATE", function()
  after_each(scene.stop)

  local function guild_creates(s, guild)
    local kinds = {}
    for _, event in ipairs(s.bot:select "GUILD_CREATE") do
      if event:data().id == guild then
        kinds[#kinds + 1] = event.guild_create
      end
    end
    return kinds
  end

  -- Emits, and waits until the bot has one more GUILD_CREATE or GUILD_DELETE.
  local function emit(s, what)
    local before = #s.bot.events
    local answer = s.fake:emit(what)
    s.bot:wait_for_events(before + 1)
    return answer
  end

  it("after READY is loading, an outage is no leave, leave and rejoin is a join", function()
    local s = scene.start { fake = { guilds = 3 } }
    s.bot:wait_for_events(4)
    local guilds = s.fake:guilds()
    assert.equal(3, #guilds)
    for _, guild in ipairs(guilds) do
      assert.same({ "loading" }, guild_creates(s, guild.id))
    end
    local guild = guilds[1].id
    emit(s, { kind = "outage", guild = guild })
    emit(s, { kind = "available", guild = guild })
    assert.same({ "loading", "available" }, guild_creates(s, guild))
    emit(s, { kind = "left", guild = guild })
    emit(s, { kind = "joined", guild = guild })
    assert.same({ "loading", "available", "joined" }, guild_creates(s, guild))

    -- The bytes of the message are as they were: what is added stands behind it.
    local event = s.bot:select("GUILD_CREATE")[5]
    assert.matches('^{"shardId":0,"totalShards":1,"epoch":%d+,"message":{.*},"guildCreate":"joined"}$',
      event.body)
  end)

  it("of a guild that is new and down is a join once it comes up", function()
    local s = scene.start { fake = { guilds = 1 } }
    s.bot:wait_for_events(2)
    emit(s, { event = "GUILD_CREATE", d = { id = "4398046511104", unavailable = true }, shard = 0 })
    emit(s, { event = "GUILD_CREATE", d = { id = "4398046511104", name = "new" }, shard = 0 })
    emit(s, { event = "GUILD_DELETE", d = { id = "4398046511104", unavailable = true }, shard = 0 })
    emit(s, { event = "GUILD_CREATE", d = { id = "4398046511104", name = "new" }, shard = 0 })
    assert.same({ "available", "joined", "available" }, guild_creates(s, "4398046511104"))
  end)

  it("of guilds that were down at READY is loading when they come", function()
    local s = scene.start { fake = { guilds = 2, guild_create = "none" } }
    s.bot:wait_for_events(1, "READY")
    local guilds = s.fake:guilds()
    emit(s, { kind = "available", guild = guilds[1].id })
    emit(s, { kind = "outage", guild = guilds[2].id })
    emit(s, { kind = "available", guild = guilds[2].id })
    assert.same({ "loading" }, guild_creates(s, guilds[1].id))
    assert.same({ "available" }, guild_creates(s, guilds[2].id))
  end)

  it("of a start that another process had begun ends it", function()
    local s = scene.start { hurry = 10, fake = { guilds = 2, guild_create = "none" }, script = [[
local gateway = require "tidegate"
gateway.on("guilds_loaded", function(_, details)
  gateway.log.info("%d guilds, %d are missing", details.guilds, details.missing)
end)
]] }
    s.bot:wait_for_events(1, "READY")
    local guilds = s.fake:guilds()
    emit(s, { kind = "available", guild = guilds[1].id })
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.bot:wait_for_events(1, "RESUMED")
    emit(s, { kind = "available", guild = guilds[2].id })
    assert.same({ "loading" }, guild_creates(s, guilds[2].id))
    s.gateway:wait_for_log "2 guilds, 0 are missing"
  end)

  it("is no join after a resume by a new process, which has seen no READY", function()
    local s = scene.start { fake = { guilds = 2 } }
    s.bot:wait_for_events(3)
    local guild = s.fake:guilds()[1].id
    s.gateway:stop()
    s:again()
    s.bot:wait_for_events(1, "RESUMED")
    emit(s, { kind = "outage", guild = guild })
    emit(s, { kind = "available", guild = guild })
    assert.same({ "loading", "available" }, guild_creates(s, guild))
    emit(s, { kind = "joined" })
    local creates = s.bot:select "GUILD_CREATE"
    assert.equal("joined", creates[#creates].guild_create)
  end)

  it("is what gateway.cache:guild_create_kind says", function()
    local s = scene.start { fake = { guilds = 2 }, script = [[
local gateway = require "tidegate"
local kind = gateway.cache.guild_create_kind
function gateway.cache:guild_create_kind(event)
  assert(kind(self, event) == "loading")
  return "available"
end
gateway.on("guilds_loaded", function(shard, details)
  gateway.log.info("shard %d has loaded %d guilds", shard.id, details.guilds)
end)
]] }
    s.gateway:wait_for_log "shard 0 has loaded 2 guilds"
    for _, event in ipairs(s.bot:wait_for_events(2, "GUILD_CREATE")) do
      assert.equal("available", event.guild_create)
    end
  end)
end)

describe("a MESSAGE_UPDATE", function()
  after_each(scene.stop)

  local function message(id, fields)
    fields.id, fields.channel_id = id, "1000"
    fields.author = { id = "7", username = "someone", bot = false }
    return fields
  end

  -- Emits all updates and a mark behind them; returns the tags of the updates that the bot got.
  local function passed(s, updates)
    local guild = s.fake:guilds()[1].id
    for _, update in ipairs(updates) do
      local name, tag, id, fields = unpack(update)
      fields.guild_id, fields.nonce = guild, tag
      s.fake:emit { event = name, d = message(id, fields), guild = guild }
    end
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    local tags = {}
    for i, event in ipairs(s.bot:select "MESSAGE_UPDATE") do
      tags[i] = event:data().nonce
    end
    return tags
  end

  local T1, T2 = "2026-01-01T10:00:00.000000+00:00", "2026-01-01T10:00:05.000000+00:00"
  local UPDATES = {
    { "MESSAGE_CREATE", "create", "500", { content = "hello https://example.com" } },
    { "MESSAGE_UPDATE", "preview", "500", { content = "hello https://example.com", embeds = { {} } } },
    { "MESSAGE_UPDATE", "edit", "500", { content = "good day", edited_timestamp = T1 } },
    { "MESSAGE_UPDATE", "pin", "500", { content = "good day", edited_timestamp = T1, pinned = true } },
    { "MESSAGE_UPDATE", "edit again", "500", { content = "good night", edited_timestamp = T2 } },
    { "MESSAGE_UPDATE", "unknown message", "501", { content = "we were not there", edited_timestamp = T1 } },
  }

  it("that changes nothing but embeds does not reach the bot", function()
    local s = scene.start {}
    assert.same({ "edit", "pin", "edit again", "unknown message" }, passed(s, UPDATES))
    assert.equal(1, #s.bot:select "MESSAGE_CREATE")

    -- What is left out counts as received all the same.
    s.gateway:stop()
    s:again()
    local resume = s:list("resumes")[1]
    assert.equal(resume.current, resume.seq)
  end)

  it("always does with message_updates = \"all\"", function()
    local s = scene.start { script = 'require "tidegate".configure { message_updates = "all" }\n' }
    assert.same({ "preview", "edit", "pin", "edit again", "unknown message" }, passed(s, UPDATES))
  end)

  it("is judged in the same way without the message content intent", function()
    local s = scene.start { intents = 513 }
    assert.same({ "edit", "pin", "edit again" }, passed(s, {
      { "MESSAGE_CREATE", "create", "500", { content = "" } },
      { "MESSAGE_UPDATE", "preview", "500", { content = "", embeds = {} } },
      { "MESSAGE_UPDATE", "edit", "500", { content = "", edited_timestamp = T1 } },
      { "MESSAGE_UPDATE", "pin", "500", { content = "", edited_timestamp = T1, pinned = true } },
      { "MESSAGE_UPDATE", "edit again", "500", { content = "", edited_timestamp = T2 } },
    }))
  end)

  it("is what gateway.cache:message_changed says", function()
    local s = scene.start { script = [[
local gateway = require "tidegate"
local changed = gateway.cache.message_changed
function gateway.cache:message_changed(event)
  return event.data.embeds ~= nil or (changed(self, event) and event.data.nonce ~= "edit")
end
]] }
    assert.same({ "preview", "pin", "edit again", "unknown message" }, passed(s, UPDATES))
  end)
end)
