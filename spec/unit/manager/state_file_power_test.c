/* Files of the state directory when the power fails (unit/base/power_disk.h): at any moment the file is
 * what was written last, or what was written before that; never half of it, nor nothing. */

#include "unit/base/power_disk.h"

#include "manager/state_file.h"

#include <errno.h>

enum { CUTS = 1000 };

static struct disk *disk;
static int written = -1, cuts; /* the number in the file */
static bool cutting;

static int number_in(const char *state_dir, struct tg_error *error)
{
  json_t *content = tg_state_file_read(state_dir, "file.json", error);
  int number = content ? (int)json_integer_value(json_object_get(content, "number")) : -1;
  json_decref(content);
  return number;
}

static void cut(void)
{
  struct tg_error error = {0};
  cutting = true;
  assert_int_equal(mkdir(disk->image, 0700), 0);
  disk_cut(disk, disk->image);
  int found = number_in(disk->image, &error);
  if (found < 0 && strcmp(error.code, "missing") != 0)
    fail_msg("cut %d: %s", cuts, error.message);
  assert_true(found <= written + 1);
  char path[128];
  snprintf(path, sizeof path, "%s/file.json", disk->image);
  unlink(path);
  snprintf(path, sizeof path, "%s/.file.json.next", disk->image);
  unlink(path);
  assert_int_equal(rmdir(disk->image), 0);
  cuts++;
  cutting = false;
}

static void come_by(void)
{
  if (!disk || cutting)
    return;
  int code = errno;
  disk_look(disk);
  if (disk->file_count > 0 && disk_random(disk, 10) == 0)
    disk_write_back(disk);
  cut();
  errno = code;
}

int rename(const char *from, const char *to)
{
  come_by();
  int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  come_by();
  return result;
}

int fdatasync(int fd)
{
  come_by();
  disk_synced(disk, fd);
  come_by();
  return 0;
}

static void is_old_or_new(void **state)
{
  (void)state;
  struct tg_error error;
  while (cuts < CUTS) {
    json_t *content = json_pack("{s:i, s:s%}", "number", written + 1, "filling",
                                "this makes it longer than a sector of the disk, and then shorter again",
                                61 - written % 60);
    for (int i = 0; i < (int)disk_random(disk, 300); i++) { /* more than a page, now and then */
      char name[16];
      snprintf(name, sizeof name, "%d", i);
      json_object_set_new(content, name, json_string("a value of some length that stands for others"));
    }
    assert_true(tg_state_file_write(disk->own, "file.json", content, &error));
    json_decref(content);
    written++;
  }
}

static int begin(void **state)
{
  (void)state;
  disk = disk_new("state");
  return 0;
}

static int end(void **state)
{
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/file.json", disk->own);
  int left = unlink(path) | disk_remove(disk);
  disk_free(disk);
  disk = NULL;
  return left;
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(is_old_or_new, begin, end)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
