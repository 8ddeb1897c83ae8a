#pragma once

/* Names the time between two starts of the machine: tg_now() goes on during it,
 * and begins anew with the next. Puts the name into `name`, with
 * zeros behind it; "" if it is not known. */

enum { TG_BOOT_SIZE = 40 };

void tg_boot_name(char name[TG_BOOT_SIZE]);
