#!/bin/bash
# bench-results.sh LOG...: records the ratios of benchmarks, whose output is in LOG (its name is the
# benchmark's), in tests/bench/results.tsv, and prints the lines that became more than 10% slower
# than at the last recorded commit of the same processor, kernels and number of threads.
#
# The table has one row for each commit, processor, kernels, number of threads and line. Rows
# recorded before for the same are replaced. Newer rows follow older ones. A commit is marked
# "-dirty" when the tree differs from it.
set -euo pipefail
cd "$(dirname "$0")/../.."
results=${NOKEN_BENCH_RESULTS:-tests/bench/results.tsv}

commit=unknown
if git rev-parse -q --verify HEAD >/dev/null 2>&1; then
  commit=$(git rev-parse --short=10 HEAD)
  [ -z "$(git status --porcelain --untracked-files=no -- . ":!$results")" ] || commit+=-dirty
fi
[ -f "$results" ] ||
  printf 'commit\tprocessor\tkernels\tthreads\tbench\tline\tratio\tbar\n' >"$results"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
awk -v OFS='\t' -v commit="$commit" '
  FNR == 1 { bench = FILENAME; sub(/.*\//, "", bench); sub(/\.[^.]*$/, "", bench) }
  /^on .*; kernels .*; [0-9]+ threads$/ {
    split(substr($0, 4), machine, "; ")
    sub(/^kernels /, "", machine[2])
    sub(/ threads$/, "", machine[3])
  }
  /^ratio .* limit [0-9.]+ (ok|over)$/ && (3 in machine) {
    name = $2
    for (i = 3; i < NF - 3; i++) name = name " " $i
    print commit, machine[1], machine[2], machine[3], bench, name, $(NF - 3), $(NF - 1)
  }' "$@" >"$new"
if [ ! -s "$new" ]; then
  echo "no ratios to record"
  exit 0
fi

awk -F '\t' '
  function machine() { return $2 FS $3 FS $4 FS $5 FS $6 }
  NR == FNR { fresh[$1 FS machine()] = 1; next }
  !($1 FS machine() in fresh)' "$new" "$results" >"$new.kept"
trap 'rm -f "$new" "$new.kept"' EXIT

# The rows kept are in the order of their recording: the last one of a line is what to compare with.
awk -F '\t' '
  function machine() { return $2 FS $3 FS $4 FS $5 FS $6 }
  NR == FNR { last[machine()] = $7; at[machine()] = $1; next }
  machine() in last {
    n++
    if ($7 > 1.1 * last[machine()]) {
      slower++
      printf "slower: %s %s: %s, was %s at %s\n", $5, $6, $7, last[machine()], at[machine()]
    }
  }
  END {
    printf "%d ratios recorded, %d compared with an earlier commit, %d more than 10%% slower\n",
      FNR, n, slower
  }' "$new.kept" "$new"
cat "$new.kept" "$new" >"$results"
