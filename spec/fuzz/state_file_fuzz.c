/* The JSON files of the state directory, any text: the clock goes on within
 * reason, the ledger gives out no more identifies than it has, and both read what
 * they have written. The first byte chooses the file. */

#include "fuzz.h"

#include "manager/identify/ledger.h"
#include "manager/steady.h"

enum { BOT = 0x1234, BUCKETS = 2, SPACING = 5300, GRANT = 1000 };

static const tg_ms year_5000 = 95617584000000, now = 1790000000000;

static void check_clock(void)
{
  struct tg_steady steady;
  tg_steady_begin(&steady, fuzz_directory);
  tg_ms began = tg_steady_clock(), ahead = tg_steady_ahead();
  require(began >= 0 && began < year_5000);
  tg_steady_look(&steady);
  tg_steady_end(&steady);
  tg_steady_begin(&steady, fuzz_directory);
  require(tg_steady_clock() >= began && tg_steady_ahead() == ahead);
}

static void check_ledger(void)
{
  struct tg_ledger *ledger = tg_ledger_open(fuzz_directory, BOT, BUCKETS, now);
  for (int i = 0; i < BUCKETS; i++) {
    tg_ms rest = tg_ledger_rest(ledger, i, SPACING, now);
    require(rest >= 0 && rest <= SPACING + GRANT);
  }
  int remaining = tg_ledger_remaining(ledger, now), allowance = tg_ledger_allowance(ledger, 10, now);
  require(remaining >= 0 && remaining <= tg_ledger_total(ledger) && allowance >= 0 && allowance <= remaining);
  require(tg_ledger_reset_at(ledger) >= 0 && tg_ledger_reset_at(ledger) <= now + 86400000);
  tg_ledger_take(ledger, 1, now, now + GRANT);
  require(tg_ledger_remaining(ledger, now) == (remaining > 0 ? remaining - 1 : 0));
  tg_ledger_save(ledger);

  struct tg_ledger *again = tg_ledger_open(fuzz_directory, BOT, BUCKETS, now);
  require(tg_ledger_remaining(again, now) == tg_ledger_remaining(ledger, now) &&
          tg_ledger_reset_at(again) == tg_ledger_reset_at(ledger) &&
          tg_ledger_rest(again, 1, SPACING, now) == SPACING + GRANT);
  tg_ledger_set_limit(again, 1000, 999, 0, now);
  tg_ledger_close(again);
  tg_ledger_close(ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length < 1)
    return 0;
  fuzz_be_silent();
  fuzz_fresh_directory();
  bool is_clock = bytes[0] & 1;
  fuzz_write_file(is_clock ? "clock.json" : "identify.json", bytes + 1, length - 1);
  if (is_clock)
    check_clock();
  else
    check_ledger();
  return 0;
}
