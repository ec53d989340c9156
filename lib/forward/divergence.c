/* Divergences of two distributions from their logits, small ones without cancellation.
 *
 * q is the baseline, p the other one, d = log(p / q) up to a constant: the logits' difference. With
 * the constant log Z = log sum q e^d, log(p / q) = d - log Z. Sums of e^d - 1 instead of e^d keep
 * the digits of small differences: with S = sum q (e^d - 1) and B = sum q d,
 *
 *   KL(q || p) = log(1 + S) - B
 *   KL(p || q) = (B + sum q d (e^d - 1)) / (1 + S) - log(1 + S)
 *   JS(q, p)   = 1/2 sum q ((1 + x) (e - h) - h),  e = d - log Z, x = e^e - 1,
 *                h = log((1 + e^e) / 2) = e/2 + c,  c = log(1 + x/2) - e/2 = log cosh(e/2),
 *              = 1/2 sum q (x e/2 - c (2 + x))
 *
 * S = sum q (e^d - 1 - d) + B, whose first sum has terms of at least 0. d is centred by the two log
 * sums of exponentials, so that B is about as small as the divergence.
 *
 * The loops have no calls and no branches, so that the compiler can vectorize them; the functions
 * are exact to some units of the last place of a double. */
#include <math.h>
#include <string.h>

#include "base/clones.h"
#include "forward/internal.h"

#define INLINE static inline __attribute__((always_inline))

INLINE double double_of_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

INLINE uint64_t bits_of_double(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

struct power {
  double two_n; /* 2^n */
  double rest;  /* e^r - 1, |r| <= ln 2 / 2 */
};

/* e^x = 2^n e^r; e^r - 1 by its Taylor series, whose next term is below 1e-17 of it. Outside -700
 * to 700 the ends' values: a probability there is below 1e-304 in one of the distributions. */
INLINE struct power power_of(double x) {
  x = x < -700 ? -700 : x;
  x = x > 700 ? 700 : x;
  const double round = 6755399441055744.0; /* 1.5 x 2^52 */
  double shifted = x * 1.4426950408889634 + round;
  double n = shifted - round;
  double r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10; /* ln 2 in two parts */
  double s = 1 / 6227020800.0;
  s = s * r + 1 / 479001600.0;
  s = s * r + 1 / 39916800.0;
  s = s * r + 1 / 3628800.0;
  s = s * r + 1 / 362880.0;
  s = s * r + 1 / 40320.0;
  s = s * r + 1 / 5040.0;
  s = s * r + 1 / 720.0;
  s = s * r + 1 / 120.0;
  s = s * r + 1 / 24.0;
  s = s * r + 1 / 6.0;
  s = s * r + 0.5;
  return (struct power){double_of_bits((bits_of_double(shifted) << 52) + (1023ull << 52)),
                        r + r * r * s};
}

INLINE double exp_of(double x) {
  struct power power = power_of(x);
  return power.two_n + power.two_n * power.rest;
}

INLINE double exp_minus_1(double x) {
  struct power power = power_of(x);
  return power.two_n * power.rest + (power.two_n - 1);
}

/* log(1 + x), x >= -1/2. 1 + x = 2^n m, 0.7 <= m < 1.41; log m = 2 artanh z by its series, z = (m -
 * 1) / (m + 1), |z| < 0.172. */
INLINE double log_plus_1(double x) {
  const uint64_t low = 0x3fe6a09e00000000ull; /* about sqrt(1/2) */
  double y = 1 + x;
  uint64_t n = (bits_of_double(y) - low) >> 52; /* + 2^12 for y < sqrt(1/2): -1 */
  uint64_t bits = bits_of_double(y) - (n << 52);
  double exponent = double_of_bits((n & 0xfff) + 0x4338000000000000ull) - 6755399441055744.0;
  exponent = exponent > 2047 ? exponent - 4096 : exponent;
  double m = double_of_bits(bits);
  double z = (exponent == 0 ? x : m - 1) / (m + 1), w = z * z;
  double s = 1 / 23.0;
  s = s * w + 1 / 21.0;
  s = s * w + 1 / 19.0;
  s = s * w + 1 / 17.0;
  s = s * w + 1 / 15.0;
  s = s * w + 1 / 13.0;
  s = s * w + 1 / 11.0;
  s = s * w + 1 / 9.0;
  s = s * w + 1 / 7.0;
  s = s * w + 1 / 5.0;
  s = s * w + 1 / 3.0;
  return exponent * 0.6931471805599453 + (2 * z + 2 * z * w * s);
}

NKI_CLONES void nki_probabilities(const float *restrict logits, double log_sum_exp, size_t n,
                                  double *restrict q) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    q[i] = exp_of((double)logits[i] - log_sum_exp);
    sum += q[i];
  }
#pragma omp simd
  for (size_t i = 0; i < n; i++) q[i] /= sum;
}

/* sums = sum q (e^d - 1 - d), sum q d, sum q d (e^d - 1); powers [n] = e^d - 1. */
NKI_CLONES static void sum_differences(const struct nki_distributions *o, double *restrict powers,
                                       double sums[3]) {
  const float *restrict base = o->base, *restrict other = o->other;
  const double *restrict q = o->q, shift = o->shift;
  double convex = 0, mean = 0, product = 0;
#pragma omp simd reduction(+ : convex, mean, product)
  for (size_t i = 0; i < o->n; i++) {
    double d = ((double)other[i] - (double)base[i]) - shift, x = exp_minus_1(d);
    powers[i] = x;
    convex += q[i] * (x - d);
    mean += q[i] * d;
    product += q[i] * d * x;
  }
  sums[0] = convex;
  sums[1] = mean;
  sums[2] = product;
}

/* sum q (x e/2 - c (2 + x)), e = d - log_z. */
NKI_CLONES static double sum_halves(const struct nki_distributions *o,
                                    const double *restrict powers, double s, double log_z) {
  const float *restrict base = o->base, *restrict other = o->other;
  const double *restrict q = o->q, shift = o->shift + log_z, scale = 1 / (1 + s);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < o->n; i++) {
    double half = (((double)other[i] - (double)base[i]) - shift) / 2, x = (powers[i] - s) * scale;
    double c = log_plus_1(x / 2) - half;
    sum += q[i] * (x * half - c * (2 + x));
  }
  return sum;
}

/* From sum q d, sum q d (e^d - 1), S and log(1 + S). */
static double kl_reverse(double mean, double product, double s, double log_z) {
  return fmax((mean + product) / (1 + s) - log_z, 0);
}

double nki_kl_reverse(const struct nki_distributions *o, double *scratch) {
  double sums[3];
  sum_differences(o, scratch, sums);
  double s = sums[0] + sums[1];
  return kl_reverse(sums[1], sums[2], s, log1p(s));
}

void nki_divergences(const struct nki_distributions *o, double *scratch,
                     struct nki_divergences *out) {
  double sums[3];
  sum_differences(o, scratch, sums);
  double s = sums[0] + sums[1], log_z = log1p(s);
  out->kl = fmax(log_z - sums[1], 0);
  out->kl_reverse = kl_reverse(sums[1], sums[2], s, log_z);
  out->js = fmax(sum_halves(o, scratch, s, log_z) / 2, 0);
}
