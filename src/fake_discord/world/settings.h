#pragma once

/* What can be set about the fake Discord: at start (--set NAME=VALUE) and at
 * any time by POST /settings {"name": value, ...}. Durations are milliseconds.
 *
 * The list below is the documentation. Verdicts
 * on which Discord is silent are among them, so that a spec can try the other
 * verdict. Texts with a list of choices accept only these. */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* NUMBER(name, default, minimum, maximum)  FLAG(name, default)
 * TEXT(name, default, choices separated by "|", "" = any text) */
#define TG_FAKE_SETTINGS(NUMBER, FLAG, TEXT)                                                                 \
  /* the bot */                                                                                              \
  TEXT(token, "fake.discord.token", "")                                                                      \
  NUMBER(shards, 4, 1, 100000) /* recommended; also the count that numbers events a shard */                 \
  NUMBER(privileged_intents, 0x8102, 0, 0xffffffff) /* those switched on for the bot */                      \
  NUMBER(shard_multiple, 1, 1, 100000)  /* large bots: num_shards has to be a multiple, else 4010 */         \
  TEXT(totals, "", "")                  /* of shards that are allowed, as "4,8", else 4010; "" = any */      \
  NUMBER(max_guilds, 2500, 1, 10000000) /* of one session, else 4011 */                                      \
  NUMBER(min_total, 1, 1, 1000000)      /* an identify with fewer shards than that gets 4011 */              \
  NUMBER(members, 3, 1, 1000000)        /* of each guild, for op 8 */                                        \
  /* what it is told */                                                                                      \
  TEXT(url, "", "")        /* in /gateway and /gateway/bot; "" = our own */                                  \
  TEXT(resume_url, "", "") /* in READY; "" = our own */                                                      \
  NUMBER(heartbeat_interval, 41250, 1, 86400000)                                                             \
  /* "stub": GUILD_CREATE of {id,unavailable}; "outage": GUILD_DELETE; "none": the guilds never come */      \
  TEXT(guild_create, "full", "full|stub|outage|none")                                                        \
  NUMBER(hidden_channels, 1, 0, 500) /* of each guild, that the bot cannot see */                            \
  NUMBER(guild_size, 0, 0, 67108864) /* each GUILD_CREATE is filled up to so many bytes */                   \
  /* identify limits */                                                                                      \
  NUMBER(max_concurrency, 1, 1, 100000)                                                                      \
  NUMBER(identify_window, 5000, 0, 86400000)                                                                 \
  NUMBER(total, 1000, 0, 100000000)                                                                          \
  NUMBER(remaining, 1000, 0, 100000000)                                                                      \
  NUMBER(reset_after, 86400000, 1, 604800000) /* length of the window that `remaining` is of */              \
  /* other limits */                                                                                         \
  NUMBER(send_limit, 120, 1, 100000)                                                                         \
  NUMBER(send_window, 60000, 1, 3600000)                                                                     \
  NUMBER(presence_limit, 5, 1, 64)                                                                           \
  NUMBER(presence_window, 20000, 1, 3600000)                                                                 \
  NUMBER(members_window, 30000, 1, 3600000) /* op 8 for all members: once a guild */                         \
  FLAG(limited_nonce, true)                 /* RATE_LIMITED says whose request it means */                   \
  /* sessions */                                                                                             \
  NUMBER(session_timeout, 180000, 1, 86400000)                                                               \
  NUMBER(session_id_size, 32, 0, 2000)      /* bytes of READY's session_id; 0: it has none */                \
  FLAG(escapes, false)                      /* READY's session_id and URL need escapes, and have them */     \
  FLAG(number_ready, true)                  /* READY says its s */                                           \
  FLAG(number_resumed, true)                /* RESUMED takes an s */                                         \
  NUMBER(replay_events, 20000, 0, 10000000) /* kept a session; 0 = max(100, min(3500, 75 a guild)) */        \
  NUMBER(replay_bytes, 67108864, 0, 4294967296)                                                              \
  FLAG(trim_by_heartbeat, false) /* a replay begins behind what the last heartbeat named */                  \
  FLAG(detach_old, true)         /* a resume cuts the session's older connection */                          \
  /* verdicts that are our choice: Discord's are not documented */                                           \
  FLAG(strict_path, true)                                                                                    \
  TEXT(bad_query, "400", "400|4002|ignore")                                                                  \
  TEXT(bad_version, "identify", "identify|upgrade|ignore") /* when 4012 comes */                             \
  TEXT(binary_frame, "4002", "4002|ignore")                                                                  \
  TEXT(bad_heartbeat, "4002", "4002|ignore")                                                                 \
  TEXT(missed_heartbeat, "1000", "1000|4009|drop|off")                                                       \
  TEXT(bad_identify, "4002", "4002|ignore")                                                                  \
  TEXT(bad_sequence, "4007", "4007|op9")                                                                     \
  TEXT(resume_query, "4002", "4002|ignore")                                                                  \
  TEXT(resume_host, "accept", "accept|cut") /* resumed on another host than READY's URL */                   \
  NUMBER(cut_after, 1000, 0, 3600000)       /* resume_host = cut: how soon */                                \
  TEXT(members_wrong_guild, "silent", "silent|4001")                                                         \
  FLAG(require_user_agent, true)                                                                             \
  FLAG(strict_callbacks, true)                                                                               \
  NUMBER(callback_deadline, 3000, 1, 3600000)                                                                \
  NUMBER(callback_delay, 0, 0, 3600000) /* an interaction callback is judged at once, answered later */      \
  NUMBER(webhook_deadline, 900000, 1, 86400000)                                                              \
  /* events and the wire */                                                                                  \
  NUMBER(rate, 0, 0, 10000000)        /* numbered events a second over all shards */                         \
  FLAG(rate_in_turn, false)           /* they are of each guild in turn, else of any */                      \
  NUMBER(repeat_rate, 0, 0, 10000000) /* equal events a second over all guilds (emit/repeats.h) */           \
  FLAG(stamped, false)                /* they tell in d.stamp when they were made: us, CLOCK_MONOTONIC */    \
  NUMBER(message_size, 1400, 0, 16777216)                                                                    \
  NUMBER(zlib_level, 1, 0, 9)                                                                                \
  FLAG(coalesce, false)                  /* several gateway messages a write (and TLS record) */             \
  NUMBER(receive_buffer, 0, 0, 16777216) /* of each socket, at start only; 0: as the system has it */        \
  FLAG(close_notify, false)              /* say close_notify at the end of a connection */

enum { TG_FAKE_TEXT_SIZE = 256, TG_FAKE_SESSION_ID_MAX = 2000 };

struct tg_fake_settings {
#define NUMBER(name, initial, minimum, maximum) int64_t name;
#define FLAG(name, initial) bool name;
#define TEXT(name, initial, choices) char name[TG_FAKE_TEXT_SIZE];
  TG_FAKE_SETTINGS(NUMBER, FLAG, TEXT)
#undef NUMBER
#undef FLAG
#undef TEXT
};

void tg_fake_settings_init(struct tg_fake_settings *settings);

/* Takes the members of a JSON object, all or none of them. */
bool tg_fake_settings_set(struct tg_fake_settings *settings, const json_t *given, struct tg_error *error);

/* One setting, written as on a command line. */
bool tg_fake_settings_set_text(struct tg_fake_settings *settings, const char *name, const char *value,
                               struct tg_error *error);

json_t *tg_fake_settings_to_json(const struct tg_fake_settings *settings);
