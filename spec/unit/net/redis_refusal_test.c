/* What Redis says when it refuses, and what people are told. */

#include "net/redis_refusal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static void says_what_to_do(void **state)
{
  (void)state;
  static const struct {
    const char *said, *code, *words;
  } rows[] = {
      {"NOAUTH Authentication required.", "auth", "wants a password"},
      {"WRONGPASS invalid username-password pair or user is disabled.", "auth", "does not take the user"},
      {"NOPERM this user has no permissions to access one of the keys used as arguments", "auth",
       "ACL SETUSER"},
      {"MOVED 3999 127.0.0.1:6381", "moved", "a node of a Redis Cluster"},
      {"CROSSSLOT Keys in request don't hash to the same slot", "crossslot", "a node of a Redis Cluster"},
      {"CLUSTERDOWN Hash slot not served", "clusterdown", "a node of a Redis Cluster"},
      {"READONLY You can't write against a read only replica.", "readonly", "it is a replica"},
      {"OOM command not allowed when used memory > 'maxmemory'.", "oom", "its memory is full"},
      {"LOADING Redis is loading the dataset in memory", "loading", "will answer when it has"},
      {"BUSY Redis is busy running a script.", "busy", "SCRIPT KILL"},
      {"MISCONF Redis is configured to save RDB snapshots", "misconf", "cannot write to its disk"},
      {"WRONGTYPE Operation against a key holding the wrong kind of value", "wrongtype", "another prefix"},
      {"ERR unknown command 'XADD'", "err", "a Redis of 7.0 or later"},
      {"ERR The user executing the script can't run this command or subcommand", "err", "ACL SETUSER"},
      {"ERR something new", "err", "refuses: \"ERR something new\""},
      {"SOMETHINGNEW of a later release", "somethingnew", "refuses: \"SOMETHINGNEW of a later release\""},
      {"no word in capitals", "err", "refuses: \"no word in capitals\""},
      {"", "err", "refuses: \"\""},
      {"ERR \x1b[31mred\n", "err", "\"ERR ?[31mred?\""},
      {"AWORDTHATISLONGERTHANACODEMAYBEANDSTILLGOESON", "awordthatislongerthanacodemaybe", "refuses"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_error error;
    tg_redis_refusal("redis://host:6379/0", (struct tg_span){rows[i].said, strlen(rows[i].said)}, &error);
    assert_string_equal(error.code, rows[i].code);
    assert_ptr_equal(strstr(error.message, "Redis at redis://host:6379/0 refuses"), error.message);
    if (!strstr(error.message, rows[i].words))
      fail_msg("\"%s\" does not say \"%s\"", error.message, rows[i].words);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_to_do)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
