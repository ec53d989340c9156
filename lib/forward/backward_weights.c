/* Gradients of weights: which part of the forward pass each tensor is, and the order of its
 * elements. Gradients are summed in the caller's arrays. */
#include <noken/base.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "forward/backward.h"
#include "model/dtype.h"
#include "model/model.h"

/* ---- Finding ---- */

struct given {
  const struct nk_tensor *tensor;
  size_t number; /* of the weight */
};

/* The weights whose gradients are wanted, so that each tensor of the model is looked up once. */
struct wanted {
  const struct nk_weight_gradient *weights; /* [n] */
  struct given *given;                      /* [n] in the order of their tensors' addresses */
  bool *found;                              /* [n] whether a part of the pass is weight i */
  size_t n;
};

static int compare_given(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)((const struct given *)a)->tensor;
  uintptr_t y = (uintptr_t)((const struct given *)b)->tensor;
  return (x > y) - (x < y);
}

static int list_wanted(const struct nk_forward *forward, const struct nk_gradient *gradient,
                       struct wanted *wanted) {
  size_t n = gradient->n_weights;
  struct given *given = nk_alloc(n, sizeof *given);
  *wanted = (struct wanted){gradient->weights, given, nk_calloc(n, sizeof(bool)), n};
  if (given == NULL || wanted->found == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    given[i] = (struct given){nk_model_find(forward->model, gradient->weights[i].tensor), i};
    if (given[i].tensor == NULL) return nk_error_code();
  }
  qsort(given, n, sizeof *given, compare_given);
  for (size_t i = 1; i < n; i++)
    if (given[i].tensor == given[i - 1].tensor)
      return nk_fail(NK_EUSAGE, "tensor '%s' is given twice", given[i].tensor->name);
  return NK_OK;
}

/* True where the tensor is wanted: *to becomes its gradient. */
static bool take_one(struct wanted *wanted, const struct nk_tensor *tensor, float **to) {
  const struct given key = {.tensor = tensor};
  const struct given *at = bsearch(&key, wanted->given, wanted->n, sizeof key, compare_given);
  if (tensor == NULL || at == NULL) return false;
  *to = wanted->weights[at->number].gradient;
  wanted->found[at->number] = true;
  return true;
}

/* A part outside the blocks, or of a block. Values of MXFP4 have no gradient. */
static bool take(struct wanted *wanted, const struct nki_weight *weight, struct nki_arrays *out) {
  bool any = weight->scales == NULL && take_one(wanted, weight->weight, &out->weight);
  return take_one(wanted, weight->bias, &out->bias) || any;
}

/* The same of a part in several tensors. NK_OK or NK_EMEMORY. */
static int take_each(struct wanted *wanted, const struct nki_weight *weight, struct nki_arrays *out,
                     bool *any) {
  float *gradient;
  for (size_t i = 0; weight->each != NULL && i < weight->n_each; i++) {
    if (!take_one(wanted, weight->each[i], &gradient)) continue;
    if (out->each == NULL) out->each = nk_calloc(weight->n_each, sizeof *out->each);
    if (out->each == NULL) return NK_EMEMORY;
    out->each[i] = gradient;
    *any = true;
  }
  return NK_OK;
}

/* The parts of blocks; lowest becomes the first block that has one. */
static int take_blocks(const struct nk_forward *f, struct wanted *wanted,
                       struct nki_weight_arrays *a) {
  for (size_t layer = 0; layer < f->config.shape.n_layers; layer++) {
    bool *any = &a->blocks[layer].any;
    for (int part = 0; part < NKI_N_PARTS; part++) {
      const struct nki_weight *weight = &f->blocks[layer].part[part];
      struct nki_arrays *out = &a->blocks[layer].part[part];
      if (take(wanted, weight, out)) *any = true;
      int code = take_each(wanted, weight, out, any);
      if (code != NK_OK) return code;
    }
    if (*any && layer < a->lowest) a->lowest = layer;
  }
  return NK_OK;
}

static int fail_without(const struct nk_tensor *tensor) {
  return nk_fail(NK_EUNSUPPORTED, "tensor '%s': the gradient of this weight is not implemented",
                 tensor->name);
}

static int take_all(const struct nk_forward *f, struct wanted *wanted,
                    struct nki_weight_arrays *a) {
  const struct nki_weight unembedding = {.weight = f->unembedding, .bias = f->unembedding_bias};
  take(wanted, &unembedding, &a->unembedding);
  take(wanted, &f->final_norm, &a->final_norm);
  int code = take_blocks(f, wanted, a);
  bool below = take(wanted, &f->embedding_norm, &a->embedding_norm);
  below = take_one(wanted, f->embedding, &a->embedding) || below;
  below = take_one(wanted, f->positions, &a->positions) || below;
  if (below) a->lowest = 0;
  for (size_t i = 0; i < wanted->n && code == NK_OK; i++)
    if (!wanted->found[i]) code = fail_without(nk_model_find(f->model, wanted->weights[i].tensor));
  return code;
}

static int fail_not_safetensors(void) {
  return nk_fail(NK_EUNSUPPORTED, "gradients of weights need a safetensors file");
}

int nki_check_weight_gradients(const struct nk_forward *forward) {
  if (forward->model->own != NULL) return fail_not_safetensors();
  for (size_t layer = 0; layer < forward->config.shape.n_layers; layer++)
    for (int part = 0; part < NKI_N_PARTS; part++) {
      const struct nki_weight *weight = &forward->blocks[layer].part[part];
      if (weight->scales != NULL) return fail_without(weight->weight);
    }
  return NK_OK;
}

int nki_check_gradients(const struct nk_forward *forward) {
  if (forward->engine != &nki_native_engine)
    return nk_fail(NK_EUNSUPPORTED, "%s has no gradients: use the native engine",
                   forward->engine->name);
  if (forward->bf16 != NULL)
    return nk_fail(NK_EUNSUPPORTED, "products of bfloat16 have no gradients: use F32");
  return NK_OK;
}

int nki_weight_arrays_make(const struct nk_forward *forward, const struct nk_gradient *gradient,
                           struct nki_weight_arrays *arrays) {
  size_t n_layers = forward->config.shape.n_layers;
  *arrays = (struct nki_weight_arrays){.lowest = n_layers + 1};
  if (gradient->n_weights == 0) return NK_OK;
  if (forward->model->own != NULL) return fail_not_safetensors();
  struct wanted wanted;
  arrays->n_blocks = n_layers;
  arrays->blocks = nk_calloc(n_layers, sizeof *arrays->blocks);
  int code = list_wanted(forward, gradient, &wanted);
  if (arrays->blocks == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = take_all(forward, &wanted, arrays);
  nk_free(wanted.given);
  nk_free(wanted.found);
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
