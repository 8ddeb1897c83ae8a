/* Which updates change a message. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/caches/message_cache.h"

#include <stdio.h>
#include <string.h>

static struct tg_span span(const char *text)
{
  return (struct tg_span){text, strlen(text)};
}

static struct tg_message_facts facts_of(const char *data)
{
  struct tg_message_facts facts;
  assert_true(tg_message_facts(span(data), &facts));
  return facts;
}

static void store(struct tg_message_cache *cache, const char *data)
{
  struct tg_message_facts facts = facts_of(data);
  tg_message_cache_store(cache, &facts);
}

/* As the pipeline does it: ask, then remember. */
static bool update(struct tg_message_cache *cache, const char *data)
{
  struct tg_message_facts facts = facts_of(data);
  bool changed = tg_message_cache_changed(cache, &facts);
  assert_int_equal(tg_message_cache_changed(cache, &facts), changed);
  tg_message_cache_store(cache, &facts);
  return changed;
}

/* A row's text is what stands in a message beside these; quotes are single ones. */
#define WHOLE                                                                                                \
  "'id':'1','type':0,'channel_id':'2','guild_id':'3','timestamp':'2026-08-20T14:03:21.417000+00:00','tts':"  \
  "false,'author':{'id':'4'},"
#define PART "'id':'1','channel_id':'2','guild_id':'3',"
#define PLAIN "'content':'hi','attachments':[],'components':[],'flags':0,'pinned':false,'embeds':[]"
#define EMPTY "'content':'','attachments':[],'components':[]"
#define EDITED(ms) "'edited_timestamp':'2026-08-20T14:04:02." ms "+00:00',"
#define FILE(query)                                                                                          \
  "'attachments':[{'id':'9','url':'https://cdn/a.png" query "','proxy_url':'https://m/a.png" query "'}]"

