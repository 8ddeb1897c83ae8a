#pragma once

/* The addresses that a name leads to, in the order in which to try them, and
 * the memory of those that did no good. Pure: whoever has the sockets tells. */

#include "base/clock.h"

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct tg_address {
  struct sockaddr_storage at; /* IPv4 or IPv6, with its port; or of a unix socket */
  socklen_t size;
};

enum { TG_ADDRESSES_MAX = 16 }; /* of one name; more are not looked at */

struct tg_addresses {
  struct tg_address list[TG_ADDRESSES_MAX];
  int count;
};

bool tg_address_equal(const struct tg_address *one, const struct tg_address *other);

/* False: neither IPv4 nor IPv6. */
bool tg_address_set(struct tg_address *address, const struct sockaddr *at, socklen_t size);

/* Of a unix socket. False: the path is too long for one (107 bytes). */
bool tg_address_set_unix(struct tg_address *address, const char *path);

enum { TG_ADDRESS_TEXT = 64 };

/* "192.0.2.1", "2001:db8::1": without the port. */
void tg_address_text(const struct tg_address *address, char text[TG_ADDRESS_TEXT]);

/* From what getaddrinfo() has found and ordered: each address once, the families
 * taking turns, beginning with that of the first one (RFC 8305, 4). */
void tg_addresses_take(struct tg_addresses *addresses, const struct addrinfo *found);

/* Addresses that took a TCP connection, or should have, and then nothing came of
 * it. That is no verdict: they are tried later than others, for a while. */
enum { TG_MEMORY_MAX = 64, TG_MEMORY_TIME = 600000 /* ms */ };

struct tg_address_memory {
  struct {
    struct tg_address address;
    tg_ms failed_at;
  } list[TG_MEMORY_MAX]; /* the oldest failure first */
  int count;
};

void tg_address_failed(struct tg_address_memory *memory, const struct tg_address *address, tg_ms now);
void tg_address_worked(struct tg_address_memory *memory, const struct tg_address *address);
bool tg_address_is_bad(const struct tg_address_memory *memory, const struct tg_address *address, tg_ms now);

/* Those that have failed lately go to the end, the one that failed last to the
 * very end: the next try begins where the last one did not. */
void tg_addresses_sort(struct tg_addresses *addresses, const struct tg_address_memory *memory, tg_ms now);
