#pragma once

/* A disk that loses its power. While a program works in a real directory, this keeps what the kernel has of
 * it and what it has certainly written, and makes, at any moment, a directory as it may be found after a
 * power cut:
 *
 * - What fdatasync() has ended for is there. Of all else in a file each page may be new or old, or torn
 *   between its sectors, whatever was written first; so may a file's length, with zeros where nothing came.
 * - Names (made, renamed, removed) come in their order, as file systems with a journal keep it, but as many
 * of the last ones as have not been synced may be missing. To sync a file keeps its name, too.
 *
 * Mapped files are seen like all others: their pages are compared. One directory, without others in it. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DISK_FILES = 4096, DISK_STEPS = 8192, DISK_PAGE = 4096, DISK_SECTOR = 512, DISK_NAME = 64 };

struct disk_bytes {
  unsigned char *at; /* behind `length`: zeros */
  size_t length, room;
};

struct disk_file {
  ino_t ino;
  char name[DISK_NAME], kept_name[DISK_NAME]; /* "": it has none */
  struct disk_bytes cached, kept;             /* as the kernel has it; as it certainly is on the disk */
};

/* A name that is not synced yet. */
struct disk_step {
  int file;
  char name[DISK_NAME]; /* from then on; "": none */
};

struct disk {
  const char *directory;               /* what is watched: `own`, unless somebody says otherwise */
  char parent[64], own[80], image[80]; /* disk_new() makes the first two; the third is for disk_cut() */
  struct disk_file files[DISK_FILES];
  struct disk_step steps[DISK_STEPS];
  int file_count, step_count;
  uint64_t random;
};

static uint32_t disk_random(struct disk *disk, uint32_t below)
{
  disk->random = disk->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(disk->random >> 33) % below;
}

/* ---- bytes ---- */

static void resize(struct disk_bytes *bytes, size_t length)
{
  if (length > bytes->room) {
    size_t room = length + 64 * 1024;
    bytes->at = realloc(bytes->at, room);
    assert_non_null(bytes->at);
    memset(bytes->at + bytes->room, 0, room - bytes->room);
    bytes->room = room;
  }
  if (length < bytes->length)
    memset(bytes->at + length, 0, bytes->length - length);
  bytes->length = length;
}

static void copy_bytes(struct disk_bytes *to, const struct disk_bytes *from)
{
  resize(to, from->length);
  if (from->length > 0)
    memcpy(to->at, from->at, from->length);
}

static void read_bytes(struct disk_bytes *bytes, int directory_fd, const char *name)
{
  int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
  struct stat status;
  assert_true(fd >= 0 && fstat(fd, &status) == 0);
  resize(bytes, (size_t)status.st_size);
  for (size_t done = 0; done < bytes->length;) {
    ssize_t got = read(fd, bytes->at + done, bytes->length - done);
    assert_true(got > 0);
    done += (size_t)got;
  }
  close(fd);
}

/* ---- what the program has done ---- */

static int find_file(const struct disk *disk, ino_t ino)
{
  for (int i = disk->file_count - 1; i >= 0; i--)
    if (disk->files[i].ino == ino)
      return i;
  return -1;
}

static void set_name(struct disk *disk, int file, const char *name)
{
  assert_true(disk->step_count < DISK_STEPS);
  struct disk_step *step = &disk->steps[disk->step_count++];
  step->file = file;
  snprintf(step->name, sizeof step->name, "%s", name);
  snprintf(disk->files[file].name, DISK_NAME, "%s", name);
}

static int add_file(struct disk *disk, ino_t ino)
{
  assert_true(disk->file_count < DISK_FILES);
  disk->files[disk->file_count] = (struct disk_file){.ino = ino};
  return disk->file_count++;
}

