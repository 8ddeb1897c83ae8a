/* Dead letters: whatever Discord, the bot and the file that is there are like, a
 * letter is one line, the line is JSON that says what was refused, its number is
 * the next one, and the secrets are not in it.
 *
 * The first byte says what is there: how much of the input is the file before. */

#include "fuzz.h"

#include "base/utf8.h"
#include "delivery/sinks/dead_letter.h"

#include <jansson.h>

static const char secret[] = "Vz3nQ.8eXr-T0k";

struct input {
  struct tg_span file, name, answer, message;
};

/* Three lengths, then the texts. */
static bool read_input(const char *at, size_t length, struct input *input)
{
  struct tg_span *parts[] = {&input->name, &input->answer, &input->file};
  if (length < 4)
    return false;
  const unsigned char *sizes = (const unsigned char *)at;
  at += 4, length -= 4;
  for (int i = 0; i < 3; i++) {
    size_t size = i < 2 ? sizes[i] : (size_t)(sizes[2] << 8 | sizes[3]);
    *parts[i] = (struct tg_span){at, size < length ? size : length};
    at += parts[i]->length, length -= parts[i]->length;
  }
  input->message = (struct tg_span){at, length};
  return true;
}

/* A message that came this far is JSON; of equal keys jansson takes another one. */
static bool is_message(struct tg_span text)
{
  if (memchr(text.at, '\0', text.length))
    return false;
  json_t *json = json_loadb(text.at, text.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
  bool is = json_is_object(json);
  json_decref(json);
  return is;
}

static const char *string_of(const json_t *object, const char *key)
{
  return json_string_value(json_object_get(object, key));
}

static json_int_t check_line(const char *line, size_t length, const struct input *input)
{
  require(length > 1 && line[length - 1] == '\n' && !memchr(line, '\n', length - 1) &&
          !memchr(line, '\r', length));
  json_t *letter = json_loadb(line, length, JSON_ALLOW_NUL, NULL);
  require(json_is_object(letter));
  const json_t *answer = json_object_get(letter, "answer"), *event = json_object_get(letter, "event");
  require(json_is_string(answer) && json_is_object(event) && string_of(letter, "t"));
  require(json_string_length(answer) <= 3 * TG_DEAD_ANSWER_MAX && !strstr(json_string_value(answer), secret));
  if (!json_object_get(letter, "masked")) {
    json_t *given = json_loadb(input->message.at, input->message.length, JSON_ALLOW_NUL, NULL);
    require(json_equal(event, given));
    json_decref(given);
  } else {
    const char *masked = string_of(json_object_get(event, "d"), "token");
    require(masked && strstr(masked, "***"));
  }
  json_int_t number = json_integer_value(json_object_get(letter, "n"));
  json_decref(letter);
  return number;
}

static void check_refused_event(const struct input *input)
{
  struct tg_error error = {0};
  const char *const items[] = {secret};
  const struct tg_strings secrets = {.items = (char **)(uintptr_t)items, .count = 1};
  const struct tg_dead_letter letter = {.shard_id = 3,
                                        .epoch = 7,
                                        .sequence = 42,
                                        .name = input->name,
                                        .status = 413,
                                        .answer = input->answer,
                                        .message = input->message,
                                        .bytes = 1234,
                                        .secrets = &secrets};
  json_int_t numbers[2] = {0};
  size_t before = 0, length = 0;
  for (int i = 0; i < 2; i++) {
    char *text = fuzz_read_file("dead.jsonl", &before);
    free(text);
    require(tg_dead_letter_write(fuzz_directory, TG_DEAD_FILE_BYTES, &letter, &error));
    text = fuzz_read_file("dead.jsonl", &length);
    require(length > before);
    bool ended = before == 0 || text[before - 1] == '\n';
    require(ended || text[before] == '\n');
    char *line = text + before + !ended;
    numbers[i] = check_line(line, length - (size_t)(line - text), input);
    free(text);
  }
  require(numbers[1] == numbers[0] + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct input input;
  fuzz_be_silent();
  char *text = fuzz_text(bytes, length);
  if (read_input(text, length, &input) && is_message(input.message)) {
    fuzz_fresh_directory();
    fuzz_write_file("dead.jsonl", input.file.at, input.file.length);
    check_refused_event(&input);
  }
  free(text);
  return 0;
}
