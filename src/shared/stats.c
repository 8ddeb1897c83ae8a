#include "shared/series.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

const char *const tg_lua_group_names[TG_LUA_GROUP_COUNT] = {
#define X(name) #name,
    TG_LUA_GROUPS(X)
#undef X
};

const int tg_latency_limits[TG_LATENCY_COUNT] = {1,   2,    5,    10,   25,    50,    100,  250,
                                                 500, 1000, 2500, 5000, 10000, 30000, 60000};

static struct tg_stats the_own; /* mostly never touched, and so no memory */
struct tg_stats *tg_stats_page = &the_own;
struct tg_stats_type *tg_stats_types[TG_EVENT_TYPE_MAX];

/* ---- the page ---- */

static struct tg_stats *map(int fd, struct tg_error *error)
{
  void *memory = mmap(NULL, sizeof(struct tg_stats), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return tg_fail(error, "memory", "the statistics page cannot be mapped: %s", strerror(errno)), NULL;
  return memory;
}

struct tg_stats *tg_stats_make(int *fd, struct tg_error *error)
{
  /* Its size is sealed, so that nothing a worker does can make reading it fatal. */
  *fd = memfd_create("tidegate-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (*fd < 0)
    return tg_fail(error, "memory", "a statistics page cannot be made: %s", strerror(errno)), NULL;
  struct tg_stats *stats = NULL;
  if (ftruncate(*fd, sizeof *stats) != 0 || fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    tg_fail(error, "memory", "a statistics page cannot be made: %s", strerror(errno));
  else
    stats = map(*fd, error);
  if (!stats) {
    close(*fd);
    *fd = -1;
    return NULL;
  }
  memcpy(stats->layout, tg_stats_layout, sizeof stats->layout);
  tg_stats_clear_gauges(stats);
  return stats;
}

void tg_stats_unmap(struct tg_stats *stats)
{
  if (stats)
    munmap(stats, sizeof *stats);
}

static struct tg_stats *map_page(int fd, struct tg_error *error)
{
  struct stat status;
  if (fstat(fd, &status) == 0 && status.st_size == sizeof(struct tg_stats))
    return map(fd, error);
  tg_fail(error, "memory", "file descriptor %d is no statistics page", fd);
  return NULL;
}

struct tg_stats *tg_stats_map(int fd, struct tg_error *error)
{
  struct tg_stats *stats = map_page(fd, error);
  if (!stats || memcmp(stats->layout, tg_stats_layout, sizeof stats->layout) == 0)
    return stats;
  tg_stats_unmap(stats);
  tg_fail(error, "layout", "file descriptor %d is a statistics page of another version", fd);
  return NULL;
}

/* Whoever has made it is of the same version; and a script may have scribbled over that it is. */
bool tg_stats_attach(int fd, struct tg_error *error)
{
  struct tg_stats *stats = map_page(fd, error);
  close(fd);
  if (!stats)
    return false;
  tg_stats_clear_gauges(stats);
  tg_stats_page = stats;
  memset(tg_stats_types, 0, sizeof tg_stats_types);
  return true;
}

void tg_stats_note_memory(void)
{
  size_t bytes;
  if (uv_resident_set_memory(&bytes) == 0)
    atomic_store(&tg_stats()->resident, bytes);
}

/* ---- types ---- */

/* The last byte to come is the first, so that a process that dies in the middle
 * leaves a free place. */
static void put_name(char *place, size_t size, const char *name)
{
  size_t length = strnlen(name, size - 1);
  memcpy(place + 1, name + 1, length - 1);
  place[length] = '\0';
  atomic_thread_fence(memory_order_release);
  place[0] = name[0];
}

static bool is_named(const char *place, size_t size, const char *name)
{
  size_t length = strnlen(name, size - 1);
  return strncmp(place, name, length) == 0 && place[length] == '\0';
}

static int place_of(const char *name)
{
  for (int i = 0; i < TG_EVENT_TYPE_MAX - TG_EVENT_KNOWN_COUNT; i++) {
    char *place = tg_stats_page->type_names[i];
    if (!place[0])
      put_name(place, TG_STATS_NAME_SIZE, name);
    if (is_named(place, TG_STATS_NAME_SIZE, name))
      return TG_EVENT_KNOWN_COUNT + i;
  }
  return TG_EVENT_OTHER;
}

struct tg_stats_type *tg_stats_find_type(uint16_t type)
{
  int place = type < TG_EVENT_KNOWN_COUNT ? type : place_of(tg_event_type_name(type));
  return tg_stats_types[type] = &tg_stats_page->types[place];
}

const char *tg_stats_type_name(const struct tg_stats *stats, int place, char buffer[TG_STATS_NAME_SIZE])
{
  if (atomic_load_explicit(&stats->types[place].received, memory_order_relaxed) == 0 &&
      atomic_load_explicit(&stats->types[place].delivered, memory_order_relaxed) == 0)
    return NULL;
  if (place < TG_EVENT_KNOWN_COUNT)
    return tg_event_type_name((uint16_t)place);
  memcpy(buffer, stats->type_names[place - TG_EVENT_KNOWN_COUNT], TG_STATS_NAME_SIZE);
  buffer[TG_STATS_NAME_SIZE - 1] = '\0';
  return buffer[0] ? buffer : NULL;
}

/* ---- the rest ---- */

struct tg_stats_sink *tg_stats_sink(const char *name)
{
  struct tg_stats_sink *sinks = tg_stats_page->sinks, *sink = sinks, *last = &sinks[TG_STATS_SINKS - 1];
  while (sink < last && sink->name[0] && !is_named(sink->name, TG_STATS_SINK_NAME_SIZE, name))
    sink++;
  if (!sink->name[0]) {
    tg_stats_clear_sink(sink);
    put_name(sink->name, TG_STATS_SINK_NAME_SIZE,
             sink < last ? name : "_others"); /* which no sink is called */
  }
  return sink;
}

void tg_stats_clear_sink(struct tg_stats_sink *sink)
{
  atomic_store(&sink->queued_events, 0);
  atomic_store(&sink->queued_bytes, 0);
  atomic_store(&sink->oldest_queued_at, 0);
  atomic_store(&sink->log_bytes, -1);
  atomic_store(&sink->memory_bytes, 0);
  atomic_store(&sink->up, -1);
  tg_stats_set_lanes(sink, &(struct tg_stats_lanes){0});
}

void tg_stats_set_lanes(struct tg_stats_sink *sink, const struct tg_stats_lanes *lanes)
{
  uint32_t guard = atomic_load(&sink->lanes_guard) | 1;
  atomic_store(&sink->lanes_guard, guard);
  atomic_thread_fence(memory_order_seq_cst);
  sink->lanes = *lanes;
  atomic_store(&sink->lanes_guard, guard + 1);
}

bool tg_stats_get_lanes(const struct tg_stats_sink *sink, struct tg_stats_lanes *lanes)
{
  for (int tries = 0; tries < 1000; tries++) {
    uint32_t before = atomic_load(&sink->lanes_guard);
    *lanes = sink->lanes;
    atomic_thread_fence(memory_order_acquire);
    if ((before & 1) == 0 && before == atomic_load(&sink->lanes_guard)) {
      lanes->count = lanes->count < TG_STATS_LANES ? lanes->count : TG_STATS_LANES;
      return true;
    }
  }
  return false;
}

bool tg_stats_is_sink_name(const char *name)
{
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
  return length > 0 && length < TG_STATS_SINK_NAME_SIZE && name[length] == '\0';
}

bool tg_stats_sink_name(const struct tg_stats *stats, int place, char name[TG_STATS_SINK_NAME_SIZE])
{
  memcpy(name, stats->sinks[place].name, TG_STATS_SINK_NAME_SIZE);
  bool is_name = memchr(name, '\0', TG_STATS_SINK_NAME_SIZE) && tg_stats_is_sink_name(name);
  for (int i = 0; i < place && is_name; i++)
    is_name = !is_named(stats->sinks[i].name, TG_STATS_SINK_NAME_SIZE, name);
  return is_name;
}

struct tg_stats_storm *tg_stats_storm(const char *rule)
{
  struct tg_stats_storm *storm = tg_stats_page->storms, *last = &storm[TG_STATS_STORMS - 1];
  while (storm < last && storm->rule[0] && !is_named(storm->rule, TG_STATS_RULE_SIZE, rule))
    storm++;
  if (!storm->rule[0])
    put_name(storm->rule, TG_STATS_RULE_SIZE, storm < last ? rule : "_others");
  return storm;
}

bool tg_stats_storm_rule(const struct tg_stats *stats, int place, char rule[TG_STATS_RULE_SIZE])
{
  memcpy(rule, stats->storms[place].rule, TG_STATS_RULE_SIZE);
  size_t length = strnlen(rule, TG_STATS_RULE_SIZE);
  bool is_text = length > 0 && length < TG_STATS_RULE_SIZE;
  for (size_t i = 0; i < length && is_text; i++)
    is_text = rule[i] >= ' ' && rule[i] <= '~';
  for (int i = 0; i < place && is_text; i++)
    is_text = !is_named(stats->storms[i].rule, TG_STATS_RULE_SIZE, rule);
  return is_text;
}

void tg_stats_latency(struct tg_stats_sink *sink, int64_t ms)
{
  int bucket = 0;
  ms = ms > 0 ? ms : 0;
  while (bucket < TG_LATENCY_COUNT && ms > tg_latency_limits[bucket])
    bucket++;
  tg_count(&sink->latency.counts[bucket]);
  tg_count_by(&sink->latency.milliseconds, (uint64_t)ms);
}

struct tg_stats_handler *tg_stats_handler(const char *url)
{
  struct tg_stats_handler *handlers = tg_stats_page->handlers, *last = &handlers[TG_STATS_HANDLERS - 1];
  for (struct tg_stats_handler *handler = handlers; handler < last; handler++) {
    if (!handler->url[0])
      put_name(handler->url, TG_STATS_URL_SIZE, url);
    if (is_named(handler->url, TG_STATS_URL_SIZE, url))
      return handler;
  }
  if (!last->url[0])
    put_name(last->url, TG_STATS_URL_SIZE, "others");
  return last;
}

void tg_stats_clear_gauges(struct tg_stats *stats)
{
  for (int i = 0; i < TG_STATS_HANDLERS; i++) {
    struct tg_stats_handler *handler = &stats->handlers[i];
    if (!handler->url[0])
      break;
    atomic_store(&handler->users, 0);
    atomic_store(&handler->down, 0);
    atomic_store(&handler->in_flight, 0);
    atomic_store(&handler->since, 0);
  }
  for (int i = 0; i < TG_STATS_SINKS && stats->sinks[i].name[0]; i++)
    tg_stats_clear_sink(&stats->sinks[i]);
  for (int i = 0; i < TG_STATS_STORMS; i++)
    atomic_store(&stats->storms[i].running, 0);
  atomic_store(&stats->lua_memory, 0);
  atomic_store(&stats->lua_off, 0);
  atomic_store(&stats->lua_waiting, 0);
  atomic_store(&stats->lua_switched_off, 0);
  atomic_store(&stats->alive_at, 0);
  atomic_store(&stats->resident, 0);
  tg_series_begin(stats);
}
