#pragma once

/* What layouts in Redis have in common: pieces of commands, and of what the replies to them mean. Pure. */

#include "delivery/sinks/redis_layout.h"

enum { TG_REDIS_HOLD_DELAY = 5000, TG_REDIS_FULL_DELAY = 1000 /* ms */ };

/* --- writing ------------------------------------------------------------------------------- */

/* A field of an entry. */
void tg_redis_put(struct tg_buf *out, const char *name, struct tg_span value);
void tg_redis_put_text(struct tg_buf *out, const char *name, const char *text);

/* As parcel.h has it: "3.7.42", "3.7.gap-42". Returns the length. */
size_t tg_redis_key_write(char key[TG_PARCEL_KEY_MAX], const struct tg_redis_place *place,
                          const struct tg_stored *event);

void tg_redis_put_command(struct tg_buf *out, const char *const *words, int count);
void tg_redis_put_word(struct tg_buf *out, const char *word);
/* WAIT for place->replicas. */
void tg_redis_put_wait(struct tg_buf *out, const struct tg_redis_place *place);

/* --- replies ------------------------------------------------------------------------------- */

/* What an error says becomes the answer. */
enum tg_redis_step tg_redis_layout_refuse(struct tg_redis_place *place, struct tg_answer *answer,
                                          struct tg_span error);

/* The error of a transaction: of one of its commands, since that of EXEC only says that there was one. NULL:
 * there is none. */
const struct tg_redis_reply *tg_redis_error_in(const struct tg_redis_reply *replies, int count);

/* WAIT has found too few replicas, or was refused. */
enum tg_redis_step tg_redis_wait_for_replicas(const struct tg_redis_place *place,
                                              const struct tg_redis_reply *wait, struct tg_answer *answer);
