/* GGUF's block-quantized element types: how many elements a block has, and its elements as floats.
 */
#ifndef NOKEN_MODEL_QUANTIZED_H
#define NOKEN_MODEL_QUANTIZED_H

#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>

enum { NKI_MAX_BLOCK = 256 }; /* elements; a power of two, as every block's number of them is */

/* A block of `elements` values takes `bytes`; both are 0 for a type that is not quantized. */
struct nki_block_size {
  size_t elements, bytes;
};
struct nki_block_size nki_block_size(enum nk_dtype dtype);

static inline bool nki_is_quantized(enum nk_dtype dtype) {
  return dtype >= NK_Q4_0 && dtype <= NK_MXFP4;
}

/* out [n] = the elements of n / elements blocks, n a multiple of that, of a quantized type; by the
 * calling thread. Each value is rounded as ggml rounds it: the bits are the same. */
void nki_blocks_widen(enum nk_dtype dtype, const unsigned char *blocks, size_t n, float *out);

#endif
