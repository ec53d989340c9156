/* The gradient of an mlp's input. A mixture's choice of experts is held; the shares have gradients.
 * The output of an expert is linear in what multiplies it, so its own gradient is computed without
 * the share, and its product with the output is that with the activated values. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/backward.h"
#include "forward/mlp.h"

static void multiply_back(const struct nki_mlp *mlp, const float *weight, size_t n,
                          struct nki_product product) {
  product.weight = weight;
  product.total = product.n_out;
  product.in_out = mlp->in_out;
  nki_multiply_back(&product, n);
}

/* dact [n, width] = the gradient of the activated values. */
static void down_back(const struct nki_config *c, const struct nki_mlp *mlp, const float *d,
                      size_t n, float *dact) {
  const struct nki_product product = {.n_out = c->shape.dim,
                                      .n_in = mlp->width,
                                      .x = d,
                                      .ld_x = c->shape.dim,
                                      .y = dact,
                                      .ld_y = mlp->width};
  multiply_back(mlp, mlp->down.weight, n, product);
}

/* dy [n, dim], and inner becomes its gradient, dact the activated values. */
static void inner_back(const struct nki_config *c, const struct nki_mlp *mlp, float *inner,
                       size_t n, float *dact, float *dy) {
  size_t dim = c->shape.dim, ld = nki_mlp_row(mlp);
  float *h;
  const struct nki_activating activating = nki_mlp_activating(c, mlp, inner, &h);
  nki_activate_back(&activating, h, dact, n);
  struct nki_product product = {
      .n_out = mlp->width, .n_in = dim, .x = inner, .ld_x = ld, .y = dy, .ld_y = dim};
  if (mlp->gate_up.weight != NULL) {
    product.n_out = ld;
    multiply_back(mlp, mlp->gate_up.weight, n, product);
    return;
  }
  if (mlp->gate.weight != NULL) {
    multiply_back(mlp, mlp->gate.weight, n, product);
    product.add = true;
    product.x = h;
  }
  multiply_back(mlp, mlp->up.weight, n, product);
}

/* ---- Weights ---- */

/* Where the gradients of an mlp's weights are added. */
struct mlp_arrays {
  struct nki_arrays gate_up, gate, up, down;
};

/* What they are made of: y [n, dim] the input, inner the gradients of the inner values,
 * h [n, width] the activated values, d [n, dim] the gradient of the output. */
struct mlp_rows {
  const float *y, *h;
  float *inner, *d;
};

static void weights_back(const struct mlp_arrays *to, const struct nki_mlp *mlp, size_t dim,
                         const struct mlp_rows *rows, size_t n) {
  size_t width = mlp->width, ld = nki_mlp_row(mlp);
  bool fused = mlp->gate_up.weight != NULL, gated = ld > width;
  struct nki_product product = {.in_out = mlp->in_out,
                                .n_out = fused ? ld : width,
                                .total = fused ? ld : width,
                                .n_in = dim,
                                .x = rows->y,
                                .ld_x = dim,
                                .y = rows->inner,
                                .ld_y = ld};
  const struct nki_arrays *first = fused ? &to->gate_up : gated ? &to->gate : NULL;
  if (first != NULL) {
    nki_multiply_weight(&product, n, first->weight);
    nki_sum_rows(rows->inner, n, product.n_out, ld, first->bias);
  }
  if (!fused) {
    product.y = gated ? rows->inner + width : rows->inner;
    nki_multiply_weight(&product, n, to->up.weight);
    nki_sum_rows(product.y, n, width, ld, to->up.bias);
  }
  const struct nki_product down = {.in_out = mlp->in_out,
                                   .n_out = dim,
                                   .total = dim,
                                   .n_in = width,
                                   .x = rows->h,
                                   .ld_x = width,
                                   .y = rows->d,
                                   .ld_y = dim};
  nki_multiply_weight(&down, n, to->down.weight);
  nki_sum_rows(rows->d, n, dim, dim, to->down.bias);
}

