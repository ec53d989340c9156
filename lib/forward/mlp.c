/* The mlp of a block: two products with an activation between, and a gate in most families; or a
 * mixture of such experts, of which each row has a few (Shazeer et al. 2017). The rows are grouped
 * by expert, so that each expert is widened once and its products run over all its rows. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/bf16.h"
#include "forward/mlp.h"

/* ---- Buffers ---- */

static size_t max_size(size_t a, size_t b) {
  return a > b ? a : b;
}

size_t nki_mlp_width(const struct nki_config *c) {
  return 2 * max_size(c->shape.mlp_dim, max_size(c->expert_dim, c->shared_dim));
}

size_t nki_inner_width(const struct nk_forward *forward, size_t layer) {
  const struct nki_weight *part = forward->blocks[layer].part;
  bool gated = part[NKI_GATE_UP].weight != NULL || part[NKI_GATE].weight != NULL;
  if (forward->config.layers[layer].sparse) return 0;
  return (gated ? 2 : 1) * forward->config.shape.mlp_dim;
}

int nki_mlp_make(struct nki_work *work) {
  const struct nki_config *c = &work->forward->config;
  size_t n = work->block_rows, dim = c->shape.dim;
  work->own.mlp = nk_alloc(n * nki_mlp_width(c), sizeof(float));
  if (work->own.mlp == NULL) return NK_EMEMORY;
  if (c->n_experts == 0) return NK_OK;
  struct nki_mixture *m = work->own.mixture = nk_calloc(1, sizeof *m);
  if (m == NULL) return NK_EMEMORY;
  m->weights = nk_alloc(work->forward->expert_floats, sizeof(float));
  m->scores = nk_alloc(n, c->n_experts * sizeof(float));
  m->active = nk_alloc(n, c->n_active * sizeof(size_t));
  m->shares = nk_alloc(n, c->n_active * sizeof(float));
  m->start = nk_alloc(c->n_experts + 1, sizeof(size_t));
  m->choices = nk_alloc(n, c->n_active * sizeof *m->choices);
  m->rows = nk_alloc(n, dim * sizeof(float));
  m->out = nk_alloc(n, dim * sizeof(float));
  m->sum = nk_alloc(n, dim * sizeof(float));
  return m->weights == NULL || m->scores == NULL || m->active == NULL || m->shares == NULL ||
                 m->start == NULL || m->choices == NULL || m->rows == NULL || m->out == NULL ||
                 m->sum == NULL
             ? NK_EMEMORY
             : NK_OK;
}

void nki_mlp_free(struct nki_work *work) {
  struct nki_mixture *m = work->own.mixture;
  nk_free(work->own.mlp);
  if (m == NULL) return;
  nk_free(m->weights);
  nk_free(m->scores);
  nk_free(m->active);
  nk_free(m->shares);
  nk_free(m->start);
  nk_free(m->choices);
  nk_free(m->rows);
  nk_free(m->out);
  nk_free(m->sum);
  nk_free(m);
}

/* ---- One mlp ---- */

static void multiply(const struct nki_mlp *mlp, const struct nki_floats *part, size_t n,
                     struct nki_product product) {
  product.weight = part->weight;
  product.packed = part->packed;
  product.total = product.n_out;
  product.in_out = mlp->in_out;
  nki_multiply(&product, n);
}

/* Values of gate and up in a row of the inner layer. */
static bool is_gated(const struct nki_mlp *mlp) {
  return nki_is_there(&mlp->gate_up) || nki_is_there(&mlp->gate);
}

size_t nki_mlp_row(const struct nki_mlp *mlp) {
  return is_gated(mlp) ? 2 * mlp->width : mlp->width;
}

struct nki_activating nki_mlp_activating(const struct nki_config *c, const struct nki_mlp *mlp,
                                         float *buffer, float **h) {
  bool fused = nki_is_there(&mlp->gate_up);
  size_t to_up = !is_gated(mlp) ? 0 : mlp->in_turn ? 1 : mlp->width;
  const float *bias = fused ? mlp->gate_up.bias : mlp->gate.bias;
  *h = buffer + to_up;
  return (struct nki_activating){.f = c->activation,
                                 .width = mlp->width,
                                 .ld = nki_mlp_row(mlp),
                                 .bias = !fused         ? mlp->up.bias
                                         : bias == NULL ? NULL
                                                        : bias + to_up,
                                 .gate = is_gated(mlp) ? buffer : NULL,
                                 .gate_bias = bias,
                                 .limit = c->activation_limit,
                                 .step = mlp->in_turn ? 2 : 1};
}

