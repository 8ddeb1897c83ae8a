#include "fake_discord/emit/recording.h"

#include "fake_discord/wire/compress.h"
#include "fake_discord/wire/websocket.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

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

/* With the usual settings of zlib and zstd, as a big service would: the reader's cost depends on them. */
struct packer {
  enum tg_compression compression;
  z_stream zlib;
  ZSTD_CCtx *zstd;
  struct tg_buf packed; /* the last payload */
};

enum { GROUP = 64, ZSTD_GROUP = 512 /* more than its window holds */ };

static void open_packer(struct packer *packer, enum tg_compression compression)
{
  *packer = (struct packer){.compression = compression};
  if (compression == TG_COMPRESSION_ZLIB &&
      deflateInit2(&packer->zlib, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    abort();
  if (compression == TG_COMPRESSION_ZSTD) {
    packer->zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_windowLog, TG_FAKE_ZSTD_WINDOW_LOG);
  }
}

static void close_packer(struct packer *packer)
{
  if (packer->compression == TG_COMPRESSION_ZLIB)
    deflateEnd(&packer->zlib);
  ZSTD_freeCCtx(packer->zstd);
  tg_buf_free(&packer->packed);
}

static void pack_zlib(z_stream *zlib, const struct tg_buf *text, bool last, struct tg_buf *out)
{
  zlib->next_in = (unsigned char *)text->data;
  zlib->avail_in = (unsigned)text->length;
  do {
    size_t room = text->length + 256;
    zlib->next_out = (unsigned char *)tg_buf_reserve(out, room);
    zlib->avail_out = (unsigned)room;
    deflate(zlib, last ? Z_FULL_FLUSH : Z_SYNC_FLUSH);
    out->length += room - zlib->avail_out;
  } while (zlib->avail_out == 0);
}

static void pack_zstd(ZSTD_CCtx *zstd, const struct tg_buf *text, bool first, struct tg_buf *out)
{
  if (first) {
    tg_buf_append(out, TG_FAKE_ZSTD_END, TG_FAKE_ZSTD_END_SIZE);
    ZSTD_CCtx_reset(zstd, ZSTD_reset_session_only);
  }
  ZSTD_inBuffer input = {text->data, text->length, 0};
  size_t left;
  do {
    size_t room = text->length + 256;
    ZSTD_outBuffer output = {tg_buf_reserve(out, room), room, 0};
    left = ZSTD_compressStream2(zstd, &output, &input, ZSTD_e_flush);
    if (ZSTD_isError(left))
      abort();
    out->length += output.pos;
  } while (left > 0);
}

/* Writes the frame of the event with that index. */
static void pack(struct packer *packer, const struct tg_buf *text, size_t index,
                 struct tg_fake_recording *recording)
{
  struct tg_buf *packed = &packer->packed;
  const struct tg_buf *payload = packed;
  int opcode = TG_WS_BINARY;
  packed->length = 0;
  switch (packer->compression) {
  case TG_COMPRESSION_NONE:
    payload = text;
    opcode = TG_WS_TEXT;
    break;
  case TG_COMPRESSION_ZLIB:
    pack_zlib(&packer->zlib, text, (index + 1) % recording->group == 0, packed);
    break;
  case TG_COMPRESSION_ZSTD:
    pack_zstd(packer->zstd, text, index % recording->group == 0, packed);
    break;
  }
  tg_fake_frame_write(&recording->wire, (struct tg_fake_head){.opcode = opcode, .fin = true}, payload->data,
                      payload->length);
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

struct tg_fake_recording *tg_fake_record(struct tg_fake *fake, const struct tg_fake_recipe *recipe,
                                         enum tg_compression compression, uint64_t first)
{
  struct tg_fake_recording *recording = tg_calloc(1, sizeof *recording);
  recording->references = 1;
  recording->compression = compression;
  recording->first = first;
  recording->group = compression == TG_COMPRESSION_ZSTD ? ZSTD_GROUP : GROUP;
  size_t count = count_here(fake, recipe);
  recording->ends = tg_calloc(count, sizeof *recording->ends);
  if (recipe->turns)
    recording->turns = tg_calloc(count, sizeof *recording->turns);
  struct packer packer;
  open_packer(&packer, compression);
  struct tg_buf text = {0};
  for (size_t turn = 0; turn < recipe->count; turn++) {
    if (!is_here(fake, recipe, turn))
      continue;
    struct tg_fake_message message = message_of(fake, recipe, turn);
    size_t i = recording->count++;
    write_text(fake, first + i, &message, &text);
    pack(&packer, &text, i, recording);
    recording->ends[i] = recording->wire.length;
    if (recording->turns)
      recording->turns[i] = turn;
  }
  close_packer(&packer);
  tg_buf_free(&text);
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
