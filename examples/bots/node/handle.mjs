// What the bot does: it prints each event, and answers interactions. The servers beside this file hand it each
// event once, in the order of its shard; it is accepted when handle() has returned.

import { TryAgain } from "./delivery.mjs";

const rest = process.env.REST_URL || "https://discord.com/api/v10";
const headers = { "Content-Type": "application/json", "User-Agent": "DiscordBot (https://example.com/my-bot, 1.0)" };

const AUTOCOMPLETE = 4;
const ALREADY_ANSWERED = 40060;

export async function handle(event) {
  if (event.gap) {
    const { count = "an unknown number of", reason } = event.gap;
    console.log(`shard ${event.shardId} has lost ${count} events: ${reason}`);
  }
  if (!event.message) { // a marker: of a gap, or of guilds that have gone over to another shard
    return;
  }
  const { t, s, d } = event.message;
  console.log(`shard ${event.shardId} #${s} ${t} ${d?.guild_id ?? d?.id ?? ""}`);
  if (t === "INTERACTION_CREATE") {
    await answer(d, event.deferred);
  }
}

// Once the gateway has deferred an interaction, what is left is to edit that answer. It may have done so while the
// event was on its way here; then Discord refuses the first answer with ALREADY_ANSWERED.
async function answer(interaction, deferred) {
  const { id, token, type, application_id, data } = interaction;
  const callback = `/interactions/${id}/${token}/callback`;
  if (type === AUTOCOMPLETE) {
    await call("POST", callback, { type: 8, data: { choices: [] } });
    return;
  }
  const message = { content: `You have used ${data.name ?? data.custom_id}.` };
  if (!deferred) {
    const code = await call("POST", callback, { type: 4, data: message });
    if (code !== ALREADY_ANSWERED) {
      return;
    }
  }
  await call("PATCH", `/webhooks/${application_id}/${token}/messages/@original`, message);
}

// The code of an error that is final, such as of an interaction that is too old; nothing when all is well. Interactions
// need no bot token, and their own is not for logs.
async function call(method, path, body) {
  const what = `${method} ${path.split("/")[1]}`;
  let response, text;
  try {
    response = await fetch(rest + path, {
      method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5000),
    });
    text = await response.text();
  } catch (problem) {
    throw new TryAgain(`${what}: ${problem.cause?.message ?? problem.message}`);
  }
  if (response.ok) {
    return;
  }
  if (response.status === 429 || response.status >= 500) {
    throw new TryAgain(`${what}: ${response.status}`);
  }
  const { code = response.status, message } = text.startsWith("{") ? JSON.parse(text) : {};
  if (code !== ALREADY_ANSWERED) {
    console.error(`${what}: ${response.status} ${code} ${message}`);
  }
  return code;
}