void nki_mlp_inner(const struct nki_config *c, const struct nki_mlp *mlp, const float *y, size_t n,
                   float *buffer) {
  size_t dim = c->shape.dim, ld = nki_mlp_row(mlp);
  struct nki_product product = {
      .n_out = mlp->width, .n_in = dim, .x = y, .ld_x = dim, .y = buffer, .ld_y = ld};
  if (nki_is_there(&mlp->gate_up)) {
    product.n_out = ld;
    multiply(mlp, &mlp->gate_up, n, product);
    return;
  }
  if (is_gated(mlp)) {
    multiply(mlp, &mlp->gate, n, product);
    product.y += mlp->width;
  }
  multiply(mlp, &mlp->up, n, product);
}

/* out [n, dim] = mlp(y) without the last bias, or with `add` out += that. */
static void run_mlp(const struct nki_config *c, const struct nki_mlp *mlp, const float *y, size_t n,
                    float *buffer, bool add, float *out) {
  float *inner = mlp->keep != NULL ? mlp->keep : buffer, *h;
  nki_mlp_inner(c, mlp, y, n, inner);
  struct nki_activating activating = nki_mlp_activating(c, mlp, inner, &h);
  activating.out = mlp->keep != NULL || mlp->in_turn ? buffer : h;
  activating.ld_out = mlp->keep != NULL ? mlp->width : activating.ld;
  nki_activate(&activating, h, n);
  const struct nki_product product = {.add = add,
                                      .n_out = c->shape.dim,
                                      .n_in = mlp->width,
                                      .x = activating.out,
                                      .ld_x = activating.ld_out,
                                      .y = out,
                                      .ld_y = c->shape.dim};
  multiply(mlp, &mlp->down, n, product);
}

/* ---- A mixture ---- */

/* The n_active experts of a row with the largest scores [n_experts], and their shares: a softmax
 * over all experts, or over the active ones alone. False when a score is not finite. */
static bool choose(const struct nki_config *c, const float *scores, size_t *active, float *shares) {
  double sum = 0, all = 0;
  size_t n = 0;
  for (size_t e = 0; e < c->n_experts; e++) {
    if (!isfinite(scores[e])) return false;
    size_t at = n < c->n_active ? n++ : c->n_active;
    for (; at > 0 && scores[active[at - 1]] < scores[e]; at--)
      if (at < c->n_active) active[at] = active[at - 1];
    if (at < c->n_active) active[at] = e;
  }
  for (size_t e = 0; e < c->n_experts; e++)
    all += exp((double)scores[e] - (double)scores[active[0]]);
  for (size_t k = 0; k < n; k++) {
    double share = exp((double)scores[active[k]] - (double)scores[active[0]]);
    shares[k] = (float)share;
    sum += share;
  }
  for (size_t k = 0; k < n; k++) shares[k] /= (float)(c->active_normed ? sum : all);
  return true;
}

int nki_mixture_route(struct nki_work *work, size_t layer, const float *y, size_t n) {
  const struct nki_config *c = &work->forward->config;
  struct nki_mixture *m = work->own.mixture;
  const struct nki_floats *router = &work->floats[NKI_ROUTER];
  bool finite = true;
  const struct nki_product product = {.weight = router->weight,
                                      .n_out = c->n_experts,
                                      .total = c->n_experts,
                                      .n_in = c->shape.dim,
                                      .x = y,
                                      .ld_x = c->shape.dim,
                                      .y = m->scores,
                                      .ld_y = c->n_experts};
  nki_multiply(&product, n);
  if (router->bias != NULL) nki_add_bias(m->scores, n, c->n_experts, c->n_experts, router->bias);
#pragma omp parallel for reduction(&& : finite)
  for (size_t r = 0; r < n; r++) {
    bool good = choose(c, m->scores + r * c->n_experts, m->active + r * c->n_active,
                       m->shares + r * c->n_active);
    finite = finite && good;
  }
  if (!finite) return nki_fail_block(work->forward, layer);
  memset(m->start, 0, (c->n_experts + 1) * sizeof *m->start);
  for (size_t i = 0; i < n * c->n_active; i++) m->start[m->active[i] + 1]++;
  for (size_t e = 0; e < c->n_experts; e++) m->start[e + 1] += m->start[e];
  for (size_t i = 0; i < n * c->n_active; i++)
    m->choices[m->start[m->active[i]]++] = (struct nki_choice){i / c->n_active, m->shares[i]};
  memmove(m->start + 1, m->start, c->n_experts * sizeof *m->start); /* ends become starts */
  m->start[0] = 0;
  return NK_OK;
}

