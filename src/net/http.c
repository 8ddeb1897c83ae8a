#include "net/http.h"

#include "net/http_socket.h"
#include "net/http_transfer.h"

#include <stdlib.h>
#include <string.h>

enum {
  IDLE_MAX = 64,
  CACHED_CONNECTIONS = 128,
  REST_TIME = 1000, /* ms for a body behind a head that has decided ... */
  RESTING_MAX = 32, /* ... and so many of them at once */
};

TAILQ_HEAD(headed_list, tg_http_transfer);

/* libcurl must not be entered from its own callbacks, so answers are collected
 * in `finished` and handed out when curl_multi_socket_action() has returned. */
struct tg_http {
  uv_loop_t *loop;
  CURLM *multi;
  char *ca_file;
  const struct tg_proxies *proxies;
  struct tg_http_sockets sockets;
  uv_timer_t timer; /* libcurl's */
  uv_timer_t soon;  /* answers that are known without the network */
  uv_timer_t rest;  /* bodies that nobody needs do not go on for ever */
  int open_timers;
  bool delivering, closing, freed;

  struct tg_http_transfer **slots; /* those that run or are finished */
  uint32_t slot_count;
  uint32_t generation;
  struct tg_http_transfer *finished, *finished_last;
  struct headed_list headed; /* requests by_head, from the end of the head to that of the body */
  int resting;               /* of these, those that are answered */
  struct tg_http_transfer *idle;
  int idle_count;
};

static void free_when_closed(struct tg_http *http)
{
  if (!http->freed || http->open_timers > 0 || http->sockets.open_handles > 0)
    return;
  tg_http_sockets_free(&http->sockets);
  free(http->slots);
  free(http->ca_file);
  free(http);
}

static void on_timer_closed(uv_handle_t *handle)
{
  struct tg_http *http = handle->data;
  http->open_timers--;
  free_when_closed(http);
}

static void on_socket_closed(void *ctx)
{
  free_when_closed(ctx);
}

static void push_finished(struct tg_http *http, struct tg_http_transfer *transfer)
{
  transfer->state = TG_TRANSFER_FINISHED;
  transfer->next = NULL;
  transfer->previous = http->finished_last;
  if (http->finished_last)
    http->finished_last->next = transfer;
  else
    http->finished = transfer;
  http->finished_last = transfer;
}

static void remove_finished(struct tg_http *http, struct tg_http_transfer *transfer)
{
  if (transfer->previous)
    transfer->previous->next = transfer->next;
  else
    http->finished = transfer->next;
  if (transfer->next)
    transfer->next->previous = transfer->previous;
  else
    http->finished_last = transfer->previous;
}

static void release_slot(struct tg_http *http, struct tg_http_transfer *transfer)
{
  http->slots[transfer->slot] = NULL;
  transfer->state = TG_TRANSFER_IDLE;
}

/* libcurl lets go of it; a connection in the middle of something is closed. */
static void detach(struct tg_http *http, struct tg_http_transfer *transfer)
{
  if (transfer->attached)
    curl_multi_remove_handle(http->multi, transfer->easy);
  if (transfer->headed)
    TAILQ_REMOVE(&http->headed, transfer, link);
  transfer->attached = transfer->headed = false;
}

static void recycle(struct tg_http *http, struct tg_http_transfer *transfer)
{
  detach(http, transfer);
  http->resting -= transfer->state == TG_TRANSFER_RESTING;
  transfer->state = TG_TRANSFER_IDLE;
  if (http->closing || http->idle_count >= IDLE_MAX) {
    tg_http_transfer_free(transfer);
    return;
  }
  transfer->next = http->idle;
  http->idle = transfer;
  http->idle_count++;
}

/* --- answers ---------------------------------------------------------------------- */

static void close_now(struct tg_http *http);

/* Its answer is handed out, and its connection is still at work. */
static void rest(struct tg_http *http, struct tg_http_transfer *transfer)
{
  struct tg_http_transfer *oldest = TAILQ_FIRST(&http->headed);
  transfer->state = TG_TRANSFER_RESTING;
  if (++http->resting <= RESTING_MAX)
    return;
  while (oldest->state != TG_TRANSFER_RESTING)
    oldest = TAILQ_NEXT(oldest, link);
  recycle(http, oldest);
}

