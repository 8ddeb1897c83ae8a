#include "event_log/crc32c.h"

#include <stdbool.h>
#include <string.h>

enum { POLYNOMIAL_BITS = 8, SLICES = 8 };
static const uint32_t polynomial = 0x82f63b78; /* reflected */

static uint32_t tables[SLICES][256];

static void fill_tables(void)
{
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < POLYNOMIAL_BITS; bit++)
      crc = crc & 1 ? crc >> 1 ^ polynomial : crc >> 1;
    tables[0][i] = crc;
  }
  for (int slice = 1; slice < SLICES; slice++)
    for (int i = 0; i < 256; i++)
      tables[slice][i] = tables[slice - 1][i] >> 8 ^ tables[0][tables[slice - 1][i] & 0xff];
}

uint32_t tg_crc32c_portable(uint32_t crc, const void *bytes, size_t length)
{
  const unsigned char *at = bytes;
  if (tables[0][1] == 0)
    fill_tables();
  crc = ~crc;
  for (; length >= SLICES; at += SLICES, length -= SLICES) {
    crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^
          tables[4][crc >> 24] ^ tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^ tables[0][at[7]];
  }
  for (; length > 0; at++, length--)
    crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
  return ~crc;
}

#ifdef __x86_64__
/* The instruction takes three cycles, but one can begin in each: three lanes of
 * bytes that follow each other are done side by side and then joined. */
enum { LANE = 128, LANES = 3 };

static uint32_t past_lane[4][256]; /* what a byte of the register becomes LANE zero bytes later */

__attribute__((target("sse4.2"))) static void fill_past_lane(void)
{
  for (int place = 0; place < 4; place++)
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint64_t crc = byte << 8 * place;
      for (int i = 0; i < LANE / 8; i++)
        crc = __builtin_ia32_crc32di(crc, 0);
      past_lane[place][byte] = (uint32_t)crc;
    }
}

static uint32_t skip_lane(uint64_t crc)
{
  return past_lane[0][crc & 0xff] ^ past_lane[1][crc >> 8 & 0xff] ^ past_lane[2][crc >> 16 & 0xff] ^
         past_lane[3][crc >> 24 & 0xff];
}

static uint64_t word_at(const unsigned char *at)
{
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t start, const unsigned char *at,
                                                                 size_t length)
{
  uint64_t crc = ~start;
  if (length >= LANE * LANES && past_lane[0][1] == 0)
    fill_past_lane();
  for (; length >= LANE * LANES; at += LANE * LANES, length -= LANE * LANES) {
    uint64_t second = 0, third = 0;
    for (int i = 0; i < LANE; i += 8) {
      crc = __builtin_ia32_crc32di(crc, word_at(at + i));
      second = __builtin_ia32_crc32di(second, word_at(at + LANE + i));
      third = __builtin_ia32_crc32di(third, word_at(at + 2 * LANE + i));
    }
    crc = skip_lane(skip_lane(crc) ^ second) ^ third;
  }
  for (; length >= 8; at += 8, length -= 8)
    crc = __builtin_ia32_crc32di(crc, word_at(at));
  uint32_t rest = (uint32_t)crc;
  for (; length > 0; at++, length--)
    rest = __builtin_ia32_crc32qi(rest, *at);
  return ~rest;
}

uint32_t tg_crc32c(uint32_t crc, const void *bytes, size_t length)
{
  if (__builtin_cpu_supports("sse4.2"))
    return by_instruction(crc, bytes, length);
  return tg_crc32c_portable(crc, bytes, length);
}
#else
uint32_t tg_crc32c(uint32_t crc, const void *bytes, size_t length)
{
  return tg_crc32c_portable(crc, bytes, length);
}
#endif
