/* Nearest neighbours, hubness and LOF against scikit-learn and against comparing all pairs. */
#include "unit.h"

#include <math.h>

#include "base/random.h"
#include "geometry/knn_exact.h"
#include "geometry_fixture.h"

enum { N_CASES = sizeof geometry_cases / sizeof geometry_cases[0] };

static void assert_close(double got, double want, double relative, double scale) {
  double allowed = relative * (fabs(want) > scale ? fabs(want) : scale);
  if (!(fabs(got - want) <= allowed)) fail_msg("got %.12g, not %.12g", got, want);
}

static struct nk_knn *search(const float *base, size_t n, size_t dim, const float *query,
                             size_t n_query, size_t k, enum nk_metric metric) {
  struct nk_knn *knn = nk_knn_search(base, n, dim, query, n_query,
                                     &(struct nk_knn_options){.k = k, .metric = metric});
  if (knn == NULL) fail_msg("%s", nk_error());
  return knn;
}

static void neighbours_equal_scikit_learns(void **state) {
  (void)state;
  for (size_t c = 0; c < N_CASES; c++) {
    const struct geometry_case *g = &geometry_cases[c];
    struct nk_knn *knn = search(g->x, g->n, g->dim, NULL, 0, g->k, NK_METRIC_L2);
    assert_memory_equal(knn->rows, g->knn, g->n * g->k * sizeof(int64_t));
    for (size_t i = 0; i < g->n * g->k; i++)
      assert_close(knn->distances[i], g->knn_distance[i], 1e-6, 0);
    nk_knn_free(knn);
    if (g->cosine_knn == NULL) continue;
    knn = search(g->x, g->n, g->dim, NULL, 0, g->k, NK_METRIC_COSINE);
    assert_memory_equal(knn->rows, g->cosine_knn, g->n * g->k * sizeof(int64_t));
    for (size_t i = 0; i < g->n * g->k; i++)
      assert_close(knn->distances[i], g->cosine_distance[i], 1e-6, 0);
    nk_knn_free(knn);
  }
}

static void hubness_and_lof_equal_scikit_learns(void **state) {
  (void)state;
  for (size_t c = 0; c < N_CASES; c++) {
    const struct geometry_case *g = &geometry_cases[c];
    struct nk_knn *knn = search(g->x, g->n, g->dim, NULL, 0, g->k, NK_METRIC_L2);
    int64_t hubness[200];
    double lof[200];
    nk_hubness(knn, hubness);
    assert_int_equal(nk_lof(knn, lof), 0);
    assert_memory_equal(hubness, g->hubness, g->n * sizeof(int64_t));
    for (size_t i = 0; i < g->n; i++) assert_close(lof[i], g->lof[i], 1e-5, 0);
    nk_knn_free(knn);
  }
}

/* The reference: all pairs in long double, sorted by distance and then by row. */
static void assert_exact(const struct nk_knn *knn, const float *base, size_t n, size_t dim,
                         const float *query, size_t step) {
  double *distance = nk_alloc(n, sizeof *distance);
  for (size_t q = 0; q < knn->n; q += step) {
    const float *x = query != NULL ? query + q * dim : base + q * dim;
    for (size_t i = 0; i < n; i++) {
      long double sum = 0;
      for (size_t j = 0; j < dim; j++) {
        long double difference = (long double)x[j] - (long double)base[i * dim + j];
        sum += difference * difference;
      }
      distance[i] = query == NULL && i == q ? (double)INFINITY : (double)sqrtl(sum);
    }
    for (size_t k = 0; k < knn->k; k++) {
      size_t nearest = 0;
      for (size_t i = 1; i < n; i++)
        if (distance[i] < distance[nearest]) nearest = i;
      if (knn->rows[q * knn->k + k] != (int64_t)nearest)
        fail_msg("row %zu: neighbour %zu is %lld at %.17g, not %zu at %.17g", q, k,
                 (long long)knn->rows[q * knn->k + k], knn->distances[q * knn->k + k], nearest,
                 distance[nearest]);
      assert_close(knn->distances[q * knn->k + k], distance[nearest], 1e-6, 0);
      distance[nearest] = (double)INFINITY;
    }
  }
  nk_free(distance);
}

