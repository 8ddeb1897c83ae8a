#include "net/http_transfer.h"

#include "net/http_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  HEADERS_MAX = 64 * 1024, /* that are kept; of a request by_head more are read, up to libcurl's own bounds */
  LINES_MAX = 512 * 1024,  /* with any number of 1xx, and the trailer */
  KEEP_CAPACITY = 64 * 1024,
  /* A body of more than 64 KiB goes by way of a buffer of this size, which libcurl makes when there is one:
   * a batch is one write, and what answers before it has read all finds nothing more to be sent. */
  UPLOAD_BUFFER = 256 * 1024,
  RESULT_TOO_LARGE = 100, /* CURLE_TOO_LARGE, from libcurl 8.6 on */
};

static void note_head(struct tg_http_transfer *transfer)
{
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->status);
  transfer->head_whole = transfer->status >= 200;
  if (!transfer->head_whole)
    tg_buf_reset(&transfer->headers, KEEP_CAPACITY); /* a 1xx: the next one may be it */
  else if (transfer->by_head)
    tg_http_head_came(transfer);
}

/* libcurl 8 takes "HTTP/2.0 500 No" for a 200, and whatever else begins like that. */
static bool is_status_line(const char *line, size_t length)
{
  return length > 9 && memcmp(line, "HTTP/1.", 7) == 0 && (line[7] == '0' || line[7] == '1') &&
         (line[8] == ' ' || line[8] == '\t');
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
  struct tg_http_transfer *transfer = ctx;
  size_t length = size * count;
  if (transfer->headers.length == 0 && !is_status_line(line, length)) {
    transfer->unknown = true;
    return 0;
  }
  bool fits = transfer->headers.length + length <= HEADERS_MAX;
  transfer->lines += length;
  if ((!fits && !transfer->by_head) || transfer->lines > LINES_MAX) {
    transfer->too_large_head = true;
    return 0;
  }
  if (fits)
    tg_buf_append(&transfer->headers, line, length);
  if (!transfer->head_whole && length <= 2 && (line[0] == '\r' || line[0] == '\n'))
    note_head(transfer);
  return length;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
  struct tg_http_transfer *transfer = ctx;
  size_t length = size * count;
  size_t room = transfer->max_body - transfer->body.length;
  transfer->came += length;
  if ((transfer->by_head || transfer->max_body == 0) && transfer->came > TG_TRANSFER_REST_MAX) {
    transfer->cut = true;
    return 0;
  }
  if (length > room && transfer->max_body > 0 && !transfer->by_head) {
    transfer->too_large = true;
    return 0;
  }
  tg_buf_append(&transfer->body, bytes, length < room ? length : room);
  return length;
}

struct tg_http_transfer *tg_http_transfer_new(struct tg_http *http, const char *ca_file,
                                              const struct tg_proxies *proxies)
{
  struct tg_http_transfer *transfer = tg_calloc(1, sizeof *transfer);
  CURL *easy = curl_easy_init();
  if (!easy)
    abort();
  transfer->http = http;
  transfer->proxies = proxies;
  transfer->easy = easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* shard/proxy.h decides, not libcurl */
  curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* no secrets for a proxy */
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
  /* What a proxy answers to CONNECT is not the answer. */
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (ca_file) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, ca_file);
  }
  return transfer;
}

void tg_http_transfer_free(struct tg_http_transfer *transfer)
{
  curl_easy_cleanup(transfer->easy);
  curl_url_cleanup(transfer->parsed);
  free(transfer->method);
  free(transfer->url);
  free(transfer->where);
  free(transfer->header_nodes);
  tg_buf_free(&transfer->header_text);
  tg_buf_free(&transfer->headers);
  tg_buf_free(&transfer->body);
  free(transfer);
}

static void set_proxy(struct tg_http_transfer *transfer, const struct tg_http_url *url)
{
  const struct tg_proxy *proxy = url->socket_path ? NULL : tg_proxy_for_url(transfer->proxies, url->url);
  struct tg_buf where = {0};
  transfer->proxy = proxy;
  transfer->tunnel = proxy && proxy->kind != TG_PROXY_SOCKS && strncasecmp(url->url, "https:", 6) == 0;
  curl_easy_setopt(transfer->easy, CURLOPT_PROXY, proxy ? proxy->url : "");
  tg_buf_puts(&where, url->where);
  if (proxy)
    tg_buf_printf(&where, " over the proxy %s (%s)", proxy->where, proxy->variable);
  free(transfer->where);
  transfer->where = tg_buf_take(&where);
}

/* A URL as text libcurl would take apart for each request, which is a ninth of its work. One that it cannot
 * take apart goes to it as text nevertheless: then it says why not. */
