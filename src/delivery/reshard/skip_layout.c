#include "delivery/reshard/skip_layout.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };
static const char magic[8] = "tg-skip";

/* Behind it the members, the entries, the names. */
struct skip_header {
  char magic[8];
  uint32_t version, number;
  uint32_t from, to;
  uint32_t old_side, ruling;
  uint64_t seed;
  uint32_t members, entries, names, cut;
};

void tg_skip_list_free(struct tg_skip_list *list)
{
  free(list->members);
  free(list->entries);
  free(list->names);
  *list = (struct tg_skip_list){0};
}

static uint64_t size_of(const struct skip_header *header)
{
  return sizeof *header + header->members * (uint64_t)sizeof(struct tg_skip_member) +
         header->entries * (uint64_t)sizeof(struct tg_skip_entry) +
         header->names * (uint64_t)TG_SKIP_NAME_MAX;
}

static void point_into(struct tg_skip_list *list, char *memory, const struct skip_header *header)
{
  char *members = memory + sizeof *header;
  char *entries = members + header->members * sizeof(struct tg_skip_member);
  char *names = entries + header->entries * sizeof(struct tg_skip_entry);
  *list = (struct tg_skip_list){
      .number = (int)header->number,
      .from = (int)header->from,
      .to = (int)header->to,
      .old_side = (int)header->old_side,
      .ruling = (int)header->ruling,
      .seed = header->seed,
      .members = (struct tg_skip_member *)(void *)members,
      .member_count = (int)header->members,
      .entries = (struct tg_skip_entry *)(void *)entries,
      .entry_count = (int)header->entries,
      .names = (char(*)[TG_SKIP_NAME_MAX])(void *)names,
      .name_count = (int)header->names,
      .cut_count = (int)header->cut,
  };
}

/* --- writing -------------------------------------------------------------------------- */

static struct skip_header header_of(const struct tg_skip_list *list)
{
  struct skip_header header = {
      .version = VERSION,
      .number = (uint32_t)list->number,
      .from = (uint32_t)list->from,
      .to = (uint32_t)list->to,
      .old_side = (uint32_t)list->old_side,
      .ruling = (uint32_t)list->ruling,
      .seed = list->seed,
      .members = (uint32_t)list->member_count,
      .entries = (uint32_t)list->entry_count,
      .names = (uint32_t)list->name_count,
      .cut = (uint32_t)list->cut_count,
  };
  memcpy(header.magic, magic, sizeof magic);
  return header;
}

size_t tg_skip_size(const struct tg_skip_list *list)
{
  struct skip_header header = header_of(list);
  return (size_t)size_of(&header);
}

void tg_skip_lay(const struct tg_skip_list *list, char *memory)
{
  struct skip_header header = header_of(list);
  struct tg_skip_list into;
  memcpy(memory, &header, sizeof header);
  point_into(&into, memory, &header);
  if (header.members > 0)
    memcpy(into.members, list->members, header.members * sizeof *list->members);
  if (header.entries > 0)
    memcpy(into.entries, list->entries, header.entries * sizeof *list->entries);
  if (header.names > 0)
    memcpy(into.names, list->names, header.names * sizeof *list->names);
}

/* --- reading -------------------------------------------------------------------------- */

static bool is_sane(const struct skip_header *header, uint64_t size)
{
  return memcmp(header->magic, magic, sizeof magic) == 0 && header->version == VERSION &&
         header->old_side < TG_SIDES && header->ruling < TG_SIDES && header->cut <= header->names &&
         size >= size_of(header);
}

/* What entries and names refer to is there. */
static bool is_whole(const struct tg_skip_list *list)
{
  for (int i = 0; i < list->entry_count; i++)
    if (list->entries[i].type >= (uint32_t)list->name_count)
      return false;
  for (int i = 0; i < list->name_count; i++)
    if (memchr(list->names[i], '\0', TG_SKIP_NAME_MAX) == NULL)
      return false;
  return true;
}

bool tg_skip_read(char *memory, size_t size, struct tg_skip_list *list)
{
  struct skip_header header;
  if (size < sizeof header)
    return false;
  memcpy(&header, memory, sizeof header);
  if (!is_sane(&header, size))
    return false;
  point_into(list, memory, &header);
  return is_whole(list);
}
