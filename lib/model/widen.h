/* The loops behind nki_widen, one set per instruction set; the tests run every set that the
 * processor at hand has. */
#ifndef NOKEN_MODEL_WIDEN_H
#define NOKEN_MODEL_WIDEN_H

#include <stdbool.h>
#include <stddef.h>

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

#endif
