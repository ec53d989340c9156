#!/bin/bash
# faults.sh [--all]: what the tools do when the system fails them. A library for LD_PRELOAD
# (faults.c) makes one allocation, write, read, open, mmap, rename or close fail, in turn for the
# calls of each tool on a tiny model: a dozen of each kind, with --all every one. The tool has to end
# with status 0 and the output it has without a fault, or with status 1 or 2, one line on standard
# error and the old file. Then: kill -9 while a file is written, a file that becomes shorter while it
# is mapped, a limit on the size of files, and one file as input and output. Prints TAP.
#
# Needs the tools in PATH; NOKEN_BUILD is the build folder. Runs from the root of the repository.
set -uo pipefail
. tests/runners/tap.sh
most=12
[ "${1-}" = --all ] && most=1000000
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$work/faults.so
# One thread, so that calls come in one order; the choice of kernels starts a tool twice.
export OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=${OPENBLAS_CORETYPE-Haswell}
"${CC-cc}" -std=gnu11 -O1 -fPIC -shared -o "$library" tests/runners/faults.c -ldl || exit 1
cd "$work" || exit 1

# ---- A tiny model and what the tools read ----

cp -r "$root/tests/fixtures/forward/gpt2" model
awk 'BEGIN { # letters a to h, and 32 pairs of them
  printf "{\"normalizer\":null,\"post_processor\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
  printf "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"unk_token\":null,\"vocab\":{"
  for (i = 0; i < 8; i++) printf "%s\"%c\":%d", i ? "," : "", 97 + i, i
  for (i = 0; i < 32; i++) printf ",\"%c%c\":%d", 97 + int(i / 8), 97 + i % 8, 8 + i
  printf "},\"merges\":["
  for (i = 0; i < 32; i++) printf "%s\"%c %c\"", i ? "," : "", 97 + int(i / 8), 97 + i % 8
  print "]},\"added_tokens\":[]}"
}' >model/tokenizer.json
{
  nk-extract -q model -o set.safetensors &&
    nk-region fit set.safetensors -o region.safetensors &&
    nk-sample region.safetensors -n 2 --quantile 0.5 -o nokens.safetensors &&
    nk-stats set.safetensors -o stats.tsv &&
    nk-stats set.safetensors --json -o stats.json
} || { not_ok "the tools run without a fault" "they do not"; end; exit; }

commands=(
  "nk-extract -q model -o out"
  "nk-tokens -q model -o out"
  "nk-tokens -q --encode abcdefgh model -o out"
  "nk-stats -q set.safetensors -o out"
  "nk-pca -q set.safetensors -o out"
  "nk-knn -q -k 3 set.safetensors -o out"
  "nk-glitch -q model -o out"
  "nk-verify -q -p h{}h model stats.tsv -o out"
  "nk-verify -q -p h{}h model stats.json -o out"
  "nk-region -q fit set.safetensors -o out"
  "nk-region -q fit --kind knn set.safetensors -o out"
  "nk-region -q score region.safetensors set.safetensors -o out"
  "nk-region -q ellipse region.safetensors -o out"
  "nk-region -q info region.safetensors -o out"
  "nk-sample -q region.safetensors -n 2 --quantile 0.5 -o out"
  "nk-sample -q region.safetensors --match stats.tsv --vectors set.safetensors -o out"
  "nk-run -q model -p h{}h nokens.safetensors -o out"
  "nk-run -q model -p h{}h --generate 3 nokens.safetensors -o out"
  "nk-plot -q histogram -x norm stats.tsv --format svg -o out"
  "nk-convert -q --to tsv set.safetensors -o out"
  "nk-convert -q --to npy set.safetensors -o out"
  "nk-convert -q --model gguf model -o out"
)

# ---- One call fails ----

# run_with KIND AT COMMAND...: the status is that of the command, which has 20 seconds.
run_with() {
  echo old >out
  timeout -s KILL 20 env FAULT_KIND="$1" FAULT_AT="$2" FAULT_COUNT="$work/count" \
    LD_PRELOAD="$library" "${@:3}" >printed 2>errors </dev/null
}

# What is wrong after a run that ended with status $1; nothing where all is right.
judge() {
  if [ "$1" -gt 2 ]; then
    echo "status $1"
  elif [ "$1" -eq 0 ]; then
    cmp -s out expected || echo "status 0 with another output"
  elif [ "$(wc -l <errors)" -ne 1 ] || ! grep -q '^nk-[a-z]*: .' errors; then
    echo "not one line on standard error"
  elif [ "$(cat out)" != old ]; then
    echo "the old file is gone"
  fi
  [ "$(find . -name 'out*' | wc -l)" -eq 1 ] || echo "a temporary file is left"
}

survives() { # survives KIND COMMAND...
  local kind=$1 calls step at status found bad=0
  shift
  run_with "$kind" 0 "$@" || { cat errors; return 1; }
  cp out expected
  calls=$(cat count)
  step=$(((calls + most - 1) / most))
  for ((at = calls > 0 ? 1 : 0; at > 0 && at <= calls; at += step)); do
    status=0
    run_with "$kind" "$at" "$@" || status=$?
    found=$(judge "$status")
    rm -f out.*
    [ -z "$found" ] && continue
    echo "$kind $at of $calls: $found: $(head -c 300 errors)"
    bad=$((bad + 1))
    [ "$bad" -lt 5 ] || break
  done
  [ "$bad" -eq 0 ]
}

for command in "${commands[@]}"; do
  read -ra words <<<"$command"
  for kind in alloc write read open map name close; do
    check "${command% -o out}: a failed $kind" survives "$kind" "${words[@]}"
  done
done
end
