# Writes OUTPUT, a C file with the script for Redis: the files in SOURCES, one after the other.
set(bytes "")
foreach(source ${SOURCES})
  file(READ ${source} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," more "${hex}")
  string(APPEND bytes "${more}")
endforeach()
file(WRITE ${OUTPUT} "/* Made by embed.cmake. */\n#include \"manager/cluster/cluster.h\"\n\n"
     "const char tg_cluster_script[] = {${bytes}0};\n")
