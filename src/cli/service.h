#pragma once

/* What the service manager is told: systemd, or whoever else sets NOTIFY_SOCKET
 * and reads datagrams there as sd_notify(3) describes them. Without that variable
 * nothing here does anything.
 *
 *   READY=1       gateway information is there, workers have loaded, the shards
 *                 begin to start. Not when all are up: that takes a big bot 20
 *                 minutes, and STATUS tells of it
 *   STATUS=       how many shards are up, when it changes, once a second at most
 *   EXTEND_TIMEOUT_USEC=
 *                 while Discord has put the start off
 *   RELOADING=1   with MONOTONIC_USEC, of a reload and of an upgrade, during which
 *                 the process stays the main one; READY=1 again when it is over,
 *                 for better or worse
 *   STOPPING=1
 *   WATCHDOG=1    from the manager's loop, twice in WATCHDOG_USEC
 *
 * Owned by the command `run`; loop thread only. */

#include "manager/manager.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

enum { TG_SERVICE_TEXT = 256 };

struct tg_service {
  int fd; /* -1: nobody listens */
  struct sockaddr_un address;
  socklen_t address_size;
  uint64_t watchdog; /* ms between two signs of life; 0: nobody waits for them */
  bool complained;   /* a message could not be sent, and the log says so */
  uv_timer_t beat, look;
  struct tg_manager *manager;
  bool ready, stopping, reload_failed;
  char said[TG_SERVICE_TEXT]; /* the last STATUS */
};

/* Takes the variables out of the environment, so that neither workers nor
 * children of scripts speak in our name. Before anything else starts. */
void tg_service_begin(struct tg_service *service);

/* The service was ready before this program took over. */
void tg_service_goes_on(struct tg_service *service);

/* From here on the loop tells. `manager` has tg_service_news() for its news. */
void tg_service_attach(struct tg_service *service, uv_loop_t *loop, struct tg_manager *manager);

void tg_service_news(struct tg_service *service, enum tg_manager_news news);

/* After this the manager may be freed; the loop closes the timers. */
void tg_service_end(struct tg_service *service);
