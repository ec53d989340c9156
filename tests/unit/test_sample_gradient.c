/* Nokens along gradients of functions that have them in closed form, and along rows of a set. */
#include "nokens.h"

enum { ROWS = 4 };

static struct nk_vectors *make_set(void) {
  struct nk_vectors *set = nk_vectors_new(ROWS, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  for (size_t i = 0; i < ROWS; i++) {
    struct nki_random random = nki_random_stream(79, NKI_RANDOM_TEST, i);
    set->ids[i] = 40 + 3 * (int64_t)i;
    for (size_t j = 0; j < DIM; j++) x[i * DIM + j] = (float)nki_random_normal(&random);
  }
  return set;
}

/* Of a function whose gradient is (x_j - 0.1 j)^3; `user` counts its calls. */
static void slope_at(const float *x, double *out) {
  for (size_t j = 0; j < DIM; j++) out[j] = pow((double)x[j] - 0.1 * (double)j, 3);
}

static int gradient(void *user, const float *origins, size_t n, float *out) {
  double slope[DIM];
  ++*(size_t *)user;
  for (size_t i = 0; i < n; i++) {
    slope_at(origins + i * DIM, slope);
    for (size_t j = 0; j < DIM; j++) out[i * DIM + j] = (float)slope[j];
  }
  return NK_OK;
}

/* slope [DIM] times the covariance, element by element. */
static void times_covariance(const struct nk_region *region, double *slope) {
  double product[DIM] = {0};
  for (size_t i = 0; i < DIM; i++)
    for (size_t j = 0; j < DIM; j++)
      product[i] +=
          nki_gaussian_covariance(region->gaussian, i > j ? i : j, i > j ? j : i) * slope[j];
  memcpy(slope, product, sizeof product);
}

/* The noken lies at origin + r u, u the unit vector of the slope there. */
static void check_noken(const struct nk_region *region, const float *origin, const float *x,
                        bool natural, double radius) {
  double slope[DIM], square = 0;
  slope_at(origin, slope);
  if (natural) times_covariance(region, slope);
  for (size_t j = 0; j < DIM; j++) square += slope[j] * slope[j];
  for (size_t j = 0; j < DIM; j++) {
    double expected = (double)origin[j] + radius * slope[j] / sqrt(square);
    if (!(fabs((double)x[j] - expected) < 2e-6))
      fail_msg("%zu: %g, not %g", j, (double)x[j], expected);
  }
}

static const struct nk_direction both[] = {{.kind = NK_DIRECTION_GRADIENT},
                                           {.kind = NK_DIRECTION_NATURAL}};

static void nokens_lie_on_the_gradient_at_each_row(void **state) {
  (void)state;
  static const double radii[] = {0.3, 2};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  size_t calls = 0;
  const struct nk_sample_options options = {.directions = both,
                                            .n_directions = 2,
                                            .origin = NK_ORIGIN_SET,
                                            .set = set,
                                            .measure = NK_MEASURE_RADIUS,
                                            .distances = radii,
                                            .n_distances = 2,
                                            .gradient = gradient,
                                            .user = &calls};
  struct nk_vectors *made = nk_sample(region, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  assert_int_equal(calls, 1);
  assert_int_equal(made->n, ROWS * 2 * 2);
  for (size_t row = 0; row < made->n; row++)
    check_noken(region, set->values + row / 4 * DIM, made->values + row * DIM, row / 2 % 2 == 1,
                radii[row % 2]);
  assert_string_equal(nk_vectors_metadata(made, "noken.codes.direction"), "gradient natural");
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* From the centroid and from a token, at a distance by each metric. */
static void one_origin_has_one_ray(void **state) {
  (void)state;
  static const double four = 4;
  struct nk_region *region = make_region();
  size_t calls = 0;
  float centroid[DIM];
  for (size_t j = 0; j < DIM; j++) centroid[j] = (float)nki_gaussian_mean(region->gaussian)[j];
  for (int token = 0; token < 2; token++)
    for (int metric = NK_METRIC_L2; metric <= NK_METRIC_MAHALANOBIS; metric += 2) {
      const struct nk_sample_options options = {
          .n = 2,
          .directions = both,
          .n_directions = 2,
          .metric = (enum nk_metric)metric,
          .origin = token ? NK_ORIGIN_TOKEN : NK_ORIGIN_CENTROID,
          .origin_id = region->tokens->ids[5],
          .distances = &four,
          .n_distances = 1,
          .gradient = gradient,
          .user = &calls};
      struct nk_vectors *made = nk_sample(region, &options);
      const float *origin = token ? region->tokens->values + 5 * DIM : centroid;
      if (made == NULL) fail_msg("%s", nk_error());
      assert_int_equal(made->n, 4);
      for (size_t row = 0; row < 4; row++) {
        const float *x = made->values + row * DIM;
        double square = 0;
        for (size_t j = 0; j < DIM; j++) square += pow((double)x[j] - (double)origin[j], 2);
        check_noken(region, origin, x, row >= 2, sqrt(square));
        assert_near(measure(region, (enum nk_metric)metric, x), 4, 1e-5);
      }
      assert_memory_equal(made->values, made->values + DIM, DIM * sizeof(float));
      nk_vectors_free(made);
    }
  assert_int_equal(calls, 4);
  nk_region_free(region);
}

/* Of all directions at a small Mahalanobis distance, a linear function grows most along the natural
 * one, by sqrt(g' C g) times the distance. */
static int linear(void *user, const float *origins, size_t n, float *out) {
  (void)user;
  (void)origins;
  for (size_t j = 0; j < n * DIM; j++) out[j] = sinf((float)(j % DIM));
  return NK_OK;
}

static void the_natural_gradient_is_steepest_by_mahalanobis_distance(void **state) {
  (void)state;
  static const struct nk_direction directions[] = {{.kind = NK_DIRECTION_NATURAL},
                                                   {.kind = NK_DIRECTION_GRADIENT},
                                                   {.kind = NK_DIRECTION_ISOTROPIC},
                                                   {.kind = NK_DIRECTION_COVARIANCE}};
  static const double one = 1;
  struct nk_region *region = make_region();
  const double *mean = nki_gaussian_mean(region->gaussian);
  const struct nk_sample_options options = {.n = 500,
                                            .directions = directions,
                                            .n_directions = 4,
                                            .distances = &one,
                                            .n_distances = 1,
                                            .gradient = linear};
  struct nk_vectors *made = nk_sample(region, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  double slope[DIM], product[DIM], best = 0;
  for (size_t j = 0; j < DIM; j++) product[j] = slope[j] = (double)sinf((float)j);
  times_covariance(region, product);
  for (size_t j = 0; j < DIM; j++) best += slope[j] * product[j];
  for (size_t row = 0; row < made->n; row++) {
    double gain = 0;
    for (size_t j = 0; j < DIM; j++)
      gain += slope[j] * ((double)made->values[row * DIM + j] - mean[j]);
    if (row < 500)
      assert_near(gain, sqrt(best), 1e-5);
    else
      assert_true(gain < 0.999 * sqrt(best));
  }
  nk_vectors_free(made);
  nk_region_free(region);
}

/* ---- Along rows ---- */

static const struct nk_direction along = {.kind = NK_DIRECTION_ALONG};

/* A row for each ray of an origin, then one for each ray of all. */
static void rays_run_along_the_rows_of_their_numbers(void **state) {
  (void)state;
  enum { RAYS = 3 };
  static const double two = 2;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set(), *rows = nk_vectors_new(ROWS * RAYS, DIM, NULL, false);
  float *u = nk_vectors_writable(rows);
  for (size_t i = 0; i < ROWS * RAYS; i++) {
    rows->ids[i] = 500 + 2 * (int64_t)i;
    for (size_t j = 0; j < DIM; j++) u[i * DIM + j] = cosf((float)(i * DIM + j));
  }
  for (int all = 0; all < 2; all++) {
    rows->n = all ? ROWS * RAYS : RAYS;
    const struct nk_sample_options options = {.n = RAYS,
                                              .directions = &along,
                                              .n_directions = 1,
                                              .origin = NK_ORIGIN_SET,
                                              .set = set,
                                              .measure = NK_MEASURE_RADIUS,
                                              .distances = &two,
                                              .n_distances = 1,
                                              .along = rows};
    struct nk_vectors *made = nk_sample(region, &options);
    if (made == NULL) fail_msg("%s", nk_error());
    assert_int_equal(made->n, ROWS * RAYS);
    for (size_t i = 0; i < made->n; i++) {
      size_t row = all ? i : i % RAYS;
      double square = 0;
      for (size_t j = 0; j < DIM; j++) square += pow((double)u[row * DIM + j], 2);
      for (size_t j = 0; j < DIM; j++) {
        double expected =
            (double)set->values[i / RAYS * DIM + j] + 2 * (double)u[row * DIM + j] / sqrt(square);
        assert_true(fabs((double)made->values[i * DIM + j] - expected) < 2e-6);
      }
      assert_int_equal(nk_vectors_column(made, "toward")->data.integer[i], rows->ids[row]);
    }
    nk_vectors_free(made);
  }
  nk_vectors_free(rows);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- Refusals ---- */

static int zero_at_third(void *user, const float *origins, size_t n, float *out) {
  (void)origins;
  for (size_t j = 0; j < n * DIM; j++) out[j] = j / DIM == *(size_t *)user ? 0 : 1;
  return NK_OK;
}

static int fails(void *user, const float *origins, size_t n, float *out) {
  (void)user;
  (void)origins;
  (void)n;
  (void)out;
  return nk_fail(NK_EINTERRUPTED, "stopped");
}

static int overflows(void *user, const float *origins, size_t n, float *out) {
  (void)user;
  (void)origins;
  for (size_t j = 0; j < n * DIM; j++) out[j] = INFINITY;
  return NK_OK;
}

static void expect_failure(struct nk_region *region, const struct nk_sample_options *options,
                           int code, const char *message) {
  assert_null(nk_sample(region, options));
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' for '%s'", nk_error(), message);
  assert_int_equal(nk_error_code(), code);
}

static void origins_without_a_gradient_are_named(void **state) {
  (void)state;
  static const struct nk_direction pair = {
      .kind = NK_DIRECTION_MIXTURE,
      .parts = {{.kind = NK_DIRECTION_GRADIENT}, {.kind = NK_DIRECTION_PAIR}}};
  struct nk_region *region = make_region();
  static const double one = 1;
  struct nk_vectors *set = make_set();
  size_t which = 2;
  struct nk_sample_options o = {.directions = both,
                                .n_directions = 2,
                                .origin = NK_ORIGIN_SET,
                                .set = set,
                                .measure = NK_MEASURE_RADIUS,
                                .distances = &one,
                                .n_distances = 1,
                                .gradient = zero_at_third,
                                .user = &which};
  expect_failure(region, &o, NK_EDATA,
                 "the gradient at row 2 of the set, id 46 is 0: it has no direction");
  o.unreached = NK_UNREACHED_SKIP;
  struct nk_vectors *made = nk_sample(region, &o);
  if (made == NULL) fail_msg("%s", nk_error());
  assert_int_equal(made->n, (ROWS - 1) * 2);
  nk_vectors_free(made);
  o.unreached = NK_UNREACHED_REDRAW;
  expect_failure(region, &o, NK_EUSAGE, "an origin has one gradient");
  which = 0;
  o = (struct nk_sample_options){
      .directions = both, .n_directions = 1, .gradient = zero_at_third, .user = &which};
  expect_failure(region, &o, NK_EDATA, "the gradient at the centroid is 0");
  o.origin = NK_ORIGIN_TOKEN;
  o.origin_id = region->tokens->ids[3];
  char message[64];
  snprintf(message, sizeof message, "the gradient at token %lld is 0", (long long)o.origin_id);
  expect_failure(region, &o, NK_EDATA, message);
  o.origin = NK_ORIGIN_TOKENS;
  expect_failure(region, &o, NK_EUSAGE, "the origin is a random token");
  o.origin = NK_ORIGIN_CENTROID;
  o.directions = &pair;
  expect_failure(region, &o, NK_EUSAGE, "the origin is a random token");
  o.directions = both;
  o.gradient = fails;
  expect_failure(region, &o, NK_EINTERRUPTED, "stopped");
  o.gradient = overflows;
  expect_failure(region, &o, NK_EDATA, "the gradient at the centroid is not finite");
  o.gradient = NULL;
  expect_failure(region, &o, NK_EUSAGE, "there is nothing to differentiate");
  nk_vectors_free(set);
  nk_region_free(region);
}

static void rows_that_rays_cannot_run_along_are_refused(void **state) {
  (void)state;
  static const double one = 1;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set(), *rows = nk_vectors_new(6, DIM, NULL, false);
  float *u = nk_vectors_writable(rows);
  memset(u, 0, 6 * DIM * sizeof *u);
  struct nk_sample_options o = {.n = 6,
                                .directions = &along,
                                .n_directions = 1,
                                .origin = NK_ORIGIN_SET,
                                .set = set,
                                .measure = NK_MEASURE_RADIUS,
                                .distances = &one,
                                .n_distances = 1};
  expect_failure(region, &o, NK_EUSAGE, "directions along rows: no set is given");
  o.along = rows;
  expect_failure(region, &o, NK_EDATA, "it has no direction");
  o.n = 2;
  expect_failure(region, &o, NK_EUSAGE,
                 "directions along 6 rows: expected 2, one for each ray of an origin, or one for "
                 "each ray");
  o.n = 6;
  o.unreached = NK_UNREACHED_REDRAW;
  expect_failure(region, &o, NK_EUSAGE, "no other can be drawn in its place");
  o.unreached = NK_UNREACHED_ERROR;
  u[DIM + 2] = NAN;
  expect_failure(region, &o, NK_EDATA, "row 1 holds a NaN");
  nk_vectors_free(rows);
  nk_vectors_free(set);
  nk_region_free(region);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nokens_lie_on_the_gradient_at_each_row),
      cmocka_unit_test(one_origin_has_one_ray),
      cmocka_unit_test(the_natural_gradient_is_steepest_by_mahalanobis_distance),
      cmocka_unit_test(rays_run_along_the_rows_of_their_numbers),
      cmocka_unit_test(origins_without_a_gradient_are_named),
      cmocka_unit_test(rows_that_rays_cannot_run_along_are_refused),
  };
  return cmocka_run_group_tests_name("sample_gradient", tests, NULL, NULL);
}
