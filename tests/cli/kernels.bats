#!/usr/bin/env bats
# The kernels of OpenBLAS. A preloaded function gives what OpenBLAS chooses for a processor that is
# newer than it is.

setup_file() {
  cat >"$BATS_FILE_TMPDIR/old.c" <<'C'
#include <stdlib.h>
char *openblas_get_corename(void) {
  const char *asked = getenv("OPENBLAS_CORETYPE");
  return asked != NULL ? (char *)asked : "Prescott";
}
C
  cc -shared -fPIC -o "$BATS_FILE_TMPDIR/old.so" "$BATS_FILE_TMPDIR/old.c"
}

setup() {
  unset OPENBLAS_CORETYPE NOKEN_OPENBLAS_CHOICE
  export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 # another is preloaded
}

has_avx2() {
  grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo
}

@test "the slowest kernels are replaced by those that the processor can run" {
  has_avx2 || skip "the processor has no AVX2"
  LD_PRELOAD=$BATS_FILE_TMPDIR/old.so run nk-stats --version
  [ "$status" -eq 0 ]
  [[ ${lines[1]} =~ ^"OpenBLAS kernels: "(SkylakeX|Haswell)", chosen by noken: OpenBLAS does not know this processor and chose Prescott"$ ]]
}

@test "the user's own choice is kept" {
  OPENBLAS_CORETYPE=Prescott LD_PRELOAD=$BATS_FILE_TMPDIR/old.so run nk-stats --version
  [ "$status" -eq 0 ]
  [ "${lines[1]}" = "OpenBLAS kernels: Prescott, set by OPENBLAS_CORETYPE" ]
}

@test "arguments, input and output pass through the second start" {
  has_avx2 || skip "the processor has no AVX2"
  nk-extract data/gpt2-tiny --ids 3,300 | nk-stats >"$BATS_TEST_TMPDIR/plain.tsv"
  nk-extract data/gpt2-tiny --ids 3,300 |
    LD_PRELOAD=$BATS_FILE_TMPDIR/old.so nk-stats >"$BATS_TEST_TMPDIR/again.tsv"
  [ -s "$BATS_TEST_TMPDIR/plain.tsv" ]
  cmp "$BATS_TEST_TMPDIR/plain.tsv" "$BATS_TEST_TMPDIR/again.tsv"
}
