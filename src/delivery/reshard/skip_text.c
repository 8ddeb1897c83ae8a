#include "delivery/reshard/skip_text.h"

#include "base/buf.h"
#include "delivery/reshard/skip_layout.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

/* --- written ---------------------------------------------------------------------------- */

/* What nobody waits for any more, and what the shards that are no more there would have shown. */
static bool is_of_use(const struct tg_skip_list *list, const struct tg_skip_entry *entry)
{
  return entry->use.epoch != UINT64_MAX && tg_ref_side(entry->given.ref) == list->old_side;
}

static struct tg_skip_list of_use(const struct tg_skip_list *list)
{
  struct tg_skip_list some = *list;
  some.members = tg_calloc((size_t)list->member_count + 1, sizeof *some.members);
  some.entries = tg_calloc((size_t)list->entry_count + 1, sizeof *some.entries);
  some.entry_count = 0;
  for (int i = 0; i < list->member_count; i++) {
    some.members[i] = list->members[i];
    some.members[i].flags = 0;
  }
  for (int i = 0; i < list->entry_count; i++) {
    if (!is_of_use(list, &list->entries[i]))
      continue;
    struct tg_skip_entry *entry = &some.entries[some.entry_count++];
    *entry = list->entries[i];
    entry->flags |= TG_SKIP_SAFE;
  }
  return some;
}

char *tg_skip_text(const struct tg_skip_list *list)
{
  struct tg_skip_list some = of_use(list);
  size_t size = tg_skip_size(&some);
  char *memory = tg_calloc(1, size), *text = tg_alloc((size + 2) / 3 * 4 + 1);
  tg_skip_lay(&some, memory);
  EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)memory, (int)size);
  free(memory);
  free(some.members);
  free(some.entries);
  return text;
}

/* --- read ------------------------------------------------------------------------------- */

static int32_t turn(int32_t ref)
{
  return ref < 0 ? ref : tg_ref_of(tg_ref_id(ref), !tg_ref_side(ref));
}

/* What was the old side there is the new one here. */
static void turn_sides(struct tg_skip_list *list)
{
  list->old_side = !list->old_side;
  list->ruling = !list->ruling;
  for (int i = 0; i < list->member_count; i++)
    list->members[i].ref = turn(list->members[i].ref);
  for (int i = 0; i < list->entry_count; i++) {
    list->entries[i].given.ref = turn(list->entries[i].given.ref);
    if (list->entries[i].use.epoch != UINT64_MAX)
      list->entries[i].use.ref = turn(list->entries[i].use.ref);
  }
}

/* NULL: it is not base64. */
static char *decode(const char *text, size_t *size)
{
  size_t length = strlen(text);
  char *memory = tg_calloc(1, length / 4 * 3 + 1);
  int count = length > 0 && length % 4 == 0 && length < INT32_MAX
                  ? EVP_DecodeBlock((unsigned char *)memory, (const unsigned char *)text, (int)length)
                  : -1;
  if (count < 0) {
    free(memory);
    return NULL;
  }
  *size = (size_t)count;
  return memory;
}

static bool is_of(const struct tg_skip_list *list, const struct tg_skip_list *of)
{
  return list->number == of->number && list->from == of->from && list->to == of->to &&
         list->ruling != list->old_side;
}

bool tg_skip_text_keep(const char *state_dir, const struct tg_skip_list *of, const char *text,
                       struct tg_error *error)
{
  struct tg_skip_list list;
  size_t size = 0;
  char *memory = decode(text, &size);
  if (!memory || !tg_skip_read(memory, size, &list) || !is_of(&list, of)) {
    free(memory);
    return tg_fail(error, "bad_text", "what another host tells of class %d cannot be read", of->number);
  }
  if (list.old_side != of->old_side)
    turn_sides(&list);
  struct tg_skip_file *file = tg_skip_file_make(state_dir, &list, error);
  free(memory);
  tg_skip_file_close(file);
  return file != NULL;
}