static const struct nki_arrays *arrays_of(const struct nki_back *back, size_t layer) {
  bool any = back->arrays != NULL && back->arrays->blocks[layer].any;
  return any ? back->arrays->blocks[layer].part : NULL;
}

/* ---- A mixture ---- */

/* Products of the gradient d of the rows' output with the output itself. */
static void share_back(const struct nki_mlp *mlp, const float *dact, const float *h, const float *d,
                       size_t n, size_t dim, float *products) {
#pragma omp parallel for
  for (size_t i = 0; i < n; i++) {
    products[i] = nki_row_product(dact + i * mlp->width, h + i * mlp->width, mlp->width);
    if (mlp->down.bias != NULL) products[i] += nki_row_product(d + i * dim, mlp->down.bias, dim);
  }
}

/* The gradients of m->rows [n, dim] into m->rows, and the products into m->shares [n], from those
 * of the output in m->out. Uses the mixture's buffers. */
static void rows_back(struct nki_back *back, const struct nki_mlp *mlp, size_t n, float *products) {
  const struct nki_config *c = &back->work->forward->config;
  struct nki_mixture *m = back->work->own.mixture;
  float *inner = back->work->own.mlp, *dact = back->dact, *h = dact + n * mlp->width;
  nki_mlp_inner(c, mlp, m->rows, n, inner);
  down_back(c, mlp, m->out, n, dact);
  memcpy(h, dact, n * mlp->width * sizeof *h);
  inner_back(c, mlp, inner, n, h, m->rows);
  share_back(mlp, dact, h, m->out, n, c->shape.dim, products);
}

static void scale_rows(float *x, size_t n, size_t width, const float *factors) {
#pragma omp parallel for
  for (size_t r = 0; r < n; r++)
    for (size_t k = 0; k < width; k++) x[r * width + k] *= factors[r];
}

/* What rows_back has left of n rows, whose outputs have the shares, and their input in m->rows. */
static void shared_weights_back(const struct nki_back *back, const struct mlp_arrays *to,
                                const struct nki_mlp *mlp, size_t n, const float *shares) {
  struct nki_work *work = back->work;
  struct nki_mixture *m = work->own.mixture;
  size_t dim = work->forward->config.shape.dim;
  const struct mlp_rows rows = {m->rows, back->dact + n * mlp->width, work->own.mlp, m->out};
  scale_rows(work->own.mlp, n, nki_mlp_row(mlp), shares);
  scale_rows(m->out, n, dim, shares);
  weights_back(to, mlp, dim, &rows, n);
}

/* The arrays of one expert of a part. */
static struct nki_arrays of_expert(const struct nki_back *back, size_t layer, enum nki_part part,
                                   size_t expert) {
  const struct nki_weight *w = &back->work->forward->blocks[layer].part[part];
  struct nki_arrays to = back->arrays->blocks[layer].part[part];
  size_t n = back->work->forward->config.n_experts;
  if (to.weight != NULL) to.weight += expert * (w->weight->n_elements / n);
  if (to.bias != NULL) to.bias += expert * (w->bias->n_elements / n);
  if (to.each != NULL) to.weight = to.each[expert];
  return to;
}

static void expert_weights_back(const struct nki_back *back, size_t layer, size_t expert,
                                const struct nki_mlp *mlp, const float *y) {
  struct nki_mixture *m = back->work->own.mixture;
  const struct nki_choice *choices = m->choices + m->start[expert];
  size_t n = m->start[expert + 1] - m->start[expert];
  size_t dim = back->work->forward->config.shape.dim;
  if (arrays_of(back, layer) == NULL) return;
  const struct mlp_arrays to = {of_expert(back, layer, NKI_EXPERTS_GATE_UP, expert),
                                of_expert(back, layer, NKI_EXPERTS_GATE, expert),
                                of_expert(back, layer, NKI_EXPERTS_UP, expert),
                                of_expert(back, layer, NKI_EXPERTS_DOWN, expert)};
  for (size_t i = 0; i < n; i++) {
    memcpy(m->rows + i * dim, y + choices[i].row * dim, dim * sizeof *y);
    back->dscores[i] = choices[i].share; /* not in use yet */
  }
  shared_weights_back(back, &to, mlp, n, back->dscores);
}

