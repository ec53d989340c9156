#!/bin/bash
# The public interface: how large it is, that the library exports what the headers declare, and that
# each function is described. Needs the build folder in NOKEN_BUILD.
set -uo pipefail
. tests/runners/tap.sh

max_headers=13 max_functions=154
library=${NOKEN_BUILD:-build}/lib/libnoken.so

# The names that the headers declare as exported: NK_API TYPE NAME( or, for an array, NAME[, on one
# line or several.
declared() {
  grep -hv '^ *#' include/noken/*.h | tr '\n' ' ' | grep -oE '\bNK_API [^;([]*[([]' |
    sed -E 's/.*[ *](nk_[a-z0-9_]+)[([]$/\1/' | sort -u
}
exported() {
  nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sort -u
}
exported_functions() {
  nm -D --defined-only "$library" | awk '$2 == "T" { print $3 }' | sort -u
}

at_most() { # at_most COUNT LIMIT
  [ "$1" -le "$2" ] || { echo "there are $1"; return 1; }
}
exports_what_is_declared() {
  local difference
  difference=$(comm -3 --output-delimiter=' exported only: ' <(declared) <(exported))
  [ -z "$difference" ] || { echo "$difference"; return 1; }
}

# A comment stands above a function, or above the first of a group without blank lines between.
each_is_described() {
  awk '
    FNR == 1 { described = 0; inside = 0 }
    /^ *\/\*/ { inside = 1 }
    inside { described = 1 }
    /\*\// { inside = 0; next }
    inside { next }
    /^ *$/ { described = 0; next }
    /^[a-zA-Z].*[ *]nk_[a-z0-9_]+\(/ && !/^(typedef|static|#)/ && !described {
      print FILENAME ":" FNR ": " $0
      bad = 1
    }
    END { exit bad }' include/noken/*.h
}

if grep -qE '^NK_API ' include/noken/*.h; then
  headers=(include/noken/*.h)
  check "each public function is described" each_is_described
  check "at most $max_headers public headers" at_most ${#headers[@]} $max_headers
  check "at most $max_functions exported functions" \
    at_most "$(exported_functions | wc -l)" $max_functions
  check "the library exports what the headers declare with NK_API" exports_what_is_declared
else
  skip "the public headers and what the library exports" "no function is declared with NK_API"
fi
end
