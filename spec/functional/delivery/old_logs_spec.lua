-- What an earlier version has left in its log is delivered as it was to be, in each form.

local bot_support = require "spec.support.bot"
local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"
local wall_clock = require "spec.support.wall_clock"
local webhook = require "spec.support.webhook"

-- A log of one shard, as it was before there was more than one sink, with a session that Discord does not
-- know any more: READY, which was delivered, and what was not: three GUILD_CREATE, two messages, an
-- interaction that was deferred, a guild that was joined.
local STATE = "spec/functional/delivery/states/one_sink.tar.gz.base64"
local WRITTEN_AT, EPOCH = 1796042370000, 1796042370

local KEPT = {
  { 2, "GUILD_CREATE", kind = "loading" }, { 3, "GUILD_CREATE", kind = "loading" },
  { 4, "GUILD_CREATE", kind = "loading" }, { 5, "MESSAGE_CREATE", nonce = "785958882510753199:1" },
  { 6, "MESSAGE_CREATE", nonce = "785958882513149121:1" }, { 7, "INTERACTION_CREATE", deferred = true },
  { 8, "GUILD_CREATE", kind = "joined" },
}

local function start(options)
  local state_dir = paths.tmp() .. "/state"
  assert(uv.fs_mkdir(state_dir, 448))
  local unpacked = process.run { "sh", "-c", 'base64 -d "$0" | tar -xzf - -C "$1"', STATE, state_dir }
  assert.equal(0, unpacked.exit_code, unpacked.stderr)
  local clock = wall_clock.new()
  clock:set(WRITTEN_AT + 10000) -- nobody can answer the interaction a quarter of an hour later
  options.state_dir, options.env = state_dir, clock:env(options.env)
  return scene.start(options)
end

local function script(options)
  return ('require "tidegate".configure { event_handler = { %s } }\n'):format(options)
end

describe("a log that an earlier version has left", function()
  after_each(scene.stop)

  for name, options in pairs { ["one by one"] = "", ["in batches"] = "batch = true" } do
    it("is delivered " .. name .. ", in its place, with all that was known", function()
      local bot = bot_support.start()
      local s = start { bot = { bot }, script = script(options) }
      s.fake:emit { count = 5 }
      s:wait_delivered()
      local old = bot:select(function(event) return event.epoch == EPOCH and event.s end)
      assert.equal(#KEPT, #old)
      for i, kept in ipairs(KEPT) do
        local event = bot.events[i]
        assert.same({ unpack(kept) }, { event.s, event.t })
        assert.same({ 0, 1, ("0.%d.%d"):format(EPOCH, kept[1]) }, { event.shard, event.total, event.key })
        assert.same({ kept.kind, kept.deferred }, { event.guild_create, event.deferred })
        assert.is_true(not kept.nonce or event:data().nonce == kept.nonce)
      end
    end)
  end

  it("is delivered in another format, if that is wanted now", function()
    local hook = webhook.start()
    start { bot = false, env = { EVENT_HANDLER_URL = hook.url }, script = script 'format = "discordeno"' }
    hook:wait_for(3, '"GUILD_CREATE"')
    for i = 1, 3 do
      local body = hook.requests[i]:json()
      assert.same({ 0, KEPT[i][1], KEPT[i][2] }, { body.shardId, body.payload.s, body.payload.t })
    end
    local body = cjson.decode(hook:wait_for(1, '"INTERACTION_CREATE"')[1].body)
    assert.equal("moor", body.payload.d.data.name)
    assert.is_true(body.deferred)
  end)

  it("is a dead letter like any other, where it is refused", function()
    local s = start {
      bot = { answer = function(_, event) return event.s == 5 and event.epoch == EPOCH and 413 or nil end },
    }
    s.bot:wait_for_events(1, "READY")
    local letter = cjson.decode(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
    assert.same({ 0, 1, EPOCH, 5, "MESSAGE_CREATE", KEPT[4].nonce },
      { letter.shard, letter.totalShards, letter.epoch, letter.s, letter.t, letter.event.d.nonce })
    assert.equal(5, letter.event.s)
  end)
end)
