#include "cli/completion.h"

#include <stdlib.h>
#include <string.h>

/* All three scripts go through the words that stand there: each leads one place on, is an option, or is a
 * word of the user's, behind which only options follow. */

/* 'Discord'\''s', which all three take. */
static void put_quoted(struct tg_buf *out, const char *text)
{
  tg_buf_puts(out, "'");
  for (; *text; text++) {
    if (*text == '\'')
      tg_buf_puts(out, "'\\''");
    else
      tg_buf_append(out, text, 1);
  }
  tg_buf_puts(out, "'");
}

static bool is_option(const struct tg_completion *item)
{
  return *item->word == '-';
}

static bool is_at(const struct tg_completion *item, const char *at)
{
  return strcmp(item->at, at) == 0;
}

/* Each option that takes a value, once. */
static const struct tg_completion *next_with_value(const struct tg_completions *all, size_t *next)
{
  while (*next < all->count) {
    size_t index = (*next)++, before = 0;
    const struct tg_completion *item = &all->items[index];
    while (before < index && strcmp(all->items[before].word, item->word) != 0)
      before++;
    if (item->value && before == index)
      return item;
  }
  return NULL;
}

static void put_names_with_value(const struct tg_completions *all, struct tg_buf *out, const char *between)
{
  const struct tg_completion *item;
  bool any = false;
  for (size_t next = 0; (item = next_with_value(all, &next)); any = true)
    tg_buf_printf(out, "%s%s", any ? between : "", item->word);
}

static void put_places(const struct tg_completions *all, struct tg_buf *out, const char *between, bool files)
{
  const char *at;
  bool any = false;
  for (size_t next = 0; (at = tg_completion_place(all, &next));)
    if (*at && (!files || tg_completion_takes_files(at))) {
      tg_buf_printf(out, "%s'%s'", any ? between : "", at);
      any = true;
    }
}

/* ---- bash, and what zsh has in common with it ---- */

/* `loop`: over the indexes of the words that are done; `word`: the one at i. */
static void put_walk(const struct tg_completions *all, struct tg_buf *out, const char *loop, const char *word)
{
  tg_buf_printf(out, "  for %s; do\n    word=%s\n", loop, word);
  tg_buf_puts(out, "    if [[ -n $skip ]]; then skip=; continue; fi\n    case $word in\n    ");
  put_names_with_value(all, out, " | ");
  tg_buf_puts(out, ") skip=$word ;;\n    -*) ;;\n    *)\n      case \"$at $word\" in\n      ");
  put_places(all, out, " | ", false);
  tg_buf_puts(out, ") at=\"$at $word\" ;;\n      *) rest=1 ;;\n      esac ;;\n    esac\n  done\n");
}

static void put_bash_words(const struct tg_completions *all, struct tg_buf *out, const char *at, bool options)
{
  bool any = false;
  for (size_t i = 0; i < all->count; i++) {
    const struct tg_completion *item = &all->items[i];
    if (!is_at(item, at) || is_option(item) != options)
      continue;
    tg_buf_printf(out, "%s%s", any ? " " : "", item->word);
    any = true;
  }
}

/* "a|b" as "a b". */
static void put_values(struct tg_buf *out, const char *values)
{
  for (; values && *values; values++)
    tg_buf_append(out, *values == '|' ? " " : values, 1);
}

