/* The choice of OpenBLAS's kernels by the processor's instructions. */
#include "base/blas.h"
#include "unit.h"

#include <noken/base.h>

enum {
  NEHALEM = NKI_CPU_SSE42,
  SANDYBRIDGE = NEHALEM | NKI_CPU_AVX,
  HASWELL = SANDYBRIDGE | NKI_CPU_AVX2_FMA,
  SKYLAKEX = HASWELL | NKI_CPU_AVX512
};

/* What OpenBLAS 0.3.21 does on family 6, model 207 (Emerald Rapids). */
static void the_slowest_kernels_are_replaced_by_what_the_processor_has(void **state) {
  (void)state;
  assert_string_equal(nki_blas_faster("Prescott", SKYLAKEX), "SkylakeX");
  assert_string_equal(nki_blas_faster("Prescott", HASWELL), "Haswell");
  assert_string_equal(nki_blas_faster("Prescott", SANDYBRIDGE), "Sandybridge");
  assert_string_equal(nki_blas_faster("Prescott", NEHALEM), "Nehalem");
  assert_string_equal(nki_blas_faster("Haswell", SKYLAKEX), "SkylakeX");
}

static void a_right_choice_is_left_alone(void **state) {
  (void)state;
  assert_null(nki_blas_faster("Prescott", 0));
  assert_null(nki_blas_faster("SkylakeX", SKYLAKEX));
  assert_null(nki_blas_faster("Cooperlake", SKYLAKEX));
  assert_null(nki_blas_faster("Zen", HASWELL));
  assert_null(nki_blas_faster("Haswell", HASWELL));
  assert_null(nki_blas_faster("Excavator", SANDYBRIDGE));
}

/* Masked instructions (a hypervisor's choice) bound what is taken. */
static void kernels_that_the_processor_lacks_are_never_named(void **state) {
  (void)state;
  assert_null(nki_blas_faster("Haswell", SANDYBRIDGE | NKI_CPU_AVX2_FMA));
  assert_string_equal(nki_blas_faster("Nehalem", SANDYBRIDGE), "Sandybridge");
}

static void a_core_type_that_is_not_known_is_left_alone(void **state) {
  (void)state;
  assert_null(nki_blas_faster("GraniteRapids", SKYLAKEX));
  assert_null(nki_blas_faster("ARMV8", 0));
}

static void the_kernels_in_use_have_a_name(void **state) {
  (void)state;
  assert_true(nk_blas_kernels()[0] != 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_slowest_kernels_are_replaced_by_what_the_processor_has),
      cmocka_unit_test(a_right_choice_is_left_alone),
      cmocka_unit_test(kernels_that_the_processor_lacks_are_never_named),
      cmocka_unit_test(a_core_type_that_is_not_known_is_left_alone),
      cmocka_unit_test(the_kernels_in_use_have_a_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
