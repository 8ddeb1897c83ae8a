#include "manager/deaf/deaf.h"

#include "base/log.h"
#include "base/timer.h"
#include "manager/commands/ask_worker.h"
#include "manager/deaf/learned.h"
#include "manager/deaf/told.h"

#include <stdlib.h>
#include <string.h>

enum {
  MINUTE = 60000,
  LOOKS = 12,       /* in a minute */
  PATIENCE = 30000, /* ms for Discord's answer: in bad hours it takes its time */
  SPARE = 10000,
  KNOWN_HOURS = 24, /* from then on every hour of the day is known */
};

struct tg_deaf {
  struct tg_deaf_options options;
  const struct tg_manager_env *env;
  struct tg_deaf_told told;
  uv_timer_t *timer;
  tg_ms minute_ends;
  int64_t hour; /* since 1970, of the last minute */
  /* NULL: there are no shards to listen to. */
  struct tg_hearing *hearing;
  struct tg_cure cure;
  int side, count; /* of the set that it is of */
  uint32_t vanished;
  int suspects[TG_DEAF_SUSPECTS], suspect_count; /* places, as of the last minute */
};

/* By the place in the set. */
static struct tg_managed_shard *shard_of(const struct tg_deaf *deaf, int place)
{
  return &deaf->env->shards.list[place];
}

static tg_ms minute(void)
{
  tg_ms length = tg_patience(MINUTE);
  return length > LOOKS ? length : LOOKS;
}

/* ---- what is done ---- */

struct waiting_turn {
  struct tg_deaf *deaf;
  unsigned turn;
};

static void *expect(struct tg_deaf *deaf, unsigned turn)
{
  struct waiting_turn *answer = tg_alloc(sizeof *answer);
  *answer = (struct waiting_turn){deaf, turn};
  return answer;
}

static void on_answer(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct waiting_turn answer = *(struct waiting_turn *)ctx;
  free(ctx);
  enum tg_cure_answer what = TG_CURE_ANSWERED;
  if (error)
    what = strcmp(error->code, "unanswered") == 0 ? TG_CURE_UNANSWERED : TG_CURE_NOT_ASKED;
  tg_told_answer(&answer.deaf->told, what, error);
  tg_cure_answered(&answer.deaf->cure, answer.turn, what);
}

static void ask(void *ctx, int place, unsigned turn)
{
  struct tg_deaf *deaf = ctx;
  const struct tg_managed_shard *shard = shard_of(deaf, place);
  tg_ms patience = tg_patience(PATIENCE);
  const struct tg_message message = {.type = TG_MESSAGE_question_shard,
                                     .question_shard = {shard->ref, patience}};
  tg_ask_worker(deaf->options.workers, deaf->env, shard, &message, 2 * patience + SPARE, on_answer,
                expect(deaf, turn));
}

static void on_done(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct waiting_turn answer = *(struct waiting_turn *)ctx;
  free(ctx);
  tg_cure_done(&answer.deaf->cure, answer.turn, error == NULL);
}

static void resume(void *ctx, int place, unsigned turn)
{
  struct tg_deaf *deaf = ctx;
  tg_commands_reconnect(deaf->options.commands, shard_of(deaf, place)->id, on_done, expect(deaf, turn));
}

static void identify(void *ctx, int place, unsigned turn)
{
  struct tg_deaf *deaf = ctx;
  deaf->options.events->renew(deaf->options.ctx, shard_of(deaf, place), on_done, expect(deaf, turn));
}

static bool is_up(void *ctx, int place)
{
  return tg_shard_state_of(shard_of(ctx, place)) == TG_SHARD_CONNECTED;
}

static bool may_identify(void *ctx)
{
  const struct tg_deaf *deaf = ctx;
  return deaf->options.events->may_identify(deaf->options.ctx);
}

static void tell(void *ctx, enum tg_cure_news news, const struct tg_suspect *suspect)
{
  struct tg_deaf *deaf = ctx;
  tg_told_news(&deaf->told, news, suspect, shard_of(deaf, suspect->shard)->id, suspect->silent * minute());
}

static const struct tg_cure_acts acts = {.ask = ask,
                                         .resume = resume,
                                         .identify = identify,
                                         .is_up = is_up,
                                         .may_identify = may_identify,
                                         .tell = tell};