void tg_completion_bash(const struct tg_completions *all, struct tg_buf *out)
{
  const struct tg_completion *item;
  const char *at;
  tg_buf_puts(out, "# Completion of tidegate for bash, as `tidegate completion bash` writes it.\n"
                   "_tidegate() {\n"
                   "  local cur=${COMP_WORDS[COMP_CWORD]} at= skip= rest= word i words= options=\n");
  put_walk(all, out, "((i = 1; i < COMP_CWORD; i++))", "${COMP_WORDS[i]}");
  tg_buf_puts(out, "  case $skip in\n  '') ;;\n");
  for (size_t next = 0; (item = next_with_value(all, &next));) {
    if (!item->values)
      continue;
    tg_buf_printf(out, "  %s) COMPREPLY=($(compgen -W '", item->word);
    put_values(out, item->values);
    tg_buf_puts(out, "' -- \"$cur\")); return ;;\n");
  }
  tg_buf_puts(out, "  *) return ;; # names of files\n  esac\n  case $at in\n");
  for (size_t next = 0; (at = tg_completion_place(all, &next));) {
    tg_buf_printf(out, "  '%s') words='", at);
    put_bash_words(all, out, at, false);
    tg_buf_puts(out, "' options='");
    put_bash_words(all, out, at, true);
    tg_buf_puts(out, "' ;;\n");
  }
  tg_buf_puts(out, "  esac\n"
                   "  if [[ $cur == -* ]]; then words=$options; elif [[ -n $rest ]]; then words=; fi\n"
                   "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                   "  case $at in\n  ");
  put_places(all, out, " | ", true);
  tg_buf_puts(out, ") ;;\n"
                   "  *) compopt +o default 2>/dev/null ;;\n"
                   "  esac\n"
                   "}\n"
                   "complete -o default -F _tidegate tidegate\n");
}

/* ---- zsh ---- */

static void put_zsh_words(const struct tg_completions *all, struct tg_buf *out, const char *at, bool options)
{
  for (size_t i = 0; i < all->count; i++) {
    const struct tg_completion *item = &all->items[i];
    if (!is_at(item, at) || is_option(item) != options)
      continue;
    struct tg_buf text = {0};
    tg_buf_printf(&text, "%s%s%s", item->word, *item->line ? ":" : "", item->line);
    char *words = tg_buf_take(&text);
    tg_buf_puts(out, " ");
    put_quoted(out, words);
    free(words);
  }
}

void tg_completion_zsh(const struct tg_completions *all, struct tg_buf *out)
{
  const struct tg_completion *item;
  const char *at;
  tg_buf_puts(out, "#compdef tidegate\n"
                   "# Completion of tidegate for zsh, as `tidegate completion zsh` writes it.\n"
                   "_tidegate() {\n"
                   "  local at= skip= rest= word i none=1\n"
                   "  local -a candidates options\n");
  put_walk(all, out, "((i = 2; i < CURRENT; i++))", "$words[i]");
  tg_buf_puts(out, "  case $skip in\n  '') ;;\n");
  for (size_t next = 0; (item = next_with_value(all, &next));) {
    if (!item->values)
      continue;
    tg_buf_printf(out, "  %s) candidates=(", item->word);
    put_values(out, item->values);
    tg_buf_puts(out, "); _describe -t values value candidates; return ;;\n");
  }
  tg_buf_puts(out, "  *) _files; return ;;\n  esac\n  case $at in\n");
  for (size_t next = 0; (at = tg_completion_place(all, &next));) {
    tg_buf_printf(out, "  '%s')\n    candidates=(", at);
    put_zsh_words(all, out, at, false);
    tg_buf_puts(out, ")\n    options=(");
    put_zsh_words(all, out, at, true);
    tg_buf_puts(out, ") ;;\n");
  }
  tg_buf_puts(out, "  esac\n"
                   "  if [[ $PREFIX == -* ]]; then\n"
                   "    _describe -t options option options\n"
                   "    return\n"
                   "  fi\n"
                   "  [[ -n $rest ]] && candidates=()\n"
                   "  (( $#candidates )) && _describe -t commands command candidates && none=0\n"
                   "  case $at in\n  ");
  put_places(all, out, " | ", true);
  tg_buf_puts(
      out,
      ") [[ -n $rest || $#candidates -eq 0 ]] && _files && none=0 ;;\n"
      "  esac\n"
      "  return none\n"
      "}\n"
      "if [[ $funcstack[1] == _tidegate ]]; then _tidegate \"$@\"; else compdef _tidegate tidegate; fi\n");
}

/* ---- fish ---- */

/* `how`: "first": only right behind that place; "rest": not there; "any": wherever behind it. */
static void put_fish_begin(struct tg_buf *out, const char *at, const char *how)
{
  tg_buf_printf(out, "complete -c tidegate -n '__tidegate_at \"%s\" %s' ", at, how);
}

static void put_fish_item(struct tg_buf *out, const struct tg_completion *item)
{
  size_t length = strcspn(item->word, "=");
  bool value = item->value || item->word[length] == '=';
  put_fish_begin(out, item->at, is_option(item) ? "any" : "first");
  if (strncmp(item->word, "--", 2) == 0)
    tg_buf_printf(out, "-l %.*s", (int)length - 2, item->word + 2);
  else if (is_option(item))
    tg_buf_printf(out, "-s %.*s", (int)length - 1, item->word + 1);
  else
    tg_buf_printf(out, "-a %s", item->word);
  if (item->values) {
    tg_buf_puts(out, " -x -a '");
    put_values(out, item->values);
    tg_buf_puts(out, "'");
  } else if (value) {
    tg_buf_puts(out, " -r");
  }
  if (*item->line) {
    tg_buf_puts(out, " -d ");
    put_quoted(out, item->line);
  }
  tg_buf_puts(out, "\n");
}

void tg_completion_fish(const struct tg_completions *all, struct tg_buf *out)
{
  const char *at;
  tg_buf_puts(
      out,
      "# Completion of tidegate for fish, as `tidegate completion fish` writes it.\n"
      "function __tidegate_at # PLACE any|first|rest: whether the words lead there; first: and no further\n"
      "  set -l at ''\n"
      "  set -l skip\n"
      "  set -l rest\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    if test -n \"$skip\"\n"
      "      set skip\n"
      "      continue\n"
      "    end\n"
      "    switch $word\n"
      "      case ");
  put_names_with_value(all, out, " ");
  tg_buf_puts(out, "\n"
                   "        set skip 1\n"
                   "      case '-*'\n"
                   "      case '*'\n"
                   "        switch \"$at $word\"\n"
                   "          case ");
  put_places(all, out, " ", false);
  tg_buf_puts(out,
              "\n"
              "            set at \"$at $word\"\n"
              "          case '*'\n"
              "            set rest 1\n"
              "        end\n"
              "    end\n"
              "  end\n"
              "  test \"$at\" = \"$argv[1]\" -a \"$argv[2]$rest\" != first1 -a \"$argv[2]$rest\" != rest\n"
              "end\n"
              "complete -c tidegate -f\n");
  for (size_t i = 0; i < all->count; i++)
    put_fish_item(out, &all->items[i]);
  for (size_t next = 0; (at = tg_completion_place(all, &next));) {
    if (!tg_completion_takes_files(at))
      continue;
    put_fish_begin(out, at, tg_completion_has_words(all, at) ? "rest" : "any");
    tg_buf_puts(out, "-F\n");
  }
}
