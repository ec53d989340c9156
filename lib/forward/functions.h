/* Functions of one number for the loops of kernels: polynomials in float that the compiler can
 * vectorize, without branches and calls. Their relative error is below 3e-7 wherever a result is
 * not denormal. */
#ifndef NOKEN_FORWARD_FUNCTIONS_H
#define NOKEN_FORWARD_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Inlined into every clone: a call would be of the plain version and prevent vectorization. */
#define NKI_INLINE static inline __attribute__((always_inline))

NKI_INLINE float nki_float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

NKI_INLINE uint32_t nki_bits_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* e^x = 2^n e^r, n the nearest integer to x / ln 2, e^r = 1 + r + r^2 q(r) with q fitted for the
 * least relative error on |r| <= ln 2 / 2. Outside -87.3 to 88.3 the ends' values. */
NKI_INLINE float nki_exp_of(float x) {
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.3f ? 88.3f : x;
  const float round = 12582912.0f; /* 1.5 x 2^23: what is added to it is rounded to an integer */
  float shifted = x * 1.44269504f + round;
  float n = shifted - round;
  float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts */
  float q = 1.390128098e-3f;
  q = q * r + 8.363140374e-3f;
  q = q * r + 4.166685339e-2f;
  q = q * r + 1.666657731e-1f;
  q = q * r + 4.999999955e-1f;
  float y = q * (r * r) + r + 1.0f;
  return nki_float_of_bits(nki_bits_of_float(y) + (nki_bits_of_float(shifted) << 23));
}

/* tanh x: x + x^3 p(x^2) near 0, 1 - 2 / (e^2x + 1) from 0.6 on. */
NKI_INLINE float nki_tanh_of(float x) {
  float a = fabsf(x), s = x * x;
  float p = -6.269312604e-3f;
  p = p * s + 2.111109830e-2f;
  p = p * s - 5.387398027e-2f;
  p = p * s + 1.333291559e-1f;
  p = p * s - 3.333333034e-1f;
  float near = x + x * s * p;
  float far = copysignf(1.0f - 2.0f / (nki_exp_of(2.0f * a) + 1.0f), x);
  return a < 0.6f ? near : far;
}

/* P(Z < x) of the standard normal: the tail beyond |x| is e^(-z^2) g(t), z = |x| / sqrt 2,
 * t = 1 / (1 + z / 2), with g fitted for the least relative error. */
NKI_INLINE float nki_normal_cdf(float x) {
  float z = fabsf(x) * 0.70710678f;
  float t = 1.0f / (1.0f + 0.5f * z);
  float g = -2.706368261e-2f;
  g = g * t + 1.295342421e-1f;
  g = g * t - 2.152877372e-1f;
  g = g * t + 1.036616140e-1f;
  g = g * t + 1.400599230e-2f;
  g = g * t + 8.786194810e-2f;
  g = g * t + 1.257892066e-1f;
  g = g * t + 1.403719900e-1f;
  g = g * t + 1.411302832e-1f;
  g = g * t - 3.923634883e-6f;
  float tail = nki_exp_of(-z * z) * g;
  return x < 0 ? tail : 1.0f - tail;
}

/* x / (1 + e), 0 <= e: Newton's iteration for the reciprocal from a guess by its bits (relative
 * error below 0.06, then its square three times), as a division takes as long as all the rest of an
 * activation. The power of two keeps the reciprocal of 2.2e38 from being denormal. */
NKI_INLINE float nki_over_one_plus(float x, float e) {
  const float scale = 0x1p-32f;
  float d = scale + e * scale;
  float y = nki_float_of_bits(0x7EF311C7u - nki_bits_of_float(d));
  y = y + y * (1.0f - d * y);
  y = y + y * (1.0f - d * y);
  y = y + y * (1.0f - d * y);
  return x * y * scale;
}

NKI_INLINE float nki_sigmoid_times(float x, float slope) {
  return nki_over_one_plus(x, nki_exp_of(-slope * x));
}

/* 0.5 x (1 + tanh u) = x sigmoid(2 u) (Hendrycks and Gimpel 2016). */
NKI_INLINE float nki_gelu_tanh(float x) {
  float u = 0.79788456f * (x + 0.044715f * x * x * x);
  return nki_over_one_plus(x, nki_exp_of(-2.0f * u));
}

#endif