/* The cosine distance in long double. */
static double cosine_of(const float *x, const float *y, size_t dim) {
  long double xx = 0, yy = 0, sum = 0;
  for (size_t j = 0; j < dim; j++) {
    xx += (long double)x[j] * (long double)x[j];
    yy += (long double)y[j] * (long double)y[j];
  }
  for (size_t j = 0; j < dim; j++) {
    long double difference = (long double)x[j] / sqrtl(xx) - (long double)y[j] / sqrtl(yy);
    sum += difference * difference;
  }
  return (double)(sum / 2);
}

static void assert_exact_cosines(const struct nk_knn *knn, const float *x, size_t n, size_t dim,
                                 size_t step) {
  double *distance = nk_alloc(n, sizeof *distance);
  for (size_t q = 0; q < knn->n; q += step) {
    for (size_t i = 0; i < n; i++)
      distance[i] = i == q ? (double)INFINITY : cosine_of(x + q * dim, x + i * dim, dim);
    for (size_t k = 0; k < knn->k; k++) {
      size_t nearest = 0;
      for (size_t i = 1; i < n; i++)
        if (distance[i] < distance[nearest]) nearest = i;
      assert_int_equal(knn->rows[q * knn->k + k], nearest);
      assert_close(knn->distances[q * knn->k + k], distance[nearest], 1e-9, 1e-20);
      distance[nearest] = (double)INFINITY;
    }
  }
  nk_free(distance);
}

/* n rows: an ordinary cloud, and in it tight balls far from the centre whose rows differ by a
 * millionth of that distance, so that float products about the centre cannot tell them apart. */
static float *cloud_with_balls(size_t n, size_t dim, size_t n_balls, size_t ball, double radius) {
  float *x = nk_alloc(n * dim, sizeof *x);
  struct nki_random random = nki_random_stream(11, NKI_RANDOM_TEST, n);
  for (size_t i = 0; i < n * dim; i++) x[i] = (float)nki_random_normal(&random);
  for (size_t b = 0; b < n_balls; b++)
    for (size_t i = 1; i < ball; i++)
      for (size_t j = 0; j < dim; j++)
        x[(b + n_balls * i) * dim + j] =
            (float)((double)x[b * dim + j] + radius * nki_random_normal(&random));
  return x;
}

static void rows_in_tight_balls_are_told_apart(void **state) {
  (void)state;
  enum { N = 1500, DIM = 24 };
  float *x = cloud_with_balls(N, DIM, 3, 200, 1e-6);
  struct nk_knn *knn = search(x, N, DIM, NULL, 0, 5, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, NULL, 7);
  nk_knn_free(knn);
  nk_free(x);
}

static void many_small_balls_are_told_apart(void **state) {
  (void)state;
  enum { N = 1200, DIM = 16 };
  float *x = cloud_with_balls(N, DIM, 100, 8, 1e-6);
  struct nk_knn *knn = search(x, N, DIM, NULL, 0, 10, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, NULL, 11);
  nk_knn_free(knn);
  nk_free(x);
}

/* More copies than there are candidates: the neighbours are the copies of lowest row. */
static void copies_are_neighbours_at_zero_in_order(void **state) {
  (void)state;
  enum { N = 700, DIM = 9 };
  float *x = cloud_with_balls(N, DIM, 1, 300, 0);
  struct nk_knn *knn = search(x, N, DIM, NULL, 0, 4, NK_METRIC_L2);
  for (int64_t k = 0; k < 4; k++) {
    assert_int_equal(knn->rows[k], k + 1);
    assert_int_equal(knn->rows[200 * 4 + k], k);
    assert_true(knn->distances[200 * 4 + k] == 0);
  }
  assert_exact(knn, x, N, DIM, NULL, 13);
  double lof[N];
  assert_int_equal(nk_lof(knn, lof), 0);
  assert_true(lof[0] == 1); /* a copy among copies */
  nk_knn_free(knn);
  knn = search(x, N, DIM, NULL, 0, 4, NK_METRIC_COSINE);
  assert_true(knn->distances[200 * 4] == 0);
  assert_int_equal(knn->rows[200 * 4], 0);
  nk_knn_free(knn);
  nk_free(x);
}

