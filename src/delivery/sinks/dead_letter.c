#include "delivery/sinks/dead_letter.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/state_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

/* What stands as *** in a letter, in the order in which it stands in the message. */
struct secrets {
  struct tg_span at[3];
  int count;
};

static void find_secret(struct secrets *secrets, struct tg_span data, const char *key)
{
  struct tg_span value;
  if (!tg_json_find(data.at, data.at + data.length, key, &value) || *value.at != '"' || value.length <= 2)
    return;
  int place = secrets->count++;
  for (; place > 0 && secrets->at[place - 1].at > value.at; place--)
    secrets->at[place] = secrets->at[place - 1];
  secrets->at[place] = (struct tg_span){value.at + 1, value.length - 2};
}

/* d.token: who has it may answer the interaction, or join the voice server. What READY has is the session,
 * which whoever has the bot's token, too, could take over. */
static struct secrets find_secrets(const struct tg_dead_letter *letter)
{
  static const char ready[] = "READY";
  struct secrets secrets = {.count = 0};
  struct tg_span message = letter->message, data;
  if (message.length == 0 || !tg_json_find(message.at, message.at + message.length, "d", &data))
    return secrets;
  find_secret(&secrets, data, "token");
  if (letter->name.length == sizeof ready - 1 && memcmp(letter->name.at, ready, sizeof ready - 1) == 0) {
    find_secret(&secrets, data, "session_id");
    find_secret(&secrets, data, "resume_gateway_url");
  }
  return secrets;
}

static void mask(struct tg_buf *text, const char *secret, size_t length)
{
  char *at = text->data, *end = at + text->length;
  while (length > 0 && at < end && (at = memmem(at, (size_t)(end - at), secret, length)) != NULL)
    at = (char *)memset(at, '*', length) + length;
}

static void put_answer(struct tg_buf *line, const struct tg_dead_letter *letter,
                       const struct secrets *secrets)
{
  struct tg_buf answer = {0};
  if (letter->answer.length == 0) {
    tg_buf_puts(line, "\"\"");
    return;
  }
  tg_buf_append(&answer, letter->answer.at, letter->answer.length);
  for (int i = 0; i < secrets->count; i++)
    mask(&answer, secrets->at[i].at, secrets->at[i].length);
  for (int i = 0; letter->secrets && i < letter->secrets->count; i++)
    mask(&answer, letter->secrets->items[i], strlen(letter->secrets->items[i]));
  struct tg_span shown = {answer.data, answer.length};
  if (shown.length > TG_DEAD_ANSWER_MAX)
    shown.length = TG_DEAD_ANSWER_MAX;
  put_string(line, shown);
  tg_buf_free(&answer);
}

static void put_message(struct tg_buf *line, struct tg_span message, const struct secrets *secrets)
{
  if (message.length == 0) {
    tg_buf_puts(line, "null");
    return;
  }
  const char *at = message.at;
  for (int i = 0; i < secrets->count; i++) {
    put_json(line, at, secrets->at[i].at);
    tg_buf_puts(line, "***");
    at = secrets->at[i].at + secrets->at[i].length;
  }
  put_json(line, at, message.at + message.length);
}

/* --- files ----------------------------------------------------------------------- */

