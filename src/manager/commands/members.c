#include "manager/commands/members.h"

#include "base/buf.h"
#include "base/log.h"
#include "manager/cluster/post.h"
#include "manager/commands/guild_shard.h"
#include "manager/commands/members_impl.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  IDS_PER_REQUEST = 100,
  RETRY_JITTER = 250,
  CHUNKS_MAX = 100000,
  ANSWERS_MAX = 512 << 20, /* bytes of all that are not over: some 250,000 members */
  JOIN_WITHIN = 10000,     /* ms: what Discord was asked so long ago is not asked again meanwhile */
  A_MOMENT = 100,          /* ms */
  BEHIND_MAX = 5000,       /* ms that a request waits for the answer to another one */
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

/* One after the other: whoever is told may ask for more. */
static void reply_error(struct tg_members_asker *askers, const char *guild_id, const char *code,
                        const char *text)
{
  while (askers) {
    struct tg_members_asker asker = *askers;
    free(askers);
    askers = asker.next;
    tg_reply_error(asker.reply, asker.ctx, code, "members of guild %s: %s", guild_id, text);
  }
}

static void fail(struct tg_members_request *request, const char *code, const char *text)
{
  struct tg_members_asker *askers = request->askers;
  char guild_id[sizeof request->guild_id];
  memcpy(guild_id, request->guild_id, sizeof guild_id);
  release(request);
  reply_error(askers, guild_id, code, text);
}

/* Those whose time ends before `at`; with the last of them the request is over. False: it is. */
static bool fail_before(struct tg_members_request *request, tg_ms at, const char *code, const char *text)
{
  struct tg_members_asker *late = NULL, **last = &late, **link = &request->askers;
  char guild_id[sizeof request->guild_id];
  memcpy(guild_id, request->guild_id, sizeof guild_id);
  while (*link) {
    struct tg_members_asker *asker = *link;
    if (asker->deadline >= at) {
      link = &asker->next;
      continue;
    }
    *link = asker->next;
    asker->next = NULL;
    *last = asker;
    last = &asker->next;
  }
  bool goes_on = request->askers != NULL;
  if (!goes_on)
    release(request);
  reply_error(late, guild_id, code, text);
  return goes_on;
}

static void succeed(struct tg_members_request *request)
{
  struct tg_members_asker *askers = request->askers;
  json_t *result = json_pack("{s:O, s:O}", "members", request->members, "not_found", request->not_found);
  if (request->presences)
    json_object_set(result, "presences", request->found_presences);
  release(request);
  while (askers) {
    struct tg_members_asker asker = *askers;
    free(askers);
    askers = asker.next;
    tg_reply_value(asker.reply, asker.ctx, json_incref(result));
  }
  json_decref(result);
}

static tg_ms deadline_of(const struct tg_members_request *request)
{
  tg_ms deadline = 0;
  for (const struct tg_members_asker *asker = request->askers; asker; asker = asker->next)
    deadline = asker->deadline > deadline ? asker->deadline : deadline;
  return deadline;
}

/* ---- what Discord asks to wait with ---- */

static void wait_until(struct tg_members_request *request, tg_ms until)
{
  request->retry_at = until + (tg_ms)tg_random(RETRY_JITTER);
  fail_before(request, request->retry_at, "rate_limited",
              "Discord asks to wait longer than the time that is left");
}

/* Of those that had to wait one goes first: Discord may have the next ones wait again. */
static bool is_behind(const struct tg_members_request *request, tg_ms now)
{
  for (const struct tg_members_request *other = request->all->list; other; other = other->next)
    if (other != request && !other->retry_at && !other->seen && now - other->part_at < BEHIND_MAX &&
        tg_members_asks_all(other) == tg_members_asks_all(request) &&
        strcmp(other->guild_id, request->guild_id) == 0)
      return true;
  return false;
}

/* ---- sending ---- */

