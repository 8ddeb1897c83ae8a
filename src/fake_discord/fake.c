#include "fake_discord/fake.h"

#include "fake_discord/emit/emit.h"
#include "fake_discord/emit/interactions.h"
#include "fake_discord/faults/faults.h"
#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"

static void end_all(struct tg_fake *fake)
{
  while (!LIST_EMPTY(&fake->conns))
    tg_fake_conn_drop(LIST_FIRST(&fake->conns), TG_STREAM_RESET);
  while (!LIST_EMPTY(&fake->sessions))
    tg_fake_session_kill(LIST_FIRST(&fake->sessions), "reset");
}

void tg_fake_reset(struct tg_fake *fake, const struct tg_fake_what *what)
{
  if (what->settings)
    fake->settings = fake->options->settings;
  if (what->faults)
    tg_fake_faults_clear(fake);
  if (what->sessions) {
    end_all(fake);
    tg_fake_emitter_reset(fake, false); /* it holds places in the list of guilds */
    tg_fake_guilds_reset(fake);
    tg_fake_limits_clear(fake);
    tg_fake_interactions_clear(fake->interactions);
  }
  if (what->numbers)
    tg_fake_emitter_reset(fake, true);
  if (what->history)
    tg_fake_journal_clear(fake->journal);
  tg_fake_emit_kick(fake);
}
