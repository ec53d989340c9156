/* NumPy's .npz: a zip archive of .npy files. */
#ifndef IO_NPZ_H
#define IO_NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include "model/safetensors.h"

/* An array of an archive: tensor.data points into the file, tensor.name is the array's own. */
struct nki_npz_array {
  struct nk_tensor tensor;
  bool transposed; /* stored with the first index fastest */
};

/* True when file begins with a zip archive's first bytes. */
bool nki_npz_is(const struct nk_file *file);

/* Lists the arrays of a file: *arrays [*n], to be freed with nki_npz_free. Arrays of strings and
 * objects are left out, with a warning. NK_EDATA for a damaged archive, NK_EUNSUPPORTED for a
 * compressed one or one that holds no array. */
int nki_npz_read(const struct nk_file *file, struct nki_npz_array **arrays, size_t *n);
void nki_npz_free(struct nki_npz_array *arrays, size_t n);

#endif
