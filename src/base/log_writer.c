#include "base/log_writer.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
  NO_PROGRESS = 500, /* ms: then nobody reads */
  DRAIN_MAX = 2000,
};

/* In front of each line in a buffer. */
struct log_entry {
  uint32_t length;
  uint32_t lines;
};

struct buffer {
  size_t length;
  char bytes[TG_LOG_WRITER_ROOM];
};

/* Of static storage: what was never used takes no memory, and a process that has
 * none left can still say so. */
static struct {
  int fd;
  bool started;
  pthread_mutex_t lock; /* for what follows, up to the atomics */
  pthread_cond_t wake;
  struct buffer buffers[2];
  struct buffer *filling; /* the thread has the other one */
  bool full;              /* until the thread takes what waits */
  uint64_t lost;
  int lost_code;

  _Atomic uint64_t put, settled; /* entries: taken; written or lost */
  bool torn;                     /* of the thread alone: the last line was left without its end */
} the_writer = {.fd = STDERR_FILENO, .wake = PTHREAD_COND_INITIALIZER, .filling = &the_writer.buffers[0]};

/* ---- bytes ---- */

/* Waits where a descriptor that somebody else has set to O_NONBLOCK does not. */
static bool is_passing(int code)
{
  struct pollfd room = {.fd = the_writer.fd, .events = POLLOUT};
  if (code == EAGAIN)
    poll(&room, 1, -1);
  return code == EAGAIN || code == EINTR;
}

/* Returns how many were written: fewer when it is not possible (errno). */
static size_t write_bytes(const char *bytes, size_t length)
{
  size_t done = 0;
  while (done < length) {
    ssize_t n = write(the_writer.fd, bytes + done, length - done);
    if (n > 0)
      done += (size_t)n;
    else if (n == 0 || !is_passing(errno))
      break;
  }
  return done;
}

/* Returns 0, or why the line is lost. */
static int write_line(const char *bytes, size_t length)
{
  if (the_writer.torn && write_bytes("\n", 1) != 1)
    return errno;
  size_t done = write_bytes(bytes, length);
  the_writer.torn = done > 0 && done < length;
  return done < length ? errno : 0;
}

/* ---- the thread ---- */

static void lose(uint64_t lines, int code)
{
  the_writer.lost += lines;
  if (lines > 0)
    the_writer.lost_code = code;
}

static void write_out(const struct buffer *buffer)
{
  struct log_entry entry;
  for (size_t at = 0; at < buffer->length; at += sizeof entry + entry.length) {
    memcpy(&entry, buffer->bytes + at, sizeof entry);
    int code = write_line(buffer->bytes + at + sizeof entry, entry.length);
    if (code != 0) {
      pthread_mutex_lock(&the_writer.lock);
      lose(entry.lines, code);
      pthread_mutex_unlock(&the_writer.lock);
    }
    atomic_fetch_add(&the_writer.settled, 1);
  }
}

static void *run(void *ctx)
{
  (void)ctx;
  for (;;) {
    pthread_mutex_lock(&the_writer.lock);
    while (the_writer.filling->length == 0)
      pthread_cond_wait(&the_writer.wake, &the_writer.lock);
    struct buffer *buffer = the_writer.filling;
    the_writer.filling = &the_writer.buffers[buffer == &the_writer.buffers[0]];
    the_writer.filling->length = 0;
    the_writer.full = false;
    pthread_mutex_unlock(&the_writer.lock);
    write_out(buffer);
  }
  return NULL;
}

static void on_abort(int number)
{
  tg_log_writer_drain();
  raise(number); /* now with its usual end */
}

bool tg_log_writer_start(int fd)
{
  if (the_writer.started)
    return true;
  /* One that knows its owner: a crash in here must still come to its end. */
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&the_writer.lock, &attributes);
  pthread_mutexattr_destroy(&attributes);

  the_writer.fd = fd;
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are for the others */
  the_writer.started = pthread_create(&thread, NULL, run, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!the_writer.started)
    return false;
  pthread_detach(thread);
  struct sigaction action = {.sa_handler = on_abort, .sa_flags = SA_RESETHAND};
  sigaction(SIGABRT, &action, NULL);
  return true;
}

/* ---- lines ---- */

/* Without the thread. */
static bool write_now(const char *before, const char *line, size_t length)
{
  struct iovec parts[] = {{(void *)(uintptr_t)before, strlen(before)}, {(void *)(uintptr_t)line, length}};
  ssize_t n;
  do
    n = writev(the_writer.fd, parts, 2);
  while (n < 0 && is_passing(errno));
  size_t done = n > 0 ? (size_t)n : 0, ahead = strlen(before);
  if (done >= ahead && done > 0)
    write_bytes(line + (done - ahead), length - (done - ahead));
  return true;
}

static void append(struct buffer *buffer, const void *bytes, size_t length)
{
  memcpy(buffer->bytes + buffer->length, bytes, length);
  buffer->length += length;
}

bool tg_log_writer_put(unsigned lines, const char *before, const char *line, size_t length)
{
  if (!the_writer.started)
    return write_now(before, line, length);
  size_t ahead = strlen(before), size = sizeof(struct log_entry) + ahead + length;
  if (pthread_mutex_lock(&the_writer.lock) != 0)
    return false; /* crashed in here */
  struct buffer *buffer = the_writer.filling;
  /* Once it is full, all of what comes is lost up to one point, and what comes
   * after it is whole: not now and then a line. */
  bool room = !the_writer.full && size <= TG_LOG_WRITER_ROOM - buffer->length;
  if (room) {
    append(buffer, &(struct log_entry){(uint32_t)(ahead + length), lines}, sizeof(struct log_entry));
    append(buffer, before, ahead);
    append(buffer, line, length);
    atomic_fetch_add(&the_writer.put, 1);
    pthread_cond_signal(&the_writer.wake);
  } else {
    the_writer.full = true;
    lose(lines, 0);
  }
  pthread_mutex_unlock(&the_writer.lock);
  return room;
}

uint64_t tg_log_writer_behind(void)
{
  uint64_t settled = atomic_load(&the_writer.settled); /* first: it never overtakes the other */
  return atomic_load(&the_writer.put) - settled;
}

uint64_t tg_log_writer_lost(int *code)
{
  if (!the_writer.started || pthread_mutex_lock(&the_writer.lock) != 0)
    return 0;
  uint64_t lost = the_writer.full ? 0 : the_writer.lost;
  *code = the_writer.lost_code;
  if (lost > 0)
    the_writer.lost = 0;
  pthread_mutex_unlock(&the_writer.lock);
  return lost;
}

void tg_log_writer_drain(void)
{
  tg_ms begun = tg_now(), moved = begun;
  uint64_t settled = atomic_load(&the_writer.settled);
  while (tg_log_writer_behind() > 0) {
    tg_ms now = tg_now();
    uint64_t by_now = atomic_load(&the_writer.settled);
    if (by_now != settled)
      moved = now;
    settled = by_now;
    if (now - moved >= NO_PROGRESS || now - begun >= DRAIN_MAX)
      return;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}
