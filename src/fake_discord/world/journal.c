#include "fake_discord/world/journal.h"

#include "base/buf.h"
#include "fake_discord/gateway/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEPT = 5000, CUT = 500 };

const char *const tg_fake_list_names[TG_FAKE_LIST_COUNT] = {
#define X(name) #name,
    TG_FAKE_LISTS(X)
#undef X
};

struct tg_fake_journal *tg_fake_journal_new(void)
{
  struct tg_fake_journal *journal = tg_calloc(1, sizeof *journal);
  for (int i = 0; i < TG_FAKE_LIST_COUNT; i++)
    journal->lists[i] = json_array();
  journal->identifies_by_total = json_object();
  journal->closes_by_code = json_pack("{s:{}, s:{}}", "client", "server");
  return journal;
}

void tg_fake_journal_free(struct tg_fake_journal *journal)
{
  for (int i = 0; i < TG_FAKE_LIST_COUNT; i++)
    json_decref(journal->lists[i]);
  json_decref(journal->identifies_by_total);
  json_decref(journal->closes_by_code);
  free(journal);
}

void tg_fake_journal_clear(struct tg_fake_journal *journal)
{
  journal->counters = (struct tg_fake_counters){0};
  for (int i = 0; i < TG_FAKE_LIST_COUNT; i++)
    json_array_clear(journal->lists[i]);
  json_object_clear(journal->identifies_by_total);
  json_object_clear(json_object_get(journal->closes_by_code, "client"));
  json_object_clear(json_object_get(journal->closes_by_code, "server"));
}

void tg_fake_count(json_t *counts, const char *name)
{
  json_int_t before = json_integer_value(json_object_get(counts, name));
  json_object_set_new(counts, name, json_integer(before + 1));
}

json_t *tg_fake_counters_to_json(const struct tg_fake_journal *journal)
{
  json_t *result = json_object();
#define X(name) json_object_set_new(result, #name, json_integer((json_int_t)journal->counters.name));
  TG_FAKE_COUNTERS(X)
#undef X
  json_object_set_new(result, "identifies_by_total", json_deep_copy(journal->identifies_by_total));
  json_object_set_new(result, "closes_by_code", json_deep_copy(journal->closes_by_code));
  return result;
}

json_t *tg_fake_note(struct tg_fake *fake, enum tg_fake_list list, json_t *entry)
{
  json_t *array = fake->journal->lists[list];
  /* Removing from the front moves the rest: do it rarely. */
  if (json_array_size(array) >= KEPT + CUT)
    for (int i = 0; i < CUT; i++)
      json_array_remove(array, 0);
  json_object_set_new(entry, "at", json_integer(tg_fake_at(fake)));
  json_array_append_new(array, entry);
  return entry;
}

void tg_fake_violation(struct tg_fake *fake, const struct tg_fake_conn *conn, const char *rule,
                       const char *verdict, const char *format, ...)
{
  char detail[400];
  va_list args;
  va_start(args, format);
  vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  fake->journal->counters.violations++;
  json_t *text = json_string(detail); /* NULL when a client's bytes are no UTF-8 */
  tg_fake_note(fake, TG_FAKE_LIST_violations,
               json_pack("{s:o, s:o, s:o, s:s, s:s, s:o}", "connection",
                         conn ? json_integer(conn->id) : json_null(), "shard",
                         conn ? tg_fake_conn_shard_json(conn) : json_null(), "total",
                         conn ? tg_fake_conn_total_json(conn) : json_null(), "rule", rule, "verdict", verdict,
                         "detail", text ? text : json_string("(not text)")));
}
