/* The yardstick of scripts/bench: what it costs to inflate a recording that is
 * in memory already, with nothing around it.
 *
 *     inflate_limit RECORDING CONTEXTS [zstd]     prints CPU microseconds an event
 *
 * RECORDING holds WebSocket frames, one an event, as GET /bulk/recording of
 * the fake Discord gives them; their payloads are one raw deflate stream that
 * looks back no further than to the last 64th event, or frames of zstd, each of
 * which begins by ending the one before. It is fed in pieces of 16 KiB. Many contexts take turns piece by piece, so that their windows push
 * each other out of the cache as those of connections do, and each begins at
 * another place: pieces that follow each other and are the same would teach the
 * branch predictor all of their symbols. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

enum { PIECE = 16 * 1024, ROOM = 64 * 1024, CONTEXTS_MAX = 10000, GROUP = 64, GROUPS_MAX = 100000 };

static const unsigned char FRAME_END[] = {1, 0, 0}, FRAME_BEGIN[] = {0x28, 0xb5, 0x2f, 0xfd};

static const double LEAST = 0.4; /* seconds of CPU */

struct recording {
  unsigned char *bytes; /* first the frames, then the payloads alone */
  size_t length;
  size_t events;
  size_t begins[GROUPS_MAX]; /* where a stream can begin */
  size_t groups;
  int is_zstd;
};

struct context {
  z_stream zlib;
  ZSTD_DCtx *zstd; /* NULL: it is zlib's */
  size_t begin;
};

static void give_up(const char *what)
{
  fprintf(stderr, "inflate_limit: %s\n", what);
  exit(1);
}

static void *allocate(size_t size)
{
  void *memory = malloc(size);
  if (!memory)
    give_up("out of memory");
  return memory;
}

static void read_file(const char *path, struct recording *recording)
{
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0)
    give_up("the recording cannot be read");
  recording->length = (size_t)ftell(file);
  rewind(file);
  recording->bytes = allocate(recording->length + 1);
  if (fread(recording->bytes, 1, recording->length, file) != recording->length)
    give_up("the recording cannot be read");
  fclose(file);
}

static void note_begin(struct recording *recording, size_t to, const unsigned char *payload, size_t length)
{
  int begins = recording->events % GROUP == 0;
  if (recording->is_zstd) {
    begins = length > sizeof FRAME_END + sizeof FRAME_BEGIN &&
             memcmp(payload, FRAME_END, sizeof FRAME_END) == 0 &&
             memcmp(payload + sizeof FRAME_END, FRAME_BEGIN, sizeof FRAME_BEGIN) == 0;
    to += sizeof FRAME_END;
  }
  if (begins && recording->groups < GROUPS_MAX)
    recording->begins[recording->groups++] = to;
}

/* A server's frames have no mask: two bytes, and perhaps a longer length. */
static void strip_frames(struct recording *recording)
{
  unsigned char *to = recording->bytes;
  const unsigned char *at = to, *end = to + recording->length;
  while (at < end) {
    uint64_t length = at[1] & 0x7f;
    int wide = length == 126 ? 2 : length == 127 ? 8 : 0;
    at += 2;
    if (wide > 0)
      length = 0;
    for (int i = 0; i < wide; i++)
      length = length << 8 | *at++;
    if (length > (size_t)(end - at))
      give_up("the recording ends inside a frame");
    note_begin(recording, (size_t)(to - recording->bytes), at, length);
    memmove(to, at, length);
    to += length;
    at += length;
    recording->events++;
  }
  recording->length = (size_t)(to - recording->bytes);
}

static double cpu(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned char room[ROOM];

static void feed_zlib(z_stream *zlib, unsigned char *piece, size_t length)
{
  zlib->next_in = piece;
  zlib->avail_in = (unsigned)length;
  do {
    zlib->next_out = room;
    zlib->avail_out = sizeof room;
    int result = inflate(zlib, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_BUF_ERROR)
      give_up("the recording is not a deflate stream");
  } while (zlib->avail_out == 0);
}

static void feed_zstd(ZSTD_DCtx *zstd, const unsigned char *piece, size_t length)
{
  ZSTD_inBuffer in = {piece, length, 0};
  ZSTD_outBuffer out;
  do {
    out = (ZSTD_outBuffer){room, sizeof room, 0};
    if (ZSTD_isError(ZSTD_decompressStream(zstd, &out, &in)))
      give_up("the recording is not a zstd stream");
  } while (in.pos < in.size || out.pos == out.size);
}

static void feed(struct context *context, unsigned char *piece, size_t length)
{
  if (context->zstd)
    feed_zstd(context->zstd, piece, length);
  else
    feed_zlib(&context->zlib, piece, length);
}

static void reset(struct context *context)
{
  if (context->zstd)
    ZSTD_DCtx_reset(context->zstd, ZSTD_reset_session_only);
  else
    inflateReset(&context->zlib);
}

static int begin(struct context *context, int is_zstd)
{
  if (!is_zstd)
    return inflateInit2(&context->zlib, -MAX_WBITS) == Z_OK;
  context->zstd = ZSTD_createDCtx();
  return context->zstd != NULL;
}

static void end(struct context *context)
{
  if (context->zstd)
    ZSTD_freeDCtx(context->zstd);
  else
    inflateEnd(&context->zlib);
}

static void inflate_once(const struct recording *recording, struct context *contexts, int count)
{
  for (int i = 0; i < count; i++)
    reset(&contexts[i]);
  for (size_t done = 0; done < recording->length; done += PIECE) {
    size_t wanted = recording->length - done < PIECE ? recording->length - done : PIECE;
    for (int i = 0; i < count; i++) {
      size_t at = (contexts[i].begin + done) % recording->length, left = recording->length - at;
      feed(&contexts[i], recording->bytes + at, wanted < left ? wanted : left);
      if (wanted > left)
        feed(&contexts[i], recording->bytes, wanted - left);
    }
  }
}

static struct context *begin_contexts(const struct recording *recording, int count)
{
  struct context *contexts = calloc((size_t)count, sizeof *contexts);
  for (int i = 0; i < count; i++) {
    if (!contexts || !begin(&contexts[i], recording->is_zstd))
      give_up("out of memory");
    contexts[i].begin = recording->begins[(size_t)i % recording->groups];
  }
  return contexts;
}

int main(int argc, char **argv)
{
  static struct recording recording;
  int count = argc == 3 || argc == 4 ? atoi(argv[2]) : 0;
  recording.is_zstd = argc == 4 && strcmp(argv[3], "zstd") == 0;
  if (count < 1 || count > CONTEXTS_MAX)
    give_up("usage: inflate_limit RECORDING CONTEXTS [zstd]");
  read_file(argv[1], &recording);
  strip_frames(&recording);
  if (recording.events == 0 || recording.groups == 0)
    give_up("the recording is empty");
  struct context *contexts = begin_contexts(&recording, count);

  inflate_once(&recording, contexts, count); /* memory is touched, caches are warm */
  double start = cpu(), used;
  int passes = 0;
  do {
    inflate_once(&recording, contexts, count);
    passes++;
    used = cpu() - start;
  } while (used < LEAST);
  printf("%.4f\n", used * 1e6 / ((double)passes * count * (double)recording.events));

  for (int i = 0; i < count; i++)
    end(&contexts[i]);
  free(contexts);
  free(recording.bytes);
  return 0;
}
