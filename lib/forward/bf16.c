/* Products of bfloat16. A matrix that is BF16 in the file is packed from there; another is widened
 * as for products of floats, and rounded. Packed are the matrices of one block at a time, as
 * widening does it, so that memory stays that of one block. */
#include "forward/bf16.h"

#include <dlfcn.h>
#include <noken/base.h>
#include <string.h>

#include "base/clones.h"
#include "forward/batch.h"
#include "forward/dnnl.h"
#include "forward/module.h"

enum { FEW_ROWS = 4 };

struct nki_bf16 {
  void *library;
  const struct nki_dnnl_module *module;
  struct nki_dnnl *dnnl;
};

struct nki_packed {
  struct nki_bf16_run *run;
  struct nki_dnnl_matrix *matrix;
};

struct buffer {
  void *values;
  size_t n_bytes;
};

struct nki_bf16_run {
  const struct nki_bf16 *bf16;
  struct nki_packed of[NKI_N_PARTS];
  struct buffer weight, x, y; /* the first two rounded */
  int code;
};

/* ---- The module ---- */

static void no_warning(const char *format, ...) {
  (void)format;
}

int nki_bf16_open(struct nk_forward *forward, bool quiet) {
  static const struct nki_module_name name = {
      .what = "bfloat16 products: the module of oneDNN is",
      .name = "dnnl",
      .needs = " (a build of noken with libdnnl-dev has it, and it needs libdnnl)",
      .symbol = NKI_DNNL_SYMBOL,
      .version = NKI_DNNL_VERSION};
  const struct nki_dnnl_hooks hooks = {.fail = nk_fail, .warn = quiet ? no_warning : nk_warn};
  struct nki_bf16 *bf16 = forward->bf16 = nk_calloc(1, sizeof *bf16);
  const void *module = NULL;
  if (bf16 == NULL) return NK_EMEMORY;
  int code = nki_module_load(&name, &bf16->library, &module);
  if (code != NK_OK) return code;
  bf16->module = module;
  bf16->dnnl = bf16->module->open(&hooks);
  return bf16->dnnl != NULL ? NK_OK : nk_error_code();
}

void nki_bf16_free(struct nki_bf16 *bf16) {
  if (bf16 == NULL) return;
  if (bf16->dnnl != NULL) bf16->module->free(bf16->dnnl);
  if (bf16->library != NULL) dlclose(bf16->library);
  nk_free(bf16);
}

struct nki_bf16_run *nki_bf16_run_new(const struct nki_bf16 *bf16) {
  struct nki_bf16_run *run = nk_calloc(1, sizeof *run);
  if (run == NULL) return NULL;
  run->bf16 = bf16;
  for (int part = 0; part < NKI_N_PARTS; part++) run->of[part].run = run;
  return run;
}

void nki_bf16_run_free(struct nki_bf16_run *run) {
  if (run == NULL) return;
  for (int part = 0; part < NKI_N_PARTS; part++)
    run->bf16->module->free_matrix(run->of[part].matrix);
  nk_free(run->weight.values);
  nk_free(run->x.values);
  nk_free(run->y.values);
  nk_free(run);
}

int nki_bf16_code(const struct nki_bf16_run *run) {
  return run == NULL ? NK_OK : run->code;
}

/* ---- Rounding ---- */

NKI_CLONES static void round_row(const float *restrict x, size_t n, uint16_t *restrict out) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    uint32_t bits, rounded;
    memcpy(&bits, x + i, sizeof bits);
    rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    out[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded); /* NaN */
  }
}

/* The buffer with room for n x width elements of `size` bytes, or NULL. */
static void *room(struct buffer *buffer, size_t n, size_t width, size_t size) {
  size_t n_bytes;
  if (!nk_size_mul(n, width, &n_bytes) || !nk_size_mul(n_bytes, size, &n_bytes)) return NULL;
  if (buffer->n_bytes >= n_bytes) return buffer->values;
  nk_free(buffer->values);
  buffer->values = nk_alloc(n_bytes, 1);
  buffer->n_bytes = buffer->values == NULL ? 0 : n_bytes;
  return buffer->values;
}

/* x [n, width], from row to row ld, rounded into the buffer, or NULL without memory. */
static const uint16_t *round_rows(struct buffer *buffer, const float *x, size_t n, size_t width,
                                  size_t ld) {
  uint16_t *values = room(buffer, n, width, sizeof *values);
  if (values == NULL) return NULL;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) round_row(x + r * ld, width, values + r * width);
  return values;
}

/* ---- Weights ---- */

static bool is_multiplied(enum nki_part part) {
  return (part >= NKI_QKV && part <= NKI_V) || part == NKI_O ||
         (part >= NKI_GATE_UP && part <= NKI_DOWN) ||
         (part >= NKI_EXPERTS_GATE_UP && part <= NKI_SHARED_DOWN);
}

bool nki_bf16_stays(const struct nk_forward *forward, enum nki_part part,
                    const struct nk_tensor *tensor) {
  return forward->bf16 != NULL && tensor->dtype == NK_BF16 && is_multiplied(part);
}

/* A weight as it was found: as floats, or where that is NULL as bfloat16 in a file. */
struct found {
  const float *floats;
  const void *elements;
  size_t n_out, n_in;
  bool in_out;
};

/* The same with all of it as bfloat16. */
static void round_weight(struct nki_bf16_run *run, struct found *w) {
  if (run->code != NK_OK || w->floats == NULL) return;
  w->elements = round_rows(&run->weight, w->floats, w->in_out ? w->n_in : w->n_out,
                           w->in_out ? w->n_out : w->n_in, w->in_out ? w->n_out : w->n_in);
  if (w->elements == NULL) run->code = NK_EMEMORY;
}

