#pragma once

/* The bot's voice states. It is in one channel of a guild at most, through the session that asked for it:
 * when that session ends, so does the voice connection. */

#include "base/buf.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/guilds.h"

/* Joins `channel`, or moves there, through this session; 0: leaves. All who see the guild hear of it. */
void tg_fake_voice_set(struct tg_fake_session *session, struct tg_fake_guild *guild, uint64_t channel,
                       bool self_mute, bool self_deaf);

/* The session is over, and no longer among those that see guilds. */
void tg_fake_voice_end(struct tg_fake_session *session);

/* Appends what GUILD_CREATE says of the bot: a voice state, or nothing. */
void tg_fake_voice_write(const struct tg_fake_guild *guild, struct tg_buf *out);
