#pragma once

/* What an event says of a message, in a form that fits a cache: hashes of its
 * parts and when it was edited.
 *
 * Left out is what nobody did to the message: embeds, which Discord fills in
 * once it has looked at the links; nonce, which only MESSAGE_CREATE has; tts,
 * which no update has; what never changes (channel_id, guild_id, timestamp).
 * The signatures in URLs (?ex=...&is=...&hm=...), which Discord renews, do not
 * count either. */

#include "base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The members that an update is most likely to have without the others each
 * have a part of their own; all others are added up in the last one. */
enum tg_message_part {
  TG_MESSAGE_CONTENT,
  TG_MESSAGE_ATTACHMENTS,
  TG_MESSAGE_COMPONENTS,
  TG_MESSAGE_FLAGS,
  TG_MESSAGE_PINNED,
  TG_MESSAGE_POLL,
  TG_MESSAGE_AUTHOR,
  TG_MESSAGE_REST,
  TG_MESSAGE_PARTS
};

struct tg_message_facts {
  uint64_t id;
  int64_t edited;                    /* edited_timestamp in ms since 1970; 0: null or absent */
  uint32_t hashes[TG_MESSAGE_PARTS]; /* 0: absent, null, false, 0, or empty */
  uint32_t present;                  /* bit n: the event has something of part n */
  bool whole;                        /* all of the message: a part that is absent is none */
};

/* Reads d in one pass; allocates nothing. False: no message id. */
bool tg_message_facts(struct tg_span data, struct tg_message_facts *facts);

/* "2024-05-01T12:34:56.123456+00:00" -> ms since 1970, cut to whole ms. False:
 * not of that form. */
bool tg_timestamp_parse(const char *at, size_t length, int64_t *ms);
