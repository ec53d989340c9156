#!/bin/bash
# clang-tidy.sh BUILD: the checks of .clang-tidy over the library and the tools, as BUILD compiles
# them (by clang). Prints what is found; ends with status 1 if anything is.
set -euo pipefail
build=$1
runners=$PWD/tests/runners
definers='base/error\.c|geometry/blocks\.c'

# Not of interest: the commands, the counts of what was suppressed.
noise='^(/usr/bin/)?clang-tidy[-0-9]* |^[0-9]+ warnings? (and [0-9]+ errors? )?generated|^$'

tidy() { # tidy REGEX [OPTION]...
  local regex=$1
  shift
  run-clang-tidy -p "$build" -quiet -j "$(nproc)" "$@" "^$PWD/$regex" 2>&1
}

status=0
output=$(
  found=0
  # The files that define what clang-tidy.h replaces are read as they are.
  tidy "(lib|tools)/(?!$definers).*\.c\$" "-extra-arg=-include$runners/clang-tidy.h" || found=1
  tidy "lib/($definers)\$" || found=1
  exit $found
) || status=$?
sed 's/\x1b\[[0-9;]*m//g' <<<"$output" | grep -vE "$noise" || true
exit $status
