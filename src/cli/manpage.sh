#!/bin/sh
# manpage.sh PROGRAM OUTPUT: the manual page of a program from what its own help says, so that the two cannot
# differ. Of a program with commands, `PROGRAM help` lists them and `PROGRAM help COMMAND` has more; what
# `help [COMMAND|TOPIC|...]` names beside them are topics, which have pages, too. A command whose page leads to
# `PROGRAM COMMAND COMMAND --help` has commands of its own: `PROGRAM help COMMAND COMMAND`.
set -eu
program=$1
output=$2
here=$(dirname "$0")
overview=$("$program" --help)
name=$(basename "$program")
text=$overview
commands=$(printf '%s\n' "$overview" | awk -v name="$name" '/^  / && $1 == name { print $2 }')
topics=$(printf '%s\n' "$overview" | sed -n 's/.* help \[COMMAND|\(.*\)\].*/\1/p' | tr '|' ' ')
for command in $commands $topics; do
  page=$("$program" help "$command")
  if [ "$page" != "$overview" ]; then # it has no page of its own
    text=$(printf '%s\n\f%s' "$text" "$page")
  fi
  case $page in # of one that has commands of its own, their pages follow
  "$name $command COMMAND"*'`'"$name $command COMMAND --help"'`'*)
    for each in $(printf '%s\n' "$page" | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'); do
      text=$(printf '%s\n\f%s' "$text" "$("$program" help "$command" "$each")")
    done
    ;;
  esac
done
printf '%s\n' "$text" | awk -f "$here/manpage.awk" >"$output.new"
mv "$output.new" "$output"
