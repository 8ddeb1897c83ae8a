# Help texts to a manual page (man(7)). The first page begins with "NAME VERSION: what it is"; each further one,
# after a form feed, with how a command is called, or with the "Title:" of a section. What a page is made of:
#
#     a line of text                              filled paragraphs
#       --option VALUE    what it does            a list
#     Signals: ...  Exit codes: ...               sections of their own
#     a line that ends with a backslash \         an example, with all lines of its paragraph

function escape(text) {
  gsub(/\\/, "\\e", text)
  gsub(/-/, "\\-", text)
  gsub(/'/, "\\(aq", text)
  gsub(/`/, "\\(ga", text)
  gsub(/\^/, "\\(ha", text)
  gsub(/~/, "\\(ti", text)
  gsub(/"/, "\\(dq", text)
  sub(/^\./, "\\\\\\&.", text)
  return text
}

# Words in capitals are to be replaced by the reader.
function call(text,    words, count, i, result) {
  count = split(text, words, " ")
  for (i = 1; i <= count; i++) {
    result = result (i > 1 ? " " : "") \
      (words[i] ~ /^[^a-z]*[A-Z][^a-z]*$/ ? "\\fI" : "\\fB") escape(words[i]) "\\fR"
  }
  return result
}

function section(name) {
  print ".SH " name
  fresh = 0 # what follows begins a paragraph anyway
}

function text_line(line) {
  if (fresh)
    print ".PP"
  fresh = 0
  print escape(line)
}

function example(text) {
  print ".PP\n.nf\n" escape(text) "\n.fi"
}

function item(line,    gap, rest) {
  sub(/^ +/, "", line)
  gap = match(line, /  +/)
  rest = gap ? substr(line, gap + RLENGTH) : "\\&"
  print ".TP\n" call(gap ? substr(line, 1, gap - 1) : line) "\n" (gap ? escape(rest) : rest)
  fresh = 1
}

function paragraph(text,    lines, count, i) {
  if (text ~ /\\\n/ || text ~ /\\$/) {
    example(text)
    return
  }
  count = split(text, lines, "\n")
  for (i = 1; i <= count; i++) {
    if (sub(/^Signals: /, "", lines[i]))
      section("SIGNALS")
    else if (sub(/^Exit codes: /, "", lines[i]))
      section("EXIT STATUS")
    if (lines[i] ~ /^ /)
      item(lines[i])
    else
      text_line(lines[i])
  }
  fresh = 1
}

# "Files:\n..." -> "Files"; "" for the page of a command.
function title_of(text) {
  return match(text, /^[A-Z][a-z ]*:\n/) ? substr(text, 1, RLENGTH - 2) : ""
}

# "tidegate ctl queue ...": a command of the command before.
function is_part(text) {
  return text ~ /^[a-z-]+ [a-z]+ [a-z]/
}

function body(text,    parts, count, k) {
  count = split(text, parts, /\n\n+/)
  for (k = 2; k <= count; k++) {
    sub(/\n+$/, "", parts[k])
    if (parts[k] != "")
      paragraph(parts[k])
  }
}

{ texts = texts $0 "\n" }

END {
  total = split(texts, page, "\f")
  match(page[1], /^[^ ]+ [^:]+: /)
  split(substr(page[1], 1, RLENGTH - 2), title, " ")
  match(page[1], /: [^\n]*/)
  what = substr(page[1], RSTART + 2, RLENGTH - 2)
  sub(/\.$/, "", what)
  print ".\\\" Made from the help texts."
  print ".TH " toupper(title[1]) " 1 \"\" \"" title[1] " " title[2] "\" \"Tidegate\""
  print ".nh\n.ad l" # names of variables and files are not to be broken
  section("NAME")
  print escape(title[1]) " \\- " escape(what)
  section("SYNOPSIS")
  synopsis = total == 1 ? "\\fB" escape(title[1]) "\\fR [\\fIOPTIONS\\fR]" : ""
  for (i = 2; i <= total && title_of(page[i]) == ""; i++) {
    if (is_part(page[i]))
      continue
    match(page[i], /^[^\n]*/)
    synopsis = synopsis (i > 2 ? "\n.br\n" : "") call(substr(page[i], 1, RLENGTH))
  }
  print synopsis
  section("DESCRIPTION")
  body(page[1])
  for (i = 2; i <= total; i++) {
    if (title_of(page[i]) != "") {
      section(toupper(title_of(page[i])))
    } else {
      if (i == 2)
        section("COMMANDS")
      match(page[i], /^[^\n]*/)
      print ".SS " call(substr(page[i], 1, RLENGTH))
      fresh = 0
    }
    body(page[i])
  }
  section("SEE ALSO")
  print other(title[1])
}

function other(name) {
  return name == "tidegate" ? ".BR tidegate\\-fake\\-discord (1)" : ".BR tidegate (1)"
}
