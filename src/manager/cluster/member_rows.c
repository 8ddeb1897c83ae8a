/* What a host of a cluster keeps in its state directory: who it is, and in the shard table how far it is. */

#include "base/buf.h"
#include "manager/cluster/member_impl.h"
#include "manager/state_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CHANCE = 1000,    /* the last digits of a life: a copy of the directory that runs, too, has others */
  MARK_AHEAD = 100, /* so that it is seldom written */
};

static const char file_name[] = "cluster.json";

/* ---- who this host is ---- */

static void make_home(char home[TG_HOME_LENGTH + 1])
{
  snprintf(home, TG_HOME_LENGTH + 1, "%08x%08x", (unsigned)tg_random(UINT32_MAX),
           (unsigned)tg_random(UINT32_MAX));
}

/* The home is made once; the life is another one at each start, and higher. */
bool tg_member_begin_life(struct tg_member *member, struct tg_error *error)
{
  const char *state_dir = member->env->state_dir;
  json_t *file = tg_state_file_read(state_dir, file_name, error);
  const char *kept = json_string_value(json_object_get(file, "home"));
  uint64_t starts = (uint64_t)json_number_value(json_object_get(file, "starts")) + 1;
  if (kept && strlen(kept) == TG_HOME_LENGTH)
    memcpy(member->home, kept, TG_HOME_LENGTH + 1);
  else
    make_home(member->home); /* what was left under an earlier one is found by nobody: see the page */
  member->life = starts * CHANCE + tg_random(CHANCE);
  member->mark_kept = (uint64_t)json_number_value(json_object_get(file, "mark"));
  json_decref(file);
  json_t *content = json_pack("{s:s, s:I, s:I}", "home", member->home, "starts", (json_int_t)starts, "mark",
                              (json_int_t)member->mark_kept);
  bool done = tg_state_file_write(state_dir, file_name, content, error);
  json_decref(content);
  return done;
}

static uint64_t unix_seconds(void)
{
  tg_ms now = tg_wall_clock();
  return tg_clock_is_sane(now) ? (uint64_t)(now / 1000) : 0;
}

void tg_member_keep_mark(struct tg_member *member)
{
  uint64_t mark = member->view.mark;
  struct tg_error error;
  if (mark <= member->mark_kept || mark <= unix_seconds())
    return;
  json_t *file = tg_state_file_read(member->env->state_dir, file_name, &error);
  if (!file)
    return; /* it is tried again */
  json_object_set_new(file, "mark", json_integer((json_int_t)mark + MARK_AHEAD));
  if (tg_state_file_write(member->env->state_dir, file_name, file, &error))
    member->mark_kept = mark + MARK_AHEAD;
  json_decref(file);
}

static char *digest_of(const struct tg_manager_env *env)
{
  const struct tg_config *config = env->config;
  struct tg_buf text = {0};
  tg_buf_printf(&text, "%016" PRIx64 ".%d.%d", env->bot_with_intents, config->large_threshold,
                config->capabilities);
  return tg_buf_take(&text);
}

/* ---- what it had ---- */

static struct tg_cluster_progress left_of(struct tg_shard_row *row)
{
  return (struct tg_cluster_progress){
      .epoch = atomic_load(&row->left_epoch),
      .durable = atomic_load(&row->left_durable),
      .delivered_epoch = atomic_load(&row->left_delivered_epoch),
      .delivered = atomic_load(&row->left_delivered),
      .guilds = atomic_load(&row->left_guilds),
      .published = atomic_load(&row->left_published) != 0,
  };
}

static void tell_row(struct tg_cluster *cluster, int number, struct tg_shard_row *row, const char *digest)
{
  struct tg_session session;
  uint64_t fence = atomic_load(&row->fence), left = atomic_load(&row->left_fence);
  bool live = tg_session_load(row, &session);
  const struct tg_cluster_session had = {session.epoch, live ? session.id : NULL,
                                         live ? session.resume_url : NULL, digest};
  const struct tg_cluster_progress progress = left_of(row);
  if (fence)
    tg_cluster_had(cluster, number, fence, &had);
  if (left)
    tg_cluster_left(cluster, number, left, &progress);
}

static bool goes_on_with_change(const struct tg_member *member, const struct tg_member_past *past)
{
  return past->next > 0 && member->sides[past->side].table && member->sides[!past->side].table;
}

/* Of the shards that there were, those that were to come, or those that were before. */
void tg_member_tell_rows(struct tg_member *member, const struct tg_member_past *past)
{
  struct tg_shard_table *table = member->sides[past->side].table, *other = member->sides[!past->side].table;
  bool changes = goes_on_with_change(member, past);
  for (int i = 0; table && i < tg_shard_table_total(table); i++)
    tell_row(member->cluster, i, tg_shard_table_row(table, i), member->digest);
  for (int i = 0; other && i < tg_shard_table_total(other); i++) {
    struct tg_shard_row *row = tg_shard_table_row(other, i);
    const struct tg_cluster_progress progress = left_of(row);
    uint64_t left = atomic_load(&row->left_fence);
    if (changes)
      tell_row(member->cluster, TG_CLUSTER_NEXT + i, row, member->digest);
    else if (left)
      tg_cluster_left_before(member->cluster, i, left, &progress);
  }
}

static uint64_t highest_fence(struct tg_shard_table *table)
{
  uint64_t highest = 0;
  for (int i = 0; table && i < tg_shard_table_total(table); i++) {
    struct tg_shard_row *row = tg_shard_table_row(table, i);
    uint64_t fence = atomic_load(&row->fence), left = atomic_load(&row->left_fence);
    highest = fence > highest ? fence : highest;
    highest = left > highest ? left : highest;
  }
  return highest;
}

