/* Products with the Jacobian of the logits less their mean, by differences of the forward pass, and
 * with its transpose, by gradients; the logits of one probe are held at a time. */
#include "forward/directions.h"

#include <math.h>
#include <noken/base.h>
#include <string.h>

/* ---- J v ---- */

void nki_directions_move(const struct nki_directions *block) {
  size_t dim = block->dim;
#pragma omp parallel for
  for (size_t o = 0; o < block->n; o++)
    for (size_t i = 0; i < block->n_each; i++) {
      const float *x = block->x + o * dim;
      const double *v = block->v + (o * block->width + i / 2) * dim;
      double step = i / 2 == block->width ? 0 : i % 2 == 0 ? block->step[o] : -block->step[o];
      float *out = block->moved + (o * block->n_each + i) * dim;
      for (size_t d = 0; d < dim; d++)
        out[d] = step == 0 ? x[d] : (float)((double)x[d] + step * v[d]);
    }
}

static int read_logits(const struct nki_directions *block, const struct nk_probe *probe) {
  const struct nki_slice slice = {.n = block->n * block->n_each, .vectors = block->moved};
  struct nki_layout layout;
  struct nk_ask *asks = nk_calloc(slice.n, sizeof *asks);
  int code = nki_layout_make(probe, &slice, &layout);
  if (asks == NULL) code = NK_EMEMORY;
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < slice.n; i++)
    asks[i] = (struct nk_ask){.sequence = i,
                              .position = probe->base + probe->end,
                              .distribution = true,
                              .logits = block->logits + i * block->vocabulary};
  layout.batch.asks = asks;
  layout.batch.n_asks = slice.n;
  code = nk_forward_run(probe->forward, &layout.batch);
done:
  nki_layout_free(&layout);
  nk_free(asks);
  return code;
}

/* p [n] = the softmax of the logits. */
static void softmax(const float *logits, size_t n, double *p) {
  double most = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
  for (size_t i = 0; i < n; i++) sum += p[i] = exp((double)logits[i] - most);
  for (size_t i = 0; i < n; i++) p[i] /= sum;
}

/* One origin: its rows of logits become J v less its mean (with weights p: the root of p times what
 * is left of the mean by p), and their products are added to its gram. Then what the transpose is
 * multiplied with takes their place. p [vocabulary] or NULL. */
static void weigh(const struct nki_directions *block, size_t origin, const double *p,
                  double share) {
  size_t n = block->vocabulary, width = block->width;
  float *rows = block->logits + origin * block->n_each * n;
  double *gram = block->gram + origin * width * width;
  for (size_t i = 0; i < width; i++) {
    const float *forward = rows + 2 * i * n, *back = forward + n;
    float *out = rows + i * n; /* at or before what it is made from */
    double mean = 0;
    for (size_t t = 0; t < n; t++) {
      double slope = ((double)forward[t] - (double)back[t]) / (2 * block->step[origin]);
      out[t] = (float)slope;
      mean += p == NULL ? slope / (double)n : p[t] * slope;
    }
    for (size_t t = 0; t < n; t++)
      out[t] = (float)(((double)out[t] - mean) * (p == NULL ? 1 : sqrt(p[t])));
  }
  for (size_t i = 0; i < width; i++)
    for (size_t j = 0; j <= i; j++) {
      double sum = 0;
      for (size_t t = 0; t < n; t++) sum += (double)rows[i * n + t] * (double)rows[j * n + t];
      gram[i * width + j] += share * sum;
      if (j < i) gram[j * width + i] += share * sum;
    }
  for (size_t i = 0; i < width * n && p != NULL; i++)
    rows[i] = (float)((double)rows[i] * sqrt(p[i % n]));
}

static int weigh_all(const struct nki_directions *block) {
  size_t n = block->vocabulary;
  double share = 1 / (double)block->options->n_probes;
  bool failed = false;
#pragma omp parallel for
  for (size_t o = 0; o < block->n; o++) {
    double *p = block->options->fisher ? nk_alloc(n, sizeof *p) : NULL;
    if (block->options->fisher && p == NULL) {
#pragma omp atomic write
      failed = true;
      continue;
    }
    if (p != NULL) softmax(block->logits + ((o + 1) * block->n_each - 1) * n, n, p);
    weigh(block, o, p, share);
    nk_free(p);
  }
  return failed ? nk_fail(NK_EMEMORY, "no memory for the weights of logits") : NK_OK;
}

/* ---- Products with the transpose ---- */

/* Adds the probe's part of J^T J v to b. */
static int pull(const struct nki_directions *block, const struct nk_probe *probe) {
  size_t n = block->n * block->width, dim = block->dim, width = block->width;
  const struct nki_slice slice = {.n = n, .vectors = block->slopes};
  struct nki_layout layout;
  struct nk_gradient gradient = {.terms = nk_calloc(n, sizeof *gradient.terms), .n_terms = n};
  for (size_t i = 0; i < n; i++)
    memcpy(block->slopes + i * dim, block->x + i / width * dim, dim * sizeof(float));
  int code = nki_layout_make(probe, &slice, &layout);
  if (code == NK_OK) gradient.overrides = nk_alloc(layout.batch.n_overrides, dim * sizeof(float));
  if (gradient.terms == NULL || gradient.overrides == NULL) code = NK_EMEMORY;
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < n; i++)
    gradient.terms[i] = (struct nk_term){
        .sequence = i,
        .position = probe->base + probe->end,
        .kind = NK_TERM_LOGITS,
        .weight = 1 / (double)block->options->n_probes,
        .vector = block->logits + (i / width * block->n_each + i % width) * block->vocabulary};
  code = nk_gradient_run(probe->forward, &layout.batch, &gradient);
  if (code != NK_OK) goto done;
  memset(block->slopes, 0, n * dim * sizeof(float));
  nki_add_vector_gradients(probe, &layout.batch, gradient.overrides, block->slopes);
  for (size_t i = 0; i < n * dim; i++) block->b[i] += (double)block->slopes[i];
done:
  nki_layout_free(&layout);
  nk_free(gradient.terms);
  nk_free(gradient.overrides);
  return code;
}

int nki_directions_multiply(const struct nki_directions *block, const struct nk_probe *probe) {
  int code = read_logits(block, probe);
  if (code == NK_OK) code = weigh_all(block);
  return code == NK_OK ? pull(block, probe) : code;
}
