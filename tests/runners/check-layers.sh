#!/bin/bash
# The layers of CONTRIBUTING.md: a folder of lib/ includes private headers of itself and of folders
# above it only, no two modules include each other, and the library neither prints, starts processes
# nor names options of tools.
set -uo pipefail
. tests/runners/tap.sh

layers=(base model io text geometry glitch sample forward)

# Pairs "FROM INCLUDED" of files below $1, without the endings .c and .h.
includes() {
  grep -rnoE --include='*.[ch]' '^#include "[a-z_/0-9]+\.h"' "$1" |
    sed -E "s|^$1/([^:]*)\.[ch]:[0-9]+:#include \"(.*)\.h\"|\1 \2|"
}

only_upwards() {
  includes lib | awk -v layers="${layers[*]}" '
    BEGIN { n = split(layers, list, " "); for (i = 1; i <= n; i++) level[list[i]] = i }
    {
      split($1, from, "/")
      split($2, to, "/")
      if (!(from[1] in level)) why = "is in no layer"
      else if (!(to[1] in level)) why = "includes " $2 ", which is in no layer"
      else if (level[to[1]] > level[from[1]]) why = "includes " $2 ", of a layer below it"
      else next
      print "lib/" $1 " " why
      bad = 1
    }
    END { exit bad }'
}
# A module is a .c file with its header; a header alone is none.
without_circles() {
  local circles folder
  circles=$(for folder in lib tools; do
    includes $folder | while read -r from to; do
      [ "$from" = "$to" ] || [ ! -f "$folder/$from.c" ] || [ ! -f "$folder/$to.c" ] ||
        echo "$from $to"
    done
  done | tsort 2>&1 >/dev/null)
  [ -z "$circles" ] || { echo "$circles"; return 1; }
}
without() { # without REGEX: no line of lib/ outside a comment matches it
  ! grep -rnE --include='*.[ch]' "$1" lib include | grep -vE '^[^:]*:[0-9]*: *(/?\*|//)'
}

check "a layer of the library includes only those above it" only_upwards
check "no two modules include each other" without_circles
check "the library prints nothing" \
  without '\<(printf|puts|putchar|perror|vprintf)\(|\<f(printf|puts|putc|write)\(.*\<std(out|err)\>'
check "the library starts no process" \
  without '\<(fork|vfork|exec[lv]p?e?|popen|posix_spawnp?|system)\('
check "the library reads no command line" without '\<(argc|argv|getopt|getopt_long)\>'
check "the library names no option of a tool" without '"[^"]*(^|[^-a-z])--[a-z][^"]*"'
end
