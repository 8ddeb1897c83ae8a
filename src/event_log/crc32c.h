#pragma once

/* CRC-32C (Castagnoli), as the records of the log carry it. */

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`; 0 begins. Uses the processor's instruction if it has one. */
uint32_t tg_crc32c(uint32_t crc, const void *bytes, size_t length);

/* The same by tables, for processors without it. */
uint32_t tg_crc32c_portable(uint32_t crc, const void *bytes, size_t length);
