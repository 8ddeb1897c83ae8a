# Writes OUTPUT, a C file with a table of the files in SOURCES (paths relative to ROOT): path and content. TABLE is its
# declaration in HEADER, "struct some_file some_files".
set(out "/* Made by embed_files.cmake. */\n#include \"${HEADER}\"\n\n")
set(table "")
set(n 0)
foreach(source ${SOURCES})
  file(READ ${ROOT}/${source} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND out "static const unsigned char file_${n}[] = {${bytes}0};\n")
  string(APPEND table "  {\"${source}\", (const char *)file_${n}},\n")
  math(EXPR n "${n} + 1")
endforeach()
string(APPEND out "\nconst ${TABLE}[] = {\n${table}  {0},\n};\n")
file(WRITE ${OUTPUT} "${out}")
