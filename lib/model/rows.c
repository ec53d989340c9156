/* Elements and rows of tensors as floats. */
#include "model/rows.h"

#include <noken/base.h>
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
  float nothing;
  int code = nki_widen(tensor->dtype, tensor->data, 0, &nothing);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "tensor '%s'", tensor->name);
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

int nk_model_rows(const struct nk_tensor *tensor, size_t first, size_t n, float *out) {
  if (tensor == NULL) return nki_fail_null();
  if (tensor->n_dims != 2 || first > tensor->shape[0] || n > tensor->shape[0] - first) {
    return nk_fail(NK_EUSAGE, "tensor '%s': has no rows %zu to %zu", tensor->name, first,
                   first + n);
  }
  return nki_tensor_widen(tensor, first * tensor->shape[1], n * tensor->shape[1], out);
}

void nki_model_forget(const struct nk_model *model, const struct nk_tensor *tensor, size_t first,
                      size_t n) {
  const unsigned char *begin = element(tensor, first * tensor->shape[1]);
  const unsigned char *end = element(tensor, (first + n) * tensor->shape[1]);
  for (size_t s = 0; s < model->files.n_shards; s++) {
    const struct nk_file *file = nki_safetensors_file(model->shards[s]);
    uintptr_t at = (uintptr_t)begin, start = (uintptr_t)file->data;
    if (at < start || at - start >= file->size) continue;
    nki_file_forget(file, at - start, (size_t)(end - begin));
    return;
  }
}
