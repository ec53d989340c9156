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

/* The nokens that are trained on, a distance at a time. */
static int search_all(struct nk_tune *tune, const struct nk_objective_options *objective) {
  const struct nki_split *split = &tune->of_nokens;
  size_t *rows = nk_alloc(split->n_train, sizeof *rows);
  bool *done = nk_calloc(split->n_train, sizeof *done);
  int code = rows == NULL || done == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < split->n_train && code == NK_OK; first++) {
    struct group group = {.rows = rows, .distance = tune->distances[split->order[first]]};
    if (done[first]) continue;
    for (size_t i = first; i < split->n_train; i++)
      if (tune->distances[split->order[i]] == group.distance) {
        rows[group.n++] = split->order[i];
        done[i] = true;
      }
    code = search_group(tune, objective, &group);
  }
  nk_free(rows);
  nk_free(done);
  return code;
}

int nki_tune_search(struct nk_tune *tune) {
  size_t every = tune->options.n_search, n = tune->of_prompts.n_train;
  if (every == 0 || tune->step % every != 0) return NK_OK;
  struct nki_random random =
      nki_random_stream(tune->options.seed, NKI_RANDOM_TUNE_SEARCH, tune->step);
  size_t *order = nk_alloc(n, sizeof *order), n_probes = n < PROMPTS ? n : PROMPTS;
  struct nk_probe *probes[PROMPTS] = {NULL};
  int code = order == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) nki_random_permutation(&random, n, order);
  for (size_t p = 0; p < n_probes && code == NK_OK; p++) {
    probes[p] = nki_tune_probe(tune, tune->of_prompts.order[order[p]]);
    if (probes[p] == NULL) code = nk_error_code();
  }
  const struct nk_objective_options objective = {
      .probes = probes, .n_probes = n_probes, .kind = NK_OBJECTIVE_KL};
  if (code == NK_OK) code = search_all(tune, &objective);
  for (size_t p = 0; p < n_probes; p++) nk_probe_free(probes[p]);
  nk_free(order);
  return code;
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
