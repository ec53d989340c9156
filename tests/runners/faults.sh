#!/bin/bash
# faults.sh [--all]: what the tools do when the system fails them. A library for LD_PRELOAD
# (faults.c) makes one allocation, write, read, open, mmap, rename or close fail, in turn for the
# calls of each tool on a tiny model: six of each kind, with --all up to 2000. The tool has to
# end with status 0 and the output it has without a fault, or with status 1 or 2, one line on
# standard error and the old file. What writes a folder is killed at each of these calls too, and
# has to write the same folder when it is run again. Then: kill -9 while a file is written, a file
# that becomes shorter while it is mapped, a limit on the size of files, and one file as input and
# output.
# Prints TAP.
#
# Needs the tools in PATH; NOKEN_BUILD is the build folder. Runs from the root of the repository.
set -uo pipefail
. tests/runners/tap.sh
most=6
[ "${1-}" = --all ] && most=2000
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
  for (i = 0; i < 8; i++) vocab = vocab sprintf("\"%c\":%d,", 97 + i, i)
  for (i = 0; i < 32; i++) {
    vocab = vocab sprintf("%s\"%c%c\":%d", i ? "," : "", 97 + int(i / 8), 97 + i % 8, 8 + i)
    merges = merges sprintf("%s\"%c %c\"", i ? "," : "", 97 + int(i / 8), 97 + i % 8)
  }
  printf "{\"added_tokens\":[],\"normalizer\":null,\"post_processor\":null,\"pre_tokenizer\":"
  printf "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
  printf "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"unk_token\":null,"
  printf "\"vocab\":{%s},\"merges\":[%s]}}\n", vocab, merges
}' >model/tokenizer.json
{
  nk-extract -q model -o set.safetensors &&
    nk-region fit set.safetensors -o region.safetensors &&
    nk-sample region.safetensors -n 2 --quantile 0.5 -o nokens.safetensors &&
    nk-sample region.safetensors -m radius --distance 1 --with-origin -o rays.safetensors &&
    nk-stats set.safetensors -o stats.tsv &&
    nk-stats set.safetensors --json -o stats.json &&
    nk-convert --to tsv set.safetensors -o set.tsv &&
    nk-extract -q model --ids 3-5 -o few.safetensors &&
    printf 'a\tb\n3\t5\n' >pairs.tsv &&
    head -n 2 stats.tsv >few.tsv &&
    cp "$root"/tests/fixtures/states/stack.{npz,safetensors} .
} || { not_ok "the tools run without a fault" "they do not"; end; exit; }

