#pragma once

/* The OpenSSL side of streams and links: private to the folder. */

#include "base/error.h"
#include "net/stream.h"

#include <openssl/ssl.h>
#include <stdbool.h>

enum { TG_CERTIFICATES_KEPT = 8 };

struct tg_tls {
  SSL_CTX *context;
  bool server;
  X509 *certificates[TG_CERTIFICATES_KEPT]; /* of peers, those that came last; NULL: none yet */
  unsigned certificate_count;               /* so many have been kept so far */
};

/* A server's connection on the connected socket `fd`. NULL: out of memory. */
SSL *tg_tls_accept(struct tg_tls *tls, int fd);

/* A client's on the connected socket `fd`, to `host`. No ALPN: what is spoken is known. NULL: out of memory.
 */
SSL *tg_tls_connect(struct tg_tls *tls, int fd, const char *host);

/* What a client asks for by SNI and checks the certificate against; before the handshake. */
void tg_tls_expect_host(SSL *ssl, const char *host);

/* Fills `error` ("tls") with the reason the last operation on `ssl` failed,
 * in words: a certificate that is not trusted, expired, for another name, ... */
void tg_tls_explain(SSL *ssl, const char *host, struct tg_error *error);
