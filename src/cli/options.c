#include "cli/options.h"

#include "base/error.h"
#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

static const struct tg_cli_option *find(const struct tg_cli_option *options, const char *name)
{
  for (; options->name; options++) {
    if (strcmp(options->name, name) == 0)
      return options;
  }
  return NULL;
}

/* " (did you mean --watch?)", or nothing */
static void suggest(const struct tg_cli_option *options, const char *word, char *text, size_t size)
{
  const char *names[48] = {"--help"};
  size_t count = 1;
  for (; options->name && count < sizeof names / sizeof names[0]; options++)
    names[count++] = options->name;
  const char *meant = tg_suggest(word, names, count);
  snprintf(text, size, meant ? "%s (did you mean %s?)" : "%s", word, meant);
}

static int misuse(const char *command, const char *what, const char *word, const char *help, int *exit_code)
{
  fprintf(stderr, "tidegate %s: %s %s\n\n%s", command, what, word, help);
  *exit_code = TG_EXIT_USAGE;
  return -1;
}

int tg_cli_options(int argc, char **argv, const struct tg_cli_option *options, const char *help,
                    const char **words, int max_words, int *exit_code)
{
  int count = 0;
  bool only_words = false;
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (only_words || word[0] != '-' || word[1] == '\0') {
      if (count == max_words)
        return misuse(argv[0], "too many words, starting at", word, help, exit_code);
      words[count++] = word;
      continue;
    }
    if (strcmp(word, "--") == 0) {
      only_words = true;
      continue;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
      fputs(help, stdout);
      *exit_code = TG_EXIT_OK;
      return -1;
    }
    const struct tg_cli_option *option = find(options, word);
    if (!option) {
      char text[160];
      suggest(options, word, text, sizeof text);
      return misuse(argv[0], "unknown option", text, help, exit_code);
    }
    if (option->flag) {
      *option->flag = true;
    } else if (i + 1 < argc) {
      *option->value = argv[++i];
    } else {
      return misuse(argv[0], "a value is missing after", word, help, exit_code);
    }
  }
  return count;
}
