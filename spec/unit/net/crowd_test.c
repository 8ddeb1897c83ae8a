/* Who goes when more clients come than there are places. */

#include "net/crowd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tg_standing at(const char *address)
{
  struct tg_standing standing = {0};
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  struct sockaddr other = {.sa_family = AF_UNIX};
  if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
    tg_standing_at(&standing, (struct sockaddr *)&v4);
  else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
    tg_standing_at(&standing, (struct sockaddr *)&v6);
  else
    tg_standing_at(&standing, &other);
  return standing;
}

static void knows_this_machine(void **state)
{
  (void)state;
  static const char *const here[] = {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "a unix socket"};
  static const char *const elsewhere[] = {"192.0.2.1", "10.0.0.1", "0.0.0.0", "2001:db8::1",
                                          "::ffff:192.0.2.1"};
  for (size_t i = 0; i < sizeof here / sizeof *here; i++)
    assert_true(at(here[i]).local);
  for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
    assert_false(at(elsewhere[i]).local);
}

static void counts_strangers_of_one_place_together(void **state)
{
  (void)state;
  static const struct {
    const char *one, *other;
    bool together;
  } rows[] = {
      {"192.0.2.1", "192.0.2.1", true},
      {"192.0.2.1", "192.0.2.2", false},
      {"192.0.2.1", "::ffff:192.0.2.1", true},
      {"2001:db8::1", "2001:db8::ffff:1", true}, /* one network */
      {"2001:db8::1", "2001:db8:0:1::1", false},
      {"127.0.0.1", "127.0.0.1", false}, /* all of this machine come from there */
      {"a unix socket", "a unix socket", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_standing one = at(rows[i].one), other = at(rows[i].other);
    assert_int_equal(tg_standing_together(&one, &other), rows[i].together);
    other.known = true;
    assert_false(tg_standing_together(&one, &other));
  }
}

static void what_is_under_way_stays(void **state)
{
  (void)state;
  for (int use = TG_USE_NONE; use <= TG_USE_OVER; use++) {
    struct tg_standing standing = {.use = (enum tg_use)use, .since = 1000};
    bool may_go = use == TG_USE_NONE || use == TG_USE_BEGUN;
    assert_int_equal(tg_standing_may_go(&standing, 1000 + TG_STANDING_GRACE), may_go);
    assert_false(tg_standing_may_go(&standing, 1000 + TG_STANDING_GRACE - 1)); /* it may be about to ask */
  }
}

/* Each goes before all that stand behind it. */
static void goes_in_order(void **state)
{
  (void)state;
  static const struct tg_standing order[] = {
      {.use = TG_USE_NONE, .since = 1},
      {.use = TG_USE_NONE, .since = 2},
      {.use = TG_USE_NONE, .since = 1, .local = true},
      {.use = TG_USE_NONE, .since = 0, .known = true},
      {.use = TG_USE_NONE, .since = 0, .known = true, .local = true},
      {.use = TG_USE_BEGUN, .since = 0},
      {.use = TG_USE_BEGUN, .since = 3},
      {.use = TG_USE_BEGUN, .since = 0, .local = true},
      {.use = TG_USE_BEGUN, .since = 0, .known = true},
  };
  const size_t count = sizeof order / sizeof *order;
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < count; k++)
      assert_int_equal(tg_standing_goes_before(&order[i], &order[k]), i < k);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(knows_this_machine),
      cmocka_unit_test(counts_strangers_of_one_place_together),
      cmocka_unit_test(what_is_under_way_stays),
      cmocka_unit_test(goes_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
