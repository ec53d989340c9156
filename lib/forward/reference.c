/* The reference of a probe: the mean distribution of ordinary tokens, from which KL divergences are
 * measured, and the behaviour of other ordinary tokens, which p-values compare with. */
#include <math.h>
#include <string.h>

#include "forward/probe.h"

enum { N_FEATURES = 3, LEAST_OTHERS = 4 }; /* features beside the norms; as nki_typical needs */

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
                                      N_FEATURES + r->others->n_layers, probe->seed);
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
  nk_free(r->ids);
  nk_free(r);
}

int nki_reference_score(const struct nki_reference *reference, struct nk_behaviour *b) {
  int code = NK_OK;
  double *p_values = nk_alloc(b->n_items, sizeof *p_values);
  if (p_values == NULL) return NK_EMEMORY;
  b->p_min = nki_typical_p_min(reference->typical[0]); /* as many tokens at every offset */
  for (size_t k = 0; k < b->n_offsets && code == NK_OK; k++) {
    double *features = features_at(b, k);
    code = features == NULL
               ? NK_EMEMORY
               : nki_typical_score(reference->typical[k], features, b->n_items, NULL, p_values);
    for (size_t i = 0; i < b->n_items && code == NK_OK; i++)
      b->p_value[i * b->n_offsets + k] = p_values[i];
    nk_free(features);
  }
  nk_free(p_values);
  return code;
}
