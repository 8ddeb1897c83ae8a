/* The event handler of `scripts/bench latency` and `order`: answers each POST with 204, at once or after so
 * many ms, and notes how long ago its event was made.
 *
 *     latency_probe [MS]   prints "port N"; at SIGTERM "count N", then a line "US COUNT" for each
 *                          class of latencies: those up to US microseconds, and above the one before
 *
 * An event tells in "stamp" when it was made, in microseconds of CLOCK_MONOTONIC. What counts is when the
 * first byte of its request could be read. Classes are four to each doubling, so that a figure is off by 19 %
 * at most. The events are those of the fake Discord (--set stamped=true), so that the time which it takes to
 * compress, encrypt and write one is part of the figure. */

#include <arpa/inet.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 256, ROOM = 256 * 1024, CLASSES = 4 * 32 };

struct client {
  size_t length;
  uint64_t began; /* us: the first byte of what is in `bytes` */
  uint64_t due;   /* us: its request is answered then; 0: it has none */
  char bytes[ROOM];
};

static struct client *clients[CLIENTS];
static struct pollfd polled[CLIENTS]; /* the first is the listening socket */
static nfds_t count = 1;
static uint64_t delay; /* us */
static uint64_t classes[CLASSES], events;
static volatile sig_atomic_t stopped;

static void give_up(const char *what)
{
  perror(what);
  exit(1);
}

static void on_signal(int number)
{
  (void)number;
  stopped = 1;
}

static uint64_t now_us(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void note(const char *body, uint64_t at)
{
  const char *stamp = strstr(body, "\"stamp\":");
  if (!stamp)
    return; /* READY, guilds */
  uint64_t made = strtoull(stamp + strlen("\"stamp\":"), NULL, 10), us = at > made ? at - made : 1;
  int class = (int)ceil(4 * log2((double)us));
  classes[class < CLASSES ? class : CLASSES - 1]++;
  events++;
}

static void answer(struct client *client, int fd)
{
  static const char text[] = "HTTP/1.1 204 No Content\r\n\r\n";
  client->due = 0;
  if (write(fd, text, sizeof text - 1) < 0)
    perror("an answer could not be written");
}

/* False: the request is not whole yet. */
static bool take_request(struct client *client, int fd)
{
  client->bytes[client->length] = '\0';
  char *end = strstr(client->bytes, "\r\n\r\n"), *field = strcasestr(client->bytes, "\r\ncontent-length:");
  if (!end)
    return false;
  char *body = end + 4;
  size_t size = field && field < end ? strtoul(field + strlen("\r\ncontent-length:"), NULL, 10) : 0;
  size_t whole = (size_t)(body - client->bytes) + size;
  if (client->length < whole)
    return false;
  note(body, client->began);
  if (delay > 0)
    client->due = client->began + delay; /* nobody sends another before that */
  else
    answer(client, fd);
  client->length -= whole;
  memmove(client->bytes, client->bytes + whole, client->length);
  return true;
}

static void drop(nfds_t i)
{
  close(polled[i].fd);
  free(clients[i]);
  polled[i] = polled[--count];
  clients[i] = clients[count];
}

static void read_client(nfds_t i)
{
  struct client *client = clients[i];
  if (client->length == 0)
    client->began = now_us();
  ssize_t got = read(polled[i].fd, client->bytes + client->length, ROOM - 1 - client->length);
  if (got <= 0) {
    drop(i);
    return;
  }
  client->length += (size_t)got;
  while (client->length > 0 && take_request(client, polled[i].fd))
    client->began = now_us();
}

static void accept_client(void)
{
  int fd = accept(polled[0].fd, NULL, NULL), on = 1;
  if (fd < 0 || count == CLIENTS) {
    close(fd);
    return;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  clients[count] = calloc(1, sizeof **clients);
  polled[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void listen_here(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, CLIENTS) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) != 0)
    give_up("a port to listen at");
  polled[0] = (struct pollfd){.fd = fd, .events = POLLIN};
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
}

static void report(void)
{
  printf("count %" PRIu64 "\n", events);
  for (int i = 0; i < CLASSES; i++)
    if (classes[i] > 0)
      printf("%.0f %" PRIu64 "\n", exp2(i / 4.0), classes[i]);
}

/* Answers what is due. Returns until when there is nothing to do. */
static const struct timespec *answer_due(struct timespec *wait)
{
  uint64_t now = now_us(), first = UINT64_MAX;
  for (nfds_t i = 1; delay > 0 && i < count; i++) {
    if (clients[i]->due != 0 && clients[i]->due <= now)
      answer(clients[i], polled[i].fd);
    if (clients[i]->due != 0 && clients[i]->due < first)
      first = clients[i]->due;
  }
  if (first == UINT64_MAX)
    return NULL;
  *wait = (struct timespec){(time_t)((first - now) / 1000000), (long)((first - now) % 1000000 * 1000)};
  return wait;
}

int main(int argc, char **argv)
{
  struct timespec wait;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  delay = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000 : 0;
  listen_here();
  while (!stopped) {
    if (ppoll(polled, count, answer_due(&wait), NULL) < 0)
      continue;
    if (polled[0].revents)
      accept_client();
    for (nfds_t i = count; i-- > 1;)
      if (polled[i].revents)
        read_client(i);
  }
  report();
  return 0;
}
