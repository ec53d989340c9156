/* nk_search at a distance, and within a p-value, in the smaller shipped model, over the gradients
 * that it takes of the same number of vectors. Starts, columns and what keeps the constraint are
 * the rest: within a p-value mainly the neighbours that the region's score is made of. */
#include <math.h>
#include <noken/noken.h>

#include "bench.h"

enum { FOUND = 32, STARTS = 4, STEPS = 20, ROWS = FOUND * STARTS };

struct job {
  struct nk_region *region;
  struct nk_search_options search;
  float *x, *gradients; /* [ROWS, dim] */
  double values[ROWS];
};

static void check(bool ok) {
  if (ok) return;
  fprintf(stderr, "%s\n", nk_error());
  exit(2);
}

static void search(void *argument) {
  struct job *job = argument;
  struct nk_vectors *found = nk_search(job->region, &job->search);
  check(found != NULL);
  nk_vectors_free(found);
}

static void differentiate(void *argument) {
  struct job *job = argument;
  for (int i = 0; i <= STEPS; i++)
    check(nk_objective_run(&job->search.objective, job->x, ROWS, job->values,
                           i < STEPS ? job->gradients : NULL) == NK_OK);
}

static void compare(struct job *job, const char *name) {
  double whole = 1e300, gradients = 1e300;
  for (int i = 0; i < 3; i++) { /* in turn, so that other load disturbs both */
    whole = fmin(whole, bench_min(1, search, job));
    gradients = fmin(gradients, bench_min(1, differentiate, job));
  }
  printf("search %.3f s, its gradients %.3f s\n", whole, gradients);
  bench_ratio(name, whole / gradients, 1.2);
}

int main(void) {
  static const double distance = 12;
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  struct nk_vectors *tokens = nk_model_vectors(model, NK_MATRIX_INPUT);
  struct nk_probe *probe = nk_probe_new(model, "The {} of", NULL);
  struct job job = {.region = nk_region_fit(tokens, NULL, 0, NULL)};
  const struct nk_sample_options rays = {.n = ROWS, .distances = &distance, .n_distances = 1};
  struct nk_vectors *starts = nk_sample(job.region, &rays);
  check(probe != NULL && starts != NULL);
  bench_title("nk_search: 32 nokens, 4 starts, 20 steps in data/gpt2-tiny");
  job.x = nk_vectors_writable(starts);
  job.gradients = nk_calloc(ROWS, starts->dim * sizeof *job.gradients);
  check(job.gradients != NULL);
  job.search = (struct nk_search_options){.objective = {.probes = &probe, .n_probes = 1},
                                          .constraint = NK_AT_DISTANCE,
                                          .bound = distance,
                                          .n = FOUND,
                                          .n_restarts = STARTS,
                                          .n_steps = STEPS};
  differentiate(&job); /* the reference too */
  compare(&job, "search_over_gradients");
  job.search.constraint = NK_WITHIN_REGION;
  job.search.bound = 0.05;
  compare(&job, "search_within_p_over_gradients");
  nk_free(job.gradients);
  nk_vectors_free(starts);
  nk_vectors_free(tokens);
  nk_probe_free(probe);
  nk_region_free(job.region);
  nk_model_free(model);
  return bench_over;
}
