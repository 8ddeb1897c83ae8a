/* Scripts do not see secrets, unless script.secrets says so: gateway.config and
 * os.getenv show placeholders (config/placeholder.h), which come back in
 * gateway.configure and as the authorization of gateway.rest. */

#include "script/vm/state.h"

#include "base/url_parts.h"
#include "config/config_options.h"
#include "config/environment.h"
#include "config/placeholder.h"
#include "config/plugin_values.h"

#include <stdlib.h>
#include <string.h>

/* ---- what comes back ---- */

static const char *value_in_environment(const void *ctx, const struct tg_option *option)
{
  (void)ctx;
  return option->env ? tg_environment(option->env) : NULL;
}

json_t *tg_secrets_fill(const json_t *given)
{
  const char *key;
  json_t *value;
  if (json_is_string(given)) {
    struct tg_buf text = {0};
    tg_placeholder_fill(&text, json_string_value(given), value_in_environment, NULL);
    json_t *filled = json_stringn(text.data, text.length);
    tg_buf_free(&text);
    return filled ? filled : json_copy((json_t *)given); /* what is no UTF-8 is refused where it stands */
  }
  json_t *copy = json_copy((json_t *)given);
  for (size_t i = 0; json_is_array(copy) && i < json_array_size(copy); i++)
    json_array_set_new(copy, i, tg_secrets_fill(json_array_get(copy, i)));
  json_object_foreach(copy, key, value) json_object_set_new(copy, key, tg_secrets_fill(value));
  return copy;
}

static const char *value_in_config(const void *ctx, const struct tg_option *option)
{
  return tg_config_secret(ctx, option);
}

/* gateway.rest leads there, and nowhere else. */
static bool leads_to_rest(const struct tg_config *config, const char *url)
{
  size_t length = strlen(config->rest.url);
  return strncmp(url, config->rest.url, length) == 0 && url[length] == '/';
}

void tg_secrets_put_header(struct tg_buf *out, const struct tg_state *state, const char *line,
                           const char *url)
{
  static const char name[] = "Authorization:";
  const struct tg_config *config = tg_state_config(state);
  if (config && strncasecmp(line, name, strlen(name)) == 0 &&
      (config->script.secrets || leads_to_rest(config, url)))
    tg_placeholder_fill(out, line, value_in_config, config);
  else
    tg_buf_puts(out, line);
}

/* ---- what scripts see ---- */

static bool shown(const struct tg_state *state)
{
  const struct tg_config *config = tg_state_config(state);
  return config && config->script.secrets;
}

/* core.getenv(name), as os.getenv */
static int l_getenv(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1), *value = tg_environment(name);
  char placeholder[TG_PLACEHOLDER_SIZE], *public = NULL;
  if (value && !shown(tg_state_of(L)) && tg_is_plugin_variable(name))
    value = "***"; /* it may have secrets in it, which its plugin sees */
  for (size_t i = 0; value && !shown(tg_state_of(L)) && i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    if (!tg_option_has_file(option) || strcmp(option->env, name) != 0)
      continue;
    if (option->secret) {
      tg_placeholder(option, placeholder);
      value = placeholder;
    } else {
      value = public = tg_url_public(value);
    }
    break;
  }
  lua_pushstring(L, value); /* nil for NULL */
  free(public);
  return 1;
}

/* core.placeholder(text) -> the key whose placeholder stands in it and must not; or nil */
static int l_placeholder(lua_State *L)
{
  const struct tg_option *option = shown(tg_state_of(L)) ? NULL : tg_placeholder_find(luaL_checkstring(L, 1));
  lua_pushstring(L, option ? option->path : NULL);
  return 1;
}

/* core.rest() -> url, what stands for the authorization */
static int l_rest(lua_State *L)
{
  const struct tg_config *config = tg_state_config(tg_state_of(L));
  if (!config)
    return luaL_error(L, "gateway.rest: there is no configuration yet");
  lua_pushstring(L, config->rest.url);
  lua_pushliteral(L, "***rest.authorization***");
  return 2;
}

void tg_bind_secrets(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"getenv", l_getenv}, {"placeholder", l_placeholder}, {"rest", l_rest}, {0}};
  luaL_register(L, NULL, functions);
}
