/* The gradient of the next token's distribution: logits are seen a second time, a block of the
 * vocabulary after the other, and become their gradients, which are multiplied with the block. All
 * terms at one position share its logits. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/backward.h"

enum { RUN = 512 }; /* tokens of a float sum */

struct readout_back {
  const struct nk_forward *forward;
  const struct nki_weight_arrays *arrays; /* or NULL */
  const struct nki_readers *readers;
  struct nk_term *const *terms; /* [n_terms] */
  double *sums;    /* [n_terms] of what the second pass adds up; logs of summed probabilities */
  float *totals;   /* [n_terms] of the distributions that KL divergences are from, else 0 */
  float *logits_d; /* [rows of a tile, block] */
  float *normed_d; /* [n, dim] */
};

static float id_weight(const struct nk_term *t, size_t k) {
  return t->id_weights == NULL ? 1.0f : t->id_weights[k];
}

static bool is_log_sum(const struct nk_term *t) {
  return t->kind == NK_TERM_LOG_PROB && t->summed;
}

/* The log of the sum of the ids' weighted probabilities. */
static double log_sum(const struct nk_term *t, const struct nk_ask *ask) {
  double most = -INFINITY, sum = 0;
  for (size_t k = 0; k < t->n_ids; k++) most = fmax(most, (double)ask->log_probs[k]);
  for (size_t k = 0; k < t->n_ids; k++)
    sum += (double)id_weight(t, k) * exp((double)ask->log_probs[k] - most);
  return most + log(sum);
}

/* The derivative of the term by log p(id k); sum: that of log_sum. */
static float id_slope(const struct nk_term *t, const struct nk_ask *ask, double sum, size_t k) {
  if (!t->summed) return id_weight(t, k);
  return (float)((double)id_weight(t, k) * exp((double)ask->log_probs[k] - sum));
}

/* total: of q, for the KL divergence from it. */
static struct nki_logit_slope slope_of(const struct nk_term *t, const struct nk_ask *ask,
                                       float total) {
  const float w = (float)t->weight;
  struct nki_logit_slope s = {.log_sum_exp = (float)ask->log_sum_exp};
  switch (t->kind) {
    case NK_TERM_LOG_PROB:
      if (t->summed) s.p = -w;
      for (size_t k = 0; k < t->n_ids && !t->summed; k++) s.p -= w * id_weight(t, k);
      break;
    case NK_TERM_ENTROPY:
      s.p = (float)(-t->weight * ask->entropy);
      s.p_log_p = -w;
      break;
    case NK_TERM_KL:
      s.p = (float)(-t->weight * ask->kl);
      s.p_log_p = w;
      s.p_other = -w;
      break;
    case NK_TERM_KL_REVERSE:
      s.p = w * total;
      s.other = -w;
      s.of_exp_other = true;
      break;
    default: /* NK_TERM_LOGITS */
      s.other = w;
  }
  return s;
}

/* Adds up what nki_readout does not. */
static double sum_of(const struct nk_term *t, const struct nk_ask *ask, const float *logits,
                     const float *other, size_t n) {
  double sum = 0;
  for (size_t at = 0; at < n; at += RUN) {
    size_t length = n - at < RUN ? n - at : RUN;
    sum += (double)(t->kind == NK_TERM_LOGITS ? nki_row_product(other + at, logits + at, length)
                                              : nki_reverse_sum(logits + at, other + at,
                                                                (float)ask->log_sum_exp, length));
  }
  return sum;
}

/* The sum of e^o over n numbers of `other`. */
static float total_of(const float *other, size_t n) {
  double sum = 0;
  for (size_t at = 0; at < n; at += RUN)
    sum += (double)nki_exp_sum(other + at, n - at < RUN ? n - at : RUN);
  return (float)sum;
}

/* Whether the term's value is a sum that nki_readout does not give. */
static bool has_sum(const struct nk_term *t) {
  return t->kind == NK_TERM_KL_REVERSE || t->kind == NK_TERM_LOGITS;
}

/* Adds the row's part of term k's sum, where it has one. */
static void add_sum(const struct readout_back *r, const struct nki_logits *l, size_t k,
                    const float *logits) {
  const struct nk_term *t = r->terms[k];
  if (has_sum(t)) r->sums[k] += sum_of(t, r->readers->asks[k], logits, t->vector + l->first, l->n);
}

/* d [n] += the gradients of a row's logits of term k. */
static void term_back(const struct readout_back *r, const struct nki_logits *l, size_t k,
                      const float *logits, float *d) {
  const struct nk_term *t = r->terms[k];
  const struct nk_ask *ask = r->readers->asks[k];
  const float *other =
      t->vector == NULL || t->kind <= NK_TERM_ENTROPY ? NULL : t->vector + l->first;
  const struct nki_logit_slope slope = slope_of(t, ask, r->totals[k]);
  if (l->first == 0 && is_log_sum(t)) r->sums[k] = log_sum(t, ask);
  nki_logits_back(&slope, logits, other, l->n, d);
  for (size_t i = 0; i < t->n_ids && t->kind == NK_TERM_LOG_PROB; i++)
    if ((size_t)t->ids[i] >= l->first && (size_t)t->ids[i] - l->first < l->n)
      d[(size_t)t->ids[i] - l->first] += (float)t->weight * id_slope(t, ask, r->sums[k], i);
  add_sum(r, l, k, logits);
}

