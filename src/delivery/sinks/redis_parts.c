#include "delivery/sinks/redis_parts.h"

#include "delivery/sinks/redis_meaning.h"
#include "net/resp.h"

#include <string.h>

enum { REPLICAS_PATIENCE = 500 /* ms */ };

/* --- writing ------------------------------------------------------------------------------- */

void tg_redis_put(struct tg_buf *out, const char *name, struct tg_span value)
{
  tg_resp_string(out, name);
  tg_resp_text(out, value.at, value.length);
}

void tg_redis_put_text(struct tg_buf *out, const char *name, const char *text)
{
  tg_redis_put(out, name, (struct tg_span){text, strlen(text)});
}

size_t tg_redis_key_write(char key[TG_PARCEL_KEY_MAX], const struct tg_redis_place *place,
                          const struct tg_stored *event)
{
  char *at = tg_redis_number_write(key, (uint64_t)place->shard_id);
  *at++ = '.';
  at = tg_redis_number_write(at, event->epoch);
  *at++ = '.';
  if (__builtin_expect(event->marker == TG_MARKER_NONE, 1))
    return (size_t)(tg_redis_number_write(at, event->sequence) - key);
  struct tg_parcel_end name = tg_parcel_end(event);
  tg_parcel_end_text(&name, at);
  return (size_t)(at - key) + strlen(at);
}

void tg_redis_put_command(struct tg_buf *out, const char *const *words, int count)
{
  tg_resp_begin(out, count);
  for (int i = 0; i < count; i++)
    tg_resp_string(out, words[i]);
}

void tg_redis_put_word(struct tg_buf *out, const char *word)
{
  tg_redis_put_command(out, &word, 1);
}

void tg_redis_put_wait(struct tg_buf *out, const struct tg_redis_place *place)
{
  tg_resp_begin(out, 3);
  tg_resp_string(out, "WAIT");
  tg_resp_number(out, place->replicas);
  tg_resp_number(out, REPLICAS_PATIENCE);
}

/* --- replies ------------------------------------------------------------------------------- */

enum tg_redis_step tg_redis_layout_refuse(struct tg_redis_place *place, struct tg_answer *answer,
                                          struct tg_span error)
{
  bool of_key = tg_redis_refused(answer, place->server, error);
  place->asked = false;
  if (!of_key)
    return TG_REDIS_END;
  answer->outcome = TG_OUTCOME_SLOW_DOWN;
  answer->retry_after = tg_patience(TG_REDIS_HOLD_DELAY);
  return TG_REDIS_HOLD;
}

const struct tg_redis_reply *tg_redis_error_in(const struct tg_redis_reply *replies, int count)
{
  for (int i = 0; i < count; i++)
    if (replies[i].kind == TG_REDIS_ERROR)
      return &replies[i];
  return NULL;
}

enum tg_redis_step tg_redis_wait_for_replicas(const struct tg_redis_place *place,
                                              const struct tg_redis_reply *wait, struct tg_answer *answer)
{
  if (wait->kind != TG_REDIS_INTEGER) {
    tg_redis_refused(answer, place->server, wait->text);
    return TG_REDIS_END;
  }
  answer->outcome = TG_OUTCOME_BUSY;
  tg_fail(&answer->error, "noreplicas", "after %d ms %lld of %d replicas have it", REPLICAS_PATIENCE,
          (long long)wait->integer, place->replicas);
  return TG_REDIS_END;
}
