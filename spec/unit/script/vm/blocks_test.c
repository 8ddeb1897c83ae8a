#include "script/vm/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { HUGE_SIZE = 100000 };

static void keeps_what_stands_in_a_block(void **state)
{
  (void)state;
  static const size_t sizes[] = {1, 16, 17, 8, 300, 512, 513, 90000, 600, 512, 30, 1};
  struct tg_blocks blocks = {0};
  unsigned char *block = NULL;
  size_t size = 0;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    size_t kept = size < sizes[i] ? size : sizes[i];
    block = tg_block_resize(&blocks, block, size, sizes[i]);
    assert_non_null(block);
    for (size_t at = 0; at < kept; at++)
      assert_int_equal(block[at], (unsigned char)(at * 7));
    size = sizes[i];
    for (size_t at = 0; at < size; at++)
      block[at] = (unsigned char)(at * 7);
  }
  assert_null(tg_block_resize(&blocks, block, size, 0));
  tg_blocks_free(&blocks);
}

static void frees_nothing_twice(void **state)
{
  (void)state;
  struct tg_blocks blocks = {0};
  assert_null(tg_block_resize(&blocks, NULL, 0, 0));
  tg_blocks_free(&blocks);
  tg_blocks_free(&blocks);
  assert_int_equal(blocks.bytes, 0);
}

#if !defined(__SANITIZE_ADDRESS__)
static void uses_a_small_block_again(void **state)
{
  (void)state;
  struct tg_blocks blocks = {0};
  char *first = tg_block_resize(&blocks, NULL, 0, 40), *second = tg_block_resize(&blocks, NULL, 0, 41);
  assert_ptr_not_equal(first, second);
  tg_block_resize(&blocks, first, 40, 0);
  assert_int_equal(blocks.bytes, 48);
  assert_ptr_equal(tg_block_resize(&blocks, NULL, 0, 33), first);
  assert_int_equal(blocks.bytes, 0);
  assert_ptr_equal(tg_block_resize(&blocks, first, 33, 48), first); /* there is room for it */
  tg_block_resize(&blocks, first, 48, 0);
  tg_block_resize(&blocks, second, 41, 0);
  tg_blocks_free(&blocks);
}

static void holds_a_bounded_number_of_them(void **state)
{
  (void)state;
  enum { COUNT = 20000, SIZE = 512 };
  static void *all[COUNT];
  struct tg_blocks blocks = {0};
  for (int i = 0; i < COUNT; i++)
    all[i] = tg_block_resize(&blocks, NULL, 0, SIZE);
  for (int i = 0; i < COUNT; i++)
    tg_block_resize(&blocks, all[i], SIZE, 0);
  assert_int_equal(blocks.bytes, TG_BLOCKS_SPARE);
  void *large = tg_block_resize(&blocks, NULL, 0, HUGE_SIZE);
  tg_block_resize(&blocks, large, HUGE_SIZE, 0);
  assert_int_equal(blocks.bytes, TG_BLOCKS_SPARE);
  tg_blocks_free(&blocks);
}
#endif

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keeps_what_stands_in_a_block),
    cmocka_unit_test(frees_nothing_twice),
#if !defined(__SANITIZE_ADDRESS__)
    cmocka_unit_test(uses_a_small_block_again),
    cmocka_unit_test(holds_a_bounded_number_of_them),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