/* The choice of `expert` among the row's. */
static size_t find_choice(const struct nki_config *c, const struct nki_mixture *m, size_t row,
                          size_t expert) {
  size_t at = row * c->n_active;
  while (m->active[at] != expert) at++;
  return at;
}

/* dy += the gradients through one expert; dshares [n * n_active]. */
static void expert_back(struct nki_back *back, size_t layer, size_t expert, const float *y,
                        const float *d, float *dshares, float *dy) {
  struct nki_work *work = back->work;
  const struct nki_config *c = &work->forward->config;
  struct nki_mixture *m = work->own.mixture;
  const struct nki_choice *choices = m->choices + m->start[expert];
  size_t n = m->start[expert + 1] - m->start[expert], dim = c->shape.dim;
  float *products = m->sum; /* [n], not used in a backward pass */
  if (n == 0) return;
  const struct nki_mlp mlp = nki_mlp_of_expert(work, layer, expert);
  for (size_t i = 0; i < n; i++) {
    memcpy(m->rows + i * dim, y + choices[i].row * dim, dim * sizeof *y);
    memcpy(m->out + i * dim, d + choices[i].row * dim, dim * sizeof *d);
  }
  rows_back(back, &mlp, n, products);
#pragma omp parallel for
  for (size_t i = 0; i < n; i++) {
    float *to = dy + choices[i].row * dim;
    for (size_t k = 0; k < dim; k++) to[k] += choices[i].share * m->rows[i * dim + k];
    dshares[find_choice(c, m, choices[i].row, expert)] = products[i];
  }
  expert_weights_back(back, layer, expert, &mlp, y);
}

/* The same of the expert that all rows have; slopes [n] are those of its share. */
static void all_weights_back(const struct nki_back *back, size_t layer, const struct nki_mlp *mlp,
                             const float *y, size_t n, const float *slopes) {
  struct nki_mixture *m = back->work->own.mixture;
  const struct nki_arrays *part = arrays_of(back, layer);
  size_t dim = back->work->forward->config.shape.dim;
  if (part == NULL) return;
  const struct mlp_arrays to = {
      {NULL}, part[NKI_SHARED_GATE], part[NKI_SHARED_UP], part[NKI_SHARED_DOWN]};
  const struct nki_product scale = {
      .n_out = 1, .total = 1, .n_in = dim, .x = y, .ld_x = dim, .y = (float *)slopes, .ld_y = 1};
  nki_multiply_weight(&scale, n, part[NKI_SHARED_SCALE].weight);
  memcpy(m->rows, y, n * dim * sizeof *y);
  shared_weights_back(back, &to, mlp, n, back->dscores);
}

static void shared_back(struct nki_back *back, size_t layer, const float *y, size_t n,
                        const float *d, float *dy) {
  struct nki_work *work = back->work;
  size_t dim = work->forward->config.shape.dim;
  struct nki_mixture *m = work->own.mixture;
  const float *weight = work->floats[NKI_SHARED_SCALE].weight;
  const struct nki_mlp mlp = nki_mlp_of_shared(work);
  memcpy(m->rows, y, n * dim * sizeof *y);
  memcpy(m->out, d, n * dim * sizeof *d);
  rows_back(back, &mlp, n, m->sum);
#pragma omp parallel for
  for (size_t r = 0; r < n; r++) {
    float share = (float)nki_shared_share(work, y + r * dim);
    float slope = share * (1 - share) * m->sum[r];
    back->dscores[r] = share; /* not in use yet */
    m->sum[r] = slope;
    for (size_t k = 0; k < dim; k++)
      dy[r * dim + k] += share * m->rows[r * dim + k] + slope * weight[k];
  }
  all_weights_back(back, layer, &mlp, y, n, m->sum);
}

/* dscores [n_experts] of a row, from the shares' gradients: that of a softmax over the active
 * experts or over all. */
