/* The arrays of a file: safetensors, .npz, or .npy, which holds one. */
#ifndef IO_ARRAYS_H
#define IO_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include "io/npz.h"
#include "model/safetensors.h"

struct nki_arrays {
  const struct nk_file *file;
  struct nki_safetensors *st; /* owns file, or NULL */
  struct nk_file *numpy;      /* the same file where it is NumPy's, or NULL */
  struct nki_npz_array single;
  struct nki_npz_array *npz; /* [n], or NULL */
  size_t n;
};

/* Opens path ("-": standard input): NumPy's formats with `numpy`, else safetensors. Returns NK_OK,
 * or a negative code with *arrays all zero. */
int nki_arrays_open(const char *path, bool numpy, struct nki_arrays *arrays);
void nki_arrays_free(struct nki_arrays *arrays);

/* Array i; *fortran: it is stored with the first index fastest. */
const struct nk_tensor *nki_arrays_item(const struct nki_arrays *arrays, size_t i, bool *fortran);

#endif
