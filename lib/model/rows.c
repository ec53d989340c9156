/* Elements and rows of tensors as floats. */
#include "model/rows.h"

#include <math.h>
#include <noken/base.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"
#include "model/dtype.h"
#include "model/model.h"

/* The bytes of element `index`. */
static const unsigned char *element(const struct nk_tensor *tensor, size_t index) {
  return (const unsigned char *)tensor->data + index * nki_dtype_size(tensor->dtype);
}

int nki_tensor_check_widens(const struct nk_tensor *tensor) {
  if (tensor->dtype <= NK_F64) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED,
                 "tensor '%s': elements of type %s, where F32, F16, BF16 or F64 is needed",
                 tensor->name, nki_tensor_dtype_name(tensor));
}

int nki_tensor_widen(const struct nk_tensor *tensor, size_t first, size_t n, float *out) {
  enum { BLOCK = 1 << 16 };
  size_t n_blocks = (n + BLOCK - 1) / BLOCK;
  int code = nki_tensor_check_widens(tensor); /* here: nk_error() belongs to a thread */
  if (code != NK_OK) return code;
#pragma omp parallel for schedule(static) if (n_blocks > 4)
  for (size_t block = 0; block < n_blocks; block++) {
    size_t start = block * BLOCK, count = n - start < BLOCK ? n - start : BLOCK;
    nki_widen(tensor->dtype, element(tensor, first + start), count, out + start);
  }
  return NK_OK;
}

const float *nki_tensor_floats(const struct nk_tensor *tensor, size_t first, size_t n,
                               float *scratch) {
  const void *data = element(tensor, first);
  if (tensor->dtype == NK_F32 && (uintptr_t)data % sizeof(float) == 0) return data;
  nki_tensor_widen(tensor, first, n, scratch);
  return scratch;
}

size_t nki_tensor_first_beyond(const struct nk_tensor *tensor, size_t first, const float *values,
                               size_t n) {
  if (tensor->dtype != NK_F64) return n;
  for (size_t i = 0; i < n; i++) {
    i += nki_first_not_finite(values + i, n - i);
    if (i < n && isinf(values[i]) && isfinite(nki_element_number(NK_F64, tensor->data, first + i)))
      return i;
  }
  return n;
}

int nk_model_rows(const struct nk_tensor *tensor, size_t first, size_t n, float *out) {
  if (tensor == NULL) return nki_fail_null();
  bool has_rows = tensor->n_dims == 1 || tensor->n_dims == 2;
  size_t n_rows = has_rows ? nki_tensor_n_rows(tensor) : 0;
  if (!has_rows || first > n_rows || n > n_rows - first) {
    return nk_fail(NK_EUSAGE, "tensor '%s': has no rows %zu to %zu", tensor->name, first,
                   first + n);
  }
  size_t dim = nki_tensor_row_dim(tensor);
  return nki_tensor_widen(tensor, first * dim, n * dim, out);
}

void nki_model_forget(const struct nk_model *model, const struct nk_tensor *tensor, size_t first,
                      size_t n) {
  size_t dim = nki_tensor_row_dim(tensor);
  const unsigned char *begin = element(tensor, first * dim);
  const unsigned char *end = element(tensor, (first + n) * dim);
  for (size_t s = 0; s < model->files.n_shards; s++) {
    const struct nk_file *file = nki_safetensors_file(model->shards[s]);
    uintptr_t at = (uintptr_t)begin, start = (uintptr_t)file->data;
    if (at < start || at - start >= file->size) continue;
    nki_file_forget(file, at - start, (size_t)(end - begin));
    return;
  }
}
