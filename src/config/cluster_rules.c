#include "config/cluster_rules.h"

#include "base/address.h"
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MAX_LENGTH = 64, HOST_NAME_SIZE = 256 };

/* They stand in keys of Redis, and the cluster's between braces. */
const char *tg_check_cluster_name(const char *text)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  size_t length = strlen(text);
  if (length == 0 || length > NAME_MAX_LENGTH || strspn(text, letters) < length)
    return "expected up to 64 letters, digits, dots, _ and -";
  return NULL;
}

const char *tg_check_cluster_url(const char *text)
{
  const char *next = strpbrk(text, ", ");
  if (next && strstr(next, "://"))
    return "holds more than one URL, but the hosts meet in one Redis; expected the address that leads to its "
           "master";
  return tg_check_redis_url(text);
}

const char *tg_cluster_instead_of(const char *name)
{
  if (strcmp(name, "identify") != 0 && strcmp(name, "TIDEGATE_IDENTIFY_URL") != 0)
    return NULL;
  return "there is no broker of identifies any more: gateway hosts share the shards of a bot, and its "
         "identifies, "
         "by a cluster. Set cluster.url, or TIDEGATE_CLUSTER, on each of them to the same Redis, and leave "
         "first_shard_id and last_shard_id out";
}

static void check_before(const char *(*env)(const char *name), struct tg_problems *problems)
{
  static const char name[] = "TIDEGATE_IDENTIFY_URL";
  const char *value = env(name);
  if (value && *value)
    tg_problem_add(problems, "%s: %s", name, tg_cluster_instead_of(name));
}

static void fill_host(struct tg_config *config, struct tg_problems *problems)
{
  char name[HOST_NAME_SIZE] = "";
  if (config->cluster.host || tg_problem_is_with(problems, "cluster.host"))
    return;
  gethostname(name, sizeof name - 1);
  if (!tg_check_cluster_name(name))
    config->cluster.host = tg_strdup(name);
  else
    tg_problem_add(
        problems,
        "cluster.host: the name of this machine, \"%.80s\", is none for a host of the cluster, which "
        "has up to 64 letters, digits, dots, _ and -; set cluster.host, or TIDEGATE_CLUSTER_HOST",
        name);
}

/* Without its URL a host would run all shards of the bot beside those that others run. */
static void check_alone(const json_t *given, const char *(*env)(const char *name),
                        struct tg_problems *problems)
{
  static const char *const keys[][2] = {{"name", "TIDEGATE_CLUSTER_NAME"}, {"host", "TIDEGATE_CLUSTER_HOST"}};
  if (tg_problem_is_with(problems, "cluster.url"))
    return;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    struct tg_buf path = {0};
    tg_buf_printf(&path, "cluster.%s", keys[i][0]);
    const char *value = env(keys[i][1]);
    if (tg_schema_find(given, path.data) || (value && *value))
      tg_problem_add(problems,
                     "%s: is set, but cluster.url is not, so that this host would run all shards by itself; "
                     "set cluster.url, or TIDEGATE_CLUSTER, or leave %s out",
                     path.data, path.data);
    tg_buf_free(&path);
  }
}

static void check_range(const struct tg_config *config, struct tg_problems *problems)
{
  int first = config->first_shard_id, last = config->last_shard_id;
  const char *key = first > 0 ? "first_shard_id"
                    : last >= 0 && (config->total_shards == 0 || last < config->total_shards - 1)
                        ? "last_shard_id"
                        : NULL;
  if (key)
    tg_problem_add(problems,
                   "%s: cannot stand beside cluster.url: the hosts of a cluster share all shards by "
                   "themselves; leave first_shard_id and last_shard_id out, or cluster",
                   key);
}

void tg_finish_cluster(const json_t *given, const char *(*env)(const char *name), struct tg_config *config,
                       struct tg_problems *problems)
{
  check_before(env, problems);
  if (!config->cluster.url) {
    check_alone(given, env, problems);
    return;
  }
  if (!config->cluster.name)
    config->cluster.name = tg_strdup("bot");
  fill_host(config, problems);
  check_range(config, problems);
  if (config->queue.durability != TG_DURABILITY_LOG)
    tg_problem_add(problems, "queue.durability: must be \"log\" beside cluster.url: what a host has not "
                             "delivered when another one takes over its shards is on its disk alone");
}
