#include "fake_discord/world/options.h"

#include "base/error.h"
#include "base/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "tidegate-fake-discord " TG_VERSION
    ": Discord's gateway and REST API for trying things without a token.\n"
    "\n"
    "  --listen ADDRESS:PORT      gateway and REST (127.0.0.1:0, 0 = any free port)\n"
    "  --admin ADDRESS:PORT       admin API, plain HTTP (127.0.0.1:0)\n"
    "  --tls DIR                  serve TLS; ca.pem, cert.pem and key.pem are made in DIR if missing\n"
    "  --token T                  the only bot token accepted (fake.discord.token)\n"
    "  --shards N                 recommended number of shards (4)\n"
    "  --guilds N                 guilds of the bot (4 a shard)\n"
    "  --max-concurrency N        identify buckets (1)\n"
    "  --remaining N              identifies left today (1000)\n"
    "  --heartbeat-interval MS    (41250)\n"
    "  --rate N                   numbered MESSAGE_CREATE events a second, over all shards (0)\n"
    "  --message-size BYTES       about how long such an event is (1400)\n"
    "  --seed N                   everything made up follows from it (1)\n"
    "  --set NAME=VALUE           any setting of the admin API; may be repeated\n"
    "  --parent-death             end when the parent process ends\n"
    "\n"
    "Prints one line of JSON with its addresses once it listens; ends on SIGTERM and SIGINT.\n"
    "\n"
    "Admin API, described in src/fake_discord/admin.h:\n"
    "  GET /state[?only=a,b]   what clients did, and every rule they broke\n"
    "  GET /sent[?shard=N]     numbered events sent, by guild, shard and session\n"
    "  POST /settings          strictness, limits, intervals; GET shows them\n"
    "  POST /emit              send events\n"
    "  POST /fault             spoil a connection, now or at its next connect, identify, resume, ...\n"
    "  POST /pace              keep sessions behind their time: lag, jitter, a stall; GET shows it\n"
    "  POST /differ            build a type of event otherwise for one number of shards; GET shows it\n"
    "  POST /bulk              send one recording to all shards; GET /bulk/recording has its bytes\n"
    "  POST /reset             forget\n";

/* Options that set a setting of another name. */
static const struct {
  const char *option, *setting;
} aliases[] = {
    {"--token", "token"},
    {"--shards", "shards"},
    {"--max-concurrency", "max_concurrency"},
    {"--remaining", "remaining"},
    {"--heartbeat-interval", "heartbeat_interval"},
    {"--rate", "rate"},
    {"--message-size", "message_size"},
};

static const char *const all_options[] = {
    "--listen",    "--admin",        "--tls",
    "--token",     "--shards",       "--max-concurrency",
    "--remaining", "--guilds",       "--heartbeat-interval",
    "--rate",      "--seed",         "--message-size",
    "--set",       "--parent-death", "--help",
};

static bool read_number(const char *text, uint64_t max, uint64_t *number)
{
  char *end;
  errno = 0;
  *number = strtoull(text, &end, 10);
  return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number <= max;
}

static int take_number(const char *option, const char *value, uint64_t max, uint64_t *number)
{
  if (read_number(value, max, number))
    return -1;
  fprintf(stderr, "tidegate-fake-discord: %s %s: expected a whole number up to %llu\n", option, value,
          (unsigned long long)max);
  return TG_EXIT_USAGE;
}

static int set(struct tg_fake_options *options, const char *option, const char *name, const char *value)
{
  struct tg_error error;
  if (tg_fake_settings_set_text(&options->settings, name, value, &error))
    return -1;
  fprintf(stderr, "tidegate-fake-discord: %s: %s\n", option, error.message);
  return TG_EXIT_USAGE;
}

static int set_pair(struct tg_fake_options *options, const char *pair)
{
  const char *equals = strchr(pair, '=');
  if (!equals) {
    fprintf(stderr, "tidegate-fake-discord: --set %s: expected NAME=VALUE\n", pair);
    return TG_EXIT_USAGE;
  }
  char name[64];
  snprintf(name, sizeof name, "%.*s", (int)(equals - pair), pair);
  return set(options, "--set", name, equals + 1);
}

static int take(struct tg_fake_options *options, const char *option, const char *value)
{
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    if (strcmp(option, aliases[i].option) == 0)
      return set(options, option, aliases[i].setting, value);
  uint64_t number;
  int result = -1;
  if (strcmp(option, "--listen") == 0) {
    snprintf(options->listen, sizeof options->listen, "%s", value);
  } else if (strcmp(option, "--admin") == 0) {
    snprintf(options->admin, sizeof options->admin, "%s", value);
  } else if (strcmp(option, "--tls") == 0) {
    snprintf(options->tls_dir, sizeof options->tls_dir, "%s", value);
  } else if (strcmp(option, "--guilds") == 0) {
    result = take_number(option, value, 1000000, &number);
    options->guilds = result < 0 ? (int)number : 0;
  } else if (strcmp(option, "--seed") == 0) {
    result = take_number(option, value, UINT64_MAX, &number);
    options->seed = number;
  } else {
    return set_pair(options, value);
  }
  return result;
}

static bool is_known(const char *option)
{
  for (size_t i = 0; i < sizeof all_options / sizeof *all_options; i++)
    if (strcmp(option, all_options[i]) == 0)
      return true;
  return false;
}

int tg_fake_options_parse(int argc, char **argv, struct tg_fake_options *options)
{
  *options = (struct tg_fake_options){.listen = "127.0.0.1:0", .admin = "127.0.0.1:0", .seed = 1};
  tg_fake_settings_init(&options->settings);
  for (int i = 1; i < argc; i++) {
    const char *option = argv[i];
    if (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0) {
      fputs(help, stdout);
      return TG_EXIT_OK;
    }
    if (!is_known(option)) {
      const char *near = tg_suggest(option, all_options, sizeof all_options / sizeof *all_options);
      fprintf(stderr, "tidegate-fake-discord: unknown option %s; %s%s\n", option,
              near ? "did you mean " : "--help lists them", near ? near : "");
      return TG_EXIT_USAGE;
    }
    if (strcmp(option, "--parent-death") == 0) {
      options->parent_death = true;
      continue;
    }
    if (i + 1 == argc) {
      fprintf(stderr, "tidegate-fake-discord: %s needs a value; see --help\n", option);
      return TG_EXIT_USAGE;
    }
    int result = take(options, option, argv[++i]);
    if (result >= 0)
      return result;
  }
  if (options->guilds == 0)
    options->guilds = (int)options->settings.shards * 4;
  return -1;
}
