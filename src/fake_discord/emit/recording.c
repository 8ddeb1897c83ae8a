#include "fake_discord/emit/recording.h"

#include "fake_discord/wire/websocket.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

bool tg_fake_recipe_number(struct tg_fake *fake, struct tg_fake_recipe *recipe, struct tg_error *error)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  size_t there = 0;
  for (size_t i = 0; i < guilds->count; i++)
    there += !guilds->all[i].left;
  if (there == 0)
    return tg_fail(error, "none", "the bot is in no guild");
  recipe->turns = tg_calloc(recipe->count, sizeof *recipe->turns);
  for (size_t i = 0, at = 0; i < recipe->count; at = (at + 1) % guilds->count)
    if (!guilds->all[at].left)
      recipe->turns[i++] = (struct tg_fake_turn){at, ++guilds->all[at].numbered};
  return true;
}

void tg_fake_recipe_free(struct tg_fake_recipe *recipe)
{
  free(recipe->turns);
  recipe->turns = NULL;
}

/* The d of a turn is the same in all recordings. */
static struct tg_fake_message message_of(const struct tg_fake *fake, const struct tg_fake_recipe *recipe,
                                         size_t turn)
{
  const struct tg_fake_guilds *guilds = fake->guilds;
  struct tg_fake_message message = {.number = turn + 1, .shard_number = turn + 1, .size = recipe->size};
  if (recipe->turns) {
    message.guild_id = guilds->all[recipe->turns[turn].guild].id;
    message.number = recipe->turns[turn].number;
  } else {
    message.guild_id = guilds->count ? guilds->all[(turn + 1) % guilds->count].id : 1;
  }
  return message;
}

static void write_text(struct tg_fake *fake, uint64_t s, const struct tg_fake_message *message,
                       struct tg_buf *text)
{
  text->length = 0;
  tg_buf_printf(text, "{\"t\":\"MESSAGE_CREATE\",\"s\":%" PRIu64 ",\"op\":0,\"d\":", s);
  tg_fake_write_message(fake, message, text);
  tg_buf_append(text, "}", 1);
}

static void compress_into(z_stream *zlib, const struct tg_buf *text, bool full, struct tg_buf *out)
{
  out->length = 0;
  zlib->next_in = (unsigned char *)text->data;
  zlib->avail_in = (unsigned)text->length;
  do {
    size_t room = text->length + 256;
    zlib->next_out = (unsigned char *)tg_buf_reserve(out, room);
    zlib->avail_out = (unsigned)room;
    deflate(zlib, full ? Z_FULL_FLUSH : Z_SYNC_FLUSH);
    out->length += room - zlib->avail_out;
  } while (zlib->avail_out == 0);
}

static bool is_here(const struct tg_fake *fake, const struct tg_fake_recipe *recipe, size_t turn)
{
  if (!recipe->turns)
    return true;
  uint64_t guild_id = fake->guilds->all[recipe->turns[turn].guild].id;
  return (guild_id >> 22) % (uint64_t)recipe->total == (uint64_t)recipe->shard_id;
}

static size_t count_here(const struct tg_fake *fake, const struct tg_fake_recipe *recipe)
{
  size_t count = 0;
  for (size_t turn = 0; turn < recipe->count; turn++)
    count += is_here(fake, recipe, turn);
  return count;
}

/* With zlib's usual settings, as a big service would: the reader's cost depends on them. */
struct tg_fake_recording *tg_fake_record(struct tg_fake *fake, const struct tg_fake_recipe *recipe,
                                         enum tg_compression compression, uint64_t first)
{
  struct tg_fake_recording *recording = tg_calloc(1, sizeof *recording);
  recording->references = 1;
  recording->compression = compression;
  recording->first = first;
  size_t count = count_here(fake, recipe);
  recording->ends = tg_calloc(count, sizeof *recording->ends);
  if (recipe->turns)
    recording->turns = tg_calloc(count, sizeof *recording->turns);
  z_stream zlib = {0};
  if (deflateInit2(&zlib, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    abort();
  struct tg_buf text = {0}, packed = {0};
  for (size_t turn = 0; turn < recipe->count; turn++) {
    if (!is_here(fake, recipe, turn))
      continue;
    struct tg_fake_message message = message_of(fake, recipe, turn);
    size_t i = recording->count++;
    write_text(fake, first + i, &message, &text);
    if (compression == TG_COMPRESSION_ZLIB) {
      compress_into(&zlib, &text, (i + 1) % TG_FAKE_RECORDING_GROUP == 0, &packed);
      tg_fake_frame_write(&recording->wire, (struct tg_fake_head){.opcode = TG_WS_BINARY, .fin = true},
                          packed.data, packed.length);
    } else {
      tg_fake_frame_write(&recording->wire, (struct tg_fake_head){.opcode = TG_WS_TEXT, .fin = true},
                          text.data, text.length);
    }
    recording->ends[i] = recording->wire.length;
    if (recording->turns)
      recording->turns[i] = turn;
  }
  deflateEnd(&zlib);
  tg_buf_free(&text);
  tg_buf_free(&packed);
  return recording;
}

void tg_fake_recording_unref(struct tg_fake_recording *recording)
{
  if (!recording || --recording->references > 0)
    return;
  free(recording->ends);
  free(recording->turns);
  tg_buf_free(&recording->wire);
  free(recording);
}
