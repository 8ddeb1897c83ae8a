#include "delivery/sinks/dead_letter.h"

#include "base/buf.h"
#include "base/clock.h"
#include "delivery/sinks/dead_files.h"

#include <string.h>

/* The length of the UTF-8 sequence at `at`; 0: it is not one. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
  size_t length = at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : 2;
  if (at[0] < 0xc2 || at[0] > 0xf4 || left < length)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80)
      return 0;
  bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
  bool too_high = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
  return overlong || too_high ? 0 : length;
}

void tg_dead_put_string(struct tg_buf *line, struct tg_span text)
{
  tg_buf_puts(line, "\"");
  for (size_t i = 0; i < text.length;) {
    unsigned char c = (unsigned char)text.at[i];
    if (c >= 0x80) {
      size_t length = utf8_length((const unsigned char *)text.at + i, text.length - i);
      if (length == 0)
        tg_buf_puts(line, "\\ufffd");
      else
        tg_buf_append(line, text.at + i, length);
      i += length ? length : 1;
      continue;
    }
    if (c < 0x20 || c == 0x7f)
      tg_buf_printf(line, "\\u%04x", c);
    else if (c == '"' || c == '\\')
      tg_buf_printf(line, "\\%c", c);
    else
      tg_buf_append(line, text.at + i, 1);
    i++;
  }
  tg_buf_puts(line, "\"");
}

/* A line break in JSON text can only be white space. */
static void put_json(struct tg_buf *line, const char *at, const char *end)
{
  size_t from = line->length;
  tg_buf_append(line, at, (size_t)(end - at));
  for (size_t i = from; i < line->length; i++)
    if (line->data[i] == '\n' || line->data[i] == '\r')
      line->data[i] = ' ';
}

/* --- secrets -------------------------------------------------------------------- */

/* What stands as *** in a letter, in the order in which it stands in the message. */
struct secrets {
  struct tg_span at[3];
  int count;
};

static void find_secret(struct secrets *secrets, struct tg_span data, const char *key)
{
  struct tg_span value;
  if (!tg_json_find(data.at, data.at + data.length, key, &value) || *value.at != '"' || value.length <= 2)
    return;
  int place = secrets->count++;
  for (; place > 0 && secrets->at[place - 1].at > value.at; place--)
    secrets->at[place] = secrets->at[place - 1];
  secrets->at[place] = (struct tg_span){value.at + 1, value.length - 2};
}

/* d.token: who has it may answer the interaction, or join the voice server. What READY has is the session,
 * which whoever has the bot's token, too, could take over. */
static struct secrets find_secrets(struct tg_span name, struct tg_span message)
{
  static const char ready[] = "READY";
  struct secrets secrets = {.count = 0};
  struct tg_span data;
  if (message.length == 0 || !tg_json_find(message.at, message.at + message.length, "d", &data))
    return secrets;
  find_secret(&secrets, data, "token");
  if (name.length == sizeof ready - 1 && memcmp(name.at, ready, sizeof ready - 1) == 0) {
    find_secret(&secrets, data, "session_id");
    find_secret(&secrets, data, "resume_gateway_url");
  }
  return secrets;
}

static void mask(struct tg_buf *text, const char *secret, size_t length)
{
  char *at = text->data, *end = at + text->length;
  while (length > 0 && at < end && (at = memmem(at, (size_t)(end - at), secret, length)) != NULL)
    at = (char *)memset(at, '*', length) + length;
}

void tg_dead_mask(struct tg_span answer, const struct tg_strings *secrets, struct tg_buf *out)
{
  tg_buf_append(out, answer.at, answer.length);
  for (int i = 0; secrets && i < secrets->count; i++)
    mask(out, secrets->items[i], strlen(secrets->items[i]));
}

static void put_answer(struct tg_buf *line, const struct tg_dead_letter *letter,
                       const struct secrets *secrets)
{
  struct tg_buf answer = {0};
  if (letter->answer.length == 0) {
    tg_buf_puts(line, "\"\"");
    return;
  }
  tg_dead_mask(letter->answer, letter->secrets, &answer);
  for (int i = 0; i < secrets->count; i++)
    mask(&answer, secrets->at[i].at, secrets->at[i].length);
  struct tg_span shown = {answer.data, answer.length};
  if (shown.length > TG_DEAD_ANSWER_MAX)
    shown.length = TG_DEAD_ANSWER_MAX;
  tg_dead_put_string(line, shown);
  tg_buf_free(&answer);
}

static void put_message(struct tg_buf *line, struct tg_span message, const struct secrets *secrets)
{
  if (message.length == 0) {
    tg_buf_puts(line, "null");
    return;
  }
  const char *at = message.at;
  for (int i = 0; i < secrets->count; i++) {
    put_json(line, at, secrets->at[i].at);
    tg_buf_puts(line, "***");
    at = secrets->at[i].at + secrets->at[i].length;
  }
  put_json(line, at, message.at + message.length);
}

void tg_dead_put_masked(struct tg_buf *out, struct tg_span name, struct tg_span message)
{
  struct secrets secrets = find_secrets(name, message);
  put_message(out, message, &secrets);
}

/* --- the line ----------------------------------------------------------------------- */

bool tg_dead_letter_write(const char *state_dir, uint64_t file_bytes, const struct tg_dead_letter *letter,
                          struct tg_error *error)
{
  struct tg_buf line = {0};
  struct secrets secrets = find_secrets(letter->name, letter->message);
  tg_buf_printf(&line, "{\"v\":%d,\"at\":%lld,\"shard\":%d", TG_DEAD_FORMAT, (long long)tg_wall_clock(),
                letter->shard_id);
  if (letter->total_shards > 0)
    tg_buf_printf(&line, ",\"totalShards\":%d", letter->total_shards);
  tg_buf_printf(&line, ",\"epoch\":%llu,\"s\":%llu,\"t\":", (unsigned long long)letter->epoch,
                (unsigned long long)letter->sequence);
  tg_dead_put_string(&line, letter->name);
  tg_buf_printf(&line, ",\"status\":%ld,\"answer\":", letter->status);
  put_answer(&line, letter, &secrets);
  tg_buf_printf(&line, ",\"bytes\":%zu", letter->bytes);
  if (letter->guild_create)
    tg_buf_printf(&line, ",\"guildCreate\":\"%s\"", letter->guild_create);
  if (letter->sink)
    tg_buf_printf(&line, ",\"sink\":\"%s\"", letter->sink);
  tg_buf_puts(&line, letter->deferred ? ",\"deferred\":true" : "");
  tg_buf_puts(&line, letter->late ? ",\"late\":true" : "");
  tg_buf_puts(&line, letter->marker ? ",\"marker\":true" : "");
  tg_buf_puts(&line, secrets.count > 0 ? ",\"masked\":true" : "");
  tg_buf_puts(&line, ",\"event\":");
  put_message(&line, letter->message, &secrets);
  bool ok = tg_dead_append(state_dir, file_bytes, &line, error);
  tg_buf_free(&line);
  return ok;
}
