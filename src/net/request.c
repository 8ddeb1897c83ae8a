#include "net/request.h"

#include "base/utf8.h"
#include "net/connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *tg_request_header(const struct tg_request *request, const char *name)
{
  for (int i = 0; i < request->header_count; i++) {
    if (strcasecmp(request->headers[i].name, name) == 0)
      return request->headers[i].value;
  }
  return NULL;
}

void tg_request_free(struct tg_request *request)
{
  if (!request)
    return;
  json_decref(request->json);
  for (int i = 0; i < TG_REQUEST_PARAMS_MAX; i++)
    free(request->params[i]);
  tg_buf_free(&request->body);
  free(request->texts);
  free(request);
}

void tg_respond(struct tg_request *request, int status, const char *type, const char *headers,
                const void *body, size_t length)
{
  struct tg_connection *connection = request->connection;
  if (connection)
    tg_connection_answer(connection, status, type, headers, body, length);
  tg_request_free(request);
}

void tg_respond_json(struct tg_request *request, int status, json_t *json)
{
  char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
  json_decref(json);
  if (text)
    tg_respond(request, status, "application/json", NULL, text, strlen(text));
  else
    tg_respond_error(request, 500, "the answer cannot be written as JSON");
  free(text);
}

void tg_respond_error(struct tg_request *request, int status, const char *format, ...)
{
  char text[TG_ERROR_MESSAGE_SIZE];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  tg_respond_json(request, status, json_pack("{s:o}", "error", tg_json_text(text)));
}

void tg_respond_failure(struct tg_request *request, const struct tg_error *error)
{
  tg_respond_json(request, tg_status_of(error->code),
                  json_pack("{s:o, s:o}", "error", tg_json_text(error->message), "code",
                            tg_json_text(error->code)));
}

void tg_respond_nothing(struct tg_request *request)
{
  if (request->connection)
    tg_connection_forget(request->connection);
  tg_request_free(request);
}

bool tg_respond_begin(struct tg_request *request, const char *type, const char *headers)
{
  bool follows = request->connection && tg_connection_stream(request->connection, type, headers);
  if (!follows)
    tg_request_free(request);
  return follows;
}

bool tg_respond_more(struct tg_request *request, const void *bytes, size_t length)
{
  return request->connection && tg_connection_send(request->connection, bytes, length);
}

void tg_respond_end(struct tg_request *request)
{
  if (request->connection)
    tg_connection_stream_end(request->connection);
  tg_request_free(request);
}

int tg_status_of(const char *code)
{
  static const struct {
    const char *code;
    int status;
  } known[] = {
      {"no_holder", 503},    {"redis_away", 503},    {"moved", 503}, /* of hosts of a cluster */
      {"bad_argument", 400}, {"bad_payload", 400},   {"too_large", 400},    {"no_shard", 404},
      {"replaced", 409},     {"killed", 409},        {"refused", 409},      {"reload_running", 409},
      {"no_script", 409},    {"reload_failed", 422}, {"rate_limited", 429}, {"queue_full", 429},
      {"resharding_running", 409}, {"no_resharding", 409}, {"too_late", 409}, {"budget", 503},
      {"rest_away", 503},    {"no_sink", 404},       {"sink_configured", 409}, {"sink_busy", 409},
      {"unavailable", 501},  {"bad_answer", 502},    {"not_ready", 503},    {"worker_down", 503},
      {"worker_exit", 503},  {"closed", 503},        {"gone", 503},         {"stopping", 503},
      {"cancelled", 503},    {"timeout", 504},         {"no_cluster", 409},   {"no_others", 409},
      {"no_host", 404},      {"host_alive", 409},      {"redis_away", 503},
      {"no_letter", 404},    {"retry_running", 409},
      {"upgrade_running", 409}, {"upgrade_refused", 409}, {"upgrade_failed", 500},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].code, code) == 0)
      return known[i].status;
  }
  return 500;
}
