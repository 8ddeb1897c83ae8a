/* Which addresses are taken, and what is said of the others. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/address.h"

#include <string.h>

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static const struct row {
  const char *(*check)(const char *text);
  const char *text;
  const char *word; /* NULL: good */
} rows[] = {
    {tg_check_handler_url, "http://a", NULL},
    {tg_check_handler_url, "HTTPS://a.example:65535/x?key=1,2;3", NULL},
    {tg_check_handler_url, "http://user:pass@word@[::1]:80/", NULL},
    {tg_check_handler_url, "http://[fe80::1%eth0]", NULL},
    {tg_check_handler_url, "http://b\xc3\xbc" "cher.example/", NULL},
    {tg_check_handler_url, "http://proxy/http://a", NULL},
    {tg_check_handler_url, "http+unix:///run/bot.sock", NULL},
    {tg_check_handler_url, "http+unix:///run/bot.sock:/events", NULL},
    {tg_check_handler_url, "http+unix:///run/bot.sock:", NULL},
    {tg_check_handler_url, "localhost:80", "starts with http://, https:// or http+unix:///"},
    {tg_check_handler_url, "ftp://a", "starts with"},
    {tg_check_handler_url, "http+unix://run/bot.sock", "starts with"},
    {tg_check_handler_url, "http://", "host name"},
    {tg_check_handler_url, "http:///x", "host name"},
    {tg_check_handler_url, "http://:80", "host name"},
    {tg_check_handler_url, "http://a,b", "host name"},
    {tg_check_handler_url, "http://[::1", "host name"},
    {tg_check_handler_url, "http://[]", "host name"},
    {tg_check_handler_url, "http://[a]", "host name"},
    {tg_check_handler_url, "http://[1:2]", "host name"},
    {tg_check_handler_url, "http://[::1%]", "host name"},
    {tg_check_handler_url, "http://a:", "port"},
    {tg_check_handler_url, "http://a:0", "port"},
    {tg_check_handler_url, "http://a:65536", "port"},
    {tg_check_handler_url, "http://a:99999/", "port"},
    {tg_check_handler_url, "http://a:100000", "port"},
    {tg_check_handler_url, "http://a:http", "port"},
    {tg_check_handler_url, "http://a:80:81", "port"},
    {tg_check_handler_url, "http://[::1]8080", "port"},
    {tg_check_handler_url, "http://a;http://b", "more than one URL"},
    {tg_check_handler_url, "http://a/x;https://b", "more than one URL"},
    {tg_check_handler_url, "http://a,http://b", "more than one URL"},
    {tg_check_handler_url, "http://a|http+unix:///b", "more than one URL"},
    {tg_check_handler_url, "http+unix:///b;http://a", "more than one URL"},
    {tg_check_handler_url, "http://a b", "blanks"},
    {tg_check_handler_url, "http://a/\"x\"", "quotes"},
    {tg_check_handler_url, "http+unix:///run/bot.sock:events", "path of the request"},
    {tg_check_handler_url, "http+unix:///" X100 "/" X10 ":/x", "107 bytes"},
    {tg_check_redis_url, "redis://a", NULL},
    {tg_check_redis_url, "REDISS://user:p%40ss,word;@redis.example:6380/15", NULL},
    {tg_check_redis_url, "redis://:pa@ss@[::1]:6379/", NULL},
    {tg_check_redis_url, "redis+unix:///run/redis.sock", NULL},
    {tg_check_redis_url, "redis+unix://user:pass@/run/redis.sock?db=15", NULL},
    {tg_check_redis_url, "http://a", "starts with redis://, rediss:// or redis+unix:///"},
    {tg_check_redis_url, "redis:a", "starts with"},
    {tg_check_redis_url, "redis://", "host name"},
    {tg_check_redis_url, "redis://:pass@", "host name"},
    {tg_check_redis_url, "redis://b\xc3\xbc" "cher", "host name"},
    {tg_check_redis_url, "redis://[fe80::1%eth0]", "host name"},
    {tg_check_redis_url, "redis://a:0", "port"},
    {tg_check_redis_url, "redis://a:70000/0", "port"},
    {tg_check_redis_url, "redis://a/x", "number of a database"},
    {tg_check_redis_url, "redis://a/0/1", "number of a database"},
    {tg_check_redis_url, "redis://a/1000000", "number of a database"},
    {tg_check_redis_url, "redis://a?db=1", "? or a #"},
    {tg_check_redis_url, "redis://a,redis://b", "more than one URL"},
    {tg_check_redis_url, "redis+unix:///a;redis+unix:///b", "more than one URL"},
    {tg_check_redis_url, "redis://:pa ss@a", "in a password write them as %20"},
    {tg_check_redis_url, "redis://:pa/ss@a", "%2F, %3F and %23"},
    {tg_check_redis_url, "redis://:pa#ss@a", "%2F, %3F and %23"},
    {tg_check_redis_url, "redis://:pa%zzss@a", "% itself is %25"},
    {tg_check_redis_url, "redis://:pass%2@a", "% itself is %25"},
    {tg_check_redis_url, "redis://:pa%00ss@a", "% itself is %25"},
    {tg_check_redis_url, "redis+unix://run/redis.sock", "path of a socket"},
    {tg_check_redis_url, "redis+unix:///", "path of a socket"},
    {tg_check_redis_url, "redis+unix:///run/%", "% itself is %25"},
    {tg_check_redis_url, "redis+unix:///run/redis.sock?db=x", "number of a database"},
    {tg_check_redis_url, "redis+unix:///run/redis.sock?db=1&x=2", "number of a database"},
    {tg_check_redis_url, "redis+unix:///run/redis.sock#1", "number of a database"},
    {tg_check_redis_url, "redis+unix:///" X100 "/" X10, "107 bytes"},
    {tg_check_sink_url, "https://a/x", NULL},
    {tg_check_sink_url, "http+unix:///run/bot.sock:/events", NULL},
    {tg_check_sink_url, "http+unix://run", "starts with http://, https:// or http+unix:///"},
    {tg_check_sink_url, "redis+unix:///run/redis.sock", NULL},
    {tg_check_sink_url, "amqp://a", "starts with http://, https://, http+unix:///, redis://, rediss:// or"},
    {tg_check_rest_url, "https://discord.com/api/v10", NULL},
    {tg_check_rest_url, "http+unix:///x", "starts with http:// or https://"},
    {tg_check_rest_url, "http://a/api?x=1", "must not have a ?"},
    {tg_check_rest_url, "http://a/api#x", "must not have a ?"},
    {tg_check_rest_url, "http://a:99999", "port"},
    {tg_check_gateway_url, "wss://gateway.discord.gg/?v=10", NULL},
    {tg_check_gateway_url, "ws://127.0.0.1:99999", "port"},
    {tg_check_gateway_url, "ws://127.0.0.1:99999999", "port"},
    {tg_check_gateway_url, "ws://127.0.0.1:", "port"},
    {tg_check_gateway_url, "ws://[::1]:5000/", NULL},
    {tg_check_gateway_url, "wss://[fe80::1%eth0]", "host name"},
    {tg_check_gateway_url, "wss://[::1", "host name"},
    {tg_check_gateway_url, "wss://b\xc3\xbc" "cher.example/", "host name"},
    {tg_check_gateway_url, "wss://user:secret@a", "user or a password"},
    {tg_check_gateway_url, "wss://a/user@b", NULL},
    {tg_check_gateway_url, "wss://a\\@b", "blanks"},
    {tg_check_gateway_url, "wss://" X100 X100 X10 X10 X10 X10 "xxxxxxxxx", NULL},
    {tg_check_gateway_url, "wss://" X100 X100 X10 X10 X10 X10 X10, "255 bytes"},
    {tg_check_gateway_url, "https://a", "starts with wss:// or ws://"},
    {tg_check_listen, "127.0.0.1:0", NULL},
    {tg_check_listen, "[::1]:65535", NULL},
    {tg_check_listen, "unix:/run/tidegate.sock", NULL},
    {tg_check_listen, "off", NULL},
    {tg_check_listen, "127.0.0.1:99999", "expected an address and a port"},
    {tg_check_listen, "unix:run", "expected an address and a port"},
    {tg_check_listen, "unix:/" X100 X10, "107 bytes"},
};

