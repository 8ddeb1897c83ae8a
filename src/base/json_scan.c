#include "base/json_scan.h"

#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

static const char *skip_long_string(const char *at, const char *end)
{
  for (;;) {
    const char *quote = memchr(at, '"', (size_t)(end - at));
    if (!quote)
      return NULL;
    const char *back = quote;
    while (back > at && back[-1] == '\\')
      back--;
    at = quote + 1;
    if ((quote - back) % 2 == 0)
      return at;
  }
}

/* `at` stands behind the opening quote; returns the byte behind the closing one.
 * Most strings are keys and numbers: short, and not worth a call. */
static inline const char *skip_string(const char *at, const char *end)
{
#ifdef __SSE2__
  if (end - at >= 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    int quotes = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    int backslashes = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    if (quotes && !(backslashes & ((quotes & -quotes) - 1)))
      return at + __builtin_ctz((unsigned)quotes) + 1;
  }
#endif
  return skip_long_string(at, end);
}

/* Where the bytes that matter stand in a block of 64: bit i is byte i. */
struct block {
  uint64_t quotes, backslashes, opening, closing;
};

enum { BLOCK = 64 };

#ifdef __SSE2__
static inline uint64_t equal_bytes(__m128i bytes, char c)
{
  return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
}

static inline void read_16(struct block *block, const char *at, int i)
{
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
  __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20)); /* [ to {, ] to } */
  block->quotes |= equal_bytes(bytes, '"') << i;
  block->backslashes |= equal_bytes(bytes, '\\') << i;
  block->opening |= equal_bytes(folded, '{') << i;
  block->closing |= equal_bytes(folded, '}') << i;
}

/* Not a loop: compilers leave it one, and it is the heart of the matter. */
static inline struct block read_block(const char *at)
{
  struct block block = {0};
  read_16(&block, at, 0);
  read_16(&block, at, 16);
  read_16(&block, at, 32);
  read_16(&block, at, 48);
  return block;
}

/* The same for the machines that have it, asked at run time. */
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline uint64_t equal_bytes_32(__m256i bytes, char c)
{
  return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c)));
}

AVX2 static inline void read_32(struct block *block, const char *at, int i)
{
  __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(at + i));
  __m256i folded = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
  block->quotes |= equal_bytes_32(bytes, '"') << i;
  block->backslashes |= equal_bytes_32(bytes, '\\') << i;
  block->opening |= equal_bytes_32(folded, '{') << i;
  block->closing |= equal_bytes_32(folded, '}') << i;
}

AVX2 static inline struct block read_block_avx2(const char *at)
{
  struct block block = {0};
  read_32(&block, at, 0);
  read_32(&block, at, 32);
  return block;
}
#else
static struct block read_block(const char *at)
{
  struct block block = {0};
  for (int i = 0; i < BLOCK; i++) {
    char folded = (char)(at[i] | 0x20); /* [ to {, ] to } */
    block.quotes |= (uint64_t)(at[i] == '"') << i;
    block.backslashes |= (uint64_t)(at[i] == '\\') << i;
    block.opening |= (uint64_t)(folded == '{') << i;
    block.closing |= (uint64_t)(folded == '}') << i;
  }
  return block;
}
#endif

/* What one block leaves to the next. */
struct carry {
  bool escape;        /* the last byte was a backslash that escapes the next */
  uint64_t in_string; /* all ones inside a string */
};

/* The bytes behind an odd number of backslashes. Adding 1 where a run begins
 * carries through it to its end: a run that began on an odd bit is left
 * standing on the other parity. No loop, no branch: text is full of them. */
static inline uint64_t escaped_bytes(uint64_t backslashes, struct carry *carry)
{
  const uint64_t even = 0x5555555555555555u;
  backslashes &= ~(uint64_t)carry->escape;
  uint64_t behind = backslashes << 1 | carry->escape;
  uint64_t odd_starts = backslashes & ~even & ~behind, runs_from_even;
  carry->escape = __builtin_add_overflow(odd_starts, backslashes, &runs_from_even);
  return (even ^ runs_from_even << 1) & behind;
}

/* Bits from each opening quote up to the byte before its closing quote. */
static uint64_t string_bytes(uint64_t quotes, struct carry *carry)
{
  uint64_t inside = quotes ^ quotes << 1;
  inside ^= inside << 2;
  inside ^= inside << 4;
  inside ^= inside << 8;
  inside ^= inside << 16;
  inside ^= inside << 32;
  inside ^= carry->in_string;
  carry->in_string = (uint64_t)((int64_t)inside >> 63);
  return inside;
}

/* Follows the brackets of a block. Returns the bit number of the one that
 * closes the outermost, or BLOCK. */
static int close_bit(uint64_t opening, uint64_t closing, size_t *depth)
{
  for (uint64_t left = opening | closing; left; left &= left - 1) {
    if (opening & left & -left)
      ++*depth;
    else if (--*depth == 0)
      return __builtin_ctzll(left);
  }
  return BLOCK;
}

