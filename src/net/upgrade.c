#include "net/upgrade.h"

#include "net/retry_after.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void append_text(char *to, size_t size, const char *at, size_t length)
{
  size_t used = strlen(to);
  if (length > size - 1 - used)
    length = size - 1 - used;
  memcpy(to + used, at, length);
  to[used + length] = '\0';
}

/* More than an hour is an accident of whoever answers. */
static tg_ms read_retry_after(const struct tg_upgrade *upgrade)
{
  enum { LONGEST = 3600 * 1000 };
  tg_ms wait = tg_read_retry_after(upgrade->wait, strlen(upgrade->wait),
                                   upgrade->date >= 0 ? upgrade->date : tg_wall_clock());
  return wait < LONGEST ? wait : LONGEST;
}

static void header_is_whole(struct tg_upgrade *upgrade)
{
  if (strcasecmp(upgrade->field, "sec-websocket-accept") == 0)
    upgrade->accepted = strcmp(upgrade->value, upgrade->accept) == 0;
  else if (strcasecmp(upgrade->field, "retry-after") == 0)
    snprintf(upgrade->wait, sizeof upgrade->wait, "%.*s", (int)sizeof upgrade->wait - 1, upgrade->value);
  else if (strcasecmp(upgrade->field, "date") == 0)
    upgrade->date = tg_read_http_date(upgrade->value, strlen(upgrade->value));
}

static bool on_name(void *ctx, const char *at, size_t length)
{
  struct tg_upgrade *upgrade = ctx;
  if (upgrade->value_begun) {
    header_is_whole(upgrade);
    upgrade->field[0] = upgrade->value[0] = '\0';
    upgrade->value_begun = false;
  }
  append_text(upgrade->field, sizeof upgrade->field, at, length);
  return true;
}

static bool on_value(void *ctx, const char *at, size_t length)
{
  struct tg_upgrade *upgrade = ctx;
  upgrade->value_begun = true;
  append_text(upgrade->value, sizeof upgrade->value, at, length);
  return true;
}

static void head_is_whole(struct tg_upgrade *upgrade)
{
  if (upgrade->value_begun)
    header_is_whole(upgrade);
  upgrade->retry_after = read_retry_after(upgrade);
  upgrade->status = upgrade->syntax.status;
  upgrade->complete = true;
}

static const struct tg_http_syntax_callbacks callbacks = {.on_name = on_name, .on_value = on_value};

static void make_key(char key[32], char accept[32])
{
  unsigned char random[16], digest[EVP_MAX_MD_SIZE];
  RAND_bytes(random, sizeof random);
  EVP_EncodeBlock((unsigned char *)key, random, sizeof random);
  char proof[80];
  int length = snprintf(proof, sizeof proof, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
  unsigned int digest_length = 0;
  EVP_Digest(proof, (size_t)length, digest, &digest_length, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_length);
}

void tg_upgrade_request(struct tg_upgrade *upgrade, const struct tg_gateway_url *url, struct tg_buf *out)
{
  *upgrade = (struct tg_upgrade){.date = -1, .retry_after = -1};
  tg_http_syntax_init(&upgrade->syntax, TG_HTTP_RESPONSE, &callbacks, upgrade);
  char key[32];
  make_key(key, upgrade->accept);

  bool usual_port = strcmp(url->port, url->tls ? "443" : "80") == 0;
  bool bracket = strchr(url->host, ':') != NULL;
  tg_buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\n", url->target, bracket ? "[" : "", url->host,
                bracket ? "]" : "", usual_port ? "" : ":", usual_port ? "" : url->port);
  tg_buf_printf(out,
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\nUser-Agent: DiscordBot (tidegate, " TG_VERSION ")\r\n\r\n",
                key);
}

ssize_t tg_upgrade_feed(struct tg_upgrade *upgrade, const char *bytes, size_t length)
{
  enum tg_http_step step;
  size_t used = tg_http_syntax_read(&upgrade->syntax, bytes, length, &step);
  if (step == TG_HTTP_FAULT)
    return -1;
  if (step == TG_HTTP_END)
    head_is_whole(upgrade);
  return (ssize_t)used;
}

bool tg_upgrade_done(const struct tg_upgrade *upgrade)
{
  return upgrade->complete && upgrade->status == 101 && upgrade->accepted;
}
