/* Quantized blocks to floats. Every format is the same thing in other packings: a small integer for
 * each element, and a scale and an offset for each group of 16 or 32 elements,
 *
 *   value = scale * code + offset
 *
 * so each has a function that unpacks one block into codes, scales and offsets, and one loop, which
 * the compiler vectorizes, makes the floats. The offset of a format without one is -0, which leaves
 * every sum as it is, the sign of a zero too. Scales are products of floats in ggml's order, and
 * this file is compiled without fused multiply-add: the results have ggml's bits.
 *
 * The packings, by bytes (d, m: half floats):
 *
 *   Q4_0    d | 16: nibbles             Q4_1   d m | 16
 *   Q5_0    d | 4: fifth bits | 16      Q5_1   d m | 4 | 16
 *   Q8_0    d | 32                      IQ4_NL d | 16: indices of a table
 *   MXFP4   1: exponent | 16: indices of a table
 *   Q2_K    16: nibbles scale, minimum | 64 | d m
 *   Q3_K    32: third bits | 64 | 12: scales of 6 bits | d
 *   Q4_K    d m | 12: scales and minima of 6 bits | 128
 *   Q5_K    d m | 12 | 32: fifth bits | 128
 *   Q6_K    128: low nibbles | 64: high pairs of bits | 16: scales | d
 *   IQ4_XS  d | 2: high bits of scales | 4: low nibbles of scales | 128: indices of a table
 *
 * A run of bytes holds the elements of its low parts first: 16 bytes of nibbles are elements 0 to
 * 15 (low nibbles) and 16 to 31. */
#include "model/quantized.h"

#include <stdint.h>
#include <string.h>

#include "base/clones.h"
#include "model/widen.h"

enum { GROUP = 16 };

struct unpacked {
  int8_t code[NKI_MAX_BLOCK];
  float scale[NKI_MAX_BLOCK / GROUP], offset[NKI_MAX_BLOCK / GROUP];
};

#define INLINE static inline __attribute__((always_inline))
#define NO_OFFSET (-0.0f)

/* ---- Parts of packings ---- */

INLINE float half_at(const unsigned char *at) {
  uint16_t half;
  memcpy(&half, at, sizeof half);
  return nki_half_to_float(half);
}

/* Groups [first, first + n) share a scale and an offset. */
INLINE void set_groups(struct unpacked *u, size_t first, size_t n, float scale, float offset) {
  for (size_t g = first; g < first + n; g++) {
    u->scale[g] = scale;
    u->offset[g] = offset;
  }
}

/* code [2 n] of n bytes. */
INLINE void nibbles(const unsigned char *bytes, size_t n, int zero, int8_t *code) {
  for (size_t i = 0; i < n; i++) {
    code[i] = (int8_t)((bytes[i] & 15) - zero);
    code[n + i] = (int8_t)((bytes[i] >> 4) - zero);
  }
}

/* The same, each an index of a table [16]. */
INLINE void looked_up(const unsigned char *bytes, size_t n, const int8_t *table, int8_t *code) {
  for (size_t i = 0; i < n; i++) {
    code[i] = table[bytes[i] & 15];
    code[n + i] = table[bytes[i] >> 4];
  }
}

/* Bit i of a word of 32 is the fifth bit of element i. */
INLINE void add_fifth_bits(const unsigned char *at, int zero, int8_t *code) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  for (unsigned i = 0; i < 32; i++)
    code[i] = (int8_t)(code[i] + (int)((word >> i & 1) << 4) - zero);
}

/* The 8 scales and 8 minima of Q4_K and Q5_K: the first four of each in the low six bits of bytes 0
 * to 3 and 4 to 7; of the others the low nibbles are in bytes 8 to 11, the high bits above the
 * first ones. */
INLINE void six_bit_scales(const unsigned char *s, float d, float m, struct unpacked *u) {
  for (size_t k = 0; k < 4; k++) {
    set_groups(u, 2 * k, 2, d * (float)(s[k] & 63), -(m * (float)(s[4 + k] & 63)));
    set_groups(u, 2 * k + 8, 2, d * (float)((s[8 + k] & 15) | s[k] >> 6 << 4),
               -(m * (float)(s[8 + k] >> 4 | s[4 + k] >> 6 << 4)));
  }
}

