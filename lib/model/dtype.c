/* Element types: their names, sizes and conversions. Files hold little-endian values, and so do the
 * machines noken is built for; a big-endian one does not compile. */
#include "model/dtype.h"

#include <math.h>
#include <noken/base.h>
#include <stdbool.h>
#include <string.h>

#include "model/quantized.h"
#include "model/widen.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "noken reads and writes little-endian files in place and needs a little-endian machine"
#endif

const char *const nk_dtype_names[NK_N_DTYPES] = {
    [NK_F32] = "F32",
    [NK_F16] = "F16",
    [NK_BF16] = "BF16",
    [NK_F64] = "F64",
    [NK_I64] = "I64",
    [NK_I32] = "I32",
    [NK_I16] = "I16",
    [NK_I8] = "I8",
    [NK_U64] = "U64",
    [NK_U32] = "U32",
    [NK_U16] = "U16",
    [NK_U8] = "U8",
    [NK_BOOL] = "BOOL",
    [NK_F8_E4M3] = "F8_E4M3",
    [NK_F8_E5M2] = "F8_E5M2",
    [NK_F8_E4M3FNUZ] = "F8_E4M3FNUZ",
    [NK_F8_E5M2FNUZ] = "F8_E5M2FNUZ",
    [NK_F8_E8M0] = "F8_E8M0",
    [NK_F6_E2M3] = "F6_E2M3",
    [NK_F6_E3M2] = "F6_E3M2",
    [NK_F4] = "F4",
    [NK_C64] = "C64",
    [NK_Q4_0] = "Q4_0",
    [NK_Q4_1] = "Q4_1",
    [NK_Q5_0] = "Q5_0",
    [NK_Q5_1] = "Q5_1",
    [NK_Q8_0] = "Q8_0",
    [NK_Q2_K] = "Q2_K",
    [NK_Q3_K] = "Q3_K",
    [NK_Q4_K] = "Q4_K",
    [NK_Q5_K] = "Q5_K",
    [NK_Q6_K] = "Q6_K",
    [NK_IQ4_NL] = "IQ4_NL",
    [NK_IQ4_XS] = "IQ4_XS",
    [NK_MXFP4] = "MXFP4",
    [NK_OTHER] = "?",
};

size_t nki_dtype_bits(enum nk_dtype dtype) {
  static const unsigned char bits[NK_N_DTYPES] = {
      [NK_F32] = 32,        [NK_F16] = 16,    [NK_BF16] = 16,   [NK_F64] = 64,
      [NK_I64] = 64,        [NK_I32] = 32,    [NK_I16] = 16,    [NK_I8] = 8,
      [NK_U64] = 64,        [NK_U32] = 32,    [NK_U16] = 16,    [NK_U8] = 8,
      [NK_BOOL] = 8,        [NK_F8_E4M3] = 8, [NK_F8_E5M2] = 8, [NK_F8_E4M3FNUZ] = 8,
      [NK_F8_E5M2FNUZ] = 8, [NK_F8_E8M0] = 8, [NK_F6_E2M3] = 6, [NK_F6_E3M2] = 6,
      [NK_F4] = 4,          [NK_C64] = 64,
  };
  return bits[dtype];
}

size_t nki_dtype_size(enum nk_dtype dtype) {
  size_t bits = nki_dtype_bits(dtype);
  return bits % 8 == 0 ? bits / 8 : 0;
}

enum nk_dtype nki_dtype_of_name(const char *name, size_t length) {
  for (int i = 0; i < NK_Q4_0; i++) { /* a safetensors file has no quantized types */
    if (strlen(nk_dtype_names[i]) == length && memcmp(nk_dtype_names[i], name, length) == 0)
      return (enum nk_dtype)i;
  }
  return NK_OTHER;
}

const char *nki_tensor_dtype_name(const struct nk_tensor *tensor) {
  return tensor->dtype_name != NULL ? tensor->dtype_name : nk_dtype_names[tensor->dtype];
}

/* ---- Widening ---- */

/* Asked of the processor once: the question is slow where a hypervisor answers it. */
static const struct nki_widen_kernels *best_kernels(void) {
  static _Atomic(const struct nki_widen_kernels *) best;
  const struct nki_widen_kernels *kernels = best;
  if (kernels == NULL) {
    kernels = nki_widen_kernels;
    while (!kernels->runs_here()) kernels++;
    best = kernels;
  }
  return kernels;
}

int nki_widen(enum nk_dtype dtype, const void *source, size_t n, float *out) {
  if (nki_is_quantized(dtype)) {
    nki_blocks_widen(dtype, source, n, out);
    return NK_OK;
  }
  switch (dtype) {
    case NK_F32:
      if (n > 0) memcpy(out, source, n * sizeof *out);
      return NK_OK;
    case NK_F16:
      best_kernels()->f16(source, n, out);
      return NK_OK;
    case NK_BF16:
      best_kernels()->bf16(source, n, out);
      return NK_OK;
    case NK_F64:
      best_kernels()->f64(source, n, out);
      return NK_OK;
    default:
      return nk_fail(NK_EUNSUPPORTED, "elements of type %s, where F32, F16, BF16 or F64 is needed",
                     nk_dtype_names[dtype]);
  }
}

