#pragma once

/* What the fuzz targets share. */

#include "base/log.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

__attribute__((noinline, unused)) static void require(bool fact)
{
  if (!fact)
    abort();
}

/* The program's words for what it meets would drown the fuzzer's. */
static inline void fuzz_be_silent(void)
{
  tg_log_set_level(TG_ERROR + 1);
}

/* ---- a state directory, in memory where that can be ---- */

static char fuzz_directory[64];

static inline int fuzz_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
  (void)status, (void)type, (void)walk;
  return remove(path);
}

static inline void fuzz_remove_directory(void)
{
  nftw(fuzz_directory, fuzz_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Empty, each time anew. */
static inline const char *fuzz_fresh_directory(void)
{
  if (fuzz_directory[0]) {
    fuzz_remove_directory();
    require(mkdir(fuzz_directory, 0700) == 0);
    return fuzz_directory;
  }
  snprintf(fuzz_directory, sizeof fuzz_directory, "%s/tg-fuzz-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  require(mkdtemp(fuzz_directory) != NULL);
  atexit(fuzz_remove_directory);
  return fuzz_directory;
}

static inline int fuzz_open(const char *name, int flags)
{
  char path[200];
  snprintf(path, sizeof path, "%s/%s", fuzz_directory, name);
  return open(path, flags | O_CLOEXEC, 0600);
}

static inline void fuzz_write_file(const char *name, const void *bytes, size_t length)
{
  int fd = fuzz_open(name, O_CREAT | O_TRUNC | O_WRONLY);
  require(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
  close(fd);
}

/* NUL behind its end; the caller frees it. */
static inline char *fuzz_read_file(const char *name, size_t *length)
{
  int fd = fuzz_open(name, O_RDONLY);
  off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
  char *text = calloc((size_t)size + 1, 1);
  require(fd >= 0 && pread(fd, text, (size_t)size, 0) == (ssize_t)size);
  close(fd);
  *length = (size_t)size;
  return text;
}

/* What happens to a file: each time three bytes that say where, one that says how
 * much (or, above 127, that the file ends there), and what stands there then. */
static inline void fuzz_damage(const char *name, const uint8_t *bytes, size_t length)
{
  enum { PLACE = 4, CUT = 128 };
  int fd = fuzz_open(name, O_RDWR);
  require(fd >= 0);
  off_t size = lseek(fd, 0, SEEK_END);
  while (length >= PLACE) {
    off_t at = (bytes[0] | bytes[1] << 8 | bytes[2] << 16) % (size + 1);
    size_t count = bytes[3] < CUT ? bytes[3] : 0;
    bool ends = bytes[3] >= CUT;
    bytes += PLACE, length -= PLACE;
    if (count > length)
      count = length;
    require(ends ? ftruncate(fd, at) == 0 : pwrite(fd, bytes, count, at) == (ssize_t)count);
    bytes += count, length -= count;
  }
  close(fd);
}

/* A copy of just that size, so that one byte too many is seen; NUL behind it. */
static inline char *fuzz_text(const uint8_t *bytes, size_t length)
{
  char *text = calloc(length + 1, 1);
  if (length > 0)
    memcpy(text, bytes, length);
  return text;
}
