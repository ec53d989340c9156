/* Nokens: random ones and those of a given set, the same vectors for both models; in the embedding
 * and in the residual stream. */
#include <string.h>

#include "compare/compare.h"

static int run_set(const struct compare_job *job, const char *name, size_t layer,
                   struct nk_probe **const probes[COMPARE_SIDES], const struct nk_vectors *set) {
  const struct nk_items items[COMPARE_SIDES] = {{.vectors = set}, {.vectors = set}};
  struct compare_behaviour behaviour;
  int code = compare_run(job, probes, items, &behaviour);
  if (code == NK_OK) code = compare_write_nokens(job, name, layer, set, &behaviour);
  compare_behaviour_free(&behaviour);
  return code;
}

int compare_random(struct compare_job *job) {
  struct nk_vectors *set = nk_sample(job->region, &job->sample);
  int code =
      set != NULL ? run_set(job, "noken", COMPARE_NOT_GIVEN, job->probes, set) : nk_error_code();
  nk_vectors_free(set);
  if (code == NK_OK && job->nokens != NULL)
    code = run_set(job, "given", COMPARE_NOT_GIVEN, job->probes, job->nokens);
  return code;
}

/* ---- The residual stream ---- */

/* Probes of BEFORE that read the slot, of which the states of ordinary tokens are captured. */
static int new_readers(const struct compare_job *job, struct nk_probe ***readers) {
  const size_t slot = 0;
  struct nk_probe **probes = *readers = nk_calloc(job->prompts.n, sizeof *probes);
  if (probes == NULL) return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++) {
    const struct nk_probe_options options = {
        .offsets = &slot, .n_offsets = 1, .name = job->prompts.item[p].name};
    probes[p] = nk_probe_new(job->model[COMPARE_BEFORE], job->prompts.item[p].text, &options);
    if (probes[p] == NULL) return nk_error_code();
  }
  return NK_OK;
}

/* The states of the reference's tokens at a layer of BEFORE, in all prompts. NULL on failure. */
static struct nk_vectors *capture(const struct compare_job *job, struct nk_probe *const *readers,
                                  size_t layer) {
  const struct nk_items items = {.tokens = job->reference, .n_tokens = job->n_reference};
  size_t n = job->n_reference, n_rows;
  if (!nk_size_mul(n, job->prompts.n, &n_rows)) return NULL;
  struct nk_vectors *set = nk_vectors_new(n_rows, job->shape->dim, NULL, false);
  int code = set != NULL ? NK_OK : nk_error_code();
  for (size_t p = 0; p < job->prompts.n && code == NK_OK; p++) {
    code = nk_probe_capture(readers[p], &items, &layer, 1,
                            nk_vectors_writable(set) + p * n * job->shape->dim);
    memcpy(set->ids + p * n, job->reference, n * sizeof *set->ids);
  }
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}

/* Nokens at a layer, from the region of the states there. NULL on failure. */
static struct nk_vectors *sample_states(const struct compare_job *job,
                                        struct nk_probe *const *readers, size_t layer) {
  struct nk_vectors *states = capture(job, readers, layer);
  struct nk_region *region = compare_fit(states, job->run->common.seed);
  struct nk_vectors *nokens = nk_sample(region, &job->sample);
  nk_region_free(region);
  nk_vectors_free(states);
  return nokens;
}

/* A probe of layer L has the reference of layer 0: ordinary tokens stand in the slot as tokens. */
static int compare_layer(struct compare_job *job, struct nk_probe *const *readers, size_t layer) {
  struct nk_probe **probes[COMPARE_SIDES] = {NULL, NULL};
  struct nk_vectors *nokens = sample_states(job, readers, layer);
  int code = nokens != NULL ? NK_OK : nk_error_code();
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++)
    code =
        compare_new_probes(job, (enum compare_side)side, layer, job->probes[side], &probes[side]);
  if (code == NK_OK) code = run_set(job, "stream", layer, probes, nokens);
  for (int side = 0; side < COMPARE_SIDES; side++) compare_free_probes(job, probes[side]);
  nk_vectors_free(nokens);
  return code == NK_OK || code == NK_EMEMORY ? code : nk_fail_in(code, "layer %zu", layer);
}

int compare_streams(struct compare_job *job) {
  struct nk_probe **readers = NULL;
  int code = new_readers(job, &readers);
  for (size_t l = 0; l < job->n_layers && code == NK_OK; l++)
    code = compare_layer(job, readers, job->layers[l]);
  compare_free_probes(job, readers);
  return code;
}
