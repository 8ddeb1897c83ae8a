#pragma once

/* What `tidegate ctl` can do: a row a command, which knows its words, what it asks the gateway for, and how a
 * person reads the answer. Help, manual page and completion are made of the rows. To add one: a file here
 * with a struct tg_ctl_command in it, its name below and in the table of commands.c. */

#include "cli/ctl/client.h"

#include "base/clock.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

enum {
  TG_CTL_WORDS_MAX = 64,   /* of one command line, its names included */
  TG_CTL_OPTIONS_MAX = 40, /* of all commands, each name once */

  /* Milliseconds until there has to be an answer, unless --timeout says otherwise. */
  TG_CTL_SOON = 10000,  /* what the manager knows itself */
  TG_CTL_LATER = 60000, /* what shards or workers have to do first */
  TG_CTL_BEGIN = 90000, /* Discord is asked first, and again if need be */
};

struct tg_ctl;

struct tg_ctl_option {
  const char *name;   /* "--type" */
  const char *value;  /* what stands behind it: "TYPE"; NULL: nothing */
  const char *line;   /* of the help */
  const char *values; /* "a|b", where there are only these; for completion */
};

/* One question. The caller frees path and body. */
struct tg_ctl_ask {
  const char *method;
  char *path;
  char *body; /* NULL: none */
  tg_ms more; /* time than the action usually gets */
};

/* A command does one thing, or several that are told apart by its first word, or by how many there are. */
struct tg_ctl_action {
  const char *name;                    /* that word; "": for all others, or none; NULL ends a list */
  const char *usage;                   /* the words that follow: "NAME"; NULL: none */
  const char *line;                    /* of the help; NULL: that of the command */
  const char *values;                  /* "a|b": which words may follow, for completion */
  const char *const *words;            /* likewise; ends with NULL */
  int least, most;                     /* how many words */
  tg_ms timeout;                       /* how long the answer may take */
  const struct tg_ctl_option *options; /* beside those of all commands; ends with a NULL name; NULL: none */

  /* What is asked: these two, or `ask`, which may fill in what it likes. False: the words are wrong. */
  const char *method, *path;
  bool (*ask)(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error);
  /* To standard output. With --json, or where nobody looks, the answer goes there as it came instead. */
  void (*show)(const json_t *answer);
  /* NULL: asks once and shows (tg_ctl_ask_and_show()). */
  enum tg_exit (*run)(struct tg_ctl *ctl, const struct tg_ctl_ask *ask);
};

struct tg_ctl_command {
  const char *name;
  const char *line; /* of `ctl --help`: one, for that page has to fit a screen */
  const char *page; /* more, of its own page: lines of at most 100 columns, the last ends with \n; or NULL */
  const struct tg_ctl_action *actions;
};

/* Ends with NULL. */
extern const struct tg_ctl_command *const tg_ctl_commands[];

extern const struct tg_ctl_command tg_ctl_status;
extern const struct tg_ctl_command tg_ctl_shards;
extern const struct tg_ctl_command tg_ctl_queue;
extern const struct tg_ctl_command tg_ctl_dead;
extern const struct tg_ctl_command tg_ctl_tap;
extern const struct tg_ctl_command tg_ctl_config;
extern const struct tg_ctl_command tg_ctl_reload;
extern const struct tg_ctl_command tg_ctl_reshard;
extern const struct tg_ctl_command tg_ctl_reconnect;
extern const struct tg_ctl_command tg_ctl_payload;
extern const struct tg_ctl_command tg_ctl_identify_budget;
extern const struct tg_ctl_command tg_ctl_log_level;
extern const struct tg_ctl_command tg_ctl_upgrade;
extern const struct tg_ctl_command tg_ctl_cluster;
extern const struct tg_ctl_command tg_ctl_drain;
extern const struct tg_ctl_command tg_ctl_shutdown;

/* Of all commands; ends with a NULL name. */
extern const struct tg_ctl_option tg_ctl_common_options[];

/* NULL: there is none. */
const struct tg_ctl_command *tg_ctl_command_find(const char *name);

/* The page of `command`, or with NULL the list of them. The caller frees it. */
char *tg_ctl_help(const struct tg_ctl_command *command);

/* ---- a command line that is being done ---- */

struct tg_ctl {
  struct tg_ctl_client *client;
  const struct tg_ctl_command *command;
  const struct tg_ctl_action *action;
  const char *words[TG_CTL_WORDS_MAX + 1]; /* those behind the names; the last is NULL */
  int word_count;
  const struct tg_ctl_given *given; /* options */
  bool as_json, as_table;
  tg_ms timeout; /* what --timeout says; 0: nothing */
};

/* Whether an option of the action was given; its value, or NULL. */
bool tg_ctl_has(const struct tg_ctl *ctl, const char *option);
const char *tg_ctl_value(const struct tg_ctl *ctl, const char *option);

/* "90s", "30m", "2h", "1d" in milliseconds; -1: that is no age. */
tg_ms tg_ctl_age(const char *text);

/* Nothing but digits, at most `max_digits` of them. */
bool tg_ctl_is_number(const char *text, size_t max_digits);
