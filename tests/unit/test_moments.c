/* Moments, Ledoit and Wolf's shrinkage and Mahalanobis distances against numpy and scikit-learn. */
#include "unit.h"

#include <math.h>
#include <noken/noken.h>
#include <string.h>

#include "base/random.h"
#include "geometry/gaussian.h"
#include "geometry_fixture.h"
#include "massive_fixture.h"

enum { N_CASES = sizeof geometry_cases / sizeof geometry_cases[0] };

/* Equal to `relative`, where `scale` says what size a value of this kind has. */
static void assert_close(double got, double want, double relative, double scale) {
  double allowed = relative * (fabs(want) > scale ? fabs(want) : scale);
  if (!(fabs(got - want) <= allowed)) fail_msg("got %.12g, not %.12g", got, want);
}

static struct nk_moments *moments_of(const struct geometry_case *c) {
  struct nk_moments *m = nk_moments_compute(c->x, NULL, c->n, c->dim);
  if (m == NULL) fail_msg("%s", nk_error());
  return m;
}

static void moments_equal_numpys(void **state) {
  (void)state;
  for (size_t i = 0; i < N_CASES; i++) {
    const struct geometry_case *c = &geometry_cases[i];
    struct nk_moments *m = moments_of(c);
    double relative = strcmp(c->name, "far") == 0 ? 1e-4 : 1e-5;
    for (size_t a = 0; a < c->dim; a++) {
      assert_close(m->mean[a], c->mean[a], 1e-6, sqrt(c->covariance[a * c->dim + a]));
      for (size_t b = 0; b < c->dim; b++)
        assert_close(m->covariance[a * c->dim + b], c->covariance[a * c->dim + b], relative,
                     sqrt(c->covariance[a * c->dim + a] * c->covariance[b * c->dim + b]));
    }
    nk_moments_free(m);
  }
}

static void shrinkage_equals_scikit_learns(void **state) {
  (void)state;
  for (size_t i = 0; i < N_CASES; i++) {
    struct nk_moments *m = moments_of(&geometry_cases[i]);
    assert_close(nki_ledoit_wolf(m), *geometry_cases[i].shrinkage, 1e-5, 1e-6);
    nk_moments_free(m);
  }
}

static void mahalanobis_equals_scikit_learns(void **state) {
  (void)state;
  for (size_t i = 0; i < N_CASES; i++) {
    const struct geometry_case *c = &geometry_cases[i];
    struct nk_gaussian *dist = nk_gaussian_new(moments_of(c), -1, true);
    assert_non_null(dist);
    float *out = nk_alloc(c->n, sizeof *out);
    assert_int_equal(nk_mahalanobis(dist, c->x, c->n, out), 0);
    double relative = strcmp(c->name, "far") == 0 ? 1e-4 : 1e-5;
    for (size_t r = 0; r < c->n; r++)
      assert_close((double)out[r], c->mahalanobis[r], relative, 0.1);
    nk_free(out);
    nk_gaussian_free(dist);
  }
}

static void massive_dimensions_keep_mahalanobis_distances_right(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof massive_cases / sizeof massive_cases[0]; i++) {
    const struct massive_case *c = &massive_cases[i];
    struct nk_moments *m = nk_moments_compute(c->x, NULL, MASSIVE_N, MASSIVE_DIM);
    struct nk_gaussian *dist = nk_gaussian_new(m, 0, true);
    assert_non_null(dist);
    float out[MASSIVE_N];
    assert_int_equal(nk_mahalanobis(dist, c->x, MASSIVE_N, out), NK_OK);
    for (size_t r = 0; r < MASSIVE_N; r++) assert_close((double)out[r], c->mahalanobis[r], 1e-3, 0);
    nk_gaussian_free(dist);
  }
}

/* Rows in two clumps far apart, sorted: what a provisional mean taken from the first rows would get
 * wrong. The moments have a closed form: rows are a +- e_j, b +- e_j. */
