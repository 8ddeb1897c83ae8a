#pragma once

/* A bot that goes over from one shard to two: rows and events of both sets. Include it once, behind a world
 * with logs. */

static struct tg_shard_row new_rows[16];

enum { OLD = 0, NEW = 1, OLD_EPOCH = 7 };

static uint64_t epoch_of[2][2]; /* by side and shard */

static inline void put_session(struct tg_shard_row *row, const char *session, uint64_t epoch)
{
  snprintf(row->session.id, sizeof row->session.id, "%s", session);
  row->session.epoch = epoch;
  atomic_store(&row->state, TG_SHARD_CONNECTED);
}

static inline void show(int side, int id, uint64_t sequence, const char *name, const char *data)
{
  char text[512];
  struct tg_event event;
  snprintf(text, sizeof text, "{\"t\":\"%s\",\"s\":%d,\"op\":0,\"d\":%s}", name, (int)sequence, data);
  make_event(&event, id, sequence, text);
  event.side = (uint8_t)side;
  event.epoch = epoch_of[side][id];
  tg_delivery_event(delivery, NULL, &event);
  end_turn();
}

static inline void message(int side, int id, uint64_t sequence, int number)
{
  char data[128];
  snprintf(data, sizeof data, "{\"id\":\"%d\",\"guild_id\":\"%d\",\"channel_id\":\"1\"}", number, id == 1 ? 1 << 22 : 2 << 22);
  show(side, id, sequence, "MESSAGE_CREATE", data);
}

static inline void ready(int id)
{
  epoch_of[NEW][id] = tg_delivery_last_epoch(delivery, tg_ref_of(id, NEW)) + 1;
  put_session(&new_rows[id], "new", epoch_of[NEW][id]);
  tg_delivery_new_session(delivery, tg_ref_of(id, NEW), epoch_of[NEW][id]);
  show(NEW, id, 1, "READY", "{\"guilds\":[]}");
}

/* All that waits for an answer gets one, until nothing more is sent. */
static inline void answer_everything(void)
{
  for (int i = 0; i < post_count; i++) {
    if (posts[i].open)
      answer(i, 200);
    end_turn();
    advance(0);
  }
}

static inline void assert_keys(const char *expected)
{
  char keys[1024] = "";
  for (int i = 0; i < post_count; i++)
    snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%s", i ? " " : "", posts[i].key);
  assert_string_equal(keys, expected);
}

static inline void overlap(void)
{
  advance(60000);
}

static inline void switch_over(bool back)
{
  struct tg_error error = {0};
  if (!tg_delivery_switch(delivery, 0, back, &error))
    fail_msg("%s", error.message);
  end_turn();
  advance(0);
}