static void set_parsed(struct tg_http_transfer *transfer, const char *url)
{
  curl_easy_setopt(transfer->easy, CURLOPT_CURLU, NULL);
  curl_url_cleanup(transfer->parsed);
  transfer->parsed = curl_url();
  bool is_parsed = curl_url_set(transfer->parsed, CURLUPART_URL, url, 0) == CURLUE_OK;
  curl_easy_setopt(transfer->easy, CURLOPT_URL, is_parsed ? NULL : url);
  curl_easy_setopt(transfer->easy, CURLOPT_CURLU, is_parsed ? transfer->parsed : NULL);
}

static bool set_url(struct tg_http_transfer *transfer, const char *url)
{
  if (transfer->url && strcmp(transfer->url, url) == 0)
    return true;
  struct tg_http_url parsed;
  if (!tg_http_url_parse(url, &parsed, &transfer->problem)) {
    tg_http_url_free(&parsed);
    return false;
  }
  set_parsed(transfer, parsed.url);
  curl_easy_setopt(transfer->easy, CURLOPT_UNIX_SOCKET_PATH, parsed.socket_path);
  free(transfer->url);
  transfer->url = tg_strdup(url);
  set_proxy(transfer, &parsed);
  tg_http_url_free(&parsed);
  return true;
}

static void set_method(struct tg_http_transfer *transfer, const char *method, bool has_body)
{
  CURL *easy = transfer->easy;
  bool post = strcmp(method, "POST") == 0;
  if (transfer->method && strcmp(transfer->method, method) == 0 && post)
    return;
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
  if (strcmp(method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
    curl_easy_setopt(easy, post || has_body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    if (!post && strcmp(method, "GET") != 0)
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    else if (!post && has_body)
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "GET");
  }
  free(transfer->method);
  transfer->method = tg_strdup(method);
}

static bool names_header(const char *const *headers, const char *name)
{
  size_t length = strlen(name);
  for (; headers && *headers; headers++)
    if (strncasecmp(*headers, name, length) == 0 && (*headers)[length] == ':')
      return true;
  return false;
}

/* The list libcurl reads is laid out by hand over our own copy of the lines: a
 * request that differs in one header from the last costs no allocation. A name
 * with nothing behind its colon keeps libcurl from adding its own. */
static void set_headers(struct tg_http_transfer *transfer, const char *const *headers, bool has_body)
{
  const char *blank[3];
  int blanks = 0, count = 0;
  blank[blanks++] = "Expect:";
  if (!names_header(headers, "Accept"))
    blank[blanks++] = "Accept:";
  if (has_body && !names_header(headers, "Content-Type"))
    blank[blanks++] = "Content-Type:";

  tg_buf_reset(&transfer->header_text, KEEP_CAPACITY);
  while (headers && headers[count])
    count++;
  for (int i = 0; i < count + blanks; i++) {
    const char *line = i < count ? headers[i] : blank[i - count];
    tg_buf_append(&transfer->header_text, line, strlen(line) + 1);
  }
  count += blanks;
  if (count > transfer->header_capacity) {
    transfer->header_capacity = count + 4;
    transfer->header_nodes = tg_realloc(transfer->header_nodes,
                                        (size_t)transfer->header_capacity * sizeof transfer->header_nodes[0]);
  }
  char *text = transfer->header_text.data;
  for (int i = 0; i < count; i++) {
    transfer->header_nodes[i] =
        (struct curl_slist){text, i + 1 < count ? &transfer->header_nodes[i + 1] : NULL};
    text += strlen(text) + 1;
  }
  curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->header_nodes);
}

bool tg_http_transfer_set(struct tg_http_transfer *transfer, const struct tg_http_request *request)
{
  CURL *easy = transfer->easy;
  bool post = strcmp(request->method, "POST") == 0;
  bool has_body = request->body.length > 0;
  transfer->max_body = request->max_body;
  transfer->request_length = request->body.length;
  transfer->by_head = request->by_head;
  transfer->too_large = transfer->too_large_head = transfer->unknown = false;
  transfer->cut = transfer->head_whole = false;
  transfer->status = 0;
  transfer->came = transfer->lines = 0;
  transfer->result = CURLE_OK;
  transfer->avoidance.off = transfer->avoidance.avoided = transfer->avoidance.connected = false;
  transfer->problem = (struct tg_error){0};
  transfer->curl_error[0] = '\0';
  transfer->started = uv_hrtime();
  tg_buf_reset(&transfer->headers, KEEP_CAPACITY);
  tg_buf_reset(&transfer->body, KEEP_CAPACITY);
  if (!set_url(transfer, request->url))
    return false;
  for (const char *const *header = request->headers; header && *header; header++)
    if (strpbrk(*header, "\r\n"))
      return tg_fail(&transfer->problem, "failed", "%s: a header of the request contains a line break",
                     transfer->where);
  set_method(transfer, request->method, has_body);
  if (post || has_body) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, has_body ? request->body.at : "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
  }
  set_headers(transfer, request->headers, post || has_body);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   (long)(request->connect_timeout ? request->connect_timeout : request->timeout));
  return true;
}

