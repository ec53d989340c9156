/* The reference of a probe: the mean distribution of ordinary tokens, from which KL divergences are
 * measured, and the behaviour of other ordinary tokens, which p-values compare with.
 *
 * A token lies nearer to a mean that it is part of than other tokens do. Tokens of the fold that
 * gives the mean are therefore judged the other way round, by the mean of the other fold and among
 * their own: whatever a token's place, it is compared with tokens that are measured as it is. */
#include <math.h>
#include <string.h>

#include "forward/probe.h"

enum { N_FEATURES = 3 }; /* beside the norms */

/* The features of a behaviour at one offset, [n_items, N_FEATURES + n_layers]: entropy, top
 * probability, KL and the logarithms of the residual norms. */
static double *features_at(const struct nk_behaviour *b, size_t offset) {
  size_t dim = N_FEATURES + b->n_layers;
  double *features = nk_alloc(b->n_items, dim * sizeof *features);
  if (features == NULL) return NULL;
  for (size_t i = 0; i < b->n_items; i++) {
    size_t row = i * b->n_offsets + offset;
    double *f = features + i * dim;
    f[0] = b->entropy[row];
    f[1] = b->top_prob[row];
    f[2] = b->kl[row];
    for (size_t l = 0; l < b->n_layers; l++)
      f[N_FEATURES + l] = log(fmax(b->norms[row * b->n_layers + l], 1e-30));
  }
  return features;
}

/* ---- Sides ---- */

/* The mean distribution of n tokens at every offset, as logarithms. A probability of 0 in float is
 * too small to matter; its logarithm must be finite. */
static int compute_mean(const struct nk_probe *probe, const int64_t *ids, size_t n,
                        float *log_mean) {
  size_t vocabulary = probe->forward->config.shape.n_vocabulary;
  struct nk_items items = {.tokens = ids, .n_tokens = n};
  struct nki_wanted wanted = {.sum = nk_calloc(probe->n_offsets, vocabulary * sizeof *wanted.sum)};
  if (wanted.sum == NULL) return NK_EMEMORY;
  int code = nki_probe_pass(probe, &items, &wanted);
  for (size_t i = 0; i < probe->n_offsets * vocabulary && code == NK_OK; i++)
    log_mean[i] = (float)log(fmax(wanted.sum[i] / (double)n, 1e-38));
  nk_free(wanted.sum);
  return code;
}

static int fit_side(const struct nk_probe *probe, struct nki_side *side) {
  struct nk_items items = {.tokens = side->ids, .n_tokens = side->n};
  struct nki_wanted wanted = {.log_mean = side->log_mean};
  wanted.into = side->others = nki_behaviour_new(probe, side->n);
  if (side->others == NULL) return nk_error_code();
  int code = nki_probe_pass(probe, &items, &wanted);
  for (size_t k = 0; k < probe->n_offsets && code == NK_OK; k++) {
    double *features = features_at(side->others, k);
    if (features != NULL)
      side->typical[k] =
          nki_typical_new(features, side->n, N_FEATURES + side->others->n_layers, N_FEATURES);
    if (side->typical[k] == NULL) code = nk_error_code();
    nk_free(features);
  }
  return code;
}

static void free_side(struct nki_side *side, size_t n_offsets) {
  for (size_t k = 0; side->typical != NULL && k < n_offsets; k++)
    nki_typical_free(side->typical[k]);
  nk_free(side->typical);
  nk_behaviour_free(side->others);
  nk_free(side->log_mean);
  *side = (struct nki_side){0};
}

/* Side `which` of the reference, once. */
static int need_side(const struct nk_probe *probe, struct nki_reference *r, size_t which) {
  size_t vocabulary = probe->forward->config.shape.n_vocabulary, half = r->n_ids / 2;
  struct nki_side *side = &r->side[which];
  const int64_t *first = r->ids, *second = r->ids + half;
  if (side->others != NULL) return NK_OK;
  *side = (struct nki_side){
      .ids = which == 0 ? second : first,
      .n = which == 0 ? r->n_ids - half : half,
      .log_mean = nk_alloc(r->n_offsets, vocabulary * sizeof *side->log_mean),
      .typical = nk_calloc(r->n_offsets, sizeof(struct nki_typical *)),
  };
  int code = side->log_mean == NULL || side->typical == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK)
    code = compute_mean(probe, which == 0 ? first : second, r->n_ids - side->n, side->log_mean);
  if (code == NK_OK) code = fit_side(probe, side);
  if (code != NK_OK) free_side(side, r->n_offsets);
  return code;
}

/* ---- A reference ---- */

