-- discord.js' @discordjs/brokers, and a client of @discordjs/core over it, the newest that npm has, take
-- their events from a sink with the layout "discordjs", and their commands arrive at the shards.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

-- The gateway that discord.js' page describes: what it gets from the broker it gives to the client, and what
-- the client sends it publishes. Each event is acknowledged when it was handed on.
local BOT = [[
import { EventEmitter } from "node:events";
import { PubSubRedisBroker } from "@discordjs/brokers";
import { Client, GatewayDispatchEvents } from "@discordjs/core";
import { REST } from "@discordjs/rest";
import { Redis } from "ioredis";

const options = { group: "bot", name: process.env.NAME };
const broker = new PubSubRedisBroker(new Redis(process.env.REDIS_URL), options);
broker.on("error", (problem) => console.error(problem));

class RedisGateway extends EventEmitter {
  getShardCount() {
    return 2;
  }

  // The client listens for what it asks for only when this has returned: with a Discord this near, waiting
  // for Redis' answer could be too long.
  async send(shardId, payload) {
    broker.publish("gateway_send", { shardId, payload }).catch((problem) => console.error(problem));
  }

  async init(events) {
    for (const event of events) {
      broker.on(event, ({ data: { shardId, payload }, ack }) => {
        this.emit("dispatch", payload, shardId);
        void ack();
      });
    }
    await broker.subscribe(events);
  }
}

const gateway = new RedisGateway();
const client = new Client({ rest: new REST(), gateway });

client.on(GatewayDispatchEvents.MessageCreate, async ({ data, shardId, api }) => {
  console.log(JSON.stringify({ shard: shardId, id: data.id, content: data.content, nonce: data.nonce }));
  if (data.content === "!status") {
    await client.updatePresence(shardId, { status: "idle", activities: [], since: null, afk: false });
  } else if (data.content === "!members") {
    const { members } = await client.requestGuildMembers({ guild_id: data.guild_id, query: "", limit: 0 });
    console.log(JSON.stringify({ members: members.length }));
  }
});
client.on(GatewayDispatchEvents.GuildCreate, ({ data, shardId }) => {
  console.log(JSON.stringify({ shard: shardId, guild: data.id }));
});

await gateway.init([
  GatewayDispatchEvents.MessageCreate,
  GatewayDispatchEvents.GuildCreate,
  GatewayDispatchEvents.GuildMembersChunk,
]);
console.log(JSON.stringify({ ready: true }));
]]

describe("discord.js' brokers", function()
  local modules, why = npm.install { "@discordjs/brokers", "@discordjs/core", "@discordjs/rest", "ioredis" }
  if not modules then
    return pending(why)
  end

  local server, s, bot

  before_each(function() server = redis.start { appendonly = true } end)
  after_each(function()
    scene.stop()
    process.cleanup()
    redis.teardown()
    bot = nil
  end)

  local function start(options)
    options = options or {}
    options.shards, options.bot = 2, false
    options.script = ([[
require "tidegate".configure { sinks = { djs = { url = "%s", layout = "discordjs", settle = 200 } } }
]]):format(server:url())
    s = scene.start(options)
  end

  -- What the bot has printed, its lines decoded, that has this key.
  local function said(key)
    local list = {}
    for line in bot.stdout:gmatch "[^\n]+" do
      local value = cjson.decode(line)
      list[#list + 1] = value[key] ~= nil and value or nil
    end
    return list
  end

  local function wait_for(n, key)
    loop.wait_for(function()
      return ("%d with %s, but it has printed:\n%s%s"):format(
        n, key, bot.stdout:sub(-2000), bot.stderr:sub(-2000))
    end, function() return #said(key) >= n end, 20000, 2)
    return said(key)
  end

  local function start_bot(name)
    bot = npm.start(modules, BOT, nil, { env = { REDIS_URL = server:url(), NAME = name or "one" } })
    wait_for(1, "ready")
  end

  local numbered = 100

  local function message(shard, content)
    numbered = numbered + 1
    local guild = s.fake:guilds(shard)[1].id
    s.fake:emit { event = "MESSAGE_CREATE", guild = guild, d = {
      id = "1189000000000000" .. numbered, channel_id = "1189000000000000602", guild_id = guild,
      type = 0, content = content, nonce = cjson.null, timestamp = "2026-11-01T12:00:00.000000+00:00",
      author = { id = "1189000000000000603", username = "sailor", discriminator = "0" },
      attachments = {}, embeds = {}, mentions = {}, mention_roles = {}, tts = false,
    } }
  end

  it("get events of all shards, as Discord has sent them, in the order of each shard", function()
    start()
    start_bot()
    local guilds = {}
    for _, each in ipairs(wait_for(#s.fake:guilds(), "guild")) do
      guilds[each.guild] = each.shard
    end
    for shard = 0, 1 do
      for _, guild in ipairs(s.fake:guilds(shard)) do
        assert.equal(shard, guilds[guild.id])
      end
    end
    local texts = { "plain", 'Grüße "№ 1"\n\t🌊', ("long "):rep(400) }
    for _, text in ipairs(texts) do
      message(0, text)
      message(1, text)
    end
    local of = { [0] = {}, {} }
    for _, each in ipairs(wait_for(6, "content")) do
      table.insert(of[each.shard], each.content)
      assert.equal(cjson.null, each.nonce)
      assert.matches("^1189000000000000%d%d%d$", each.id) -- as text, with all its digits
    end
    assert.same({ [0] = texts, texts }, of)
    assert.equal("", bot.stderr)
  end)

  it("send commands: a presence, and members, whose chunks come back", function()
    start { intents = "guilds,guild_members,guild_messages", fake = { members = 12 } }
    start_bot()
    message(1, "!status")
    local command = s.fake:wait_for("the presence", function(state) return state.commands[1] end,
      { only = "commands" })
    assert.same({ 1, 3, "idle" }, { command.shard, command.op, command.d.status })
    message(0, "!members")
    assert.same({ { members = 12 } }, wait_for(1, "members"))
    assert.equal("", bot.stderr)
    assert.same({}, s:list "violations")
  end)
end)
