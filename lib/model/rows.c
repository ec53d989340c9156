/* Elements and rows of tensors as floats. */
#include "model/rows.h"

#include <math.h>
#include <noken/base.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "model/dtype.h"
#include "model/model.h"
#include "model/quantized.h"

/* The bytes of element `index`, or of its block. */
static const unsigned char *element(const struct nk_tensor *tensor, size_t index) {
  struct nki_block_size block = nki_block_size(tensor->dtype);
  if (block.elements == 0) block = (struct nki_block_size){1, nki_dtype_size(tensor->dtype)};
  return (const unsigned char *)tensor->data + index / block.elements * block.bytes;
}

int nki_tensor_check_widens(const struct nk_tensor *tensor) {
  if (tensor->dtype <= NK_F64 || nki_is_quantized(tensor->dtype)) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED,
                 "tensor '%s': elements of type %s, where F32, F16, BF16 or F64 is needed; use a "
                 "checkpoint that is not quantized, or a GGUF",
                 tensor->name, nki_tensor_dtype_name(tensor));
}

/* Elements before the end of a block, or before [first, first + n) ends: of a range that does not
 * begin with a block, or is shorter than one. Returns how many. */
static size_t widen_part(const struct nk_tensor *tensor, size_t first, size_t n, float *out) {
  float block[NKI_MAX_BLOCK];
  size_t elements = nki_block_size(tensor->dtype).elements, at = first % elements;
  if (n > elements - at) n = elements - at;
  nki_blocks_widen(tensor->dtype, element(tensor, first), elements, block);
  memcpy(out, block + at, n * sizeof *out);
  return n;
}

int nki_tensor_widen(const struct nk_tensor *tensor, size_t first, size_t n, float *out) {
  enum { BLOCK = 1 << 16 };
  int code = nki_tensor_check_widens(tensor); /* here: nk_error() belongs to a thread */
  if (code != NK_OK) return code;
  if (nki_is_quantized(tensor->dtype) && n > 0) {
    size_t elements = nki_block_size(tensor->dtype).elements;
    size_t part = first % elements != 0 ? widen_part(tensor, first, n, out) : 0;
    first += part, n -= part, out += part;
    part = n % elements;
    n -= part;
    if (part > 0) widen_part(tensor, first + n, part, out + n);
  }
  size_t n_blocks = (n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (n_blocks > 4)
  for (size_t block = 0; block < n_blocks; block++) {
    size_t start = block * BLOCK, count = n - start < BLOCK ? n - start : BLOCK;
    nki_widen(tensor->dtype, element(tensor, first + start), count, out + start);
  }
  return NK_OK;
}

void nki_tensor_widen_pairs(const struct nk_tensor *tensor, size_t n_heads, float *out) {
  size_t n = tensor->shape[0], width = tensor->n_dims == 2 ? tensor->shape[1] : 1;
  size_t head = n / n_heads, half = head / 2;
#pragma omp parallel for schedule(static) if (tensor->n_elements > 1 << 16)
  for (size_t row = 0; row < n; row++) {
    size_t at = row % head, source = row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
    nki_tensor_widen(tensor, source * width, width, out + row * width);
  }
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
    const struct nki_shard *shard = &model->shards[s];
    const struct nk_file *file =
        shard->gguf != NULL ? shard->gguf->file : nki_safetensors_file(shard->safetensors);
    uintptr_t at = (uintptr_t)begin, start = (uintptr_t)file->data;
    if (at < start || at - start >= file->size) continue;
    nki_file_forget(file, at - start, (size_t)(end - begin));
    return;
  }
}
