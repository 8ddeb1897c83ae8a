#include "net/tls.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void last_error(char *text, size_t size)
{
  unsigned long code = ERR_peek_last_error();
  const char *reason = code ? ERR_reason_error_string(code) : NULL;
  snprintf(text, size, "%s", reason ? reason : "unknown reason");
  ERR_clear_error();
}

static struct tg_tls *new_context(const SSL_METHOD *method, bool server, struct tg_error *error)
{
  SSL_CTX *context = SSL_CTX_new(method);
  if (!context) {
    char reason[128];
    last_error(reason, sizeof reason);
    return tg_fail(error, "tls", "TLS cannot be set up: %s", reason), NULL;
  }
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  /* Discord sends FIN without close_notify. */
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  /* One read(2) for header and body of a record; the stream reads until the
   * socket is empty, so nothing is left behind in OpenSSL's buffer. */
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  struct tg_tls *tls = tg_calloc(1, sizeof *tls);
  tls->context = context;
  tls->server = server;
  return tls;
}

/* What is kept of it, byte by byte the same; the caller's reference to the one becomes one to the other. */
static X509 *keep_certificate(struct tg_tls *tls, X509 *certificate)
{
  for (int i = 0; i < TG_CERTIFICATES_KEPT && tls->certificates[i]; i++) {
    if (X509_cmp(tls->certificates[i], certificate) == 0) {
      X509_up_ref(tls->certificates[i]);
      X509_free(certificate);
      return tls->certificates[i];
    }
  }
  X509 **place = &tls->certificates[tls->certificate_count++ % TG_CERTIFICATES_KEPT];
  X509_free(*place);
  X509_up_ref(certificate);
  return *place = certificate;
}

/* Each connection keeps the peer's certificates for as long as it lives: some kilobytes each, and the same
 * for a thousand shards. So they are had once, from before they are verified. */
static int verify(X509_STORE_CTX *verifying, void *ctx)
{
  struct tg_tls *tls = ctx;
  STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(verifying);
  for (int i = 0; i < sk_X509_num(chain); i++)
    sk_X509_set(chain, i, keep_certificate(tls, sk_X509_value(chain, i)));
  if (sk_X509_num(chain) > 0)
    X509_STORE_CTX_set_cert(verifying, sk_X509_value(chain, 0));
  return X509_verify_cert(verifying);
}

struct tg_tls *tg_tls_client(const char *ca_file, struct tg_error *error)
{
  struct tg_tls *tls = new_context(TLS_client_method(), false, error);
  if (!tls)
    return NULL;
  int trusted = ca_file ? SSL_CTX_load_verify_locations(tls->context, ca_file, NULL)
                        : SSL_CTX_set_default_verify_paths(tls->context);
  if (!trusted) {
    char reason[128];
    last_error(reason, sizeof reason);
    tg_tls_free(tls);
    return tg_fail(error, "tls", "certificates to trust cannot be read from %s: %s",
                   ca_file ? ca_file : "the system's store", reason),
           NULL;
  }
  SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_cert_verify_callback(tls->context, verify, tls);
  static const unsigned char alpn[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(tls->context, alpn, sizeof alpn - 1);
  return tls;
}

static int select_http11(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                         const unsigned char *in, unsigned int in_length, void *arg)
{
  (void)ssl, (void)arg;
  static const unsigned char alpn[] = "\x08http/1.1";
  if (SSL_select_next_proto((unsigned char **)out, out_length, alpn, sizeof alpn - 1, in, in_length) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  return SSL_TLSEXT_ERR_OK;
}

struct tg_tls *tg_tls_server(const char *certificate_file, const char *key_file, struct tg_error *error)
{
  struct tg_tls *tls = new_context(TLS_server_method(), true, error);
  if (!tls)
    return NULL;
  if (SSL_CTX_use_certificate_chain_file(tls->context, certificate_file) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls->context, key_file, SSL_FILETYPE_PEM) != 1) {
    char reason[128];
    last_error(reason, sizeof reason);
    tg_tls_free(tls);
    return tg_fail(error, "tls", "%s and %s cannot be used as certificate and key: %s", certificate_file,
                   key_file, reason),
           NULL;
  }
  SSL_CTX_set_num_tickets(tls->context, 0);
  SSL_CTX_set_alpn_select_cb(tls->context, select_http11, NULL);
  return tls;
}

void tg_tls_free(struct tg_tls *tls)
{
  if (!tls)
    return;
  for (int i = 0; i < TG_CERTIFICATES_KEPT; i++)
    X509_free(tls->certificates[i]);
  SSL_CTX_free(tls->context);
  free(tls);
}

static bool is_address(const char *host)
{
  unsigned char binary[sizeof(struct in6_addr)];
  return inet_pton(AF_INET, host, binary) == 1 || inet_pton(AF_INET6, host, binary) == 1;
}

void tg_tls_expect_host(SSL *ssl, const char *host)
{
  X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
  if (is_address(host)) {
    SSL_set_tlsext_host_name(ssl, NULL);
    X509_VERIFY_PARAM_set1_host(expected, NULL, 0);
    X509_VERIFY_PARAM_set1_ip_asc(expected, host);
  } else {
    SSL_set_tlsext_host_name(ssl, host);
    X509_VERIFY_PARAM_set1_ip(expected, NULL, 0);
    X509_VERIFY_PARAM_set1_host(expected, host, 0);
  }
}

SSL *tg_tls_accept(struct tg_tls *tls, int fd)
{
  SSL *ssl = SSL_new(tls->context);
  if (!ssl)
    return NULL;
  SSL_set_fd(ssl, fd);
  SSL_set_accept_state(ssl);
  return ssl;
}

SSL *tg_tls_connect(struct tg_tls *tls, int fd, const char *host)
{
  SSL *ssl = SSL_new(tls->context);
  if (!ssl)
    return NULL;
  SSL_set_fd(ssl, fd);
  SSL_set_alpn_protos(ssl, NULL, 0);
  tg_tls_expect_host(ssl, host);
  SSL_set_connect_state(ssl);
  return ssl;
}

void tg_tls_explain(SSL *ssl, const char *host, struct tg_error *error)
{
  long verdict = SSL_get_verify_result(ssl);
  if (verdict != X509_V_OK && !SSL_is_server(ssl)) {
    tg_fail(error, "tls",
            "the certificate of %s is refused: %s (is the clock right, and tls.ca_file, if it is set?)", host,
            X509_verify_cert_error_string(verdict));
    ERR_clear_error();
    return;
  }
  char reason[128];
  last_error(reason, sizeof reason);
  tg_fail(error, "tls", "TLS with %s failed: %s", host, reason);
}
