/* Tokens: ordinary ones, whose behaviour is the base rate, glitch tokens, and the verdicts on these
 * and on controls. */
#include <math.h>

#include "compare/compare.h"

/* ---- Behaviour ---- */

static int run_tokens(struct compare_job *job, const char *name, const int64_t *ids, size_t n,
                      bool all) {
  const struct nk_items items[COMPARE_SIDES] = {{.tokens = ids, .n_tokens = n},
                                                {.tokens = ids, .n_tokens = n}};
  struct compare_behaviour behaviour;
  int code = compare_run(job, job->probes, items, &behaviour);
  if (code == NK_OK) code = compare_write_tokens(job, name, &behaviour, all);
  compare_behaviour_free(&behaviour);
  return code;
}

int compare_ordinary(struct compare_job *job) {
  return run_tokens(job, "ordinary", job->ordinary, job->n_ordinary, true);
}

/* ---- Verdicts ---- */

/* A row of the share of tokens that are verified: that the model fails to repeat. */
static int write_verdicts(struct compare_job *job, const char *name, const int64_t *ids, size_t n) {
  const struct compare_row row = {
      .name = name,
      .distance = (double)NAN,
      .quantile = (double)NAN,
      .times = (double)NAN,
      .layer = COMPARE_NOT_GIVEN,
      .unit = "share",
      .statistic = COMPARE_SHARE,
      .cut = nextafter(0.1, 0)}; /* the largest probability that is weakly verified */
  double *max_prob[COMPARE_SIDES] = {nk_alloc(n, sizeof(double)), nk_alloc(n, sizeof(double))};
  size_t *items = nk_alloc(n, sizeof *items);
  int code = items == NULL || max_prob[0] == NULL || max_prob[1] == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) items[i] = i;
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++) {
    const struct nk_verification found = {.max_prob = max_prob[side]};
    code = nk_verify(job->model[side], NULL, ids, n, &found);
    if (code == NK_EDATA) nk_fail_in(code, "%s", job->run->operands[side]);
  }
  const struct compare_values values = {
      .value = {max_prob[COMPARE_BEFORE], max_prob[COMPARE_AFTER]}, .n_items = n, .n_places = 1};
  if (code == NK_OK) code = compare_write(job, &row, &values, items, n);
  for (int side = 0; side < COMPARE_SIDES; side++) nk_free(max_prob[side]);
  nk_free(items);
  return code;
}

/* Controls are like the glitch tokens, or where there are none any token that text gives. */
static int verify_controls(struct compare_job *job) {
  const struct nk_ordinary_options options = {.like = job->glitch,
                                              .n_like = job->n_glitch,
                                              .unverified = true,
                                              .n = job->options.n_controls,
                                              .seed = job->run->common.seed};
  int64_t *ids = NULL;
  size_t n = 0;
  int code = nk_ordinary_tokens(job->model[COMPARE_BEFORE], &options, &ids, &n);
  if (code == NK_OK && n > 0) code = write_verdicts(job, "control_verified", ids, n);
  nk_free(ids);
  return code;
}

int compare_glitch(struct compare_job *job) {
  int code = NK_OK;
  if (job->n_glitch > 0) code = run_tokens(job, "glitch", job->glitch, job->n_glitch, true);
  if (code == NK_OK && job->n_glitch > 0)
    code = write_verdicts(job, "glitch_verified", job->glitch, job->n_glitch);
  if (code == NK_OK && job->options.n_controls > 0) code = verify_controls(job);
  return code;
}
