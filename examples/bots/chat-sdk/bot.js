// The bot: what it does, and nothing of where its events come from. DISCORD_BOT_TOKEN, DISCORD_APPLICATION_ID and
// DISCORD_PUBLIC_KEY are read by the adapter.

import { createDiscordAdapter } from "@chat-adapter/discord";
import { createMemoryState } from "@chat-adapter/state-memory";
import { Chat, ConsoleLogger } from "chat";

export const bot = new Chat({
  userName: "tidegate-example",
  adapters: { discord: createDiscordAdapter() },
  // It knows which messages have come, and who is subscribed: where there is more than one process, or where it ends
  // with each request, this has to be a state that they share, such as @chat-adapter/state-redis.
  state: createMemoryState(),
  // The default drops a message that comes while the one before it is worked on.
  concurrency: "queue",
  logger: new ConsoleLogger("warn"),
});

bot.onNewMention(async (thread, message) => {
  await thread.subscribe();
  await thread.post(`Hello, ${message.author.userName}.`);
});

bot.onSubscribedMessage(async (thread, message) => {
  await thread.post(`You said: ${message.text}`);
});

bot.onReaction(async ({ thread, user, added, rawEmoji }) => {
  await thread.post(`${user.userName} ${added ? "adds" : "takes back"} ${rawEmoji}`);
});
