/* The order of addresses, and the memory of those that did no good. */

#include "net/addresses.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* As getaddrinfo() gives them; words between blanks. Freed by free_found(). */
static struct addrinfo *find(const char *words)
{
  struct addrinfo *first = NULL, **last = &first;
  char copy[512], *rest = copy;
  snprintf(copy, sizeof copy, "%s", words);
  for (char *word; (word = strtok_r(rest, " ", &rest));) {
    struct addrinfo *found = calloc(1, sizeof *found);
    if (strchr(word, ':')) {
      struct sockaddr_in6 *at = calloc(1, sizeof *at);
      at->sin6_family = found->ai_family = AF_INET6;
      at->sin6_port = htons(443);
      assert_int_equal(inet_pton(AF_INET6, word, &at->sin6_addr), 1);
      found->ai_addr = (struct sockaddr *)at;
      found->ai_addrlen = sizeof *at;
    } else {
      struct sockaddr_in *at = calloc(1, sizeof *at);
      at->sin_family = found->ai_family = AF_INET;
      at->sin_port = htons(443);
      memset(at->sin_zero, 7, sizeof at->sin_zero); /* means nothing */
      assert_int_equal(inet_pton(AF_INET, word, &at->sin_addr), 1);
      found->ai_addr = (struct sockaddr *)at;
      found->ai_addrlen = sizeof *at;
    }
    *last = found;
    last = &found->ai_next;
  }
  return first;
}

static void free_found(struct addrinfo *found)
{
  while (found) {
    struct addrinfo *next = found->ai_next;
    free(found->ai_addr);
    free(found);
    found = next;
  }
}

static void take(struct tg_addresses *addresses, const char *words)
{
  struct addrinfo *found = find(words);
  tg_addresses_take(addresses, found);
  free_found(found);
}

static void expect(const struct tg_addresses *addresses, const char *words)
{
  char got[1024] = "";
  for (int i = 0; i < addresses->count; i++) {
    char text[TG_ADDRESS_TEXT];
    tg_address_text(&addresses->list[i], text);
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "", text);
  }
  assert_string_equal(got, words);
}

static void families_take_turns(void **state)
{
  (void)state;
  static const struct {
    const char *found, *order;
  } rows[] = {
      {"", ""},
      {"192.0.2.1", "192.0.2.1"},
      {"192.0.2.1 192.0.2.2 192.0.2.3", "192.0.2.1 192.0.2.2 192.0.2.3"},
      {"2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2", "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2"},
      {"192.0.2.1 192.0.2.2 2001:db8::1", "192.0.2.1 2001:db8::1 192.0.2.2"},
      {"2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3", "2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3"},
      {"192.0.2.1 2001:db8::1 2001:db8::2 2001:db8::3", "192.0.2.1 2001:db8::1 2001:db8::2 2001:db8::3"},
      {"192.0.2.1 192.0.2.1 2001:db8::1 192.0.2.1 2001:db8::1", "192.0.2.1 2001:db8::1"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_addresses addresses;
    take(&addresses, rows[i].found);
    expect(&addresses, rows[i].order);
  }
}

static void no_more_are_looked_at_than_there_is_room(void **state)
{
  (void)state;
  char words[1024] = "";
  struct tg_addresses addresses;
  for (int i = 1; i <= 2 * TG_ADDRESSES_MAX; i++)
    snprintf(words + strlen(words), sizeof words - strlen(words), "192.0.2.%d ", i);
  take(&addresses, words);
  assert_int_equal(addresses.count, TG_ADDRESSES_MAX);
}

static void failures_go_to_the_end(void **state)
{
  (void)state;
  struct tg_address_memory memory = {0};
  struct tg_addresses all, addresses;
  take(&all, "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4");
  tg_address_failed(&memory, &all.list[0], 1000);
  addresses = all;
  tg_addresses_sort(&addresses, &memory, 1000);
  expect(&addresses, "192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.1");

  tg_address_failed(&memory, &all.list[1], 2000);
  addresses = all;
  tg_addresses_sort(&addresses, &memory, 2000);
  expect(&addresses, "192.0.2.3 192.0.2.4 192.0.2.1 192.0.2.2");

  /* Where all have failed, it goes on in turn. */
  tg_address_failed(&memory, &all.list[2], 3000);
  tg_address_failed(&memory, &all.list[3], 4000);
  tg_address_failed(&memory, &all.list[0], 5000);
  addresses = all;
  tg_addresses_sort(&addresses, &memory, 5000);
  expect(&addresses, "192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.1");

  tg_address_worked(&memory, &all.list[3]);
  addresses = all;
  tg_addresses_sort(&addresses, &memory, 5000);
  expect(&addresses, "192.0.2.4 192.0.2.2 192.0.2.3 192.0.2.1");
}

static void failures_are_forgotten(void **state)
{
  (void)state;
  struct tg_address_memory memory = {0};
  struct tg_addresses addresses;
  take(&addresses, "192.0.2.1 192.0.2.2");
  tg_address_failed(&memory, &addresses.list[0], 1000);
  assert_true(tg_address_is_bad(&memory, &addresses.list[0], 1000 + TG_MEMORY_TIME - 1));
  assert_false(tg_address_is_bad(&memory, &addresses.list[0], 1000 + TG_MEMORY_TIME));
  tg_addresses_sort(&addresses, &memory, 1000 + TG_MEMORY_TIME);
  expect(&addresses, "192.0.2.1 192.0.2.2");
}

static void the_memory_is_bounded(void **state)
{
  (void)state;
  struct tg_address_memory memory = {0};
  struct tg_address address;
  struct sockaddr_in at = {.sin_family = AF_INET};
  for (uint32_t i = 0; i < 3 * TG_MEMORY_MAX; i++) {
    at.sin_addr.s_addr = htonl(i);
    tg_address_set(&address, (struct sockaddr *)&at, sizeof at);
    tg_address_failed(&memory, &address, 1000);
    assert_true(tg_address_is_bad(&memory, &address, 1000));
  }
  assert_int_equal(memory.count, TG_MEMORY_MAX);
}

static void ports_and_families_tell_addresses_apart(void **state)
{
  (void)state;
  struct tg_address one, other;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(443)};
  struct sockaddr unknown = {.sa_family = AF_UNIX};
  tg_address_set(&one, (struct sockaddr *)&at, sizeof at);
  at.sin_port = htons(80);
  tg_address_set(&other, (struct sockaddr *)&at, sizeof at);
  assert_false(tg_address_equal(&one, &other));
  assert_true(tg_address_equal(&one, &one));
  assert_false(tg_address_set(&other, &unknown, sizeof unknown));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(families_take_turns),    cmocka_unit_test(no_more_are_looked_at_than_there_is_room),
      cmocka_unit_test(failures_go_to_the_end), cmocka_unit_test(failures_are_forgotten),
      cmocka_unit_test(the_memory_is_bounded),  cmocka_unit_test(ports_and_families_tell_addresses_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
