#include "manager/commands/members.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/suggest.h"
#include "manager/arguments.h"
#include "manager/cluster/post.h"
#include "manager/commands/guild_shard.h"
#include "proto/intents.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  IDS_PER_REQUEST = 100,
  TIMEOUT = 60000, /* ms for the whole; RATE_LIMITED may cost 30 s of it */
  TIMEOUT_MAX = 600000,
  RETRY_JITTER = 250,
  CHUNKS_MAX = 100000,
  ANSWERS_MAX = 512 << 20, /* bytes of all that are not over: some 250,000 members */
  NONCE_SIZE = 33,         /* 32 bytes are allowed */
};

struct tg_members_request {
  struct tg_members_request *next;
  struct tg_members *all;
  tg_shard_ref ref;
  char guild_id[24];
  char *query;  /* NULL: by ids */
  json_t *ids;  /* strings */
  size_t done;  /* ids of earlier parts */
  size_t asked; /* ids of this part */
  int limit;
  bool presences;
  tg_ms deadline;
  tg_ms retry_at; /* after RATE_LIMITED; 0: a part is under way */
  bool sent;      /* that part, by its shard */
  char nonce[NONCE_SIZE];
  bool *seen; /* chunks of this part */
  int chunk_count, chunks_seen;
  size_t bytes; /* of the answers so far */
  json_t *members, *not_found, *found_presences;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_members {
  const struct tg_manager_env *env;
  struct tg_sendings *sendings;
  struct tg_members_request *list;
  uint64_t nonces;
};

static void send_part(struct tg_members_request *request);

/* ---- the end ---- */

static void release(struct tg_members_request *request)
{
  struct tg_members_request **at = &request->all->list;
  while (*at != request)
    at = &(*at)->next;
  *at = request->next;
  free(request->query);
  free(request->seen);
  json_decref(request->ids);
  json_decref(request->members);
  json_decref(request->not_found);
  json_decref(request->found_presences);
  free(request);
}

static void fail(struct tg_members_request *request, const char *code, const char *text)
{
  tg_manager_reply *reply = request->reply;
  void *ctx = request->ctx;
  char guild_id[sizeof request->guild_id];
  memcpy(guild_id, request->guild_id, sizeof guild_id);
  release(request);
  tg_reply_error(reply, ctx, code, "members of guild %s: %s", guild_id, text);
}

static void succeed(struct tg_members_request *request)
{
  tg_manager_reply *reply = request->reply;
  void *ctx = request->ctx;
  json_t *result = json_pack("{s:O, s:O}", "members", request->members, "not_found", request->not_found);
  if (request->presences)
    json_object_set(result, "presences", request->found_presences);
  release(request);
  tg_reply_value(reply, ctx, result);
}

/* ---- sending ---- */

struct members_part {
  struct tg_members *members;
  char nonce[NONCE_SIZE];
};

static struct tg_members_request *find(struct tg_members *members, const char *nonce)
{
  struct tg_members_request *request = members->list;
  while (request && (!nonce || strcmp(request->nonce, nonce) != 0))
    request = request->next;
  return request;
}

static void on_part_sent(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct members_part part = *(struct members_part *)ctx;
  free(ctx);
  struct tg_members_request *request = find(part.members, part.nonce);
  if (request)
    request->sent = true;
  if (request && error)
    fail(request, error->code, error->message);
}

static json_t *make_payload(struct tg_members_request *request)
{
  json_t *d = json_pack("{s:s, s:i, s:s}", "guild_id", request->guild_id, "limit", request->limit, "nonce",
                        request->nonce);
  if (request->presences)
    json_object_set_new(d, "presences", json_true());
  if (request->query) {
    json_object_set_new(d, "query", json_string(request->query));
  } else {
    json_t *ids = json_array();
    for (size_t i = 0; i < request->asked; i++)
      json_array_append(ids, json_array_get(request->ids, request->done + i));
    json_object_set_new(d, "user_ids", ids);
    json_object_set_new(d, "limit", json_integer((json_int_t)request->asked));
  }
  return json_pack("{s:i, s:o}", "op", TG_OP_REQUEST_GUILD_MEMBERS, "d", d);
}

static void send_part(struct tg_members_request *request)
{
  struct tg_members *members = request->all;
  size_t left = json_array_size(request->ids) - request->done;
  request->asked = left < IDS_PER_REQUEST ? left : IDS_PER_REQUEST;
  request->retry_at = 0;
  request->sent = false;
  request->chunk_count = request->chunks_seen = 0;
  free(request->seen);
  request->seen = NULL;
  /* Unlike any other of this bot, also of an earlier run: chunks may be replayed. */
  snprintf(request->nonce, sizeof request->nonce, "%" PRIx64 "-%" PRIx64, ++members->nonces,
           tg_random(UINT64_MAX));
  struct members_part *part = tg_alloc(sizeof *part);
  part->members = members;
  memcpy(part->nonce, request->nonce, sizeof part->nonce);
  struct tg_send_options options = {.timeout = request->deadline - tg_now(),
                                    .priority = TG_SEND_NORMAL,
                                    .forward_until = request->deadline};
  tg_send_command(members->sendings, tg_shard_of_ref(members->env, request->ref), make_payload(request),
                  &options, on_part_sent, part);
}

/* ---- answers ---- */

static void take_all(json_t *into, const json_t *from)
{
  if (json_is_array(from))
    json_array_extend(into, (json_t *)from);
}

/* Bytes in memory, about. */
static size_t weight_of(const json_t *value)
{
  enum { A_VALUE = 64 };
  size_t weight = A_VALUE, index;
  const char *key;
  json_t *part;
  if (json_is_string(value))
    return weight + json_string_length(value);
  json_array_foreach(value, index, part) weight += weight_of(part);
  json_object_foreach((json_t *)value, key, part) weight += A_VALUE + strlen(key) + weight_of(part);
  return weight;
}

/* What Discord sends is kept until the last of it is there. */
static bool has_room(const struct tg_members *members, struct tg_members_request *request, const json_t *data)
{
  size_t all = 0;
  request->bytes += weight_of(data);
  for (const struct tg_members_request *each = members->list; each; each = each->next)
    all += each->bytes;
  return all <= ANSWERS_MAX;
}

void tg_members_chunk(struct tg_members *members, const json_t *data)
{
  struct tg_members_request *request = find(members, json_string_value(json_object_get(data, "nonce")));
  if (!request)
    return;
  json_int_t index = json_integer_value(json_object_get(data, "chunk_index"));
  json_int_t count = json_integer_value(json_object_get(data, "chunk_count"));
  if (count < 1 || count > CHUNKS_MAX || index < 0 || index >= count ||
      (request->seen && count != request->chunk_count)) {
    fail(request, "bad_answer", "Discord's chunks contradict each other");
    return;
  }
  if (!request->seen) {
    request->seen = tg_calloc((size_t)count, sizeof *request->seen);
    request->chunk_count = (int)count;
  }
  if (request->seen[index])
    return; /* replayed after a RESUME */
  if (!has_room(members, request, data)) {
    fail(request, "too_large", "the answers of all requests take over 512 MiB: ask for fewer at a time");
    return;
  }
  request->seen[index] = true;
  request->chunks_seen++;
  take_all(request->members, json_object_get(data, "members"));
  take_all(request->not_found, json_object_get(data, "not_found"));
  take_all(request->found_presences, json_object_get(data, "presences"));
  if (request->chunks_seen < request->chunk_count)
    return;
  request->done += request->asked;
  if (request->done < json_array_size(request->ids))
    send_part(request);
  else
    succeed(request);
}

/* One that waits for the answer to what it has sent, of the guild (NULL: of any);
 * `all`: for all members, which is what Discord limits. */
static struct tg_members_request *find_unanswered(struct tg_members *members, tg_shard_ref ref,
                                                  const char *guild_id, bool all)
{
  struct tg_members_request *request = members->list;
  while (request) {
    bool waits = request->ref == ref && request->sent && !request->retry_at && !request->seen;
    bool asks_all = request->query && !request->query[0] && request->limit == 0;
    if (waits && (!all || asks_all) && (!guild_id || strcmp(request->guild_id, guild_id) == 0))
      break;
    request = request->next;
  }
  return request;
}

/* It may mean the commands of others; but who waits on after it may wait in vain. */
static void limited_without_nonce(struct tg_members *members, tg_shard_ref ref, const json_t *data)
{
  const json_t *opcode = json_object_get(data, "opcode"), *meta = json_object_get(data, "meta");
  const char *guild_id = json_string_value(json_object_get(meta, "guild_id"));
  if (opcode && json_integer_value(opcode) != TG_OP_REQUEST_GUILD_MEMBERS)
    return;
  struct tg_members_request *request;
  bool all = find_unanswered(members, ref, guild_id, true) != NULL;
  while ((request = find_unanswered(members, ref, guild_id, all)))
    fail(request, "rate_limited", "Discord asks to wait, and does not say for which request");
}

void tg_members_limited(struct tg_members *members, tg_shard_ref ref, const json_t *data)
{
  const json_t *nonce = json_object_get(json_object_get(data, "meta"), "nonce");
  if (!json_is_string(nonce)) {
    limited_without_nonce(members, ref, data);
    return;
  }
  struct tg_members_request *request = find(members, json_string_value(nonce));
  if (!request)
    return;
  double seconds = json_number_value(json_object_get(data, "retry_after"));
  tg_ms wait = seconds > 0 && seconds < 3600 ? (tg_ms)(seconds * 1000) + 1 : 30000;
  request->retry_at = tg_now() + wait + (tg_ms)tg_random(RETRY_JITTER);
  tg_log_with(TG_INFO, tg_ref_id(request->ref), TG_WITH(TG_NUMBER(DELAY, wait)),
              "members of guild %s: Discord asks to wait", request->guild_id);
  if (request->retry_at > request->deadline)
    fail(request, "rate_limited", "Discord asks to wait longer than the time that is left");
}

/* ---- time and death ---- */

void tg_members_tick(struct tg_members *members, tg_ms now)
{
  struct tg_members_request *request = members->list;
  while (request) {
    bool late = now >= request->deadline;
    if (!late && (!request->retry_at || now < request->retry_at)) {
      request = request->next;
      continue;
    }
    if (late)
      fail(request, "timeout", "not all answers came in time");
    else
      send_part(request);
    request = members->list; /* whoever was told may have changed the list */
  }
}

void tg_members_worker_gone(struct tg_members *members, int worker)
{
  struct tg_members_request *request = members->list;
  while (request) {
    const struct tg_managed_shard *shard = tg_shard_of_ref(members->env, request->ref);
    if (shard && shard->worker_id == worker && request->sent && !request->retry_at) {
      fail(request, "closed", "the worker of its shard has ended");
      request = members->list;
    } else {
      request = request->next;
    }
  }
}

void tg_members_set_over(struct tg_members *members, const struct tg_shard_set *set)
{
  struct tg_members_request *request = members->list;
  while (request) {
    bool over = tg_ref_side(request->ref) == set->side;
    if (over)
      fail(request, "closed", "its shard is over: there is another number of them now");
    request = over ? members->list : request->next;
  }
}

void tg_members_left(struct tg_members *members, const struct tg_managed_shard *shard)
{
  struct tg_members_request *request = members->list;
  while (request) {
    bool over = request->ref == shard->ref;
    if (over)
      fail(request, "moved", "its shard has gone to another host of the cluster; ask again");
    request = over ? members->list : request->next;
  }
}

bool tg_members_await(const struct tg_members *members, int side, int classes, int number)
{
  for (const struct tg_members_request *request = members->list; request; request = request->next) {
    uint64_t guild_id = strtoull(request->guild_id, NULL, 10);
    if (tg_ref_side(request->ref) == side && tg_shard_of_guild(guild_id, classes) == number)
      return true;
  }
  return false;
}

void tg_members_end(struct tg_members *members)
{
  while (members->list)
    fail(members->list, "stopping", "the gateway is stopping");
}

/* ---- the method ---- */

static bool check_names(const struct tg_args *args, const json_t *options)
{
  static const char *const names[] = {"query", "limit", "presences", "user_ids", "timeout"};
  enum { COUNT = sizeof names / sizeof *names };
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)options, key, value)
  {
    size_t i = 0;
    while (i < COUNT && strcmp(key, names[i]) != 0)
      i++;
    if (i < COUNT)
      continue;
    const char *like = tg_suggest(key, names, COUNT);
    tg_arg_bad(args, "there is no option \"%s\"%s%s%s", key, like ? "; did you mean \"" : "",
               like ? like : "", like ? "\"?" : "");
    return false;
  }
  return true;
}

