#include "hooks/methods.h"

#include <string.h>

const char *const tg_table_names[TG_TABLE_COUNT] = {"manager", "shard", "delivery", "cache"};

#define TABLE_manager TG_TABLE_MANAGER
#define TABLE_shard TG_TABLE_SHARD
#define TABLE_delivery TG_TABLE_DELIVERY
#define TABLE_cache TG_TABLE_CACHE

const struct tg_method_info tg_methods[TG_METHOD_COUNT] = {
#define X(table, method, result, how) {#method, "gateway." #table ":" #method, TABLE_##table, result, how},
    TG_METHODS(X)
#undef X
};

const char *const tg_life_names[TG_LIFE_COUNT] = {
#define X(name) #name,
    TG_LIFE_EVENTS(X)
#undef X
};

bool tg_method_find(int table, const char *name, enum tg_method *method)
{
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (tg_methods[i].table != table || strcmp(tg_methods[i].name, name) != 0)
      continue;
    *method = (enum tg_method)i;
    return true;
  }
  return false;
}