static void deliver_finished(struct tg_http *http)
{
  if (http->delivering)
    return;
  http->delivering = true;
  while (http->finished) {
    struct tg_http_transfer *transfer = http->finished;
    struct tg_http_response response;
    remove_finished(http, transfer);
    release_slot(http, transfer);
    tg_http_transfer_result(transfer, &response);
    transfer->done(transfer->ctx, &response);
    if (transfer->attached && !http->closing)
      rest(http, transfer);
    else
      recycle(http, transfer);
  }
  http->delivering = false;
  if (http->closing && !http->freed)
    close_now(http);
}

/* It could not connect because the only addresses there are have been mute
 * lately: better those than none. */
static bool try_all_addresses(struct tg_http *http, struct tg_http_transfer *transfer, CURLcode result)
{
  struct tg_http_avoidance *avoidance = &transfer->avoidance;
  if (result != CURLE_COULDNT_CONNECT || !avoidance->avoided || avoidance->off)
    return false;
  avoidance->off = true;
  transfer->attached = curl_multi_add_handle(http->multi, transfer->easy) == CURLM_OK;
  return transfer->attached;
}

static void read_results(struct tg_http *http)
{
  CURLMsg *message;
  int left;
  while ((message = curl_multi_info_read(http->multi, &left))) {
    if (message->msg != CURLMSG_DONE)
      continue;
    struct tg_http_transfer *transfer;
    CURLcode result = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    const char *words = tg_http_sockets_last_words(&http->sockets, message->easy_handle);
    if (result == CURLE_SEND_ERROR && words)
      tg_http_transfer_hear(transfer, words);
    detach(http, transfer); /* `message` is gone after this */
    if (transfer->state == TG_TRANSFER_RESTING) {
      recycle(http, transfer);
    } else if (transfer->state == TG_TRANSFER_RUNNING && !try_all_addresses(http, transfer, result)) {
      transfer->result = result;
      push_finished(http, transfer);
    }
  }
}

/* It is known what the answer is, though more of it may come. */
static void answer_early(struct tg_http *http, struct tg_http_transfer *transfer)
{
  if (tg_http_transfer_sends(transfer)) /* from memory that is the caller's, and gone with the answer */
    detach(http, transfer);
  push_finished(http, transfer);
}

static void on_rest_over(uv_timer_t *timer);

static void watch_headed(struct tg_http *http)
{
  struct tg_http_transfer *transfer, *next;
  uint64_t now = uv_now(http->loop);
  for (transfer = TAILQ_FIRST(&http->headed); transfer; transfer = next) {
    next = TAILQ_NEXT(transfer, link);
    bool over = now >= transfer->rest_until;
    if (transfer->state == TG_TRANSFER_RUNNING && (over || tg_http_transfer_answered(transfer)))
      answer_early(http, transfer);
    if (over && transfer->state == TG_TRANSFER_RESTING)
      recycle(http, transfer);
    else if (over)
      detach(http, transfer);
  }
  transfer = TAILQ_FIRST(&http->headed);
  if (transfer && !uv_is_active((uv_handle_t *)&http->rest))
    uv_timer_start(&http->rest, on_rest_over, transfer->rest_until - now, 0);
}

void tg_http_head_came(struct tg_http_transfer *transfer)
{
  struct tg_http *http = transfer->http;
  transfer->rest_until = uv_now(http->loop) + REST_TIME;
  transfer->headed = true;
  TAILQ_INSERT_TAIL(&http->headed, transfer, link);
}

static void on_acted(void *ctx)
{
  struct tg_http *http = ctx;
  read_results(http);
  if (!TAILQ_EMPTY(&http->headed))
    watch_headed(http);
  deliver_finished(http);
}

static void on_rest_over(uv_timer_t *timer)
{
  on_acted(timer->data);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_http *http = timer->data;
  int running;
  curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  on_acted(http);
}

static int on_timeout_wanted(CURLM *multi, long timeout, void *ctx)
{
  (void)multi;
  struct tg_http *http = ctx;
  if (http->closing)
    return 0;
  if (timeout < 0)
    uv_timer_stop(&http->timer);
  else
    uv_timer_start(&http->timer, on_timer, (uint64_t)timeout, 0);
  return 0;
}

static void on_soon(uv_timer_t *timer)
{
  deliver_finished(timer->data);
}

