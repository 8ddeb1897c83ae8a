#pragma once

/* What the kernel knows of a TCP connection. */

#include <stdint.h>

enum tg_tcp_state {
  TG_TCP_STANDS,   /* established */
  TG_TCP_FINISHED, /* the peer has sent all, and its end */
  TG_TCP_GONE,     /* reset, timed out, or no TCP at all */
};

struct tg_tcp_facts {
  enum tg_tcp_state state;
  uint64_t received; /* bytes, of whatever kind */
};

struct tg_tcp_facts tg_tcp_facts(int fd);
