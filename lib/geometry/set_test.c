/* Is a set of vectors like the tokens of a region? One p-value for the whole set, by the maximum
 * mean discrepancy: Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test"
 * (2012).
 *
 * The set is compared with tokens of the calibrating half, as the fitting half decides how vectors
 * are whitened. Both are pooled, and the labels permuted: all labels are equally probable when the
 * set is drawn as the tokens, so the p-value is exact, whatever the kernel, as long as that treats
 * all rows of the pool alike.
 *
 * The discrepancy is measured in two coordinates. Raw distances are those of the few directions in
 * which tokens spread most, where their distribution is least like a normal one; whitened distances
 * weigh every direction alike. Either misses sets that the other finds: whitened, a set of vectors
 * at the tokens' usual Mahalanobis distance in places where no token is; raw, one that is moved
 * across the directions of little variance. The statistic is the larger of both, each in standard
 * deviations of its permutations. */
#include <cblas.h>
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include "base/random.h"
#include "model/dtype.h"

#include <noken/region.h>
#include <noken/vectors.h>
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "geometry/region.h"
#include "io/vectors.h"

enum { RAW, WHITENED, N_COORDINATES };
enum { USUAL_PERMUTATIONS = 999, USUAL_MOST = 2000, LEAST_ROWS = 2, LEAST_TOKENS = 10 };

/* In standard deviations of the permutations: two statistics that differ by rounding are equal. */
static const double TIE = 1e-6;

/* The rows of the set, and behind them the tokens. */
struct pool {
  size_t n, m, dim;
  size_t *rows;   /* [n] of the set */
  size_t *tokens; /* [m] of the region */
  double *x;      /* [n + m, dim] */
  double *kernel; /* [n + m, n + m] below the diagonal: squared distances, then the kernel */
  double *sums;   /* [n + m] of a row's kernel with all others */
  double total;   /* of the kernel of all pairs */
};

/* ---- Which rows, which tokens ---- */

static int compare_hashes(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* hashes [n] of the set's rows, rounded as the region keeps its tokens; rooms [threads, dim] */
static void hash_as_kept(const struct nk_region *region, const struct nk_vectors *set, float *rooms,
                         uint64_t *hashes) {
  size_t dim = region->dim;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < set->n; i++) {
    float *row = rooms + (size_t)omp_get_thread_num() * dim;
    memcpy(row, set->values + i * dim, dim * sizeof *row);
    if (region->keep == NK_TOKENS_F16) nki_round_trip(row, dim, NK_F16, true);
    if (region->keep == NK_TOKENS_BF16) nki_round_trip(row, dim, NK_BF16, true);
    hashes[i] = nki_hash_row(row, dim);
  }
}

/* in_set [tokens] = whether a token is one of the set's rows. */
static int find_copies(const struct nk_region *region, const struct nk_vectors *set, bool *in_set) {
  size_t dim = region->dim;
  uint64_t *hashes = nk_alloc(set->n, sizeof *hashes);
  float *rooms = nk_alloc((size_t)omp_get_max_threads(), dim * sizeof *rooms);
  int code = hashes != NULL && rooms != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) {
    hash_as_kept(region, set, rooms, hashes);
    qsort(hashes, set->n, sizeof *hashes, compare_hashes);
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < region->tokens->n; t++) {
      uint64_t hash = nki_hash_row(region->tokens->values + t * dim, dim);
      in_set[t] = bsearch(&hash, hashes, set->n, sizeof hash, compare_hashes) != NULL;
    }
  }
  nk_free(hashes);
  nk_free(rooms);
  return code;
}

static int compare_places(const void *a, const void *b) {
  size_t x = *(const size_t *)a, y = *(const size_t *)b;
  return (x > y) - (x < y);
}

/* The first of order [n], ascending, = a random `most` of them where there are more. Returns how
 * many. */
