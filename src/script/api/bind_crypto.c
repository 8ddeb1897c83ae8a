/* gateway.crypto: OpenSSL's, for signatures of requests and the like. Bytes are
 * Lua strings; hex and base64 make text of them. */

#include "script/vm/state.h"

#include "base/suggest.h"

#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

enum { RANDOM_MAX = 1024 * 1024 };

static const char *const algorithms[] = {"sha1", "sha256", "sha384", "sha512"};

static const EVP_MD *check_algorithm(lua_State *L, int index)
{
  size_t count = sizeof algorithms / sizeof *algorithms;
  const char *name = luaL_checkstring(L, index);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(name, algorithms[i]) == 0)
      return EVP_get_digestbyname(name);
  }
  const char *meant = tg_suggest(name, algorithms, count);
  luaL_error(L, "gateway.crypto.hmac: unknown algorithm '%s'%s%s%s; it is sha1, sha256, sha384 or sha512",
             name, meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
  return NULL;
}

static int failed(lua_State *L, const char *what)
{
  return luaL_error(L, "gateway.crypto.%s: OpenSSL has failed", what);
}

/* hmac(algorithm, key, text) -> bytes */
static int l_hmac(lua_State *L)
{
  tg_state_of(L);
  size_t key_length, length;
  const EVP_MD *algorithm = check_algorithm(L, 1);
  const char *key = luaL_checklstring(L, 2, &key_length), *text = luaL_checklstring(L, 3, &length);
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned size;
  if (!HMAC(algorithm, key, (int)key_length, (const unsigned char *)text, length, mac, &size))
    return failed(L, "hmac");
  lua_pushlstring(L, (const char *)mac, size);
  return 1;
}

/* sha256(text) -> bytes */
static int l_sha256(lua_State *L)
{
  tg_state_of(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size;
  if (!EVP_Digest(text, length, digest, &size, EVP_sha256(), NULL))
    return failed(L, "sha256");
  lua_pushlstring(L, (const char *)digest, size);
  return 1;
}

/* random(n) -> bytes that nobody can foresee */
static int l_random(lua_State *L)
{
  struct tg_buf *out = &tg_state_of(L)->out;
  lua_Number count = luaL_checknumber(L, 1);
  luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX, 1, "expected a number of bytes, up to 1 MiB");
  out->length = 0;
  unsigned char *bytes = (unsigned char *)tg_buf_reserve(out, (size_t)count + 1);
  if (RAND_bytes(bytes, (int)count) != 1)
    return failed(L, "random");
  lua_pushlstring(L, (const char *)bytes, (size_t)count);
  OPENSSL_cleanse(bytes, (size_t)count);
  return 1;
}

/* equal(a, b) -> whether they are, in a time that does not depend on where they differ */
static int l_equal(lua_State *L)
{
  tg_state_of(L);
  size_t lengths[2];
  const char *a = luaL_checklstring(L, 1, &lengths[0]), *b = luaL_checklstring(L, 2, &lengths[1]);
  lua_pushboolean(L, lengths[0] == lengths[1] && CRYPTO_memcmp(a, b, lengths[0]) == 0);
  return 1;
}

/* ---- hex ---- */

static int l_hex_encode(lua_State *L)
{
  static const char digits[] = "0123456789abcdef";
  struct tg_buf *out = &tg_state_of(L)->out;
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  out->length = 0;
  char *to = tg_buf_reserve(out, 2 * length + 1);
  for (size_t i = 0; i < length; i++) {
    *to++ = digits[(unsigned char)bytes[i] >> 4];
    *to++ = digits[bytes[i] & 15];
  }
  lua_pushlstring(L, out->data, 2 * length);
  return 1;
}

