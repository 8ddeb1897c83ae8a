#pragma once

/* The status page: what a browser gets for GET / and loads from /page/. The files are those of web/, embedded
 * by CMakeLists.txt as they are. */

struct tg_page_file {
  const char *name; /* "index.html"; NULL: the end of the table */
  const char *text;
};

extern const struct tg_page_file tg_page_files[];
