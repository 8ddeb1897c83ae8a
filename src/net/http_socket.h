#pragma once

/* libcurl's sockets on a libuv loop: one uv_poll a socket.
 *
 * libcurl takes a connection out of its watch list after every answer and puts
 * it back with the next request. To leave the kernel's list alone meanwhile (a
 * request would cost four epoll_ctl), sockets of connections stay armed until
 * they are closed or wake the loop for nothing.
 *
 * libcurl tries a name's addresses until one connects, and stays with that one.
 * One that connects and then says nothing would be taken again and again: it is
 * remembered here and not given to the next transfers, which take another. */

#include "net/addresses.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

struct tg_http_sockets {
  uv_loop_t *loop;
  CURLM *multi;
  void (*acted)(void *ctx);  /* after each curl_multi_socket_action() */
  void (*closed)(void *ctx); /* a uv handle is gone: *open_handles went down */
  void *ctx;
  int open_handles;
  struct tg_http_socket **by_fd;
  int capacity;
  struct tg_address_memory memory; /* of those that were mute */
  struct {
    const CURL *easy; /* the transfer that was the last one to leave its connection, which is ... */
    curl_socket_t fd;
    char text[4096]; /* of the connection that was closed last: what nobody had read */
  } last_words;
};

/* What a transfer makes of that memory, and what became of its connection. */
struct tg_http_avoidance {
  struct tg_http_sockets *sockets;
  bool off;       /* every address is good enough */
  bool avoided;   /* one was not given; there may have been no other */
  bool connected; /* one was, and took it; libcurl 8 itself tells it only once TLS stands */
};

void tg_http_sockets_init(struct tg_http_sockets *sockets, uv_loop_t *loop, CURLM *multi);

/* Sets the callbacks by which a transfer's connections are followed. */
void tg_http_sockets_attach(struct tg_http_sockets *sockets, CURL *easy,
                            struct tg_http_avoidance *avoidance);

/* A peer that answers before it has read all of a request, and closes, breaks the
 * sending; libcurl gives up then without reading what was answered. This is it,
 * in plain text, if the connection that was closed last was that transfer's; else
 * NULL. Over TLS there is nothing to be read. */
const char *tg_http_sockets_last_words(const struct tg_http_sockets *sockets, const CURL *easy);

/* Closes what is left, once libcurl's multi handle is gone; the handles'
 * memory goes with the loop's next turn. */
void tg_http_sockets_close(struct tg_http_sockets *sockets);

/* When open_handles is 0. */
void tg_http_sockets_free(struct tg_http_sockets *sockets);
