/* The yardstick of `scripts/bench paced`: a relay that does what it must and nothing besides.
 *
 *     paced_relay PORT TOKEN INTENTS SHARDS [HANDLER_PORT]
 *                    prints "ready" when all shards have had READY; at SIGTERM "events N answers N"
 *
 * It keeps a connection of zlib-stream to the fake Discord on that port for each shard, reads frames and
 * inflates them. With HANDLER_PORT it sends each MESSAGE_CREATE as a POST to it, over one connection a shard
 * that is kept alive, and reads the answers. One thread, one epoll, no TLS, no heartbeat (the fake has to
 * want none), no queue, nothing that goes wrong: what does ends it. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

enum { SHARDS_MAX = 256, ROOM = 256 * 1024, LOOKED_AT = 64, WAKES = 64 };

struct shard {
  int id, gateway, handler;
  z_stream zlib;
  size_t length; /* of the frame that has not come whole */
  char *bytes;
  bool identified;
};

static struct shard shards[SHARDS_MAX];
static int shard_count, ready;
static const char *token, *intents;
static bool posts;
static uint64_t events, answers;
static volatile sig_atomic_t stopped;

static void give_up(const char *what)
{
  fprintf(stderr, "paced_relay: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void on_signal(int number)
{
  (void)number;
  stopped = 1;
}

static int connect_to(int port)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    give_up("a connection");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static void send_whole(int fd, const struct iovec *parts, int count)
{
  size_t length = 0;
  for (int i = 0; i < count; i++)
    length += parts[i].iov_len;
  if (writev(fd, parts, count) != (ssize_t)length)
    give_up("a socket does not take what is sent");
}

__attribute__((format(printf, 3, 4))) static size_t print(char *text, size_t size, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  int length = vsnprintf(text, size, format, args);
  va_end(args);
  return (size_t)length;
}

/* --- the gateway's side ------------------------------------------------------------------------- */

static void identify(struct shard *shard)
{
  char text[512], frame[8 + sizeof text] = {(char)0x81, (char)(0x80 | 126)}; /* its mask is 0 */
  size_t length =
      print(text, sizeof text,
            "{\"op\":2,\"d\":{\"token\":\"%s\",\"properties\":{\"os\":\"linux\",\"browser\":\"b\","
            "\"device\":\"d\"},\"compress\":false,\"shard\":[%d,%d],\"intents\":%s}}",
            token, shard->id, shard_count, intents);
  frame[2] = (char)(length >> 8);
  frame[3] = (char)length;
  memcpy(frame + 8, text, length);
  send_whole(shard->gateway, &(struct iovec){frame, 8 + length}, 1);
  shard->identified = true;
}

static void post(struct shard *shard, char *text, size_t length)
{
  char head[512];
  size_t size =
      print(head, sizeof head,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Idempotency-Key: %d:1:%llu\r\nAuthorization: bench-secret\r\nContent-Length: %zu\r\n\r\n",
            shard->id, (unsigned long long)events, length);
  send_whole(shard->handler, (struct iovec[]){{head, size}, {text, length}}, 2);
}

static void take_message(struct shard *shard, char *text, size_t length)
{
  size_t looked_at = length < LOOKED_AT ? length : LOOKED_AT;
  if (memmem(text, looked_at, "\"MESSAGE_CREATE\"", 16)) {
    events++;
    if (posts)
      post(shard, text, length);
  } else if (!shard->identified) {
    identify(shard); /* it was HELLO */
  } else if (memmem(text, looked_at, "\"READY\"", 7) && ++ready == shard_count) {
    puts("ready");
    fflush(stdout);
  }
}

/* One message a frame, as Discord has it. */
static void take_frame(struct shard *shard, char *payload, size_t length)
{
  static char text[ROOM];
  z_stream *zlib = &shard->zlib;
  zlib->next_in = (unsigned char *)payload;
  zlib->avail_in = (unsigned)length;
  zlib->next_out = (unsigned char *)text;
  zlib->avail_out = sizeof text;
  if (inflate(zlib, Z_SYNC_FLUSH) != Z_OK || zlib->avail_in > 0)
    give_up("a message cannot be inflated");
  take_message(shard, text, sizeof text - zlib->avail_out);
}

/* How many bytes of a frame's header there are, and how many behind it. */
static bool read_header(const unsigned char *at, size_t available, size_t *header, size_t *payload)
{
  size_t wide = available < 2 ? 0 : at[1] == 126 ? 2 : at[1] == 127 ? 8 : 0;
  *header = 2 + wide;
  if (available < *header)
    return false;
  *payload = wide > 0 ? 0 : at[1];
  for (size_t i = 0; i < wide; i++)
    *payload = *payload << 8 | at[2 + i];
  return true;
}

static void read_gateway(struct shard *shard)
{
  static char shared[ROOM];
  size_t begun = shard->length, header, payload;
  if (begun > 0)
    memcpy(shared, shard->bytes, begun);
  ssize_t got = recv(shard->gateway, shared + begun, sizeof shared - begun, 0);
  if (got <= 0)
    give_up("the fake Discord has closed");
  char *at = shared, *end = shared + begun + got;
  while (read_header((unsigned char *)at, (size_t)(end - at), &header, &payload) &&
         (size_t)(end - at) >= header + payload) {
    take_frame(shard, at + header, payload);
    at += header + payload;
  }
  shard->length = (size_t)(end - at);
  if (shard->length > 0) {
    shard->bytes = realloc(shard->bytes, ROOM);
    memcpy(shard->bytes, at, shard->length);
  }
}

/* Byte by byte, so that what comes behind it stays for the loop. */
static void upgrade(struct shard *shard, int port)
{
  char text[1024];
  size_t length = print(text, sizeof text,
                        "GET /?v=10&encoding=json&compress=zlib-stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nUser-Agent: DiscordBot (relay, 1)\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        port);
  send_whole(shard->gateway, &(struct iovec){text, length}, 1);
  length = 0;
  do {
    if (length == sizeof text - 1 || read(shard->gateway, text + length, 1) != 1)
      give_up("the upgrade");
    text[++length] = '\0';
  } while (length < 4 || strcmp(text + length - 4, "\r\n\r\n") != 0);
  if (!strstr(text, " 101 "))
    give_up("the fake Discord does not want to upgrade");
}

/* --- the handler's side ------------------------------------------------------------------------- */

static void read_handler(struct shard *shard)
{
  char text[4096];
  ssize_t got = recv(shard->handler, text, sizeof text, 0);
  if (got <= 0)
    give_up("the event handler has closed");
  for (char *at = text, *end = text + got; (at = memmem(at, (size_t)(end - at), "HTTP/1.1 204", 12)); at++)
    answers++;
}

/* --- all of it ---------------------------------------------------------------------------------- */

static void watch(int epoll, int fd, uint32_t what)
{
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    give_up("epoll");
}

static void open_shard(int epoll, int id, int port, int handler_port)
{
  struct shard *shard = &shards[id];
  shard->id = id;
  if (inflateInit(&shard->zlib) != Z_OK)
    give_up("zlib");
  shard->gateway = connect_to(port);
  upgrade(shard, port);
  watch(epoll, shard->gateway, (uint32_t)id * 2);
  if (!posts)
    return;
  shard->handler = connect_to(handler_port);
  watch(epoll, shard->handler, (uint32_t)id * 2 + 1);
}

static void serve(int epoll)
{
  struct epoll_event wakes[WAKES];
  int count = epoll_wait(epoll, wakes, WAKES, -1);
  for (int i = 0; i < count; i++) {
    struct shard *shard = &shards[wakes[i].data.u32 / 2];
    if (wakes[i].data.u32 % 2)
      read_handler(shard);
    else
      read_gateway(shard);
  }
}

int main(int argc, char **argv)
{
  shard_count = argc >= 5 ? atoi(argv[4]) : 0;
  if (shard_count < 1 || shard_count > SHARDS_MAX) {
    fprintf(stderr, "usage: paced_relay PORT TOKEN INTENTS SHARDS [HANDLER_PORT]\n");
    return 64;
  }
  token = argv[2];
  intents = argv[3];
  posts = argc == 6;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  for (int id = 0; id < shard_count; id++)
    open_shard(epoll, id, atoi(argv[1]), posts ? atoi(argv[5]) : 0);
  while (!stopped)
    serve(epoll);
  printf("events %llu answers %llu\n", (unsigned long long)events, (unsigned long long)answers);
  return 0;
}
