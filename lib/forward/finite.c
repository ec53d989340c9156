/* Why values of a forward pass are not finite. The norms, which read every row anyway, find that a
 * row is not finite; what is here names the cause, and runs once, after that. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>

#include "forward/batch.h"
#include "model/dtype.h"

enum { ELEMENTS = 1 << 14 }; /* widened at once */

/* The first element of tensor from `first` to `end` that is not finite, or `end`. */
static size_t first_bad_element(const struct nk_tensor *tensor, size_t first, size_t end) {
  float *scratch = nk_alloc(ELEMENTS, sizeof *scratch);
  while (scratch != NULL && first < end) {
    size_t n = end - first < ELEMENTS ? end - first : ELEMENTS;
    size_t bad = nki_first_not_finite(nki_tensor_floats(tensor, first, n, scratch), n);
    if (bad < n) {
      nk_free(scratch);
      return first + bad;
    }
    first += n;
  }
  nk_free(scratch);
  return end;
}

/* Fails with `what` and, where tensor holds one, its first element that is not finite. Returns
 * false where it holds none. */
static bool fail_by_tensor(const struct nk_tensor *tensor, const char *what) {
  size_t bad = tensor == NULL ? 0 : first_bad_element(tensor, 0, tensor->n_elements);
  if (tensor == NULL || bad == tensor->n_elements) return false;
  size_t row = tensor->n_dims == 2 ? tensor->shape[1] : tensor->n_elements;
  if (tensor->n_dims == 2)
    nk_fail(NK_EDATA, "%s: tensor '%s' holds a NaN or an infinity at [%zu, %zu]", what,
            tensor->name, bad / row, bad % row);
  else
    nk_fail(NK_EDATA, "%s: tensor '%s' holds a NaN or an infinity at [%zu]", what, tensor->name,
            bad);
  return true;
}

static bool fail_by_weight_part(const struct nki_weight *w, const char *what) {
  if ((w->scales == NULL && fail_by_tensor(w->weight, what)) || fail_by_tensor(w->bias, what))
    return true;
  for (size_t i = 0; i < w->n_each; i++)
    if (fail_by_tensor(w->each[i], what)) return true;
  return false;
}

static int fail_by_weight(const struct nki_weight *weights, size_t n, const char *what) {
  for (size_t i = 0; i < n; i++)
    if (fail_by_weight_part(&weights[i], what)) return NK_EDATA;
  return nk_fail(NK_EDATA, "%s: its values exceed a float's range", what);
}

int nki_fail_block(const struct nk_forward *forward, size_t block) {
  char what[64];
  snprintf(what, sizeof what, "the output of block %zu is not finite", block);
  if (forward->blocks == NULL) return nk_fail(NK_EDATA, "%s", what);
  return fail_by_weight(forward->blocks[block].part, NKI_N_PARTS, what);
}

int nki_fail_embedding(const struct nk_forward *forward, const struct nki_pass *pass,
                       const struct nki_span *spans, size_t n) {
  size_t dim = forward->config.shape.dim;
  if (forward->embedding == NULL) return nk_fail(NK_EDATA, "the input embedding is not finite");
  for (const struct nki_span *span = spans; span < spans + n; span++) {
    for (size_t i = 0; i < span->n; i++) {
      size_t row = span->row + i, id = (size_t)span->ids[i];
      if (isfinite(nki_length(pass->x + row * dim, dim))) continue;
      if (span->ids[i] != NK_VECTOR &&
          first_bad_element(forward->embedding, id * dim, (id + 1) * dim) < (id + 1) * dim)
        return nk_fail(NK_EDATA, "row %zu of the input embedding, tensor '%s', is not finite", id,
                       forward->embedding->name);
      size_t at = pass->positions[row] + forward->config.position_offset;
      if (forward->positions != NULL &&
          first_bad_element(forward->positions, at * dim, (at + 1) * dim) < (at + 1) * dim)
        return nk_fail(NK_EDATA, "row %zu of the position embedding, tensor '%s', is not finite",
                       at, forward->positions->name);
      char what[64];
      snprintf(what, sizeof what, "the input of block 0 at position %u is not finite",
               pass->positions[row]);
      return fail_by_weight(&forward->embedding_norm, 1, what);
    }
  }
  return nk_fail(NK_EDATA, "the input of block 0 exceeds a float's range");
}

int nki_fail_logits(const struct nk_forward *forward, const float *normed, size_t n) {
  size_t dim = forward->config.shape.dim;
  if (forward->unembedding == NULL) return nk_fail(NK_EDATA, "the logits are not finite");
  const struct nk_tensor *weight = forward->unembedding, *bias = forward->unembedding_bias;
  if (nki_first_not_finite(normed, n * dim) < n * dim)
    return fail_by_weight(&forward->final_norm, 1, "the output of the final norm is not finite");
  size_t bad = first_bad_element(weight, 0, weight->n_elements);
  if (bad < weight->n_elements)
    return nk_fail(NK_EDATA,
                   "the logits are not finite: row %zu of the unembedding, tensor '%s', "
                   "holds a NaN or an infinity",
                   bad / dim, weight->name);
  if (fail_by_tensor(bias, "the logits are not finite")) return NK_EDATA;
  return nk_fail(NK_EDATA, "the logits exceed a float's range");
}