static void queries_see_every_row_of_the_base(void **state) {
  (void)state;
  enum { N = 900, DIM = 20, Q = 130 };
  float *x = cloud_with_balls(N, DIM, 2, 50, 1e-6);
  struct nk_knn *knn = search(x, N, DIM, x, Q, 3, NK_METRIC_L2);
  for (size_t q = 0; q < Q; q++) {
    assert_int_equal(knn->rows[q * 3], q);
    assert_true(knn->distances[q * 3] == 0);
  }
  assert_exact(knn, x, N, DIM, x, 1);
  nk_knn_free(knn);
  nk_free(x);
}

/* The base is searched in parts of 160 MiB: rows 16,000 long need two of them here, and blocks of
 * query rows. */
static void parts_of_the_base_are_merged(void **state) {
  (void)state;
  enum { N = 2700, DIM = 16000, Q = 40 };
  float *x = nk_alloc((size_t)N * DIM, sizeof *x);
  struct nki_random random = nki_random_stream(5, NKI_RANDOM_TEST, 0);
  float noise[4096];
  for (size_t i = 0; i < 4096; i++) noise[i] = (float)nki_random_normal(&random);
  for (size_t i = 0; i < N; i++)
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = noise[(i * 97 + j) % 4096] + noise[(i * 61 + j * 3) % 4093];
  struct nk_knn *knn = search(x, N, DIM, x, Q, 6, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, x, 13);
  nk_knn_free(knn);
  knn = search(x, N, DIM, NULL, 0, 6, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, NULL, 701);
  nk_knn_free(knn);
  nk_free(x);
}

/* Each pair of a set's rows is multiplied once, for both of them: the same as where every row is a
 * query of its own, which finds the row itself and, with it, one neighbour less. The rows are
 * several blocks of queries and tiles, the last ones not full. */
static void pairs_serve_both_of_their_rows(void **state) {
  (void)state;
  enum { N = 5003, DIM = 19, K = 7 };
  static const enum nk_metric metrics[] = {NK_METRIC_L2, NK_METRIC_COSINE};
  float *x = cloud_with_balls(N, DIM, 3, 40, 1e-3);
  for (size_t m = 0; m < 2; m++) {
    struct nk_knn *self = search(x, N, DIM, NULL, 0, K, metrics[m]);
    struct nk_knn *queries = search(x, N, DIM, x, N, K + 1, metrics[m]);
    for (size_t i = 0; i < N; i++) {
      assert_int_equal(queries->rows[i * (K + 1)], i);
      assert_memory_equal(self->rows + i * K, queries->rows + i * (K + 1) + 1,
                          K * sizeof *self->rows);
      assert_memory_equal(self->distances + i * K, queries->distances + i * (K + 1) + 1,
                          K * sizeof *self->distances);
    }
    if (metrics[m] == NK_METRIC_L2) assert_exact(self, x, N, DIM, NULL, 97);
    if (metrics[m] == NK_METRIC_COSINE) assert_exact_cosines(self, x, N, DIM, 97);
    nk_knn_free(self);
    nk_knn_free(queries);
  }
  nk_free(x);
}

/* The points 0, 1, 2, ... of a line: row i has i - 1 and i + 1, then i - 2 and i + 2. */
static void sorted_rows_have_the_rows_beside_them(void **state) {
  (void)state;
  enum { N = 6000 };
  float x[N];
  for (size_t i = 0; i < N; i++) x[i] = (float)i;
  struct nk_knn *knn = search(x, N, 1, NULL, 0, 4, NK_METRIC_L2);
  static const int64_t beside[4] = {-1, 1, -2, 2};
  for (int64_t i = 2; i < N - 2; i++)
    for (int64_t k = 0; k < 4; k++) {
      assert_int_equal(knn->rows[i * 4 + k], i + beside[k]);
      assert_true(knn->distances[i * 4 + k] == (double)(1 + k / 2));
    }
  const int64_t first[4] = {1, 2, 3, 4}, last[4] = {N - 2, N - 3, N - 4, N - 5};
  assert_memory_equal(knn->rows, first, sizeof first);
  assert_memory_equal(knn->rows + (size_t)(N - 1) * 4, last, sizeof last);
  nk_knn_free(knn);
}