static bool read_ids(const struct tg_args *args, const json_t *given, json_t *ids)
{
  size_t count = json_is_array(given) ? json_array_size(given) : 1;
  for (size_t i = 0; i < count; i++) {
    uint64_t id;
    char text[24];
    if (!tg_read_id(json_is_array(given) ? json_array_get(given, i) : given, &id)) {
      tg_arg_bad(args, "user_ids[%zu] has to be an id as a string of digits", i + 1);
      return false;
    }
    snprintf(text, sizeof text, "%" PRIu64, id);
    json_array_append_new(ids, json_string(text));
  }
  if (count == 0)
    tg_arg_bad(args, "user_ids is empty");
  return count > 0;
}

static bool read_number(const struct tg_args *args, const json_t *options, const char *name, int low,
                        int high, int *number)
{
  const json_t *given = json_object_get(options, name);
  if (!given)
    return true;
  *number = (int)json_number_value(given);
  if (json_is_number(given) && json_number_value(given) >= low && json_number_value(given) <= high)
    return true;
  tg_arg_bad(args, "%s has to be a number from %d to %d", name, low, high);
  return false;
}

/* Fills what the options say. */
static bool read_options(const struct tg_args *args, struct tg_members *members, const json_t *options,
                         struct tg_members_request *request)
{
  const json_t *query = json_object_get(options, "query"), *ids = json_object_get(options, "user_ids");
  const json_t *presences = json_object_get(options, "presences");
  const char *text = query ? json_string_value(query) : "";
  int timeout = TIMEOUT;
  if (!check_names(args, options) || (ids && !read_ids(args, ids, request->ids)))
    return false;
  if (query && (ids || !text)) {
    tg_arg_bad(args, ids ? "give query or user_ids, not both" : "query has to be a string");
    return false;
  }
  request->limit = text && text[0] ? 100 : 0;
  if (!read_number(args, options, "limit", 0, 100000, &request->limit) ||
      !read_number(args, options, "timeout", 1000, TIMEOUT_MAX, &timeout))
    return false;
  request->deadline = tg_now() + timeout;
  request->presences = json_is_true(presences);
  const struct tg_shard_row *row = tg_shard_row_of(tg_shard_of_ref(members->env, request->ref));
  uint64_t missing = atomic_load(&row->missing_intents), intents = members->env->config->intents & ~missing;
  if (!ids)
    request->query = tg_strdup(text);
  /* Discord would not answer at all. */
  if (!ids && !text[0] && request->limit == 0 && !(intents & TG_INTENT_GUILD_MEMBERS))
    tg_arg_bad(args, missing & TG_INTENT_GUILD_MEMBERS
                         ? "Discord has refused the intent guild_members, which all members of a guild need"
                         : "all members of a guild need the intent guild_members");
  else if (presences && !json_is_boolean(presences))
    tg_arg_bad(args, "presences has to be true or false");
  else if (request->presences && !(intents & TG_INTENT_GUILD_PRESENCES))
    tg_arg_bad(args, missing & TG_INTENT_GUILD_PRESENCES
                         ? "Discord has refused the intent guild_presences, which presences need"
                         : "presences need the intent guild_presences");
  else
    return true;
  return false;
}

