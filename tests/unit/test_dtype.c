/* Element types: widening against the formats' own formulas, narrowing back, single elements. */
#include "unit.h"

#include <math.h>

#include "model/dtype.h"
#include "model/widen.h"

/* The value of an IEEE 754 binary16 by its definition. */
static double half_value(unsigned bits) {
  double sign = bits & 0x8000 ? -1 : 1;
  int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * ldexp(mantissa, -24);
  return sign * ldexp(1024 + mantissa, exponent - 25);
}

/* The value of a bfloat16 by its definition: binary32's exponent, 7 bits of mantissa. */
static double bfloat_value(unsigned bits) {
  double sign = bits & 0x8000 ? -1 : 1;
  int exponent = (int)(bits >> 7 & 255), mantissa = (int)(bits & 127);
  if (exponent == 255) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * ldexp(mantissa, -133);
  return sign * ldexp(128 + mantissa, exponent - 134);
}

static void assert_same(double got, double wanted, unsigned bits) {
  bool same = isnan(wanted) ? isnan(got) : got == wanted && signbit(got) == signbit(wanted);
  if (!same) fail_msg("0x%04x: %a instead of %a", bits, got, wanted);
}

static void every_half_and_bfloat_widens_exactly_with_every_instruction_set(void **state) {
  (void)state;
  static uint16_t all[65536];
  static float out[65536];
  for (unsigned i = 0; i < 65536; i++) all[i] = (uint16_t)i;
  for (size_t k = 0; k < nki_n_widen_kernels; k++) {
    const struct nki_widen_kernels *kernels = &nki_widen_kernels[k];
    if (!kernels->runs_here()) {
      print_message("[          ] not run: %s (this processor has it not)\n", kernels->name);
      continue;
    }
    kernels->f16((const unsigned char *)all, 65536, out);
    for (unsigned i = 0; i < 65536; i++) assert_same((double)out[i], half_value(i), i);
    kernels->bf16((const unsigned char *)all, 65536, out);
    for (unsigned i = 0; i < 65536; i++) assert_same((double)out[i], bfloat_value(i), i);
  }
}

static void widening_takes_any_length_and_alignment(void **state) {
  (void)state;
  unsigned char bytes[2 * 41 + 1];
  float out[41];
  for (size_t offset = 0; offset < 2; offset++) {
    for (size_t n = 0; n <= 40; n++) {
      for (size_t i = 0; i < n; i++) {
        uint16_t half = nki_f16_of_float((float)i - 7);
        memcpy(bytes + offset + 2 * i, &half, 2);
      }
      out[n] = 99;
      assert_int_equal(nki_widen(NK_F16, bytes + offset, n, out), NK_OK);
      for (size_t i = 0; i < n; i++) assert_true(out[i] == (float)i - 7);
      assert_true(out[n] == 99);
    }
  }
}

static void doubles_beyond_a_float_become_infinities(void **state) {
  (void)state;
  static const double source[4] = {1e300, -1e300, 0.1, 1e-300};
  float out[4];
  assert_int_equal(nki_widen(NK_F64, source, 4, out), NK_OK);
  assert_true(out[0] == INFINITY && out[1] == -INFINITY && out[2] == 0.1f && out[3] == 0);
  assert_int_equal(nki_widen(NK_I64, source, 4, out), NK_EUNSUPPORTED);
  assert_non_null(strstr(nk_error(), "I64"));
}

/* The nearest of all 16-bit values, ties to the even one, found by looking at the neighbours. */
static void check_nearest(float value, uint16_t got, double (*value_of)(unsigned)) {
  double distance = fabs(value_of(got) - (double)value);
  for (int step = -1; step <= 1; step += 2) {
    unsigned other = (unsigned)(got + step) & 0xffff;
    if (!isfinite(value_of(other)) || (other & 0x8000) != (got & 0x8000u)) continue;
    double far = fabs(value_of(other) - (double)value);
    if (far < distance || (far == distance && (got & 1)))
      fail_msg("%a: 0x%04x is not the nearest, 0x%04x is nearer", (double)value, got, other);
  }
}