static int digit(char c)
{
  static const char digits[] = "0123456789abcdefABCDEF";
  const char *at = c ? strchr(digits, c) : NULL;
  return !at ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

static int l_hex_decode(lua_State *L)
{
  struct tg_buf *out = &tg_state_of(L)->out;
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  out->length = 0;
  char *to = tg_buf_reserve(out, length / 2 + 1);
  for (size_t i = 0; i < length; i += 2) {
    int high = digit(text[i]), low = i + 1 < length ? digit(text[i + 1]) : -1;
    if (high < 0 || low < 0)
      return tg_push_failure(L, "bad_hex", "not pairs of hexadecimal digits from byte %d on", (int)i + 1);
    *to++ = (char)(high << 4 | low);
  }
  lua_pushlstring(L, out->data, length / 2);
  return 1;
}

/* ---- base64 ---- */

static void exchange(char *text, size_t length, const char *from, const char *to)
{
  for (size_t i = 0; i < length; i++) {
    if (text[i] == from[0])
      text[i] = to[0];
    else if (text[i] == from[1])
      text[i] = to[1];
  }
}

/* The alphabet's last two letters; those for URLs come without padding. */
static const char plain[] = "+/", for_urls[] = "-_";

static int encode(lua_State *L, bool url)
{
  struct tg_buf *out = &tg_state_of(L)->out;
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  out->length = 0;
  char *to = tg_buf_reserve(out, length / 3 * 4 + 8);
  size_t size = (size_t)EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)bytes, (int)length);
  if (url) {
    exchange(to, size, plain, for_urls);
    while (size > 0 && to[size - 1] == '=')
      size--;
  }
  lua_pushlstring(L, to, size);
  return 1;
}

/* The first byte that does not belong into base64, padding aside; `length`: none. */
static size_t good_letters(const char *text, size_t length, bool url)
{
  size_t at = 0;
  for (; at < length; at++) {
    char c = text[at];
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
          c == (url ? '-' : '+') || c == (url ? '_' : '/')))
      break;
  }
  return at;
}

static int decode(lua_State *L, bool url)
{
  struct tg_buf *out = &tg_state_of(L)->out;
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  size_t letters = good_letters(text, length, url), padding = length - letters, rest = letters % 4;
  bool padded =
      padding > 0 && padding <= 2 && rest + padding == 4 && memcmp("==", text + letters, padding) == 0;
  bool whole = padding == 0 && (rest == 0 || url);
  if (rest == 1 || !(padded || whole))
    return tg_push_failure(L, "bad_base64", "not base64%s from byte %d on", url ? " for URLs" : "",
                           (int)letters + 1);
  size_t blocks = (letters + 3) / 4;
  out->length = 0;
  char *from = tg_buf_reserve(out, blocks * 7 + 1), *to = from + blocks * 4;
  memset(from, '=', blocks * 4);
  memcpy(from, text, letters);
  exchange(from, letters, for_urls, plain);
  if (EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)from, (int)(blocks * 4)) < 0)
    return failed(L, "base64.decode");
  lua_pushlstring(L, to, letters * 3 / 4);
  return 1;
}

static int l_encode(lua_State *L)
{
  return encode(L, false);
}
static int l_decode(lua_State *L)
{
  return decode(L, false);
}
static int l_encode_url(lua_State *L)
{
  return encode(L, true);
}
static int l_decode_url(lua_State *L)
{
  return decode(L, true);
}

/* ---- the table ---- */

static void add_table(lua_State *L, const char *name, const luaL_Reg *functions)
{
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_setfield(L, -2, name);
}

void tg_bind_crypto(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"hmac", l_hmac}, {"sha256", l_sha256}, {"random", l_random}, {"equal", l_equal}, {0}};
  static const luaL_Reg hex[] = {{"encode", l_hex_encode}, {"decode", l_hex_decode}, {0}};
  static const luaL_Reg base64[] = {{"encode", l_encode}, {"decode", l_decode}, {0}};
  static const luaL_Reg base64url[] = {{"encode", l_encode_url}, {"decode", l_decode_url}, {0}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  add_table(L, "hex", hex);
  add_table(L, "base64", base64);
  add_table(L, "base64url", base64url);
  lua_setfield(L, -2, "crypto");
}