static size_t choose(struct nki_random *random, size_t n, size_t most, size_t *order) {
  size_t count = n < most ? n : most;
  if (count == n) return n;
  for (size_t k = 0; k < count; k++) {
    size_t other = k + nki_random_below(random, n - k), kept = order[k];
    order[k] = order[other];
    order[other] = kept;
  }
  qsort(order, count, sizeof *order, compare_places);
  return count;
}

/* Fills pool->rows and pool->tokens with at most `most` each. */
static int choose_pool(struct pool *pool, const struct nk_region *region,
                       const struct nk_vectors *set, size_t most, uint64_t seed) {
  size_t first = region->n_fit + region->n_ranks, n_tokens = region->tokens->n, n_fitted = 0;
  bool *in_set = nk_calloc(n_tokens, sizeof *in_set);
  pool->rows = nk_alloc(set->n, sizeof *pool->rows);
  pool->tokens = nk_alloc(n_tokens, sizeof *pool->tokens);
  int code = in_set != NULL && pool->rows != NULL && pool->tokens != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = find_copies(region, set, in_set);
  if (code == NK_OK) {
    for (size_t i = 0; i < set->n; i++) pool->rows[i] = i;
    for (size_t t = 0; t < first; t++) n_fitted += in_set[t];
    for (size_t t = first; t < n_tokens; t++)
      if (!in_set[t]) pool->tokens[pool->m++] = t;
    pool->n = set->n;
    struct nki_random random = nki_random_stream(seed, NKI_RANDOM_SET_TEST, 0);
    pool->n = choose(&random, pool->n, most, pool->rows);
    random = nki_random_stream(seed, NKI_RANDOM_SET_TEST, 1);
    pool->m = choose(&random, pool->m, most, pool->tokens);
    if (n_fitted > 0)
      nk_warn(
          "the set holds %zu tokens that the region was fitted on, which lie nearer to its mean "
          "than others do: the p-values are for other vectors",
          n_fitted);
    if (pool->m < LEAST_TOKENS)
      code = nk_fail(NK_EDATA,
                     "the region has %zu calibrating tokens that are not in the set: at least %d "
                     "are needed; fit it to more rows, or omit its tokens from the set",
                     pool->m, LEAST_TOKENS);
  }
  nk_free(in_set);
  return code;
}

/* ---- The kernel ---- */

/* The element of rank k (from 0) of values [n], which it orders in part: Hoare's FIND (1961). */
static double select_number(double *values, size_t n, size_t k) {
  size_t low = 0, high = n - 1;
  while (low < high) {
    double pivot = values[low + (high - low) / 2];
    size_t i = low, j = high;
    for (;;) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i >= j) break;
      double kept = values[i];
      values[i++] = values[j];
      values[j--] = kept;
    }
    size_t last = values[j] > pivot ? j - 1 : j; /* of the part that is at most the pivot */
    if (k <= last)
      high = last;
    else
      low = last + 1;
  }
  return values[k];
}

static void copy_centred(const struct pool *pool, const struct nk_region *region,
                         const struct nk_vectors *set) {
  const double *mean = nki_gaussian_mean(region->gaussian);
  size_t dim = pool->dim;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < pool->n + pool->m; i++) {
    const float *row = i < pool->n ? set->values + pool->rows[i] * dim
                                   : region->tokens->values + pool->tokens[i - pool->n] * dim;
    for (size_t j = 0; j < dim; j++) pool->x[i * dim + j] = (double)row[j] - mean[j];
  }
}

/* Blocks of one size, each by one thread, so that the result is the same for all numbers of them.
 */
static void whiten(const struct pool *pool, const struct nk_region *region) {
  enum { BLOCK = 128 };
  size_t n = pool->n + pool->m;
#pragma omp parallel for schedule(dynamic)
  for (size_t first = 0; first < n; first += BLOCK)
    nki_gaussian_whiten(region->gaussian, pool->x + first * pool->dim,
                        n - first < BLOCK ? n - first : BLOCK);
}

