-- Payloads from the field, a row each: what Discord sent, and what the bot has to get of it.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

local null = cjson.null
local NONE, ABSENT = "<an empty list>", {} -- cjson has no empty lists

-- A message as MESSAGE_CREATE has it today, with what is given in the place of what is usual.
local function message(fields)
  local all = {
    type = 0, tts = false, timestamp = "2026-03-02T08:15:30.417000+00:00", pinned = false, flags = 0,
    mentions = NONE, mention_roles = NONE, mention_everyone = false, embeds = NONE, edited_timestamp = null,
    content = "The ferry is late", components = NONE, channel_type = 0, channel_id = "310000000000000001",
    author = {
      id = "210000000000000001", username = "ferryman", discriminator = "0", global_name = "Ferry",
      avatar = null, public_flags = 0, primary_guild = null,
    },
    attachments = NONE,
    member = {
      nick = "Ferry (pier 4)", avatar = null, banner = null, roles = { "410000000000000001" }, flags = 0,
      joined_at = "2023-01-05T10:20:30.334000+00:00", premium_since = null, deaf = false, mute = false,
      pending = false, communication_disabled_until = null,
    },
  }
  for name, value in pairs(fields) do
    if value == ABSENT then
      all[name] = nil
    else
      all[name] = value
    end
  end
  return all
end

local EDIT, LATER = "2026-03-02T08:16:02.766195+00:00", "2026-03-02T08:17:44.100000+00:00"
local CUT = "2026-03-02T08:16:02.766000+00:00" -- EDIT as later updates have it
local PREVIEW = {
  {
    type = "article", url = "https://ferries.example/", title = "Timetables", content_scan_version = 0,
    thumbnail = { url = "https://ferries.example/a.png", proxy_url = "https://images-ext-1.example/a" },
  },
}
local ANSWER = { { type = "rich", title = "Ferries today", description = "None." } }

local function file(id, query)
  local path = ("attachments/310000000000000001/%s/pier.png%s"):format(id, query)
  return {
    id = id, filename = "pier.png", size = 58213, width = 640, height = 360, content_type = "image/png",
    url = "https://cdn.discordapp.com/" .. path, proxy_url = "https://media.discordapp.net/" .. path,
  }
end
local SIGNED, AGAIN = "?ex=69a60012&is=69a4ae92&hm=0f3bc2&", "?ex=69a75192&is=69a60012&hm=77aa01&"

local function poll(finalized, votes)
  return {
    question = { text = "Which pier?" }, answers = { { answer_id = 1, poll_media = { text = "Four" } } },
    expiry = "2026-03-03T08:15:30.417000+00:00", allow_multiselect = false, layout_type = 1,
    results = { is_finalized = finalized, answer_counts = { { id = 1, count = votes, me_voted = false } } },
  }
end

local function forward(content, embeds)
  return {
    type = 0, content = "", flags = 16384,
    message_reference = { type = 1, channel_id = "310000000000000002", message_id = "510000000000000001" },
    message_snapshots = { { message = { type = 0, content = content, embeds = embeds or NONE, flags = 0 } } },
  }
end

local function container(text)
  return { { type = 17, id = 1, components = { { type = 10, id = 2, content = text } } } }
end

