#pragma once

/* The address that the control API listens at: TCP, or a unix socket. The file
 * of the latter belongs to the owner alone (mode 0600), replaces one that a
 * dead process has left, and is removed at the end. */

#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

enum { TG_ADDRESS_SIZE = 320 };

struct tg_listener {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  char address[TG_ADDRESS_SIZE]; /* "http://127.0.0.1:8377", "unix:/path" */
  char path[TG_ADDRESS_SIZE];    /* of a unix socket that was taken over; "" */
  bool open;
  void (*done)(void *owner);
  void *owner;
};

/* `text`: as control.listen has it. False: `error` says why and what to do;
 * tg_listener_close() is due all the same. Sets stream.data to NULL. */
bool tg_listener_open(struct tg_listener *listener, uv_loop_t *loop, const char *text, int backlog,
                      uv_connection_cb on_connection, struct tg_error *error);

/* The same at a socket that listens there already: that of the program before in this process. Takes `fd`
 * over.
 */
bool tg_listener_take(struct tg_listener *listener, uv_loop_t *loop, const char *text, int fd, int backlog,
                      uv_connection_cb on_connection, struct tg_error *error);
/* -1: it is not open. */
int tg_listener_fd(const struct tg_listener *listener);

/* Calls done(owner) when the memory may go. */
void tg_listener_close(struct tg_listener *listener, void (*done)(void *owner), void *owner);
