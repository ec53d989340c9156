/* NumPy's .npy: versions 1 to 3, little-endian floats of 2, 4 and 8 bytes and integers, C or
 * Fortran order; object and structured types are errors. */
#ifndef NOKEN_NPY_H
#define NOKEN_NPY_H

#include <stdbool.h>
#include "model/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* True when file begins with .npy's magic bytes. */
bool nki_npy_is(const struct nk_file *file);

/* Reads the header: tensor->data points into file. *fortran_order: shape is as NumPy shows it, the
 * elements are stored with the first index fastest. Returns NK_OK or a negative code. */
int nki_npy_read(const struct nk_file *file, struct nk_tensor *tensor, bool *fortran_order);

/* Writes the header (version 1.0, padded to 64 bytes) for an array of this dtype (F32, F64, I64)
 * and shape; the caller then writes the elements, row-major. */
int nki_npy_write_header(struct nk_output *output, enum nk_dtype dtype, size_t n_dims,
                         const size_t *shape);

#ifdef __cplusplus
}
#endif
#endif