static void sorted_clumps_lose_no_digits(void **state) {
  (void)state;
  enum { DIM = 4, N = 40000 };
  float *x = nk_alloc(N * DIM, sizeof *x);
  for (size_t i = 0; i < N; i++)
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (j == 0 ? (i < N / 2 ? 1000.0f : 3000.0f) : 5000.0f) +
                       (i / 2 % DIM == j ? (i % 2 ? 1.0f : -1.0f) : 0.0f);
  struct nk_moments *m = nk_moments_compute(x, NULL, N, DIM);
  assert_non_null(m);
  assert_close(m->mean[0], 2000, 1e-9, 0);
  assert_close(m->mean[1], 5000, 1e-9, 0);
  assert_close(m->covariance[0], 1e6 + 0.25, 1e-6, 0);
  for (size_t j = 1; j < DIM; j++) assert_close(m->covariance[j * DIM + j], 0.25, 1e-5, 0);
  assert_close(m->covariance[1], 0, 1e-5, sqrt(1e6 * 0.25));
  /* |x - mean|^2 is 1e6 + 1 but for the quarter of the rows whose step is along the first axis,
   * where it is (1000 +- 1)^2. */
  double fourth = 0.75 * pow(1e6 + 1, 2) + 0.125 * (pow(1001, 4) + pow(999, 4));
  assert_close(m->fourth, fourth, 1e-5, 0);
  nk_moments_free(m);
  nk_free(x);
}

static void moments_of_listed_rows_are_those_of_a_copy(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[0];
  size_t rows[40];
  float *copy = nk_alloc(40 * c->dim, sizeof *copy);
  for (size_t i = 0; i < 40; i++) {
    rows[i] = (i * 37) % c->n;
    memcpy(copy + i * c->dim, c->x + rows[i] * c->dim, c->dim * sizeof *copy);
  }
  struct nk_moments *a = nk_moments_compute(c->x, rows, 40, c->dim);
  struct nk_moments *b = nk_moments_compute(copy, NULL, 40, c->dim);
  assert_memory_equal(a->mean, b->mean, c->dim * sizeof(double));
  assert_memory_equal(a->covariance, b->covariance, c->dim * c->dim * sizeof(double));
  double mean[12];
  assert_int_equal(nk_mean(c->x, rows, 40, c->dim, mean), 0);
  for (size_t j = 0; j < c->dim; j++) assert_close(mean[j], a->mean[j], 1e-6, 0.1);
  nk_moments_free(a);
  nk_moments_free(b);
  nk_free(copy);
}

/* Wider than one tile of products: x_ij = sign(i, j) over the rows of a Hadamard matrix, whose
 * columns are orthogonal, times j + 1. */
static void wide_covariances_are_made_of_several_tiles(void **state) {
  (void)state;
  enum { DIM = 2100, N = 4096 };
  float *x = nk_alloc((size_t)N * DIM, sizeof *x);
  for (size_t i = 0; i < N; i++)
    for (size_t j = 0; j < DIM; j++)
      x[i * DIM + j] = (__builtin_popcountll(i & (j + 1)) % 2 ? -1.0f : 1.0f) * (float)(j + 1);
  struct nk_moments *m = nk_moments_compute(x, NULL, N, DIM);
  assert_non_null(m);
  for (size_t a = 0; a < DIM; a += 7)
    for (size_t b = 0; b < DIM; b += 11) {
      double size = (double)(a + 1) * (double)(b + 1);
      assert_close(m->covariance[a * DIM + b], a == b ? size : 0, 1e-5, size);
    }
  nk_moments_free(m);
  nk_free(x);
}

static void bad_rows_are_named(void **state) {
  (void)state;
  float x[12] = {1, 2, 3, 4, 5, 6, 7, NAN, 9, 10, 11, 12};
  double mean[2];
  assert_null(nk_moments_compute(x, NULL, 6, 2));
  assert_string_equal(nk_error(), "row 3 holds a NaN or an infinity");
  assert_int_equal(nk_mean(x, NULL, 6, 2, mean), NK_EDATA);
  assert_string_equal(nk_error(), "row 3 holds a NaN or an infinity");
  x[7] = 1e30f;
  assert_null(nk_moments_compute(x, NULL, 0, 2));
  x[7] = 8;
  struct nk_gaussian *dist = nk_gaussian_new(nk_moments_compute(x, NULL, 6, 2), 0.1, true);
  float out[6];
  x[4] = INFINITY;
  assert_int_equal(nk_mahalanobis(dist, x, 6, out), NK_EDATA);
  assert_string_equal(nk_error(), "row 2 holds a NaN or an infinity");
  nk_gaussian_free(dist);
}

static void rows_that_do_not_differ_have_no_gaussian(void **state) {
  (void)state;
  float x[9] = {1, 2, 3, 1, 2, 3, 1, 2, 3};
  assert_null(nk_gaussian_new(nk_moments_compute(x, NULL, 3, 3), -1, true));
  assert_null(nk_gaussian_new(nk_moments_compute(x, NULL, 1, 3), -1, true));
}

static void count_warning(const char *message, void *user) {
  (void)message;
  ++*(int *)user;
}

/* Two rows: shrinkage is 0 and the covariance has rank 1; both lie one standard deviation from the
 * mean, and the warning says what was added. */
