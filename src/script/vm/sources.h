#pragma once

/* The Lua files that one generation of the script was loaded from: the script
 * and what it has required or loaded from disk. With them
 * - a worker that starts later runs the code that the others run, whatever has
 *   become of the files meanwhile (the manager hands them over in a memory
 *   file);
 * - --watch knows which files to look at, and whether they have changed. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tg_source {
  char *path; /* as it was opened */
  char *bytes;
  size_t length;
  bool given; /* by the manager, not read from disk */
  struct tg_source_stamp {
    int64_t changed_at; /* ns */
    int64_t size;
    uint64_t inode;
  } stamp; /* of the file, when it was read */
};

struct tg_sources {
  struct tg_source *items;
  int count;
};

/* NULL: not among them. The result holds until the next tg_sources_read(). */
const struct tg_source *tg_sources_find(const struct tg_sources *sources, const char *path);

/* The file as it is among them already, or else read from disk and kept. NULL:
 * errno says why not. */
const struct tg_source *tg_sources_read(struct tg_sources *sources, const char *path);

void tg_sources_free(struct tg_sources *sources);

/* `to` is empty. */
void tg_sources_copy(struct tg_sources *to, const struct tg_sources *from);

/* A new file in memory that tg_sources_take_fd() can read in another process; it
 * finds `settings` under TG_SOURCE_SETTINGS. -1: errno says why not. */
int tg_sources_to_fd(const struct tg_sources *sources, const char *settings);
#define TG_SOURCE_SETTINGS "(settings)"

/* Adds what is in the file, and closes it. False: it cannot be read. */
bool tg_sources_take_fd(struct tg_sources *sources, int fd);

uint64_t tg_sources_sum(const struct tg_sources *sources);

/* The first file that is another one on disk now; NULL: none. Files that are
 * not there at all count as unchanged: editors replace them. `*sum` changes
 * whenever any of the files does. */
const char *tg_sources_changed(const struct tg_sources *sources, uint64_t *sum);
