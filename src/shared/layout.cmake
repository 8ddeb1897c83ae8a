# Writes OUTPUT, a C file with a text that is another one whenever what the files in SOURCES declare is: the layout
# of the statistics page. Comments and white space do not count.
set(declared "")
foreach(source ${SOURCES})
  file(READ ${source} text)
  string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" "" text "${text}")
  string(REGEX REPLACE "[ \t\r\n\\]+" " " text "${text}")
  string(APPEND declared "${text}")
endforeach()
string(SHA256 sum "${declared}")
string(SUBSTRING "${sum}" 0 16 sum)
file(WRITE ${OUTPUT} "/* Made by layout.cmake. */\n#include \"shared/stats.h\"\n\n"
     "const char tg_stats_layout[TG_STATS_LAYOUT_SIZE] = \"stats-${sum}\";\n")