/* Squared distances of all pairs, below the diagonal. */
static void measure_pairs(const struct pool *pool) {
  enum { BLOCK = 128 };
  size_t n = pool->n + pool->m;
  int dim = (int)pool->dim;
  double *squares = pool->sums; /* of the rows' lengths, until they are needed */
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < n; i++)
    squares[i] = cblas_ddot(dim, pool->x + i * pool->dim, 1, pool->x + i * pool->dim, 1);
#pragma omp parallel for schedule(dynamic)
  for (size_t first = 0; first < n; first += BLOCK) {
    size_t end = n - first < BLOCK ? n : first + BLOCK;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(end - first), (int)end, dim, -2,
                pool->x + first * pool->dim, dim, pool->x, dim, 0, pool->kernel + first * n,
                (int)n);
    for (size_t i = first; i < end; i++)
      for (size_t j = 0; j < i; j++)
        pool->kernel[i * n + j] = fmax(0, pool->kernel[i * n + j] + squares[i] + squares[j]);
  }
}

/* The Gaussian kernel whose bandwidth is the median distance in the pool. NK_EDATA where that is 0
 * or rows are too far away for a distance. */
static int make_kernel(struct pool *pool) {
  size_t n = pool->n + pool->m, n_pairs = n * (n - 1) / 2, at = 0;
  measure_pairs(pool);
  for (size_t i = 0; i < n; i++) /* of which no distance exceeds four times the largest */
    if (!(pool->sums[i] < DBL_MAX / 4))
      return nk_fail(NK_EDATA, "distances exceed the range of a double");
  double *sorted = nk_alloc(n_pairs, sizeof *sorted);
  if (sorted == NULL) return NK_EMEMORY;
  for (size_t i = 1; i < n; at += i++)
    memcpy(sorted + at, pool->kernel + i * n, i * sizeof *sorted);
  double median = select_number(sorted, n_pairs, n_pairs / 2);
  nk_free(sorted);
  if (!(median > 0)) return nk_fail(NK_EDATA, "half of the pairs of rows and tokens are the same");
#pragma omp parallel for schedule(dynamic, 64)
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < i; j++)
      pool->kernel[i * n + j] = exp(-0.5 * pool->kernel[i * n + j] / median);
  memset(pool->sums, 0, n * sizeof *pool->sums);
  pool->total = 0;
  for (size_t i = 0; i < n; i++) {
    double own = 0;
    for (size_t j = 0; j < i; j++) {
      own += pool->kernel[i * n + j];
      pool->sums[j] += pool->kernel[i * n + j];
    }
    pool->sums[i] += own;
    pool->total += own;
  }
  return NK_OK;
}

/* ---- The discrepancy ---- */

/* The unbiased estimate of the squared discrepancy, MMD_u^2, with these members [n], ascending, as
 * the set:
 *   mean k(x, x') + mean k(y, y') - 2 mean k(x, y)
 * over pairs of different members x, of different others y, and of one of each. */
static double discrepancy(const struct pool *pool, const size_t *members) {
  double n = (double)pool->n, m = (double)pool->m, within = 0, sums = 0;
  size_t width = pool->n + pool->m;
  for (size_t a = 0; a < pool->n; a++) {
    const double *row = pool->kernel + members[a] * width;
    double sum = 0;
    for (size_t b = 0; b < a; b++) sum += row[members[b]];
    within += sum;
    sums += pool->sums[members[a]];
  }
  double across = sums - 2 * within, others = pool->total - within - across;
  return 2 * within / (n * (n - 1)) + 2 * others / (m * (m - 1)) - 2 * across / (n * m);
}