static void a_singular_covariance_is_warned_about(void **state) {
  (void)state;
  float x[6] = {1, 2, 3, 3, 2, 7}, out[2];
  int warnings = 0;
  nk_on_warning(count_warning, &warnings);
  struct nk_gaussian *dist = nk_gaussian_new(nk_moments_compute(x, NULL, 2, 3), -1, true);
  nk_on_warning(NULL, NULL);
  assert_non_null(dist);
  assert_int_equal(warnings, 1);
  assert_int_equal(nk_mahalanobis(dist, x, 2, out), 0);
  assert_close((double)out[0], 1, 1e-5, 0);
  assert_close((double)out[1], 1, 1e-5, 0);
  nk_gaussian_free(dist);
}

/* The same in 40 dimensions, where rounding makes eigenvalues more negative than the least addition
 * makes up for. */
static void two_rows_of_many_values_have_a_gaussian(void **state) {
  (void)state;
  enum { DIM = 40 };
  float x[2 * DIM], out[2];
  for (int i = 0; i < 2 * DIM; i++) x[i] = sinf((float)(i * i));
  struct nk_gaussian *dist = nk_gaussian_new(nk_moments_compute(x, NULL, 2, DIM), -1, true);
  assert_non_null(dist);
  assert_int_equal(nk_mahalanobis(dist, x, 2, out), 0);
  assert_close((double)out[0], 1, 1e-2, 0);
  assert_close((double)out[1], 1, 1e-2, 0);
  nk_gaussian_free(dist);
}

/* Two columns that differ by a thousandth of their spread, one of them times 1e6: float would not
 * do. The reference is the closed form for the 2 x 2 covariance, from the moments in double. */
static void nearly_dependent_columns_keep_their_digits(void **state) {
  (void)state;
  enum { N = 5000 };
  static float x[N * 2];
  struct nki_random random = nki_random_stream(1, NKI_RANDOM_TEST, 2);
  for (size_t i = 0; i < N; i++) {
    double a = nki_random_normal(&random), b = nki_random_normal(&random);
    x[2 * i] = (float)a;
    x[2 * i + 1] = (float)(1e6 * (a + 1e-3 * b));
  }
  struct nk_moments *m = nk_moments_compute(x, NULL, N, 2);
  double p = m->covariance[0], q = m->covariance[1], r = m->covariance[3];
  double mean[2] = {m->mean[0], m->mean[1]};
  struct nk_gaussian *dist = nk_gaussian_new(m, 0, true);
  float out[N];
  assert_int_equal(nk_mahalanobis(dist, x, N, out), 0);
  for (size_t i = 0; i < N; i++) {
    double u = (double)x[2 * i] - mean[0], v = (double)x[2 * i + 1] - mean[1];
    double want = sqrt((r * u * u - 2 * q * u * v + p * v * v) / (p * r - q * q));
    assert_close((double)out[i], want, 1e-5, 1e-3);
  }
  nk_gaussian_free(dist);
}

static void whitened_lengths_are_distances_and_colouring_undoes_whitening(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[0];
  struct nk_gaussian *dist = nk_gaussian_new(moments_of(c), -1, true);
  size_t size = c->n * c->dim;
  double *rows = nk_alloc(size, sizeof *rows), *white = nk_alloc(size, sizeof *white);
  for (size_t i = 0; i < size; i++) rows[i] = (double)c->x[i] - c->mean[i % c->dim];
  memcpy(white, rows, size * sizeof *rows);
  nki_gaussian_whiten(dist, white, c->n);
  for (size_t i = 0; i < c->n; i++) {
    double square = 0;
    for (size_t j = 0; j < c->dim; j++) square += pow(white[i * c->dim + j], 2);
    assert_close(sqrt(square), c->mahalanobis[i], 1e-5, 0.1);
  }
  nki_gaussian_colour(dist, white, c->n);
  for (size_t i = 0; i < size; i++) assert_close(white[i], rows[i], 1e-12, 1);
  nk_free(rows);
  nk_free(white);
  nk_gaussian_free(dist);
}

/* The covariance min(i, j) + 1 of a random walk has a factor of ones: a distance is the length of
 * the walk's steps. Wide enough for the factor to be made of several blocks. */
