#pragma once

/* Small blocks of memory that are used again. A script makes some for each event that it sees, and LuaJIT's
 * collector gives them back by the thousand: too many at a time for malloc's own fast ways. */

#include <stddef.h>

enum {
  TG_BLOCK_GRAIN = 16,
  TG_BLOCK_CLASSES = 32,             /* up to 512 bytes */
  TG_BLOCKS_SPARE = 4 * 1024 * 1024, /* bytes that are held for later; what is more goes back */
};

struct tg_blocks {
  struct tg_spare_block *spare[TG_BLOCK_CLASSES + 1]; /* by size in grains */
  size_t bytes;                                       /* of all of them */
};

/* As realloc() and, with a new size of 0, free(). The old size is what was asked for; of no block (NULL) it
 * is 0. NULL: there is no memory, and the old block is what it was. */
void *tg_block_resize(struct tg_blocks *blocks, void *block, size_t old_size, size_t new_size);

/* The spare ones; those in use are their owner's to give back before. */
void tg_blocks_free(struct tg_blocks *blocks);