-- What of the message is new in the update; `seen`: what MESSAGE_CREATE had beside the usual; `part`: the
-- update has nothing else; `unseen`: there was no MESSAGE_CREATE.
local UPDATES = {
  { "a link that has been looked at", { embeds = PREVIEW }, drop = true },
  { "a link that has been looked at, after an edit", { embeds = PREVIEW, edited_timestamp = CUT },
    seen = { edited_timestamp = EDIT }, drop = true },
  { "a link that has been looked at, without contents", { embeds = NONE }, seen = { content = "" },
    drop = true },
  { "a link in a message read aloud", { embeds = PREVIEW }, seen = { tts = true }, drop = true },
  { "a link, told in part", { embeds = PREVIEW, channel_id = "310000000000000001" }, part = true,
    drop = true },
  { "files with new signatures", { attachments = { file("1", AGAIN), file("2", AGAIN) } },
    seen = { attachments = { file("1", SIGNED), file("2", SIGNED) } }, drop = true },
  { "nothing at all", {}, drop = true },

  { "an edit", { content = "The ferry is here", edited_timestamp = EDIT } },
  { "an edit without contents", { content = "", edited_timestamp = EDIT }, seen = { content = "" } },
  { "a second edit", { content = "The ferry left", edited_timestamp = LATER },
    seen = { edited_timestamp = EDIT } },
  { "a bot's edit of its embeds", { embeds = ANSWER, edited_timestamp = EDIT }, seen = { content = "" } },
  { "a deferred reply that is filled with an embed", { flags = 0, embeds = ANSWER },
    seen = { type = 20, flags = 128, content = "", application_id = "110000000000000001" } },
  { "a deferred reply that is filled with text", { flags = 0, content = "None." },
    seen = { type = 20, flags = 128, content = "" } },
  { "components of the second version", { components = container "Pier 4: late" },
    seen = { flags = 32768, content = "", components = container "Pier 4: on time" } },
  { "a file added", { attachments = { file("1", SIGNED) } } },
  { "a file removed", { attachments = { file("1", AGAIN) } },
    seen = { attachments = { file("1", SIGNED), file("2", SIGNED) } } },
  { "all files removed", { attachments = NONE }, seen = { attachments = { file("1", SIGNED) } } },
  { "files in another order", { attachments = { file("2", SIGNED), file("1", SIGNED) } },
    seen = { attachments = { file("1", SIGNED), file("2", SIGNED) } } },
  { "a sticker gone", { sticker_items = ABSENT },
    seen = { sticker_items = { { id = "610000000000000001", name = "anchor", format_type = 1 } } } },
  { "a pin", { pinned = true } },
  { "a pin taken out", { pinned = false }, seen = { pinned = true } },
  { "embeds that were suppressed", { flags = 4, embeds = NONE }, seen = { embeds = PREVIEW } },
  { "a crosspost", { flags = 1 } },
  { "a thread", { flags = 32, thread = { id = "510000000000000002", name = "late ferries", type = 11 } } },
  { "a poll's results", { poll = poll(true, 12) }, seen = { content = "", poll = poll(false, 11) } },
  { "the snapshot of a forward", forward "Gone", seen = forward "On its way" },
  { "a mention resolved", { mentions = { { id = "210000000000000002", username = "mate" } } } },
  { "a member that Discord has invented since", { hologram = { id = "1" } } },
  { "flags, told in part", { flags = 4 }, part = true },
  { "a message that nobody saw before", { embeds = PREVIEW }, unseen = true },
}

describe("a MESSAGE_UPDATE that brings", function()
  after_each(scene.stop)

  -- All rows in one gateway, each with a message of its own; TYPING_START behind them.
  local function passed(s)
    local guild = s.fake:guilds()[1].id
    local function emit(name, d)
      d.guild_id = guild
      local text = cjson.encode { event = name, d = d, guild = guild }:gsub(('"%s"'):format(NONE), "[]")
      local answer = http.request("POST", s.fake.admin .. "/emit", { body = text, timeout = 20000 })
      assert.equal(200, answer.status, answer.body)
    end
    for i, row in ipairs(UPDATES) do
      local id, new = ("51%016d"):format(i), {}
      for name, value in pairs(row.seen or {}) do
        new[name] = value
      end
      for name, value in pairs(row[2]) do
        new[name] = value
      end
      if not row.unseen then
        local created = message(row.seen or {})
        created.id, created.nonce = id, "created"
        emit("MESSAGE_CREATE", created)
      end
      local update = row.part and row[2] or message(new)
      update.id = id
      if update.tts then
        update.tts = false -- as all updates have it
      end
      emit("MESSAGE_UPDATE", update)
    end
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    local ids = {}
    for _, event in ipairs(s.bot:select "MESSAGE_UPDATE") do
      ids[event:data().id] = true
    end
    return ids
  end

  local function outcomes(s)
    local got, wanted, ids = {}, {}, passed(s)
    for i, row in ipairs(UPDATES) do
      got[row[1]] = ids[("51%016d"):format(i)] and "passes" or "is dropped"
      wanted[row[1]] = row.drop and "is dropped" or "passes"
    end
    return wanted, got
  end

  for intents, what in pairs { [33281] = "with", [513] = "without" } do
    it("what somebody did passes, all else is dropped; " .. what .. " the content intent", function()
      assert.same(outcomes(scene.start { intents = intents }))
    end)
  end
end)