static void wide_covariances_are_factored_in_blocks(void **state) {
  (void)state;
  enum { DIM = 300 };
  double *packed = nk_alloc(DIM * (DIM + 1) / 2, sizeof *packed), mean[DIM] = {0}, steps = 0;
  float x[DIM], got;
  for (size_t i = 0, at = 0; i < DIM; i++)
    for (size_t j = 0; j <= i; j++) packed[at++] = (double)j + 1;
  for (int i = 0; i < DIM; i++) {
    x[i] = sinf((float)(i * i));
    double step = (double)x[i] - (i > 0 ? (double)x[i - 1] : 0);
    steps += step * step;
  }
  struct nk_gaussian *dist = nki_gaussian_of(mean, packed, DIM);
  assert_non_null(dist);
  assert_int_equal(nk_mahalanobis(dist, x, 1, &got), 0);
  assert_close((double)got, sqrt(steps), 1e-5, 0);
  nk_gaussian_free(dist);
  packed[DIM * (DIM + 1) / 2 - 1] = DIM - 2; /* the last diagonal: no longer positive definite */
  assert_null(nki_gaussian_of(mean, packed, DIM));
  nk_free(packed);
}

static void a_packed_covariance_makes_the_same_gaussian(void **state) {
  (void)state;
  const struct geometry_case *c = &geometry_cases[0];
  struct nk_gaussian *dist = nk_gaussian_new(moments_of(c), -1, true);
  double *packed = nk_alloc(c->dim * (c->dim + 1) / 2, sizeof *packed);
  nki_gaussian_packed(dist, packed);
  struct nk_gaussian *copy = nki_gaussian_of(nki_gaussian_mean(dist), packed, c->dim);
  float a[100], b[100];
  assert_int_equal(nk_mahalanobis(dist, c->x, c->n, a), 0);
  assert_int_equal(nk_mahalanobis(copy, c->x, c->n, b), 0);
  assert_memory_equal(a, b, c->n * sizeof *a);
  packed[0] = -1;
  assert_null(nki_gaussian_of(nki_gaussian_mean(dist), packed, c->dim));
  nk_free(packed);
  nk_gaussian_free(dist);
  nk_gaussian_free(copy);
}

static void distances_from_the_centre_have_their_closed_form(void **state) {
  (void)state;
  enum { DIM = 37 };
  static float x[3 * DIM];
  double centre[DIM], norm[3], l2[3], cosine[3];
  for (size_t j = 0; j < DIM; j++) {
    centre[j] = 2;
    x[j] = 2;
    x[DIM + j] = -2;
  }
  nk_row_distances(x, 3, DIM, centre, norm, l2, cosine);
  assert_close(norm[0], 2 * sqrt(DIM), 1e-12, 0);
  assert_close(l2[0], 0, 0, 0);
  assert_close(cosine[0], 0, 1e-12, 1);
  assert_close(l2[1], 4 * sqrt(DIM), 1e-12, 0);
  assert_close(cosine[1], 2, 1e-12, 0);
  assert_close(norm[2], 0, 0, 0);
  assert_close(l2[2], 2 * sqrt(DIM), 1e-12, 0);
  assert_true(isnan(cosine[2]));
}

/* numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.9, 1]) */
static void quantiles_are_numpys(void **state) {
  (void)state;
  double values[5] = {8, NAN, 2, 1, 4}, out[5];
  const double levels[5] = {0, 0.25, 0.5, 0.9, 1}, want[5] = {1, 1.75, 3, 6.8, 8};
  assert_int_equal(nk_quantiles(values, 5, levels, 5, out), 4);
  assert_true(isnan(values[4]));
  for (int i = 0; i < 5; i++) assert_close(out[i], want[i], 1e-15, 0);
  assert_int_equal(nk_quantiles(values + 4, 1, levels, 1, out), 0);
  assert_true(isnan(out[0]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(moments_equal_numpys),
      cmocka_unit_test(shrinkage_equals_scikit_learns),
      cmocka_unit_test(mahalanobis_equals_scikit_learns),
      cmocka_unit_test(massive_dimensions_keep_mahalanobis_distances_right),
      cmocka_unit_test(sorted_clumps_lose_no_digits),
      cmocka_unit_test(moments_of_listed_rows_are_those_of_a_copy),
      cmocka_unit_test(wide_covariances_are_made_of_several_tiles),
      cmocka_unit_test(bad_rows_are_named),
      cmocka_unit_test(rows_that_do_not_differ_have_no_gaussian),
      cmocka_unit_test(a_singular_covariance_is_warned_about),
      cmocka_unit_test(two_rows_of_many_values_have_a_gaussian),
      cmocka_unit_test(nearly_dependent_columns_keep_their_digits),
      cmocka_unit_test(whitened_lengths_are_distances_and_colouring_undoes_whitening),
      cmocka_unit_test(wide_covariances_are_factored_in_blocks),
      cmocka_unit_test(a_packed_covariance_makes_the_same_gaussian),
      cmocka_unit_test(distances_from_the_centre_have_their_closed_form),
      cmocka_unit_test(quantiles_are_numpys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
