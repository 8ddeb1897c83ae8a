#include "net/crowd.h"

#include <netinet/in.h>
#include <string.h>

enum { NETWORK_OF_V6 = 8 /* bytes: who has one address of a /64 has them all */ };

static void at_v4(struct tg_standing *standing, const unsigned char address[4])
{
  standing->local = address[0] == IN_LOOPBACKNET;
  memcpy(standing->network, address, 4);
}

static void at_v6(struct tg_standing *standing, const struct in6_addr *address)
{
  if (IN6_IS_ADDR_V4MAPPED(address)) {
    at_v4(standing, address->s6_addr + 12);
    return;
  }
  standing->local = IN6_IS_ADDR_LOOPBACK(address);
  memcpy(standing->network, address->s6_addr, NETWORK_OF_V6);
}

void tg_standing_at(struct tg_standing *standing, const struct sockaddr *peer)
{
  memset(standing->network, 0, sizeof standing->network);
  standing->local = true; /* of a unix socket */
  if (peer->sa_family == AF_INET)
    at_v4(standing, (const void *)&((const struct sockaddr_in *)peer)->sin_addr);
  else if (peer->sa_family == AF_INET6)
    at_v6(standing, &((const struct sockaddr_in6 *)peer)->sin6_addr);
}

bool tg_standing_together(const struct tg_standing *one, const struct tg_standing *other)
{
  return !one->local && !other->local && !one->known && !other->known &&
         memcmp(one->network, other->network, sizeof one->network) == 0;
}

bool tg_standing_may_go(const struct tg_standing *standing, tg_ms now)
{
  return standing->use < TG_USE_SERVED && now - standing->since >= TG_STANDING_GRACE;
}

bool tg_standing_goes_before(const struct tg_standing *standing, const struct tg_standing *other)
{
  if (standing->use != other->use)
    return standing->use < other->use;
  if (standing->known != other->known)
    return other->known;
  if (standing->local != other->local)
    return other->local;
  return standing->since < other->since;
}
