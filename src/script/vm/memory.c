/* The allocator of a state: counts, never refuses, and knows who took what. */

#include "script/vm/memory.h"

#include "script/vm/sched.h"

#include "base/human.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In front of each block: the index of its owner. LuaJIT wants 8 bytes of alignment. */
typedef uint64_t header;

/* What a call may still take when it was told to stop, in times of the limit, before the process is given up.
 */
enum { LAST_RESORT = 8 };

/* ---- owners ---- */

static uint32_t add_owner(struct tg_memory *memory, enum tg_lua_group group, const char *what,
                          const char *source, int line)
{
  uint32_t index = (uint32_t)memory->owner_count++;
  struct tg_owner *owner = &memory->owners[index];
  *owner = (struct tg_owner){.group = group, .what = what, .line = line};
  snprintf(owner->source, sizeof owner->source, "%s", source);
  snprintf(owner->where, sizeof owner->where, line > 0 ? "%s:%d" : "%s", source, line);
  return index;
}

uint32_t tg_owner(struct tg_state *state, enum tg_lua_group group, const char *what, const char *source,
                  int line)
{
  struct tg_memory *memory = &state->memory;
  for (int i = 0; i < memory->owner_count; i++) {
    const struct tg_owner *owner = &memory->owners[i];
    if (owner->line == line && owner->what == what && strcmp(owner->source, source) == 0)
      return (uint32_t)i;
  }
  if (memory->owner_count == TG_OWNERS)
    return TG_OWNER_OTHERS;
  return add_owner(memory, group, what, source, line);
}

uint32_t tg_owner_of_function(lua_State *L, int index, enum tg_lua_group group, const char *what)
{
  char place[TG_WHERE_SIZE];
  int line = tg_place_of_function(L, index, place, sizeof place);
  return tg_owner(tg_state_of(L), group, what, place, line);
}

static void describe_owner(const struct tg_owner *owner, struct tg_buf *text)
{
  char bytes[TG_HUMAN_SIZE];
  tg_human_bytes(owner->bytes, bytes, sizeof bytes);
  tg_buf_printf(text, "%s%s", text->length > 0 ? ", " : "", owner->what);
  if (owner->source[0])
    tg_buf_printf(text, " (%s)", owner->where);
  tg_buf_printf(text, " %s", bytes);
}

/* The one that holds most of those that hold less than `below`; NULL: none. */
static const struct tg_owner *largest(const struct tg_memory *memory, size_t below)
{
  const struct tg_owner *found = NULL;
  for (int i = 0; i < memory->owner_count; i++) {
    const struct tg_owner *owner = &memory->owners[i];
    if (owner->bytes > 0 && owner->bytes < below && (!found || owner->bytes > found->bytes))
      found = owner;
  }
  return found;
}

void tg_memory_describe(const struct tg_state *state, struct tg_buf *text)
{
  enum { SHOWN = 5 };
  const struct tg_memory *memory = &state->memory;
  struct tg_buf list = {0};
  size_t below = SIZE_MAX;
  for (int i = 0; i < SHOWN; i++) {
    const struct tg_owner *owner = largest(memory, below);
    if (!owner || (i > 0 && owner->bytes < memory->limit / 100))
      break;
    describe_owner(owner, &list);
    below = owner->bytes;
  }
  tg_buf_append(text, list.data, list.length);
  *tg_buf_reserve(text, 1) = '\0';
  tg_buf_free(&list);
}

uint32_t tg_memory_culprits(const struct tg_state *state)
{
  const struct tg_memory *memory = &state->memory;
  const struct tg_owner *most = largest(memory, SIZE_MAX);
  uint32_t groups = most ? 1u << most->group : 0;
  for (int i = 0; i < memory->owner_count; i++) {
    if (memory->owners[i].bytes >= memory->limit / 4)
      groups |= 1u << memory->owners[i].group;
  }
  return groups;
}

/* ---- allocating ---- */

static const struct tg_owner *owner_of_now(const struct tg_state *state)
{
  return &state->memory.owners[state->memory.owner];
}

static int shard_of_now(const struct tg_state *state)
{
  return state->running ? state->running->shard_id : state->shard_id;
}

/* What cannot be had cannot be refused either. */
static void give_up(const struct tg_state *state, const char *why)
{
  struct tg_buf who = {0};
  describe_owner(owner_of_now(state), &who);
  tg_log_with(TG_ERROR, shard_of_now(state), TG_WITH(TG_NUMBER(BYTES, (int64_t)state->memory.used)),
              "%s: this process ends. What asked for memory last: %.*s", why, (int)who.length, who.data);
  tg_log_flush();
  abort();
}

/* Stays installed until the outermost call returns: no pcall can swallow it. */
static void on_hook(lua_State *L, lua_Debug *where)
{
  struct tg_state *state = tg_state_of(L);
  char limit[TG_HUMAN_SIZE];
  tg_human_bytes(state->memory.limit, limit, sizeof limit);
  where->currentline = -1;
  if (lua_getinfo(L, "Sl", where) && where->currentline > 0)
    lua_pushfstring(L, "%s:%d: ", where->short_src, where->currentline);
  else
    lua_pushliteral(L, "");
  lua_pushfstring(L, "stopped: it took more than script.memory (%s) for itself", limit);
  lua_concat(L, 2);
  lua_error(L);
}

/* More than one call may take. A hook ends what is interpreted at its next
 * instruction. What is compiled looks at hooks only where it is left; it is
 * left for the collector, which therefore begins now, whatever the script has
 * asked of it. */
static void stop_call(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  if (memory->stopping)
    give_up(state, "a call of the script takes memory without end, and cannot be stopped");
  memory->stopping = true;
  memory->stop = state->compiled ? memory->used + LAST_RESORT * memory->limit : SIZE_MAX;
  state->hooked = true;
  lua_sethook(state->L, on_hook, LUA_MASKCOUNT, 1);
  lua_gc(state->L, LUA_GCRESTART, 0);
}

void *tg_memory_allocate(void *ctx, void *memory, size_t old_size, size_t new_size)
{
  struct tg_state *state = ctx;
  struct tg_memory *all = &state->memory;
  header *block = memory;
  size_t old_room = 0, room = new_size ? new_size + sizeof *block : 0;
  if (block) {
    block--;
    all->owners[*block].bytes -= old_size;
    old_room = old_size + sizeof *block;
  }
  all->used += new_size - old_size;
  block = tg_block_resize(&all->blocks, block, old_room, room);
  if (room == 0)
    return NULL;
  if (!block)
    give_up(state, "the system has no memory left for the script");
  *block = all->owner;
  all->owners[all->owner].bytes += new_size;
  if (__builtin_expect(all->used > all->stop, 0))
    stop_call(state);
  return block + 1;
}

void tg_memory_init(struct tg_state *state, size_t limit)
{
  struct tg_memory *memory = &state->memory;
  memory->stop = SIZE_MAX;
  add_owner(memory, TG_LUA_load, "the gateway itself", "", 0);
  add_owner(memory, TG_LUA_load, "the top level of the script", "", 0);
  add_owner(memory, TG_LUA_load, "others", "", 0);
  tg_memory_set_limit(state, limit);
}
