#pragma once

/* Memory that was freed, but that the allocator keeps: what a backlog has taken, or many handshakes at once,
 * would stay with the process for ever, since something that lives on lies behind it. What nobody has used
 * for a while goes back to the system; what comes and goes in bursts stays, for new pages cost more than the
 * events in them. */

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For once a second, or so; looks every ten seconds. First when the process has begun: what it has grown by
 * since is what may be spare. */
void tg_spare_memory_look(tg_ms now);

/* What decides it; begin with zeros. */
struct tg_spare_memory {
  bool known;    /* the rest is */
  size_t floor;  /* the least that was ever resident */
  int64_t least; /* resident and not used, since memory went back */
  bool much;     /* was spare at the last look */
};

/* In bytes. Of what is free an unknown part has gone back already, and of what is used not all has been
 * touched: what is resident and not used tells by how much it has grown, not how much it is. */
struct tg_memory_use {
  size_t resident, used, free;
};

/* Whether the process is so small that there is no need to find out what is used. */
bool tg_spare_memory_is_little(struct tg_spare_memory *spare, size_t resident);
/* True: there has been much at two looks in a row, and it is to go back. */
bool tg_spare_memory_note(struct tg_spare_memory *spare, const struct tg_memory_use *use);
/* It has; so much is resident still, of which so much is used. */
void tg_spare_memory_returned(struct tg_spare_memory *spare, size_t resident, size_t used);
