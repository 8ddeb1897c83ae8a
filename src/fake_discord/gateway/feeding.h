#pragma once

/* What feeds sessions and connections with events hears here when it may go on. Who that is (emit/) is not
 * known here: it fills the tables. */

#include <stddef.h>

struct tg_fake;
struct tg_fake_conn;
struct tg_fake_pump;

struct tg_fake_feeding {
  /* Something changed that emission may wait for: a session came or went, a connection has room. */
  void (*kick)(struct tg_fake *fake);

  /* Of a connection with a pump, which is fed past the log of its session: */
  void (*run)(struct tg_fake_pump *pump);                                     /* it takes more */
  void (*hold)(struct tg_fake_pump *pump, const char *text, size_t length); /* until it fits between */
  void (*end)(struct tg_fake_conn *conn);                                     /* with or without a pump */
};
