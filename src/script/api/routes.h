#pragma once

/* What plugins serve under /plugins/<name>/ of the control API: bind_route.c has
 * the table of a state, route_calls.c runs what a request asks for. */

#include "script/vm/state.h"

enum {
  TG_ROUTES_MAX = 256,               /* of a script */
  TG_ROUTE_PARTS_MAX = 16,           /* of a path, its plugin's name among them */
  TG_ROUTE_CALLS_MAX = 64,           /* under way, of all plugins */
  TG_ROUTE_DEADLINE = 30000,         /* ms; tg_patience() */
  TG_ROUTE_ANSWER_MAX = 1024 * 1024, /* bytes of JSON */
};

struct tg_plugin_route {
  struct tg_plugin_route *next; /* in the order of their keys, then of their methods */
  char *method;                 /* "GET" */
  char *path;                   /* "/drop-bots/guilds/:id" */
  char *key;                    /* the same, each :name as one letter behind all others */
  char *what;                   /* "route GET /guilds/:id", for the log */
  int ref;                      /* the function, in the registry */
  uint32_t owner;               /* of what it allocates */
  char where[TG_WHERE_SIZE];    /* "plugin drop-bots, handler.lua:12" */
};

/* A path as it came, taken apart; the parts live in `text`. "/x" is as "/x/". */
struct tg_route_parts {
  struct tg_buf text;
  int count;
  struct {
    size_t at, length;
  } parts[TG_ROUTE_PARTS_MAX];
};

/* False: an escape is broken. More parts than any route has: count is -1. Free
 * the text either way. */
bool tg_route_split(struct tg_route_parts *parts, const char *path);

/* The most definite one that has the method; NULL: none. `allow` gets the methods
 * of those that have the path ("GET, HEAD, POST"; empty: none has it). */
const struct tg_plugin_route *tg_route_match(const struct tg_state *state, const struct tg_route_parts *parts,
                                             const char *method, struct tg_buf *allow);

/* hooks->route */
void tg_route_call(struct tg_script *script, const struct tg_hook_request *request,
                   tg_hook_answered *answered, void *ctx);
