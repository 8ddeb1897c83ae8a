/* Which plugins there are, for whoever asks on the command line. */

#include "script/vm/state.h"

#include "script/api/json.h"

#include <stdlib.h>

struct installed {
  const struct tg_strings *trees; /* NULL: those of the environment */
  bool all;                       /* what is built in, too */
  json_t *answer;
};

static int ask(lua_State *L, void *ctx)
{
  struct installed *installed = ctx;
  const char *problem;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tidegate.plugin.installed");
  lua_call(L, 1, 1);
  if (installed->trees) {
    lua_newtable(L);
    for (int i = 0; i < installed->trees->count; i++) {
      lua_pushstring(L, installed->trees->items[i]);
      lua_rawseti(L, -2, i + 1);
    }
  } else {
    lua_pushnil(L);
  }
  lua_pushboolean(L, installed->all);
  lua_call(L, 2, 1);
  installed->answer = tg_json_take(L, -1, &problem);
  return 0;
}

/* In a state of its own: that of a script may have another `require`. */
json_t *tg_script_installed(struct tg_script *script, const char *tree, char **problem)
{
  struct tg_strings one = {(char *[]){(char *)tree}, 1};
  const struct tg_config *config = tg_script_config(script);
  struct installed installed = {.trees = tree ? &one : config ? &config->rocks_trees : NULL, .all = !tree};
  struct tg_state *state = tg_state_new(script, script->generation + 1, problem);
  if (!state)
    return NULL;
  if (!tg_protect(state, "looking for plugins", TG_BUDGET_HOST, ask, &installed))
    *problem = tg_strdup(state->error);
  tg_state_free(state);
  return installed.answer;
}