/* Takes in what has changed since the last look. */
static void disk_look(struct disk *disk)
{
  static bool seen[DISK_FILES];
  int fd = open(disk->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *walk = fd < 0 ? NULL : fdopendir(fd);
  if (!walk)
    return; /* not made yet */
  memset(seen, 0, sizeof seen);
  for (struct dirent *entry; (entry = readdir(walk)) != NULL;) {
    if (entry->d_name[0] == '.' && strlen(entry->d_name) < 3 &&
        strspn(entry->d_name, ".") == strlen(entry->d_name))
      continue;
    int file = find_file(disk, entry->d_ino);
    if (file < 0)
      file = add_file(disk, entry->d_ino);
    if (strcmp(disk->files[file].name, entry->d_name) != 0)
      set_name(disk, file, entry->d_name);
    seen[file] = true;
    read_bytes(&disk->files[file].cached, fd, entry->d_name);
  }
  closedir(walk);
  for (int i = 0; i < disk->file_count; i++)
    if (!seen[i] && disk->files[i].name[0] != '\0')
      set_name(disk, i, "");
}

static void keep_steps(struct disk *disk, int count)
{
  for (int i = 0; i < count; i++)
    memcpy(disk->files[disk->steps[i].file].kept_name, disk->steps[i].name, DISK_NAME);
  disk->step_count -= count;
  memmove(disk->steps, disk->steps + count, (size_t)disk->step_count * sizeof *disk->steps);
}

/* fdatasync(fd) has ended well. */
static inline void disk_synced(struct disk *disk, int fd)
{
  struct stat status;
  assert_int_equal(fstat(fd, &status), 0);
  disk_look(disk);
  int file = S_ISDIR(status.st_mode) ? -1 : find_file(disk, status.st_ino), count = disk->step_count;
  if (file >= 0) {
    copy_bytes(&disk->files[file].kept, &disk->files[file].cached);
    while (count > 0 && disk->steps[count - 1].file != file)
      count--;
  }
  keep_steps(disk, count);
}

/* The kernel has written something by itself: a file, or names. */
static inline void disk_write_back(struct disk *disk)
{
  struct disk_file *file = &disk->files[disk_random(disk, (uint32_t)disk->file_count)];
  copy_bytes(&file->kept, &file->cached);
  keep_steps(disk, (int)disk_random(disk, (uint32_t)disk->step_count + 1));
}

/* ---- the cut ---- */

/* Of that file, in `image`; of 8 changes `likely` are on the disk. */
static void tear(struct disk *disk, const struct disk_file *file, uint32_t likely, struct disk_bytes *image)
{
  const struct disk_bytes *old = &file->kept, *new = &file->cached;
  bool grown = old->length != new->length &&disk_random(disk, 8) < likely;
  copy_bytes(image, old);
  resize(image, grown ? new->length : old->length);
  for (size_t page = 0; page < image->length; page += DISK_PAGE) {
    bool torn = disk_random(disk, 16) == 0, fresh = disk_random(disk, 8) < likely;
    for (size_t at = page; at < image->length && at < page + DISK_PAGE; at += DISK_SECTOR) {
      size_t end = at + DISK_SECTOR < image->length ? at + DISK_SECTOR : image->length;
      end = end < new->length ? end : new->length;
      if (torn)
        fresh = disk_random(disk, 2) == 0;
      if (fresh && at < end)
        memcpy(image->at + at, new->at + at, end - at);
    }
  }
}

static void write_image(int directory_fd, const char *name, const struct disk_bytes *image)
{
  int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  for (size_t done = 0; done < image->length;) {
    ssize_t put = write(fd, image->at + done, image->length - done);
    assert_true(put > 0);
    done += (size_t)put;
  }
  close(fd);
}

/* Fills `directory`, which is empty, with what may be found if the power fails now. */
static void disk_cut(struct disk *disk, const char *directory)
{
  static char names[DISK_FILES][DISK_NAME];
  static struct disk_bytes image;
  uint32_t likely = disk_random(disk, 9); /* 0: nothing but what was synced; 8: all of it */
  int steps = likely == 8   ? disk->step_count
              : likely == 0 ? 0
                            : (int)disk_random(disk, (uint32_t)disk->step_count + 1);
  for (int i = 0; i < disk->file_count; i++)
    memcpy(names[i], disk->files[i].kept_name, DISK_NAME);
  for (int i = 0; i < steps; i++) {
    const struct disk_step *step = &disk->steps[i];
    for (int other = 0; other < disk->file_count && step->name[0];
         other++) /* a rename puts it in its place */
      if (strcmp(names[other], step->name) == 0)
        names[other][0] = '\0';
    memcpy(names[step->file], step->name, DISK_NAME);
  }
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(fd >= 0);
  for (int i = 0; i < disk->file_count; i++) {
    if (names[i][0] == '\0')
      continue;
    tear(disk, &disk->files[i], likely, &image);
    write_image(fd, names[i], &image);
  }
  close(fd);
}

/* Empty directories of a name of their own. */
static inline struct disk *disk_new(const char *name)
{
  struct disk *disk = calloc(1, sizeof *disk);
  assert_non_null(disk);
  snprintf(disk->parent, sizeof disk->parent, "%s/tg-%s-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", name);
  assert_non_null(mkdtemp(disk->parent));
  snprintf(disk->own, sizeof disk->own, "%s/state", disk->parent);
  snprintf(disk->image, sizeof disk->image, "%s/image", disk->parent);
  assert_int_equal(mkdir(disk->own, 0700), 0);
  disk->directory = disk->own;
  disk->random = 4711;
  return disk;
}

/* Of disk_new(), when its files are gone. 0: so they are. */
static inline int disk_remove(struct disk *disk)
{
  return rmdir(disk->own) | rmdir(disk->parent);
}

static void disk_free(struct disk *disk)
{
  for (int i = 0; i < disk->file_count; i++) {
    free(disk->files[i].cached.at);
    free(disk->files[i].kept.at);
  }
  free(disk);
}
