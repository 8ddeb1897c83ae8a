#pragma once

/* The stream "gateway_send" of a Redis, into which a bot writes what shards are to send. It is read as one of
 * a group of consumers, the host by its name: so a command that was read and not done is read again, by the
 * next run on this host, or, if there is none, by another gateway of the group. Each is acknowledged when
 * it is done, and again after a connection that broke over that.
 *
 * A new group begins with what is TG_COMMAND_AGE_MAX old. What is an hour old is trimmed, as discord.js
 * itself never does. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <uv.h>

/* ms; who wanted what an older command says is not waiting any more. */
enum { TG_COMMAND_AGE_MAX = 300000 };

struct tg_command_stream;
struct tg_stream_command;

struct tg_command_stream_options {
  uv_loop_t *loop;
  const char *url, *ca_file; /* net/redis.h */
  const char *group;
  /* A command that waits to be done: tg_command_done() is called when it is, or will not be, also from
   * inside. `age` in ms; `data` is the field of that name, .at NULL: there is none. */
  void (*take)(void *ctx, struct tg_stream_command *command, tg_ms age, struct tg_span data);
  /* Its Redis cannot be asked, for the first time in a while. */
  void (*failed)(void *ctx, const struct tg_error *error);
  /* It can again. */
  void (*works)(void *ctx);
  void *ctx;
};

/* Copies. NULL: `error`, as tg_redis_new(). */
struct tg_command_stream *tg_command_stream_new(const struct tg_command_stream_options *options,
                                                struct tg_error *error);
/* Reads no more; what is under way is still acknowledged. */
void tg_command_stream_stop(struct tg_command_stream *stream);
/* Nobody is told any more. The memory goes with the last command under way. */
void tg_command_stream_free(struct tg_command_stream *stream);

/* Its place in the stream. */
const char *tg_command_id(const struct tg_stream_command *command);
/* `keep`: it was not done, and is to be read again by the next run. */
void tg_command_done(struct tg_stream_command *command, bool keep);
