#pragma once

/* The arguments of methods of gateway.manager, as scripts give them. Where one is
 * not as it has to be, the call is answered with "bad_argument" (or "no_shard",
 * "not_ready"), and the function returns false. */

#include "manager/reply.h"
#include "manager/shard_set.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_args {
  const json_t *list;
  const char *method;
  tg_manager_reply *reply;
  void *ctx;
};

bool tg_arg_int(const struct tg_args *args, size_t index, const char *name, json_int_t low, json_int_t high,
                int *value);
bool tg_arg_shard(const struct tg_args *args, size_t index, const struct tg_shard_set *shards,
                  struct tg_managed_shard **shard);
bool tg_arg_id(const struct tg_args *args, size_t index, const char *name, uint64_t *id);
/* Options table at `index`: NULL in *options when it was left out. */
bool tg_arg_options(const struct tg_args *args, size_t index, const json_t **options);
void tg_arg_bad(const struct tg_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A snowflake: a string of digits, or a number small enough to be exact. */
bool tg_read_id(const json_t *value, uint64_t *id);
