/* The series of scripts in a page that somebody has scribbled over: who reads it
 * finds only what is whole, and the next process of that worker goes on with these.
 * The first three bytes are for the numbers of bytes and of series in use. */

#include "fuzz.h"

#include "shared/series.h"

enum { ROOM = 4096 }; /* so much of the page is used here */

static const double limits[] = {0.1, 1, 10};

static void write_series(struct tg_stats *page)
{
  static const struct tg_series_text texts[] = {
      {.name = "bot_messages_total", .labels = "kind=\"dm\"", .help = "Messages seen."},
      {.name = "bot_level", .labels = "", .help = ""},
      {.name = "bot_seconds", .labels = "", .help = "How long it took."},
  };
  tg_series_add(tg_series(page, TG_SERIES_COUNTER, &texts[0], NULL, 0), 3);
  tg_series_set(tg_series(page, TG_SERIES_GAUGE, &texts[1], NULL, 0), -1);
  tg_series_observe(tg_series(page, TG_SERIES_HISTOGRAM, &texts[2], limits, 3), 0.5);
}

static int walk(const struct tg_stats *page)
{
  struct tg_series_view view;
  int count = 0;
  for (size_t at = 0; tg_series_next(page, &at, &view); count++) {
    const struct tg_series_text *text = &view.text;
    require(at <= TG_STATS_SERIES_BYTES && view.kind <= TG_SERIES_HISTOGRAM && view.live);
    require(view.limit_count >= 0 && view.limit_count <= TG_SERIES_LIMITS_MAX);
    require(strlen(text->name) == text->name_length && strlen(text->labels) == text->labels_length &&
            strlen(text->help) == text->help_length);
  }
  return count;
}

static void go_on(struct tg_stats *page)
{
  static const struct tg_series_text text = {.name = "bot_new_total", .labels = "a=\"b\"", .help = "New."};
  enum tg_series_kind kind;
  tg_series_begin(page);
  int before = walk(page);
  tg_series_kind(page, "bot_level", &kind);
  struct tg_series *series = tg_series(page, TG_SERIES_COUNTER, &text, NULL, 0);
  require(series && tg_series(page, TG_SERIES_COUNTER, &text, NULL, 0) == series);
  tg_series_set(series, 2);
  require(tg_series_value(series) == 2 && walk(page) == before + 1);
  require(tg_series_kind(page, text.name, &kind) && kind == TG_SERIES_COUNTER);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static struct tg_stats *page;
  struct tg_error error = {0};
  int fd;
  if (length < 3)
    return 0;
  if (!page)
    page = tg_stats_make(&fd, &error);
  require(page != NULL);
  memset(page->series, 0, 2 * ROOM);
  page->series_used = page->series_count = 0;
  write_series(page);
  page->series_used += (uint32_t)(int8_t)bytes[0] * 8u + (bytes[1] >> 7) * 0x10000000u;
  page->series_count += bytes[1];
  for (bytes += 3, length -= 3; length >= 3;) {
    size_t at = (size_t)(bytes[0] | bytes[1] << 8) % ROOM, count = bytes[2] % 64;
    bytes += 3, length -= 3;
    if (count > length)
      count = length;
    memcpy(page->series + at, bytes, count);
    bytes += count, length -= count;
  }
  walk(page);
  if (page->series_used > ROOM)
    page->series_used = ROOM; /* the rest of the page is not made anew for each input */
  go_on(page);
  return 0;
}
