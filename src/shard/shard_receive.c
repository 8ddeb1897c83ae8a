/* What arrives: bytes become text, text becomes packets. */

#include "base/log.h"
#include "shard/shard_impl.h"

enum { SPARE_TEXT_MAX = 1024 * 1024 };

void tg_shard_break_off(struct tg_shard *shard, const char *what)
{
  tg_ms delay = tg_shard_next_delay(shard);
  tg_log_with(TG_WARN, shard->id, TG_WITH(TG_TEXT(REASON, what), TG_NUMBER(DELAY, delay)),
              "this connection is given up");
  /* An event that came after the broken one would move the sequence past it,
   * and the RESUME would leave it out. */
  tg_inflate_free(shard->inflate);
  shard->inflate = NULL;
  tg_shard_give_up(shard, TG_CLOSE_KEEP, delay);
}

static bool inflate_ok(struct tg_shard *shard, enum tg_inflate_result result)
{
  if (result == TG_INFLATE_CORRUPT)
    tg_shard_break_off(shard, "the compressed stream is corrupt");
  else if (result == TG_INFLATE_TOO_LARGE)
    tg_shard_break_off(shard, "a message is larger than 64 MiB");
  else
    return true;
  return false;
}

/* The loop keeps one spare text buffer for all its shards: whoever begins a
 * message takes it, and gives it back when the message is done, so that a
 * quiet shard holds none. */
static void take_text_buffer(struct tg_shard *shard)
{
  if (shard->partial.data)
    return;
  shard->partial = *shard->env->text;
  *shard->env->text = (struct tg_buf){0};
}

static void give_back_text_buffer(struct tg_shard_env *env, struct tg_buf *text)
{
  tg_buf_reset(text, SPARE_TEXT_MAX);
  if (env->text->data)
    tg_buf_free(text);
  else
    *env->text = *text;
}

void tg_shard_on_data(void *ctx, const void *bytes, size_t length)
{
  struct tg_shard *shard = ctx;
  if (!shard->inflate)
    return;
  take_text_buffer(shard);
  if (tg_hooked(shard->env->hooks, TG_METHOD_shard_decompress_packet))
    tg_buf_append(&shard->packet, bytes, length);
  inflate_ok(shard, tg_inflate_feed(shard->inflate, bytes, length, &shard->partial));
}

/* A script may decompress instead; C does it anyway, so that its stream stays
 * in step and its text is there when the script fails. */
static struct tg_span decompress_by_hook(struct tg_shard *shard, struct tg_span text)
{
  struct tg_value result;
  struct tg_value args[] = {tg_value_shard(shard), tg_value_string(shard->packet.data, shard->packet.length)};
  if (tg_hook_call(shard->env->hooks, TG_METHOD_shard_decompress_packet, args, 2, &result))
    text = result.string;
  shard->packet.length = 0;
  return text;
}

static void handle_text(struct tg_shard *shard, struct tg_span text)
{
  struct tg_hooks *hooks = shard->env->hooks;
  shard->text = text;
  if (tg_hooked(hooks, TG_METHOD_shard_decompress_packet))
    text = decompress_by_hook(shard, text);
  struct tg_value args[] = {tg_value_shard(shard), tg_value_string(text.at, text.length)};
  if (!tg_hook_call(hooks, TG_METHOD_shard_handle_packet, args, 2, NULL))
    tg_shard_handle_packet(shard, text.at, text.length);
  shard->text = (struct tg_span){0};
}

void tg_shard_on_message_end(void *ctx)
{
  struct tg_shard *shard = ctx;
  if (!shard->inflate)
    return;
  enum tg_inflate_result result = tg_inflate_end_of_message(shard->inflate, &shard->partial);
  if (!inflate_ok(shard, result) || result == TG_INFLATE_MORE)
    return;
  /* Handling the packet may end this connection: the text is taken out first. */
  struct tg_buf text = shard->partial;
  shard->partial = (struct tg_buf){0};
  handle_text(shard, (struct tg_span){text.data, text.length});
  give_back_text_buffer(shard->env, &text);
}