static uint64_t highest(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* The same for all tokens that a bot has had: hosts may get a new one after each other. */
static void name_bot(const struct tg_manager_env *env, char bot[TG_BOT_ID_SIZE])
{
  tg_config_bot_id(env->config, bot);
  if (!bot[0])
    snprintf(bot, TG_BOT_ID_SIZE, "%016" PRIx64, env->bot);
}

/* As the last run has left them, if they are of so many shards. */
static struct tg_shard_table *open_table(const struct tg_manager_env *env, int side, int total,
                                         struct tg_error *error)
{
  return total > 0 && tg_shard_table_peek(env->state_dir, side, env->bot_with_intents) == total
             ? tg_shard_table_open(env->state_dir, side, total, tg_identity(env->bot_with_intents, total), 0,
                                   error)
             : NULL;
}

static void open_tables(struct tg_member *member, const struct tg_member_past *past)
{
  const struct tg_manager_env *env = member->env;
  struct tg_error error;
  int configured = env->config->total_shards;
  int total = tg_shard_table_peek(env->state_dir, past->side, env->bot_with_intents);
  if (configured > 0 && total != configured && total != past->total)
    total = 0;
  member->side = past->side;
  member->sides[past->side].table = open_table(env, past->side, total, &error);
  member->sides[!past->side].table =
      open_table(env, !past->side, past->next > 0 ? past->next : past->before, &error);
}

void tg_member_identify(struct tg_member *member, const struct tg_member_past *past, uint64_t mark)
{
  const struct tg_manager_env *env = member->env;
  mark = highest(mark, tg_shard_tables_last_epoch(env->state_dir));
  open_tables(member, past);
  for (int side = 0; side < TG_SIDES; side++)
    mark = highest(mark, highest_fence(member->sides[side].table));
  struct tg_shard_table *table = member->sides[past->side].table;
  bool changes = goes_on_with_change(member, past);
  name_bot(env, member->bot);
  member->digest = digest_of(env);
  const struct tg_cluster_options options = {
      .host = env->config->cluster.host,
      .home = member->home,
      .life = member->life,
      .bot = member->bot,
      .digest = member->digest,
      .total = env->config->total_shards,
      .was = table ? tg_shard_table_total(table) : 0,
      .change = changes ? past->change : 0,
      .to = changes ? past->next : 0,
      .ended = past->ended,
      .done = past->done,
      .before = past->before,
      .reserve = env->info->total * env->config->resharding.identify_reserve / 100,
      .mark = highest(highest(mark, member->mark_kept), unix_seconds()),
      .progress = tg_member_progress,
      .ctx = member,
  };
  member->cluster = tg_cluster_new(&options, tg_boot_clock());
}

/* ---- how far a shard is ---- */

static struct tg_cluster_progress progress_of(struct tg_shard_row *row)
{
  struct tg_session session;
  tg_session_load(row, &session);
  struct tg_cluster_progress progress = {
      .epoch = session.epoch,
      .durable = session.sequence,
      .delivered_epoch = atomic_load(&row->owed_epoch),
      .delivered = atomic_load(&row->owed_sequence),
      .guilds = atomic_load(&row->guilds),
  };
  if (progress.delivered_epoch == 0 || progress.delivered_epoch > progress.epoch) {
    progress.delivered_epoch = progress.epoch; /* a worker of an earlier version wrote it last */
    progress.delivered = atomic_load(&row->delivered_sequence);
  }
  return progress;
}

void tg_member_progress(void *ctx, int number, struct tg_cluster_progress *progress)
{
  struct tg_shard_row *row = tg_member_row_of(ctx, number);
  *progress = row ? progress_of(row) : (struct tg_cluster_progress){0};
  progress->published = row && number >= TG_CLUSTER_NEXT && atomic_load(&row->published);
}

void tg_row_leave(struct tg_shard_row *row)
{
  struct tg_cluster_progress progress = progress_of(row);
  uint64_t fence = atomic_load(&row->fence);
  bool is_more = atomic_load(&row->left_fence) != 0;
  if (fence == 0)
    return;
  if (!is_more) { /* else the first event that is not delivered is an earlier one */
    atomic_store(&row->left_delivered_epoch, progress.delivered_epoch);
    atomic_store(&row->left_delivered, progress.delivered);
  }
  if (!is_more || atomic_load(&row->published))
    atomic_store(&row->left_published, atomic_load(&row->published));
  atomic_store(&row->left_epoch, progress.epoch);
  atomic_store(&row->left_durable, progress.durable);
  atomic_store(&row->left_guilds, progress.guilds);
  atomic_store(&row->left_fence, fence);
  atomic_store(&row->lease_until, 0);
  atomic_store(&row->fence, 0);
}

void tg_row_take(struct tg_shard_row *row, const struct tg_cluster_word *word)
{
  struct tg_session session = {
      .epoch = word->session.epoch, .sequence = word->sequence, .seen_at = tg_wall_clock()};
  if (word->session.id) {
    snprintf(session.id, sizeof session.id, "%s", word->session.id);
    snprintf(session.resume_url, sizeof session.resume_url, "%s",
             word->session.resume_url ? word->session.resume_url : "");
  }
  tg_session_store(row, &session);
  atomic_store(&row->durable_sequence, word->sequence);
  atomic_store(&row->delivered_sequence, word->sequence);
  atomic_store(&row->owed_sequence, word->sequence);
  atomic_store(&row->owed_epoch, session.epoch);
  atomic_store(&row->unheard, TG_RESUMED_ELSEWHERE);
  atomic_store(&row->handled_epoch, 0);
  atomic_store(&row->fence, word->fence);
}
