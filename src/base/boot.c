#include "base/boot.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void tg_boot_name(char name[TG_BOOT_SIZE])
{
  memset(name, 0, TG_BOOT_SIZE);
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  if (read(fd, name, TG_BOOT_SIZE - 1) < 0)
    name[0] = '\0';
  close(fd);
}
