#pragma once

/* The bot's voice connections of a class, while its number of shards is being changed. Each hangs on the
 * session that has asked for it, and ends with that session: before an old shard goes, a new one has to ask
 * for its channels, or they have to be over.
 *
 * Which there are is told by what the new shards are shown: the voice states of GUILD_CREATE, and
 * VOICE_STATE_UPDATE. A state is the bot's where its session is. Since nobody shows them again after a RESUME
 * they are kept in the file reshard.<class>.voices of the state directory, which is the owner's own.
 *
 * Loop thread only. */

#include "proto/event.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_voice {
  uint64_t guild, channel;
  bool self_mute, self_deaf;
  char *session; /* that has asked for it */
};

struct tg_voices;

/* With what an earlier process has kept. */
struct tg_voices *tg_voices_open(const char *state_dir, int class);
/* What has changed since it was last kept is lost; the file stays. NULL is fine. */
void tg_voices_close(struct tg_voices *voices);
/* Keeps what has changed. What cannot be written is tried again with the next call. */
void tg_voices_keep(struct tg_voices *voices);
/* The change is over. */
void tg_voices_remove(const char *state_dir, int class);

/* An event of a new shard about that guild; `old` and `now`: the ids of the sessions of the guild's old and
 * new shard, "": it has none. */
void tg_voices_note(struct tg_voices *voices, const struct tg_event *event, uint64_t guild, const char *old,
                    const char *now);

/* Those that were asked for by an old session, from 0 on; NULL: no more. */
const struct tg_voice *tg_voices_at(const struct tg_voices *voices, int index);
