#include "net/resp.h"

#include <ctype.h>
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of bytes that are filled one after the other, and given back together. */
struct resp_block {
  struct resp_block *next; /* the one before it */
  size_t used, size;
  _Alignas(max_align_t) char bytes[];
};

enum {
  BLOCK_SIZE = 16 * 1024, /* kept for the next replies: a batch's fit in */
  QUOTED = 40,            /* bytes of what is no reply that people are shown */
};

struct tg_resp_reader {
  redisReader *hiredis;
  struct resp_block *block;
  size_t bytes, parts; /* taken since the last reset */
  struct tg_redis_reply root;
  bool begun; /* a first reply came: who speaks is a Redis */
  bool broken, too_large;
  char head[QUOTED]; /* of what came before the first reply */
  size_t head_length;
};

/* ---- memory ---- */

static void *take(struct tg_resp_reader *reader, size_t size)
{
  enum { ALIGNMENT = _Alignof(max_align_t) };
  size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  struct resp_block *block = reader->block;
  if (!block || block->size - block->used < size) {
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    block = tg_alloc(sizeof *block + room);
    *block = (struct resp_block){.next = reader->block, .size = room};
    reader->block = block;
  }
  void *memory = block->bytes + block->used;
  block->used += size;
  return memory;
}

void tg_resp_reset(struct tg_resp_reader *reader)
{
  while (reader->block && (reader->block->next || reader->block->size > BLOCK_SIZE)) {
    struct resp_block *block = reader->block;
    reader->block = block->next;
    free(block);
  }
  if (reader->block)
    reader->block->used = 0;
  reader->bytes = reader->parts = 0;
}

struct tg_redis_reply *tg_resp_room(struct tg_resp_reader *reader, size_t count)
{
  return take(reader, count * sizeof(struct tg_redis_reply));
}

/* ---- what redisReader calls ---- */

/* Where this reply goes: into its array, whose room is there already. */
static struct tg_redis_reply *place(const redisReadTask *task)
{
  struct tg_resp_reader *reader = task->privdata;
  if (!task->parent)
    return &reader->root;
  const struct tg_redis_reply *array = task->parent->obj;
  return (struct tg_redis_reply *)array->items + task->idx;
}

/* NULL ends the reading, as if memory had run out. */
static void *refuse_size(struct tg_resp_reader *reader)
{
  reader->too_large = true;
  return NULL;
}

static void *create_text(const redisReadTask *task, char *at, size_t length)
{
  struct tg_resp_reader *reader = task->privdata;
  if (length > TG_RESP_BYTES_MAX - reader->bytes)
    return refuse_size(reader);
  reader->bytes += length;
  char *copy = take(reader, length);
  if (length > 0)
    memcpy(copy, at, length);
  struct tg_redis_reply *reply = place(task);
  *reply = (struct tg_redis_reply){
      .kind = task->type == REDIS_REPLY_ERROR    ? TG_REDIS_ERROR
              : task->type == REDIS_REPLY_STATUS ? TG_REDIS_STATUS
                                                 : TG_REDIS_TEXT,
      .text = {copy, length},
  };
  return reply;
}

static void *create_parts(const redisReadTask *task, size_t count)
{
  struct tg_resp_reader *reader = task->privdata;
  int depth = 1;
  for (const redisReadTask *outer = task->parent; outer; outer = outer->parent)
    depth++;
  if (count > TG_RESP_PARTS_MAX - reader->parts || depth > TG_RESP_DEPTH_MAX)
    return refuse_size(reader);
  reader->parts += count;
  struct tg_redis_reply *reply = place(task);
  *reply =
      (struct tg_redis_reply){.kind = TG_REDIS_ARRAY, .count = count, .items = tg_resp_room(reader, count)};
  return reply;
}

/* hiredis 1.0 has counted in another type since it reads RESP 3, too. Nobody asks for that here: who sends
 * its doubles and truths all the same is not understood. */
#ifdef REDIS_REPLY_DOUBLE
static void *create_array(const redisReadTask *task, size_t count)
{
  return create_parts(task, count);
}

static void *create_double(const redisReadTask *task, double value, char *at, size_t length)
{
  (void)task, (void)value, (void)at, (void)length;
  return NULL;
}

static void *create_bool(const redisReadTask *task, int value)
{
  (void)task, (void)value;
  return NULL;
}
#else
static void *create_array(const redisReadTask *task, int count)
{
  return create_parts(task, (size_t)count);
}
#endif