/* `at` stands on an opening bracket. Brackets are counted, not matched by kind:
 * enough to find the end of text that came from a JSON writer, and harmless on
 * anything else. Works on 64 bytes at once: this runs over every byte of every
 * event. */
static inline __attribute__((always_inline)) const char *skip_blocks(const char *at, const char *end,
                                                                     struct block (*read)(const char *at))
{
  struct carry carry = {0};
  size_t depth = 0;
  for (; at < end; at += BLOCK) {
    struct block block;
    if (end - at >= BLOCK) {
      block = read(at);
    } else {
      char last[BLOCK] = {0};
      memcpy(last, at, (size_t)(end - at));
      block = read(last);
    }
    uint64_t quotes = block.quotes & ~escaped_bytes(block.backslashes, &carry);
    uint64_t outside = ~string_bytes(quotes, &carry);
    int bit = close_bit(block.opening & outside, block.closing & outside, &depth);
    if (bit < BLOCK)
      return at + bit + 1;
    if (end - at <= BLOCK)
      break;
  }
  return NULL;
}

static const char *skip_nested(const char *at, const char *end)
{
  return skip_blocks(at, end, read_block);
}

#ifdef AVX2
AVX2 static const char *skip_nested_avx2(const char *at, const char *end)
{
  return skip_blocks(at, end, read_block_avx2);
}
#endif

static bool is_scalar_byte(char c)
{
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}

const char *tg_json_skip_value(const char *at, const char *end)
{
  if (at >= end)
    return NULL;
  if (*at == '"')
    return skip_string(at + 1, end);
  if (*at == '{' || *at == '[') {
    if (end - at > 1 && at[1] == *at + 2) /* {} and [] are common */
      return at + 2;
#ifdef AVX2
    if (__builtin_cpu_supports("avx2"))
      return skip_nested_avx2(at, end);
#endif
    return skip_nested(at, end);
  }
  const char *start = at;
  while (at < end && is_scalar_byte(*at))
    at++;
  return at > start ? at : NULL;
}

bool tg_json_find(const char *at, const char *end, const char *key, struct tg_span *value)
{
  size_t key_length = strlen(key);
  at = tg_json_skip_space(at, end);
  if (at >= end || *at != '{')
    return false;
  at = tg_json_skip_space(at + 1, end);
  while (at < end && *at == '"') {
    const char *name = at + 1;
    const char *behind = skip_string(name, end);
    if (!behind)
      return false;
    at = tg_json_skip_space(behind, end);
    if (at >= end || *at != ':')
      return false;
    at = tg_json_skip_space(at + 1, end);
    const char *last = tg_json_skip_value(at, end);
    if (!last)
      return false;
    if ((size_t)(behind - 1 - name) == key_length && memcmp(name, key, key_length) == 0) {
      *value = (struct tg_span){at, (size_t)(last - at)};
      return true;
    }
    at = tg_json_skip_space(last, end);
    if (at >= end || *at != ',')
      return false;
    at = tg_json_skip_space(at + 1, end);
  }
  return false;
}

bool tg_json_plain_string(struct tg_span value, struct tg_span *content)
{
  if (value.length < 2 || value.at[0] != '"' || value.at[value.length - 1] != '"')
    return false;
  *content = (struct tg_span){value.at + 1, value.length - 2};
  return memchr(content->at, '\\', content->length) == NULL;
}

bool tg_json_uint(struct tg_span value, uint64_t *number)
{
  enum { NEVER_OVERFLOWS = 19 }; /* digits */
  struct tg_span digits = value;
  if (value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"')
    digits = (struct tg_span){value.at + 1, value.length - 2};
  if (digits.length == 0)
    return false;
  uint64_t result = 0;
  for (size_t i = 0; i < digits.length; i++) {
    unsigned digit = (unsigned char)digits.at[i] - (unsigned)'0';
    if (digit > 9)
      return false;
    if (i < NEVER_OVERFLOWS)
      result = result * 10 + digit;
    else if (__builtin_mul_overflow(result, 10, &result) || __builtin_add_overflow(result, digit, &result))
      return false;
  }
  *number = result;
  return true;
}

bool tg_json_is(struct tg_span value, const char *literal)
{
  return value.at && value.length == strlen(literal) && memcmp(value.at, literal, value.length) == 0;
}

bool tg_json_next(struct tg_span array, const char **at, struct tg_span *element)
{
  const char *end = array.at + array.length;
  const char *here = *at;
  if (!here) {
    here = tg_json_skip_space(array.at, end);
    if (here >= end || *here != '[')
      return false;
    here = tg_json_skip_space(here + 1, end);
    if (here < end && *here == ']')
      return false;
  } else {
    here = tg_json_skip_space(here, end);
    if (here >= end || *here != ',')
      return false;
    here = tg_json_skip_space(here + 1, end);
  }
  const char *last = tg_json_skip_value(here, end);
  if (!last)
    return false;
  *element = (struct tg_span){here, (size_t)(last - here)};
  *at = last;
  return true;
}
