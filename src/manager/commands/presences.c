#include "manager/commands/presences.h"

#include "base/buf.h"
#include "base/log.h"
#include "manager/arguments.h"
#include "manager/commands/ask_worker.h"
#include "manager/commands/gathering.h"
#include "proto/presence.h"

#include <stdlib.h>
#include <string.h>

enum {
  TIMEOUT = 60000,      /* ms it waits for READY and the send budget; five are allowed in 20 s */
  ANSWER_MARGIN = 5000, /* ms more for the worker's answer */
};

struct tg_presences {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  struct tg_shared_presences *shared; /* NULL: there is no cluster */
  json_t *of_bot;                     /* d of op 3; NULL: as configured */
  struct presences_of_set {
    int count;
    struct presence {
      json_t *own; /* NULL: as the whole bot */
      bool due;    /* was changed while the shard did not run */
    } * list;      /* by place */
  } of_sets[TG_SIDES];
};

static struct presence *presence_of(struct tg_presences *presences, const struct tg_managed_shard *shard)
{
  return &presences->of_sets[shard->set->side].list[shard - shard->set->list];
}

static struct tg_message presence_message(struct tg_presences *presences,
                                          const struct tg_managed_shard *shard, bool fresh)
{
  json_t *own = presence_of(presences, shard)->own;
  return (struct tg_message){.type = TG_MESSAGE_set_presence,
                             .set_presence = {shard->ref, own ? own : presences->of_bot, fresh}};
}

struct presence_setting {
  struct tg_presences *presences;
  tg_shard_ref ref;
  tg_manager_reply *reply;
  void *ctx;
};

/* It is kept: without its worker the shard gets it when it is started again. */
static void on_set(void *ctx, json_t *value, const struct tg_error *error)
{
  struct presence_setting setting = *(struct presence_setting *)ctx;
  free(ctx);
  struct tg_presences *presences = setting.presences;
  bool died = error && (strcmp(error->code, "closed") == 0 || strcmp(error->code, "worker_down") == 0);
  const struct tg_managed_shard *shard = tg_shard_of_ref(presences->env, setting.ref);
  if (died && !presences->env->stopping) {
    if (shard)
      presence_of(presences, shard)->due = true;
    tg_reply_value(setting.reply, setting.ctx, json_true());
  } else {
    setting.reply(setting.ctx, value, error);
  }
}

static void set_presence(struct tg_presences *presences, const struct tg_managed_shard *shard,
                         tg_manager_reply *reply, void *ctx)
{
  struct presence_setting *setting = tg_alloc(sizeof *setting);
  *setting = (struct presence_setting){presences, shard->ref, reply, ctx};
  const struct tg_message message = presence_message(presences, shard, true);
  tg_ask_worker(presences->workers, presences->env, shard, &message, TIMEOUT + ANSWER_MARGIN, on_set,
                setting);
}

void tg_presences_restore(struct tg_presences *presences, const struct tg_managed_shard *shard)
{
  struct presence *presence = presence_of(presences, shard);
  const struct tg_message message = presence_message(presences, shard, presence->due);
  if (presence->own || presences->of_bot || presence->due)
    tg_message_send(tg_workers_line(presences->workers, shard->worker_id), &message);
  presence->due = false;
}

/* nil: back to the configured one. */
static bool read_presence(const struct tg_args *args, size_t index, json_t **presence)
{
  const json_t *given = json_array_get(args->list, index);
  struct tg_presence_fault fault;
  *presence = NULL;
  if (!given || json_is_null(given))
    return true;
  *presence = tg_presence_normalise(given, &fault);
  if (!*presence)
    tg_arg_bad(args, "argument %zu: presence%s %s", index + 1, fault.path, fault.text);
  return *presence != NULL;
}

/* Steals `presence`; NULL: back to the other one. True: its worker has to be told. */
static bool keep(struct tg_presences *presences, const struct tg_managed_shard *shard, json_t *presence)
{
  struct presence *kept = presence_of(presences, shard);
  json_decref(kept->own);
  kept->own = presence;
  kept->due = !shard->told; /* then it gets it with its start */
  return shard->told;
}

/* Steals `presence`. */
static void set_of_bot(struct tg_presences *presences, json_t *presence, struct tg_gathering *gathering)
{
  json_decref(presences->of_bot);
  presences->of_bot = presence;
  for (int i = 0; i < tg_all_shards(presences->env); i++) {
    const struct tg_managed_shard *shard = tg_any_shard(presences->env, i);
    if (keep(presences, shard, NULL))
      set_presence(presences, shard, tg_gather_part, tg_gather_add(gathering));
  }
}

static void bot_status_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_presences *presences = room;
  struct tg_args args = {list, "edit_bot_status", reply, ctx};
  json_t *presence;
  if (!read_presence(&args, 0, &presence))
    return;
  if (presences->shared) {
    tg_shared_presences_set(presences->shared, TG_ALL_SHARDS, presence, reply, ctx);
    json_decref(presence);
    return;
  }
  struct tg_gathering *gathering = tg_gather(reply, ctx);
  set_of_bot(presences, presence, gathering);
  tg_gather_part(gathering, NULL, NULL);
}

