#include "delivery/sinks/redis_meaning.h"

#include "net/redis_refusal.h"

#include <string.h>

#define ALLOW                                                                                                \
  "give the user of the sink's URL what the sink needs; the deployment page has the line for ACL SETUSER"
#define NO_CLUSTER "take a Redis that is no cluster, and correct the sink's URL"

static const struct meaning {
  const char *word; /* what the error begins with, or the code of an error without a reply */
  const char *part; /* ... and what must stand in it; NULL: nothing */
  enum tg_outcome outcome;
  bool of_key;
  long status;
  const char *advice;
} meanings[] = {
    {"OOM", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"LOADING", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"BUSY", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"READONLY", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"MASTERDOWN", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"NOREPLICAS", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"MISCONF", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"CLUSTERDOWN", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"TRYAGAIN", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"EXECABORT", NULL, TG_OUTCOME_BUSY, false, 0, NULL},
    {"ERR", "max number of", TG_OUTCOME_BUSY, false, 0, NULL},
    {"NOAUTH", NULL, TG_OUTCOME_MISCONFIGURED, false, 0,
     "put a password into the sink's URL: redis://:password@host, or redis://user:password@host"},
    {"WRONGPASS", NULL, TG_OUTCOME_MISCONFIGURED, false, 0,
     "correct user and password in the sink's URL; @ : / and % stand there as %40 %3A %2F %25"},
    {"NOPERM", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, ALLOW},
    {"AUTH", NULL, TG_OUTCOME_MISCONFIGURED, false, 0,
     "correct user and password in the sink's URL; @ : / and % stand there as %40 %3A %2F %25"},
    {"DENIED", NULL, TG_OUTCOME_MISCONFIGURED, false, 0,
     "give Redis a password, and put it into the sink's URL"},
    {"WRONGTYPE", NULL, TG_OUTCOME_MISCONFIGURED, true, 0,
     "rename or delete that key, or give the sink another prefix"},
    {"MOVED", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, NO_CLUSTER},
    {"ASK", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, NO_CLUSTER},
    {"CROSSSLOT", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, NO_CLUSTER},
    {"ERR", "SELECT is not allowed", TG_OUTCOME_MISCONFIGURED, false, 0, NO_CLUSTER},
    {"ERR", "unknown command", TG_OUTCOME_MISCONFIGURED, false, 0,
     "take Redis 7.0 or later, and let it keep its commands under their names (rename-command)"},
    {"ERR", "syntax error", TG_OUTCOME_MISCONFIGURED, false, 0, "take Redis 7.0 or later"},
    {"OLD", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, "take Redis 7.0 or later"},
    {"ERR", "DB index is out of range", TG_OUTCOME_MISCONFIGURED, false, 0,
     "correct the number at the end of the sink's URL, or let Redis have more (databases)"},
    {"ERR", "invalid bulk length", TG_OUTCOME_REFUSED, false, TG_TOO_LARGE, "raise its proto-max-bulk-len"},
    {"TLS", NULL, TG_OUTCOME_MISCONFIGURED, false, 0,
     "check the certificate, tls.ca_file (TIDEGATE_CA_FILE), and that the port speaks TLS"},
    {"PROTOCOL", NULL, TG_OUTCOME_MISCONFIGURED, false, 0, "correct host and port in the sink's URL"},
};

static bool has(struct tg_span text, const char *part)
{
  return memmem(text.at, text.length, part, strlen(part)) != NULL;
}

/* What comes without a reply has the word as its code, in lower case. */
static bool is_word(struct tg_span text, const char *word)
{
  size_t length = strlen(word);
  return text.length >= length && strncasecmp(text.at, word, length) == 0 &&
         (text.length == length || text.at[length] == ' ');
}

/* What nobody has heard of is tried again: nothing is lost over it. */
static bool take_meaning(struct tg_answer *answer, struct tg_span word, struct tg_span text)
{
  static const struct meaning unknown = {.outcome = TG_OUTCOME_RETRY};
  const struct meaning *meaning = &unknown;
  for (size_t i = 0; i < sizeof meanings / sizeof *meanings && meaning == &unknown; i++)
    if (is_word(word, meanings[i].word) && (!meanings[i].part || has(text, meanings[i].part)))
      meaning = &meanings[i];
  answer->outcome = meaning->outcome;
  answer->status = meaning->status;
  answer->advice = meaning->advice;
  return meaning->of_key;
}

/* "EXECABORT Transaction discarded because of: OOM command not allowed ..." */
static struct tg_span cause_of(struct tg_span error)
{
  static const char because[] = "because of: ";
  const char *at =
      is_word(error, "EXECABORT") ? memmem(error.at, error.length, because, sizeof because - 1) : NULL;
  if (!at)
    return error;
  at += sizeof because - 1;
  return (struct tg_span){at, (size_t)(error.at + error.length - at)};
}

bool tg_redis_refused(struct tg_answer *answer, const char *name, struct tg_span error)
{
  struct tg_span cause = cause_of(error);
  tg_redis_refusal(name, cause, &answer->error);
  return take_meaning(answer, cause, cause);
}

void tg_redis_broke(struct tg_answer *answer, const struct tg_error *error)
{
  struct tg_span code = {error->code, strlen(error->code)}, text = {error->message, strlen(error->message)};
  answer->error = *error;
  take_meaning(answer, code, text);
}

bool tg_redis_is_repeat(struct tg_span error)
{
  return is_word(error, "ERR") && has(error, "equal or smaller");
}
