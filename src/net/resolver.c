#include "net/resolver.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { KNOWN_FOR = 10000 /* ms */ };

struct tg_lookup {
  TAILQ_ENTRY(tg_lookup) link;
  struct name *name;
  tg_looked_up *done;
  void *ctx;
};

struct name {
  LIST_ENTRY(name) link;
  char *host, *port;
  uv_getaddrinfo_t *request; /* NULL: it is answered */
  TAILQ_HEAD(, tg_lookup) waiting;
  struct tg_addresses addresses;
  tg_ms known_until;
};

struct tg_resolver {
  uv_loop_t *loop;
  LIST_HEAD(, name) names;
};

struct tg_resolver *tg_resolver_new(uv_loop_t *loop)
{
  struct tg_resolver *resolver = tg_calloc(1, sizeof *resolver);
  resolver->loop = loop;
  return resolver;
}

static void free_name(struct name *name)
{
  free(name->host);
  free(name->port);
  free(name);
}

static void forget(struct name *name)
{
  LIST_REMOVE(name, link);
  free_name(name);
}

/* The request is libuv's until it calls back. */
static void give_up(struct name *name)
{
  name->request->data = NULL;
  uv_cancel((uv_req_t *)name->request);
  forget(name);
}

void tg_resolver_free(struct tg_resolver *resolver)
{
  if (!resolver)
    return;
  while (!LIST_EMPTY(&resolver->names))
    forget(LIST_FIRST(&resolver->names));
  free(resolver);
}

static struct name *find(const struct tg_resolver *resolver, const char *host, const char *port)
{
  struct name *name;
  LIST_FOREACH(name, &resolver->names, link)
  {
    if (strcmp(name->host, host) == 0 && strcmp(name->port, port) == 0)
      return name;
  }
  return NULL;
}

static void forget_old(struct tg_resolver *resolver, tg_ms now)
{
  for (struct name *name = LIST_FIRST(&resolver->names), *next; name; name = next) {
    next = LIST_NEXT(name, link);
    if (!name->request && name->known_until <= now)
      forget(name);
  }
}

const struct tg_addresses *tg_resolver_recall(struct tg_resolver *resolver, const char *host,
                                              const char *port)
{
  forget_old(resolver, tg_now());
  const struct name *name = find(resolver, host, port);
  return name && !name->request ? &name->addresses : NULL;
}

static void tell(struct name *name, int status)
{
  struct tg_lookup *lookup;
  while ((lookup = TAILQ_FIRST(&name->waiting)) != NULL) {
    TAILQ_REMOVE(&name->waiting, lookup, link);
    lookup->done(lookup->ctx, status, &name->addresses);
    free(lookup);
  }
}

/* Whoever is told may ask again at once: for what is not known that is another look-up. */
static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
  struct name *name = request->data;
  free(request);
  if (name) { /* somebody waits */
    name->request = NULL;
    name->known_until = INT64_MAX; /* for as long as it is told, which may take any time */
    tg_addresses_take(&name->addresses, found);
    bool known = status == 0 && name->addresses.count > 0;
    if (!known)
      LIST_REMOVE(name, link);
    tell(name, status);
    name->known_until = tg_now() + KNOWN_FOR;
    if (!known)
      free_name(name);
  }
  uv_freeaddrinfo(found);
}

static struct name *ask_for(struct tg_resolver *resolver, const char *host, const char *port)
{
  struct name *name = tg_calloc(1, sizeof *name);
  name->host = tg_strdup(host);
  name->port = tg_strdup(port);
  TAILQ_INIT(&name->waiting);
  name->request = tg_calloc(1, sizeof *name->request);
  name->request->data = name;
  LIST_INSERT_HEAD(&resolver->names, name, link);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  if (uv_getaddrinfo(resolver->loop, name->request, on_answer, host, port, &hints) != 0) {
    /* Only a name that is no name fails at once; say so from the loop. */
    uv_getaddrinfo(resolver->loop, name->request, on_answer, "invalid.", port, &hints);
  }
  return name;
}

struct tg_lookup *tg_lookup_begin(struct tg_resolver *resolver, const char *host, const char *port,
                                  tg_looked_up *done, void *ctx)
{
  struct name *name = find(resolver, host, port);
  struct tg_lookup *lookup = tg_calloc(1, sizeof *lookup);
  *lookup = (struct tg_lookup){.name = name ? name : ask_for(resolver, host, port), .done = done, .ctx = ctx};
  TAILQ_INSERT_TAIL(&lookup->name->waiting, lookup, link);
  return lookup;
}

void tg_lookup_free(struct tg_lookup *lookup)
{
  if (!lookup)
    return;
  struct name *name = lookup->name;
  TAILQ_REMOVE(&name->waiting, lookup, link);
  free(lookup);
  if (name->request && TAILQ_EMPTY(&name->waiting))
    give_up(name);
}
