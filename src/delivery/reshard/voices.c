#include "delivery/reshard/voices.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/state_open.h"
#include "proto/event_types.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1100 };

struct tg_voices {
  char path[PATH_SIZE];
  struct tg_voice *at;
  int count, room;
  bool changed, failing;
};

/* ---- the list ---- */

static int find(const struct tg_voices *voices, uint64_t guild)
{
  int i = 0;
  while (i < voices->count && voices->at[i].guild != guild)
    i++;
  return i;
}

static void take_out(struct tg_voices *voices, int index)
{
  if (index >= voices->count)
    return;
  free(voices->at[index].session);
  voices->at[index] = voices->at[--voices->count];
  voices->changed = true;
}

/* Steals `session`. */
static void put(struct tg_voices *voices, const struct tg_voice *voice)
{
  int i = find(voices, voice->guild);
  if (i == voices->count) {
    if (voices->count == voices->room) {
      voices->room = voices->room ? voices->room * 2 : 8;
      voices->at = tg_realloc(voices->at, (size_t)voices->room * sizeof *voices->at);
    }
    voices->count++;
  } else {
    free(voices->at[i].session);
  }
  voices->at[i] = *voice;
  voices->changed = true;
}

const struct tg_voice *tg_voices_at(const struct tg_voices *voices, int index)
{
  return index < voices->count ? &voices->at[index] : NULL;
}

/* ---- what is shown ---- */

static bool says(struct tg_span state, const char *key, const char *text)
{
  struct tg_span value, content;
  return text[0] && tg_json_member(state, key, &value) && tg_json_plain_string(value, &content) &&
         content.length == strlen(text) && memcmp(content.at, text, content.length) == 0;
}

static bool is_true(struct tg_span state, const char *key)
{
  struct tg_span value;
  return tg_json_member(state, key, &value) && tg_json_is(value, "true");
}

/* Of the bot or anybody else. */
static void note_state(struct tg_voices *voices, struct tg_span state, uint64_t guild, const char *old,
                       const char *now)
{
  struct tg_span value;
  struct tg_voice voice = {.guild = guild};
  int known = find(voices, guild);
  bool of_old = says(state, "session_id", old) ||
                (known < voices->count && says(state, "session_id", voices->at[known].session));
  if (!of_old) {
    if (says(state, "session_id", now))
      take_out(voices, known);
    return;
  }
  if (!tg_json_member(state, "channel_id", &value) || !tg_json_uint(value, &voice.channel)) {
    take_out(voices, known); /* it has left */
    return;
  }
  voice.self_mute = is_true(state, "self_mute");
  voice.self_deaf = is_true(state, "self_deaf");
  voice.session = tg_strdup(says(state, "session_id", old) ? old : voices->at[known].session);
  put(voices, &voice);
}

void tg_voices_note(struct tg_voices *voices, const struct tg_event *event, uint64_t guild, const char *old,
                    const char *now)
{
  struct tg_span states, state;
  const char *at = NULL;
  if (event->type == TG_EVENT_VOICE_STATE_UPDATE)
    note_state(voices, event->data, guild, old, now);
  else if (event->type == TG_EVENT_GUILD_DELETE && !is_true(event->data, "unavailable"))
    take_out(voices, find(voices, guild));
  if (event->type != TG_EVENT_GUILD_CREATE || !tg_json_member(event->data, "voice_states", &states))
    return;
  take_out(voices, find(voices, guild)); /* these are all there are */
  while (tg_json_next(states, &at, &state))
    note_state(voices, state, guild, old, now);
}

/* ---- the file ---- */

static void path_of(char path[PATH_SIZE], const char *state_dir, int class, const char *end)
{
  snprintf(path, PATH_SIZE, "%s/reshard.%d.voices%s", state_dir, class, end);
}

static json_t *id_text(uint64_t id)
{
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, id);
  return json_string(text);
}

static uint64_t read_id(const json_t *voice, const char *key)
{
  const char *text = json_string_value(json_object_get(voice, key));
  return text ? strtoull(text, NULL, 10) : 0;
}

static bool write_file(const struct tg_voices *voices, const char *text)
{
  char fresh[PATH_SIZE + 8];
  snprintf(fresh, sizeof fresh, "%s.new", voices->path);
  int fd = tg_state_make(AT_FDCWD, fresh);
  ssize_t length = (ssize_t)strlen(text);
  bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
  if (fd >= 0)
    close(fd);
  if (written && rename(fresh, voices->path) == 0)
    return true;
  if (fd >= 0)
    unlink(fresh);
  return false;
}

void tg_voices_keep(struct tg_voices *voices)
{
  if (!voices->changed)
    return;
  json_t *list = json_array();
  for (int i = 0; i < voices->count; i++) {
    const struct tg_voice *voice = &voices->at[i];
    json_array_append_new(list, json_pack("{s:o, s:o, s:b, s:b, s:s}", "guild", id_text(voice->guild),
                                          "channel", id_text(voice->channel), "mute", voice->self_mute,
                                          "deaf", voice->self_deaf, "session", voice->session));
  }
  char *text = json_dumps(list, JSON_COMPACT);
  voices->changed = !write_file(voices, text);
  if (voices->changed && !voices->failing)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, voices->path)),
                "the bot's voice connections cannot be kept: %s. Should this process end, they do with their "
                "shards",
                strerror(errno));
  voices->failing = voices->changed;
  free(text);
  json_decref(list);
}

static void read_file(struct tg_voices *voices)
{
  int fd = tg_state_open(AT_FDCWD, voices->path, O_RDONLY);
  json_t *list = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL, *entry;
  size_t index;
  if (fd >= 0)
    close(fd);
  json_array_foreach(list, index, entry)
  {
    const char *session = json_string_value(json_object_get(entry, "session"));
    struct tg_voice voice = {.guild = read_id(entry, "guild"),
                             .channel = read_id(entry, "channel"),
                             .self_mute = json_is_true(json_object_get(entry, "mute")),
                             .self_deaf = json_is_true(json_object_get(entry, "deaf"))};
    if (!voice.guild || !voice.channel || !session)
      continue;
    voice.session = tg_strdup(session);
    put(voices, &voice);
  }
  voices->changed = false;
  json_decref(list);
}

struct tg_voices *tg_voices_open(const char *state_dir, int class)
{
  struct tg_voices *voices = tg_calloc(1, sizeof *voices);
  path_of(voices->path, state_dir, class, "");
  read_file(voices);
  return voices;
}

void tg_voices_close(struct tg_voices *voices)
{
  if (!voices)
    return;
  for (int i = 0; i < voices->count; i++)
    free(voices->at[i].session);
  free(voices->at);
  free(voices);
}

void tg_voices_remove(const char *state_dir, int class)
{
  char path[PATH_SIZE];
  path_of(path, state_dir, class, "");
  unlink(path);
  path_of(path, state_dir, class, ".new");
  unlink(path);
}