struct tg_http *tg_http_new(uv_loop_t *loop, const struct tg_http_options *options)
{
  static bool initialised;
  if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
    abort();
  initialised = true;
  struct tg_http *http = tg_calloc(1, sizeof *http);
  http->loop = loop;
  http->ca_file = options && options->ca_file ? tg_strdup(options->ca_file) : NULL;
  http->proxies = options ? options->proxies : NULL;
  http->multi = curl_multi_init();
  if (!http->multi)
    abort();
  curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
  curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
  curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)CACHED_CONNECTIONS);
  curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
  TAILQ_INIT(&http->headed);
  tg_http_sockets_init(&http->sockets, loop, http->multi);
  http->sockets.acted = on_acted;
  http->sockets.closed = on_socket_closed;
  http->sockets.ctx = http;
  uv_timer_t *timers[] = {&http->timer, &http->soon, &http->rest};
  for (int i = 0; i < 3; i++) {
    uv_timer_init(loop, timers[i]);
    timers[i]->data = http;
    http->open_timers++;
  }
  return http;
}

static void close_now(struct tg_http *http)
{
  http->freed = true;
  while (http->idle) {
    struct tg_http_transfer *transfer = http->idle;
    http->idle = transfer->next;
    tg_http_transfer_free(transfer);
  }
  while (!TAILQ_EMPTY(&http->headed))
    recycle(http, TAILQ_FIRST(&http->headed));
  curl_multi_cleanup(http->multi);
  tg_http_sockets_close(&http->sockets);
  uv_close((uv_handle_t *)&http->timer, on_timer_closed);
  uv_close((uv_handle_t *)&http->soon, on_timer_closed);
  uv_close((uv_handle_t *)&http->rest, on_timer_closed);
}

void tg_http_free(struct tg_http *http)
{
  if (!http || http->closing)
    return;
  http->closing = true;
  for (uint32_t i = 0; i < http->slot_count; i++) {
    struct tg_http_transfer *transfer = http->slots[i];
    if (!transfer || transfer->state != TG_TRANSFER_RUNNING)
      continue;
    detach(http, transfer);
    tg_fail(&transfer->problem, "cancelled", "%s: the program is stopping", transfer->where);
    push_finished(http, transfer);
  }
  deliver_finished(http); /* from inside a callback: the outer call closes */
}

static struct tg_http_transfer *take(struct tg_http *http)
{
  struct tg_http_transfer *transfer = http->idle;
  if (transfer) {
    http->idle = transfer->next;
    http->idle_count--;
  } else {
    transfer = tg_http_transfer_new(http, http->ca_file, http->proxies);
    tg_http_sockets_attach(&http->sockets, transfer->easy, &transfer->avoidance);
  }
  uint32_t slot = 0;
  while (slot < http->slot_count && http->slots[slot])
    slot++;
  if (slot == http->slot_count) {
    http->slot_count = slot ? slot * 2 : 16;
    http->slots = tg_realloc(http->slots, http->slot_count * sizeof http->slots[0]);
    memset(http->slots + slot, 0, (http->slot_count - slot) * sizeof http->slots[0]);
  }
  http->slots[slot] = transfer;
  transfer->slot = slot;
  transfer->generation = ++http->generation;
  return transfer;
}

uint64_t tg_http_start(struct tg_http *http, const struct tg_http_request *request, tg_http_done *done,
                       void *ctx)
{
  if (http->closing)
    return UINT64_MAX;
  struct tg_http_transfer *transfer = take(http);
  transfer->done = done;
  transfer->ctx = ctx;
  if (tg_http_transfer_set(transfer, request)) {
    transfer->state = TG_TRANSFER_RUNNING;
    CURLMcode code = curl_multi_add_handle(http->multi, transfer->easy);
    transfer->attached = code == CURLM_OK;
    if (code != CURLM_OK)
      tg_fail(&transfer->problem, "failed", "%s: %s", transfer->where, curl_multi_strerror(code));
  }
  if (transfer->problem.code[0]) {
    push_finished(http, transfer);
    uv_timer_start(&http->soon, on_soon, 0, 0);
  }
  return ((uint64_t)transfer->slot << 32 | transfer->generation) + 1;
}

void tg_http_cancel(struct tg_http *http, uint64_t id)
{
  uint64_t slot = (id - 1) >> 32;
  if (id == 0 || slot >= http->slot_count || !http->slots[slot])
    return;
  struct tg_http_transfer *transfer = http->slots[slot];
  if (transfer->generation != (uint32_t)(id - 1))
    return;
  if (transfer->state == TG_TRANSFER_FINISHED)
    remove_finished(http, transfer);
  release_slot(http, transfer);
  recycle(http, transfer);
}