/* The lists of a search for all rows, of its own rows and of a query's. */
static void rows_can_be_searched_for_alone(void **state) {
  (void)state;
  enum { N = 1300, DIM = 12, K = 5, CHOSEN = 6 };
  static const size_t rows[CHOSEN] = {7, 0, 1299, 3, 640, 3};
  float *x = cloud_with_balls(N, DIM, 2, 30, 1e-6);
  for (size_t q = 0; q < 2; q++)
    for (size_t index = 0; index < 2; index++) {
      const float *query = q == 1 ? x : NULL;
      struct nk_knn_options options = {.k = K, .rows = rows, .n_rows = CHOSEN};
      if (index == 1) options.index = "IVF4,Flat";
      if (index == 1) options.search = "nprobe=4";
      struct nk_knn *all = search(x, N, DIM, query, N, K, NK_METRIC_L2);
      struct nk_knn *some = nk_knn_search(x, N, DIM, query, N, &options);
      assert_non_null(some);
      assert_int_equal(some->n, CHOSEN);
      for (size_t i = 0; i < CHOSEN; i++) {
        assert_memory_equal(some->rows + i * K, all->rows + rows[i] * K, K * sizeof *all->rows);
        assert_memory_equal(some->distances + i * K, all->distances + rows[i] * K,
                            K * sizeof *all->distances);
      }
      nk_knn_free(all);
      nk_knn_free(some);
    }
  const size_t beyond = N;
  assert_null(nk_knn_search(x, N, DIM, NULL, 0,
                            &(struct nk_knn_options){.k = K, .rows = &beyond, .n_rows = 1}));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  assert_string_equal(nk_error(), "query: row 1300 is not one of 1300");
  nk_free(x);
}

/* The same as by a search that prepares its base anew: near the base, far beyond it, where the
 * base's frame is too small, and among copies. */
static void a_base_is_searched_many_times(void **state) {
  (void)state;
  enum { N = 1200, DIM = 20, Q = 90, K = 4 };
  static const enum nk_metric metrics[] = {NK_METRIC_L2, NK_METRIC_COSINE};
  static const float lengths[] = {1, 100, 1e6f, 1e-6f, 1};
  float *x = cloud_with_balls(N, DIM, 2, 50, 1e-6), *query = nk_alloc((size_t)Q * DIM, sizeof *x);
  memcpy(x + (size_t)DIM, x, DIM * sizeof *x);
  for (size_t m = 0; m < 2; m++) {
    struct nki_base *base = nki_base_new(x, N, DIM, metrics[m]);
    const struct nk_knn_options options = {.k = K};
    assert_non_null(base);
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
      for (size_t i = 0; i < (size_t)Q * DIM; i++) query[i] = x[i] * lengths[l];
      struct nk_knn *knn = nki_base_search(base, query, Q, &options);
      struct nk_knn *anew = search(x, N, DIM, query, Q, K, metrics[m]);
      assert_non_null(knn);
      assert_memory_equal(knn->rows, anew->rows, Q * K * sizeof *knn->rows);
      assert_memory_equal(knn->distances, anew->distances, Q * K * sizeof *knn->distances);
      if (metrics[m] == NK_METRIC_L2 && lengths[l] <= 1) assert_exact(knn, x, N, DIM, query, 11);
      nk_knn_free(knn);
      nk_knn_free(anew);
    }
    nki_base_free(base);
  }
  nk_free(query);
  nk_free(x);
}

/* ---- Rounding ---- */

/* 1 + 0.98 * 2^-power: added to a running sum above 2^(23 - power) it loses its last part, always
 * in the same direction, so that the error of a float sum grows with the number of terms. */
static float biased(int power) {
  return (float)(1 + 0.98 * ldexp(1, -power));
}

/* The bound of errors that are random, which a search may not rest on. */
static double typical_least_score(double length, double kth, size_t dim) {
  double other = length + kth;
  double rounding = (8 + 0.25 * sqrt((double)dim)) * 0x1p-24 * (length * other + other * other / 2);
  return 0.5 * (length * length - kth * kth) - rounding;
}