/* Of another host, which looks at what it is. */
static tg_ms patience_of(const json_t *options)
{
  double timeout = json_number_value(json_object_get(options, "timeout"));
  return timeout >= 1000 && timeout <= TIMEOUT_MAX ? (tg_ms)timeout : TIMEOUT;
}

static void members_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_members *members = room;
  struct tg_args args = {list, "request_members", reply, ctx};
  uint64_t guild_id;
  const json_t *options;
  if (!tg_arg_id(&args, 0, "guild_id", &guild_id) || !tg_arg_options(&args, 1, &options))
    return;
  struct tg_managed_shard *shard = tg_guild_shard(members->env, &args, guild_id);
  if (!shard || tg_post_elsewhere(members->env->post, shard, TG_METHOD_manager_request_members, list,
                                  patience_of(options), reply, ctx))
    return;
  struct tg_members_request *request = tg_calloc(1, sizeof *request);
  *request = (struct tg_members_request){.next = members->list,
                                         .all = members,
                                         .ref = shard->ref,
                                         .ids = json_array(),
                                         .members = json_array(),
                                         .not_found = json_array(),
                                         .found_presences = json_array(),
                                         .reply = reply,
                                         .ctx = ctx};
  members->list = request;
  snprintf(request->guild_id, sizeof request->guild_id, "%" PRIu64, guild_id);
  if (read_options(&args, members, options, request))
    send_part(request);
  else
    release(request);
}

/* ---- life ---- */

struct tg_members *tg_members_new(const struct tg_manager_env *env, struct tg_sendings *sendings)
{
  static const struct tg_default defaults[] = {{TG_METHOD_manager_request_members, members_default}};
  struct tg_members *members = tg_calloc(1, sizeof *members);
  *members = (struct tg_members){.env = env, .sendings = sendings};
  tg_calls_offer(env->calls, defaults, 1, members);
  return members;
}

void tg_members_free(struct tg_members *members)
{
  free(members);
}
