#include "fake_discord/gateway/conn.h"

#include "fake_discord/gateway/points.h"
#include "fake_discord/world/journal.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                   const char *rule, const char *text)
{
  fake->journal->counters.refused_upgrades++;
  tg_fake_violation(fake, NULL, rule, "400", "%s: %s", request->target, text);
  tg_fake_http_reply(http, 400, "text/plain", NULL, text, strlen(text));
}

static bool has_word(const char *value, const char *word)
{
  return value && strcasestr(value, word) != NULL;
}

struct query {
  int version;
  enum tg_compression compression;
  const char *problem;
};

static struct query read_query(const struct tg_fake_request *request)
{
  struct query query = {.version = -1};
  char value[64];
  if (tg_fake_request_param(request, "v", value, sizeof value))
    query.version = atoi(value);
  if (tg_fake_request_param(request, "encoding", value, sizeof value) && strcmp(value, "json") != 0)
    query.problem = "encoding is not json";
  if (tg_fake_request_param(request, "compress", value, sizeof value)) {
    if (strcmp(value, "zlib-stream") == 0)
      query.compression = TG_COMPRESSION_ZLIB;
    else if (strcmp(value, "zstd-stream") == 0)
      query.compression = TG_COMPRESSION_ZSTD;
    else
      query.problem = "unknown compress";
  }
  return query;
}

static void accept_key(const char *key, char accept[64])
{
  char proof[160];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  int size = snprintf(proof, sizeof proof, "%.100s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  EVP_Digest(proof, (size_t)size, digest, &length, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, (int)length);
}

static void record_handshake(struct tg_fake *fake, const struct tg_fake_request *request, int status)
{
  const char *host = tg_fake_request_header(request, "Host");
  const char *agent = tg_fake_request_header(request, "User-Agent");
  const char *extensions = tg_fake_request_header(request, "Sec-WebSocket-Extensions");
  tg_fake_note(fake, TG_FAKE_LIST_handshakes,
               json_pack("{s:o, s:i, s:s, s:s?, s:s?, s:s?, s:b}", "connection",
                         status == 101 ? json_integer(fake->next_conn_id + 1) : json_null(), "status", status,
                         "target", request->target, "host", host, "user_agent", agent, "extensions",
                         extensions, "authorization",
                         tg_fake_request_header(request, "Authorization") != NULL));
}

void tg_fake_conn_upgrade(struct tg_fake *fake, struct tg_fake_http *http,
                          const struct tg_fake_request *request)
{
  const char *key = tg_fake_request_header(request, "Sec-WebSocket-Key");
  const char *version = tg_fake_request_header(request, "Sec-WebSocket-Version");
  struct query query = read_query(request);
  const char *rule = "upgrade", *problem = NULL;
  bool strict_query = strcmp(fake->settings.bad_query, "400") == 0;
  if (!request->upgrade || !has_word(tg_fake_request_header(request, "Upgrade"), "websocket") || !key ||
      strlen(key) != 24 || !version || strcmp(version, "13") != 0)
    problem = "not a WebSocket upgrade";
  else if (fake->settings.strict_path && strcmp(request->path, "/") != 0)
    problem = "the path is not /";
  else if (query.problem && strict_query)
    rule = "query", problem = query.problem;
  if (problem) {
    record_handshake(fake, request, 400);
    refuse(fake, http, request, rule, problem);
    return;
  }
  char accept[64], head[200];
  accept_key(key, accept);
  snprintf(head, sizeof head,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n\r\n",
           accept);
  record_handshake(fake, request, 101);
  const char *host = tg_fake_request_header(request, "Host");
  struct tg_fake_conn *conn =
      tg_fake_conn_new(fake, http, host ? host : "", query.version, query.compression, head,
                       tg_fake_conn_receive);
  if (query.problem && strcmp(fake->settings.bad_query, "4002") == 0) {
    tg_fake_violation(fake, conn, "query", "4002", "%s", query.problem);
    tg_fake_conn_close(conn, 4002, query.problem);
  } else if (query.version != 10 && strcmp(fake->settings.bad_version, "upgrade") == 0) {
    tg_fake_violation(fake, conn, "version", "4012", "v is not 10");
    tg_fake_conn_close(conn, 4012, "Invalid API version.");
  } else if (fake->points->hello(conn) == TG_FAKE_GO_ON) {
    tg_fake_conn_hello(conn);
  }
}