static void addresses(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const char *said = rows[i].check(rows[i].text);
    if (!said != !rows[i].word || (said && !strstr(said, rows[i].word)))
      fail_msg("%s: %s", rows[i].text, said ? said : "is good");
  }
}

static void what_is_this_machine(void **state)
{
  (void)state;
  static const char *const own[] = {"127.0.0.1", "127.255.0.9", "::1", "0:0::1", "localhost", "LocalHost.",
                                    "bot.localhost"};
  static const char *const others[] = {"", ".", "128.0.0.1", "127.1", "127.0.0.1.example", "::2", "[::1]",
                                       "notlocalhost", "localhost.example", "0.0.0.0"};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    if (!tg_host_is_loopback(own[i]))
      fail_msg("%s", own[i]);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (tg_host_is_loopback(others[i]))
      fail_msg("%s", others[i]);
}

static void which_urls_stay_here(void **state)
{
  (void)state;
  static const char *const own[] = {"http://localhost/x",       "http://user:a@b@[::1]:80", "http+unix:///run/x",
                                    "redis://:a/b@127.0.0.1/0", "redis+unix:///run/x",      "rediss://localhost"};
  static const char *const others[] = {"localhost", "http://localhost@a", "redis://:localhost@a/0",
                                       "http://a/@localhost"};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    if (!tg_url_is_loopback(own[i]))
      fail_msg("%s", own[i]);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (tg_url_is_loopback(others[i]))
      fail_msg("%s", others[i]);
}

static void what_is_discord(void **state)
{
  (void)state;
  assert_true(tg_url_is_discord("wss://gateway.discord.gg"));
  assert_true(tg_url_is_discord("wss://gateway-us-east1-b.discord.gg:443/?v=10"));
  assert_true(tg_url_is_discord("https://discord.com/api/v10"));
  assert_false(tg_url_is_discord("ws://127.0.0.1:9000"));
  assert_false(tg_url_is_discord("wss://notdiscord.gg"));
  assert_false(tg_url_is_discord("wss://discord.gg.example"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses),
      cmocka_unit_test(what_is_this_machine),
      cmocka_unit_test(which_urls_stay_here),
      cmocka_unit_test(what_is_discord),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
