#include "delivery/dead_letter.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The length of the UTF-8 sequence at `at`; 0: it is not one. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
  size_t length = at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : 2;
  if (at[0] < 0xc2 || at[0] > 0xf4 || left < length)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80)
      return 0;
  bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
  bool too_high = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
  return overlong || too_high ? 0 : length;
}

static void put_string(struct tg_buf *line, struct tg_span text)
{
  tg_buf_puts(line, "\"");
  for (size_t i = 0; i < text.length;) {
    unsigned char c = (unsigned char)text.at[i];
    if (c >= 0x80) {
      size_t length = utf8_length((const unsigned char *)text.at + i, text.length - i);
      if (length == 0)
        tg_buf_puts(line, "\\ufffd");
      else
        tg_buf_append(line, text.at + i, length);
      i += length ? length : 1;
      continue;
    }
    if (c < 0x20 || c == 0x7f)
      tg_buf_printf(line, "\\u%04x", c);
    else if (c == '"' || c == '\\')
      tg_buf_printf(line, "\\%c", c);
    else
      tg_buf_append(line, text.at + i, 1);
    i++;
  }
  tg_buf_puts(line, "\"");
}

/* A line break in JSON text can only be white space. */
static void put_json(struct tg_buf *line, struct tg_span json)
{
  size_t from = line->length;
  tg_buf_append(line, json.at, json.length);
  for (size_t i = from; i < line->length; i++)
    if (line->data[i] == '\n' || line->data[i] == '\r')
      line->data[i] = ' ';
}

bool tg_dead_letter_write(const char *state_dir, const struct tg_dead_letter *letter, struct tg_error *error)
{
  struct tg_span answer = letter->answer;
  if (answer.length > TG_DEAD_ANSWER_MAX)
    answer.length = TG_DEAD_ANSWER_MAX;
  struct tg_buf path = {0}, line = {0};
  tg_buf_printf(&path, "%s/dead.jsonl", state_dir);
  *tg_buf_reserve(&path, 1) = '\0';
  tg_buf_printf(&line,
                "{\"at\":%lld,\"shard\":%d,\"epoch\":%llu,\"s\":%llu,\"t\":", (long long)tg_wall_clock(),
                letter->shard_id, (unsigned long long)letter->epoch, (unsigned long long)letter->sequence);
  put_string(&line, letter->name);
  tg_buf_printf(&line, ",\"status\":%ld,\"answer\":", letter->status);
  put_string(&line, answer);
  tg_buf_puts(&line, ",\"event\":");
  put_json(&line, letter->message);
  tg_buf_puts(&line, "}\n");

  int fd = open(path.data, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  ssize_t written = fd < 0 ? -1 : write(fd, line.data, line.length);
  bool ok = written == (ssize_t)line.length;
  if (!ok)
    tg_fail(error, "failed", "cannot write to %s: %s", path.data,
            written < 0 ? strerror(errno) : "the disk is full");
  if (fd >= 0)
    close(fd);
  tg_buf_free(&path);
  tg_buf_free(&line);
  return ok;
}
