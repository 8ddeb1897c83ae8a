#include "cli/ctl/client.h"

#include "base/address.h"
#include "base/buf.h"
#include "config/secret.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ANSWER = 64 << 20, CONNECT_TIMEOUT = 5000 };

struct tg_ctl_client {
  CURL *curl;
  struct curl_slist *headers;
  char *where;       /* for people: as TIDEGATE_CONTROL has it */
  char *socket_path; /* NULL: TCP */
  char *base;        /* "http://host:port" */
  bool has_secret;
};

static const char *variable(const char *name)
{
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

/* Listening everywhere is reached here. */
static char *base_of(const char *listen)
{
  struct tg_buf base = {0};
  if (strncmp(listen, "0.0.0.0:", 8) == 0)
    tg_buf_printf(&base, "http://127.0.0.1:%s", listen + 8);
  else if (strncmp(listen, "[::]:", 5) == 0)
    tg_buf_printf(&base, "http://[::1]:%s", listen + 5);
  else
    tg_buf_printf(&base, "http://%s", listen);
  return tg_buf_take(&base);
}

static bool find_gateway(struct tg_ctl_client *client, struct tg_error *error)
{
  const char *listen = variable("TIDEGATE_CONTROL");
  client->where = tg_strdup(listen ? listen : "127.0.0.1:8377");
  if (strncmp(client->where, "unix:", 5) == 0) {
    if (client->where[5] == '\0')
      return tg_fail(error, "usage", "TIDEGATE_CONTROL is \"unix:\" without the path of a socket");
    client->socket_path = tg_strdup(client->where + 5);
    client->base = tg_strdup("http://localhost");
    return true;
  }
  if (strcmp(client->where, "off") == 0)
    return tg_fail(error, "usage", "TIDEGATE_CONTROL is \"off\": such a gateway cannot be asked");
  const char *fault = tg_check_listen(client->where);
  if (fault)
    return tg_fail(error, "usage", "TIDEGATE_CONTROL is \"%s\": %s", client->where, fault);
  if (strcmp(strrchr(client->where, ':'), ":0") == 0)
    return tg_fail(error, "usage",
                   "TIDEGATE_CONTROL is \"%s\": a port that the system chooses cannot be found; "
                   "the gateway's log names it",
                   client->where);
  client->base = base_of(client->where);
  return true;
}

/* From where the gateway would have it, too. NULL: there is none. */
static bool find_secret(char **secret, struct tg_error *error)
{
  static const char name[] = "TIDEGATE_CONTROL_SECRET";
  const char *given = variable(name);
  char named_by[TG_SECRET_NAME];
  struct tg_error why;
  *secret = given ? tg_strdup(given) : NULL;
  char *path = given ? NULL : tg_secret_path(name, variable, named_by);
  if (!path)
    return true;
  *secret = tg_secret_read(path, &why);
  free(path);
  return *secret || tg_fail(error, "usage", "%s: %s", named_by, why.message);
}

static bool add_secret(struct tg_ctl_client *client, struct tg_error *error)
{
  char *secret;
  if (!find_secret(&secret, error))
    return false;
  client->has_secret = secret != NULL;
  if (!secret)
    return true;
  if (strpbrk(secret, "\r\n")) {
    free(secret);
    return tg_fail(error, "usage", "TIDEGATE_CONTROL_SECRET has a line break in it");
  }
  struct tg_buf header = {0};
  tg_buf_printf(&header, "Authorization: %s", secret);
  char *text = tg_buf_take(&header);
  client->headers = curl_slist_append(client->headers, text);
  free(text);
  free(secret);
  return true;
}

struct tg_ctl_client *tg_ctl_client_new(struct tg_error *error)
{
  struct tg_ctl_client *client = tg_calloc(1, sizeof *client);
  if (!find_gateway(client, error) || !add_secret(client, error))
    return tg_ctl_client_free(client), NULL;
  client->headers = curl_slist_append(client->headers, "Content-Type: application/json");
  client->headers = curl_slist_append(client->headers, "Expect:");
  curl_global_init(CURL_GLOBAL_DEFAULT);
  client->curl = curl_easy_init();
  if (!client->curl)
    return tg_ctl_client_free(client), tg_fail(error, "failed", "libcurl cannot be started"), NULL;
  return client;
}

void tg_ctl_client_free(struct tg_ctl_client *client)
{
  if (!client)
    return;
  curl_easy_cleanup(client->curl);
  curl_slist_free_all(client->headers);
  free(client->where);
  free(client->socket_path);
  free(client->base);
  free(client);
}

static size_t keep(char *bytes, size_t size, size_t count, void *ctx)
{
  struct tg_buf *body = ctx;
  if (body->length + size * count > MAX_ANSWER)
    return 0;
  tg_buf_append(body, bytes, size * count);
  return size * count;
}

static enum tg_exit explain_connect(const struct tg_ctl_client *client, struct tg_error *error)
{
  static const char agree[] =
      "TIDEGATE_CONTROL of this command and control.listen of the gateway have to agree";
  long number = 0;
  curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
  const char *path = client->socket_path;
  if (number == EACCES || number == EPERM) {
    tg_fail(error, "forbidden", "no permission to talk to %s: run this as the user of the gateway",
            client->where);
    return TG_EXIT_NO_PERMISSION;
  }
  if (path && number == ENOENT)
    tg_fail(error, "unreachable",
            "there is no socket %s: the gateway is not running, or listens elsewhere (%s)", path, agree);
  else if (path && number == ECONNREFUSED)
    tg_fail(error, "unreachable",
            "nobody listens on the socket %s: it is left over from a gateway that has ended", path);
  else if (number == ECONNREFUSED)
    tg_fail(error, "unreachable",
            "nothing listens on %s: the gateway is not running, or listens elsewhere (%s)", client->where,
            agree);
  else
    tg_fail(error, "unreachable", "cannot connect to %s: %s", client->where,
            number ? strerror((int)number) : "no answer");
  return TG_EXIT_UNAVAILABLE;
}

static enum tg_exit explain_failure(const struct tg_ctl_client *client, CURLcode code, tg_ms timeout,
                                    struct tg_error *error)
{
  curl_off_t connected = 0;
  curl_easy_getinfo(client->curl, CURLINFO_CONNECT_TIME_T, &connected);
  if (code == CURLE_COULDNT_CONNECT || (code == CURLE_OPERATION_TIMEDOUT && connected == 0))
    return explain_connect(client, error);
  if (code == CURLE_COULDNT_RESOLVE_HOST)
    tg_fail(error, "unreachable", "%s: there is no such host", client->where);
  else if (code == CURLE_OPERATION_TIMEDOUT)
    tg_fail(error, "timeout",
            "the gateway at %s has not answered within %lld ms; what was asked may still happen "
            "(--timeout sets how long to wait)",
            client->where, (long long)timeout);
  else if (code == CURLE_WRITE_ERROR)
    tg_fail(error, "failed", "the answer of %s is over %d MiB", client->where, MAX_ANSWER >> 20);
  else
    tg_fail(error, "failed", "what listens on %s does not answer as a gateway does (%s)", client->where,
            curl_easy_strerror(code));
  return TG_EXIT_UNAVAILABLE;
}

static enum tg_exit judge(const struct tg_ctl_client *client, const char *method, const char *path,
                          const struct tg_ctl_answer *answer, size_t length, struct tg_error *error)
{
  if (answer->status == 403) {
    tg_fail(error, "refused", "the gateway at %s refuses to be asked like this", client->where);
    return TG_EXIT_NO_PERMISSION;
  }
  if (answer->status == 401) {
    tg_fail(error, "forbidden",
            client->has_secret
                ? "the gateway at %s refuses the secret in TIDEGATE_CONTROL_SECRET: it has to be its "
                  "control.authorization"
                : "the gateway at %s asks for a secret: put its control.authorization into "
                  "TIDEGATE_CONTROL_SECRET",
            client->where);
    return TG_EXIT_NO_PERMISSION;
  }
  if (answer->status >= 200 && answer->status < 300) {
    if (answer->body || length == 0)
      return TG_EXIT_OK;
    tg_fail(error, "failed",
            "what listens on %s answers %s %s with something that is no JSON: is it a gateway?",
            client->where, method, path);
    return TG_EXIT_FAILED;
  }
  if (answer->status == 404)
    tg_fail(error, "refused", "what listens on %s does not know %s %s: another program, or another version",
            client->where, method, path);
  else
    tg_fail(error, "refused", "what listens on %s answers %s %s with %ld", client->where, method, path,
            answer->status);
  return TG_EXIT_FAILED;
}

static void set_up(struct tg_ctl_client *client, const char *method, const char *body, tg_ms timeout,
                   struct tg_buf *received)
{
  CURL *curl = client->curl;
  curl_easy_reset(curl); /* the connection is kept */
  curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
  curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever http_proxy says */
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "tidegate-ctl/" TG_VERSION);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  if (strcmp(method, "GET") != 0)
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, received);
}

