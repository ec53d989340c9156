/* 10,000 nokens of 4,096 dimensions beside the matrix products that placing and describing them
 * takes, of any origin and direction: a coloured draw and a whitened direction each (triangular, in
 * double), the whitened noken, and its products with all tokens for the neighbours. Rays from the
 * centroid in coloured directions, as here, need fewer: the ratio to those is printed too. And a
 * ray from each of 10,000 rows of 768 dimensions to a radius, beside describing the nokens and
 * drawing a normal number for each value, which every such noken needs; one write of them all is
 * printed for comparison. */
#include <cblas.h>
#include <noken/noken.h>

#include "base/random.h"
#include "bench.h"
#include "geometry/gaussian.h"
#include "sample/internal.h"

enum { TOKENS = 10000, DIM = 4096, NOKENS = 10000, SMALL = 768 };

static struct nk_vectors *make_tokens(size_t dim) {
  struct nk_vectors *set = nk_vectors_new(TOKENS, dim, NULL, false);
  if (set == NULL) exit(2);
  float *x = nk_vectors_writable(set);
#pragma omp parallel for
  for (size_t i = 0; i < TOKENS; i++) {
    struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < dim; j++)
      x[i * dim + j] = (float)(nki_random_uniform(&random) + nki_random_uniform(&random) - 0.9);
  }
  return set;
}

static struct nk_region *make_region(const struct nk_vectors *set) {
  const struct nk_region_options options = {.kind = NK_REGION_MAHALANOBIS, .k = 10};
  struct nk_region *region = nk_region_fit(set, NULL, TOKENS, &options);
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

/* ---- Rays from the rows of a set ---- */

struct set_job {
  struct nk_region *region;
  struct nk_sample_options options;
  struct nk_vectors *made; /* described again */
  double *numbers;         /* [NOKENS, SMALL] */
  float *copy;             /* [NOKENS, SMALL] */
};

static void sample_from_set(void *argument) {
  struct set_job *job = argument;
  nk_vectors_free(job->made);
  job->made = nk_sample(job->region, &job->options);
  if (job->made == NULL) {
    fprintf(stderr, "bench_sample: %s\n", nk_error());
    exit(2);
  }
}

static void describe(void *argument) {
  struct set_job *job = argument;
  struct nki_space space;
  if (nki_open_space(job->region, &space) != NK_OK ||
      nki_describe(job->region, &space, job->made) != NK_OK)
    exit(2);
}

static void draw_numbers(void *argument) {
  struct set_job *job = argument;
#pragma omp parallel for
  for (size_t i = 0; i < NOKENS; i++) {
    struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, i);
    for (size_t j = 0; j < SMALL; j++) job->numbers[i * SMALL + j] = nki_random_normal(&random);
  }
}

static void write_once(void *argument) {
  struct set_job *job = argument;
  memcpy(job->copy, job->made->values, (size_t)NOKENS * SMALL * sizeof(float));
}

static void bench_from_set(void) {
  static const double radius = 2;
  struct nk_vectors *origins = make_tokens(SMALL);
  struct set_job job = {.region = make_region(origins)};
  job.options = (struct nk_sample_options){.origin = NK_ORIGIN_SET,
                                           .set = origins,
                                           .measure = NK_MEASURE_RADIUS,
                                           .distances = &radius,
                                           .n_distances = 1};
  job.numbers = nk_calloc((size_t)NOKENS * SMALL, sizeof(double));
  job.copy = nk_calloc((size_t)NOKENS * SMALL, sizeof(float));
  if (job.numbers == NULL || job.copy == NULL) exit(2);
  double seconds = bench_min(3, sample_from_set, &job), describing = bench_min(3, describe, &job);
  double drawing = bench_min(3, draw_numbers, &job), writing = bench_min(3, write_once, &job);
  printf(
      "from %d rows x %d: %.3f s, %.0f nokens/s; describing %.3f s, normal numbers %.3f s, one "
      "write %.3f s\n",
      NOKENS, SMALL, seconds, NOKENS / seconds, describing, drawing, writing);
  bench_ratio("sample from a set / describing and drawing", seconds / (describing + drawing), 1.5);
  nk_vectors_free(job.made);
  nk_vectors_free(origins);
  nk_region_free(job.region);
  nk_free(job.numbers);
  nk_free(job.copy);
}

int main(void) {
  static const struct nk_direction covariance = {.kind = NK_DIRECTION_COVARIANCE};
  static const double distance = 100, near = 60;
  bench_title("nk_sample: 10,000 nokens x 4,096 dimensions, 5,000 tokens");
  struct nk_vectors *tokens = make_tokens(DIM);
  struct job job = {.region = make_region(tokens)};
  nk_vectors_free(tokens);
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
  printf("mahalanobis %.2f s, %.0f nokens/s, %.3f of the products from the centroid\n", seconds,
         NOKENS / seconds, seconds / (2 * one + gemm));
  bench_ratio("sample mahalanobis / products", seconds / (3 * one + gemm), 1.3);
  job.options.metric = NK_METRIC_KNN;
  job.options.distances = &near;
  seconds = bench_min(2, sample, &job);
  printf("knn %.2f s, %.0f nokens/s, %.3f of the products from the centroid\n", seconds,
         NOKENS / seconds, seconds / (2 * one + 2 * gemm));
  /* directions and origins with all tokens before, nokens with them after */
  bench_ratio("sample knn / products", seconds / (2 * one + 3 * gemm), 1.3);
  bench_from_set();
  return bench_over;
}