-- As JSON; the path of the mistake, and words that are said of it.
local PRESENCES = {
  { '{"status":"busy"}', ".status", "online, idle, dnd, invisible, offline; got \"busy\"" },
  { '{"status":true}', ".status", "must be one of" },
  { '{"activites":[]}', ".activites", "did you mean \"activities\"?" },
  { '{"game":{"name":"chess"}}', ".game", "is not known" },
  { '{"afk":"yes"}', ".afk", "true or false" },
  { '{"since":"now"}', ".since", "milliseconds" },
  { '{"activities":{"name":"chess"}}', ".activities", "a list" },
  { '{"activities":["chess"]}', ".activities[1]", "a table" },
  { '{"activities":[{"name":"chess"},{"type":3}]}', ".activities[2].name", "is required" },
  { '{"activities":[{"name":"chess","type":9}]}', ".activities[1].type", "5 (competing)" },
  { '{"activities":[{"name":"chess","type":"playing"}]}', ".activities[1].type", "0 (playing)" },
  { '{"activities":[{"name":"chess","details":"mate"}]}', ".activities[1].details", "bots may set no more" },
  { '{"activities":[{"name":"chess","sate":"mate"}]}', ".activities[1].sate", "did you mean \"state\"?" },
  { '{"activities":[{"name":"' .. ("x"):rep(4000) .. '"}]}', "", "is over 3072 bytes",
    kept = true }, -- where it goes into an IDENTIFY
}

describe("a presence with a mistake is refused with its path", function()
  after_each(scene.stop)
  after_each(process.cleanup)

  it("in the configuration, by check", function()
    local dir = paths.tmp()
    for _, row in ipairs(PRESENCES) do
      paths.write(dir .. "/bot.lua", ([[
local gateway = require "tidegate"
gateway.configure { token = "t", intents = 1, presence = gateway.json.decode(%q) }
]]):format(row[1]))
      local run = process.run({ paths.bin "tidegate", "check", "bot.lua" }, { cwd = dir })
      assert.equal(1, run.exit_code, row[1])
      assert.matches("presence" .. row[2] .. ": ", run.stderr, 1, true)
      assert.matches(row[3], run.stderr, 1, true)
    end
  end)

  it("by the control API: in EditShardsPresence, and in a payload to all or one", function()
    local s = scene.start { bot = false }
    local function post(path, body)
      local answer = s.gateway:control("POST", path, { body = body })
      return answer.status, answer.body
    end
    for _, row in ipairs(PRESENCES) do
      local said = row[3]:gsub('"', '\\"')
      local op = ('{"op":3,"d":%s}'):format(row[1])
      for i, answer in ipairs {
        { post("/", ('{"type":"EditShardsPresence","payload":%s}'):format(row[1])) },
        not row.kept and { post("/payload", op) } or nil,
        not row.kept and { post("/shards/0/payload", op) } or nil,
      } do
        assert.equal(400, answer[1], row[1])
        assert.matches((i == 1 and "presence" or "d") .. row[2] .. " ", answer[2], 1, true)
        assert.matches(said, answer[2], 1, true)
      end
    end
    assert.same({}, s:list "commands")
  end)

  it("by the methods that take one, and by make_presence", function()
    local lines = {}
    for i, row in ipairs(PRESENCES) do
      lines[i] = ("%q"):format(row[1])
    end
    local s = scene.start { bot = false, shards = #lines, fake = { max_concurrency = #lines }, script = [[
local gateway = require "tidegate"
local list = { ]] .. table.concat(lines, ", ") .. [[ }
function gateway.shard:make_presence() return gateway.json.decode(list[self.id + 1]) end
gateway.on("TYPING_START", function(event, shard)
  for i, text in ipairs(list) do
    local presence = gateway.json.decode(text)
    for name, call in pairs {
      bot = function() return gateway.manager:edit_bot_status(presence) end,
      shard = function() return gateway.manager:edit_shard_status(0, presence) end,
      send = function() return shard:send { op = 3, d = presence } end,
      payload = function() return gateway.manager:send_payload(0, { op = 3, d = presence }) end,
    } do
      local ok, err = call()
      gateway.log.info("said %s %d: %s %s", name, i, ok, err and err.message)
    end
  end
  gateway.log.info("that was all")
end)
]] }
    s:type()
    s.gateway:wait_for_log "that was all"
    local log = s.gateway.stderr
    for i, row in ipairs(PRESENCES) do
      for name, where in pairs { bot = "presence", shard = "presence", send = "d", payload = "d" } do
        local line = log:match(("said %s %d: ([^\n]*)"):format(name, i))
        if where == "presence" or not row.kept then
          assert.matches(("nil .*%s%s "):format(where, row[2]:gsub("%p", "%%%0")), line)
          assert.matches(row[3], line, 1, true)
        end
      end
      local said = log:match(("shard %d: shard.make_presence returned no presence([^\n]*)"):format(i - 1))
      assert.matches("presence" .. row[2] .. " ", said, 1, true)
      assert.matches(row[3], said, 1, true)
    end
    assert.same({}, s:list "commands")
  end)
end)
