#pragma once

/* How a skip list lies in its file, and in what other hosts are told of it. */

#include "delivery/reshard/skip_file.h"

#include <stddef.h>

size_t tg_skip_size(const struct tg_skip_list *list);
/* `memory` has that size, and the alignment of a uint64_t. */
void tg_skip_lay(const struct tg_skip_list *list, char *memory);
/* `list` points into the memory then. False: it is no skip list, or damaged. */
bool tg_skip_read(char *memory, size_t size, struct tg_skip_list *list);
