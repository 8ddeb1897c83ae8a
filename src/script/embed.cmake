# Writes OUTPUT, a C file with a table of the Lua modules in SOURCES (paths
# relative to ROOT: lua/tidegate/... and rockspec/NAME/tidegate/...): module name,
# source bytes, length.
set(out "/* Made by embed.cmake. */\n#include \"script/embedded.h\"\n\n")
set(table "")
set(n 0)
foreach(source ${SOURCES})
  file(READ ${ROOT}/${source} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "^rockspec/[^/]+/" "" chunk "${source}") # Lua shows no more than 59 bytes of it
  string(REGEX REPLACE "^lua/" "" module "${chunk}")
  string(REGEX REPLACE "(/init)?\\.lua$" "" module "${module}")
  string(REPLACE "/" "." module "${module}")
  string(APPEND out "static const unsigned char source_${n}[] = {${bytes}0};\n")
  string(APPEND table "  {\"${module}\", \"=${chunk}\", (const char *)source_${n}, sizeof source_${n} - 1},\n")
  math(EXPR n "${n} + 1")
endforeach()
string(APPEND out "\nconst struct tg_embedded_module tg_embedded_modules[] = {\n${table}  {0},\n};\n")
file(WRITE ${OUTPUT} "${out}")
