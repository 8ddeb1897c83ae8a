/* `tidegate version`: of the program, and of what it is made of. */

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/table.h"

#include "base/error.h"
#include "net/http_syntax.h"
#include "net/resp.h"
#include "script/script.h"

#include <curl/curl.h>
#include <jansson.h>
#include <libwebsockets.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <uv.h>
#include <zlib.h>
#include <zstd.h>

#ifdef __clang__
static const char compiler[] = "clang";
#else
static const char compiler[] = "gcc";
#endif

/* Up to a blank: libwebsockets tells what it was built of, too. */
static void add(struct tg_table *table, const char *name, const char *version)
{
  int length = (int)strcspn(version, " ");
  if (length > 0 && version[length - 1] == '-')
    length--;
  tg_table_cell(table, TG_PLAIN, "%s", name);
  tg_table_cell(table, TG_PLAIN, "%.*s", length, version);
}

/* As they are loaded, which may be newer than at the build. */
static void add_libraries(struct tg_table *table)
{
  struct tg_script_versions lua = tg_script_versions();
  add(table, "LuaJIT", lua.luajit);
  add(table, "libuv", uv_version_string());
  add(table, "libwebsockets", lws_get_library_version());
  add(table, "OpenSSL", OpenSSL_version(OPENSSL_VERSION_STRING));
  add(table, tg_http_syntax_library(), tg_http_syntax_version());
  add(table, "libcurl", curl_version_info(CURLVERSION_NOW)->version);
  add(table, "zlib", zlibVersion());
  add(table, "libzstd", ZSTD_versionString());
  add(table, "jansson", jansson_version_str());
  add(table, "hiredis", tg_resp_library_version());
  add(table, "lua-cjson", *lua.cjson ? lua.cjson : "none");
}

static void add_rest(struct tg_table *table)
{
  struct utsname system = {0};
  uname(&system);
  tg_table_cell(table, TG_PLAIN, "%s", compiler);
  tg_table_cell(table, TG_PLAIN, "%s", __VERSION__);
  tg_table_cell(table, TG_PLAIN, "%s", system.sysname);
  tg_table_cell(table, TG_PLAIN, "%s %s", system.release, system.machine);
}

int tg_cli_version(int argc, char **argv)
{
  bool verbose = false;
  int exit_code;
  const struct tg_cli_option options[] = {{"--verbose", &verbose, NULL}, {NULL, NULL, NULL}};
  if (tg_cli_options(argc, argv, options, TG_HELP_VERSION, NULL, 0, &exit_code) < 0)
    return exit_code;
  puts("tidegate " TG_VERSION);
  if (!verbose)
    return TG_EXIT_OK;
  struct tg_table table = {0};
  tg_table_column(&table, "", false);
  tg_table_column(&table, "", false);
  add_libraries(&table);
  add_rest(&table);
  putchar('\n');
  tg_table_print(&table, stdout);
  return TG_EXIT_OK;
}