/* --- how it ended ------------------------------------------------------------------ */

bool tg_http_transfer_sends(const struct tg_http_transfer *transfer)
{
  curl_off_t sent = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  return (uint64_t)sent < transfer->request_length;
}

/* No body could say more. */
static bool is_decided(long status)
{
  return (status >= 200 && status < 300) || status == 413;
}

bool tg_http_transfer_answered(const struct tg_http_transfer *transfer)
{
  return transfer->by_head && transfer->head_whole &&
         (is_decided(transfer->status) || transfer->body.length >= transfer->max_body);
}

void tg_http_transfer_hear(struct tg_http_transfer *transfer, const char *text)
{
  const char *end = strstr(text, "\r\n\r\n");
  long status = 0;
  if (!transfer->by_head || !end || sscanf(text, "HTTP/1.%*1[01] %3ld", &status) != 1 || status < 200)
    return;
  transfer->status = status;
  transfer->head_whole = true;
  tg_buf_reset(&transfer->headers, KEEP_CAPACITY);
  tg_buf_append(&transfer->headers, text, (size_t)(end + 4 - text));
  tg_buf_reset(&transfer->body, KEEP_CAPACITY);
  on_body((char *)end + 4, 1, strlen(end + 4), transfer);
}

/* A 2xx of which libcurl does not like one of the header lines, and so does not
 * read on: it would be no other the next time. */
static bool is_accepted_oddly(const struct tg_http_transfer *transfer)
{
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
  bool odd = transfer->result == CURLE_WEIRD_SERVER_REPLY || transfer->result == CURLE_BAD_CONTENT_ENCODING;
  return transfer->by_head && odd && status >= 200 && status < 300;
}

/* What the proxy has answered to CONNECT; 0: nothing. */
static int connect_status(const struct tg_http_transfer *transfer)
{
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  return (int)status;
}

/* It is the proxy that refuses. False: it does not. */
static bool explain_refusal_of_proxy(const struct tg_http_transfer *transfer, struct tg_error *error)
{
  const struct tg_proxy *proxy = transfer->proxy;
  bool plain = proxy && proxy->kind != TG_PROXY_SOCKS && !transfer->tunnel;
  int status = transfer->tunnel ? connect_status(transfer) : plain && transfer->status == 407 ? 407 : 0;
  if (status == 0 || (status >= 200 && status < 300))
    return false;
  size_t length = strcspn(transfer->where, " ");
  char *to = tg_strndup(transfer->where, length);
  tg_proxy_explain_refusal(proxy, status, to, error);
  free(to);
  return true;
}

/* What was still missing when the time was over. */
static void name_missing(const struct tg_http_transfer *transfer, char *text, size_t size)
{
  CURL *easy = transfer->easy;
  curl_off_t resolved = 0, ready = 0, sent = 0;
  curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
  curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  if (ready == 0 && resolved == 0)
    snprintf(text, size, "its name was not resolved");
  else if (ready == 0 && !transfer->avoidance.connected)
    snprintf(text, size, "there was no connection");
  else if (ready == 0 && transfer->tunnel && connect_status(transfer) == 0)
    snprintf(text, size, "the proxy did not answer CONNECT");
  else if (ready == 0)
    snprintf(text, size, "the TLS handshake did not end");
  else if ((uint64_t)sent < transfer->request_length)
    snprintf(text, size, "it did not take the whole request (%lld of %zu bytes of the body)", (long long)sent,
             transfer->request_length);
  else if (transfer->headers.length == 0)
    snprintf(text, size, "no answer came");
  else if (!transfer->head_whole)
    snprintf(text, size, "the head of its answer did not end");
  else
    snprintf(text, size, "the body of its answer did not end (%llu bytes came)",
             (unsigned long long)transfer->came);
}

static void explain_timeout(const struct tg_http_transfer *transfer, struct tg_error *error)
{
  char missing[160];
  name_missing(transfer, missing, sizeof missing);
  tg_fail(error, "timeout", "%s: %s within %llu ms", transfer->where, missing,
          (unsigned long long)((uv_hrtime() - transfer->started) / 1000000));
}

/* libcurl has bounds of its own: 100 KB a line, 300 KB a head. It has no code for
 * them, and calls a line that its buffer does not hold "Out of memory". */
