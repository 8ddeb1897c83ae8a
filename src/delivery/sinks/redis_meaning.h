#pragma once

/* What Redis says when it does not take something, as an answer to a parcel: whether to come again, and
 * whether only a person can help. Pure; the words are those of net/redis_refusal.h.
 *
 *     OOM LOADING BUSY READONLY MASTERDOWN NOREPLICAS MISCONF ...    it is busy: again, and all lanes wait
 *     NOAUTH WRONGPASS NOPERM MOVED ...                              wrongly set up
 *     WRONGTYPE                                                      wrongly set up, but this key alone
 *     "invalid bulk length"                                          this event is too large for it
 *     anything else                                                  again: nothing is ever lost over it
 *
 * Errors inside of EXECABORT count as those that they are. */

#include "delivery/sinks/answer.h"

/* An error reply of the Redis of that name. True: it is about this key alone, and other lanes may go on. */
bool tg_redis_refused(struct tg_answer *answer, const char *name, struct tg_span error);

/* There was no reply: the connection could not be made, or has ended. */
void tg_redis_broke(struct tg_answer *answer, const struct tg_error *error);

/* "The ID specified in XADD is equal or smaller": the stream has that entry already, or a later one. */
bool tg_redis_is_repeat(struct tg_span error);
