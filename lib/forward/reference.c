/* The reference of a probe: the mean distribution of ordinary tokens, from which KL divergences are
 * measured, and the behaviour of other ordinary tokens, which p-values compare with. */
#include <math.h>
#include <string.h>

#include "forward/probe.h"

enum { N_FEATURES = 3, LEAST_OTHERS = 4 }; /* features beside the norms; as nki_typical needs */

/* The features of a behaviour at one offset, [n_items, N_FEATURES + n_layers]: entropy, top
 * probability and KL, the first group, and the logarithms of the residual norms. */
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

/* The mean distribution of the first n_mean tokens at every offset, as logarithms. A probability of
 * 0 in float is too small to matter; its logarithm must be finite. */
static int compute_mean(const struct nk_probe *probe, struct nki_reference *r) {
  size_t n = r->n_offsets * probe->forward->config.shape.n_vocabulary;
  struct nk_items items = {.tokens = r->ids, .n_tokens = r->n_mean};
  struct nki_wanted wanted = {.sum = r->sum};
  int code = nki_probe_pass(probe, &items, &wanted);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    r->log_mean[i] = (float)log(fmax(r->sum[i] / (double)r->n_mean, 1e-38));
  return code;
}

static int fit_others(const struct nk_probe *probe, struct nki_reference *r) {
  struct nk_items items = {.tokens = r->ids + r->n_mean, .n_tokens = r->n_ids - r->n_mean};
  struct nki_wanted wanted = {.log_mean = r->log_mean};
  wanted.into = r->others = nki_behaviour_new(probe, items.n_tokens);
  if (r->others == NULL) return nk_error_code();
  int code = nki_probe_pass(probe, &items, &wanted);
  for (size_t k = 0; k < r->n_offsets && code == NK_OK; k++) {
    double *features = features_at(r->others, k);
    if (features != NULL)
      r->typical[k] = nki_typical_new(features, r->others->n_items,
                                      N_FEATURES + r->others->n_layers, N_FEATURES);
    if (r->typical[k] == NULL) code = nk_error_code();
    nk_free(features);
  }
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
  if (code != NK_OK) return code;
  r->n_mean = r->n_ids / 2;
  if (r->n_mean == 0 || r->n_ids - r->n_mean < LEAST_OTHERS)
    return nk_fail(NK_EUSAGE, "%zu tokens are too few for a reference: %d are needed", r->n_ids,
                   2 * LEAST_OTHERS - 1);
  return NK_OK;
}

struct nki_reference *nki_reference_new(const struct nk_probe *probe) {
  size_t vocabulary = probe->forward->config.shape.n_vocabulary;
  struct nki_reference *r = nk_calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  r->n_offsets = probe->n_offsets;
  r->sum = nk_calloc(r->n_offsets, vocabulary * sizeof *r->sum);
  r->log_mean = nk_alloc(r->n_offsets, vocabulary * sizeof *r->log_mean);
  r->typical = nk_calloc(r->n_offsets, sizeof(struct nki_typical *));
  int code = r->sum == NULL || r->log_mean == NULL || r->typical == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = choose_tokens(probe, r);
  if (code == NK_OK) code = compute_mean(probe, r);
  if (code == NK_OK) code = fit_others(probe, r);
  if (code == NK_OK) return r;
  nki_reference_free(r);
  return NULL;
}

void nki_reference_free(struct nki_reference *r) {
  if (r == NULL) return;
  for (size_t k = 0; r->typical != NULL && k < r->n_offsets; k++) nki_typical_free(r->typical[k]);
  nk_free(r->typical);
  nk_behaviour_free(r->others);
  nk_free(r->log_mean);
  nk_free(r->sum);
  nk_free(r->mean_kl);
  nk_free(r->ids);
  nk_free(r);
}

/* ---- Judging ---- */

/* Where the reference has a token: index [input embeddings] = its place in ids, or SIZE_MAX. */
static size_t *index_tokens(const struct nk_probe *probe) {
  const struct nki_reference *r = probe->reference;
  size_t n = probe->forward->embedding->shape[0];
  size_t *index = nk_alloc(n, sizeof *index);
  for (size_t i = 0; index != NULL && i < n; i++) index[i] = SIZE_MAX;
  for (size_t i = 0; index != NULL && i < r->n_ids; i++) index[r->ids[i]] = i; /* were run */
  return index;
}

/* Measures each of the mean's tokens from the mean of the others. */
static int measure_mean(const struct nk_probe *probe) {
  struct nki_reference *r = probe->reference;
  struct nki_wanted wanted = {.sum = r->sum, .n_others = r->n_mean - 1};
  const struct nk_items items = {.tokens = r->ids, .n_tokens = r->n_mean};
  wanted.kl = nk_alloc(r->n_mean, r->n_offsets * sizeof *wanted.kl);
  if (wanted.kl == NULL) return NK_EMEMORY;
  int code = nki_probe_pass(probe, &items, &wanted);
  if (code == NK_OK)
    r->mean_kl = wanted.kl;
  else
    nk_free(wanted.kl);
  return code;
}

/* kl of the tokens that are in the mean; with a single token there, it has no others. */
static int replace_kl(const struct nk_probe *probe, const struct nk_items *items,
                      const size_t *index, struct nk_behaviour *b) {
  struct nki_reference *r = probe->reference;
  for (size_t i = 0; i < items->n_tokens && r->n_mean > 1; i++) {
    size_t place = index[items->tokens[i]];
    if (place >= r->n_mean) continue;
    int code = r->mean_kl == NULL ? measure_mean(probe) : NK_OK;
    if (code != NK_OK) return code;
    memcpy(b->kl + i * r->n_offsets, r->mean_kl + place * r->n_offsets,
           r->n_offsets * sizeof *b->kl);
  }
  return NK_OK;
}

static int score_offset(const struct nk_probe *probe, const struct nk_items *items,
                        const size_t *index, size_t k, struct nk_behaviour *b) {
  const struct nki_reference *r = probe->reference;
  double *p_values = nk_alloc(b->n_items, sizeof *p_values);
  double *features = features_at(b, k);
  int code = p_values == NULL || features == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nki_typical_p(r->typical[k], features, b->n_items, p_values);
  for (size_t i = 0; i < b->n_items && code == NK_OK; i++) {
    size_t place = i < items->n_tokens ? index[items->tokens[i]] : SIZE_MAX;
    b->p_value[i * b->n_offsets + k] =
        place != SIZE_MAX && place >= r->n_mean
            ? nki_typical_p_of_member(r->typical[k], place - r->n_mean)
            : p_values[i];
  }
  nk_free(p_values);
  nk_free(features);
  return code;
}

int nki_reference_score(const struct nk_probe *probe, const struct nk_items *items,
                        struct nk_behaviour *b) {
  size_t *index = index_tokens(probe);
  int code = index == NULL ? NK_EMEMORY : replace_kl(probe, items, index, b);
  b->p_min = nki_typical_p_min(probe->reference->typical[0]); /* as many tokens at every offset */
  for (size_t k = 0; k < b->n_offsets && code == NK_OK; k++)
    code = score_offset(probe, items, index, k, b);
  nk_free(index);
  return code;
}
