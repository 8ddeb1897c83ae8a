#pragma once

/* Certificates that a unit makes for itself: for gateway.test, 127.0.0.1 and ::1,
 * signed by nobody but themselves. */

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

static inline void add_extension(X509 *certificate, int kind, const char *value)
{
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
  assert_non_null(extension);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

/* From yesterday on for so many days. */
static inline X509 *make_certificate(EVP_PKEY *key, const char *name, int days)
{
  enum { DAY = 24 * 60 * 60 };
  X509 *certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY);
  X509_gmtime_adj(X509_getm_notAfter(certificate), (days - 1L) * DAY);
  X509_NAME *subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(certificate, subject);
  X509_set_pubkey(certificate, key);
  add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate, NID_subject_key_identifier, "hash");
  add_extension(certificate, NID_subject_alt_name, "DNS:gateway.test,IP:127.0.0.1,IP:::1");
  assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
  return certificate;
}

/* A server's context with a certificate of its own, which is appended to `trusted`
 * (NULL: nobody is to trust it). */
static inline SSL_CTX *make_tls_server(const char *name, int days, FILE *trusted)
{
  EVP_PKEY *key = EVP_EC_gen("P-256");
  assert_non_null(key);
  X509 *certificate = make_certificate(key, name, days);
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (trusted)
    PEM_write_X509(trusted, certificate);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return context;
}
