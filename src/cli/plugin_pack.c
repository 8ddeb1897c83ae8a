#include "cli/plugin_pack.h"

#include "cli/luarocks.h"

#include "base/buf.h"
#include "base/error.h"

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one rockspec here; NULL: it was said what is wrong. The caller frees it. */
static char *find_rockspec(void)
{
  glob_t found = {0};
  glob("*.rockspec", 0, NULL, &found);
  char *path = found.gl_pathc == 1 ? tg_strdup(found.gl_pathv[0]) : NULL;
  if (found.gl_pathc == 0)
    fputs("tidegate plugin: there is no *.rockspec here; go to the plugin's folder\n", stderr);
  else if (!path)
    fprintf(stderr,
            "tidegate plugin: %s and %s: there is more than one rockspec here; keep that of the version "
            "to be packed\n",
            found.gl_pathv[0], found.gl_pathv[1]);
  globfree(&found);
  return path;
}

/* "NAME-1.0-2.rockspec", as luarocks wants it: the version has one dash in it.
 * Cuts the path behind the name and returns the version; NULL: it is no such name. */
static char *split(char *path)
{
  path[strlen(path) - strlen(".rockspec")] = '\0';
  char *revision = strrchr(path, '-');
  if (!revision)
    return NULL;
  *revision = '\0';
  char *version = strrchr(path, '-');
  *revision = '-';
  if (!version || version == path)
    return NULL;
  *version = '\0';
  return version + 1;
}

/* Installs it into a tree of its own, and packs what is there. */
static int pack(const char *tree, const char *rockspec)
{
  struct tg_luarocks line;
  char *name = tg_strdup(rockspec), *version = split(name);
  int exit_code = TG_EXIT_FAILED;
  if (version) {
    tg_luarocks_begin(&line, tree);
    tg_luarocks_word(&line, "make");
    tg_luarocks_word(&line, "--deps-mode=none");
    tg_luarocks_word(&line, "%s%s", *rockspec == '-' ? "./" : "", rockspec);
    exit_code = tg_luarocks_run(&line);
  } else {
    fprintf(stderr, "tidegate plugin: a rockspec is named NAME-VERSION-REVISION.rockspec, not %s\n",
            rockspec);
  }
  if (version && exit_code == TG_EXIT_OK) {
    tg_luarocks_begin(&line, tree);
    tg_luarocks_word(&line, "pack");
    tg_luarocks_word(&line, "%s", name);
    tg_luarocks_word(&line, "%s", version);
    exit_code = tg_luarocks_run(&line);
  }
  free(name);
  return exit_code;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
  (void)status, (void)kind, (void)where;
  remove(path);
  return 0;
}

int tg_plugin_pack(void)
{
  char *rockspec = find_rockspec();
  if (!rockspec)
    return TG_EXIT_FAILED;
  struct tg_buf joined = {0};
  const char *folder = getenv("TMPDIR");
  tg_buf_printf(&joined, "%s/tidegate-pack-XXXXXX", folder && *folder ? folder : "/tmp");
  char *tree = tg_buf_take(&joined);
  int exit_code = TG_EXIT_FAILED;
  if (mkdtemp(tree)) {
    exit_code = pack(tree, rockspec);
    nftw(tree, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  } else {
    fprintf(stderr, "tidegate plugin: cannot make a folder at %s: %s\n", tree, strerror(errno));
  }
  free(tree);
  free(rockspec);
  return exit_code;
}
