#include "cli/service.h"

#include "base/log.h"
#include "manager/status.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
  LOOK_EVERY = 1000,      /* ms */
  SEND_PATIENCE = 500000, /* us: a service manager that does not read must not hold up the gateway */
};

/* ---- the environment ---- */

static void open_socket(struct tg_service *service, const char *name)
{
  size_t length = strlen(name);
  struct sockaddr_un *address = &service->address;
  if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof address->sun_path) {
    tg_log(TG_WARN, TG_NO_SHARD,
           "NOTIFY_SOCKET is not the path of a socket, nor an abstract name (@...): nobody is notified");
    return;
  }
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, name, length);
  if (name[0] == '@')
    address->sun_path[0] = '\0';
  service->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_usec = SEND_PATIENCE};
  if (service->fd >= 0)
    setsockopt(service->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static uint64_t watchdog_time(const char *usec, const char *pid)
{
  if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
    return 0;
  char *end;
  uint64_t time = strtoull(usec, &end, 10) / 2000;
  if (end == usec || *end)
    return 0;
  return time > 0 ? time : 1;
}

void tg_service_begin(struct tg_service *service)
{
  *service = (struct tg_service){.fd = -1};
  const char *name = getenv("NOTIFY_SOCKET");
  if (name && *name)
    open_socket(service, name);
  service->watchdog = watchdog_time(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
}

/* ---- messages ---- */

static void send_text(struct tg_service *service, const char *text, int flags)
{
  if (service->fd < 0)
    return;
  if (sendto(service->fd, text, strlen(text), flags | MSG_NOSIGNAL, (struct sockaddr *)&service->address,
             service->address_size) >= 0) {
    service->complained = false;
    return;
  }
  if (!service->complained)
    tg_log(TG_WARN, TG_NO_SHARD, "the service manager cannot be notified (NOTIFY_SOCKET): %s",
           strerror(errno));
  service->complained = true;
}

static void compose_status(struct tg_service *service)
{
  char text[TG_SERVICE_TEXT - 64];
  tg_manager_status_text(service->manager, text, sizeof text);
  snprintf(service->said, sizeof service->said, "%s%s", text,
           service->reload_failed ? "; the last reload has failed, the log says why" : "");
}

/* With the state as it is now. */
static void send_state(struct tg_service *service, const char *state)
{
  char text[TG_SERVICE_TEXT + 128];
  compose_status(service);
  snprintf(text, sizeof text, "%s\nSTATUS=%s", state, service->said);
  send_text(service, text, 0);
}

/* Put off by Discord, for longer than the service manager grants a start: ended
 * and started anew, the gateway would ask too early again and again. */
static void ask_for_time(struct tg_service *service)
{
  char text[TG_SERVICE_TEXT];
  tg_ms left;
  if (!service->ready && !service->stopping &&
      tg_gateway_waits(service->manager, text, sizeof text, &left))
    send_text(service, "EXTEND_TIMEOUT_USEC=60000000", MSG_DONTWAIT);
}

static void look(struct tg_service *service)
{
  char before[TG_SERVICE_TEXT], text[TG_SERVICE_TEXT + 16];
  memcpy(before, service->said, sizeof before);
  compose_status(service);
  if (strcmp(before, service->said) == 0)
    return;
  snprintf(text, sizeof text, "STATUS=%s", service->said);
  send_text(service, text, MSG_DONTWAIT);
}

static void on_look(uv_timer_t *timer)
{
  look(timer->data);
  ask_for_time(timer->data);
}

static void on_beat(uv_timer_t *timer) { send_text(timer->data, "WATCHDOG=1", MSG_DONTWAIT); }

static void send_reloading(struct tg_service *service, const char *what)
{
  struct timespec now;
  char text[128];
  clock_gettime(CLOCK_MONOTONIC, &now);
  snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=%s",
           (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, what);
  service->said[0] = '\0';
  send_text(service, text, 0);
}

void tg_service_news(struct tg_service *service, enum tg_manager_news news)
{
  if (!service->manager || service->stopping)
    return;
  switch (news) {
  case TG_MANAGER_IS_RUNNING:
    service->ready = true;
    send_state(service, "READY=1");
    break;
  case TG_MANAGER_RELOADING:
    if (service->ready)
      send_reloading(service, "reloading");
    break;
  case TG_MANAGER_UPGRADING:
    if (service->ready)
      send_reloading(service, "upgrading");
    break;
  case TG_MANAGER_UPGRADED:
    if (service->ready)
      send_state(service, "READY=1");
    break;
  case TG_MANAGER_RELOADED:
  case TG_MANAGER_RELOAD_FAILED:
    service->reload_failed = news == TG_MANAGER_RELOAD_FAILED;
    if (service->ready)
      send_state(service, "READY=1");
    break;
  case TG_MANAGER_IS_STOPPING:
    service->stopping = true;
    service->reload_failed = false;
    send_state(service, "STOPPING=1");
    break;
  }
}

/* ---- life ---- */

void tg_service_attach(struct tg_service *service, uv_loop_t *loop, struct tg_manager *manager)
{
  if (service->fd < 0)
    return;
  service->manager = manager;
  uv_timer_init(loop, &service->look);
  uv_timer_init(loop, &service->beat);
  service->look.data = service->beat.data = service;
  uv_timer_start(&service->look, on_look, 0, LOOK_EVERY);
  if (service->watchdog > 0)
    uv_timer_start(&service->beat, on_beat, 0, service->watchdog);
}

void tg_service_goes_on(struct tg_service *service)
{
  service->ready = true;
}

void tg_service_end(struct tg_service *service)
{
  if (service->manager) {
    uv_close((uv_handle_t *)&service->look, NULL);
    uv_close((uv_handle_t *)&service->beat, NULL);
  }
  service->manager = NULL;
  if (service->fd >= 0)
    close(service->fd);
  service->fd = -1;
}
