/* Nokens that are searched anew against the weights of the moment, each at its own distance:
 * training against the worst case. */
#include <noken/base.h>
#include <noken/search.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "forward/tune.h"

/* A search is repeated with other weights and prompts: one ascent of a few steps each time. */
enum { PROMPTS = 4, STEPS = 10 };

/* Rows of nokens at one distance. */
struct group {
  const size_t *rows; /* [n] */
  size_t n;
  double distance;
};

static int search_group(struct nk_tune *tune, const struct nk_objective_options *objective,
                        const struct group *group) {
  size_t dim = tune->dim;
  struct nk_vectors *from = nk_vectors_new(group->n, dim, NULL, false), *found = NULL;
  int code = from == NULL ? nk_error_code() : NK_OK;
  for (size_t i = 0; i < group->n && code == NK_OK; i++)
    memcpy(nk_vectors_writable(from) + i * dim, tune->given + group->rows[i] * dim,
           dim * sizeof(float));
  const struct nk_search_options options = {.objective = *objective,
                                            .constraint = NK_AT_DISTANCE,
                                            .bound = group->distance,
                                            .metric = tune->options.metric,
                                            .from = from,
                                            .n_restarts = 1,
                                            .n_steps = STEPS,
                                            .seed = tune->options.seed};
  if (code == NK_OK && (found = nk_search(tune->options.region, &options)) == NULL)
    code = nk_error_code();
  for (size_t i = 0; i < group->n && code == NK_OK; i++)
    memcpy(tune->nokens + group->rows[i] * dim, found->values + i * dim, dim * sizeof(float));
  nk_vectors_free(from);
  nk_vectors_free(found);
  return code;
}

/* The nokens of rows [n], a distance at a time. */
static int search_rows(struct nk_tune *tune, const struct nk_objective_options *objective,
                       const size_t *rows, size_t n) {
  size_t *some = nk_alloc(n, sizeof *some);
  bool *done = nk_calloc(n, sizeof *done);
  int code = some == NULL || done == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first++) {
    struct group group = {.rows = some, .distance = tune->distances[rows[first]]};
    if (done[first]) continue;
    for (size_t i = first; i < n; i++)
      if (tune->distances[rows[i]] == group.distance) {
        some[group.n++] = rows[i];
        done[i] = true;
      }
    code = search_group(tune, objective, &group);
  }
  nk_free(some);
  nk_free(done);
  return code;
}

/* The first of the prompts, by probes of the model as it is now. */
static int search_in(struct nk_tune *tune, const size_t *prompts, size_t n_prompts,
                     const size_t *rows, size_t n) {
  struct nk_probe *probes[PROMPTS] = {NULL};
  size_t n_probes = n_prompts < PROMPTS ? n_prompts : PROMPTS;
  int code = NK_OK;
  for (size_t p = 0; p < n_probes && code == NK_OK; p++) {
    probes[p] = nki_tune_probe(tune, prompts[p]);
    if (probes[p] == NULL) code = nk_error_code();
  }
  const struct nk_objective_options objective = {
      .probes = probes, .n_probes = n_probes, .kind = NK_OBJECTIVE_KL};
  if (code == NK_OK) code = search_rows(tune, &objective, rows, n);
  for (size_t p = 0; p < n_probes; p++) nk_probe_free(probes[p]);
  return code;
}

int nki_tune_search(struct nk_tune *tune) {
  size_t every = tune->options.n_search, n = tune->of_prompts.n_train;
  if (every == 0 || tune->step % every != 0) return NK_OK;
  struct nki_random random =
      nki_random_stream(tune->options.seed, NKI_RANDOM_TUNE_SEARCH, tune->step);
  size_t *prompts = nk_alloc(n, sizeof *prompts);
  if (prompts == NULL) return NK_EMEMORY;
  nki_random_permutation(&random, n, prompts);
  for (size_t p = 0; p < n; p++) prompts[p] = tune->of_prompts.order[prompts[p]];
  int code = search_in(tune, prompts, n, tune->of_nokens.order, tune->of_nokens.n_train);
  nk_free(prompts);
  return code;
}

int nki_tune_search_held(struct nk_tune *tune, const size_t *prompts, size_t n_prompts) {
  const struct nki_split *split = &tune->of_nokens;
  if (tune->options.n_search == 0) return NK_OK;
  return search_in(tune, prompts, n_prompts, split->order + split->n_train,
                   split->n - split->n_train);
}

int nki_tune_read_distances(struct nk_tune *tune, const struct nk_tune_options *options) {
  const struct nk_vectors *set = options->nokens;
  const struct nk_column *column = nk_vectors_column(set, "distance");
  if (options->n_search == 0) return NK_OK;
  if (options->region == NULL)
    return nk_fail(NK_EUSAGE, "nokens that are searched need a region, which distances are from");
  if (column == NULL || column->dtype == NK_I64)
    return nk_fail(NK_EUSAGE, "nokens without the column 'distance' are not searched");
  tune->distances = nk_alloc(set->n, sizeof *tune->distances);
  tune->given = nk_alloc(set->n, set->dim * sizeof *tune->given);
  if (tune->distances == NULL || tune->given == NULL) return NK_EMEMORY;
  memcpy(tune->distances, column->data.number, set->n * sizeof *tune->distances);
  memcpy(tune->given, set->values, set->n * set->dim * sizeof *tune->given);
  for (size_t i = 0; i < set->n; i++)
    if (!(tune->distances[i] > 0))
      return nk_fail(NK_EDATA, "noken %zu: distance %g: above 0 is needed to search at", i,
                     tune->distances[i]);
  return NK_OK;
}