/* ---- which shards ---- */

static void drop_hearing(struct tg_deaf *deaf)
{
  if (!deaf->hearing)
    return;
  tg_cure_end(&deaf->cure);
  tg_hearing_free(deaf->hearing);
  deaf->hearing = NULL;
}

static uint64_t identity_of(const struct tg_deaf *deaf)
{
  return tg_identity(deaf->env->bot_with_intents, deaf->env->shards.range.total);
}

static void save(const struct tg_deaf *deaf)
{
  if (deaf->hearing)
    tg_learned_write(deaf->hearing, deaf->env->state_dir, identity_of(deaf), deaf->env->shards.range.first);
}

/* False: there are none to listen to now. */
static bool follow_set(struct tg_deaf *deaf)
{
  const struct tg_shard_set *shards = &deaf->env->shards;
  bool same = deaf->hearing && deaf->side == shards->side && deaf->count == shards->count;
  bool there = shards->count > 0 && deaf->env->next.count == 0 && deaf->env->config->deaf_after > 0;
  if (there && same)
    return true;
  if (deaf->hearing && same)
    save(deaf);
  drop_hearing(deaf);
  if (!there)
    return false;
  deaf->side = shards->side;
  deaf->count = shards->count;
  deaf->vanished = 0;
  deaf->suspect_count = 0;
  deaf->hearing = tg_hearing_new(shards->count);
  tg_learned_read(deaf->hearing, deaf->env->state_dir, identity_of(deaf), shards->range.first);
  tg_cure_begin(&deaf->cure, deaf->hearing, &acts, deaf);
  return true;
}

/* ---- a minute ---- */

static void take(struct tg_deaf *deaf, int place, bool late)
{
  const struct tg_managed_shard *shard = shard_of(deaf, place);
  const struct tg_shard_row *row = tg_shard_row_of(shard);
  bool listens =
      !late && shard->held && tg_shard_state_of(shard) == TG_SHARD_CONNECTED && atomic_load(&row->guilds) > 0;
  uint64_t counts[TG_TRAFFIC_COUNT];
  for (int i = 0; i < TG_TRAFFIC_COUNT; i++)
    counts[i] = atomic_load_explicit(&row->traffic[i], memory_order_relaxed);
  tg_hearing_take(deaf->hearing, place, listens, counts);
  if (atomic_load(&row->missing_intents))
    tg_hearing_ignore_types(deaf->hearing, place);
}

static void look_for_vanished(struct tg_deaf *deaf)
{
  int type, all = tg_hearing_shards(deaf->hearing);
  for (int known = 0; known < TG_BASELINE_TYPES; known++) {
    if ((deaf->vanished >> known & 1) && tg_hearing_hears(deaf->hearing, all, known)) {
      deaf->vanished &= ~(1u << known);
      tg_told_vanished(&deaf->told, known, false, 0);
    }
  }
  while (tg_hearing_vanished(deaf->hearing, &type)) {
    deaf->vanished |= 1u << type;
    tg_told_vanished(&deaf->told, type, true, tg_hearing_silent(deaf->hearing, all, type) * minute());
    tg_hearing_accept(deaf->hearing, all, type);
  }
}

/* Those whose turn has not come yet. */
static void note_suspects(struct tg_deaf *deaf)
{
  deaf->suspect_count = 0;
  for (int place = 0; place < deaf->count && deaf->suspect_count < TG_DEAF_SUSPECTS; place++) {
    bool in_hand = deaf->cure.step != TG_CURE_IDLE && deaf->cure.suspect.shard == place;
    if (!in_hand && tg_hearing_is_suspect(deaf->hearing, place, TG_HEARING_ALL))
      deaf->suspects[deaf->suspect_count++] = place;
  }
}

