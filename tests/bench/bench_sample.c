/* 10,000 nokens of 4,096 dimensions beside the matrix products that placing and describing them
 * takes: a coloured draw and a whitened direction each (triangular, in double), the whitened noken,
 * and its products with all tokens for the neighbours. */
#include <cblas.h>
#include <noken/noken.h>

#include "base/random.h"
#include "bench.h"
#include "geometry/gaussian.h"

enum { TOKENS = 10000, DIM = 4096, NOKENS = 10000 };

static struct nk_region *make_region(void) {
  struct nk_vectors *set = nk_vectors_new(TOKENS, DIM, NULL, false);
  const struct nk_region_options options = {.kind = NK_REGION_MAHALANOBIS, .k = 10};
  if (set == NULL) exit(2);
  float *x = nk_vectors_writable(set);
#pragma omp parallel for
  for (size_t i = 0; i < TOKENS; i++) {
    struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (float)(nki_random_uniform(&random) + nki_random_uniform(&random) - 0.9);
  }
  struct nk_region *region = nk_region_fit(set, NULL, TOKENS, &options);
  nk_vectors_free(set);
  if (region == NULL) {
    fprintf(stderr, "bench_sample: %s\n", nk_error());
    exit(2);
  }
  return region;
}

struct job {
  struct nk_region *region;
  struct nk_sample_options options;
  float *product; /* [NOKENS, n_fit] */
  float *rows;    /* [NOKENS, DIM] */
  double *wide;   /* [NOKENS, DIM] */
};

static void sample(void *argument) {
  struct job *job = argument;
  struct nk_vectors *set = nk_sample(job->region, &job->options);
  if (set == NULL) {
    fprintf(stderr, "bench_sample: %s\n", nk_error());
    exit(2);
  }
  nk_vectors_free(set);
}

static void triangular(void *argument) {
  struct job *job = argument;
  nki_gaussian_whiten(job->region->gaussian, job->wide, NOKENS);
}

static void products(void *argument) {
  struct job *job = argument;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, NOKENS, (int)job->region->n_fit, DIM, 1,
              job->rows, DIM, job->region->tokens->values, DIM, 0, job->product,
              (int)job->region->n_fit);
}

int main(void) {
  static const struct nk_direction covariance = {NK_DIRECTION_COVARIANCE, 0, 0};
  static const double distance = 100, near = 60;
  bench_title("nk_sample: 10,000 nokens x 4,096 dimensions, 5,000 tokens");
  struct job job = {.region = make_region()};
  job.rows = nk_calloc((size_t)NOKENS * DIM, sizeof(float));
  job.wide = nk_calloc((size_t)NOKENS * DIM, sizeof(double));
  job.product = nk_calloc((size_t)NOKENS * job.region->n_fit, sizeof(float));
  if (job.rows == NULL || job.wide == NULL || job.product == NULL) return 2;
  job.options = (struct nk_sample_options){.directions = &covariance,
                                           .n_directions = 1,
                                           .metric = NK_METRIC_MAHALANOBIS,
                                           .distances = &distance,
                                           .n_distances = 1,
                                           .n = NOKENS};
  double one = bench_min(2, triangular, &job), gemm = bench_min(2, products, &job);
  double seconds = bench_min(2, sample, &job);
  printf("triangular product %.2f s, sgemm %.2f s\n", one, gemm);
  printf("mahalanobis %.2f s, %.0f nokens/s\n", seconds, NOKENS / seconds);
  bench_ratio("sample mahalanobis / products", seconds / (3 * one + gemm), 2);
  job.options.metric = NK_METRIC_KNN;
  job.options.distances = &near;
  seconds = bench_min(2, sample, &job);
  printf("knn %.2f s, %.0f nokens/s\n", seconds, NOKENS / seconds);
  /* directions and origins with all tokens before, nokens with them after */
  bench_ratio("sample knn / products", seconds / (2 * one + 3 * gemm), 2);
  return bench_over;
}
