#include "net/redis_refusal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { WORD_SIZE = TG_ERROR_CODE_SIZE, SAID_MAX = 400 };

/* Words that Redis' own do not have. */
static const struct {
  const char *word, *code, *advice;
} rows[] = {
    {"NOAUTH", "auth", "it wants a password: the URL has to name one, redis://user:password@host"},
    {"WRONGPASS", "auth",
     "it does not take the user and password of the URL; see its \"requirepass\" or ACL users"},
    {"NOPERM", "auth", "the user of the URL may not do that; give the right to it with ACL SETUSER"},
    {"DENIED", NULL, "it lets in only who comes from its own machine as long as it has no password"},
    {"MOVED", NULL,
     "it is a node of a Redis Cluster, which is not spoken here; the URL has to lead to a Redis "
     "that has all keys"},
    {"CROSSSLOT", NULL,
     "it is a node of a Redis Cluster, which is not spoken here; the URL has to lead to a Redis "
     "that has all keys"},
    {"CLUSTERDOWN", NULL,
     "it is a node of a Redis Cluster, which is not spoken here; the URL has to lead to a "
     "Redis that has all keys"},
    {"READONLY", NULL, "it is a replica; the URL has to lead to the master"},
    {"MASTERDOWN", NULL, "it is a replica that has lost its master"},
    {"NOREPLICAS", NULL, "it has fewer replicas than its \"min-replicas-to-write\" asks for"},
    {"OOM", NULL, "its memory is full, up to its \"maxmemory\"; consumers that lag, and other keys, fill it"},
    {"MISCONF", NULL, "it cannot write to its disk, and takes nothing until it can; see its log"},
    {"LOADING", NULL, "it is reading its data from disk, and will answer when it has"},
    {"BUSY", NULL, "a script keeps it busy; SCRIPT KILL ends that"},
    {"WRONGTYPE", NULL, "that key holds something else; another prefix, or database, avoids it"},
    {"NOSCRIPT", NULL, "it has forgotten a script"},
};

/* Parts of texts that begin with ERR. */
static const struct {
  const char *part, *advice;
} more[] = {
    {"unknown command", "a Redis of 7.0 or later is needed, which has all commands"},
    {"DB index is out of range", "it has fewer databases than that; see its \"databases\""},
    {"SELECT is not allowed in cluster mode",
     "a Redis Cluster has the database 0 alone, and is not spoken here"},
    {"The user executing the script",
     "the user of the URL may not do that; give the right to it with ACL SETUSER"},
    {"max number of clients", "it has as many clients as its \"maxclients\" lets in"},
    {"max number of allowed clients", "it has as many clients as its \"maxclients\" lets in"},
};

static const char *advice_for(struct tg_span said, const char *word, const char **code)
{
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (strcmp(rows[i].word, word) == 0) {
      *code = rows[i].code;
      return rows[i].advice;
    }
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
    if (memmem(said.at, said.length, more[i].part, strlen(more[i].part)))
      return more[i].advice;
  return NULL;
}

static void read_word(struct tg_span said, char word[WORD_SIZE])
{
  size_t length = 0;
  while (length < said.length && length < WORD_SIZE - 1 && isupper((unsigned char)said.at[length])) {
    word[length] = said.at[length];
    length++;
  }
  word[length] = '\0';
}

void tg_redis_refusal(const char *name, struct tg_span said, struct tg_error *error)
{
  char word[WORD_SIZE], lower[WORD_SIZE], text[SAID_MAX + 1];
  const char *code = NULL;
  read_word(said, word);
  const char *advice = advice_for(said, word, &code);
  for (size_t i = 0; i < sizeof lower; i++)
    lower[i] = (char)tolower((unsigned char)word[i]);
  size_t length = said.length < SAID_MAX ? said.length : SAID_MAX;
  for (size_t i = 0; i < length; i++)
    text[i] = isprint((unsigned char)said.at[i]) ? said.at[i] : '?';
  text[length] = '\0';
  tg_fail(error,
          code       ? code
          : lower[0] ? lower
                     : "err",
          "Redis at %.400s refuses%s%s: \"%s\"", name, advice ? ": " : "", advice ? advice : "", text);
}