static void scores_of_biased_sums_stay_within_the_bound(void **state) {
  (void)state;
  for (size_t dim = 256; dim <= 16384; dim *= 4)
    for (int power = 10; power < 20; power++) {
      double product = (double)biased(power), length = sqrt((double)dim);
      float sum = 0;
      for (size_t j = 0; j < dim; j++) sum += biased(power); /* (1, 1, ...) . (y, y, ...) */
      sum += (float)(-0.5 * product * product * (double)dim);
      double kth = sqrt((double)dim) * (product - 1);
      assert_true((double)sum >= nki_least_score(length, kth, 0, dim));
      if (dim == 16384 && power == 14) /* this one is outside of the typical bound */
        assert_true((double)sum < typical_least_score(length, kth, dim));
    }
}

/* Row 0 is (1, 1, ...), row 1 its nearest, whose score is too small by the bias of its sum; rows 2
 * to 6 differ from row 0 in one coordinate, with exact scores that are larger although they are
 * farther away, and fill the list of candidates. By the typical bound row 1 could not have been
 * missed. The mirror images of all rows put the centroid at 0. */
static void a_neighbour_hidden_by_biased_sums_is_found(void **state) {
  (void)state;
  enum { DIM = 4096, DECOYS = 5, OTHERS = 20, HALF = 2 + DECOYS + OTHERS, N = 2 * HALF };
  static const float apart[DECOYS] = {2, 3, 4, 5, 9}; /* / 64 */
  float *x = nk_alloc((size_t)N * DIM, sizeof *x);
  for (int power = 15; power < 19; power++) {
    struct nki_random random = nki_random_stream(3, NKI_RANDOM_TEST, 0);
    for (size_t i = 0; i < HALF; i++)
      for (size_t j = 0; j < DIM; j++)
        x[i * DIM + j] = i == 1                            ? biased(power)
                         : i < 2 + DECOYS                  ? 1
                         : nki_random_u32(&random) % 2 > 0 ? 1
                                                           : -1;
    for (size_t d = 0; d < DECOYS; d++) x[(2 + d) * DIM + 100 * d] += apart[d] / 64;
    for (size_t i = 0; i < (size_t)HALF * DIM; i++) x[(size_t)HALF * DIM + i] = -x[i];
    struct nk_knn *knn = search(x, N, DIM, NULL, 0, 1, NK_METRIC_L2);
    assert_int_equal(knn->rows[0], 1);
    assert_exact(knn, x, N, DIM, NULL, 1);
    nk_knn_free(knn);
  }
  nk_free(x);
}

/* Rows beside (1000, 1000, ...) that differ by the last bits of their floats: squared distances are
 * multiples of 2^-28, exact in double, near 1e-7 of the coordinates, and most are equal to
 * others. */
static void ties_on_a_large_offset_are_ordered_by_row(void **state) {
  (void)state;
  enum { N = 1500, DIM = 48 };
  float *x = nk_alloc(N * DIM, sizeof *x);
  struct nki_random random = nki_random_stream(21, NKI_RANDOM_TEST, 0);
  for (size_t i = 0; i < N * DIM; i++)
    x[i] = (float)(1000 + ldexp((double)nki_random_below(&random, 4), -14));
  struct nk_knn *knn = search(x, N, DIM, NULL, 0, 10, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, NULL, 7);
  nk_knn_free(knn);
  nk_free(x);
}

/* ---- Lengths ---- */

/* Five groups of rows whose lengths have ratios of up to 1e49, in random order; in each group pairs
 * of nearly the same direction, which are each other's neighbours across groups too. */
static float *rows_of_many_lengths(size_t n, size_t dim) {
  static const double lengths[5] = {1e-30, 1e-23, 1, 1e10, 1e19};
  float *x = nk_alloc(n * dim, sizeof *x), *direction = nk_alloc(dim, sizeof *direction);
  struct nki_random random = nki_random_stream(31, NKI_RANDOM_TEST, dim);
  for (size_t i = 0; i < n; i++) {
    double length = lengths[nki_random_below(&random, 5)];
    for (size_t j = 0; j < dim; j++) {
      if (i % 2 == 0) direction[j] = (float)nki_random_normal(&random);
      double noise = i % 2 == 0 ? 0 : 1e-3 * nki_random_normal(&random);
      x[i * dim + j] = (float)(length * ((double)direction[j] + noise));
    }
  }
  nk_free(direction);
  return x;
}

