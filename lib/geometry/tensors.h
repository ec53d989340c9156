/* Tensors of the files that geometry writes and reads: bases and regions. */
#ifndef GEOMETRY_TENSORS_H
#define GEOMETRY_TENSORS_H

#include <noken/geometry.h>
#include "model/safetensors.h"

/* A 1-D tensor of n, and a 2-D one, over data [n] or [rows, columns]. */
struct nk_tensor nki_vector(const char *name, enum nk_dtype dtype, const void *data, size_t n);
struct nk_tensor nki_matrix(const char *name, enum nk_dtype dtype, const void *data, size_t rows,
                            size_t columns);

/* The tensor of that name, type and number of dimensions; NULL with nk_error() set. */
const struct nk_tensor *nki_find(const struct nki_safetensors *file, const char *name,
                                 enum nk_dtype dtype, size_t n_dims);

/* The basis in a file: tensors mean, eigenvalues, components. NULL on failure. */
struct nk_pca *nki_read_basis(const struct nki_safetensors *file);
/* Frees the components in double unless those from `first` on (counted from 0) need them. */
void nki_pca_drop_precise(struct nk_pca *pca, size_t first);
/* Sets the summary of the spectrum after its eigenvalues. */
void nki_pca_summarize(struct nk_pca *pca);
/* How many of the first `limit` components have a variance that double can tell from 0. */
size_t nki_pca_rank(const struct nk_pca *pca, size_t limit);

#endif