static void narrowing_rounds_to_the_nearest_and_ties_to_even(void **state) {
  (void)state;
  for (unsigned i = 0; i < 65536; i++) {
    if (!isnan(half_value(i))) assert_int_equal(nki_f16_of_float((float)half_value(i)), i);
    if (!isnan(bfloat_value(i))) assert_int_equal(nki_bf16_of_float((float)bfloat_value(i)), i);
    double half = half_value(i), bfloat = bfloat_value(i);
    if (isfinite(half_value(i + 1)) && isfinite(half)) { /* the tie between two */
      float middle = (float)((half + half_value(i + 1)) / 2);
      check_nearest(middle, nki_f16_of_float(middle), half_value);
      check_nearest(nextafterf(middle, 0), nki_f16_of_float(nextafterf(middle, 0)), half_value);
    }
    if (isfinite(bfloat_value(i + 1)) && isfinite(bfloat)) {
      float middle = (float)((bfloat + bfloat_value(i + 1)) / 2);
      check_nearest(middle, nki_bf16_of_float(middle), bfloat_value);
    }
  }
  assert_int_equal(nki_f16_of_float(65519.996f), 0x7bff); /* IEEE 754: over 65519.99.. rounds up */
  assert_int_equal(nki_f16_of_float(65520), 0x7c00);
  assert_int_equal(nki_f16_of_float(0x1p-25f), 0);
  assert_int_equal(nki_f16_of_float(nextafterf(0x1p-25f, 1)), 1);
  assert_true(isnan(half_value(nki_f16_of_float(NAN))));
  assert_true(isnan(bfloat_value(nki_bf16_of_float(NAN))));
}

static void elements_are_read_as_what_they_are(void **state) {
  (void)state;
  static const int8_t bytes[2] = {-1, 7};
  static const uint32_t words[2] = {4000000000u, 1};
  static const uint64_t large = UINT64_MAX;
  static const double numbers[4] = {-2.9, 1e30, -1e30, 2.9};
  assert_int_equal(nki_element_integer(NK_I8, bytes, 0), -1);
  assert_int_equal(nki_element_integer(NK_U8, bytes, 0), 255);
  assert_int_equal(nki_element_integer(NK_BOOL, bytes, 1), 1);
  assert_true(nki_element_integer(NK_U32, words, 0) == 4000000000);
  assert_true(nki_element_integer(NK_U64, &large, 0) == INT64_MAX);
  assert_true(nki_element_number(NK_U64, &large, 0) == 0x1p64);
  assert_int_equal(nki_element_integer(NK_F64, numbers, 0), -2);
  assert_true(nki_element_integer(NK_F64, numbers, 1) == INT64_MAX);
  assert_true(nki_element_integer(NK_F64, numbers, 2) == INT64_MIN);
  /* OCP 8-bit floating point: the largest numbers, the least, and what is none */
  static const uint8_t e4m3[] = {0x7e, 0x01, 0xb8, 0x7f}, e5m2[] = {0x7b, 0x01, 0xbc, 0x7c, 0x7d};
  assert_true(nki_element_number(NK_F8_E4M3, e4m3, 0) == 448);
  assert_true(nki_element_number(NK_F8_E4M3, e4m3, 1) == 0x1p-9);
  assert_true(nki_element_number(NK_F8_E4M3, e4m3, 2) == -1);
  assert_true(isnan(nki_element_number(NK_F8_E4M3, e4m3, 3)));
  assert_true(nki_element_number(NK_F8_E5M2, e5m2, 0) == 57344);
  assert_true(nki_element_number(NK_F8_E5M2, e5m2, 1) == 0x1p-16);
  assert_true(nki_element_number(NK_F8_E5M2, e5m2, 2) == -1);
  assert_true(nki_element_number(NK_F8_E5M2, e5m2, 3) == INFINITY);
  assert_true(isnan(nki_element_number(NK_F8_E5M2, e5m2, 4)));
}

static void the_first_value_that_is_not_finite_is_found(void **state) {
  (void)state;
  float x[1000];
  for (int i = 0; i < 1000; i++) x[i] = (float)i * 1e35f;
  assert_int_equal(nki_first_not_finite(x, 0), 0);
  assert_int_equal(nki_first_not_finite(x, 300), 300);
  for (size_t at = 0; at < 300; at += 7) {
    float kept = x[at];
    x[at] = at % 2 ? NAN : -INFINITY;
    assert_int_equal(nki_first_not_finite(x, 300), at);
    x[at] = kept;
  }
}

static void names_of_types_come_back(void **state) {
  (void)state;
  for (int i = 0; i < NK_Q4_0; i++) {
    const char *name = nk_dtype_names[(enum nk_dtype)i];
    assert_int_equal(nki_dtype_of_name(name, strlen(name)), i);
  }
  assert_int_equal(nki_dtype_of_name("Q4_0", 4), NK_OTHER); /* GGUF's alone */
  assert_int_equal(nki_dtype_of_name("F3", 2), NK_OTHER);
  assert_int_equal(nki_dtype_of_name("F322", 4), NK_OTHER);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_half_and_bfloat_widens_exactly_with_every_instruction_set),
      cmocka_unit_test(widening_takes_any_length_and_alignment),
      cmocka_unit_test(doubles_beyond_a_float_become_infinities),
      cmocka_unit_test(narrowing_rounds_to_the_nearest_and_ties_to_even),
      cmocka_unit_test(elements_are_read_as_what_they_are),
      cmocka_unit_test(the_first_value_that_is_not_finite_is_found),
      cmocka_unit_test(names_of_types_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