/* d [n] = the gradients of a row's logits, with what a cap makes of them. */
static void row_back(const struct readout_back *r, const struct nki_logits *l, size_t i, float *d) {
  const float *logits = l->logits + i * l->ld, cap = r->forward->config.logit_cap;
  const size_t *start = r->readers->start + l->row + i;
  memset(d, 0, l->n * sizeof *d);
  for (size_t k = start[0]; k < start[1]; k++) term_back(r, l, k, logits, d);
  if (cap > 0) nki_soft_cap_back(logits, d, l->n, cap);
}

static void block_back(void *argument, const struct nki_logits *l) {
  struct readout_back *r = argument;
  size_t dim = r->forward->config.shape.dim;
#pragma omp parallel for
  for (size_t i = 0; i < l->n_rows; i++) row_back(r, l, i, r->logits_d + i * l->n);
  if (r->arrays != NULL) {
    const struct nki_product weight = {.first = l->first,
                                       .n_out = l->n,
                                       .n_in = dim,
                                       .x = l->normed,
                                       .ld_x = dim,
                                       .y = r->logits_d,
                                       .ld_y = l->n};
    float *bias = r->arrays->unembedding.bias;
    nki_multiply_weight(&weight, l->n_rows, r->arrays->unembedding.weight);
    nki_sum_rows(r->logits_d, l->n_rows, l->n, l->n, bias == NULL ? NULL : bias + l->first);
  }
  const struct nki_product product = {.weight = l->weight,
                                      .add = true,
                                      .n_out = l->n,
                                      .total = l->n,
                                      .n_in = dim,
                                      .x = r->logits_d,
                                      .ld_x = l->n,
                                      .y = r->normed_d + l->row * dim,
                                      .ld_y = dim};
  nki_multiply_back(&product, l->n_rows);
}

/* The sums alone. */
static void block_values(void *argument, const struct nki_logits *l) {
  const struct readout_back *r = argument;
#pragma omp parallel for
  for (size_t i = 0; i < l->n_rows; i++) {
    const size_t *start = r->readers->start + l->row + i;
    for (size_t k = start[0]; k < start[1]; k++) add_sum(r, l, k, l->logits + i * l->ld);
  }
}

static void set_value(struct nk_term *t, const struct nk_ask *ask, double sum) {
  t->value = 0;
  switch (t->kind) {
    case NK_TERM_LOG_PROB:
      for (size_t k = 0; k < t->n_ids && !t->summed; k++)
        t->value += (double)ask->log_probs[k] * (double)id_weight(t, k);
      if (t->summed) t->value = log_sum(t, ask);
      break;
    case NK_TERM_ENTROPY:
      t->value = ask->entropy;
      break;
    case NK_TERM_KL:
      t->value = ask->kl;
      break;
    default:
      t->value = sum;
  }
}

int nki_outer_norm_back(const struct nk_forward *forward, const struct nki_weight *norm,
                        const struct nki_arrays *to, const float *x, size_t n, float *d) {
  const struct nki_config *c = &forward->config;
  size_t dim = c->shape.dim;
  float *scratch = nk_alloc(2 * dim, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
  const struct nki_norm_step step = nki_outer_norm(forward, norm, scratch);
  const struct nki_normed_rows rows = {n, dim, x, dim, d, dim};
  if (to != NULL) nki_norm_weights_back(&rows, c->rms, c->norm_eps, to->weight, to->bias);
  nki_norm_back(&step, x, n, d, d, false);
  nk_free(scratch);
  return NK_OK;
}

/* d [n, dim], of the final norm's output, becomes that of its input. */
static int final_norm_back(const struct nki_back *back, const float *hidden, size_t n, float *d) {
  const struct nk_forward *f = back->work->forward;
  float scale = f->config.logit_scale;
  if (scale != 1.0f) nki_scale(d, n * f->config.shape.dim, scale);
  return nki_outer_norm_back(f, &f->final_norm,
                             back->arrays == NULL ? NULL : &back->arrays->final_norm, hidden, n, d);
}

int nki_readout_back(const struct nki_back *back, struct nki_readers *readers,
                     struct nk_term *const *terms, float *d) {
  const struct nk_forward *forward = back->work->forward;
  size_t dim = forward->config.shape.dim, n = readers->n, n_terms = readers->start[n];
  size_t tile = n < NKI_ROW_TILE ? n : NKI_ROW_TILE;
  struct readout_back r = {.forward = forward,
                           .arrays = back->arrays,
                           .readers = readers,
                           .terms = terms,
                           .normed_d = d};
  r.sums = nk_calloc(n_terms, sizeof *r.sums);
  r.totals = nk_calloc(n_terms, sizeof *r.totals);
  r.logits_d = nk_alloc(tile * NKI_VOCABULARY_BLOCK, sizeof *r.logits_d);
  int code = r.sums == NULL || r.totals == NULL || r.logits_d == NULL ? NK_EMEMORY : NK_OK;
  bool gradients = !back->values_only, again = gradients;
  memset(d, 0, n * dim * sizeof *d);
  for (size_t k = 0; k < n_terms && code == NK_OK; k++) {
    if (terms[k]->kind == NK_TERM_KL_REVERSE)
      r.totals[k] = total_of(terms[k]->vector, forward->config.shape.n_vocabulary);
    again = again || has_sum(terms[k]);
  }
  if (code == NK_OK)
    code = nki_readout_twice(forward, readers,
                             gradients ? block_back
                             : again   ? block_values
                                       : NULL,
                             &r);
  for (size_t k = 0; k < n_terms && code == NK_OK; k++)
    set_value(terms[k], readers->asks[k], r.sums[k]);
  if (code == NK_OK && gradients) code = final_norm_back(back, readers->final, n, d);
  nk_free(r.sums);
  nk_free(r.totals);
  nk_free(r.logits_d);
  return code;
}
