/* Gradients of weights: which part of the forward pass each tensor is, and the order of its
 * elements. Gradients are summed in the caller's arrays. */
#include <noken/base.h>
#include <string.h>

#include "forward/backward.h"
#include "model/dtype.h"
#include "model/model.h"

/* ---- Finding ---- */

/* Values of MXFP4 have no gradient. */
static void take(const struct nki_weight *weight, const struct nk_tensor *tensor, float *gradient,
                 struct nki_arrays *out, bool *found) {
  bool here = weight->weight == tensor && weight->scales == NULL;
  if (here) out->weight = gradient;
  if (weight->bias == tensor) out->bias = gradient;
  *found = *found || here || weight->bias == tensor;
}

/* The same of one of a part's tensors. NK_OK or NK_EMEMORY. */
static int take_each(const struct nki_weight *weight, const struct nk_tensor *tensor,
                     float *gradient, struct nki_arrays *out, bool *found) {
  for (size_t i = 0; weight->each != NULL && i < weight->n_each; i++) {
    if (weight->each[i] != tensor) continue;
    if (out->each == NULL) out->each = nk_calloc(weight->n_each, sizeof *out->each);
    if (out->each == NULL) return NK_EMEMORY;
    out->each[i] = gradient;
    *found = true;
  }
  return NK_OK;
}

/* The parts of blocks; lowest becomes the first block that has one. */
static int take_blocks(const struct nk_forward *f, const struct nk_tensor *tensor, float *gradient,
                       struct nki_weight_arrays *a, bool *found) {
  for (size_t layer = 0; layer < f->config.shape.n_layers; layer++)
    for (int part = 0; part < NKI_N_PARTS; part++) {
      const struct nki_weight *weight = &f->blocks[layer].part[part];
      struct nki_arrays *out = &a->blocks[layer].part[part];
      bool here = false;
      take(weight, tensor, gradient, out, &here);
      int code = take_each(weight, tensor, gradient, out, &here);
      if (code != NK_OK) return code;
      if (!here) continue;
      *found = a->blocks[layer].any = true;
      if (layer < a->lowest) a->lowest = layer;
    }
  return NK_OK;
}

static int take_tensor(const struct nk_forward *f, const struct nk_weight_gradient *all,
                       const struct nk_weight_gradient *w, struct nki_weight_arrays *a) {
  bool found = false, below = false;
  const struct nk_tensor *tensor = nk_model_find(f->model, w->tensor);
  if (tensor == NULL) return nk_error_code();
  for (const struct nk_weight_gradient *other = all; other < w; other++)
    if (strcmp(other->tensor, w->tensor) == 0)
      return nk_fail(NK_EUSAGE, "tensor '%s' is given twice", tensor->name);
  const struct nki_weight unembedding = {.weight = f->unembedding, .bias = f->unembedding_bias};
  take(&unembedding, tensor, w->gradient, &a->unembedding, &found);
  take(&f->final_norm, tensor, w->gradient, &a->final_norm, &found);
  take(&f->embedding_norm, tensor, w->gradient, &a->embedding_norm, &below);
  if (f->embedding == tensor) a->embedding = w->gradient;
  if (f->positions == tensor) a->positions = w->gradient;
  below = below || f->embedding == tensor || f->positions == tensor;
  if (below) a->lowest = 0;
  int code = take_blocks(f, tensor, w->gradient, a, &found);
  if (code != NK_OK) return code;
  if (!found && !below)
    return nk_fail(NK_EUNSUPPORTED, "tensor '%s': the gradient of this weight is not implemented",
                   tensor->name);
  return NK_OK;
}

int nki_weight_arrays_make(const struct nk_forward *forward, const struct nk_gradient *gradient,
                           struct nki_weight_arrays *arrays) {
  size_t n_layers = forward->config.shape.n_layers;
  *arrays = (struct nki_weight_arrays){.lowest = n_layers + 1};
  if (gradient->n_weights == 0) return NK_OK;
  if (forward->model->own != NULL)
    return nk_fail(NK_EUNSUPPORTED, "gradients of weights need a safetensors file");
  arrays->n_blocks = n_layers;
  arrays->blocks = nk_calloc(n_layers, sizeof *arrays->blocks);
  int code = arrays->blocks == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < gradient->n_weights && code == NK_OK; i++)
    code = take_tensor(forward, gradient->weights, &gradient->weights[i], arrays);
  return code;
}

static size_t n_elements(const struct nk_forward *forward, const struct nk_weight_gradient *w) {
  return nk_model_find(forward->model, w->tensor)->n_elements;
}

void nki_weight_arrays_clear(const struct nk_forward *forward, const struct nk_gradient *gradient) {
  for (size_t i = 0; i < gradient->n_weights; i++) {
    const struct nk_weight_gradient *w = &gradient->weights[i];
    memset(w->gradient, 0, n_elements(forward, w) * sizeof *w->gradient);
  }
}

int nki_weight_arrays_check(const struct nk_forward *forward, const struct nk_gradient *gradient) {
  for (size_t i = 0; i < gradient->n_weights; i++) {
    const struct nk_weight_gradient *w = &gradient->weights[i];
    size_t n = n_elements(forward, w);
    if (nki_first_not_finite(w->gradient, n) < n)
      return nk_fail(NK_EDATA,
                     "tensor '%s': its gradient is beyond a float's range: give the terms smaller "
                     "weights or vectors",
                     w->tensor);
  }
  return NK_OK;
}

void nki_weight_arrays_free(struct nki_weight_arrays *arrays) {
  for (size_t layer = 0; arrays->blocks != NULL && layer < arrays->n_blocks; layer++)
    for (int part = 0; part < NKI_N_PARTS; part++) nk_free(arrays->blocks[layer].part[part].each);
  nk_free(arrays->blocks);
}

/* ---- The order of the elements ---- */

/* Rows of `width` floats of a fused q, k, v, in turn, become those of the file. */
static int put_in_file_order(const struct nki_config *c, float *rows, size_t width) {
  size_t n = nki_qkv_width(c);
  if (rows == NULL) return NK_OK;
  float *in_turn = nk_alloc(n, width * sizeof *in_turn);
  if (in_turn == NULL) return NK_EMEMORY;
  memcpy(in_turn, rows, n * width * sizeof *rows);
  for (size_t row = 0; row < n; row++)
    memcpy(rows + row * width, in_turn + nki_qkv_row(c, row) * width, width * sizeof *rows);
  nk_free(in_turn);
  return NK_OK;
}

int nki_weight_arrays_finish(const struct nk_forward *forward, const struct nk_gradient *gradient,
                             const struct nki_weight_arrays *arrays, size_t n) {
  const struct nki_config *c = &forward->config;
  int code = NK_OK;
  for (size_t i = 0; i < gradient->n_weights; i++)
    nki_scale(gradient->weights[i].gradient, n_elements(forward, &gradient->weights[i]),
              n == 0 ? 1.0f : 1.0f / (float)n);
  if (c->qkv_groups <= 1 || arrays->blocks == NULL) return NK_OK;
  for (size_t layer = 0; layer < c->shape.n_layers && code == NK_OK; layer++) {
    const struct nki_arrays *qkv = &arrays->blocks[layer].part[NKI_QKV];
    code = put_in_file_order(c, qkv->weight, c->shape.dim);
    if (code == NK_OK) code = put_in_file_order(c, qkv->bias, 1);
  }
  return code;
}
