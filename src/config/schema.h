#pragma once

/* Options as a table: reading them out of JSON and environment variables into a
 * struct, with every mistake found and named by the path of its key.
 *
 *     static const struct tg_option options[] = {
 *         {.path = "script.kill_after", .kind = TG_OPTION_MS, .offset = offsetof(struct tg_config, ...),
 *          .min = 100, .max = 600000, .number = 10000},
 *     };
 *
 * Nested keys are nested tables in the JSON. JSON null, and an environment
 * variable that is unset or empty, say nothing. What the JSON says wins over
 * the environment, which wins over the default. Secrets may stand in files
 * (base/secret.h). */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_strings {
  char **items;
  int count;
};

/* Texts of all mistakes found. */
struct tg_problems {
  char **items; /* "event_handler.urls[1]: expected a URL that starts with http://, ..." */
  int count;
};

/* What separates the parts of a list that is written as one text. */
#define TG_LIST_SEPARATORS ", \t\r\n\v\f"

void tg_strings_add(struct tg_strings *strings, const char *text);
/* Adds the parts of the text between the separators; empty ones do not count. */
void tg_strings_split(struct tg_strings *strings, const char *text, const char *separators);
void tg_strings_free(struct tg_strings *strings);
void tg_problems_free(struct tg_problems *problems);

enum tg_option_kind {
  TG_OPTION_BOOL,    /* bool */
  TG_OPTION_INT,     /* int, min..max */
  TG_OPTION_MS,      /* tg_ms (int64_t), min..max */
  TG_OPTION_SIZE,    /* uint64_t bytes, min..max */
  TG_OPTION_STRING,  /* char *, not empty, without control characters */
  TG_OPTION_STRINGS, /* struct tg_strings; as one text separated by commas or blanks */
  TG_OPTION_COUNT,   /* int64_t, min..max */
  TG_OPTION_CHOICE,  /* an enum (or int); `choices`, by their index */
  TG_OPTION_MAP,     /* tables of one form by their names: struct tg_map_form */
  TG_OPTION_CUSTOM,  /* as its functions say */
};

struct tg_option;

/* Where a value came from and where its mistakes go. */
struct tg_reader {
  const struct tg_option *option;
  const char *path;     /* of the key: the option's, behind that of the table it stands in */
  const char *variable; /* NULL: the value comes from the JSON */
  struct tg_problems *problems;
};

/* The tables that a TG_OPTION_MAP holds, each read with options of its own into an entry, which begins with
 * its name (a char *). The row's field is a pointer to the entries, sorted by their names; NULL: none. */
struct tg_map_form {
  const char *what; /* an entry is: "sink" */
  const struct tg_option *options;
  size_t option_count;
  size_t size;     /* of an entry */
  size_t count_at; /* of the number of entries, an int: bytes behind the row's field */
  int max;         /* so many entries */
  /* What is wrong with a name, or NULL. */
  const char *(*check_name)(const char *name);
  /* Whether the option of this path says something of the entry; others are not shown. */
  bool (*is_shown)(const void *entry, const char *path);
  /* Of several keys of an entry together: adds problems, and fills in what follows from others. `path`: of
   * the entry, without a dot at its end. */
  void (*finish)(const char *path, const json_t *given, void *entry, struct tg_problems *problems);
};

struct tg_option {
  const char *path;
  enum tg_option_kind kind;
  const char *env; /* NULL: no variable */
  size_t offset;   /* of the field in the target struct */
  size_t size;     /* of the field; only tg_schema_carry_over() needs it */
  int64_t min, max;
  int64_t number;             /* default of BOOL, INT, MS, SIZE, CHOICE */
  const char *text;           /* default of STRING; of STRINGS, separated by commas; NULL: none */
  const char *const *choices; /* ends with NULL */
  bool unset_is_default;      /* the default number means "not given": left out of the JSON form */
  bool secret;                /* never shown */
  bool composed;              /* a secret that is a list or a table of texts, not a text */
  bool url;                   /* may have a password or a key in it: shown without */
  /* STRING and each of STRINGS: { file = "/path" } for one that stands in a file. A URL of this kind is
   * shown to nobody with what is secret in it, scripts included. */
  bool in_file;
  const struct tg_map_form *form; /* MAP */
  bool restart;                   /* cannot change while the program runs */

