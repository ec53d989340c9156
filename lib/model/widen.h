/* The loops behind nki_widen, one set per instruction set; the tests run every set that the
 * processor at hand has. And one half float, for the scales of quantized blocks. */
#ifndef NOKEN_MODEL_WIDEN_H
#define NOKEN_MODEL_WIDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* out[i] = source[i] for i < n; source needs no alignment. */
typedef void nki_widen_loop(const unsigned char *source, size_t n, float *out);

struct nki_widen_kernels {
  const char *name; /* "avx512", "avx2", "portable" */
  bool (*runs_here)(void);
  nki_widen_loop *f16, *bf16, *f64;
};

/* Fastest first; the last one runs everywhere. */
extern const struct nki_widen_kernels nki_widen_kernels[];
extern const size_t nki_n_widen_kernels;

static inline float nki_half_to_float(uint16_t half) {
  /* Sign | 5 exponent bits | 10 mantissa bits, moved to a float's places. The exponent's bias then
   * is too small by 127 - 15, which a product with 2^112 sets right, for subnormals too. */
  uint32_t magnitude = half & 0x7fffu;
  uint32_t bits = magnitude << 13;
  float scaled;
  memcpy(&scaled, &bits, sizeof scaled);
  scaled *= 0x1p112f;
  memcpy(&bits, &scaled, sizeof bits);
  if (magnitude >= 0x7c00u) bits |= 0x7f800000u; /* infinity or NaN */
  if (magnitude > 0x7c00u) bits |= 0x00400000u;  /* a quiet NaN, as the hardware gives */
  bits |= (uint32_t)(half & 0x8000u) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

#endif
