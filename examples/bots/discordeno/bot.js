// The bot, as discordeno's big template has it: no connection of its own to Discord's gateway. Events come by HTTP
// (main.js), and what it has to say to the gateway goes to Tidegate's control API.

import { createBot, InteractionTypes } from "@discordeno/bot";

const { DISCORD_TOKEN, REST_URL, TIDEGATE_CONTROL, TIDEGATE_CONTROL_SECRET } = process.env;

export const bot = createBot({
  token: DISCORD_TOKEN,
  desiredProperties: {
    guild: { id: true, name: true },
    interaction: { id: true, type: true, token: true, data: true, guildId: true, user: true },
    message: { id: true, content: true, channelId: true, guildId: true, author: true },
    user: { id: true, username: true, toggles: true },
  },
  // requestMembers() returns what the GUILD_MEMBERS_CHUNKs bring.
  gateway: { token: DISCORD_TOKEN, cache: { requestMembers: { enabled: true } } },
  // A proxy for Discord's REST, if there is one. discordeno puts /v10 behind it.
  ...(REST_URL && { rest: { token: DISCORD_TOKEN, proxy: { baseUrl: REST_URL.replace(/\/v10$/, "") } } }),
});

// ---- to the gateway ----

async function tellGateway(command) {
  const answer = await fetch(`http://${TIDEGATE_CONTROL}/`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: TIDEGATE_CONTROL_SECRET },
    body: JSON.stringify(command),
  });
  // It answers when the command has been sent to Discord, or says why not.
  if (!answer.ok) throw new Error(`the gateway refuses ${command.type}: ${await answer.text()}`);
}

bot.gateway.sendPayload = (shardId, payload) => tellGateway({ type: "ShardPayload", shardId, payload });
bot.gateway.editBotStatus = (payload) => tellGateway({ type: "EditShardsPresence", payload });

// ---- what the bot does ----

// Guilds that were there when the shard came up (guild_loaded in gateway.lua); GUILD_CREATE is one that has added the
// bot just now, or that is back from an outage. createBot() knows no such handler: it is set here.
bot.handlers.GUILD_LOADED_DD = (bot, payload) => console.log(`guild ${payload.d.id} loaded`);

const commands = {
  async ping() {
    return "pong";
  },
  async members(message) {
    const members = await bot.gateway.requestMembers(message.guildId, { query: "", limit: 0 });
    return `${members.length} members`;
  },
  async status(message, ...words) {
    await bot.gateway.editBotStatus({
      status: "idle",
      activities: [{ name: "Custom Status", type: 4, state: words.join(" ") }],
    });
    return "done";
  },
};

bot.events.ready = ({ shardId, guilds }) => console.log(`shard ${shardId} is ready, with ${guilds.length} guilds`);

bot.events.guildCreate = (guild) => console.log(`guild ${guild.id} joined`);

bot.events.messageCreate = async (message) => {
  console.log(`message in ${message.guildId}: ${JSON.stringify(message.content.slice(0, 100))}`);
  const [name, ...words] = message.content.split(" ");
  if (message.author.bot || !name.startsWith("!") || !Object.hasOwn(commands, name.slice(1))) return;
  const content = await commands[name.slice(1)](message, ...words);
  await bot.helpers.sendMessage(message.channelId, { content });
};

bot.events.interactionCreate = async (interaction) => {
  if (interaction.type !== InteractionTypes.ApplicationCommand) return;
  const answer = `You called /${interaction.data.name}.`;
  try {
    await interaction.respond(answer);
  } catch (error) {
    // Tidegate has deferred it while it was on its way. To discordeno it is acknowledged: this is a follow-up.
    if (!error.cause?.body?.includes("40060")) throw error;
    await interaction.respond(answer);
  }
};
