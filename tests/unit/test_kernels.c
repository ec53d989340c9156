/* The choice of OpenBLAS's kernels by the processor's instructions, and the loops of the forward
 * pass that are not matrix products. */
#include "base/blas.h"
#include "forward/internal.h"
#include "unit.h"

#include <math.h>
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

/* ---- Activations (lib/forward/kernels.c) ---- */

/* Relative to double precision: the function's own rounding, and that of the exponential's argument
 * in float: five operations and two constants, each to 2^-24 where nothing is fused. The smallest
 * values are of the order of 1e-37: nothing is denormal. */
static void assert_activation(enum nki_activation f, double (*exponent)(double x)) {
  enum { N = 1 << 16 };
  static float x[N];
  const struct nki_activating activating = {.f = f, .width = N, .ld = N};
  for (size_t i = 0; i < N; i++) x[i] = (float)((double)i * (24.0 / N) - 12);
  nki_activate(&activating, x, 1);
  for (size_t i = 0; i < N; i++) {
    double in = (double)(float)((double)i * (24.0 / N) - 12), e = exponent(in);
    double expected = in / (1 + exp(e)), error = fabs((double)x[i] - expected);
    if (e > 87) continue; /* beyond the range of the float exponential */
    if (!(error <= (4e-7 + 7 * 0x1p-24 * fabs(e)) * fabs(expected)))
      fail_msg("activation %d of %.9g: %.9g, expected %.9g", f, in, (double)x[i], expected);
  }
}

static double gelu_tanh_exponent(double x) {
  return -2 * 0.7978845608028654 * (x + 0.044715 * x * x * x);
}

static double silu_exponent(double x) {
  return -x;
}

static double quick_gelu_exponent(double x) {
  return -1.702 * x;
}

static void activations_are_those_of_double_precision(void **state) {
  (void)state;
  assert_activation(NKI_GELU_TANH, gelu_tanh_exponent);
  assert_activation(NKI_SILU, silu_exponent);
  assert_activation(NKI_QUICK_GELU, quick_gelu_exponent);
}

static void activations_of_what_is_not_finite(void **state) {
  float x[3] = {NAN, INFINITY, -1e30f};
  const struct nki_activating activating = {.f = NKI_SILU, .width = 3, .ld = 3};
  (void)state;
  nki_activate(&activating, x, 1);
  assert_true(isnan(x[0]) && isinf(x[1]) && fabsf(x[2]) < 1e-7f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_slowest_kernels_are_replaced_by_what_the_processor_has),
      cmocka_unit_test(a_right_choice_is_left_alone),
      cmocka_unit_test(kernels_that_the_processor_lacks_are_never_named),
      cmocka_unit_test(a_core_type_that_is_not_known_is_left_alone),
      cmocka_unit_test(the_kernels_in_use_have_a_name),
      cmocka_unit_test(activations_are_those_of_double_precision),
      cmocka_unit_test(activations_of_what_is_not_finite),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
