#pragma once

/* The skip file of a class as a text, for a host that may get the class from another one and has to know what
 * its shards may show again. What counts nothing there is left out, and all that the shards of before have
 * delivered is safe: it is told to nobody before they have. */

#include "delivery/reshard/skip_file.h"

/* The caller's to free. */
char *tg_skip_text(const struct tg_skip_list *list);

/* The class has switched where that text comes from: it is the class's file from now on, as if the switch had
 * been here. `of`: which class of which change, as it is here (number, from, to, old_side); sides of another
 * host may have changed places. False: it is not written; "bad_text", "disk_full" or "disk". */
bool tg_skip_text_keep(const char *state_dir, const struct tg_skip_list *of, const char *text,
                       struct tg_error *error);