static const struct {
  const char *what, *seen, *then;
  bool passes;
} rows[] = {
    {"nothing", WHOLE PLAIN, WHOLE PLAIN, false},
    {"embeds: an unfurl", WHOLE PLAIN, WHOLE PLAIN ",'embeds':[{'url':'x'}]", false},
    {"embeds of an edited message, its time cut to ms", WHOLE EDITED("766195") PLAIN,
     WHOLE EDITED("766000") PLAIN ",'embeds':[{}]", false},
    {"an older time", WHOLE EDITED("766195") PLAIN, WHOLE EDITED("100000") PLAIN, false},
    {"nonce and tts, which updates do not have", WHOLE PLAIN ",'nonce':'5','tts':true", WHOLE PLAIN, false},
    {"the order of members", WHOLE "'a':1,'b':[2]," PLAIN, "'b':[2],'a':1," WHOLE PLAIN, false},
    {"empty members that were absent", WHOLE PLAIN, WHOLE PLAIN ",'poll':null,'mentions':[],'reactions':[]",
     false},
    {"signatures of URLs", WHOLE "'content':''," FILE("?ex=66a1&is=66a0&hm=0fbe&"),
     WHOLE "'content':''," FILE("?ex=77b1&is=77b0&hm=abcd&"), false},
    {"signatures before more of the query", WHOLE "'content':''," FILE("?ex=66a1&is=66a0&hm=0fbe&=&width=5"),
     WHOLE "'content':''," FILE("?ex=77b1&is=77b0&hm=abcd&=&width=5"), false},

    {"content", WHOLE PLAIN, WHOLE "'content':'ho','attachments':[]", true},
    {"a newer time alone", WHOLE PLAIN, WHOLE EDITED("766195") PLAIN, true},
    {"a bot's embeds, with a newer time", WHOLE EDITED("766195") PLAIN,
     WHOLE EDITED("767000") PLAIN ",'embeds':[{}]", true},
    {"a newer time without contents", WHOLE EMPTY, WHOLE EDITED("766195") EMPTY, true},
    {"a deferred reply: flags 128 to 0, an embed", WHOLE EMPTY ",'flags':128,'embeds':[]",
     WHOLE EMPTY ",'flags':0,'embeds':[{'title':'done'}]", true},
    {"components",
     WHOLE "'content':'','attachments':[],'components':[{'type':10,'content':'a'}],'flags':32768",
     WHOLE "'content':'','attachments':[],'components':[{'type':10,'content':'b'}],'flags':32768", true},
    {"a button that is disabled", WHOLE PLAIN ",'components':[{'type':1,'disabled':false}]",
     WHOLE PLAIN ",'components':[{'type':1,'disabled':true}]", true},
    {"an attachment added", WHOLE PLAIN, WHOLE PLAIN "," FILE(""), true},
    {"an attachment removed", WHOLE "'content':''," FILE("?ex=66a1&is=66a0&hm=0fbe&"),
     WHOLE "'content':'','attachments':[]", true},
    {"another file", WHOLE "'content':''," FILE("?ex=66a1&is=66a0&hm=0fbe&"),
     WHOLE "'content':'','attachments':[{'id':'10','url':'https://cdn/b.png?ex=66a1&is=66a0&hm=0fbe&'}]",
     true},
    {"the order of attachments", WHOLE "'content':'','attachments':[{'id':'1'},{'id':'2'}]",
     WHOLE "'content':'','attachments':[{'id':'2'},{'id':'1'}]", true},
    {"what only looks like a signature", WHOLE "'content':''," FILE("?ex=one"),
     WHOLE "'content':''," FILE("?ex=two"), true},
    {"a signature that somebody wrote", WHOLE "'content':'https://cdn/a?ex=1&','attachments':[]",
     WHOLE "'content':'https://cdn/a?ex=2&','attachments':[]", true},
    {"stickers", WHOLE PLAIN ",'sticker_items':[{'id':'1'}]", WHOLE PLAIN, true},
    {"pinned", WHOLE PLAIN, WHOLE PLAIN ",'pinned':true", true},
    {"no longer pinned", WHOLE "'content':'','attachments':[],'pinned':true",
     WHOLE "'content':'','attachments':[]", true},
    {"embeds suppressed", WHOLE "'content':'hi','attachments':[],'flags':0,'embeds':[{}]",
     WHOLE "'content':'hi','attachments':[],'flags':4,'embeds':[]", true},
    {"crossposted", WHOLE EMPTY ",'flags':0", WHOLE EMPTY ",'flags':1", true},
    {"a thread", WHOLE EMPTY, WHOLE EMPTY ",'flags':32,'thread':{'id':'1','name':'talk'}", true},
    {"the results of a poll", WHOLE EMPTY ",'poll':{'results':{'is_finalized':false}}",
     WHOLE EMPTY ",'poll':{'results':{'is_finalized':true}}", true},
    {"the snapshot of a forward", WHOLE EMPTY ",'message_snapshots':[{'message':{'content':'a'}}]",
     WHOLE EMPTY ",'message_snapshots':[{'message':{'content':'b'}}]", true},
    {"mentions", WHOLE PLAIN ",'mentions':[{'id':'1'}]", WHOLE PLAIN ",'mentions':[{'id':'2'}]", true},
    {"reactions", WHOLE PLAIN, WHOLE PLAIN ",'reactions':[{'count':1}]", true},
    {"a member of the future", WHOLE PLAIN, WHOLE PLAIN ",'hologram':7", true},
    {"its name in another place", WHOLE PLAIN ",'left':7", WHOLE PLAIN ",'right':7", true},

    {"part of it: embeds", WHOLE PLAIN, PART "'embeds':[{}]", false},
    {"part of it: what is known", WHOLE PLAIN ",'flags':4", PART "'content':'hi','flags':4,'pinned':false",
     false},
    {"part of it: flags", WHOLE PLAIN, PART "'flags':4", true},
    {"part of it: flags taken back", WHOLE "'content':'','attachments':[],'flags':4", PART "'flags':0", true},
    {"part of it: content", WHOLE PLAIN, PART "'content':'ho'", true},
    {"part of it: its time", WHOLE PLAIN, PART EDITED("766195") "'embeds':[]", true},
    {"all of it after a part", PART "'content':'hi'", WHOLE PLAIN, true},
};

