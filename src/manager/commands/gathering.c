#include "manager/commands/gathering.h"

#include "base/buf.h"

#include <stdlib.h>

struct tg_gathering {
  int left; /* parts without a reply, and one for the starting of them */
  struct tg_error error;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_gathering *tg_gather(tg_manager_reply *reply, void *ctx)
{
  struct tg_gathering *gathering = tg_calloc(1, sizeof *gathering);
  *gathering = (struct tg_gathering){.left = 1, .reply = reply, .ctx = ctx};
  return gathering;
}

struct tg_gathering *tg_gather_add(struct tg_gathering *gathering)
{
  gathering->left++;
  return gathering;
}

void tg_gather_part(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_gathering *gathering = ctx;
  if (error && !gathering->error.code[0])
    gathering->error = *error;
  if (--gathering->left > 0)
    return;
  if (gathering->error.code[0])
    gathering->reply(gathering->ctx, NULL, &gathering->error);
  else
    tg_reply_value(gathering->reply, gathering->ctx, json_true());
  free(gathering);
}