/* Keeps the first of equal ids, in their order. */
static int drop_repeated(size_t n_vocabulary, int64_t *ids, size_t *n) {
  bool *seen = nk_calloc(n_vocabulary, sizeof *seen);
  size_t kept = 0;
  int code = seen == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < *n && code == NK_OK; i++) {
    if (ids[i] < 0 || (size_t)ids[i] >= n_vocabulary)
      code = nk_fail(NK_EUSAGE, "reference: id %lld: the model has %zu tokens", (long long)ids[i],
                     n_vocabulary);
    else if (!seen[ids[i]])
      ids[kept++] = ids[i];
    if (code == NK_OK) seen[ids[i]] = true;
  }
  *n = kept;
  nk_free(seen);
  return code;
}

/* The probe's tokens, or those drawn by its seed. */
static int choose_tokens(const struct nk_probe *probe, struct nki_reference *r) {
  const struct nk_ordinary_options options = {.n = 2 * probe->n_reference, .seed = probe->seed};
  int code = NK_OK;
  if (probe->reference_ids == NULL) {
    code = nk_ordinary_tokens(probe->model, &options, &r->ids, &r->n_ids);
  } else {
    r->n_ids = probe->n_reference_ids;
    r->ids = nk_alloc(r->n_ids, sizeof *r->ids);
    if (r->ids == NULL) return NK_EMEMORY;
    if (r->n_ids > 0) memcpy(r->ids, probe->reference_ids, r->n_ids * sizeof *r->ids);
  }
  if (code == NK_OK)
    code = drop_repeated(probe->forward->config.shape.n_vocabulary, r->ids, &r->n_ids);
  if (code == NK_OK && r->n_ids < (size_t)2 * NKI_TYPICAL_LEAST)
    code = nk_fail(NK_EUSAGE, "%zu tokens are too few for a reference: %d are needed", r->n_ids,
                   2 * NKI_TYPICAL_LEAST);
  return code;
}

struct nki_reference *nki_reference_new(const struct nk_probe *probe) {
  struct nki_reference *r = nk_calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  r->n_offsets = probe->n_offsets;
  int code = choose_tokens(probe, r);
  if (code == NK_OK) code = need_side(probe, r, 0);
  if (code == NK_OK) return r;
  nki_reference_free(r);
  return NULL;
}

void nki_reference_free(struct nki_reference *r) {
  if (r == NULL) return;
  for (size_t which = 0; which < 2; which++) free_side(&r->side[which], r->n_offsets);
  nk_free(r->ids);
  nk_free(r);
}

/* ---- p-values ---- */

/* The place of a token among the reference's ids; n_ids when it is not there. */
static size_t find_member(const struct nki_reference *r, int64_t token) {
  size_t at = 0;
  while (at < r->n_ids && r->ids[at] != token) at++;
  return at;
}

/* What the reference holds for its own token `member`, item i. */
static int score_member(const struct nk_probe *probe, struct nki_reference *r, size_t member,
                        size_t i, struct nk_behaviour *b) {
  size_t half = r->n_ids / 2, which = member < half ? 1 : 0,
         at = member < half ? member : member - half;
  const struct nki_side *side = &r->side[which];
  int code = need_side(probe, r, which);
  for (size_t k = 0; k < r->n_offsets && code == NK_OK; k++) {
    b->kl[i * r->n_offsets + k] = side->others->kl[at * r->n_offsets + k];
    b->p_value[i * r->n_offsets + k] = nki_typical_p_of_member(side->typical[k], at);
  }
  return code;
}

int nki_reference_score(const struct nk_probe *probe, struct nki_reference *r,
                        const struct nk_items *items, struct nk_behaviour *b) {
  int code = NK_OK;
  double *p_values = nk_alloc(b->n_items, sizeof *p_values);
  if (p_values == NULL) return NK_EMEMORY;
  b->p_min = nki_typical_p_min(r->side[0].typical[0]); /* as many tokens at every offset */
  for (size_t k = 0; k < b->n_offsets && code == NK_OK; k++) {
    double *features = features_at(b, k);
    code = features == NULL ? NK_EMEMORY
                            : nki_typical_p(r->side[0].typical[k], features, b->n_items, p_values);
    for (size_t i = 0; i < b->n_items && code == NK_OK; i++)
      b->p_value[i * b->n_offsets + k] = p_values[i];
    nk_free(features);
  }
  for (size_t i = 0; i < items->n_tokens && code == NK_OK && !probe->borrowed; i++) {
    size_t member = find_member(r, items->tokens[i]);
    if (member < r->n_ids) code = score_member(probe, r, member, i, b);
  }
  nk_free(p_values);
  return code;
}