static void end_minute(struct tg_deaf *deaf, bool late)
{
  tg_ms length = minute();
  int patience = (int)((tg_patience(deaf->env->config->deaf_after) + length - 1) / length);
  int64_t hour = tg_wall_clock() / (length * TG_HEARING_HOUR), week_hour = hour % TG_WEEK_HOURS;
  for (int place = 0; place < deaf->count; place++)
    take(deaf, place, late);
  if (week_hour < 0) /* the clock says that it is before 1970 */
    week_hour += TG_WEEK_HOURS;
  tg_hearing_turn(deaf->hearing, (int)week_hour, patience > 0 ? patience : 1);
  tg_told_outage(&deaf->told, tg_hearing_outage(deaf->hearing));
  tg_cure_minute(&deaf->cure, patience);
  note_suspects(deaf);
  look_for_vanished(deaf);
  if (hour != deaf->hour)
    save(deaf);
  deaf->hour = hour;
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_deaf *deaf = timer->data;
  tg_ms now = tg_now(), length = minute();
  bool over = now >= deaf->minute_ends, late = now >= deaf->minute_ends + length;
  if (over)
    deaf->minute_ends = (late ? now : deaf->minute_ends) + length;
  if (deaf->env->upgrading || !follow_set(deaf))
    return;
  if (over)
    end_minute(deaf, late);
  else
    tg_cure_look(&deaf->cure);
}

/* ---- life ---- */

struct tg_deaf *tg_deaf_new(const struct tg_deaf_options *options)
{
  struct tg_deaf *deaf = tg_calloc(1, sizeof *deaf);
  deaf->options = *options;
  deaf->env = options->env;
  deaf->told.hooks = options->env->hooks;
  deaf->timer = tg_timer_new(options->env->loop, deaf);
  return deaf;
}

void tg_deaf_begin(struct tg_deaf *deaf)
{
  tg_ms length = minute();
  deaf->minute_ends = tg_now() + length;
  follow_set(deaf);
  uv_timer_start(deaf->timer, on_timer, (uint64_t)(length / LOOKS), (uint64_t)(length / LOOKS));
}

json_t *tg_deaf_hand_over(const struct tg_deaf *deaf)
{
  save(deaf);
  return tg_told_hand_over(&deaf->told);
}

void tg_deaf_take_over(struct tg_deaf *deaf, const json_t *handed)
{
  tg_told_take_over(&deaf->told, handed);
}

bool tg_deaf_acts(const struct tg_deaf *deaf)
{
  return deaf->hearing && deaf->cure.step == TG_CURE_ACTING;
}

void tg_deaf_end(struct tg_deaf *deaf)
{
  uv_timer_stop(deaf->timer);
  save(deaf);
  drop_hearing(deaf);
}

void tg_deaf_free(struct tg_deaf *deaf)
{
  drop_hearing(deaf);
  tg_timer_free(deaf->timer);
  free(deaf);
}

static void put_case(const struct tg_deaf *deaf, struct tg_deaf_status *status)
{
  static const char *const steps[] = {[TG_CURE_ASKING] = "asking",
                                      [TG_CURE_ACTING] = "reconnecting",
                                      [TG_CURE_CONNECTING] = "reconnecting",
                                      [TG_CURE_LISTENING] = "listening"};
  const struct tg_suspect *suspect = &deaf->cure.suspect;
  status->shard = shard_of(deaf, suspect->shard)->id;
  status->type =
      suspect->type == TG_HEARING_ALL ? NULL : tg_traffic_name(TG_TRAFFIC_FIRST_TYPE + suspect->type);
  status->step = steps[deaf->cure.step];
  status->silent = suspect->silent * minute();
}

void tg_deaf_status(const struct tg_deaf *deaf, struct tg_deaf_status *status)
{
  *status = deaf->told.counts;
  status->after = deaf->env->config->deaf_after;
  status->shard = -1;
  if (!deaf->hearing)
    return;
  status->shards = deaf->count;
  for (int place = 0; place < deaf->count; place++)
    status->known += tg_hearing_known(deaf->hearing, place) >= KNOWN_HOURS;
  status->outage = tg_hearing_outage(deaf->hearing);
  for (int type = 0, count = 0; type < TG_BASELINE_TYPES; type++)
    if (deaf->vanished >> type & 1)
      status->vanished[count++] = tg_traffic_name(TG_TRAFFIC_FIRST_TYPE + type);
  if (deaf->cure.step != TG_CURE_IDLE)
    put_case(deaf, status);
  status->suspect_count = deaf->suspect_count;
  for (int i = 0; i < deaf->suspect_count; i++)
    status->suspects[i] = shard_of(deaf, deaf->suspects[i])->id;
}