static void rows_of_any_length_are_compared_exactly(void **state) {
  (void)state;
  enum { N = 1000, DIM = 24 };
  float *x = rows_of_many_lengths(N, DIM);
  struct nk_knn *knn = search(x, N, DIM, NULL, 0, 6, NK_METRIC_L2);
  assert_exact(knn, x, N, DIM, NULL, 3);
  nk_knn_free(knn);
  knn = search(x, N, DIM, NULL, 0, 6, NK_METRIC_COSINE);
  assert_exact_cosines(knn, x, N, DIM, 3);
  nk_knn_free(knn);
  /* few tiny or huge queries among ordinary rows, and the reverse */
  knn = search(x + 100 * DIM, N - 100, DIM, x, 9, 6, NK_METRIC_L2);
  assert_exact(knn, x + 100 * DIM, N - 100, DIM, x, 1);
  nk_knn_free(knn);
  nk_free(x);
}

/* All rows of one length far from 1, where squares leave the range of a float. */
static void all_rows_may_be_tiny_or_huge(void **state) {
  (void)state;
  enum { N = 400, DIM = 16 };
  static const double lengths[4] = {1e-38, 1e-30, 1e19, 1e37};
  float *x = nk_alloc(N * DIM, sizeof *x);
  for (size_t l = 0; l < 4; l++) {
    struct nki_random random = nki_random_stream(41, NKI_RANDOM_TEST, l);
    for (size_t i = 0; i < N * DIM; i++) x[i] = (float)(lengths[l] * nki_random_normal(&random));
    struct nk_knn *knn = search(x, N, DIM, NULL, 0, 5, NK_METRIC_L2);
    assert_exact(knn, x, N, DIM, NULL, 3);
    nk_knn_free(knn);
    knn = search(x, N, DIM, NULL, 0, 5, NK_METRIC_COSINE);
    assert_exact_cosines(knn, x, N, DIM, 3);
    nk_knn_free(knn);
  }
  nk_free(x);
}

/* ---- Options and other input ---- */

static void zeroed_options_search_ten_by_l2(void **state) {
  (void)state;
  enum { N = 50, DIM = 5 };
  float *x = cloud_with_balls(N, DIM, 1, 2, 1e-3);
  const struct nk_knn_options zeroed = {0};
  struct nk_knn *want = search(x, N, DIM, NULL, 0, 10, NK_METRIC_L2);
  struct nk_knn *got = nk_knn_search(x, N, DIM, NULL, 0, &zeroed);
  struct nk_knn *without = nk_knn_search(x, N, DIM, NULL, 0, NULL);
  assert_int_equal(got->k, 10);
  assert_memory_equal(got->rows, want->rows, N * 10 * sizeof(int64_t));
  assert_memory_equal(without->rows, want->rows, N * 10 * sizeof(int64_t));
  nk_knn_free(want);
  nk_knn_free(got);
  nk_knn_free(without);
  nk_free(x);
}

static void few_rows_have_few_neighbours(void **state) {
  (void)state;
  float x[3] = {0, 4, 1};
  struct nk_knn *knn = search(x, 3, 1, NULL, 0, 10, NK_METRIC_L2);
  assert_int_equal(knn->k, 2);
  const int64_t want[6] = {2, 1, 2, 0, 0, 1};
  assert_memory_equal(knn->rows, want, sizeof want);
  nk_knn_free(knn);
  knn = search(x, 1, 1, NULL, 0, 10, NK_METRIC_L2);
  assert_int_equal(knn->k, 0);
  double lof[1];
  assert_int_equal(nk_lof(knn, lof), 0);
  assert_true(isnan(lof[0]));
  nk_knn_free(knn);
}

static void numbers_beyond_a_floats_square_are_compared(void **state) {
  (void)state;
  float x[8] = {1e30f, 0, -1e30f, 0, 0, 3e30f, 1e30f, 1e29f};
  struct nk_knn *knn = search(x, 4, 2, NULL, 0, 2, NK_METRIC_L2);
  const int64_t want[8] = {3, 1, 0, 3, 3, 0, 0, 1};
  assert_memory_equal(knn->rows, want, sizeof want);
  nk_knn_free(knn);
}

