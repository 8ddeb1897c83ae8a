/* `tidegate ctl payload`: what is sent to Discord over a shard. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_BODY = 1 << 20, /* as the control API has it */
  DAY = 86400000,
};

static char *read_input(struct tg_error *error)
{
  struct tg_buf text = {0};
  for (size_t n = 1; n > 0 && text.length <= MAX_BODY; text.length += n)
    n = fread(tg_buf_reserve(&text, 65536), 1, 65536, stdin);
  if (text.length <= MAX_BODY)
    return tg_buf_take(&text);
  tg_buf_free(&text);
  return tg_fail(error, "usage", "payload: standard input has over %d bytes", MAX_BODY), NULL;
}

static char *path_to(const char *target, struct tg_error *error)
{
  struct tg_buf path = {0};
  if (strcmp(target, "all") == 0)
    tg_buf_puts(&path, "/payload");
  else if (strncmp(target, "guild:", 6) == 0 && tg_ctl_is_number(target + 6, 20))
    tg_buf_printf(&path, "/guilds/%s/payload", target + 6);
  else if (tg_ctl_is_number(target, 6))
    tg_buf_printf(&path, "/shards/%d/payload", atoi(target));
  else
    return tg_fail(error, "usage", "payload: expected a shard's number, guild:ID or all, got \"%s\"", target),
           NULL;
  return tg_buf_take(&path);
}

static bool ask(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *text = ctl->words[1];
  ask->path = path_to(ctl->words[0], error);
  if (!ask->path)
    return false;
  ask->body = strcmp(text, "-") == 0 ? read_input(error) : tg_strdup(text);
  if (!ask->body)
    return false;
  json_error_t problem;
  json_t *payload = json_loads(ask->body, 0, &problem);
  if (!payload)
    return tg_fail(error, "usage", "payload: the JSON is wrong at line %d, column %d: %s", problem.line,
                   problem.column, problem.text);
  bool is_object = json_is_object(payload);
  json_int_t timeout = json_integer_value(json_object_get(payload, "timeout"));
  ask->more = timeout > 0 && timeout < DAY ? timeout : 0; /* the gateway waits that long for the shard */
  json_decref(payload);
  return is_object || tg_fail(error, "usage", "payload: expected an object like {\"op\":3,\"d\":{...}}");
}

/* To one shard, to all of them, or an op 8 whose answer is the members. */
static void show(const json_t *answer)
{
  const json_t *sent = json_object_get(answer, "sent");
  if (json_is_integer(sent))
    printf("sent over %lld shards\n", (long long)json_integer_value(sent));
  else if (json_is_array(json_object_get(answer, "members")))
    tg_ctl_show_json(answer);
  else
    puts("sent");
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .usage = "SHARD JSON",
        .line = "over that shard; or all, or guild:ID for the shard of a guild",
        .values = "all",
        .least = 2,
        .most = 2,
        .timeout = TG_CTL_LATER,
        .method = "POST",
        .ask = ask,
        .show = show,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_payload = {
    .name = "payload",
    .line = "send {\"op\":..., ...} to Discord over a shard, over all, or over that of a guild",
    .page =
        "JSON is {\"op\":3,\"d\":{...}}, of one of the opcodes that a bot may send, or - : it is read from\n"
        "standard input. Members that an op 8 asks for are the answer.\n",
    .actions = actions,
};
