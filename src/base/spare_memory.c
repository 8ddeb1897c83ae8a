#include "base/spare_memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

enum {
  LOOK_EVERY = 10000, /* ms */
  MUCH = 256 * 1024,  /* bytes, and at least ... */
  MUCH_PART = 16,     /* ... one part in so many of what is used */
};

/* ---- whether ---- */

bool tg_spare_memory_is_little(struct tg_spare_memory *spare, size_t resident)
{
  if (!spare->known)
    return false;
  if (resident < spare->floor)
    spare->floor = resident;
  if (resident - spare->floor >= MUCH)
    return false;
  spare->much = false;
  return true;
}

bool tg_spare_memory_note(struct tg_spare_memory *spare, const struct tg_memory_use *use)
{
  int64_t idle = (int64_t)use->resident - (int64_t)use->used;
  bool before = spare->much;
  if (!spare->known)
    *spare = (struct tg_spare_memory){.known = true, .floor = use->resident, .least = idle};
  if (idle < spare->least)
    spare->least = idle;
  size_t grown = (size_t)(idle - spare->least), most = grown < use->free ? grown : use->free;
  spare->much = most >= MUCH && most >= use->used / MUCH_PART;
  return spare->much && before;
}

void tg_spare_memory_returned(struct tg_spare_memory *spare, size_t resident, size_t used)
{
  spare->least = (int64_t)resident - (int64_t)used;
  spare->much = false;
}

/* ---- the process ---- */

/* 0: not known. Pages that others share, such as those of files, are not in it. */
static size_t read_resident(void)
{
  char text[128];
  size_t resident, shared;
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0)
    close(fd);
  if (length <= 0)
    return 0;
  text[length] = '\0';
  if (sscanf(text, "%*u %zu %zu", &resident, &shared) != 2 || shared > resident)
    return 0;
  return (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

void tg_spare_memory_look(tg_ms now)
{
  static struct tg_spare_memory spare;
  static tg_ms looked_at;
  if (looked_at && now - looked_at < tg_patience(LOOK_EVERY))
    return;
  looked_at = now;
  size_t resident = read_resident();
  if (resident == 0 || tg_spare_memory_is_little(&spare, resident))
    return;
  struct mallinfo2 heap = mallinfo2();
  struct tg_memory_use use = {resident, heap.uordblks + heap.hblkhd, heap.fordblks};
  if (!tg_spare_memory_note(&spare, &use))
    return;
  malloc_trim(0);
  tg_spare_memory_returned(&spare, read_resident(), use.used);
}
