/* A cloud drawn from a region's normal distribution, against which other vectors are compared: what
 * is left of the tokens when only their mean and covariance are kept. */
#include <noken/base.h>

#include <noken/sample.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "sample/internal.h"

/* Fills rows `first` to first + n - 1 of x; work [n, dim]. */
static void draw_block(const struct nki_space *space, uint64_t seed, size_t first, size_t n,
                       double *work, float *x) {
  size_t dim = space->dim;
  for (size_t i = 0; i < n; i++) {
    struct nki_random random = nki_random_stream(seed, NKI_RANDOM_GAUSSIAN, first + i);
    nki_random_normals(&random, dim, work + i * dim);
  }
  nki_gaussian_colour(space->gaussian, work, n);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < dim; j++)
      x[(first + i) * dim + j] = (float)(space->mean[j] + work[i * dim + j]);
}

static int draw_all(const struct nki_space *space, uint64_t seed, struct nk_vectors *set) {
  size_t rows = nki_block_of_rays(set->n), n_blocks = (set->n + rows - 1) / rows;
  float *x = nk_vectors_writable(set);
  bool failed = false;
#pragma omp parallel
  {
    double *work = nk_alloc(rows, space->dim * sizeof *work);
#pragma omp for schedule(dynamic)
    for (size_t b = 0; b < n_blocks; b++) {
      size_t first = b * rows, left = set->n - first;
      if (work != NULL) {
        draw_block(space, seed, first, left < rows ? left : rows, work, x);
        continue;
      }
#pragma omp atomic write
      failed = true;
    }
    nk_free(work);
  }
  return failed ? nk_fail(NK_EMEMORY, "out of memory for draws of %zu values", space->dim) : NK_OK;
}

struct nk_vectors *nki_sample_gaussian(struct nk_region *region,
                                       const struct nk_sample_options *options) {
  struct nki_space space;
  struct nk_vectors *set = NULL;
  int code = nki_open_space(region, &space);
  if (code != NK_OK) return NULL;
  set = nk_vectors_new(options->n > 0 ? options->n : 1, space.dim, NULL, false);
  if (set == NULL) return NULL;
  code = draw_all(&space, options->seed, set);
  if (code == NK_OK) code = nki_describe(region, &space, set);
  if (code == NK_OK)
    code =
        nk_vectors_set_numbers(set, "distance", nk_vectors_column(set, "mahalanobis")->data.number);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