/* dead.jsonl -> dead.jsonl.1 -> ... */
static void rotate(int directory)
{
  char oldest[32];
  snprintf(oldest, sizeof oldest, "dead.jsonl.%d", TG_DEAD_FILES - 1);
  if (faccessat(directory, oldest, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    tg_log(TG_WARN, TG_NO_SHARD, "there are too many dead letters: the oldest, those of %s, are gone",
           oldest);
  for (int i = TG_DEAD_FILES - 1; i > 0; i--) {
    char from[32] = "dead.jsonl", to[32];
    if (i > 1)
      snprintf(from, sizeof from, "dead.jsonl.%d", i - 1);
    snprintf(to, sizeof to, "dead.jsonl.%d", i);
    renameat(directory, from, directory, to);
  }
}

/* Events of people stand there: it is for the owner alone, whoever has made it. */
static int open_file(int directory)
{
  int fd = tg_state_open(directory, "dead.jsonl", O_RDWR | O_APPEND | O_CREAT);
  if (fd >= 0)
    fchmod(fd, 0600);
  return fd;
}

/* The number at the end of a line, `end` being its line break; 0: it has none. */
static uint64_t number_at(const char *start, const char *end)
{
  static const char key[] = ",\"n\":";
  enum { KEY = sizeof key - 1 };
  const char *digits = end - 1;
  if (digits <= start || *digits != '}')
    return 0;
  while (digits > start && digits[-1] >= '0' && digits[-1] <= '9')
    digits--;
  bool found = digits - start >= KEY && memcmp(digits - KEY, key, KEY) == 0 && digits < end - 1;
  return found ? strtoull(digits, NULL, 10) : 0;
}

/* The highest number in the file; 0: there is none. A line's number stands at its
 * end, so that the last one is found without reading the line, as a rule. */
static uint64_t last_number(int fd, off_t size)
{
  enum { BLOCK = 4096, OVERLAP = 32 /* a number may lie on both sides of a block's edge */ };
  char block[BLOCK + OVERLAP];
  uint64_t number = 0;
  for (off_t end = size; number == 0 && end > 0;) {
    off_t from = end > BLOCK ? end - BLOCK : 0;
    off_t to = end + OVERLAP < size ? end + OVERLAP : size;
    ssize_t got = pread(fd, block, (size_t)(to - from), from);
    if (got <= 0)
      return 0;
    for (const char *at = block + got; number == 0 && (at = memrchr(block, '\n', (size_t)(at - block)));)
      number = number_at(block, at);
    end = from;
  }
  return number;
}

static uint64_t number_of_old_files(int directory)
{
  struct stat now;
  int fd = tg_state_open(directory, "dead.jsonl.1", O_RDONLY);
  uint64_t number = fd >= 0 && fstat(fd, &now) == 0 ? last_number(fd, now.st_size) : 0;
  if (fd >= 0)
    close(fd);
  return number;
}

/* Gives the line its end, and what comes before it: a line that a full disk or a
 * death has cut short has none. */
static void finish_line(struct tg_buf *line, int directory, int fd, off_t size)
{
  char last = '\n';
  uint64_t number = last_number(fd, size);
  if (number == 0)
    number = number_of_old_files(directory);
  tg_buf_printf(line, ",\"n\":%llu}\n", (unsigned long long)number + 1);
  if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n') {
    *tg_buf_reserve(line, 1) = '\0';
    memmove(line->data + 1, line->data, line->length++);
    line->data[0] = '\n';
  }
}

/* The directory's lock is held, so that numbers and rotation are one worker's affair at a time. */
static bool append_locked(int directory, uint64_t file_bytes, struct tg_buf *line)
{
  enum { ROOM_FOR_END = 32 };
  struct stat now;
  int fd = open_file(directory);
  if (fd >= 0 && fstat(fd, &now) == 0 && now.st_size > 0 &&
      (uint64_t)now.st_size + line->length + ROOM_FOR_END > file_bytes) {
    close(fd);
    rotate(directory);
    fd = open_file(directory);
  }
  if (fd < 0 || fstat(fd, &now) != 0)
    return false;
  finish_line(line, directory, fd, now.st_size);
  ssize_t written = write(fd, line->data, line->length);
  if (written >= 0 && written < (ssize_t)line->length)
    errno = ENOSPC;
  int code = errno;
  close(fd);
  errno = code;
  return written == (ssize_t)line->length;
}

static bool append(const char *state_dir, uint64_t file_bytes, struct tg_buf *line, struct tg_error *error)
{
  int directory = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0)
    flock(directory, LOCK_EX);
  bool ok = directory >= 0 && append_locked(directory, file_bytes, line);
  if (!ok)
    tg_fail(error, "failed", "cannot write to %s/dead.jsonl: %s", state_dir, tg_state_problem(errno));
  if (directory >= 0)
    close(directory); /* and with it the lock */
  return ok;
}

bool tg_dead_letter_write(const char *state_dir, uint64_t file_bytes, const struct tg_dead_letter *letter,
                          struct tg_error *error)
{
  struct tg_buf line = {0};
  struct secrets secrets = find_secrets(letter);
  tg_buf_printf(&line, "{\"v\":%d,\"at\":%lld,\"shard\":%d", TG_DEAD_FORMAT, (long long)tg_wall_clock(),
                letter->shard_id);
  if (letter->total_shards > 0)
    tg_buf_printf(&line, ",\"totalShards\":%d", letter->total_shards);
  tg_buf_printf(&line, ",\"epoch\":%llu,\"s\":%llu,\"t\":", (unsigned long long)letter->epoch,
                (unsigned long long)letter->sequence);
  put_string(&line, letter->name);
  tg_buf_printf(&line, ",\"status\":%ld,\"answer\":", letter->status);
  put_answer(&line, letter, &secrets);
  tg_buf_printf(&line, ",\"bytes\":%zu", letter->bytes);
  if (letter->guild_create)
    tg_buf_printf(&line, ",\"guildCreate\":\"%s\"", letter->guild_create);
  if (letter->sink)
    tg_buf_printf(&line, ",\"sink\":\"%s\"", letter->sink);
  tg_buf_puts(&line, letter->deferred ? ",\"deferred\":true" : "");
  tg_buf_puts(&line, letter->late ? ",\"late\":true" : "");
  tg_buf_puts(&line, letter->marker ? ",\"marker\":true" : "");
  tg_buf_puts(&line, secrets.count > 0 ? ",\"masked\":true" : "");
  tg_buf_puts(&line, ",\"event\":");
  put_message(&line, letter->message, &secrets);
  bool ok = append(state_dir, file_bytes, &line, error);
  tg_buf_free(&line);
  return ok;
}