static void bad_input_is_refused(void **state) {
  (void)state;
  float x[6] = {0, 4, 1, NAN, 2, 3};
  struct nk_knn_options options = {.k = 1};
  assert_null(nk_knn_search(x, 3, 2, NULL, 0, &options));
  assert_string_equal(nk_error(), "row 1 holds a NaN or an infinity");
  assert_null(nk_knn_search(x, 1, 2, x, 2, &options));
  assert_string_equal(nk_error(), "query: row 1 holds a NaN or an infinity");
  assert_null(nk_knn_search(x, 0, 2, NULL, 0, &options));
  x[3] = 0;
  options.index = "NoSuchIndex";
  assert_null(nk_knn_search(x, 3, 2, NULL, 0, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
  options = (struct nk_knn_options){.k = 1, .metric = NK_METRIC_MAHALANOBIS};
  assert_null(nk_knn_search(x, 3, 2, NULL, 0, &options));
  assert_int_equal(nk_error_code(), NK_EUSAGE);
}

/* An inverted file that probes all of its lists, and a graph, find what the exact search finds. */
static void other_indexes_find_the_same(void **state) {
  (void)state;
  enum { N = 2000, DIM = 8 };
  float *x = cloud_with_balls(N, DIM, 1, 2, 1e-3);
  struct nk_knn *exact = search(x, N, DIM, NULL, 0, 5, NK_METRIC_L2);
  struct nk_knn_options options = {.k = 5, .index = "IVF16,Flat", .search = "nprobe=16"};
  struct nk_knn *lists = nk_knn_search(x, N, DIM, NULL, 0, &options);
  assert_non_null(lists);
  assert_memory_equal(lists->rows, exact->rows, N * 5 * sizeof(int64_t));
  options = (struct nk_knn_options){.k = 5, .index = "HNSW32", .search = "efSearch=256"};
  struct nk_knn *graph = nk_knn_search(x, N, DIM, NULL, 0, &options);
  assert_non_null(graph);
  size_t same = 0;
  for (size_t i = 0; i < N * 5; i++) same += graph->rows[i] == exact->rows[i];
  assert_true((double)same > 0.99 * N * 5);
  options.search = "nothing=1";
  assert_null(nk_knn_search(x, N, DIM, NULL, 0, &options));
  nk_knn_free(exact);
  nk_knn_free(lists);
  nk_knn_free(graph);
  nk_free(x);
}

static int stop_at_once(const char *what, size_t done, size_t total, void *user) {
  (void)what, (void)done, (void)total, (void)user;
  return 1;
}

static void a_search_can_be_interrupted(void **state) {
  (void)state;
  float x[4] = {0, 1, 2, 3};
  nk_on_progress(stop_at_once, NULL);
  assert_null(nk_knn_search(x, 4, 1, NULL, 0, &(struct nk_knn_options){.k = 1}));
  nk_on_progress(NULL, NULL);
  assert_int_equal(nk_error_code(), NK_EINTERRUPTED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(neighbours_equal_scikit_learns),
      cmocka_unit_test(hubness_and_lof_equal_scikit_learns),
      cmocka_unit_test(rows_in_tight_balls_are_told_apart),
      cmocka_unit_test(many_small_balls_are_told_apart),
      cmocka_unit_test(copies_are_neighbours_at_zero_in_order),
      cmocka_unit_test(queries_see_every_row_of_the_base),
      cmocka_unit_test(parts_of_the_base_are_merged),
      cmocka_unit_test(pairs_serve_both_of_their_rows),
      cmocka_unit_test(sorted_rows_have_the_rows_beside_them),
      cmocka_unit_test(rows_can_be_searched_for_alone),
      cmocka_unit_test(a_base_is_searched_many_times),
      cmocka_unit_test(scores_of_biased_sums_stay_within_the_bound),
      cmocka_unit_test(a_neighbour_hidden_by_biased_sums_is_found),
      cmocka_unit_test(ties_on_a_large_offset_are_ordered_by_row),
      cmocka_unit_test(rows_of_any_length_are_compared_exactly),
      cmocka_unit_test(all_rows_may_be_tiny_or_huge),
      cmocka_unit_test(zeroed_options_search_ten_by_l2),
      cmocka_unit_test(few_rows_have_few_neighbours),
      cmocka_unit_test(numbers_beyond_a_floats_square_are_compared),
      cmocka_unit_test(bad_input_is_refused),
      cmocka_unit_test(other_indexes_find_the_same),
      cmocka_unit_test(a_search_can_be_interrupted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
