/* CRC-32C: by instruction and by tables. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "event_log/crc32c.h"

#include <string.h>

static void known_values(void **state)
{
  (void)state;
  char zeros[32] = {0}, ones[32];
  memset(ones, 0xff, sizeof ones);
  assert_int_equal(tg_crc32c(0, "", 0), 0);
  assert_int_equal(tg_crc32c(0, "123456789", 9), 0xe3069283);
  assert_int_equal(tg_crc32c(0, zeros, sizeof zeros), 0x8a9136aa); /* RFC 3720, B.4 */
  assert_int_equal(tg_crc32c(0, ones, sizeof ones), 0x62a8ab43);
  assert_int_equal(tg_crc32c_portable(0, "123456789", 9), 0xe3069283);
  assert_int_equal(tg_crc32c_portable(0, ones, sizeof ones), 0x62a8ab43);
}

static void both_ways_agree(void **state)
{
  (void)state;
  unsigned char bytes[1300]; /* more than three times what is done at once */
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (unsigned char)(i * i * 31 + i / 7);
  for (size_t start = 0; start < 9; start++)
    for (size_t length = 0; start + length <= sizeof bytes; length++)
      assert_int_equal(tg_crc32c(7, bytes + start, length), tg_crc32c_portable(7, bytes + start, length));
}

static void goes_on(void **state)
{
  (void)state;
  const char text[] = "a text that comes in two pieces";
  for (size_t cut = 0; cut < sizeof text; cut++)
    assert_int_equal(tg_crc32c(tg_crc32c(0, text, cut), text + cut, sizeof text - cut),
                     tg_crc32c(0, text, sizeof text));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_values),
      cmocka_unit_test(both_ways_agree),
      cmocka_unit_test(goes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
