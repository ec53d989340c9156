#!/bin/bash
# coverage.sh BUILD: the share of lines that ran, by folder, out of an instrumented build whose
# tests have run. The same for each file is left in BUILD/coverage.csv.
set -euo pipefail
build=$1
gcovr --root . --object-directory "$build" --filter 'lib/' --filter 'tools/' -j "$(nproc)" \
  --csv --output "$build/coverage.csv" "$build" >&2
awk -F , '
  NR == 1 { next }
  {
    folder = $1
    sub(/\/[^\/]*$/, "", folder)
    lines[folder] += $2
    run[folder] += $3
    all_lines += $2
    all_run += $3
  }
  function row(name, part, whole) {
    printf "%-16s %7d %7d %6.1f%%\n", name, whole, part, 100 * part / whole
  }
  END {
    if (all_lines == 0) exit 1
    printf "%-16s %7s %7s %7s\n", "folder", "lines", "run", "share"
    for (folder in lines) row(folder, run[folder], lines[folder]) | "sort"
    close("sort")
    row("all", all_run, all_lines)
  }' "$build/coverage.csv"
echo "each file: $build/coverage.csv"