  /* CUSTOM; `value` is a JSON string when it comes from the environment. */
  void (*read)(const struct tg_reader *reader, const json_t *value, void *field);
  json_t *(*write)(const void *field); /* NULL: not given */
  void (*release)(void *field);
  /* Of a secret option: adds those of its texts that are not to be seen in logs. NULL: all of them. */
  void (*secrets)(const void *field, struct tg_strings *secrets);
  /* STRING and each of STRINGS: what is wrong with it ("expected a URL ..."), or NULL. */
  const char *(*check)(const char *text);
  /* The same: what a misspelt text was meant to be, or NULL. */
  const char *(*meant)(const char *text);
};

/* Whether its variable may have _FILE behind its name, and hold a path then. */
bool tg_option_has_file(const struct tg_option *option);

/* Reads all options and fills in the defaults; reports keys that no option
 * has, with a suggestion. `given` may be NULL. `target` is zeroed memory;
 * problems are added to. */
void tg_schema_read(const struct tg_option *options, size_t count, const json_t *given,
                    const char *(*env)(const char *name), void *target, struct tg_problems *problems);

/* The text of a JSON value, checked by the option's rules, or of the file that { file = "/path" } names. The
 * caller frees it. NULL: a problem was added. */
char *tg_schema_text(const struct tg_reader *reader, size_t index, const json_t *value);

/* The value of a key in nested objects; NULL: none, or null. `given` may be NULL. */
const json_t *tg_schema_find(const json_t *given, const char *path);

void tg_schema_release(const struct tg_option *options, size_t count, void *target);

/* Adds the texts of secret options, and passwords of URLs. */
void tg_schema_secrets(const struct tg_option *options, size_t count, const void *target,
                       struct tg_strings *secrets);

/* How a value that must not be seen is written. */
enum tg_secrets {
  TG_SECRETS_MASKED, /* "***"; URLs without users, passwords and queries */
  TG_SECRETS_NAMED,  /* its placeholder: config/placeholder.h; URLs as they are, but for those of in_file */
  TG_SECRETS_SHOWN,
};

/* The target as nested objects. */
json_t *tg_schema_write(const struct tg_option *options, size_t count, const void *target,
                        enum tg_secrets secrets);

/* Whether the field has the same value in both; of a MAP: whether all entries have. */
bool tg_schema_equal(const struct tg_option *option, const void *a, const void *b);

/* Adds the paths of the options that cannot change while the program runs, and have; of a MAP: in entries
 * that are in both. */
void tg_schema_needs_restart(const struct tg_option *options, size_t count, const void *running,
                             const void *next, struct tg_problems *paths);
/* Exchanges their values. */
void tg_schema_carry_over(const struct tg_option *options, size_t count, void *running, void *next);

/* Adds {path: file} for each value that was given as { file = "/path" }; of a list, the files' paths with
 * commas between them. */
void tg_schema_files(const struct tg_option *options, size_t count, const json_t *given, json_t *files);

/* A problem with the value that is being read; `index` from 1, 0: none. */
void tg_problem(const struct tg_reader *reader, size_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether there is a problem with the key of this path. */
bool tg_problem_is_with(const struct tg_problems *problems, const char *path);

/* A problem in words of its own. */
void tg_problem_add(struct tg_problems *problems, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What was given, in words for a message: numbers as they are, text in quotes
 * and cut, unless the option is secret. */
enum { TG_DESCRIPTION_SIZE = 64 };
void tg_describe(const struct tg_reader *reader, const json_t *value, char *text, size_t size);

/* "a string", "a number", ...: what is safe to say of any value. */
const char *tg_json_kind(const json_t *value);
