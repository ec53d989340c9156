/* Elements and rows of tensors as floats. This is the one place that widens weights: nk-extract,
 * the forward pass, the glitch score and the GGUF writer read them through it. */
#ifndef NOKEN_MODEL_ROWS_H
#define NOKEN_MODEL_ROWS_H

#include <noken/model.h>
#include <stddef.h>

/* A tensor of one dimension is one row, as long as it is. */
static inline size_t nki_tensor_n_rows(const struct nk_tensor *tensor) {
  return tensor->n_dims == 1 ? 1 : tensor->shape[0];
}
static inline size_t nki_tensor_row_dim(const struct nk_tensor *tensor) {
  return tensor->shape[tensor->n_dims == 1 ? 0 : 1];
}

/* The first of values[n], elements [first, first + n) of the tensor as floats, that is an infinity
 * although the element is finite: a double beyond the range of a float. n when there is none. */
size_t nki_tensor_first_beyond(const struct nk_tensor *tensor, size_t first, const float *values,
                               size_t n);

/* NK_OK when the tensor's elements can be widened; else NK_EUNSUPPORTED naming tensor and type. */
int nki_tensor_check_widens(const struct nk_tensor *tensor);

/* Elements [first, first + n) as floats, out [n], by all threads (within a parallel region: by the
 * calling one). Returns NK_OK or NK_EUNSUPPORTED. */
int nki_tensor_widen(const struct nk_tensor *tensor, size_t first, size_t n, float *out);

/* All rows of q or k (or the elements of their bias) in the checkpoint's order: GGUF stores rows j
 * and half + j of each head as rows 2 j and 2 j + 1, for a rotation of pairs. The rows are n_heads
 * of an even length; out [n_elements]; by all threads. */
void nki_tensor_widen_pairs(const struct nk_tensor *tensor, size_t n_heads, float *out);

/* [first, first + n) without a copy where the file holds aligned F32: the result is then in the
 * file's mapping, else it is scratch [n]. The type must be one that is widened. */
const float *nki_tensor_floats(const struct nk_tensor *tensor, size_t first, size_t n,
                               float *scratch);

/* Tells the system that rows [first, first + n) of a tensor of the model were read and are not
 * needed again soon (nki_file_forget). */
void nki_model_forget(const struct nk_model *model, const struct nk_tensor *tensor, size_t first,
                      size_t n);

#endif