struct nki_mlp nki_mlp_of_expert(struct nki_work *work, size_t layer, size_t expert) {
  const struct nki_config *c = &work->forward->config;
  struct nki_expert weights;
  nki_expert_widen(work->forward, layer, expert, work->own.mixture->weights, &weights);
  if (work->bf16 != NULL) nki_bf16_load_expert(work, layer, expert, &weights);
  return (struct nki_mlp){.gate_up = weights.gate_up,
                          .gate = weights.gate,
                          .up = weights.up,
                          .down = weights.down,
                          .width = c->expert_dim,
                          .in_out = weights.in_out,
                          .in_turn = c->experts_fused};
}

struct nki_mlp nki_mlp_of_shared(const struct nki_work *work) {
  const struct nki_floats *f = work->floats;
  return (struct nki_mlp){.gate = f[NKI_SHARED_GATE],
                          .up = f[NKI_SHARED_UP],
                          .down = f[NKI_SHARED_DOWN],
                          .width = work->forward->config.shared_dim};
}

struct nki_mlp nki_mlp_of_layer(const struct nki_work *work) {
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  return (struct nki_mlp){.gate_up = f[NKI_GATE_UP],
                          .gate = f[NKI_GATE],
                          .up = f[NKI_UP],
                          .down = f[NKI_DOWN],
                          .width = c->shape.mlp_dim,
                          .in_out = c->in_out};
}

double nki_shared_share(const struct nki_work *work, const float *y) {
  const float *weight = work->floats[NKI_SHARED_SCALE].weight;
  double dot = 0;
  for (size_t k = 0; k < work->forward->config.shape.dim; k++)
    dot += (double)weight[k] * (double)y[k];
  return 1 / (1 + exp(-dot));
}

/* m->sum += the share of each chosen row times the expert's output. */
static void run_expert(struct nki_work *work, size_t layer, size_t expert, const float *y) {
  const struct nki_config *c = &work->forward->config;
  struct nki_mixture *m = work->own.mixture;
  const struct nki_choice *choices = m->choices + m->start[expert];
  size_t n = m->start[expert + 1] - m->start[expert], dim = c->shape.dim;
  if (n == 0) return;
  const struct nki_mlp mlp = nki_mlp_of_expert(work, layer, expert);
  for (size_t i = 0; i < n; i++)
    memcpy(m->rows + i * dim, y + choices[i].row * dim, dim * sizeof *y);
  run_mlp(c, &mlp, m->rows, n, work->own.mlp, false, m->out);
  if (mlp.down.bias != NULL) nki_add_bias(m->out, n, dim, dim, mlp.down.bias);
#pragma omp parallel for
  for (size_t i = 0; i < n; i++) {
    float *sum = m->sum + choices[i].row * dim;
    for (size_t k = 0; k < dim; k++) sum[k] += choices[i].share * m->out[i * dim + k];
  }
}

/* m->sum += the expert that all rows have, times the sigmoid of its own product. */
static void run_shared(struct nki_work *work, const float *y, size_t n) {
  const struct nki_config *c = &work->forward->config;
  struct nki_mixture *m = work->own.mixture;
  size_t dim = c->shape.dim;
  const struct nki_mlp mlp = nki_mlp_of_shared(work);
  run_mlp(c, &mlp, y, n, work->own.mlp, false, m->out);
#pragma omp parallel for
  for (size_t r = 0; r < n; r++) {
    float share = (float)nki_shared_share(work, y + r * dim);
    for (size_t k = 0; k < dim; k++) m->sum[r * dim + k] += share * m->out[r * dim + k];
  }
}

static int run_mixture(struct nki_work *work, size_t layer, const float *y, size_t n) {
  const struct nki_config *c = &work->forward->config;
  int code = nki_mixture_route(work, layer, y, n);
  if (code != NK_OK) return code;
  memset(work->own.mixture->sum, 0, n * c->shape.dim * sizeof(float));
  for (size_t e = 0; e < c->n_experts; e++) run_expert(work, layer, e, y);
  if (nki_is_there(&work->floats[NKI_SHARED_UP])) run_shared(work, y, n);
  return NK_OK;
}

int nki_mlp_run(struct nki_work *work, size_t layer, const float *y, size_t n, bool add, float *out,
                float *inner) {
  const struct nki_config *c = &work->forward->config;
  size_t size = n * c->shape.dim;
  if (!c->layers[layer].sparse) {
    struct nki_mlp mlp = nki_mlp_of_layer(work);
    mlp.keep = inner;
    run_mlp(c, &mlp, y, n, work->own.mlp, add, out);
    return NK_OK;
  }
  int code = run_mixture(work, layer, y, n);
  if (code != NK_OK) return code;
  if (add)
    nki_add(out, work->own.mixture->sum, size);
  else
    memcpy(out, work->own.mixture->sum, size * sizeof *out);
  return NK_OK;
}
