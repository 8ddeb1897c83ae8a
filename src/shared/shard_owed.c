/* What of a shard nobody is owed any more, in its row. */

#include "shared/shard_table.h"

/* Between two epochs the sequence is 0: what is read then is less than what is true, but never more. */
void tg_row_set_owed(struct tg_shard_row *row, uint64_t epoch, uint64_t sequence)
{
  if (atomic_load_explicit(&row->owed_epoch, memory_order_relaxed) != epoch) {
    atomic_store(&row->owed_sequence, 0);
    atomic_store(&row->owed_epoch, epoch);
  }
  atomic_store_explicit(&row->owed_sequence, sequence, memory_order_release);
}

void tg_row_owed(struct tg_shard_row *row, uint64_t *epoch, uint64_t *sequence)
{
  do {
    *epoch = atomic_load(&row->owed_epoch);
    *sequence = atomic_load(&row->owed_sequence);
  } while (atomic_load(&row->owed_epoch) != *epoch);
}
