#include "manager/cluster/redis_facts.h"

#include <stdio.h>
#include <string.h>

/* The value of a line "name:value". */
static void read_fact(struct tg_span info, const char *name, char *value, size_t size)
{
  size_t length = strlen(name);
  const char *at = info.at, *end = info.at + info.length;
  while (at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    line_end = line_end ? line_end : end;
    if ((size_t)(line_end - at) > length && memcmp(at, name, length) == 0 && at[length] == ':') {
      at += length + 1;
      size_t count = 0;
      while (at + count < line_end && at[count] != '\r')
        count++;
      if (count < size)
        snprintf(value, size, "%.*s", (int)count, at);
      return;
    }
    at = line_end + 1;
  }
}

void tg_redis_facts_read(struct tg_span info, struct tg_redis_facts *facts)
{
  char role[16] = "";
  memset(facts, 0, sizeof *facts);
  if (!info.at)
    return;
  read_fact(info, "run_id", facts->run_id, sizeof facts->run_id);
  read_fact(info, "maxmemory_policy", facts->policy, sizeof facts->policy);
  read_fact(info, "role", role, sizeof role);
  facts->is_replica = strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0;
}

bool tg_redis_facts_check(const struct tg_redis_facts *facts, const char *name, struct tg_error *error)
{
  if (!facts->run_id[0])
    return tg_fail(error, "protocol", "Redis at %.400s does not say its run_id (INFO)", name);
  if (facts->is_replica)
    return tg_fail(error, "readonly", "Redis at %.400s is a replica; the URL has to lead to the master",
                   name);
  if (strncmp(facts->policy, "allkeys-", 8) == 0)
    return tg_fail(
        error, "eviction",
        "Redis at %.400s has the maxmemory-policy \"%s\", by which it may throw away which host has "
        "which shard: set it to \"noeviction\"",
        name, facts->policy);
  return true;
}

bool tg_redis_facts_are_doubtful(const struct tg_redis_facts *facts)
{
  return strncmp(facts->policy, "volatile-", 9) == 0;
}
