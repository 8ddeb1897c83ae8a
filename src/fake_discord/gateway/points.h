#pragma once

/* The points at which something may take the place of what a Discord that is well does. Who stands there
 * (faults/) is not known here: it fills the table before the first connection comes. */

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_fake;
struct tg_fake_conn;
struct tg_fake_http;
struct tg_fake_identify;
struct tg_fake_request;

enum tg_fake_outcome {
  TG_FAKE_GO_ON,   /* as if nothing had been */
  TG_FAKE_INSTEAD, /* something else has taken the place of what usually comes */
};

struct tg_fake_points {
  bool (*accept)(struct tg_fake *fake, int fd); /* true: the socket is taken care of */
  /* A request, to upgrade or of REST. `go_on` may be called later, unless the connection ends. */
  enum tg_fake_outcome (*http)(struct tg_fake *fake, struct tg_fake_http *http,
                               const struct tg_fake_request *request, bool upgrade,
                               void (*go_on)(void *http));
  enum tg_fake_outcome (*hello)(struct tg_fake_conn *conn);
  enum tg_fake_outcome (*identify)(struct tg_fake_conn *conn, const struct tg_fake_identify *identify);
  enum tg_fake_outcome (*resume)(struct tg_fake_conn *conn, const char *session_id, uint64_t seq);
  bool (*beat)(struct tg_fake_conn *conn); /* whether op 11 is sent */
};