/* ---- Single elements ---- */

/* An 8-bit float of e exponent bits, by its definition (OCP 8-bit floating point, revision 1.0). */
static double float8_number(unsigned byte, int exponent_bits, bool has_infinity) {
  int mantissa_bits = 7 - exponent_bits;
  int bias = (1 << (exponent_bits - 1)) - 1;
  int exponent_max = (1 << exponent_bits) - 1;
  int exponent = (int)(byte >> mantissa_bits) & exponent_max;
  int mantissa = (int)byte & ((1 << mantissa_bits) - 1);
  double sign = byte & 0x80 ? -1 : 1;
  if (has_infinity && exponent == exponent_max) return mantissa == 0 ? sign * INFINITY : NAN;
  if (!has_infinity && (byte & 0x7f) == 0x7f) return NAN;
  if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

double nki_element_number(enum nk_dtype dtype, const void *source, size_t index) {
  const unsigned char *at = (const unsigned char *)source + index * nki_dtype_size(dtype);
  float single;
  double number;
  uint64_t natural;
  if (dtype > NK_F8_E5M2) return NAN;
  switch (dtype) {
    case NK_F32:
    case NK_F16:
    case NK_BF16:
      nki_widen(dtype, at, 1, &single);
      return (double)single;
    case NK_F64:
      memcpy(&number, at, sizeof number);
      return number;
    case NK_F8_E4M3:
      return float8_number(*at, 4, false);
    case NK_F8_E5M2:
      return float8_number(*at, 5, true);
    case NK_U64:
      memcpy(&natural, at, sizeof natural);
      return (double)natural;
    default:
      return (double)nki_element_integer(dtype, source, index);
  }
}

int64_t nki_element_integer(enum nk_dtype dtype, const void *source, size_t index) {
  const unsigned char *at = (const unsigned char *)source + index * nki_dtype_size(dtype);
  double number;
  union {
    int64_t i64;
    int32_t i32;
    int16_t i16;
    int8_t i8;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;
  } u;
  switch (dtype) {
    case NK_I64:
    case NK_U64:
    case NK_I32:
    case NK_U32:
    case NK_I16:
    case NK_U16:
    case NK_I8:
    case NK_U8:
    case NK_BOOL:
      memcpy(&u, at, nki_dtype_size(dtype));
      break;
    default: /* a float: towards zero, held within int64_t; a NaN is 0 */
      number = nki_element_number(dtype, source, index);
      if (isnan(number)) return 0;
      if (number >= 0x1p63) return INT64_MAX;
      return number < -0x1p63 ? INT64_MIN : (int64_t)number;
  }
  switch (dtype) {
    case NK_I32:
      return u.i32;
    case NK_U32:
      return u.u32;
    case NK_I16:
      return u.i16;
    case NK_U16:
      return u.u16;
    case NK_I8:
      return u.i8;
    case NK_U8:
      return u.u8;
    case NK_BOOL:
      return u.u8 != 0;
    case NK_U64:
      return u.i64 < 0 ? INT64_MAX : u.i64; /* over 2^63 - 1: held there */
    default:
      return u.i64;
  }
}

/* ---- Narrowing, to nearest, ties to even ---- */

/* bits without their lowest `drop` bits (1 to 31), rounded. A carry runs on into the exponent,
 * which is what the formats want. */
static uint32_t round_off(uint32_t bits, unsigned drop) {
  uint32_t kept = bits >> drop, rest = bits & ((1u << drop) - 1), half = 1u << (drop - 1);
  return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t nki_f16_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (bits >> 13 & 0x3ffu));
  if (bits >= 0x47800000u) return (uint16_t)(sign | 0x7c00u); /* 2^16 and over */
  if (bits >= 0x38800000u) {                                  /* 2^-14 and over: normal */
    return (uint16_t)(sign | (round_off(bits, 13) - (112u << 10)));
  }
  uint32_t exponent = bits >> 23;
  if (exponent < 102) return (uint16_t)sign; /* below 2^-25, half the least subnormal */
  return (uint16_t)(sign | round_off((bits & 0x7fffffu) | 0x800000u, 126 - exponent));
}

uint16_t nki_bf16_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* quiet NaN */
  return (uint16_t)round_off(bits, 16);
}

/* ---- Checking ---- */

size_t nki_first_not_finite(const float *x, size_t n) {
  enum { BLOCK = 256 }; /* short enough to look through again, long enough to vectorize */
  for (size_t start = 0; start < n; start += BLOCK) {
    size_t end = n - start < BLOCK ? n : start + BLOCK;
    int bad = 0;
    for (size_t i = start; i < end; i++) {
      uint32_t bits;
      memcpy(&bits, x + i, sizeof bits);
      bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (!bad) continue;
    for (size_t i = start; i < end; i++) {
      if (!isfinite(x[i])) return i;
    }
  }
  return n;
}
