#include "cli/stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  GRACE = 100,    /* ms for the next program, which answers better */
  PATIENCE = 200, /* ms for a client to say what it wants */
  LIFE = 60000,   /* ms without a word: then something is wrong that this does not mend */
  REST = 'r',
  ACT = 'a',
};

#define HEAD(status) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n"

static const char well[] = HEAD("200 OK") "Content-Length: 15\r\n\r\n{\"status\":\"ok\"}";
static const char later[] = HEAD(
    "503 Service Unavailable") "Retry-After: 1\r\nContent-Length: 64\r\n\r\n"
                               "{\"error\":\"an upgrade is under way\",\"code\":\"upgrade_running\"}   \n";

static void send_all(int fd, const char *text, size_t length)
{
  while (length > 0) {
    ssize_t sent = send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0)
      return;
    text += sent;
    length -= (size_t)sent;
  }
}

/* From here on nothing but what may be done between fork() and exec(): other threads are gone, with their
 * locks. */
static void answer(int listener)
{
  static const char wanted[] = "GET /healthz ";
  char head[4096];
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  struct pollfd client = {.fd = fd, .events = POLLIN};
  if (fd < 0)
    return;
  ssize_t length = poll(&client, 1, PATIENCE) > 0 ? read(fd, head, sizeof head) : 0;
  bool is_health = length >= (ssize_t)sizeof wanted - 1 && memcmp(head, wanted, sizeof wanted - 1) == 0;
  if (is_health)
    send_all(fd, well, sizeof well - 1);
  else if (length > 0)
    send_all(fd, later, sizeof later - 1);
  shutdown(fd, SHUT_WR);
  close(fd);
}

static void stand_in(int listener, int line)
{
  bool acts = true, begun = false;
  for (;;) {
    struct pollfd polled[] = {{.fd = line, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    int ready = poll(polled, acts && begun ? 2 : 1, acts && !begun ? GRACE : LIFE);
    if (ready == 0 && (begun || !acts))
      return;
    if (ready == 0)
      begun = true;
    if (ready < 0 && errno != EINTR)
      return;
    if (ready > 0 && polled[0].revents) {
      char word;
      if (read(line, &word, 1) != 1)
        return;
      acts = word == ACT;
      begun = false;
    } else if (ready > 0 && acts && begun && polled[1].revents) {
      answer(listener);
    }
  }
}

/* Twice, so that it is nobody's child here. */
int tg_stand_in_start(int listener)
{
  int ends[2];
  if (listener < 0 || pipe2(ends, O_CLOEXEC) != 0)
    return -1;
  pid_t child = fork();
  if (child == 0) {
    if (fork() == 0) {
      prctl(PR_SET_NAME, "tidegate-health");
      dup2(listener, STDIN_FILENO);
      dup2(ends[0], STDOUT_FILENO);
      close_range(STDERR_FILENO, ~0U, 0);
      stand_in(STDIN_FILENO, STDOUT_FILENO);
    }
    _exit(0);
  }
  close(ends[0]);
  if (child > 0 && waitpid(child, NULL, 0) == child)
    return ends[1];
  close(ends[1]);
  return -1;
}

static void say(int fd, char word)
{
  ssize_t written = fd >= 0 ? write(fd, &word, 1) : 0;
  (void)written; /* it may be gone: nobody needs it then */
}

void tg_stand_in_rest(int fd)
{
  say(fd, REST);
}

void tg_stand_in_act(int fd)
{
  say(fd, ACT);
}
