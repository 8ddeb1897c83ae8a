#include "net/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

bool tg_address_set(struct tg_address *address, const struct sockaddr *at, socklen_t size)
{
  *address = (struct tg_address){0}; /* so that equal ones are equal in every byte */
  if (at->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *from = (const struct sockaddr_in *)at;
    struct sockaddr_in *to = (struct sockaddr_in *)&address->at;
    to->sin_family = AF_INET;
    to->sin_port = from->sin_port;
    to->sin_addr = from->sin_addr;
    address->size = sizeof *to;
  } else if (at->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
    const struct sockaddr_in6 *from = (const struct sockaddr_in6 *)at;
    struct sockaddr_in6 *to = (struct sockaddr_in6 *)&address->at;
    to->sin6_family = AF_INET6;
    to->sin6_port = from->sin6_port;
    to->sin6_addr = from->sin6_addr;
    to->sin6_scope_id = from->sin6_scope_id;
    address->size = sizeof *to;
  }
  return address->size > 0;
}

bool tg_address_set_unix(struct tg_address *address, const char *path)
{
  struct sockaddr_un *to = (struct sockaddr_un *)&address->at;
  *address = (struct tg_address){0};
  if (strlen(path) >= sizeof to->sun_path)
    return false;
  to->sun_family = AF_UNIX;
  memcpy(to->sun_path, path, strlen(path));
  address->size = sizeof *to;
  return true;
}

bool tg_address_equal(const struct tg_address *one, const struct tg_address *other)
{
  return one->size == other->size && memcmp(&one->at, &other->at, one->size) == 0;
}

void tg_address_text(const struct tg_address *address, char text[TG_ADDRESS_TEXT])
{
  const struct sockaddr *at = (const struct sockaddr *)&address->at;
  if (getnameinfo(at, address->size, text, TG_ADDRESS_TEXT, NULL, 0, NI_NUMERICHOST) != 0)
    snprintf(text, TG_ADDRESS_TEXT, "?");
}

/* ---- the order ---- */

static bool contains(const struct tg_addresses *addresses, const struct tg_address *address)
{
  for (int i = 0; i < addresses->count; i++)
    if (tg_address_equal(&addresses->list[i], address))
      return true;
  return false;
}

/* The next address of that family (or of the other one), from *at on, that is not in the list yet. */
static bool next_of(const struct addrinfo **at, int family, bool same, const struct tg_addresses *addresses,
                    struct tg_address *address)
{
  for (; *at; *at = (*at)->ai_next) {
    if (((*at)->ai_family == family) == same && tg_address_set(address, (*at)->ai_addr, (*at)->ai_addrlen) &&
        !contains(addresses, address))
      return true;
  }
  return false;
}

void tg_addresses_take(struct tg_addresses *addresses, const struct addrinfo *found)
{
  const struct addrinfo *own = found, *other = found;
  struct tg_address address;
  bool turn = true;
  addresses->count = 0;
  while (addresses->count < TG_ADDRESSES_MAX) {
    if (!next_of(turn ? &own : &other, found ? found->ai_family : 0, turn, addresses, &address)) {
      turn = !turn;
      if (!next_of(turn ? &own : &other, found ? found->ai_family : 0, turn, addresses, &address))
        break;
    }
    addresses->list[addresses->count++] = address;
    turn = !turn;
  }
}

/* ---- the memory ---- */

static int find(const struct tg_address_memory *memory, const struct tg_address *address)
{
  for (int i = 0; i < memory->count; i++)
    if (tg_address_equal(&memory->list[i].address, address))
      return i;
  return -1;
}

static void forget(struct tg_address_memory *memory, int index)
{
  memory->count--;
  memmove(&memory->list[index], &memory->list[index + 1],
          (size_t)(memory->count - index) * sizeof memory->list[0]);
}

void tg_address_failed(struct tg_address_memory *memory, const struct tg_address *address, tg_ms now)
{
  tg_address_worked(memory, address);
  if (memory->count == TG_MEMORY_MAX)
    forget(memory, 0);
  memory->list[memory->count].address = *address;
  memory->list[memory->count++].failed_at = now;
}

void tg_address_worked(struct tg_address_memory *memory, const struct tg_address *address)
{
  int index = find(memory, address);
  if (index >= 0)
    forget(memory, index);
}

/* The place among failures, the oldest first; -1: none that counts. */
static int rank(const struct tg_address_memory *memory, const struct tg_address *address, tg_ms now)
{
  int index = find(memory, address);
  return index >= 0 && now - memory->list[index].failed_at < TG_MEMORY_TIME ? index : -1;
}

bool tg_address_is_bad(const struct tg_address_memory *memory, const struct tg_address *address, tg_ms now)
{
  return rank(memory, address, now) >= 0;
}

void tg_addresses_sort(struct tg_addresses *addresses, const struct tg_address_memory *memory, tg_ms now)
{
  for (int i = 1; i < addresses->count; i++) {
    struct tg_address address = addresses->list[i];
    int own = rank(memory, &address, now), at = i;
    for (; at > 0 && rank(memory, &addresses->list[at - 1], now) > own; at--)
      addresses->list[at] = addresses->list[at - 1];
    addresses->list[at] = address;
  }
}