enum tg_exit tg_ctl_ask(struct tg_ctl_client *client, const char *method, const char *path, const char *body,
                        tg_ms timeout, struct tg_ctl_answer *answer, struct tg_error *error)
{
  struct tg_buf url = {0}, received = {0};
  tg_buf_printf(&url, "%s%s", client->base, path);
  char *text = tg_buf_take(&url);
  *answer = (struct tg_ctl_answer){0};
  set_up(client, method, body, timeout, &received);
  curl_easy_setopt(client->curl, CURLOPT_URL, text);
  CURLcode code = curl_easy_perform(client->curl);
  free(text);
  enum tg_exit result;
  if (code != CURLE_OK) {
    result = explain_failure(client, code, timeout, error);
  } else {
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    answer->body = received.length ? json_loadb(received.data, received.length, JSON_ALLOW_NUL, NULL) : NULL;
    result = judge(client, method, path, answer, received.length, error);
  }
  tg_buf_free(&received);
  return result;
}

/* ---- an answer without an end ---- */

struct streaming {
  CURL *curl;
  bool (*take)(void *ctx, const char *bytes, size_t length);
  void *ctx;
  bool ended; /* by `take` */
  struct tg_buf refused;
};

static size_t pass_on(char *bytes, size_t size, size_t count, void *ctx)
{
  struct streaming *following = ctx;
  long status = 0;
  curl_easy_getinfo(following->curl, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200)
    return keep(bytes, size, count, &following->refused);
  following->ended = !following->take(following->ctx, bytes, size * count);
  return following->ended ? 0 : size * count;
}

