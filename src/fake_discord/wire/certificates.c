#include "fake_discord/wire/certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECONDS_VALID = 10 * 365 * 86400, BACKDATED = 3600 };

static bool is_there(const char *dir, const char *name)
{
  char path[600];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return access(path, R_OK) == 0;
}

static bool extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  bool ok = extension && X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return ok;
}

static X509 *new_certificate(EVP_PKEY *key, const char *name)
{
  X509 *certificate = X509_new();
  if (!certificate)
    return NULL;
  uint32_t serial;
  RAND_bytes((unsigned char *)&serial, sizeof serial);
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), (serial & 0x7fffffff) | 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATED);
  X509_gmtime_adj(X509_getm_notAfter(certificate), SECONDS_VALID);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             (const unsigned char *)name, -1, -1, 0);
  return certificate;
}

static X509 *make_ca(EVP_PKEY *key)
{
  X509 *ca = new_certificate(key, "Tidegate fake Discord CA");
  if (ca && X509_set_issuer_name(ca, X509_get_subject_name(ca)) &&
      extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE") &&
      extend(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      extend(ca, ca, NID_subject_key_identifier, "hash") && X509_sign(ca, key, EVP_sha256()))
    return ca;
  X509_free(ca);
  return NULL;
}

static X509 *make_leaf(EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
  X509 *leaf = new_certificate(key, "localhost");
  if (leaf && X509_set_issuer_name(leaf, X509_get_subject_name(ca)) &&
      extend(leaf, ca, NID_basic_constraints, "CA:FALSE") &&
      extend(leaf, ca, NID_key_usage, "critical,digitalSignature") &&
      extend(leaf, ca, NID_ext_key_usage, "serverAuth") &&
      extend(leaf, ca, NID_subject_alt_name, "DNS:localhost,DNS:*.discord.test,IP:127.0.0.1,IP:::1") &&
      extend(leaf, ca, NID_authority_key_identifier, "keyid") && X509_sign(leaf, ca_key, EVP_sha256()))
    return leaf;
  X509_free(leaf);
  return NULL;
}

/* Readers of the directory see a whole file or none. */
static bool write_pem(const char *dir, const char *name, X509 *certificate, EVP_PKEY *key,
                      struct tg_error *error)
{
  char path[600], temporary[620];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, certificate ? 0644 : 0600);
  FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!file) {
    if (fd >= 0)
      close(fd);
    return tg_fail(error, "file", "%s cannot be written: %s", path, strerror(errno));
  }
  bool ok = certificate ? PEM_write_X509(file, certificate)
                        : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
  ok = fclose(file) == 0 && ok;
  if (!ok || rename(temporary, path) != 0) {
    unlink(temporary);
    return tg_fail(error, "file", "%s cannot be written: %s", path, strerror(errno));
  }
  return true;
}

bool tg_fake_certificates(const char *dir, struct tg_error *error)
{
  if (is_there(dir, "ca.pem") && is_there(dir, "cert.pem") && is_there(dir, "key.pem"))
    return true;
  if (mkdir(dir, 0755) != 0 && errno != EEXIST)
    return tg_fail(error, "file", "the directory %s cannot be made: %s", dir, strerror(errno));
  EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
  X509 *ca = ca_key ? make_ca(ca_key) : NULL;
  X509 *leaf = ca && key ? make_leaf(key, ca, ca_key) : NULL;
  bool ok = leaf ? write_pem(dir, "key.pem", NULL, key, error) &&
                       write_pem(dir, "cert.pem", leaf, NULL, error) &&
                       write_pem(dir, "ca.pem", ca, NULL, error)
                 : tg_fail(error, "tls", "OpenSSL could not make the certificates");
  X509_free(leaf);
  X509_free(ca);
  EVP_PKEY_free(key);
  EVP_PKEY_free(ca_key);
  return ok;
}