few_tokens="--unverified --reference 8 --level 0.2"
commands=(
  "nk-extract -q model -o out"
  "nk-tokens -q model -o out"
  "nk-tokens -q --decode 1-9 model -o out"
  "nk-tokens -q --encode abcdefgh model -o out"
  "nk-tokens -q --prune few.tsv model -o out"
  "nk-stats -q set.safetensors -o out"
  "nk-pca -q set.safetensors -o out"
  "nk-pca -q --project 2 set.safetensors -o out"
  "nk-knn -q -k 3 set.safetensors -o out"
  "nk-glitch -q model -o out"
  "nk-glitch -q --with stats.tsv model -o out"
  "nk-verify -q -p h{}h model stats.tsv -o out"
  "nk-verify -q -p h{}h model stats.json -o out"
  "nk-region -q fit set.safetensors -o out"
  "nk-region -q fit --kind knn set.safetensors -o out"
  "nk-region -q score region.safetensors set.safetensors -o out"
  "nk-region -q ellipse region.safetensors -o out"
  "nk-region -q info region.safetensors -o out"
  "nk-sample -q region.safetensors -n 2 --quantile 0.5 -o out"
  "nk-sample -q region.safetensors --match few.tsv --vectors set.safetensors -o out"
  "nk-sample -q region.safetensors --from-set few.safetensors -m radius --distance 1 -o out"
  "nk-sample -q region.safetensors --gaussian 5 -o out"
  "nk-sample -q --path slerp --pairs pairs.tsv --vectors set.safetensors region.safetensors -o out"
  "nk-sample -q -d gradient --model model -p h{}h --maximize entropy --quantile 0.5 \
    region.safetensors -o out"
  "nk-search -q model region.safetensors -p h{}h --maximize entropy --quantile 0.5 --restarts 2 \
    --steps 2 -o out"
  "nk-search -q model region.safetensors -p h{}h --p-value 0.2 --restarts 1 --steps 2 -o out"
  "nk-search -q model -p h{}h --top-directions 2 --from-set nokens.safetensors -o out"
  "nk-convert -q --cat nokens.safetensors nokens.safetensors -o out"
  "nk-convert -q --from npz stack.npz -o out"
  "nk-convert -q --from pt-safetensors stack.safetensors -o out"
  "nk-trace -q -p h{}h --ids 3 --unverified --ordinary 4 model nokens.safetensors -o out"
  "nk-summary -q --by text --median norm --resamples 100 stats.tsv -o out"
  "nk-summary -q --energy norm -c id --against stats.tsv --resamples 100 stats.tsv -o out"
  "nk-summary -q --kappa norm --items id --raters text --resamples 100 stats.tsv -o out"
  "nk-run -q model -p h{}h nokens.safetensors -o out"
  "nk-run -q model -p h{}h --at 1 --region region.safetensors nokens.safetensors -o out"
  "nk-run -q model -p h{}h --generate 3 nokens.safetensors -o out"
  "nk-boundary -q model -p h{}h --level 1e-6 rays.safetensors -o out"
  "nk-boundary -q model -p h{}h --level 1e-6 --dose --window 3 rays.safetensors -o out"
  "nk-compare -q -p h{}h $few_tokens --ordinary 8 -n 2 --quantile 0.5 --region region.safetensors \
    --only ordinary,nokens,streams,divergence model model -o out"
  "nk-compare -q -p h{}h $few_tokens --controls 4 --quantile 0.5 --searched 2 \
    --restarts 1 --steps 2 --region region.safetensors \
    --only searched,glitch --glitch few.tsv model model -o out"
  "nk-plot -q histogram -x norm stats.tsv --format svg -o out"
  "nk-convert -q --to tsv set.safetensors -o out"
  "nk-convert -q --to word2vec set.safetensors -o out"
  "nk-convert -q --to npy set.safetensors -o out"
  "nk-convert -q --to npy set.tsv -o out"
  "nk-convert -q --to npy $root/tests/fixtures/npy/set.npz -o out"
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

# each_call KIND TRY...: runs TRY... with the number of each call of the kind that the last run
# counted, or of `most` of them; it sets `found` to what is wrong.
each_call() {
  local kind=$1 calls step at found bad=0
  shift
  calls=$(cat count)
  step=$(((calls + most - 1) / most))
  for ((at = calls > 0 ? 1 : 0; at > 0 && at <= calls; at += step)); do
    "$@"
    [ -z "$found" ] && continue
    echo "$kind $at of $calls: $found: $(head -c 300 errors)"
    bad=$((bad + 1))
    [ "$bad" -lt 5 ] || break
  done
  [ "$bad" -eq 0 ]
}

fail_file() { # fail_file COMMAND...
  local status=0
  run_with "$kind" "$at" "$@" || status=$?
  found=$(judge "$status")
  rm -f out.*
}

survives() { # survives KIND COMMAND...
  run_with "$1" 0 "${@:2}" || { cat errors; return 1; }
  cp out expected
  each_call "$1" fail_file "${@:2}"
}

for command in "${commands[@]}"; do
  read -ra words <<<"$command"
  for kind in alloc write read open map name close; do
    check "${command% -o out}: a failed $kind" survives "$kind" "${words[@]}"
  done
done

# ---- Folders: one call fails, or the process is killed there ----

folder_commands=(
  "nk-convert -q --model hf --patch-rows few.tsv --with mean model"
  "nk-tune -q --nokens nokens.safetensors -p h{}h -p a{}h --train norms --steps 2 --batch 2 \
    --evaluate 2 model"
)

# What is wrong after a run that ended with status $1; nothing where all is right. Only a checkpoint
# may be left of a run that failed.
judge_folder() {
  if [ "$1" -gt 2 ]; then
    echo "status $1"
  elif [ "$1" -eq 0 ]; then
    diff -r folder expected-folder >/dev/null || echo "status 0 with another folder"
    [ "$(find . -maxdepth 1 -name 'folder*' | wc -l)" -eq 1 ] || echo "a file is left"
  else
    [ "$(wc -l <errors)" -eq 1 ] && grep -q '^nk-[a-z]*: .' errors ||
      echo "not one line on standard error"
    [ -z "$(find . -maxdepth 1 -name 'folder*' ! -name folder.checkpoint)" ] ||
      echo "a folder is left"
  fi
}

fail_folder() { # fail_folder COMMAND...
  local status=0
  rm -rf folder folder.*
  run_with "$kind" "$at" "$@" -o folder || status=$?
  found=$(judge_folder "$status")
}

kill_folder() { # kill_folder COMMAND...
  local status=0
  rm -rf folder folder.*
  FAULT_KILLS=1 run_with "$kind" "$at" "$@" -o folder || status=$?
  found=
  [ "$status" -eq 137 ] || found="status $status instead of a kill"
  status=0
  run_with none 0 "$@" -o folder || status=$?
  [ "$status" -eq 0 ] || found="status $status of the second run"
  found=${found:-$(judge_folder "$status")}
}

folder_survives() { # folder_survives fail_folder|kill_folder KIND COMMAND...
  rm -rf folder folder.* expected-folder
  run_with "$2" 0 "${@:3}" -o folder || { cat errors; return 1; }
  mv folder expected-folder
  each_call "$2" "$1" "${@:3}"
}

for command in "${folder_commands[@]}"; do
  read -ra words <<<"$command"
  for kind in alloc write read open map name close; do
    check "$command: a failed $kind" folder_survives fail_folder "$kind" "${words[@]}"
  done
  for kind in write open name close; do
    check "$command: kill -9 at a $kind, and a second run" \
      folder_survives kill_folder "$kind" "${words[@]}"
  done
done

# ---- kill -9 while a file is written ----

nk-convert -q --to tsv set.safetensors -o expected
# A file of 65,536 rows of 256 zeros, which take no space.
make_large() { # make_large FILE DTYPE BYTES-OF-A-NUMBER
  local header size=$((65536 * 256 * $3))
  header="{\"w\":{\"dtype\":\"$2\",\"shape\":[65536,256],\"data_offsets\":[0,$size]}}"
  printf '%b\0\0\0\0\0\0\0%s' "\\x$(printf %02x ${#header})" "$header" >"$1"
  truncate -s $((8 + ${#header} + size)) "$1"
}
make_large large F16 2

# Kills a tool after a few milliseconds, ten times: the old file stays, or the new one is complete.
old_or_complete() {
  local process delay
  mkdir complete
  nk-extract -q -m w --ids 0-8191 large -o complete/killed || return
  for delay in 10 18 26 34 42 50 58 66 74 82; do
    echo old >killed
    nk-extract -q -m w --ids 0-8191 large -o killed &
    process=$!
    sleep "0.0$((delay + RANDOM % 8))"
    kill -9 "$process" 2>/dev/null
    wait "$process" 2>/dev/null
    [ "$(wc -c <killed)" = 4 ] || cmp killed complete/killed || return
  done
}
check "kill -9 while a file is written: the old file or a complete one" old_or_complete

# ---- A file becomes shorter while it is mapped ----

ends_in_one_line() { # ends_in_one_line DTYPE BYTES-OF-A-NUMBER
  local statuses
  make_large shrinking "$1" "$2"
  nk-extract -q -m w shrinking 2>errors | {
    head -c 1000 >/dev/null
    truncate -s 4096 shrinking
    cat >/dev/null
  }
  statuses=${PIPESTATUS[0]}
  cat errors
  [ "$statuses" = 1 ] && [ "$(wc -l <errors)" = 1 ] && grep -q 'became shorter' errors
}
check "a file of F32 that becomes shorter while it is read: one line" ends_in_one_line F32 4
check "a file of F16 that becomes shorter while it is read: one line" ends_in_one_line F16 2

# ---- A limit on the size of files ----

is_too_large() { # is_too_large COMMAND...
  local status=0
  echo old >out
  (ulimit -f 1 && exec "$@" 2>&3) 3>errors || status=$?
  cat errors
  [ "$status" = 1 ] && grep -q 'File too large' errors && [ "$(cat out)" = old ]
}
check "a limit on the size of files: a message, and the old file" \
  is_too_large nk-convert -q --to tsv set.safetensors -o out
check "a limit on the size of files: a picture" \
  is_too_large nk-plot -q histogram -x norm stats.tsv --format svg -o out

# ---- One file as input and output ----

replaces_its_input() {
  nk-convert -q --to safetensors set.safetensors -o other
  cp set.safetensors both
  nk-convert -q --to safetensors both -o both || return
  nk-stats both | cmp - stats.tsv
}
check "-o that names the input replaces it" replaces_its_input

is_refused() { # is_refused FILE COMMAND: the file stays
  cp "$1" before
  bash -c "$2" 2>errors
  [ $? = 2 ] && cmp "$1" before && grep -q 'standard output is an input file' errors
}
check "output appended to the input is refused" is_refused both 'nk-stats both >>both'
check "output written over the input is refused" is_refused both 'nk-stats <both 1<>both'

# ---- Standard files that are closed ----

closed_files() {
  nk-stats -q set.safetensors -o one 2>&- <&- && cmp one stats.tsv || return
  nk-stats -q set.safetensors >&- 2>errors && return 1
  grep 'nk-stats: standard output: Bad file descriptor' errors
}
check "closed standard files: no other file takes their place" closed_files
end
