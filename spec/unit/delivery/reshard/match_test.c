#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/buf.h"
#include "delivery/reshard/match.h"
#include "delivery/reshard/order.h"

#include <stdlib.h>
#include <string.h>

static struct tg_match match;

static int begin(void **state)
{
  (void)state;
  tg_match_init(&match);
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_match_free(&match);
  return 0;
}

static struct tg_entry *add(uint64_t guild, uint64_t hash, tg_ms at)
{
  struct tg_entry *entry = tg_match_new_entry(&match);
  entry->key = (struct tg_event_key){guild, hash};
  entry->at = at;
  tg_match_add(&match, entry);
  return entry;
}

static void drop(struct tg_entry *entry)
{
  tg_match_take(&match, entry);
  tg_match_free_entry(&match, entry);
}

static struct tg_entry *find(uint64_t guild, uint64_t hash)
{
  return tg_match_find(&match, (struct tg_event_key){guild, hash});
}

static void test_finds_by_guild_and_hash(void **state)
{
  (void)state;
  struct tg_entry *entry = add(1, 7, 0);
  assert_ptr_equal(find(1, 7), entry);
  assert_null(find(2, 7));
  assert_null(find(1, 8));
  drop(entry);
  assert_null(find(1, 7));
  assert_int_equal(match.count, 0);
}

/* Equal ones leave in the order in which they came, also when the table has grown meanwhile. */
static void test_first_in_first_out(void **state)
{
  enum { EQUAL = 5, MANY = 5000 };
  struct tg_entry *equal[EQUAL], *others[MANY];
  (void)state;
  for (int i = 0; i < MANY; i++) {
    others[i] = add(3, (uint64_t)i, 0);
    if (i % 1000 == 0)
      equal[i / 1000] = add(9, 64, i);
  }
  assert_ptr_equal(find(9, 64), equal[0]);
  for (int i = 0; i + 1 < EQUAL; i++)
    assert_ptr_equal(tg_match_next(equal[i]), equal[i + 1]);
  assert_null(tg_match_next(equal[EQUAL - 1]));
  for (int i = 0; i < MANY; i++) {
    assert_ptr_equal(find(3, (uint64_t)i), others[i]);
    drop(others[i]);
  }
  for (int i = 0; i < EQUAL; i++) {
    assert_ptr_equal(find(9, 64), equal[i]);
    drop(equal[i]);
  }
}

/* A key that never was without entries is in doubt since it first had one. */
static void test_since(void **state)
{
  (void)state;
  struct tg_entry *first = add(1, 7, 100);
  struct tg_entry *second = add(1, 7, 200);
  assert_int_equal(second->since, 100);
  drop(first);
  struct tg_entry *third = add(1, 7, 300);
  assert_int_equal(third->since, 100);
  drop(second);
  drop(third);
  struct tg_entry *later = add(1, 7, 400);
  assert_int_equal(later->since, 400);
}

/* What has waited in the other form, with the copies that entries hold. */
static void test_frees_what_it_holds(void **state)
{
  const char *raw = "{\"t\":\"A\",\"s\":1,\"op\":0,\"d\":{\"id\":\"5\"}}";
  struct tg_event event = {.name = {raw + 6, 1}, .raw = {raw, strlen(raw)}, .data = {raw + 26, 10}};
  (void)state;
  struct tg_entry *entry = add(1, 7, 0);
  entry->hold = tg_hold_copy(&event, TG_GUILD_CHANGE_NONE, 12);
  assert_int_equal(entry->hold->size, tg_hold_size(&event));
  assert_int_equal(entry->hold->came_at, 12);
  assert_memory_equal(entry->hold->event.data.at, "{\"id\":\"5\"}", 10);
  assert_true(entry->hold->event.raw.at != raw);
  drop(entry);
}

/* A name with escapes does not lie in the message. */
static void test_holds_a_name_of_its_own(void **state)
{
  const char *raw = "{\"t\":\"\\u0041B\",\"s\":1,\"op\":0,\"d\":1}";
  char name[] = "AB";
  struct tg_event event = {.name = {name, 2}, .raw = {raw, strlen(raw)}, .data = {raw + strlen(raw) - 2, 1}};
  (void)state;
  struct tg_hold *hold = tg_hold_copy(&event, TG_GUILD_CHANGE_LEFT, 0);
  memset(name, 'x', 2);
  assert_memory_equal(hold->event.name.at, "AB", 2);
  assert_memory_equal(hold->event.data.at, "1", 1);
  assert_int_equal(hold->change, TG_GUILD_CHANGE_LEFT);
  free(hold);
}

static void test_order_of_guilds(void **state)
{
  struct tg_order order = {0};
  (void)state;
  assert_int_equal(tg_order_reached(&order, 5, 0), 0);
  for (uint64_t guild = 1; guild < 300; guild++)
    tg_order_note(&order, guild << 22, 0, guild);
  tg_order_note(&order, 7 << 22, 1, 4000);
  tg_order_note(&order, 7 << 22, 1, 3000);
  for (uint64_t guild = 1; guild < 300; guild++)
    assert_int_equal(tg_order_reached(&order, guild << 22, 0), guild);
  assert_int_equal(tg_order_reached(&order, 7 << 22, 1), 4000);
  assert_int_equal(tg_order_reached(&order, 8 << 22, 1), 0);
  tg_order_note(&order, 0, 0, 9); /* what is of no guild has no order */
  assert_int_equal(tg_order_reached(&order, 0, 0), 0);
  tg_order_free(&order);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_finds_by_guild_and_hash, begin, end),
      cmocka_unit_test_setup_teardown(test_first_in_first_out, begin, end),
      cmocka_unit_test_setup_teardown(test_since, begin, end),
      cmocka_unit_test_setup_teardown(test_frees_what_it_holds, begin, end),
      cmocka_unit_test(test_holds_a_name_of_its_own),
      cmocka_unit_test(test_order_of_guilds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
