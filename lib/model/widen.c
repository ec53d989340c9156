/* Half, bfloat16 and double to float. The loops are bound by memory once they are vectorized, which
 * the x86-64 baseline does not allow for half precision (the F16C instructions came later). So each
 * is compiled for several instruction sets and nki_widen takes the best one at run time. */
#include "model/widen.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* ---- One element, portable ---- */

static inline float bfloat_to_float(uint16_t bfloat) {
  uint32_t bits = (uint32_t)bfloat << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* ---- The loops ---- */

#define INLINE static inline __attribute__((always_inline))

INLINE void half_loop(const unsigned char *source, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    uint16_t half;
    memcpy(&half, source + 2 * i, 2);
    out[i] = nki_half_to_float(half);
  }
}

INLINE void bfloat_loop(const unsigned char *source, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    uint16_t bfloat;
    memcpy(&bfloat, source + 2 * i, 2);
    out[i] = bfloat_to_float(bfloat);
  }
}

INLINE void double_loop(const unsigned char *source, size_t n, float *out) {
  for (size_t i = 0; i < n; i++) {
    double value;
    memcpy(&value, source + 8 * i, 8);
    out[i] = (float)value;
  }
}

static bool runs_everywhere(void) {
  return true;
}
static void f16_portable(const unsigned char *source, size_t n, float *out) {
  half_loop(source, n, out);
}
static void bf16_portable(const unsigned char *source, size_t n, float *out) {
  bfloat_loop(source, n, out);
}
static void f64_portable(const unsigned char *source, size_t n, float *out) {
  double_loop(source, n, out);
}

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2,f16c")))
#define AVX512 __attribute__((target("avx512f,avx2,f16c")))

static bool has_f16c(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
static bool runs_on_avx2(void) {
  return __builtin_cpu_supports("avx2") && has_f16c();
}
static bool runs_on_avx512(void) {
  return __builtin_cpu_supports("avx512f") && runs_on_avx2();
}

AVX2 static void f16_avx2(const unsigned char *source, size_t n, float *out) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(source + 2 * i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
  }
  half_loop(source + 2 * i, n - i, out + i);
}
AVX2 static void bf16_avx2(const unsigned char *source, size_t n, float *out) {
  bfloat_loop(source, n, out);
}
AVX2 static void f64_avx2(const unsigned char *source, size_t n, float *out) {
  double_loop(source, n, out);
}

AVX512 static void f16_avx512(const unsigned char *source, size_t n, float *out) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)(source + 2 * i));
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(half));
  }
  half_loop(source + 2 * i, n - i, out + i);
}
AVX512 static void bf16_avx512(const unsigned char *source, size_t n, float *out) {
  bfloat_loop(source, n, out);
}
AVX512 static void f64_avx512(const unsigned char *source, size_t n, float *out) {
  double_loop(source, n, out);
}

#endif

const struct nki_widen_kernels nki_widen_kernels[] = {
#if defined(__x86_64__)
    {"avx512", runs_on_avx512, f16_avx512, bf16_avx512, f64_avx512},
    {"avx2", runs_on_avx2, f16_avx2, bf16_avx2, f64_avx2},
#endif
    {"portable", runs_everywhere, f16_portable, bf16_portable, f64_portable},
};
const size_t nki_n_widen_kernels = sizeof nki_widen_kernels / sizeof *nki_widen_kernels;
