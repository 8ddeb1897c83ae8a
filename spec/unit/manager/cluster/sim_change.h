#pragma once

/* What a host does while the number of shards is changed. Included by sim_hosts.h. */

/* ---- words ---- */

/* What was taken over counts from now on. */
static void publish(struct sim_host *host, int number)
{
  for (int place = SHARDS + number; place < PLACES; place += SHARDS) {
    struct sim_place *at = &world.places[place];
    for (int k = 0; k < at->session_count; k++)
      for (int s = 0; s < at->sessions[k].count; s++)
        if (at->sessions[k].events[s] & in_lane(number_of(host)))
          at->sessions[k].events[s] |= EVENT_RECEIVED;
  }
}

static void obey_class(struct sim_host *host, const struct tg_cluster_word *word)
{
  struct sim_class *class = &host->classes[word->shard];
  if (word->text) { /* it comes from another host */
    class->switched = class->without_old = true;
    class->last = (sim_twin)strtoul(word->text, NULL, 10);
  }
  if (word->step >= TG_CLASS_STEP_SWITCHED && class->step < TG_CLASS_STEP_SWITCHED)
    publish(host, word->shard);
  class->published = word->step >= TG_CLASS_STEP_SWITCHED;
  class->step = class->told = word->step;
}

static void take_back(struct sim_host *host)
{
  for (int place = SHARDS; place < PLACES; place++) {
    hang_up(host, place);
    clear_all(number_of(host), place, in_lane(number_of(host)) | as_left(number_of(host)));
    host->shards[place] = (struct sim_shard){0};
  }
  memset(host->classes, 0, sizeof host->classes);
  host->ended = host->change;
  host->change = 0;
}

/* There are the new ones alone. What is left of the old ones stays. */
static void go_on_with_new(struct sim_host *host, uint64_t change)
{
  for (int place = 0; place < SHARDS; place++) {
    hang_up(host, place);
    host->shards[place].fence = 0;
    begin_phase(&host->shards[place], OFF, 0);
  }
  host->changed = true;
  host->change = 0;
  host->ended = host->done = change;
}

static void obey_change(struct sim_host *host, const struct tg_cluster_word *word)
{
  if (word->kind == TG_CLUSTER_CHANGE)
    host->change = word->change;
  else if (word->kind == TG_CLUSTER_CLASS)
    obey_class(host, word);
  else if (word->kind == TG_CLUSTER_TAKEN_BACK)
    take_back(host);
  else if (word->kind == TG_CLUSTER_CHANGED)
    go_on_with_new(host, word->change);
  else if (word->total == NEW_SHARDS && !host->changed) /* while it was dead */
    go_on_with_new(host, word->change);
}

/* ---- classes ---- */

static bool is_up(const struct sim_host *host, int number, bool old, bool new)
{
  bool up = !old || host->shards[number].phase == UP;
  for (int place = SHARDS + number; place < PLACES && new; place += SHARDS)
    up = up && host->shards[place].phase == UP;
  return up;
}

static void tell_step(struct sim_host *host, int number, enum tg_class_step step)
{
  struct sim_class *class = &host->classes[number];
  char file[32];
  if (class->told >= step)
    return;
  class->told = step;
  snprintf(file, sizeof file, "%lu", (unsigned long)class->last);
  tg_cluster_class(host->cluster, number, step, class->switched ? file : NULL);
  host->wakeup = world.now;
}

/* In one turn: what the old shard has is its own, what comes behind it is the new ones'. */
static void switch_here(struct sim_host *host, int number)
{
  struct sim_class *class = &host->classes[number];
  trace("host %d: class %d switches", number_of(host), number);
  class->switched = true;
  class->last = last_of_old(number, &host->shards[number]);
}

static bool is_delivered(const struct sim_host *host, int number)
{
  const struct sim_shard *old = &host->shards[number];
  sim_twin at = (sim_twin)(old->lane_session + 1) << TWIN_SESSION | (sim_twin)old->delivered;
  return host->classes[number].without_old || at >= host->classes[number].last;
}

static void close_old(struct sim_host *host, int number)
{
  hang_up(host, number);
  begin_phase(&host->shards[number], OFF, 0);
  host->classes[number].without_old = true;
  tell_step(host, number, TG_CLASS_STEP_CLOSED);
}

/* There is nothing to match new shards with. */
static bool has_lost_old(const struct sim_host *host, int number)
{
  const struct sim_shard *old = &host->shards[number];
  return old->phase == ASKING && !old->has_session && old->epoch > 0 && is_up(host, number, false, true);
}

static void step_class(struct sim_host *host, int number, const struct tg_cluster_view *view)
{
  struct sim_class *class = &host->classes[number];
  bool matches = is_up(host, number, !class->switched, true);
  if (!matches)
    class->since = 0;
  else if (!class->since)
    class->since = world.now;
  if (!class->switched && is_up(host, number, false, true))
    tell_step(host, number, TG_CLASS_STEP_UP);
  bool all_up =
      view->classes[TG_CLASS_STEP_UP - 1] == SHARDS || view->classes[TG_CLASS_STEP_SWITCHED - 1] > 0;
  bool ripe = class->since && world.now - class->since > 3000;
  if (!class->switched && all_up && (ripe || has_lost_old(host, number)))
    switch_here(host, number);
  if (class->switched && class->step < TG_CLASS_STEP_SWITCHED && is_delivered(host, number))
    tell_step(host, number, TG_CLASS_STEP_SWITCHED);
  if (class->step == TG_CLASS_STEP_SWITCHED && class->since && world.now - class->since > 4000)
    tell_step(host, number, TG_CLASS_STEP_SETTLED);
  if (class->step == TG_CLASS_STEP_SETTLED && view->classes[TG_CLASS_STEP_SETTLED - 1] == SHARDS)
    close_old(host, number);
}

static void step_classes(struct sim_host *host)
{
  struct tg_cluster_view view;
  if (!host->change)
    return;
  tg_cluster_view(host->cluster, &view);
  for (int i = 0; i < SHARDS; i++)
    if (host->classes[i].fence && tg_cluster_has(host->cluster, i))
      step_class(host, i, &view);
}