struct members_part {
  struct tg_members *members;
  char nonce[TG_MEMBERS_NONCE_SIZE];
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
  if (!request)
    return;
  request->sent = true;
  if (!error)
    return;
  bool in_time = strcmp(error->code, "timeout") == 0; /* of those who had asked when it was to be sent */
  if (!in_time)
    fail(request, error->code, error->message);
  else if (fail_before(request, tg_now() + A_MOMENT, error->code, error->message))
    send_part(request);
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
  tg_ms until = tg_members_limited_until(request), deadline = deadline_of(request);
  if (until) {
    wait_until(request, until);
    return;
  }
  request->part_at = tg_now();
  if (request->done == 0)
    request->began = request->part_at;
  request->forward_until = deadline + JOIN_WITHIN; /* of those who may join */
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
  struct tg_send_options options = {.timeout = deadline - request->part_at,
                                    .priority = TG_SEND_NORMAL,
                                    .forward_until = request->forward_until};
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
    if (waits && (!all || tg_members_asks_all(request)) &&
        (!guild_id || strcmp(request->guild_id, guild_id) == 0))
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
  tg_members_note_limit(request, tg_now() + wait);
  tg_log_with(TG_INFO, tg_ref_id(request->ref), TG_WITH(TG_NUMBER(DELAY, wait)),
              "members of guild %s: Discord asks to wait", request->guild_id);
  wait_until(request, tg_now() + wait);
}

/* ---- time and death ---- */

/* NULL: for none. */
static struct tg_members_request *find_due(struct tg_members *members, tg_ms now)
{
  struct tg_members_request *request = members->list;
  while (request && (!request->retry_at || now < request->retry_at || is_behind(request, now)))
    request = request->next;
  return request;
}

static struct tg_members_request *find_late(struct tg_members *members, tg_ms now)
{
  for (struct tg_members_request *request = members->list; request; request = request->next)
    for (const struct tg_members_asker *asker = request->askers; asker; asker = asker->next)
      if (asker->deadline <= now)
        return request;
  return NULL;
}

/* Whoever is told may change the list. */
void tg_members_tick(struct tg_members *members, tg_ms now)
{
  struct tg_members_request *request;
  tg_members_forget_limits(members, now);
  while ((request = find_late(members, now)))
    fail_before(request, now + 1, "timeout", "not all answers came in time");
  while ((request = find_due(members, now)))
    send_part(request);
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

static bool is_equal(const struct tg_members_request *a, const struct tg_members_request *b)
{
  return a->ref == b->ref && strcmp(a->guild_id, b->guild_id) == 0 && a->limit == b->limit &&
         a->presences == b->presences && !a->query == !b->query &&
         (!a->query || strcmp(a->query, b->query) == 0) && json_equal(a->ids, b->ids);
}

/* One that is under way, and whose answer will be as good, and come as far as its time goes; NULL: none. */
static struct tg_members_request *find_equal(const struct tg_members_request *request)
{
  tg_ms now = tg_now(), deadline = request->askers->deadline;
  for (struct tg_members_request *other = request->next; other; other = other->next) {
    bool unasked = other->retry_at && other->done == 0;
    if ((unasked || (now - other->began <= JOIN_WITHIN && deadline <= other->forward_until)) &&
        is_equal(request, other))
      return other;
  }
  return NULL;
}

static void join(struct tg_members_request *request, struct tg_members_request *other)
{
  struct tg_members_asker **last = &other->askers;
  while (*last)
    last = &(*last)->next;
  *last = request->askers;
  release(request);
  if (other->retry_at) /* the new one may have less time than there is to wait */
    fail_before(other, other->retry_at, "rate_limited",
                "Discord asks to wait longer than the time that is left");
}

static struct tg_members_request *new_request(struct tg_members *members, tg_shard_ref ref, uint64_t guild_id,
                                              tg_manager_reply *reply, void *ctx)
{
  struct tg_members_request *request = tg_calloc(1, sizeof *request);
  *request = (struct tg_members_request){.next = members->list,
                                         .all = members,
                                         .askers = tg_calloc(1, sizeof *request->askers),
                                         .ref = ref,
                                         .ids = json_array(),
                                         .members = json_array(),
                                         .not_found = json_array(),
                                         .found_presences = json_array()};
  *request->askers = (struct tg_members_asker){.reply = reply, .ctx = ctx};
  snprintf(request->guild_id, sizeof request->guild_id, "%" PRIu64, guild_id);
  members->list = request;
  return request;
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
                                  tg_members_patience(options), reply, ctx))
    return;
  struct tg_members_request *request = new_request(members, shard->ref, guild_id, reply, ctx), *other;
  if (!tg_members_read(&args, options, request)) {
    free(request->askers);
    release(request);
  } else if ((other = find_equal(request))) {
    join(request, other);
  } else {
    send_part(request);
  }
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
  tg_members_forget_limits(members, INT64_MAX);
  free(members);
}
