// The bot's webhook, a Request in and a Response out, as serverless platforms want it. In Next.js it is a route:
//
//   import { after } from 'next/server'
//   export const POST = (request) => handleWebhook(request, (work) => after(() => work))

import { bot } from "./bot.js";
import { complete } from "./complete.js";

// Tidegate waits for the answer before it sends the next event of that shard. What takes longer, such as a language
// model, goes on behind the answer; what was wrong with the request is known long before.
const ANSWER_WITHIN = Number(process.env.ANSWER_WITHIN ?? 2000);

function isFromGateway(request) {
  return request.headers.get("x-discord-gateway-token") === process.env.DISCORD_BOT_TOKEN;
}

async function handle(request, waitUntil) {
  // Interactions, which Discord sends itself, and strangers are the adapter's to tell apart.
  if (isFromGateway(request)) {
    const event = await complete(await request.json());
    request = new Request(request.url, { method: "POST", headers: request.headers, body: JSON.stringify(event) });
  }
  return bot.webhooks.discord(request, { waitUntil });
}

// What the adapter cannot take it can take no better the next time: after some tries it is a dead letter, and the
// shard goes on. Of a 5xx it would be sent for ever.
function refuse(error) {
  console.error(error);
  return new Response(null, { status: 422 });
}

export function handleWebhook(request, waitUntil = () => {}) {
  const work = handle(request, waitUntil).catch(refuse);
  waitUntil(work);
  const accepted = new Promise((resolve) => {
    setTimeout(() => resolve(new Response(null, { status: 202 })), ANSWER_WITHIN).unref();
  });
  return Promise.race([work, accepted]);
}
