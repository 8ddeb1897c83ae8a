/* What is done with the files of dead letters, in the other thread. */

#include "manager/letters/letters_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which are meant ---- */

static int by_number(const void *a, const void *b)
{
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

static bool is(struct tg_span text, const char *name)
{
  return text.length == strlen(name) && memcmp(text.at, name, text.length) == 0;
}

static bool matches(const struct tg_letter_filter *filter, const struct tg_dead_place *place,
                    const struct tg_dead_line *letter)
{
  if (filter->shard >= 0 && letter->shard_id != filter->shard)
    return false;
  if (filter->type && !is(letter->type, filter->type))
    return false;
  struct tg_span sink = letter->sink.at ? letter->sink : (struct tg_span){"bot", 3};
  if (filter->sink && !is(sink, filter->sink))
    return false;
  if ((filter->status >= 0 && letter->status != filter->status) || letter->at < filter->since)
    return false;
  return !filter->numbers ||
         bsearch(&place->number, filter->numbers, filter->count, sizeof *filter->numbers, by_number);
}

/* ---- lists ---- */

static void put_head(struct tg_buf *out, const struct tg_dead_line *letter, uint64_t number)
{
  tg_buf_append(out, letter->head.at, letter->head.length);
  tg_buf_printf(out, "\"n\":%llu}", (unsigned long long)number);
}

/* The last ones are kept, in a ring. */
struct letter_list {
  struct tg_letter_job *job;
  struct tg_buf *kept;
  uint64_t below; /* that match, and are below `before` */
  uint64_t *numbers;
};

static bool list_one(void *ctx, const struct tg_dead_place *place, struct tg_span line)
{
  struct letter_list *list = ctx;
  struct tg_letter_job *job = list->job;
  struct tg_dead_line letter;
  if (!tg_dead_line_read(line, &letter) || !matches(&job->filter, place, &letter))
    return true;
  job->matching++;
  if (job->before > 0 && place->number >= job->before)
    return true;
  size_t at = (size_t)(list->below++ % job->limit);
  list->kept[at].length = 0;
  list->numbers[at] = place->number;
  put_head(&list->kept[at], &letter, place->number);
  return true;
}

void tg_letter_work_list(struct tg_letter_job *job)
{
  struct letter_list list = {.job = job,
                      .kept = tg_calloc(job->limit, sizeof *list.kept),
                      .numbers = tg_calloc(job->limit, sizeof *list.numbers)};
  job->ok = tg_dead_walk(job->state_dir, list_one, &list, &job->error);
  size_t shown = list.below < job->limit ? (size_t)list.below : job->limit, at = 0;
  tg_buf_puts(&job->text, "{\"letters\":[");
  for (size_t i = 1; i <= shown; i++) {
    at = (size_t)((list.below - i) % job->limit);
    tg_buf_puts(&job->text, i > 1 ? "," : "");
    tg_buf_append(&job->text, list.kept[at].data, list.kept[at].length);
  }
  tg_buf_printf(&job->text, "],\"matching\":%llu,\"next\":", (unsigned long long)job->matching);
  if (list.below > shown)
    tg_buf_printf(&job->text, "%llu", (unsigned long long)list.numbers[at]);
  else
    tg_buf_puts(&job->text, "null");
  for (size_t i = 0; i < job->limit; i++)
    tg_buf_free(&list.kept[i]);
  free(list.kept);
  free(list.numbers);
}

void tg_letter_work_show(struct tg_letter_job *job)
{
  struct tg_dead_place place = {.number = job->before};
  job->ok = tg_dead_take(job->state_dir, &place, &job->text, &job->error);
}

/* ---- all that are meant ---- */

static bool find_one(void *ctx, const struct tg_dead_place *place, struct tg_span line)
{
  struct tg_letter_job *job = ctx;
  struct tg_dead_line letter;
  if (!tg_dead_line_read(line, &letter) || !matches(&job->filter, place, &letter))
    return true;
  struct tg_found_letter found = {
      .place = *place, .shard_id = letter.shard_id, .masked = letter.masked, .sink = "bot"};
  if (letter.sink.at)
    snprintf(found.sink, sizeof found.sink, "%.*s", (int)letter.sink.length, letter.sink.at);
  tg_buf_append(&job->found, &found, sizeof found);
  return true;
}

void tg_letter_work_find(struct tg_letter_job *job)
{
  job->ok = tg_dead_walk(job->state_dir, find_one, job, &job->error);
}

/* Those that are removed by now stay so, whatever becomes of the rest; that their room is not given back is
 * the next tidying's affair. */
void tg_letter_work_purge(struct tg_letter_job *job)
{
  struct tg_error ignored;
  tg_letter_work_find(job);
  size_t count = tg_letter_job_count(job);
  struct tg_dead_place *places = tg_calloc(count + 1, sizeof *places);
  for (size_t i = 0; i < count; i++)
    places[i] = tg_letter_job_found(job)[i].place;
  job->ok = job->ok && tg_dead_remove(job->state_dir, places, count, &job->removed, &job->error);
  free(places);
  if (job->ok)
    job->ok = tg_dead_tidy(job->state_dir, NULL, 0, &job->error);
  else
    tg_dead_tidy(job->state_dir, NULL, 0, &ignored);
}

void tg_letter_work_tidy(struct tg_letter_job *job)
{
  job->ok = tg_dead_tidy(job->state_dir, job->answers, job->answer_count, &job->error);
}

void tg_letter_work_look(struct tg_letter_job *job)
{
  job->ok = tg_dead_look(job->state_dir, &job->sum, &job->error);
}
