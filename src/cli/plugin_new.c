#include "cli/plugin_new.h"

#include "base/buf.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char template_name[] = "my-plugin";

/* The text with the plugin's name in the place of the template's; malloc. */
static char *named(const char *text, const char *name)
{
  struct tg_buf result = {0};
  const char *found;
  for (; (found = strstr(text, template_name)) != NULL; text = found + strlen(template_name)) {
    tg_buf_append(&result, text, (size_t)(found - text));
    tg_buf_puts(&result, name);
  }
  tg_buf_puts(&result, text);
  return tg_buf_take(&result);
}

/* All folders that stand before the last slash of the path. */
static bool make_folders(char *path)
{
  for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    bool there = mkdir(path, 0777) == 0 || errno == EEXIST;
    *slash = '/';
    if (!there)
      return false;
  }
  return true;
}

/* Nothing is overwritten: O_EXCL. */
static bool write_file(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return false;
  FILE *file = fdopen(fd, "w");
  bool written = fputs(text, file) >= 0;
  return fclose(file) == 0 && written;
}

static bool write_template_file(const struct tg_template_file *file, const char *folder, const char *name)
{
  struct tg_buf joined = {0};
  char *own = named(file->path, name), *text = named(file->text, name);
  tg_buf_printf(&joined, "%s/%s", folder, own);
  char *path = tg_buf_take(&joined);
  bool written = make_folders(path) && write_file(path, text);
  if (written)
    puts(path);
  else
    fprintf(stderr, "tidegate plugin: cannot write %s: %s\n", path, strerror(errno));
  free(path);
  free(own);
  free(text);
  return written;
}

int tg_plugin_new(const char *name)
{
  struct tg_buf joined = {0};
  tg_buf_printf(&joined, "tidegate-plugin-%s", name);
  char *folder = tg_buf_take(&joined);
  bool made = mkdir(folder, 0777) == 0;
  if (!made && errno == EEXIST)
    fprintf(stderr,
            "tidegate plugin: %s is there already, and stays as it is; take another name, or move it\n",
            folder);
  else if (!made)
    fprintf(stderr, "tidegate plugin: cannot make %s: %s\n", folder, strerror(errno));
  for (const struct tg_template_file *file = tg_template_files; made && file->path; file++)
    made = write_template_file(file, folder, name);
  if (made)
    printf("\nNext: cd %s, then tidegate test. Its README.md tells the rest.\n", folder);
  free(folder);
  return made ? TG_EXIT_OK : TG_EXIT_FAILED;
}
