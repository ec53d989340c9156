#!/bin/bash
# memory.sh [--full]: what the tools have in memory, beside what their shapes say on paper, on
# made-up models. A tool that holds more than 1/20 and 64 MiB above paper, as one does that copies a
# whole matrix, is a failure.
#
# Short: a Llama of 32,768 tokens of 1,024, 8 blocks; seconds. --full: a matrix of 262,144 x 8,192,
# then the shape of Llama 2 7B, as far as 24 GiB of memory and 30 GB of disk (TMPDIR) reach; half an
# hour. What a tool has of its own counts; pages of mapped files are the kernel's to take back.
# Prints TAP; noken-models(7) has figures of --full.
#
# Needs the tools in PATH. Runs from the root of the repository.
set -uo pipefail
. tests/runners/tap.sh
full=false
[ "${1-}" = --full ] && full=true
export OMP_NUM_THREADS=2 # each thread has buffers of its own
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CC-cc}" -std=gnu11 -O2 -o "$work/memory" tests/runners/memory.c || exit 1
n=32768 d=1024 layers=8 mlp=2816
matrix=$work/model model=$work/model
if $full; then
  n=262144 d=8192
  matrix=$work/matrix
fi

# measure NAME BYTES COMMAND...: the command has at most BYTES on paper.
measure() {
  local name=$1 paper=$(($2 >> 20)) output own files both seconds
  shift 2
  if ! output=$("$work/memory" run "$@" 2>"$work/errors"); then
    not_ok "$name" "$(cat "$work/errors")"
    return
  fi
  read -r own files both seconds <<<"$output"
  own=$((own >> 10))
  output="$own MiB, on paper $paper; with $((files >> 10)) of files at most $((both >> 10))"
  output+="; $seconds s"
  if [ "$own" -le $((paper + paper / 20 + 64)) ]; then
    ok "$name: $output"
  else
    not_ok "$name" "$output"
  fi
}

# ---- One matrix ----

if $full; then
  "$work/memory" make "$matrix" "$n" "$d" 0 0 || exit 1
else
  "$work/memory" make "$model" "$n" "$d" "$layers" "$mlp" || exit 1
fi
values=$((4 * n * d)) square=$((d * d))
set=$work/set few=$work/few
nk-extract -q --no-text "$matrix" -o "$set" && nk-extract -q "$matrix" --ids 100-299 -o "$few" ||
  exit 1
block=$((4 * d * (d < 1024 ? 8192 : d < 2048 ? 2048 : 1024))) # of rows, as floats
columns=$((64 * n))                                       # of a row's numbers

measure "nk-extract" $((16 * n)) nk-extract -q --no-text "$matrix"
measure "nk-stats of a file" $((12 * square + block + columns)) nk-stats -q --summary "$set"
measure "nk-stats of a pipe" $((values + 12 * square + block + columns)) \
  nk-stats -q --summary < <(nk-extract -q --no-text "$matrix")
measure "nk-pca" $((8 * square + block + columns)) nk-pca -q "$set"
drawn=$((4 * 4096 * d)) # of input_knn
measure "nk-glitch" $((values + 24 * square + 2 * block + 200 * n + drawn + (48 << 20))) \
  nk-glitch -q "$matrix"
part=$((values < 160 << 20 ? values : 160 << 20)) # of the rows
measure "nk-knn of 200 rows" $((part + columns)) nk-knn -q --query "$few" "$set"
measure "nk-region fit, mahalanobis" $((values + 12 * square + block + columns)) \
  nk-region fit -q --kind mahalanobis "$set"
measure "nk-region fit, subspace" $((values + 32 * square + block + columns)) \
  nk-region fit -q --kind subspace "$set"

# ---- A forward pass ----

if $full; then
  rm -rf "$matrix" "$set" "$few"
  n=32000 d=4096 layers=32 mlp=11008
  "$work/memory" make "$model" "$n" "$d" "$layers" "$mlp" &&
    nk-extract -q "$model" --ids 100-299 -o "$few" || exit 1
fi
weights=$((4 * (4 * d * d + 3 * d * mlp))) # of a block, as floats
rows=$((4 * 600 * (7 * d + 2 * mlp)))       # of the positions that are computed
measure "nk-run of 200 vectors" $((weights + 4 * 4096 * d + rows)) \
  nk-run -q --unverified --reference 8 -p 'aaaab{}aaaac' "$model" "$few"
end
