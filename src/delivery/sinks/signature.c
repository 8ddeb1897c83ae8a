#include "delivery/sinks/request_head.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

enum { DIGEST = 32 };

void tg_signing_keys_read(struct tg_signing_keys *keys, const struct tg_strings *secrets)
{
  OPENSSL_cleanse(keys, sizeof *keys);
  for (int i = 0; i < secrets->count && keys->count < TG_SIGNING_SECRETS; i++) {
    int length = tg_signing_key(secrets->items[i], keys->keys[keys->count]);
    if (length > 0) /* the configuration has let no other pass */
      keys->lengths[keys->count++] = length;
  }
}

/* In pieces: a body may have megabytes. */
static void digest_with(EVP_PKEY *key, const char *id, const char *timestamp, struct tg_span body,
                        unsigned char digest[DIGEST])
{
  size_t length = DIGEST;
  EVP_MD_CTX *hmac = EVP_MD_CTX_new();
  EVP_DigestSignInit(hmac, NULL, EVP_sha256(), NULL, key);
  EVP_DigestSignUpdate(hmac, id, strlen(id));
  EVP_DigestSignUpdate(hmac, ".", 1);
  EVP_DigestSignUpdate(hmac, timestamp, strlen(timestamp));
  EVP_DigestSignUpdate(hmac, ".", 1);
  EVP_DigestSignUpdate(hmac, body.at, body.length);
  EVP_DigestSignFinal(hmac, digest, &length);
  EVP_MD_CTX_free(hmac);
}

void tg_sign(const struct tg_signing_keys *keys, const char *id, const char *timestamp, struct tg_span body,
             char signature[TG_SIGNATURE_MAX])
{
  char *at = signature;
  *at = '\0';
  for (int i = 0; i < keys->count; i++) {
    unsigned char digest[DIGEST];
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, keys->keys[i], (size_t)keys->lengths[i]);
    digest_with(key, id, timestamp, body, digest);
    EVP_PKEY_free(key);
    at = stpcpy(at, i > 0 ? " v1," : "v1,");
    at += EVP_EncodeBlock((unsigned char *)at, digest, DIGEST);
  }
}