/* out [n_all] = the discrepancy, then those of random labels, in coordinates c. */
static int permute(const struct pool *pool, int c, size_t n_all, uint64_t seed, double *out) {
  enum { BLOCK = 256 };
  size_t n = pool->n + pool->m;
  int code = NK_OK;
  size_t *orders = nk_alloc((size_t)omp_get_max_threads() * n, sizeof *orders);
  if (orders == NULL) return NK_EMEMORY;
  for (size_t first = 0; first < n_all && code == NK_OK; first += BLOCK) {
    size_t end = n_all - first < BLOCK ? n_all : first + BLOCK;
#pragma omp parallel for schedule(dynamic, 8)
    for (size_t p = first; p < end; p++) {
      size_t *order = orders + (size_t)omp_get_thread_num() * n;
      struct nki_random random = nki_random_stream(seed, NKI_RANDOM_SET_TEST, 1 + p);
      for (size_t i = 0; i < n; i++) order[i] = i;
      if (p > 0) choose(&random, n, pool->n, order);
      out[p] = discrepancy(pool, order);
    }
    code = nk_progress("permutations", (size_t)c * n_all + end, N_COORDINATES * n_all);
  }
  nk_free(orders);
  return code;
}

/* values [n] in their standard deviations from their mean; 0 where they do not differ. */
static void standardize(double *values, size_t n) {
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n; i++) mean += values[i] / (double)n;
  for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
  double spread = sqrt(squares / (double)n);
  for (size_t i = 0; i < n; i++) values[i] = spread > 0 ? (values[i] - mean) / spread : 0;
}

static double kernel_of(const struct pool *pool, size_t i, size_t j) {
  size_t width = pool->n + pool->m;
  return i > j ? pool->kernel[i * width + j] : pool->kernel[j * width + i];
}

/* The share of pairs of a row and a token in which the row is more like the other rows, and less
 * like the other tokens, than the token is, by the mean of the kernel: the area under the ROC curve
 * of the discrepancy's witness function, each pair judged by the function that is made without it
 * (Airola et al. 2011), which makes it 0.5 on the average for a set that is drawn as the tokens. */
static int area(const struct pool *pool, double *out) {
  double n = (double)pool->n, m = (double)pool->m, above = 0;
  size_t all = pool->n + pool->m;
  double *like = nk_calloc(all, sizeof *like); /* sums of a row's kernel with the set's others */
  if (like == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < all; i++)
    for (size_t r = 0; r < pool->n; r++)
      if (r != i) like[i] += kernel_of(pool, i, r);
#pragma omp parallel for schedule(static) reduction(+ : above)
  for (size_t x = 0; x < pool->n; x++)
    for (size_t y = pool->n; y < all; y++) {
      double k = kernel_of(pool, y, x);
      double of_x = like[x] / (n - 1) - (pool->sums[x] - like[x] - k) / (m - 1);
      double of_y = (like[y] - k) / (n - 1) - (pool->sums[y] - like[y]) / (m - 1);
      above += of_x > of_y ? 1 : of_x == of_y ? 0.5 : 0;
    }
  nk_free(like);
  *out = above / (n * m);
  return NK_OK;
}

/* ---- The p-values ---- */

/* Simes' p-value of the set: the least n p_(i) / i of the rows' conformal p-values in order. */
static int simes(const struct nk_region *region, const struct nk_vectors *set, double *out) {
  double *p = nk_alloc(set->n, sizeof *p);
  if (p == NULL) return NK_EMEMORY;
  int code = nk_region_score(region, set->values, set->n, NULL, p);
  if (code == NK_OK) nki_sort_numbers(p, set->n);
  *out = 1;
  for (size_t i = 0; i < set->n && code == NK_OK; i++)
    *out = fmin(*out, (double)set->n * p[i] / (double)(i + 1));
  nk_free(p);
  return code;
}

