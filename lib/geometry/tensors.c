/* Tensors of the files that geometry writes and reads: bases and regions. */
#include "geometry/tensors.h"

#include <noken/base.h>
#include <noken/model.h>
#include "model/dtype.h"
#include "model/safetensors.h"

struct nk_tensor nki_vector(const char *name, enum nk_dtype dtype, const void *data, size_t n) {
  return (struct nk_tensor){.name = name,
                            .dtype = dtype,
                            .n_dims = 1,
                            .shape = {n},
                            .n_elements = n,
                            .n_bytes = n * nki_dtype_size(dtype),
                            .data = data};
}

struct nk_tensor nki_matrix(const char *name, enum nk_dtype dtype, const void *data, size_t rows,
                            size_t columns) {
  struct nk_tensor tensor = nki_vector(name, dtype, data, rows * columns);
  tensor.n_dims = 2;
  tensor.shape[0] = rows;
  tensor.shape[1] = columns;
  return tensor;
}

const struct nk_tensor *nki_find(const struct nki_safetensors *file, const char *name,
                                 enum nk_dtype dtype, size_t n_dims) {
  const struct nk_tensor *tensor = nki_safetensors_find(file, name);
  if (tensor == NULL) {
    nk_fail(NK_EDATA, "no tensor '%s'", name);
    return NULL;
  }
  if (tensor->dtype == dtype && tensor->n_dims == n_dims) return tensor;
  nk_fail(NK_EDATA, "tensor '%s': %zu-D %s, not %zu-D %s", name, tensor->n_dims,
          nk_dtype_names[tensor->dtype], n_dims, nk_dtype_names[dtype]);
  return NULL;
}
