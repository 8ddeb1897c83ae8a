#pragma once

/* The inside of a link, shared by the files link*.c. What libwebsockets calls the connection is its `wsi`:
 * it lives from tg_link_begin() until libwebsockets says that it is destroyed, at the latest in
 * tg_link_free(). */

#include "base/buf.h"
#include "net/link.h"
#include "net/tls.h"

#include <libwebsockets.h>

struct tg_link_context {
  uv_loop_t *loop;
  struct tg_tls *tls;
  struct lws_context *lws;
  int event_pipe;           /* libwebsockets' descriptor; -1: not known */
  int door, plug;           /* a socket to which nobody can connect (link_context.c) */
  char door_address[16];    /* for libwebsockets */
  struct tg_link *served;   /* the link that libwebsockets is at work with; NULL: none */
  uint64_t heard;           /* bytes of messages that have come, whoever's */
  uint64_t records;         /* of TLS that have come, whoever's */
  struct tg_link *departed; /* freed while another one was served: they go when that is done */
  struct tg_buf frame;      /* to be masked and sent: room for libwebsockets' header, then the payload */
};

/* Why it has ended. */
struct farewell {
  struct tg_ws_end end;
  char reason[256];
};

struct tg_link {
  struct tg_link_context *context;
  struct lws *wsi; /* NULL: destroyed */
  int fd;          /* libwebsockets'; -1 with it */
  uv_poll_t *poll; /* NULL: with it */
  int events;      /* that are polled for */
  struct tg_gateway_url url;
  char name[360]; /* of the peer, for people */
  struct tg_ws_callbacks callbacks;
  void *ctx;
  enum tg_link_stage stage;
  bool started;            /* libwebsockets knows that the socket is connected */
  bool is_http;            /* what answers the upgrade begins as HTTP does */
  const char *tls_failure; /* why TLS has failed; NULL: it has not */
  bool more;               /* OpenSSL holds records that no poll will announce */
  bool owes;    /* libwebsockets may have something to write that it does not tell, such as a PONG */
  bool closing; /* our close frame is sent, or waits */
  bool over;    /* whatever else libwebsockets does: drop it */
  bool told;    /* on_end was called */
  bool freed;
  struct tg_link *next;      /* departed */
  uint64_t received;         /* when the socket went */
  struct tg_buf queue;       /* messages that wait: a struct queued each, then its bytes */
  size_t in_flight;          /* bytes of the message that libwebsockets has not sent whole; 0: none */
  bool choked;               /* on_drain is owed */
  struct farewell *farewell; /* NULL: it goes on, as far as is known */
};

/* link_callbacks.c */
int tg_link_lws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length);

/* link_drive.c */
bool tg_link_poll_start(struct tg_link *link);
void tg_link_poll_stop(struct tg_link *link);
void tg_link_watch(struct tg_link *link);  /* polls for what is wanted now */
void tg_link_settle(struct tg_link *link); /* the link may be gone afterwards */

/* link_send.c: what waits goes on, as far as the peer takes it. */
void tg_link_send_queued(struct tg_link *link);
bool tg_link_wants_write(const struct tg_link *link);
void tg_link_echo_close(struct tg_link *link, const void *payload, size_t length);

/* link_errors.c. NULL: there has been one. */
struct tg_ws_end *tg_link_begin_farewell(struct tg_link *link);
void tg_link_explain(struct tg_link *link, const char *what); /* `what`: libwebsockets' own words, or NULL */
void tg_link_check_answer(struct tg_link *link); /* of the upgrade, before libwebsockets has read it */
