/* A shard table to which anything has happened: it is taken up or made anew, what
 * its sessions say is text of their size, and what is stored there is read again.
 * The first byte says how many shards there are now, and whether they are still
 * those of the same bot. */

#include "fuzz.h"

#include "shared/shard_table.h"

enum { SHARDS = 3, BOT = 11, IDENTITY = 12, ROW_LEAST = 1024 };

static const struct tg_session sample = {"a session", "wss://gateway.discord.gg", 1767225600, 42,
                                         1790000000000};

static void check_session(struct tg_shard_row *row)
{
  struct tg_session found;
  bool is_there = tg_session_load(row, &found);
  require(memchr(found.id, '\0', sizeof found.id) != NULL && is_there == (found.id[0] != '\0'));
  require(memchr(found.resume_url, '\0', sizeof found.resume_url) != NULL);
  require(found.epoch <= UINT32_MAX && tg_next_epoch(found.epoch, 1790000000000) > found.epoch);
}

static void check_row(struct tg_shard_row *row)
{
  struct tg_session found;
  check_session(row);
  tg_shard_state_name(atomic_load(&row->state));
  tg_session_forget(row);
  require(!tg_session_load(row, &found));
  tg_session_store(row, &sample);
  require(tg_session_load(row, &found) && strcmp(found.id, sample.id) == 0 && found.epoch == sample.epoch &&
          strcmp(found.resume_url, sample.resume_url) == 0 && found.sequence == sample.sequence);
}

static void check_table(int total, uint64_t identity)
{
  struct tg_error error = {0};
  struct tg_shard_table *table = tg_shard_table_open(fuzz_directory, 0, total, identity, 0, &error);
  require(table && tg_shard_table_total(table) == total);
  tg_shard_table_clear_counters(table);
  for (int i = 0; i < total; i++)
    check_row(tg_shard_table_row(table, i));
  tg_shard_table_close(table);
}

static void write_table(void)
{
  struct tg_error error = {0};
  struct tg_shard_table *table = tg_shard_table_open(fuzz_directory, 0, SHARDS, IDENTITY, 0, &error);
  require(table != NULL);
  tg_shard_table_set_bot(table, BOT);
  for (int i = 0; i < SHARDS; i++)
    tg_session_store(tg_shard_table_row(table, i), &sample);
  tg_shard_table_close(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct stat status;
  char path[100];
  if (length < 1)
    return 0;
  fuzz_be_silent();
  fuzz_fresh_directory();
  write_table();
  fuzz_damage("shards", bytes + 1, length - 1);
  snprintf(path, sizeof path, "%s/shards", fuzz_directory);
  int known = tg_shard_table_peek(fuzz_directory, 0, BOT);
  require(stat(path, &status) == 0 && known >= 0 && (off_t)known * ROW_LEAST <= status.st_size);
  int total = 1 + bytes[0] % 4;
  check_table(total, bytes[0] & 0x80 ? IDENTITY + 1 : IDENTITY);
  check_table(total, IDENTITY);
  return 0;
}