static const int8_t unequal[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
/* Twice the values of an E2M1 float. */
static const int8_t twice_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* ---- Blocks of 32 ---- */

INLINE void q4_0(const unsigned char *b, struct unpacked *u) {
  nibbles(b + 2, 16, 8, u->code);
  set_groups(u, 0, 2, half_at(b), NO_OFFSET);
}

INLINE void q4_1(const unsigned char *b, struct unpacked *u) {
  nibbles(b + 4, 16, 0, u->code);
  set_groups(u, 0, 2, half_at(b), half_at(b + 2));
}

INLINE void q5_0(const unsigned char *b, struct unpacked *u) {
  nibbles(b + 6, 16, 0, u->code);
  add_fifth_bits(b + 2, 16, u->code);
  set_groups(u, 0, 2, half_at(b), NO_OFFSET);
}

INLINE void q5_1(const unsigned char *b, struct unpacked *u) {
  nibbles(b + 8, 16, 0, u->code);
  add_fifth_bits(b + 4, 0, u->code);
  set_groups(u, 0, 2, half_at(b), half_at(b + 2));
}

INLINE void q8_0(const unsigned char *b, struct unpacked *u) {
  memcpy(u->code, b + 2, 32);
  set_groups(u, 0, 2, half_at(b), NO_OFFSET);
}

INLINE void iq4_nl(const unsigned char *b, struct unpacked *u) {
  looked_up(b + 2, 16, unequal, u->code);
  set_groups(u, 0, 2, half_at(b), NO_OFFSET);
}

/* The exponent e means 2^(e - 127), halved for the table's sake; 0 and 1 give subnormals. */
INLINE void mxfp4(const unsigned char *b, struct unpacked *u) {
  uint32_t bits = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  looked_up(b + 1, 16, twice_e2m1, u->code);
  set_groups(u, 0, 2, scale, NO_OFFSET);
}

/* ---- Blocks of 256 ---- */

INLINE void q2_k(const unsigned char *b, struct unpacked *u) {
  float d = half_at(b + 80), m = half_at(b + 82);
  for (size_t k = 0; k < 8; k++) /* 32 elements */
    for (size_t i = 0; i < 32; i++)
      u->code[32 * k + i] = (int8_t)(b[16 + k / 4 * 32 + i] >> 2 * (k % 4) & 3);
  for (size_t g = 0; g < 16; g++)
    set_groups(u, g, 1, d * (float)(b[g] & 15), -(m * (float)(b[g] >> 4)));
}

/* A third bit that is set adds the 4 that all codes are shifted by. Of the 16 scales the low
 * nibbles are in bytes 0 to 7, the high pairs of bits in bytes 8 to 11. */
INLINE void q3_k(const unsigned char *b, struct unpacked *u) {
  const unsigned char *s = b + 96;
  float d = half_at(b + 108);
  for (size_t k = 0; k < 8; k++)
    for (size_t i = 0; i < 32; i++)
      u->code[32 * k + i] =
          (int8_t)((b[32 + k / 4 * 32 + i] >> 2 * (k % 4) & 3) + (b[i] >> k & 1) * 4 - 4);
  for (size_t g = 0; g < 16; g++) {
    int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4, high = s[8 + g % 4] >> 2 * (g / 4) & 3;
    set_groups(u, g, 1, d * (float)((low | high << 4) - 32), NO_OFFSET);
  }
}

INLINE void q4_k(const unsigned char *b, struct unpacked *u) {
  six_bit_scales(b + 4, half_at(b), half_at(b + 2), u);
  for (size_t k = 0; k < 4; k++) nibbles(b + 16 + 32 * k, 32, 0, u->code + 64 * k);
}

INLINE void q5_k(const unsigned char *b, struct unpacked *u) {
  six_bit_scales(b + 4, half_at(b), half_at(b + 2), u);
  for (size_t k = 0; k < 4; k++) nibbles(b + 48 + 32 * k, 32, 0, u->code + 64 * k);
  for (size_t k = 0; k < 8; k++)
    for (size_t i = 0; i < 32; i++)
      u->code[32 * k + i] = (int8_t)(u->code[32 * k + i] + (b[16 + i] >> k & 1) * 16);
}

INLINE void q6_k(const unsigned char *b, struct unpacked *u) {
  float d = half_at(b + 208);
  for (size_t half = 0; half < 2; half++) {
    nibbles(b + 64 * half, 64, 32, u->code + 128 * half);
    for (size_t k = 0; k < 4; k++)
      for (size_t i = 0; i < 32; i++) {
        int8_t *code = &u->code[128 * half + 32 * k + i];
        *code = (int8_t)(*code + (b[128 + 32 * half + i] >> 2 * k & 3) * 16);
      }
  }
  for (size_t g = 0; g < 16; g++) {
    int scale = (int)(b[192 + g] ^ 128) - 128; /* of 8 bits, signed */
    set_groups(u, g, 1, d * (float)scale, NO_OFFSET);
  }
}

INLINE void iq4_xs(const unsigned char *b, struct unpacked *u) {
  float d = half_at(b);
  for (size_t k = 0; k < 8; k++) {
    int low = b[4 + k / 2] >> 4 * (k % 2) & 15, high = b[2 + k / 4] >> 2 * (k % 4) & 3;
    looked_up(b + 8 + 16 * k, 16, unequal, u->code + 32 * k);
    set_groups(u, 2 * k, 2, d * (float)((low | high << 4) - 32), NO_OFFSET);
  }
}

/* ---- Runs of blocks ---- */

INLINE void spread(const struct unpacked *u, size_t n, float *restrict out) {
  for (size_t g = 0; g < n / GROUP; g++)
    for (size_t i = 0; i < GROUP; i++)
      out[GROUP * g + i] = u->scale[g] * (float)u->code[GROUP * g + i] + u->offset[g];
}

/* The loop of a format, compiled for several instruction sets. */
#define FORMAT(name, elements, bytes)                                        \
  NKI_CLONES static void widen_##name(const unsigned char *blocks, size_t n, \
                                      float *restrict out) {                 \
    struct unpacked u;                                                       \
    for (size_t i = 0; i < n / (elements); i++) {                            \
      name(blocks + i * (bytes), &u);                                        \
      spread(&u, elements, out + i * (elements));                            \
    }                                                                        \
  }