static void *create_integer(const redisReadTask *task, long long value)
{
  struct tg_redis_reply *reply = place(task);
  *reply = (struct tg_redis_reply){.kind = TG_REDIS_INTEGER, .integer = value};
  return reply;
}

static void *create_nil(const redisReadTask *task)
{
  struct tg_redis_reply *reply = place(task);
  *reply = (struct tg_redis_reply){.kind = TG_REDIS_NIL};
  return reply;
}

/* ---- the reader ---- */

struct tg_resp_reader *tg_resp_reader_new(void)
{
  static redisReplyObjectFunctions functions = {
      .createString = create_text,
      .createArray = create_array,
      .createInteger = create_integer,
      .createNil = create_nil,
#ifdef REDIS_REPLY_DOUBLE
      .createDouble = create_double,
      .createBool = create_bool,
#endif
  };
  struct tg_resp_reader *reader = tg_calloc(1, sizeof *reader);
  reader->hiredis = redisReaderCreateWithFunctions(&functions);
  if (!reader->hiredis)
    abort(); /* as all that gets no memory */
  reader->hiredis->privdata = reader;
  return reader;
}

void tg_resp_reader_free(struct tg_resp_reader *reader)
{
  if (!reader)
    return;
  tg_resp_reset(reader);
  free(reader->block);
  redisReaderFree(reader->hiredis);
  free(reader);
}

static bool fail_too_large(struct tg_resp_reader *reader, struct tg_error *error)
{
  reader->broken = true;
  return tg_fail(error, "protocol",
                 "the answer is larger than %d MiB, or has more than %d parts, or more than "
                 "%d lists in each other",
                 TG_RESP_BYTES_MAX / 1024 / 1024, TG_RESP_PARTS_MAX, TG_RESP_DEPTH_MAX);
}

bool tg_resp_feed(struct tg_resp_reader *reader, const char *bytes, size_t length, struct tg_error *error)
{
  const redisReader *hiredis = reader->hiredis;
  if (reader->broken)
    return tg_fail(error, "protocol", "what came before is no answer");
  /* The lines that say how long texts are, and how many, count here. */
  if (hiredis->len - hiredis->pos + length > TG_RESP_BYTES_MAX)
    return fail_too_large(reader, error);
  size_t room = sizeof reader->head - reader->head_length;
  if (!reader->begun && room > 0) {
    room = length < room ? length : room;
    memcpy(reader->head + reader->head_length, bytes, room);
    reader->head_length += room;
  }
  if (redisReaderFeed(reader->hiredis, bytes, length) == REDIS_OK)
    return true;
  reader->broken = true;
  return tg_fail(error, "protocol", "the answer cannot be read: %s", hiredis->errstr);
}

/* The first line of what came, for people. */
static void quote_head(const struct tg_resp_reader *reader, char text[QUOTED + 1])
{
  size_t length = 0;
  while (length < reader->head_length && reader->head[length] != '\r' && reader->head[length] != '\n') {
    text[length] = isprint((unsigned char)reader->head[length]) ? reader->head[length] : '?';
    length++;
  }
  text[length] = '\0';
}

static int fail(struct tg_resp_reader *reader, struct tg_error *error)
{
  enum { TLS_ALERT = 0x15, TLS_MAJOR = 3 };
  char head[QUOTED + 1];
  quote_head(reader, head);
  reader->broken = true;
  if (reader->too_large)
    fail_too_large(reader, error);
  else if (reader->begun)
    tg_fail(error, "protocol", "what it sends is no answer: %s", reader->hiredis->errstr);
  else if (reader->head_length >= 2 && reader->head[0] == TLS_ALERT && reader->head[1] == TLS_MAJOR)
    tg_fail(error, "protocol", "it answers in TLS: the URL of such a port begins with rediss://");
  else
    tg_fail(error, "protocol", "what answers is no Redis: it begins with \"%s\"", head);
  return -1;
}

int tg_resp_next(struct tg_resp_reader *reader, struct tg_redis_reply *reply, struct tg_error *error)
{
  void *found = NULL;
  if (reader->broken)
    return tg_fail(error, "protocol", "what came before is no answer"), -1;
  if (redisReaderGetReply(reader->hiredis, &found) != REDIS_OK)
    return fail(reader, error);
  if (!found)
    return 0;
  reader->begun = true;
  *reply = reader->root;
  return 1;
}

#define TEXT_OF(number) #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *tg_resp_library_version(void)
{
  return DOTTED(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}