static bool has_large_head(const struct tg_http_transfer *transfer)
{
  long sent = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
  return transfer->too_large_head ||
         (sent > 0 && /* so it is not the request that is too large */
          (transfer->result == CURLE_OUT_OF_MEMORY || (int)transfer->result == RESULT_TOO_LARGE ||
           strstr(transfer->curl_error, "Out of memory") || /* of a trailer */
           strstr(transfer->curl_error, "Too large response headers")));
}

/* On a connection that has carried answers before, libcurl 8 calls it weird. */
static bool speaks_no_http(const struct tg_http_transfer *transfer)
{
  return transfer->result == CURLE_UNSUPPORTED_PROTOCOL ||
         (transfer->result == CURLE_WEIRD_SERVER_REPLY && transfer->headers.length == 0);
}

static void explain(struct tg_http_transfer *transfer, struct tg_error *error)
{
  const char *detail = transfer->curl_error[0] ? transfer->curl_error : curl_easy_strerror(transfer->result);
  const char *where = transfer->where ? transfer->where : "?";
  long number = 0;
  if (transfer->too_large) {
    tg_fail(error, "too_large", "%s: the answer is larger than %zu bytes", where, transfer->max_body);
    return;
  }
  if (has_large_head(transfer)) {
    tg_fail(
        error, "too_large",
        "%s: the head of the answer is too large: what answers there has to send shorter headers, %d KB at "
        "most in all",
        where, HEADERS_MAX / 1024);
    return;
  }
  if (explain_refusal_of_proxy(transfer, error))
    return;
  if (transfer->unknown || speaks_no_http(transfer)) {
    tg_fail(error, "failed", "%s: what answers there does not speak HTTP, or wants https://: %s", where,
            transfer->unknown ? "its answer has another version" : detail);
    return;
  }
  curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
  switch (transfer->result) {
  case CURLE_OK: /* libcurl takes half a head for an answer */
    tg_fail(error, "reset", "%s: the connection broke: the head of its answer did not end", where);
    return;
  case CURLE_OPERATION_TIMEDOUT:
    explain_timeout(transfer, error);
    return;
  case CURLE_COULDNT_CONNECT:
    tg_fail(error, number == ETIMEDOUT ? "timeout" : "refused", "%s: cannot connect: %s", where,
            number ? strerror((int)number) : detail);
    return;
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY:
    tg_fail(error, "resolve", "%s: %s", where, detail);
    return;
  case CURLE_SSL_CONNECT_ERROR:
    tg_fail(error, number == ECONNRESET || number == EPIPE ? "reset" : "tls", "%s: TLS: %s", where, detail);
    return;
  case CURLE_PEER_FAILED_VERIFICATION:
    tg_fail(error, "tls", "%s: TLS: %s%s", where, detail,
            strstr(detail, "not yet valid") || strstr(detail, "expired") ? " (is the clock right?)" : "");
    return;
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_CRL_BADFILE:
  case CURLE_SSL_INVALIDCERTSTATUS:
  case CURLE_SSL_ENGINE_NOTFOUND:
  case CURLE_SSL_ENGINE_SETFAILED:
  case CURLE_SSL_ENGINE_INITFAILED:
    tg_fail(error, "tls", "%s: TLS: %s", where, detail);
    return;
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_GOT_NOTHING:
  case CURLE_PARTIAL_FILE:
    tg_fail(error, "reset", "%s: the connection broke: %s", where, detail);
    return;
  case CURLE_URL_MALFORMAT:
    tg_fail(error, "bad_url", "%s: %s", where, detail);
    return;
  default:
    tg_fail(error, "failed", "%s: %s", where, detail);
  }
}

void tg_http_transfer_result(struct tg_http_transfer *transfer, struct tg_http_response *response)
{
  *response = (struct tg_http_response){.retry_after = -1, .headers = ""};
  response->seconds = (double)(uv_hrtime() - transfer->started) / 1e9;
  if (transfer->problem.code[0]) {
    response->error = transfer->problem;
    return;
  }
  bool answered =
      transfer->head_whole && (transfer->result == CURLE_OK || transfer->by_head || transfer->cut);
  if (!answered && !is_accepted_oddly(transfer)) {
    explain(transfer, &response->error);
    return;
  }
  /* The proxy's own answer; by CONNECT there is none from it. */
  if (transfer->status == 407 && explain_refusal_of_proxy(transfer, &response->error))
    return;
  response->status = transfer->status;
  if (!answered)
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &response->status);
  response->body = (struct tg_span){transfer->body.data ? transfer->body.data : "", transfer->body.length};
  *tg_buf_reserve(&transfer->headers, 1) = '\0';
  response->headers = transfer->headers.data;
  if (response->status >= 300)
    response->retry_after = tg_http_retry_after(response->headers, tg_wall_clock());
}
