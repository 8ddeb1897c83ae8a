#include "script/vm/blocks.h"

#include <stdlib.h>
#include <string.h>

struct tg_spare_block {
  struct tg_spare_block *next;
};

/* The sanitizers are to see who uses a block that was given back. */
#if defined(__SANITIZE_ADDRESS__)
enum { LARGEST = 0 };
#else
enum { LARGEST = TG_BLOCK_CLASSES * TG_BLOCK_GRAIN };
#endif

static size_t grains(size_t size)
{
  return (size + TG_BLOCK_GRAIN - 1) / TG_BLOCK_GRAIN;
}

static void *take(struct tg_blocks *blocks, size_t size)
{
  if (size > LARGEST)
    return malloc(size);
  size_t count = grains(size);
  struct tg_spare_block *block = blocks->spare[count];
  if (!block)
    return malloc(count * TG_BLOCK_GRAIN);
  blocks->spare[count] = block->next;
  blocks->bytes -= count * TG_BLOCK_GRAIN;
  return block;
}

static void give(struct tg_blocks *blocks, void *memory, size_t size)
{
  struct tg_spare_block *block = memory;
  if (size > LARGEST || blocks->bytes >= TG_BLOCKS_SPARE) {
    free(block);
    return;
  }
  size_t count = grains(size);
  block->next = blocks->spare[count];
  blocks->spare[count] = block;
  blocks->bytes += count * TG_BLOCK_GRAIN;
}

void *tg_block_resize(struct tg_blocks *blocks, void *block, size_t old_size, size_t new_size)
{
  if (new_size == 0) {
    if (block)
      give(blocks, block, old_size);
    return NULL;
  }
  if (!block)
    return take(blocks, new_size);
  if (old_size > LARGEST && new_size > LARGEST)
    return realloc(block, new_size);
  if (old_size <= LARGEST && new_size <= LARGEST && grains(old_size) == grains(new_size))
    return block;
  void *made = take(blocks, new_size);
  if (!made)
    return NULL;
  memcpy(made, block, old_size < new_size ? old_size : new_size);
  give(blocks, block, old_size);
  return made;
}

void tg_blocks_free(struct tg_blocks *blocks)
{
  for (size_t count = 0; count <= TG_BLOCK_CLASSES; count++) {
    while (blocks->spare[count]) {
      struct tg_spare_block *block = blocks->spare[count];
      blocks->spare[count] = block->next;
      free(block);
    }
  }
  blocks->bytes = 0;
}
