/* Prints what the shards of a running gateway have counted, summed up, for
 * scripts/bench:
 *
 *     shard_counts STATE_DIR TOKEN INTENTS TOTAL_SHARDS
 *     received=1000 filtered=0 delivered=990 queued=10 dropped=0 retried=0 gaps=0 */

#include "shared/shard_table.h"

#include <stdio.h>
#include <stdlib.h>

struct counts {
  uint64_t received, filtered, delivered, queued, dropped, retried, gaps;
};

int main(int argc, char **argv)
{
  if (argc != 5) {
    fprintf(stderr, "usage: shard_counts STATE_DIR TOKEN INTENTS TOTAL_SHARDS\n");
    return TG_EXIT_USAGE;
  }
  int total = atoi(argv[4]);
  uint64_t bot = tg_identity_bot(argv[2], strtoull(argv[3], NULL, 10));
  /* Opening with other values than the gateway's would empty its table. */
  if (tg_shard_table_peek(argv[1], 0, bot) != total) {
    fprintf(stderr, "shard_counts: %s has no table of that bot with %d shards\n", argv[1], total);
    return TG_EXIT_FAILED;
  }
  struct tg_error error;
  struct tg_shard_table *table = tg_shard_table_open(argv[1], 0, total, tg_identity(bot, total), 0, &error);
  if (!table) {
    fprintf(stderr, "shard_counts: %s\n", error.message);
    return TG_EXIT_FAILED;
  }
  struct counts sum = {0};
  for (int i = 0; i < total; i++) {
    struct tg_shard_row *row = tg_shard_table_row(table, i);
    sum.received += atomic_load(&row->received);
    sum.filtered += atomic_load(&row->filtered);
    sum.delivered += atomic_load(&row->delivered);
    sum.queued += atomic_load(&row->queued_events);
    sum.dropped += atomic_load(&row->dropped);
    sum.retried += atomic_load(&row->retried);
    sum.gaps += atomic_load(&row->gaps);
  }
  printf("received=%llu filtered=%llu delivered=%llu queued=%llu dropped=%llu retried=%llu gaps=%llu\n",
         (unsigned long long)sum.received, (unsigned long long)sum.filtered, (unsigned long long)sum.delivered,
         (unsigned long long)sum.queued, (unsigned long long)sum.dropped, (unsigned long long)sum.retried,
         (unsigned long long)sum.gaps);
  tg_shard_table_close(table);
  return TG_EXIT_OK;
}
