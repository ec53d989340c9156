#!/bin/bash
# coverage.sh BUILD: the share of lines that ran, by folder, from an instrumented build whose tests
# have run. The share of each file is in BUILD/coverage.csv.
set -euo pipefail
build=$1
gcovr --root . --object-directory "$build" --filter 'lib/' --filter 'tools/' \
  --exclude-directories '.*/CompilerIdC(XX)?' -j "$(nproc)" --csv --output "$build/coverage.csv" \
  "$build" >"$build/gcovr.log" 2>&1 || {
  cat "$build/gcovr.log"
  exit 1
}
awk -F , '
  function row(name, part, whole) {
    printf "%-14s %7d %7d %6.1f%%\n", name, whole, part, 100 * part / whole
  }
  NR == 1 { next } # the names of the columns
  {
    folder = $1
    sub(/\/[^\/]*$/, "", folder)
    if (!(folder in lines)) order[n++] = folder
    lines[folder] += $2
    run[folder] += $3
    all_lines += $2
    all_run += $3
  }
  END {
    if (all_lines == 0) exit 1
    printf "%-14s %7s %7s %7s\n", "folder", "lines", "run", "share"
    for (i = 0; i < n; i++) row(order[i], run[order[i]], lines[order[i]])
    row("all", all_run, all_lines)
  }' "$build/coverage.csv"
echo "each file: $build/coverage.csv"
