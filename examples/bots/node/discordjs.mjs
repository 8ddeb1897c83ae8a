// What a bot does that is written with @discordjs/core, in the place of handle.mjs. In a copy of this folder:
//
//   npm install @discordjs/core @discordjs/rest
//   sed -i 's/handle.mjs/discordjs.mjs/' plain.mjs
//
// Where such a bot has made a WebSocketManager it makes a TidegateGateway: events come from the server beside this
// file, commands go to the gateway's control API (CONTROL_URL, TIDEGATE_CONTROL_SECRET). Nothing waits for listeners,
// so an event is accepted when they were called; one whose work must not be lost keeps it itself.

import { EventEmitter } from "node:events";
import { Client, GatewayDispatchEvents } from "@discordjs/core";
import { REST } from "@discordjs/rest";

const ALREADY_ANSWERED = 40060;

class TidegateGateway extends EventEmitter {
  #control = process.env.CONTROL_URL || "http://127.0.0.1:8377";
  deferred = new WeakSet(); // data of interactions that the gateway has answered already

  async getShardCount() {
    return (await this.#ask("/gateway/bot")).shards;
  }

  // Does not wait for the gateway's answer: what has been asked for may be there before it, and the client listens for
  // that when this has returned.
  async send(shardId, payload) {
    this.#ask(`/shards/${shardId}/payload`, { method: "POST", body: JSON.stringify(payload) })
      .catch((problem) => console.error(`shard ${shardId} has not been sent op ${payload.op}: ${problem.message}`));
  }

  receive({ message, shardId, deferred }) {
    if (deferred) {
      this.deferred.add(message.d);
    }
    this.emit("dispatch", message, shardId);
  }

  async #ask(path, options) {
    const headers = { Authorization: process.env.TIDEGATE_CONTROL_SECRET ?? "", "Content-Type": "application/json" };
    const response = await fetch(this.#control + path, { headers, ...options });
    const answer = await response.json();
    if (!response.ok) {
      throw new Error(answer.error);
    }
    return answer;
  }
}

const api = (process.env.REST_URL || "https://discord.com/api/v10").replace(/\/v10$/, "");
const rest = new REST({ version: "10", api }).setToken(process.env.DISCORD_TOKEN);
const gateway = new TidegateGateway();
const client = new Client({ rest, gateway });

export function handle(event) {
  if (event.gap) {
    console.log(`shard ${event.shardId} has lost ${event.gap.count ?? "some"} events: ${event.gap.reason}`);
  } else if (event.message) { // else a marker of guilds that have gone over to another shard
    const { t, s, d } = event.message;
    console.log(`shard ${event.shardId} #${s} ${t} ${d?.guild_id ?? d?.id ?? ""}`);
    gateway.receive(event);
  }
}

// ---- the bot, as it was ----

client.on(GatewayDispatchEvents.InteractionCreate, ({ data, api }) => {
  answer(data, api.interactions).catch((problem) => console.error(problem.message));
});

async function answer(interaction, interactions) {
  const { id, token, application_id, data } = interaction;
  const message = { content: `You have used ${data.name}.` };
  if (!gateway.deferred.has(interaction)) {
    try {
      await interactions.reply(id, token, message);
      return;
    } catch (problem) {
      if (problem.code !== ALREADY_ANSWERED) {
        throw problem;
      }
    }
  }
  await interactions.editReply(application_id, token, message);
}

client.on(GatewayDispatchEvents.MessageCreate, async ({ data, shardId }) => {
  if (data.content === "!members") {
    await client.requestGuildMembers({ guild_id: data.guild_id, query: "", limit: 0 }).then(
      ({ members }) => console.log(`shard ${shardId}: ${members.length} members`),
      (problem) => console.error(problem.message));
  }
});
