/* Nokens searched against each model: the worst at each distance, by their mean KL divergence
 * over the prompts. Both searches begin at the same vectors, and what they find is compared one by
 * one; those found in BEFORE are run in AFTER too. */
#include <string.h>

#include "compare/compare.h"

/* The distances of random nokens, each once: what nk_sample makes of quantiles and multiples. NULL
 * on failure. */
static struct nk_vectors *find_distances(const struct compare_job *job) {
  struct nk_sample_options options = job->sample;
  options.n = 1;
  options.n_directions = 0; /* one of them alone, isotropic */
  return nk_sample(job->region, &options);
}

/* The columns of nokens [n] at each distance. */
static int set_columns(const struct nk_vectors *distances, size_t n, struct nk_vectors *set) {
  static const char *const names[] = {"distance", "quantile", "times"};
  double *numbers = nk_alloc(set->n, sizeof *numbers);
  int64_t *rays = nk_alloc(set->n, sizeof *rays);
  int code = numbers == NULL || rays == NULL ? NK_EMEMORY : NK_OK;
  for (size_t c = 0; c < sizeof names / sizeof *names && code == NK_OK; c++) {
    const struct nk_column *column = nk_vectors_column(distances, names[c]);
    for (size_t i = 0; i < set->n; i++) numbers[i] = cli_column_number(column, i / n);
    code = nk_vectors_set_numbers(set, names[c], numbers);
  }
  for (size_t i = 0; i < set->n && code == NK_OK; i++) rays[i] = (int64_t)(i % n);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "ray", rays);
  nk_free(numbers);
  nk_free(rays);
  return code;
}

/* The nokens at one distance: values [n, dim]. */
static int search_at(const struct compare_job *job, enum compare_side side, double distance,
                     float *values) {
  const struct compare_options *o = &job->options;
  const struct nk_search_options options = {
      .objective = {.probes = job->probes[side], .n_probes = job->prompts.n},
      .constraint = NK_AT_DISTANCE,
      .bound = distance,
      .n = o->n_searched,
      .n_restarts = o->n_restarts,
      .n_steps = o->n_steps,
      .seed = job->run->common.seed};
  struct nk_vectors *found = nk_search(job->region, &options);
  if (found == NULL) return nk_fail_in(nk_error_code(), "%s", job->run->operands[side]);
  memcpy(values, found->values, found->n * found->dim * sizeof *values);
  nk_vectors_free(found);
  return NK_OK;
}

/* Nokens at all distances, found in one model. NULL on failure. */
static struct nk_vectors *search(const struct compare_job *job, enum compare_side side,
                                 const struct nk_vectors *distances) {
  size_t n = job->options.n_searched, dim = job->shape->dim, n_rows;
  const struct nk_column *distance = nk_vectors_column(distances, "distance");
  if (!nk_size_mul(n, distances->n, &n_rows)) return NULL;
  struct nk_vectors *set = nk_vectors_new(n_rows, dim, NULL, false);
  int code = set != NULL ? NK_OK : nk_error_code();
  for (size_t d = 0; d < distances->n && code == NK_OK; d++)
    code = search_at(job, side, cli_column_number(distance, d),
                     nk_vectors_writable(set) + d * n * dim);
  if (code == NK_OK) code = set_columns(distances, n, set);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}

static int write_found(const struct compare_job *job, const char *name,
                       const struct nk_vectors *before, const struct nk_vectors *after) {
  const struct nk_items items[COMPARE_SIDES] = {{.vectors = before}, {.vectors = after}};
  struct compare_behaviour behaviour;
  int code = compare_run(job, job->probes, items, &behaviour);
  if (code == NK_OK) code = compare_write_nokens(job, name, COMPARE_NOT_GIVEN, before, &behaviour);
  compare_behaviour_free(&behaviour);
  return code;
}

int compare_searched(struct compare_job *job) {
  struct nk_vectors *distances = find_distances(job), *found[COMPARE_SIDES] = {NULL, NULL};
  int code = distances != NULL ? NK_OK : nk_error_code();
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++) {
    found[side] = search(job, (enum compare_side)side, distances);
    if (found[side] == NULL) code = nk_error_code();
  }
  code = cli_hint(code, NK_EUNSUPPORTED, "leave out searched by --only");
  if (code == NK_OK)
    code = write_found(job, "searched", found[COMPARE_BEFORE], found[COMPARE_AFTER]);
  if (code == NK_OK)
    code = write_found(job, "transfer", found[COMPARE_BEFORE], found[COMPARE_BEFORE]);
  for (int side = 0; side < COMPARE_SIDES; side++) nk_vectors_free(found[side]);
  nk_vectors_free(distances);
  return code;
}
