#include "base/log.h"
#include "base/log_writer.h"
#include "base/program.h"
#include "fake_discord/admin.h"
#include "fake_discord/emit/bulk.h"
#include "fake_discord/emit/emit.h"
#include "fake_discord/emit/interactions.h"
#include "fake_discord/fake.h"
#include "fake_discord/faults/faults.h"
#include "fake_discord/gateway/feeding.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/rest.h"
#include "fake_discord/wire/certificates.h"
#include "fake_discord/wire/http.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Thousands of connections want as many descriptors as we may have. */
static void raise_descriptor_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

static bool follow_parent(const struct tg_fake_options *options)
{
  if (!options->parent_death)
    return true;
  pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  return getppid() == parent; /* it may have ended just before */
}

static bool prepare_tls(struct tg_fake *fake, struct tg_error *error)
{
  const char *dir = fake->options->tls_dir;
  if (!*dir)
    return true;
  char certificate[600], key[600];
  snprintf(certificate, sizeof certificate, "%s/cert.pem", dir);
  snprintf(key, sizeof key, "%s/key.pem", dir);
  if (!tg_fake_certificates(dir, error))
    return false;
  fake->tls = tg_tls_server(certificate, key, error);
  return fake->tls != NULL;
}

/* The certificate is for localhost; without TLS the address does, and needs no resolver. */
static void name_urls(struct tg_fake *fake, const char *bound, const char *admin)
{
  const char *port = strrchr(bound, ':') + 1;
  if (fake->tls)
    snprintf(fake->host, sizeof fake->host, "localhost:%s", port);
  else
    snprintf(fake->host, sizeof fake->host, "%s", bound);
  snprintf(fake->gateway_url, sizeof fake->gateway_url, "%s://%.100s", fake->tls ? "wss" : "ws", fake->host);
  snprintf(fake->rest_url, sizeof fake->rest_url, "%s://%.90s/api/v10", fake->tls ? "https" : "http",
           fake->host);
  snprintf(fake->admin_url, sizeof fake->admin_url, "http://%.100s", admin);
}

static bool listen_on(struct tg_fake *fake, struct tg_error *error)
{
  char bound[100], admin[100];
  fake->gateway_listener =
      tg_fake_listen(fake, fake->options->listen, fake->tls, tg_fake_rest, bound, sizeof bound, error);
  if (!fake->gateway_listener)
    return false;
  fake->admin_listener =
      tg_fake_listen(fake, fake->options->admin, NULL, tg_fake_admin, admin, sizeof admin, error);
  if (!fake->admin_listener)
    return false;
  name_urls(fake, bound, admin);
  return true;
}

static void announce(const struct tg_fake *fake)
{
  char ca[600];
  snprintf(ca, sizeof ca, "%s/ca.pem", fake->options->tls_dir);
  json_t *line = json_pack("{s:s, s:s, s:s, s:o}", "gateway", fake->gateway_url, "rest", fake->rest_url,
                           "admin", fake->admin_url, "ca", fake->tls ? json_string(ca) : json_null());
  json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
  json_decref(line);
  fputc('\n', stdout);
  fflush(stdout);
}

static const struct tg_fake_feeding feeding = {
    .kick = tg_fake_emit_kick, .run = tg_fake_pump_run, .hold = tg_fake_pump_hold, .end = tg_fake_pump_free};

static void make_parts(struct tg_fake *fake)
{
  fake->guilds = tg_fake_guilds_new(fake, fake->options->guilds);
  fake->limits = tg_fake_limits_new();
  fake->journal = tg_fake_journal_new();
  fake->faults = tg_fake_faults_new();
  fake->paces = json_array();
  fake->differences = json_array();
  fake->points = &tg_fake_fault_points;
  fake->interactions = tg_fake_interactions_new();
  fake->emitter = tg_fake_emitter_new(fake);
  fake->bulk = tg_fake_bulk_new(fake);
  fake->feeding = &feeding;
}

static void free_parts(struct tg_fake *fake)
{
  tg_fake_listener_close(fake->gateway_listener);
  tg_fake_listener_close(fake->admin_listener);
  struct tg_fake_what sessions = {.sessions = true, .faults = true};
  tg_fake_reset(fake, &sessions);
  tg_fake_https_drop(fake);
  tg_fake_emitter_free(fake);
  tg_fake_bulk_free(fake);
  uv_run(fake->loop, UV_RUN_DEFAULT);
  tg_fake_routes_free(fake);
  tg_fake_interactions_free(fake->interactions);
  tg_fake_faults_free(fake->faults);
  json_decref(fake->paces);
  json_decref(fake->differences);
  tg_fake_journal_free(fake->journal);
  tg_fake_limits_free(fake->limits);
  tg_fake_guilds_free(fake->guilds);
  tg_buf_free(&fake->text);
  tg_buf_free(&fake->encoded);
  tg_buf_free(&fake->frames);
  if (fake->tls)
    tg_tls_free(fake->tls);
  uv_loop_close(fake->loop);
}

static void on_signal(uv_signal_t *signal, int number)
{
  (void)number;
  uv_stop(signal->loop);
}

static void serve(struct tg_fake *fake)
{
  uv_signal_t signals[2];
  static const int numbers[] = {SIGTERM, SIGINT};
  for (int i = 0; i < 2; i++) {
    uv_signal_init(fake->loop, &signals[i]);
    uv_signal_start(&signals[i], on_signal, numbers[i]);
  }
  announce(fake);
  tg_fake_emit_kick(fake);
  uv_run(fake->loop, UV_RUN_DEFAULT);
  for (int i = 0; i < 2; i++)
    uv_close((uv_handle_t *)&signals[i], NULL);
  free_parts(fake);
}

int main(int argc, char **argv)
{
  tg_program_begin();
  tg_program_serves();
  struct tg_fake_options options;
  int code = tg_fake_options_parse(argc, argv, &options);
  if (code >= 0)
    return tg_program_end("tidegate-fake-discord", code);
  raise_descriptor_limit();
  if (!follow_parent(&options))
    return TG_EXIT_OK;
  tg_log_writer_start(STDERR_FILENO);
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct tg_fake fake = {.loop = &loop,
                         .options = &options,
                         .settings = options.settings,
                         .started_at = tg_now(),
                         .random = options.seed};
  struct tg_error error = {0};
  make_parts(&fake);
  if (prepare_tls(&fake, &error) && listen_on(&fake, &error)) {
    serve(&fake);
    return tg_program_end("tidegate-fake-discord", TG_EXIT_OK);
  }
  tg_log_writer_put(1, "tidegate-fake-discord: ", error.message, strlen(error.message));
  tg_log_writer_put(1, "", "\n", 1);
  free_parts(&fake);
  return tg_program_end("tidegate-fake-discord", TG_EXIT_FAILED);
}