/* Single quotes to double ones, in braces. */
static const char *json(char text[2048], const char *members)
{
  snprintf(text, 2048, "{%s}", members);
  for (char *at = text; *at; at++)
    if (*at == '\'')
      *at = '"';
  return text;
}

static void what_is_a_change(void **state)
{
  (void)state;
  char text[2048];
  int wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_message_cache *cache = tg_message_cache_new(64);
    store(cache, json(text, rows[i].seen));
    if (update(cache, json(text, rows[i].then)) != rows[i].passes) {
      print_error("%s: must %s\n", rows[i].what, rows[i].passes ? "pass" : "be dropped");
      wrong++;
    }
    if (update(cache, json(text, rows[i].then))) {
      print_error("%s: must be dropped the second time\n", rows[i].what);
      wrong++;
    }
    tg_message_cache_free(cache);
  }
  assert_int_equal(wrong, 0);
}

static void an_unknown_message_passes_once(void **state)
{
  (void)state;
  char text[2048];
  struct tg_message_cache *cache = tg_message_cache_new(64);
  assert_true(update(cache, json(text, WHOLE EMPTY)));
  assert_false(update(cache, json(text, WHOLE EMPTY ",'embeds':[{}]")));
  assert_true(update(cache, "{\"id\":\"2\",\"embeds\":[{}]}"));
  assert_false(update(cache, "{\"id\":\"2\",\"embeds\":[]}"));
  tg_message_cache_free(cache);
}

/* What a part leaves out is still known, and so is the newest time. */
static void remembers_over_parts(void **state)
{
  (void)state;
  char text[2048];
  struct tg_message_cache *cache = tg_message_cache_new(64);
  store(cache, json(text, WHOLE PLAIN));
  assert_true(update(cache, json(text, PART EDITED("766195") "'flags':4")));
  assert_false(update(cache, json(text, PART "'flags':4")));
  assert_false(update(cache, json(text, WHOLE EDITED("766000") PLAIN ",'flags':4")));
  assert_true(update(cache, json(text, WHOLE EDITED("766000") PLAIN)));
  tg_message_cache_free(cache);
}

static void memory_is_bounded(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(1024);
  char data[128];
  store(cache, "{\"id\":\"1\",\"content\":\"kept\"}");
  for (int i = 2; i < 100000; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"text %d\"}", i, i);
    store(cache, data);
  }
  int known = 0;
  for (int i = 99999 - 1024; i < 100000; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"text %d\"}", i, i);
    struct tg_message_facts facts = facts_of(data);
    known += !tg_message_cache_changed(cache, &facts);
  }
  assert_in_range(known, 700, 1024); /* most of the newest are known */
  struct tg_message_facts first = facts_of("{\"id\":\"1\",\"content\":\"kept\"}");
  assert_true(tg_message_cache_changed(cache, &first)); /* the oldest is not */
  tg_message_cache_free(cache);
}

static void what_is_used_stays(void **state)
{
  (void)state;
  struct tg_message_cache *cache = tg_message_cache_new(8); /* one set */
  char data[64];
  for (int i = 1; i <= 8; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\",\"content\":\"x\"}", i);
    store(cache, data);
  }
  store(cache, "{\"id\":\"1\",\"content\":\"x\"}");
  store(cache, "{\"id\":\"9\",\"content\":\"x\"}"); /* in place of 2 */
  assert_false(update(cache, "{\"id\":\"1\",\"content\":\"x\"}"));
  assert_false(update(cache, "{\"id\":\"3\",\"content\":\"x\"}"));
  assert_true(update(cache, "{\"id\":\"2\",\"content\":\"x\"}"));
  tg_message_cache_free(cache);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_a_change),     cmocka_unit_test(an_unknown_message_passes_once),
      cmocka_unit_test(remembers_over_parts), cmocka_unit_test(memory_is_bounded),
      cmocka_unit_test(what_is_used_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