static int stay(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
  (void)down_total, (void)down, (void)up_total, (void)up;
  struct streaming *following = ctx;
  following->ended = following->ended || !following->take(following->ctx, "", 0);
  return following->ended;
}

enum tg_exit tg_ctl_stream(struct tg_ctl_client *client, const char *path,
                           bool (*take)(void *ctx, const char *bytes, size_t length), void *ctx,
                           struct tg_ctl_answer *answer, struct tg_error *error)
{
  struct streaming following = {.curl = client->curl, .take = take, .ctx = ctx};
  struct tg_buf url = {0};
  tg_buf_printf(&url, "%s%s", client->base, path);
  char *text = tg_buf_take(&url);
  *answer = (struct tg_ctl_answer){0};
  set_up(client, "GET", NULL, 0, NULL);
  curl_easy_setopt(client->curl, CURLOPT_URL, text);
  curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, pass_on);
  curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &following);
  curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, stay);
  curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, &following);
  CURLcode code = curl_easy_perform(client->curl);
  free(text);
  enum tg_exit result = TG_EXIT_OK;
  curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &answer->status);
  if (answer->status != 200 && code == CURLE_OK) {
    answer->body = json_loadb(following.refused.data, following.refused.length, JSON_ALLOW_NUL, NULL);
    result = judge(client, "GET", path, answer, following.refused.length, error);
  } else if (!following.ended && (code == CURLE_OK || answer->status == 200)) {
    tg_fail(error, "ended", "the gateway has ended it");
    result = TG_EXIT_UNAVAILABLE;
  } else if (!following.ended) {
    result = explain_failure(client, code, 0, error);
  }
  tg_buf_free(&following.refused);
  return result;
}
