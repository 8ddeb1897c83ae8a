// What Discord leaves out of reactions, and the adapter needs: the user of one that is taken back, or that is in a
// direct message, and whether the channel is a thread, and of which channel.

const API = process.env.DISCORD_API_URL ?? "https://discord.com/api/v10";
const REACTIONS = ["GATEWAY_MESSAGE_REACTION_ADD", "GATEWAY_MESSAGE_REACTION_REMOVE"];
const KEPT = 1000;

const known = new Map();

async function look(path) {
  if (known.has(path)) return known.get(path);
  const answer = await fetch(API + path, { headers: { Authorization: `Bot ${process.env.DISCORD_BOT_TOKEN}` } });
  if (!answer.ok) return undefined; // deleted, or hidden from the bot
  const found = await answer.json();
  if (known.size >= KEPT) known.delete(known.keys().next().value);
  known.set(path, found);
  return found;
}

export async function complete(event) {
  if (!REACTIONS.includes(event.type)) return event;
  const { data } = event;
  const [channel, user] = await Promise.all([
    look(`/channels/${data.channel_id}`),
    data.member ? undefined : look(`/users/${data.user_id}`),
  ]);
  const thread = [10, 11, 12].includes(channel?.type) && { id: channel.id, parent_id: channel.parent_id };
  return {
    ...event,
    data: {
      ...data,
      ...(channel && { channel_type: channel.type }),
      ...(thread && { thread }),
      ...(user && { user }),
    },
  };
}