static void scores_back(const struct nki_config *c, const struct nki_mixture *m, size_t row,
                        const float *dshares, float *dscores) {
  const size_t *active = m->active + row * c->n_active;
  const float *shares = m->shares + row * c->n_active, *scores = m->scores + row * c->n_experts;
  double dot = 0;
  for (size_t k = 0; k < c->n_active; k++) dot += (double)dshares[k] * (double)shares[k];
  for (size_t e = 0; e < c->n_experts; e++) {
    double p = (double)shares[0] * exp((double)scores[e] - (double)scores[active[0]]);
    dscores[e] = c->active_normed ? 0 : (float)(-p * dot);
  }
  for (size_t k = 0; k < c->n_active; k++) {
    double slope = (double)dshares[k] - (c->active_normed ? dot : 0);
    dscores[active[k]] += (float)((double)shares[k] * slope);
  }
}

static void router_back(struct nki_back *back, size_t layer, const float *y, size_t n,
                        const float *dshares, float *dy) {
  const struct nki_config *c = &back->work->forward->config;
#pragma omp parallel for
  for (size_t r = 0; r < n; r++)
    scores_back(c, back->work->own.mixture, r, dshares + r * c->n_active,
                back->dscores + r * c->n_experts);
  const struct nki_product product = {.weight = back->work->floats[NKI_ROUTER].weight,
                                      .add = true,
                                      .n_out = c->n_experts,
                                      .total = c->n_experts,
                                      .n_in = c->shape.dim,
                                      .x = back->dscores,
                                      .ld_x = c->n_experts,
                                      .y = dy,
                                      .ld_y = c->shape.dim};
  nki_multiply_back(&product, n);
  const struct nki_arrays *part = arrays_of(back, layer);
  if (part == NULL) return;
  struct nki_product weight = product;
  weight.x = y;
  weight.ld_x = c->shape.dim;
  weight.y = back->dscores;
  weight.ld_y = c->n_experts;
  nki_multiply_weight(&weight, n, part[NKI_ROUTER].weight);
  nki_sum_rows(back->dscores, n, c->n_experts, c->n_experts, part[NKI_ROUTER].bias);
}

static int mixture_back(struct nki_back *back, size_t layer, const float *y, size_t n,
                        const float *d, float *dy) {
  struct nki_work *work = back->work;
  const struct nki_config *c = &work->forward->config;
  int code = nki_mixture_route(work, layer, y, n);
  if (code != NK_OK) return code;
  float *dshares = nk_alloc(n, c->n_active * sizeof *dshares);
  if (dshares == NULL) return NK_EMEMORY;
  memset(dy, 0, n * c->shape.dim * sizeof *dy);
  for (size_t e = 0; e < c->n_experts; e++) expert_back(back, layer, e, y, d, dshares, dy);
  if (work->floats[NKI_SHARED_UP].weight != NULL) shared_back(back, layer, y, n, d, dy);
  router_back(back, layer, y, n, dshares, dy);
  nk_free(dshares);
  return NK_OK;
}

int nki_mlp_back(struct nki_back *back, size_t layer, float *inner, const float *y, size_t n,
                 float *d, float *dy) {
  const struct nki_config *c = &back->work->forward->config;
  if (c->layers[layer].sparse) return mixture_back(back, layer, y, n, d, dy);
  const struct nki_mlp mlp = nki_mlp_of_layer(back->work);
  down_back(c, &mlp, d, n, back->work->own.mlp);
  inner_back(c, &mlp, inner, n, back->work->own.mlp, dy);
  const struct nki_arrays *part = arrays_of(back, layer);
  if (part == NULL) return NK_OK;
  const struct mlp_arrays to = {part[NKI_GATE_UP], part[NKI_GATE], part[NKI_UP], part[NKI_DOWN]};
  const struct mlp_rows rows = {y, back->work->own.mlp, inner, d};
  weights_back(&to, &mlp, c->shape.dim, &rows, n);
  return NK_OK;
}
