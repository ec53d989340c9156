#!/bin/bash
# test.sh [--long] [--bench]: builds, then runs every test; the last line counts them.
#   --long   everything under the sanitizers, fuzzing for minutes (with libFuzzer where clang has
#            it), and a build with gcc and with clang in which a warning is an error
#   --bench  the programs of tests/bench instead of the tests: ratios of times
set -euo pipefail
cd "$(dirname "$0")"

long=no bench=no
for argument in "$@"; do
  case $argument in
    --long) long=yes ;;
    --bench) bench=yes ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "usage: test.sh [--long] [--bench]" >&2
      exit 2
      ;;
  esac
done

./setup.sh
jobs=$(nproc)
passed=0 failed=0 skipped=0
notes=() legs=()

count() { # count PASSED FAILED SKIPPED
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# run_tests LEG BUILD [CTEST OPTION]...: the tests of a build folder, counted case by case.
run_tests() {
  local leg=$1 build=$2 line status=0
  shift 2
  echo "== $leg"
  rm -f "$build/Testing/Temporary/LastTest.log"
  CMOCKA_MESSAGE_OUTPUT=TAP ctest --test-dir "$build" -j "$jobs" --output-on-failure "$@" ||
    status=$?
  local before=$failed
  while IFS= read -r line; do
    case $line in
      count\ *)
        read -r _ p f s <<<"$line"
        count "$p" "$f" "$s"
        legs+=("$leg: $p passed, $f failed, $s skipped")
        ;;
      *) notes+=("$line") ;;
    esac
  done < <(awk -f tests/runners/count.awk -v leg="$leg" "$build/Testing/Temporary/LastTest.log")
  if [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ]; then
    notes+=("FAILED: $leg: ctest ended with status $status")
    count 0 1 0
  fi
}

# try NAME COMMAND...: one case, passed when the command succeeds.
try() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then
    count 1 0 0
  else
    notes+=("FAILED: $name")
    count 0 1 0
  fi
}

skip() { # skip NAME REASON
  notes+=("skipped: $1: $2")
  count 0 0 1
}

# A build beside the main one, with the sources of FAISS's C API that are there already.
build_in() { # build_in FOLDER PRESET [CMAKE OPTION]...
  local folder=$1 preset=$2
  shift 2
  cmake --preset "$preset" -B "$folder" --log-level=WARNING "$@" >/dev/null &&
    ninja -C "$folder" --quiet
}

run_benchmarks() {
  unset OPENBLAS_CORETYPE # the machine as it is
  local program
  for program in build/bin/bench_*; do
    [ -x "$program" ] || continue
    try "${program##*/}" "$program"
  done
}

run_all_tests() {
  run_tests tests build

  local sanitized="^(test_|fuzz_)|^cli_nk-(extract|convert|stats|tokens)"
  [ $long = no ] || sanitized=.
  echo "== building with sanitizers"
  if build_in build-asan asan; then
    NOKEN_FUZZ_SECONDS=$([ $long = yes ] && echo 60 || echo 4) \
      run_tests "sanitizers" build-asan -R "$sanitized"
  else
    try "build with sanitizers" false
  fi
}

clang_has_openmp() {
  echo '#include <omp.h>' | clang -fopenmp -x c - -shared -o /dev/null 2>/dev/null
}

# Guided by coverage, from the corpus and from what earlier runs found.
fuzz_with_clang() {
  local program format found
  build_in build-fuzz fuzz || return
  for program in build-fuzz/bin/fuzz_*; do
    format=${program##*/fuzz_}
    found=build-fuzz/found/$format
    mkdir -p "$found"
    echo "-- $format"
    OMP_NUM_THREADS=1 "$program" -max_total_time=60 -max_len=8192 -timeout=20 -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="build-fuzz/crash-$format-" \
      "$found" "tests/fuzz/corpus/$format" 2>&1 || return
  done
}

run_long_tests() {
  local warnings=(-DCMAKE_COMPILE_WARNING_AS_ERROR=ON)
  try "build with gcc, warnings are errors" \
    build_in build-gcc debug -DCMAKE_C_COMPILER=gcc "${warnings[@]}"
  if command -v clang >/dev/null && clang_has_openmp; then
    try "build with clang, warnings are errors" build_in build-clang debug \
      -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ "${warnings[@]}"
    try "fuzzing with libFuzzer" fuzz_with_clang
  else
    skip "build with clang, fuzzing with libFuzzer" \
      "needs the packages clang, libomp-dev and libclang-rt-14-dev"
  fi
}

if [ $bench = yes ]; then
  run_benchmarks
else
  run_all_tests
  [ $long = no ] || run_long_tests
fi

echo
[ ${#notes[@]} -eq 0 ] || printf '%s\n' "${notes[@]}"
[ ${#legs[@]} -eq 0 ] || printf '%s\n' "${legs[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
