#include "shared/traffic.h"

#include <stddef.h>

const uint8_t tg_traffic_places[TG_EVENT_TYPE_MAX] = {[TG_EVENT_READY] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_RESUMED] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_GUILD_CREATE] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_GUILD_MEMBERS_CHUNK] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_RATE_LIMITED] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_SOUNDBOARD_SOUNDS] = TG_TRAFFIC_ANSWERS,
                                                      [TG_EVENT_VOICE_SERVER_UPDATE] = TG_TRAFFIC_ANSWERS,
#define X(name) [TG_EVENT_##name] = TG_TRAFFIC_##name,
                                                      TG_TRAFFIC_TYPES(X)
#undef X
};

const char *tg_traffic_name(int place)
{
  static const char *const names[TG_TRAFFIC_COUNT] = {
#define X(name) [TG_TRAFFIC_##name] = #name,
      TG_TRAFFIC_TYPES(X)
#undef X
  };
  return place >= 0 && place < TG_TRAFFIC_COUNT ? names[place] : NULL;
}