/* Rows [first, first + n) of a weight, in the slot of a part. */
static const struct nki_packed *pack(struct nki_bf16_run *run, enum nki_part slot,
                                     const struct found *w, size_t first, size_t n) {
  struct nki_packed *packed = &run->of[slot];
  if (run->code != NK_OK) return packed; /* there may be no elements */
  const struct nki_dnnl_weight rows = {
      .elements = (const uint8_t *)w->elements + 2 * first * (w->in_out ? 1 : w->n_in),
      .n_out = n,
      .n_in = w->n_in,
      .ld = w->in_out ? w->n_out : w->n_in,
      .in_out = w->in_out};
  run->code = run->bf16->module->pack(run->bf16->dnnl, &rows, &packed->matrix);
  return packed;
}

/* A fused q, k, v becomes its three parts: they are multiplied with different rows. */
static void load_qkv(struct nki_work *work, const struct found *w) {
  const struct nki_config *c = &work->forward->config;
  static const enum nki_part each[3] = {NKI_Q, NKI_K, NKI_V};
  const size_t widths[3] = {nki_q_width(c), nki_kv_width(c), nki_kv_width(c)};
  const float *bias = work->floats[NKI_QKV].bias;
  for (size_t i = 0, at = 0; i < 3; at += widths[i++])
    work->floats[each[i]] =
        (struct nki_floats){.bias = bias == NULL ? NULL : bias + at,
                            .packed = pack(work->bf16, each[i], w, at, widths[i])};
  work->floats[NKI_QKV] = (struct nki_floats){NULL, NULL, NULL};
}

void nki_bf16_load_block(struct nki_work *work, size_t layer) {
  const struct nk_forward *forward = work->forward;
  for (int p = 0; p < NKI_N_PARTS; p++) {
    const enum nki_part part = (enum nki_part)p;
    const struct nk_tensor *tensor = forward->blocks[layer].part[part].weight;
    struct nki_floats *floats = &work->floats[part];
    if (tensor == NULL || !is_multiplied(part) || nki_is_experts(part)) continue;
    struct found w = {
        .floats = floats->weight, .elements = tensor->data, .in_out = forward->config.in_out};
    nki_part_shape(&forward->config, part, &w.n_out, &w.n_in);
    round_weight(work->bf16, &w);
    if (part == NKI_QKV) {
      load_qkv(work, &w);
      continue;
    }
    floats->weight = NULL;
    floats->packed = pack(work->bf16, part, &w, 0, w.n_out);
  }
}

void nki_bf16_load_expert(struct nki_work *work, size_t layer, size_t expert,
                          struct nki_expert *weights) {
  static const enum nki_part parts[] = {NKI_EXPERTS_GATE_UP, NKI_EXPERTS_GATE, NKI_EXPERTS_UP,
                                        NKI_EXPERTS_DOWN};
  struct nki_floats *const floats[] = {&weights->gate_up, &weights->gate, &weights->up,
                                       &weights->down};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    const struct nki_weight *part = &work->forward->blocks[layer].part[parts[i]];
    struct found w = {.floats = floats[i]->weight, .in_out = weights->in_out};
    if (part->weight == NULL && part->each == NULL) continue;
    nki_part_shape(&work->forward->config, parts[i], &w.n_out, &w.n_in);
    if (w.floats == NULL)
      w.elements = part->each != NULL
                       ? part->each[expert]->data
                       : (const uint8_t *)part->weight->data + 2 * expert * w.n_out * w.n_in;
    round_weight(work->bf16, &w);
    floats[i]->weight = NULL;
    floats[i]->packed = pack(work->bf16, parts[i], &w, 0, w.n_out);
  }
}

const struct nki_packed *nki_bf16_load_rows(struct nki_bf16_run *run,
                                            const struct nk_tensor *tensor, size_t first, size_t n,
                                            float *scratch) {
  size_t width = tensor->shape[1];
  struct found w = {.n_out = n, .n_in = width};
  if (tensor->dtype == NK_BF16)
    w.elements = (const uint8_t *)tensor->data + 2 * first * width;
  else
    w.floats = nki_tensor_floats(tensor, first * width, n * width, scratch);
  round_weight(run, &w);
  return pack(run, 0, &w, 0, n);
}

/* ---- Products ---- */

NKI_CLONES static void put_row(const float *restrict from, size_t n, bool add, float *restrict to) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) to[i] = from[i] + (add ? to[i] : 0);
}

/* oneDNN 2 has its fast products for whole rows of y only: others go through a buffer. */
void nki_bf16_multiply(const struct nki_product *p, size_t n) {
  struct nki_bf16_run *run = p->packed->run;
  const bool whole = p->ld_y == p->n_out;
  struct nki_dnnl_product product = {.n = n, .y = p->y, .add = p->add && whole};
  if (run->code == NK_OK) product.x = round_rows(&run->x, p->x, n, p->n_in, p->ld_x);
  if (!whole && product.x != NULL) product.y = room(&run->y, n, p->n_out, sizeof *product.y);
  if (run->code == NK_OK && (product.x == NULL || (!whole && product.y == NULL)))
    run->code = NK_EMEMORY;
  if (run->code == NK_OK) run->code = run->bf16->module->multiply(p->packed->matrix, &product);
  if (run->code == NK_OK && whole) return;
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) {
    if (run->code == NK_OK)
      put_row(product.y + r * p->n_out, p->n_out, p->add, p->y + r * p->ld_y);
    else if (!p->add)
      memset(p->y + r * p->ld_y, 0, p->n_out * sizeof *p->y);
  }
}