/* A shard of the set to come has the presence of the one that had its guilds, or at
 * least its number. */
static bool inherits(const struct tg_managed_shard *heir, const struct tg_managed_shard *shard)
{
  return heir->id % shard->set->range.total == shard->id;
}

/* Steals `presence`. */
static void set_of_shard(struct tg_presences *presences, const struct tg_managed_shard *shard,
                         json_t *presence, struct tg_gathering *gathering)
{
  if (keep(presences, shard, presence))
    set_presence(presences, shard, tg_gather_part, tg_gather_add(gathering));
  for (int i = 0; i < presences->env->next.count; i++) {
    const struct tg_managed_shard *heir = &presences->env->next.list[i];
    if (inherits(heir, shard) && keep(presences, heir, json_incref(presence)))
      set_presence(presences, heir, tg_gather_part, tg_gather_add(gathering));
  }
}

static void shard_status_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_presences *presences = room;
  struct tg_args args = {list, "edit_shard_status", reply, ctx};
  struct tg_managed_shard *shard;
  json_t *presence;
  if (!tg_arg_shard(&args, 0, tg_current_set(presences->env), &shard) || !read_presence(&args, 1, &presence))
    return;
  if (presences->shared) {
    tg_shared_presences_set(presences->shared, shard->id, presence, reply, ctx);
    json_decref(presence);
    return;
  }
  struct tg_gathering *gathering = tg_gather(reply, ctx);
  set_of_shard(presences, shard, presence, gathering);
  tg_gather_part(gathering, NULL, NULL);
}

/* Whoever has set it was answered when the cluster had it. */
static void on_taken(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)ctx, (void)value;
  if (error)
    tg_log(TG_WARN, TG_NO_SHARD, "a presence that was set could not be sent: %s", error->message);
}

void tg_presences_take(struct tg_presences *presences, int shard_id, const json_t *presence)
{
  struct tg_gathering *gathering = tg_gather(on_taken, NULL);
  const struct tg_managed_shard *shard = tg_shard_set_find(tg_current_set(presences->env), shard_id);
  json_t *own = json_incref((json_t *)presence);
  if (shard_id == TG_ALL_SHARDS)
    set_of_bot(presences, own, gathering);
  else if (shard)
    set_of_shard(presences, shard, own, gathering);
  else
    json_decref(own);
  tg_gather_part(gathering, NULL, NULL);
}

/* ---- life ---- */

struct tg_presences *tg_presences_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                      struct tg_shared_presences *shared)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_edit_bot_status, bot_status_default},
      {TG_METHOD_manager_edit_shard_status, shard_status_default},
  };
  struct tg_presences *presences = tg_calloc(1, sizeof *presences);
  *presences = (struct tg_presences){.env = env, .workers = workers, .shared = shared};
  tg_calls_offer(env->calls, defaults, sizeof defaults / sizeof *defaults, presences);
  return presences;
}

void tg_presences_begin(struct tg_presences *presences, const struct tg_shard_set *set)
{
  const struct tg_shard_set *current = &presences->env->shards;
  struct presences_of_set *all = &presences->of_sets[set->side];
  *all = (struct presences_of_set){set->count, tg_calloc((size_t)set->count, sizeof *all->list)};
  for (int i = 0; set != current && i < current->count; i++)
    for (int k = 0; k < set->count; k++)
      if (inherits(&set->list[k], &current->list[i]))
        all->list[k].own = json_incref(presence_of(presences, &current->list[i])->own);
}

json_t *tg_presences_hand_over(const struct tg_presences *presences)
{
  const struct presences_of_set *all = &presences->of_sets[presences->env->shards.side];
  json_t *list = json_array();
  for (int i = 0; i < all->count; i++)
    json_array_append_new(list, json_pack("{s:O?, s:b}", "own", all->list[i].own, "due", all->list[i].due));
  return json_pack("{s:O?, s:o}", "of_bot", presences->of_bot, "list", list);
}

static json_t *presence_in(const json_t *handed, const char *name)
{
  json_t *presence = json_object_get(handed, name);
  return json_is_object(presence) ? json_incref(presence) : NULL;
}

void tg_presences_take_over(struct tg_presences *presences, const json_t *handed)
{
  struct presences_of_set *all = &presences->of_sets[presences->env->shards.side];
  const json_t *list = json_object_get(handed, "list");
  presences->of_bot = presence_in(handed, "of_bot");
  for (int i = 0; i < all->count; i++) {
    const json_t *one = json_array_get(list, (size_t)i);
    all->list[i].own = presence_in(one, "own");
    all->list[i].due = json_is_true(json_object_get(one, "due"));
  }
}

void tg_presences_set_over(struct tg_presences *presences, const struct tg_shard_set *set)
{
  struct presences_of_set *all = &presences->of_sets[set->side];
  for (int i = 0; i < all->count; i++)
    json_decref(all->list[i].own);
  free(all->list);
  *all = (struct presences_of_set){0};
}

void tg_presences_free(struct tg_presences *presences)
{
  for (int side = 0; side < TG_SIDES; side++)
    tg_presences_set_over(presences, &(struct tg_shard_set){.side = side});
  json_decref(presences->of_bot);
  free(presences);
}