/* Measures the discrepancy in both coordinates: statistic [1 + n_permutations]. */
static int measure(struct pool *pool, const struct nk_region *region, const struct nk_vectors *set,
                   size_t n_permutations, uint64_t seed, struct nk_set_test *out) {
  size_t n_all = n_permutations + 1, n = pool->n + pool->m, as_large = 0;
  double auc = 0;
  double *statistic = nk_alloc(n_all, sizeof *statistic), *raw = nk_alloc(n_all, sizeof *raw);
  pool->x = nk_alloc(n, pool->dim * sizeof *pool->x);
  pool->kernel = nk_alloc(n, n * sizeof *pool->kernel);
  pool->sums = nk_alloc(n, sizeof *pool->sums);
  int code = NK_OK;
  if (statistic == NULL || raw == NULL || pool->x == NULL || pool->kernel == NULL ||
      pool->sums == NULL)
    code = NK_EMEMORY;
  if (code == NK_OK) copy_centred(pool, region, set);
  for (int c = RAW; c < N_COORDINATES && code == NK_OK; c++) {
    double *values = c == RAW ? raw : statistic;
    if (c == WHITENED) whiten(pool, region);
    code = make_kernel(pool);
    if (code == NK_OK) code = permute(pool, c, n_all, seed, values);
    if (code == NK_OK) code = area(pool, &auc);
    if (code != NK_OK) break;
    double mmd2 = values[0];
    standardize(values, n_all);
    if (c == WHITENED && values[0] <= raw[0]) continue;
    out->whitened = c == WHITENED;
    out->mmd2 = mmd2;
    out->auc = auc;
  }
  for (size_t p = 0; p < n_all && code == NK_OK; p++) {
    statistic[p] = fmax(statistic[p], raw[p]);
    as_large += statistic[p] >= statistic[0] - TIE;
  }
  out->p_value = (double)as_large / (double)n_all;
  out->p_min = 1 / (double)n_all;
  nk_free(statistic);
  nk_free(raw);
  return code;
}

static int check(const struct nk_region *region, const struct nk_vectors *set) {
  if (region == NULL || set == NULL) return nki_null("the region or the set");
  const char *of_region = nk_vectors_metadata(region->tokens, "noken.space");
  const char *of_set = nk_vectors_metadata(set, "noken.space");
  if (set->dim != region->dim)
    return nk_fail(NK_EDATA, "vectors have %zu values, the region is for %zu", set->dim,
                   region->dim);
  if (of_region != NULL && of_set != NULL && strcmp(of_region, of_set) != 0)
    return nk_fail(NK_EDATA, "the set is of the space '%s', the region of '%s'", of_set, of_region);
  if (region->tokens->values == NULL)
    return nk_fail(NK_EUSAGE, "the region does not hold its tokens: there is nothing to compare");
  if (set->n < LEAST_ROWS)
    return nk_fail(NK_EDATA, "%zu rows are too few for a set: at least %d are needed", set->n,
                   LEAST_ROWS);
  int code = nki_vectors_need_values(set);
  return code == NK_OK ? nki_check_rows(set->values, NULL, 0, set->n, set->dim) : code;
}

int nk_region_test(const struct nk_region *region, const struct nk_vectors *set,
                   const struct nk_set_test_options *options, struct nk_set_test *out) {
  static const struct nk_set_test_options usual = {0};
  if (options == NULL) options = &usual;
  size_t n_permutations =
      options->n_permutations > 0 ? options->n_permutations : USUAL_PERMUTATIONS;
  size_t most = options->most > 0 ? options->most : USUAL_MOST;
  int code = check(region, set);
  if (code == NK_OK && most < LEAST_TOKENS)
    code = nk_fail(NK_EUSAGE, "at most %zu rows: at least %d are needed", most, LEAST_TOKENS);
  if (code != NK_OK) return code;
  struct pool pool = {.dim = region->dim};
  *out = (struct nk_set_test){0};
  code = choose_pool(&pool, region, set, most, options->seed);
  out->n_rows = pool.n;
  out->n_tokens = pool.m;
  if (code == NK_OK) code = measure(&pool, region, set, n_permutations, options->seed, out);
  if (code == NK_OK) code = simes(region, set, &out->p_simes);
  nk_free(pool.rows);
  nk_free(pool.tokens);
  nk_free(pool.x);
  nk_free(pool.kernel);
  nk_free(pool.sums);
  return code;
}
