#include "manager/commands/queues.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_TIMEOUT = 30000 /* ms, of a worker that reads its log meanwhile */ };

/* All workers are asked at once, and one that discards again and again, until it has seen all of its queue.
 */
struct inquiry {
  struct tg_workers *workers;
  char *sink, *type;
  int shard_id;
  tg_ms before;
  bool discards;
  int left; /* workers that have not answered, and whoever asks them */
  json_t *types;
  uint64_t on_disk, discarded;
  struct tg_error error;
  tg_manager_reply *reply;
  void *ctx;
};

struct asked_worker {
  struct inquiry *inquiry;
  int worker;
};

static void finish(struct inquiry *inquiry)
{
  if (--inquiry->left > 0)
    return;
  bool failed = inquiry->error.code[0] != '\0';
  if (inquiry->discarded > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, inquiry->discarded)),
                "events that waited for %s are discarded by request", inquiry->sink);
  if (failed && inquiry->discarded > 0) {
    struct tg_error why = inquiry->error;
    tg_fail(&inquiry->error, why.code, "%llu events are discarded, but not all: %s",
            (unsigned long long)inquiry->discarded, why.message);
  }
  if (failed)
    inquiry->reply(inquiry->ctx, NULL, &inquiry->error);
  else if (inquiry->discards)
    tg_reply_value(inquiry->reply, inquiry->ctx,
                   json_pack("{s:I}", "discarded", (json_int_t)inquiry->discarded));
  else
    tg_reply_value(inquiry->reply, inquiry->ctx,
                   json_pack("{s:O, s:I}", "types", inquiry->types, "onDisk", (json_int_t)inquiry->on_disk));
  json_decref(inquiry->types);
  free(inquiry->sink);
  free(inquiry->type);
  free(inquiry);
}

static json_int_t at(const json_t *list, size_t i)
{
  return json_integer_value(json_array_get(list, i));
}

static void add_types(struct inquiry *inquiry, const json_t *types)
{
  const char *name;
  json_t *row;
  json_object_foreach((json_t *)types, name, row)
  {
    const json_t *had = json_object_get(inquiry->types, name);
    json_int_t oldest = !had || at(row, 2) < at(had, 2) ? at(row, 2) : at(had, 2);
    json_object_set_new(inquiry->types, name,
                        json_pack("[I, I, I]", at(had, 0) + at(row, 0), at(had, 1) + at(row, 1), oldest));
  }
}

static void ask(struct inquiry *inquiry, int worker, struct tg_ipc *line, json_t *cursor);

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct asked_worker asked = *(struct asked_worker *)ctx;
  struct inquiry *inquiry = asked.inquiry;
  free(ctx);
  if (error && !inquiry->error.code[0])
    inquiry->error = *error;
  inquiry->discarded += (uint64_t)json_integer_value(json_object_get(data, "discarded"));
  inquiry->on_disk += (uint64_t)json_integer_value(json_object_get(data, "onDisk"));
  add_types(inquiry, json_object_get(data, "types"));
  json_t *cursor = json_object_get(data, "cursor");
  struct tg_ipc *line = cursor ? tg_workers_line(inquiry->workers, asked.worker) : NULL;
  if (line)
    ask(inquiry, asked.worker, line, cursor);
  finish(inquiry);
}

static void ask(struct inquiry *inquiry, int worker, struct tg_ipc *line, json_t *cursor)
{
  struct asked_worker *asked = tg_alloc(sizeof *asked);
  *asked = (struct asked_worker){inquiry, worker};
  inquiry->left++;
  if (inquiry->discards)
    tg_ask(line, ANSWER_TIMEOUT, on_answer, asked, discard_queue, .sink = inquiry->sink,
           .shard_id = inquiry->shard_id, .event = inquiry->type, .before = inquiry->before,
           .cursor = cursor);
  else
    tg_ask(line, ANSWER_TIMEOUT, on_answer, asked, queue_types, .sink = inquiry->sink,
           .shard_id = inquiry->shard_id);
}

static void begin(struct tg_workers *workers, const struct tg_manager_env *env,
                  const struct tg_queue_question *question, bool discards, tg_manager_reply *reply, void *ctx)
{
  bool is_bot = strcmp(question->sink, "bot") == 0;
  if (env->stopping) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
    return;
  }
  if (!is_bot && !tg_config_sink(env->config, question->sink)) {
    tg_reply_error(reply, ctx, "no_sink", "there is no sink \"%s\"", question->sink);
    return;
  }
  struct inquiry *inquiry = tg_calloc(1, sizeof *inquiry);
  inquiry->workers = workers;
  inquiry->sink = tg_strdup(question->sink);
  inquiry->type = tg_strdup(question->type);
  inquiry->shard_id = question->shard_id;
  inquiry->before = tg_steady_clock() - question->older;
  inquiry->discards = discards;
  inquiry->types = json_object();
  inquiry->reply = reply;
  inquiry->ctx = ctx;
  inquiry->left = 1;
  for (int i = 0; i < tg_workers_count(workers); i++) {
    struct tg_ipc *line = tg_workers_line(workers, i);
    if (line)
      ask(inquiry, i, line, NULL);
  }
  finish(inquiry);
}

void tg_queues_ask_types(struct tg_workers *workers, const struct tg_manager_env *env,
                         const struct tg_queue_question *question, tg_manager_reply *reply, void *ctx)
{
  begin(workers, env, question, false, reply, ctx);
}

void tg_queues_discard_all(struct tg_workers *workers, const struct tg_manager_env *env,
                           const struct tg_queue_question *question, tg_manager_reply *reply, void *ctx)
{
  begin(workers, env, question, true, reply, ctx);
}