FORMAT(q4_0, 32, 18)
FORMAT(q4_1, 32, 20)
FORMAT(q5_0, 32, 22)
FORMAT(q5_1, 32, 24)
FORMAT(q8_0, 32, 34)
FORMAT(iq4_nl, 32, 18)
FORMAT(mxfp4, 32, 17)
FORMAT(q2_k, 256, 84)
FORMAT(q3_k, 256, 110)
FORMAT(q4_k, 256, 144)
FORMAT(q5_k, 256, 176)
FORMAT(q6_k, 256, 210)
FORMAT(iq4_xs, 256, 136)

static const struct format {
  struct nki_block_size size;
  void (*widen)(const unsigned char *blocks, size_t n, float *out);
} formats[NK_N_DTYPES] = {
    [NK_Q4_0] = {{32, 18}, widen_q4_0},       [NK_Q4_1] = {{32, 20}, widen_q4_1},
    [NK_Q5_0] = {{32, 22}, widen_q5_0},       [NK_Q5_1] = {{32, 24}, widen_q5_1},
    [NK_Q8_0] = {{32, 34}, widen_q8_0},       [NK_IQ4_NL] = {{32, 18}, widen_iq4_nl},
    [NK_MXFP4] = {{32, 17}, widen_mxfp4},     [NK_Q2_K] = {{256, 84}, widen_q2_k},
    [NK_Q3_K] = {{256, 110}, widen_q3_k},     [NK_Q4_K] = {{256, 144}, widen_q4_k},
    [NK_Q5_K] = {{256, 176}, widen_q5_k},     [NK_Q6_K] = {{256, 210}, widen_q6_k},
    [NK_IQ4_XS] = {{256, 136}, widen_iq4_xs},
};

struct nki_block_size nki_block_size(enum nk_dtype dtype) {
  return formats[dtype].size;
}

void nki_blocks_widen(enum nk_dtype dtype, const unsigned char *blocks, size_t n, float *out) {
  formats[dtype].widen(blocks, n, out);
}
