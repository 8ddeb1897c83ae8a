#include "script/core.h"

const struct tg_core tg_core_real = {
#define X(name) .name = tg_##name,
    TG_CORE_FUNCTIONS(X) TG_CORE_QUEUE_FUNCTIONS(X)
#undef X
};
