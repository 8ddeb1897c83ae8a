#include "delivery/dead_letter.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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
static void put_json(struct tg_buf *line, const char *at, const char *end)
{
  size_t from = line->length;
  tg_buf_append(line, at, (size_t)(end - at));
  for (size_t i = from; i < line->length; i++)
    if (line->data[i] == '\n' || line->data[i] == '\r')
      line->data[i] = ' ';
}

/* --- secrets -------------------------------------------------------------------- */

/* d.token: who has it may answer the interaction, or join the voice server. Else `token` stays. */
static void find_token(struct tg_span message, struct tg_span *token)
{
  struct tg_span data, value;
  if (!tg_json_find(message.at, message.at + message.length, "d", &data) ||
      !tg_json_find(data.at, data.at + data.length, "token", &value) || *value.at != '"')
    return;
  *token = (struct tg_span){value.at + 1, value.length - 2};
}

static void mask(struct tg_buf *text, const char *secret, size_t length)
{
  char *at = text->data, *end = text->data + text->length;
  while (length > 0 && at < end && (at = memmem(at, (size_t)(end - at), secret, length)) != NULL)
    at = (char *)memset(at, '*', length) + length;
}

static void put_answer(struct tg_buf *line, const struct tg_dead_letter *letter, struct tg_span token)
{
  struct tg_buf answer = {0};
  tg_buf_append(&answer, letter->answer.at, letter->answer.length);
  mask(&answer, token.at, token.length);
  for (int i = 0; letter->secrets && i < letter->secrets->count; i++)
    mask(&answer, letter->secrets->items[i], strlen(letter->secrets->items[i]));
  struct tg_span shown = {answer.data, answer.length};
  if (shown.length > TG_DEAD_ANSWER_MAX)
    shown.length = TG_DEAD_ANSWER_MAX;
  put_string(line, shown);
  tg_buf_free(&answer);
}

static void put_message(struct tg_buf *line, struct tg_span message, struct tg_span token)
{
  const char *end = message.at + message.length;
  if (token.length == 0) {
    put_json(line, message.at, end);
    return;
  }
  put_json(line, message.at, token.at);
  tg_buf_puts(line, "***");
  put_json(line, token.at + token.length, end);
}

/* --- files ----------------------------------------------------------------------- */

/* dead.jsonl -> dead.jsonl.1 -> ...; another worker may have done it just now. */
static void rotate(int directory, uint64_t file_bytes, size_t length)
{
  struct stat now;
  if (flock(directory, LOCK_EX) < 0)
    return;
  bool full = fstatat(directory, "dead.jsonl", &now, 0) == 0 && (uint64_t)now.st_size + length > file_bytes;
  for (int i = TG_DEAD_FILES - 1; full && i > 0; i--) {
    char from[32] = "dead.jsonl", to[32];
    if (i > 1)
      snprintf(from, sizeof from, "dead.jsonl.%d", i - 1);
    snprintf(to, sizeof to, "dead.jsonl.%d", i);
    renameat(directory, from, directory, to);
  }
  flock(directory, LOCK_UN);
}

static int open_file(int directory)
{
  return openat(directory, "dead.jsonl", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static bool append(const char *state_dir, uint64_t file_bytes, const struct tg_buf *line,
                   struct tg_error *error)
{
  int directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int fd = directory < 0 ? -1 : open_file(directory);
  struct stat now;
  if (fd >= 0 && fstat(fd, &now) == 0 && now.st_size > 0 &&
      (uint64_t)now.st_size + line->length > file_bytes) {
    close(fd);
    rotate(directory, file_bytes, line->length);
    fd = open_file(directory);
  }
  ssize_t written = fd < 0 ? -1 : write(fd, line->data, line->length);
  bool ok = written == (ssize_t)line->length;
  if (!ok)
    tg_fail(error, "failed", "cannot write to %s/dead.jsonl: %s", state_dir,
            written < 0 ? strerror(errno) : "the disk is full");
  if (fd >= 0)
    close(fd);
  if (directory >= 0)
    close(directory);
  return ok;
}

bool tg_dead_letter_write(const char *state_dir, uint64_t file_bytes, const struct tg_dead_letter *letter,
                          struct tg_error *error)
{
  struct tg_buf line = {0};
  struct tg_span token = {"", 0};
  find_token(letter->message, &token);
  tg_buf_printf(&line,
                "{\"at\":%lld,\"shard\":%d,\"epoch\":%llu,\"s\":%llu,\"t\":", (long long)tg_wall_clock(),
                letter->shard_id, (unsigned long long)letter->epoch, (unsigned long long)letter->sequence);
  put_string(&line, letter->name);
  tg_buf_printf(&line, ",\"status\":%ld,\"answer\":", letter->status);
  put_answer(&line, letter, token);
  tg_buf_puts(&line, ",\"event\":");
  put_message(&line, letter->message, token);
  tg_buf_puts(&line, "}\n");
  bool ok = append(state_dir, file_bytes, &line, error);
  tg_buf_free(&line);
  return ok;
}
