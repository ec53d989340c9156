/* Nokens about the rows of a set, at a radius, an angle or a kept length: every number is computed
 * again here from the values that are stored. */
#include "nokens.h"

enum { ROWS = 7, RAYS = 4 };

static const double DEGREES = 180 / 3.14159265358979323846;

/* ROWS vectors apart from the tokens, with ids 40, 43, ..., texts, and columns. */
static struct nk_vectors *make_set(void) {
  static const int64_t offsets[ROWS + 1] = {0, 1, 3, 3, 6, 7, 8, 10};
  struct nk_vectors *set = nk_vectors_new(ROWS, DIM, NULL, false);
  float *x = nk_vectors_writable(set);
  double third[ROWS];
  int64_t context[ROWS], distance[ROWS];
  for (size_t i = 0; i < ROWS; i++) {
    struct nki_random random = nki_random_stream(78, NKI_RANDOM_TEST, i);
    set->ids[i] = 40 + 3 * (int64_t)i;
    third[i] = (double)i / 3;
    context[i] = 5 - (int64_t)i;
    distance[i] = (int64_t)i % 2;
    for (size_t j = 0; j < DIM; j++) x[i * DIM + j] = (float)(1.5 * nki_random_normal(&random));
  }
  assert_int_equal(nk_vectors_set_text(set, "abbcccdeff", offsets), NK_OK);
  assert_int_equal(nk_vectors_set_integers(set, "context", context), NK_OK);
  assert_int_equal(nk_vectors_set_integers(set, "distance", distance), NK_OK);
  assert_int_equal(nk_vectors_set_numbers(set, "third", third), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.codes.distance", "near far"), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.contexts", "[[1,2]]"), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.space", "residual:3"), NK_OK);
  return set;
}

static double length_of(const float *x) {
  double square = 0;
  for (size_t j = 0; j < DIM; j++) square += (double)x[j] * (double)x[j];
  return sqrt(square);
}

static double radius_from(const float *x, const float *origin) {
  double square = 0;
  for (size_t j = 0; j < DIM; j++) square += pow((double)x[j] - (double)origin[j], 2);
  return sqrt(square);
}

/* In degrees, by the definition. */
static double angle_from(const float *x, const float *origin, const double *c) {
  double xx = 0, oo = 0, xo = 0;
  for (size_t j = 0; j < DIM; j++) {
    double a = (double)x[j] - (c != NULL ? c[j] : 0),
           b = (double)origin[j] - (c != NULL ? c[j] : 0);
    xx += a * a;
    oo += b * b;
    xo += a * b;
  }
  return acos(xo / sqrt(xx * oo)) * DEGREES;
}

/* ---- Every measure, direction and origin ---- */

static const struct nk_direction directions[] = {
    {.kind = NK_DIRECTION_ISOTROPIC},
    {.kind = NK_DIRECTION_COVARIANCE},
    {.kind = NK_DIRECTION_COMPONENTS, .first = 2, .last = 5},
    {.kind = NK_DIRECTION_TOKEN},
    {.kind = NK_DIRECTION_PAIR},
    {.kind = NK_DIRECTION_DIFFERENCE},
    {.kind = NK_DIRECTION_TOWARDS},
    {.kind = NK_DIRECTION_ROW, .first = 6},
    {.kind = NK_DIRECTION_MIXTURE,
     .parts = {{NK_DIRECTION_COVARIANCE, 0, 0}, {NK_DIRECTION_TOKEN, 0, 0}}},
    {.kind = NK_DIRECTION_MIXTURE,
     .parts = {{NK_DIRECTION_ROW, 6, 0}, {NK_DIRECTION_COMPONENTS, 1, 3}}},
};
enum { N_DIRECTIONS = sizeof directions / sizeof *directions };

struct way {
  enum nk_measure measure;
  enum nk_metric metric;
  bool about_zero, keep_norm;
  double distances[2];
};

static const struct way ways[] = {
    {NK_MEASURE_METRIC, NK_METRIC_L2, false, false, {9, 30}},
    {NK_MEASURE_METRIC, NK_METRIC_COSINE, false, false, {0.7, 1.1}},
    {NK_MEASURE_METRIC, NK_METRIC_MAHALANOBIS, false, false, {7.5, 25}},
    {NK_MEASURE_METRIC, NK_METRIC_KNN, false, false, {8, 40}},
    {NK_MEASURE_METRIC, NK_METRIC_L2, false, true, {4, 5}},
    {NK_MEASURE_METRIC, NK_METRIC_COSINE, false, true, {0.7, 1.1}},
    {NK_MEASURE_RADIUS, NK_METRIC_DEFAULT, false, false, {0.05, 6}},
    {NK_MEASURE_RADIUS, NK_METRIC_DEFAULT, false, true, {0.05, 3}},
    {NK_MEASURE_ANGLE, NK_METRIC_DEFAULT, false, false, {2, 50}},
    {NK_MEASURE_ANGLE, NK_METRIC_DEFAULT, true, false, {2, 50}},
    {NK_MEASURE_ANGLE, NK_METRIC_DEFAULT, true, true, {2, 50}},
};

/* The vector where a ray begins, in out [DIM]: a row of the set, a token, or the centroid. */
static void find_origin(const struct nk_region *region, const struct nk_vectors *set,
                        const struct nk_vectors *made, size_t row, float *out) {
  int64_t id = integers(made, "origin")[row];
  const double *mean = nki_gaussian_mean(region->gaussian);
  const struct nk_column *origin_row = nk_vectors_column(made, "origin_row");
  if (origin_row != NULL) {
    size_t from = (size_t)origin_row->data.integer[row];
    assert_int_equal(set->ids[from], id);
    memcpy(out, set->values + from * DIM, DIM * sizeof *out);
    return;
  }
  for (size_t j = 0; j < DIM; j++) out[j] = (float)mean[j];
  for (size_t i = 0; i < N; i++)
    if (region->tokens->ids[i] == id)
      memcpy(out, region->tokens->values + i * DIM, DIM * sizeof *out);
}

static void check_row(const struct nk_region *region, const struct way *way,
                      const struct nk_vectors *set, const struct nk_vectors *made, size_t row) {
  const float *x = made->values + row * DIM;
  const double *mean = nki_gaussian_mean(region->gaussian);
  float origin[DIM];
  double asked = numbers(made, "distance")[row], achieved = numbers(made, "achieved")[row];
  find_origin(region, set, made, row, origin);
  double radius = radius_from(x, origin), value = radius;
  assert_near(numbers(made, "radius")[row], radius, 1e-12);
  if (way->measure == NK_MEASURE_METRIC)
    value = measure(region, way->metric, x);
  else if (way->measure == NK_MEASURE_ANGLE)
    value = radius > 0 ? angle_from(x, origin, way->about_zero ? NULL : mean) : 0;
  assert_near(achieved, value, 2e-6);
  if (way->keep_norm) assert_near(length_of(x), length_of(origin), 1e-6);
  for (int other = NK_METRIC_L2; other < NK_N_METRICS; other++)
    assert_near(numbers(made, nk_metric_names[other])[row],
                measure(region, (enum nk_metric)other, x), 2e-6);
  if (radius > 0) {
    assert_near(value, asked, 1e-5);
    assert_true(asked == way->distances[0] || asked == way->distances[1]);
    return;
  }
  assert_memory_equal(x, origin, sizeof origin);
  assert_true(way->measure == NK_MEASURE_METRIC ? isnan(asked) : asked == 0);
}

static void every_measure_direction_and_origin_has_what_was_asked(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
    for (int origin = NK_ORIGIN_CENTROID; origin <= NK_ORIGIN_SET; origin++) {
      const struct way *way = &ways[w];
      size_t n_rays = origin == NK_ORIGIN_SET ? (size_t)RAYS * ROWS : RAYS, n_far = 0;
      struct nk_sample_options options = {.directions = directions,
                                          .n_directions = N_DIRECTIONS,
                                          .measure = way->measure,
                                          .metric = way->metric,
                                          .about_zero = way->about_zero,
                                          .keep_norm = way->keep_norm,
                                          .distances = way->distances,
                                          .n_distances = 2,
                                          .n = RAYS,
                                          .origin = (enum nk_origin)origin,
                                          .origin_id = 1017,
                                          .with_origin = true,
                                          .set = set,
                                          .unreached = NK_UNREACHED_SKIP,
                                          .seed = 5};
      bool vertex =
          origin == NK_ORIGIN_CENTROID && way->measure == NK_MEASURE_ANGLE && !way->about_zero;
      struct nk_vectors *made = nk_sample(region, &options);
      if (vertex) {
        assert_null(made);
        assert_string_equal(nk_error(),
                            "the centroid lies at the vertex of the angles: there is "
                            "none from it");
        continue;
      }
      if (made == NULL) fail_msg("way %zu, origin %d: %s", w, origin, nk_error());
      for (size_t row = 0; row < made->n; row++) {
        check_row(region, way, set, made, row);
        n_far += numbers(made, "radius")[row] > 0;
      }
      /* but for the direction from row 6 to itself, rays without a kept length go everywhere */
      size_t all = 2 * (n_rays * N_DIRECTIONS), none = origin == NK_ORIGIN_SET ? 4 * RAYS : 0;
      if (way->measure == NK_MEASURE_RADIUS && !way->keep_norm)
        assert_int_equal(n_far, all - none);
      else
        assert_true(n_far > all / 10);
      nk_vectors_free(made);
    }
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- Directions ---- */

static struct nk_vectors *sample_from_set(struct nk_region *region, const struct nk_vectors *set,
                                          const struct nk_direction *direction, size_t n) {
  static const double radii[] = {0.5, 2};
  const struct nk_sample_options options = {.directions = direction,
                                            .n_directions = 1,
                                            .measure = NK_MEASURE_RADIUS,
                                            .distances = radii,
                                            .n_distances = 2,
                                            .n = n,
                                            .origin = NK_ORIGIN_SET,
                                            .set = set,
                                            .unreached = NK_UNREACHED_SKIP,
                                            .seed = 5};
  struct nk_vectors *made = nk_sample(region, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  return made;
}

/* u [DIM] of a row, from the values stored. */
static void direction_of(const struct nk_vectors *set, const struct nk_vectors *made, size_t row,
                         double *u) {
  const float *x = made->values + row * DIM;
  const float *origin = set->values + (size_t)integers(made, "origin_row")[row] * DIM;
  double radius = radius_from(x, origin);
  for (size_t j = 0; j < DIM; j++) u[j] = ((double)x[j] - (double)origin[j]) / radius;
}

/* The unit vector from one row of the set to another. */
static void between(const struct nk_vectors *set, size_t from, size_t to, double *u) {
  double length = radius_from(set->values + to * DIM, set->values + from * DIM);
  for (size_t j = 0; j < DIM; j++)
    u[j] = ((double)set->values[to * DIM + j] - (double)set->values[from * DIM + j]) / length;
}

static void assert_direction(const double *u, const double *expected) {
  for (size_t j = 0; j < DIM; j++) assert_true(fabs(u[j] - expected[j]) < 1e-6);
}

static void rays_towards_rows_meet_them(void **state) {
  (void)state;
  static const struct nk_direction towards = {.kind = NK_DIRECTION_TOWARDS},
                                   fourth = {.kind = NK_DIRECTION_ROW, .first = 4};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  struct nk_vectors *made = sample_from_set(region, set, &towards, 40);
  size_t met[ROWS] = {0};
  assert_int_equal(made->n, ROWS * 40 * 2);
  for (size_t row = 0; row < made->n; row++) {
    double u[DIM], expected[DIM];
    size_t from = (size_t)integers(made, "origin_row")[row];
    size_t to = (size_t)(integers(made, "toward")[row] - 40) / 3;
    assert_true(to < ROWS && to != from);
    direction_of(set, made, row, u);
    between(set, from, to, expected);
    assert_direction(u, expected);
    met[to]++;
  }
  for (size_t i = 0; i < ROWS; i++) assert_true(met[i] > 40 && met[i] < 120); /* 80 expected */
  nk_vectors_free(made);
  made = sample_from_set(region, set, &fourth, 2);
  assert_int_equal(made->n, (ROWS - 1) * 2 * 2); /* none from row 4 to itself */
  for (size_t row = 0; row < made->n; row++) {
    double u[DIM], expected[DIM];
    assert_int_equal(integers(made, "toward")[row], 40 + 3 * 4);
    direction_of(set, made, row, u);
    between(set, (size_t)integers(made, "origin_row")[row], 4, expected);
    assert_direction(u, expected);
  }
  assert_string_equal(nk_vectors_metadata(made, "noken.codes.direction"), "towards:4");
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

static void a_mixture_is_the_sum_of_two_unit_vectors(void **state) {
  (void)state;
  static const struct nk_direction rows = {
      .kind = NK_DIRECTION_MIXTURE, .parts = {{NK_DIRECTION_ROW, 1, 0}, {NK_DIRECTION_ROW, 3, 0}}};
  static const struct nk_direction components = {
      .kind = NK_DIRECTION_MIXTURE,
      .parts = {{NK_DIRECTION_COMPONENTS, 2, 2}, {NK_DIRECTION_COMPONENTS, 5, 5}}};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  struct nk_vectors *made = sample_from_set(region, set, &rows, 1);
  assert_int_equal(made->n, (ROWS - 2) * 2);
  for (size_t row = 0; row < made->n; row++) {
    double u[DIM], a[DIM], b[DIM], square = 0;
    size_t from = (size_t)integers(made, "origin_row")[row];
    between(set, from, 1, a);
    between(set, from, 3, b);
    for (size_t j = 0; j < DIM; j++) square += (a[j] + b[j]) * (a[j] + b[j]);
    for (size_t j = 0; j < DIM; j++) a[j] = (a[j] + b[j]) / sqrt(square);
    direction_of(set, made, row, u);
    assert_direction(u, a);
    assert_int_equal(integers(made, "toward")[row], -1);
  }
  nk_vectors_free(made);
  /* Two orthogonal components: half of the square in each, and the four pairs of signs. */
  made = sample_from_set(region, set, &components, 20);
  const float *basis = nk_region_basis(region)->components;
  size_t signs[2][2] = {{0}};
  for (size_t row = 0; row < made->n; row++) {
    double u[DIM], second = 0, fifth = 0;
    direction_of(set, made, row, u);
    for (size_t j = 0; j < DIM; j++) {
      second += u[j] * (double)basis[1 * DIM + j];
      fifth += u[j] * (double)basis[4 * DIM + j];
    }
    assert_true(fabs(fabs(second) - sqrt(0.5)) < 1e-6 && fabs(fabs(fifth) - sqrt(0.5)) < 1e-6);
    signs[second > 0][fifth > 0]++;
  }
  for (int i = 0; i < 4; i++) assert_true(signs[i / 2][i % 2] > 30); /* 70 expected */
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* Of three rows there is one mixture from each: of the other two. */
static void a_mixture_of_rows_has_two_different_ones(void **state) {
  (void)state;
  static const struct nk_direction mixtures[] = {
      {.kind = NK_DIRECTION_MIXTURE,
       .parts = {{NK_DIRECTION_TOWARDS, 0, 0}, {NK_DIRECTION_TOWARDS, 0, 0}}},
      {.kind = NK_DIRECTION_MIXTURE,
       .parts = {{NK_DIRECTION_TOWARDS, 0, 0}, {NK_DIRECTION_ROW, 1, 0}}},
      {.kind = NK_DIRECTION_MIXTURE,
       .parts = {{NK_DIRECTION_ROW, 1, 0}, {NK_DIRECTION_TOWARDS, 0, 0}}}};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  set->n = 3;
  for (size_t m = 0; m < 3; m++) {
    struct nk_vectors *made = sample_from_set(region, set, &mixtures[m], 20);
    assert_int_equal(made->n, (m == 0 ? 3 : 2) * 20 * 2); /* none from row 1 towards itself */
    for (size_t row = 0; row < made->n; row++) {
      double u[DIM], a[DIM], b[DIM], square = 0;
      size_t from = (size_t)integers(made, "origin_row")[row];
      between(set, from, (from + 1) % 3, a);
      between(set, from, (from + 2) % 3, b);
      for (size_t j = 0; j < DIM; j++) square += (a[j] + b[j]) * (a[j] + b[j]);
      for (size_t j = 0; j < DIM; j++) a[j] = (a[j] + b[j]) / sqrt(square);
      direction_of(set, made, row, u);
      assert_direction(u, a);
    }
    nk_vectors_free(made);
  }
  const double one = 1;
  struct nk_sample_options options = {.directions = mixtures,
                                      .n_directions = 1,
                                      .origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &one,
                                      .n_distances = 1};
  set->n = 2;
  assert_null(nk_sample(region, &options));
  assert_non_null(strstr(nk_error(), "all rows are the origin's vector or the one that"));
  nk_vectors_free(set);
  nk_region_free(region);
}

/* 199 equal rows and one other: it is what each of them leads to, however rarely it is drawn. */
static void the_only_other_row_is_found(void **state) {
  (void)state;
  enum { EQUAL = 199 };
  static const struct nk_direction towards = {.kind = NK_DIRECTION_TOWARDS};
  struct nk_region *region = make_region();
  struct nk_vectors *set = nk_vectors_new(EQUAL + 1, DIM, NULL, false);
  for (size_t i = 0; i < (EQUAL + 1) * DIM; i++)
    nk_vectors_writable(set)[i] = i < EQUAL * DIM ? 1 : 2;
  struct nk_vectors *made = sample_from_set(region, set, &towards, 2);
  assert_int_equal(made->n, (EQUAL + 1) * 2 * 2);
  for (size_t row = 0; row < EQUAL * 4; row++)
    assert_int_equal(integers(made, "toward")[row], EQUAL);
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- Rays ---- */

/* A coordinate of a uniform unit vector has variance 1 / d; so has the product of two of them that
 * are independent, as rays of different origins and numbers are. */
static void rays_of_every_origin_are_uniform_and_independent(void **state) {
  (void)state;
  enum { MANY = 3000 };
  static const struct nk_direction isotropic = {.kind = NK_DIRECTION_ISOTROPIC};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set(), *made = sample_from_set(region, set, &isotropic, MANY);
  double variance = 1.0 / DIM;
  double error = sqrt((3.0 / (DIM * (DIM + 2)) - variance * variance) / (ROWS * MANY));
  double square[DIM] = {0}, across = 0;
  for (size_t row = 0; row < made->n; row += 2) {
    double u[DIM], v[DIM], product = 0;
    direction_of(set, made, row, u);
    direction_of(set, made, (row + 2 * MANY) % made->n, v); /* of the next origin */
    for (size_t j = 0; j < DIM; j++) {
      square[j] += u[j] * u[j] / (ROWS * MANY);
      product += u[j] * v[j];
    }
    across += product * product / (ROWS * MANY);
  }
  for (size_t j = 0; j < DIM; j++) assert_true(fabs(square[j] - variance) < 5 * error);
  assert_true(fabs(across - variance) < 5 * error);
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* Rows of a ray follow one another, on one line; the ray is that of fewer rays and fewer origins.
 */
static void a_ray_depends_on_its_origin_and_number_alone(void **state) {
  (void)state;
  static const struct nk_direction covariance = {.kind = NK_DIRECTION_COVARIANCE};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set(), *few = make_set();
  few->n = 3;
  struct nk_vectors *many = sample_from_set(region, set, &covariance, 90);
  struct nk_vectors *some = sample_from_set(region, few, &covariance, 20);
  few->n = ROWS;
  nk_set_threads(1);
  struct nk_vectors *again = sample_from_set(region, set, &covariance, 90);
  nk_set_threads(0);
  assert_int_equal(some->n, 3 * 20 * 2);
  assert_memory_equal(many->values, again->values, many->n * DIM * sizeof(float));
  for (size_t origin = 0; origin < 3; origin++)
    for (size_t i = 0; i < 40 * DIM; i++) /* by BLAS, on other places of a block */
      assert_true(fabs((double)some->values[origin * 40 * DIM + i] -
                       (double)many->values[origin * 180 * DIM + i]) < 1e-6);
  for (size_t row = 0; row < many->n; row += 2) {
    double near[DIM], far[DIM];
    assert_int_equal(integers(many, "ray")[row], row / 2);
    assert_int_equal(integers(many, "ray")[row + 1], row / 2);
    assert_int_equal(integers(many, "origin_row")[row], row / 180);
    direction_of(set, many, row, near);
    direction_of(set, many, row + 1, far);
    assert_direction(near, far);
  }
  nk_vectors_free(many);
  nk_vectors_free(some);
  nk_vectors_free(again);
  nk_vectors_free(set);
  nk_vectors_free(few);
  nk_region_free(region);
}

/* Each ray has a number of its own, and begins with its origin. */
static void rays_have_numbers_and_begin_with_their_origins(void **state) {
  (void)state;
  static const double times[] = {4, 8};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  for (int origin = NK_ORIGIN_CENTROID; origin <= NK_ORIGIN_SET; origin++) {
    struct nk_sample_options options = {.directions = directions,
                                        .n_directions = 4,
                                        .times = times,
                                        .n_times = 2,
                                        .n = RAYS,
                                        .origin = (enum nk_origin)origin,
                                        .origin_id = 1017,
                                        .set = set,
                                        .with_origin = true};
    size_t n_rays = 4 * (origin == NK_ORIGIN_SET ? (size_t)RAYS * ROWS : RAYS), count[200] = {0};
    double first[200], last[200] = {0};
    struct nk_vectors *made = nk_sample(region, &options);
    if (made == NULL) fail_msg("%s", nk_error());
    assert_int_equal(made->n, 3 * n_rays);
    for (size_t row = 0; row < made->n; row++) {
      size_t ray = (size_t)integers(made, "ray")[row];
      double radius = numbers(made, "radius")[row];
      assert_true(ray < n_rays);
      if (count[ray]++ == 0) first[ray] = radius;
      assert_true(count[ray] == 1 || radius > last[ray]);
      last[ray] = radius;
      assert_true(isnan(numbers(made, "times")[row]) == (count[ray] == 1));
      assert_true(isnan(numbers(made, "quantile")[row]) == (count[ray] == 1));
    }
    for (size_t ray = 0; ray < n_rays; ray++) assert_true(count[ray] == 3 && first[ray] == 0);
    nk_vectors_free(made);
  }
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- What is carried ---- */

static void nokens_have_the_texts_columns_and_metadata_of_their_rows(void **state) {
  (void)state;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  nk_vectors_set_metadata(set, "noken.history", "[\"a\",\"c\"]");
  nk_vectors_set_metadata(region->tokens, "noken.history", "[\"a\",\"b\"]");
  nk_vectors_set_metadata(region->tokens, "noken.model", "m");
  nk_vectors_set_metadata(region->tokens, "noken.space", "input");
  /* of a radius there is no quantile: the row's own is not the noken's */
  nk_vectors_set_numbers(set, "quantile", numbers(set, "third"));
  struct nk_vectors *made = sample_from_set(region, set, directions, 2);
  assert_null(nk_vectors_column(made, "quantile"));
  for (size_t row = 0; row < made->n; row++) {
    size_t from = (size_t)integers(made, "origin_row")[row], n, expected;
    const char *text = nk_vectors_text(made, row, &n);
    const char *want = nk_vectors_text(set, from, &expected);
    assert_int_equal(from, row / 4);
    assert_int_equal(made->ids[row], row);
    assert_int_equal(n, expected);
    assert_memory_equal(text, want, n);
    assert_int_equal(integers(made, "context")[row], 5 - (int64_t)from);
    assert_int_equal(integers(made, "set_distance")[row], (int64_t)from % 2);
    assert_true(numbers(made, "third")[row] == (double)from / 3);
    assert_true(numbers(made, "set_quantile")[row] == (double)from / 3);
    assert_true(numbers(made, "distance")[row] == (row % 2 == 0 ? 0.5 : 2));
  }
  assert_string_equal(nk_vectors_metadata(made, "noken.codes.set_distance"), "near far");
  assert_null(nk_vectors_metadata(made, "noken.codes.distance"));
  assert_string_equal(nk_vectors_metadata(made, "noken.contexts"), "[[1,2]]");
  assert_string_equal(nk_vectors_metadata(made, "noken.space"), "residual:3");
  assert_string_equal(nk_vectors_metadata(made, "noken.model"), "m");
  assert_string_equal(nk_vectors_metadata(made, "noken.history"), "[\"a\",\"b\",\"c\"]");
  nk_vectors_free(made);
  nk_vectors_set_metadata(set, "noken.history", "no JSON");
  const double one = 1;
  struct nk_sample_options options = {.origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &one,
                                      .n_distances = 1};
  assert_null(nk_sample(region, &options));
  assert_int_equal(nk_error_code(), NK_EDATA);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* ---- Sets at the edge ---- */

static void sets_that_are_empty_single_or_all_the_same(void **state) {
  (void)state;
  static const struct nk_direction towards = {.kind = NK_DIRECTION_TOWARDS};
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  set->n = 0;
  struct nk_vectors *made = sample_from_set(region, set, directions, 3);
  assert_int_equal(made->n, 0);
  for (size_t c = 0; c < 3; c++) {
    static const char *const names[] = {"knn", "radius", "context"};
    assert_non_null(nk_vectors_column(made, names[c]));
  }
  nk_vectors_free(made);
  set->n = 1;
  made = sample_from_set(region, set, directions, 3);
  assert_int_equal(made->n, 6);
  nk_vectors_free(made);
  const double one = 1;
  struct nk_sample_options options = {.directions = &towards,
                                      .n_directions = 1,
                                      .origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &one,
                                      .n_distances = 1};
  assert_null(nk_sample(region, &options)); /* the row towards itself */
  assert_string_equal(nk_error(),
                      "all rows are the same vector: there is no direction between them");
  set->n = 0;
  options.origin = NK_ORIGIN_CENTROID;
  assert_null(nk_sample(region, &options)); /* the centroid towards none */
  assert_string_equal(nk_error(), "a direction towards rows of a set: the set has no rows");
  options.origin = NK_ORIGIN_SET;
  made = nk_sample(region, &options);
  assert_int_equal(made->n, 0);
  nk_vectors_free(made);
  set->n = ROWS;
  for (size_t i = 1; i < ROWS; i++)
    memcpy(nk_vectors_writable(set) + i * DIM, set->values, DIM * sizeof(float));
  assert_null(nk_sample(region, &options));
  assert_int_equal(nk_error_code(), NK_EDATA);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* In one dimension a ray runs up or down: a radius is reached, no angle but 180 degrees is. */
static void one_dimension_has_two_directions(void **state) {
  (void)state;
  enum { TOKENS = 40 };
  const double one = 1, right = 90;
  struct nk_vectors *tokens = nk_vectors_new(TOKENS, 1, NULL, false);
  struct nk_vectors *set = nk_vectors_new(2, 1, NULL, false);
  for (size_t i = 0; i < TOKENS; i++) nk_vectors_writable(tokens)[i] = (float)i / 8;
  nk_vectors_writable(set)[0] = 7.5f;
  nk_vectors_writable(set)[1] = -3;
  struct nk_region *region =
      nk_region_fit(tokens, NULL, 0, &(struct nk_region_options){.kind = NK_REGION_MAHALANOBIS});
  if (region == NULL) fail_msg("%s", nk_error());
  struct nk_sample_options options = {.n = 50,
                                      .origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &one,
                                      .n_distances = 1,
                                      .unreached = NK_UNREACHED_SKIP};
  struct nk_vectors *made = nk_sample(region, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  size_t up = 0;
  assert_int_equal(made->n, 100);
  for (size_t i = 0; i < made->n; i++) {
    float origin = set->values[i / 50];
    assert_true(made->values[i] == origin + 1 || made->values[i] == origin - 1);
    up += made->values[i] > origin;
  }
  assert_true(up > 25 && up < 75);
  nk_vectors_free(made);
  options.measure = NK_MEASURE_ANGLE;
  options.distances = &right;
  for (int zero = 0; zero < 2; zero++) {
    options.about_zero = zero == 1;
    assert_null(nk_sample(region, &options));
    assert_string_equal(nk_error(), "no ray reaches any of the distances");
  }
  nk_vectors_free(tokens);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* Where the ray has no direction: towards row 2 from itself. */
static void a_ray_without_a_direction_is_named(void **state) {
  (void)state;
  static const struct nk_direction second = {.kind = NK_DIRECTION_ROW, .first = 2};
  const double one = 1;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  struct nk_sample_options options = {.directions = &second,
                                      .n_directions = 1,
                                      .origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &one,
                                      .n_distances = 1,
                                      .with_origin = true};
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(),
                      "no point of ray 2 in direction towards:2 has radius 1 (it begins where it "
                      "leads to: it has no direction); it begins at row 2 of the set, id 46; "
                      "choose other origins, or skip such rays");
  options.unreached = NK_UNREACHED_SKIP;
  struct nk_vectors *made = nk_sample(region, &options);
  assert_int_equal(made->n, (ROWS - 1) * 2); /* nor is its origin there alone */
  for (size_t row = 0; row < made->n; row++)
    assert_int_not_equal(integers(made, "origin_row")[row], 2);
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

static void expect_failure(struct nk_region *region, struct nk_sample_options options, int code,
                           const char *message) {
  static const double one = 1;
  options.distances = &one;
  options.n_distances = 1;
  struct nk_vectors *made = nk_sample(region, &options);
  assert_null(made);
  if (strstr(nk_error(), message) == NULL) fail_msg("'%s' for '%s'", nk_error(), message);
  assert_int_equal(nk_error_code(), code);
}

static void what_cannot_be_is_refused_by_name(void **state) {
  (void)state;
  static const struct nk_direction seventh = {.kind = NK_DIRECTION_ROW, .first = 7};
  static const struct nk_direction nested = {
      .kind = NK_DIRECTION_MIXTURE,
      .parts = {{NK_DIRECTION_TOKEN, 0, 0}, {NK_DIRECTION_MIXTURE, 0, 0}}};
  const double half = 0.5, wide = 180;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set(), *other = nk_vectors_new(2, DIM + 1, NULL, false);
  memset(nk_vectors_writable(other), 0, 2 * (DIM + 1) * sizeof(float));
  const struct nk_sample_options usual = {.origin = NK_ORIGIN_SET, .set = set},
                                 radius = {.origin = NK_ORIGIN_SET,
                                           .set = set,
                                           .measure = NK_MEASURE_RADIUS},
                                 angle = {.origin = NK_ORIGIN_SET,
                                          .set = set,
                                          .measure = NK_MEASURE_ANGLE};
  struct nk_sample_options o = usual;
  o.set = NULL;
  expect_failure(region, o, NK_EUSAGE, "origins from a set: no set is given");
  o.set = other;
  expect_failure(region, o, NK_EDATA, "the set has rows of 13 values, the region is for 12");
  o = usual;
  o.n_directions = 1;
  o.directions = &seventh;
  expect_failure(region, o, NK_EUSAGE, "towards:7: the set has 7 rows, from 0");
  o.directions = &nested;
  expect_failure(region, o, NK_EUSAGE, "a mixture in a mixture");
  o = (struct nk_sample_options){.n_directions = 1, .directions = &seventh};
  expect_failure(region, o, NK_EUSAGE, "a direction towards rows of a set: no set is given");
  o = radius;
  o.quantiles = &half;
  o.n_quantiles = 1;
  expect_failure(region, o, NK_EUSAGE, "an angle or a radius has values only");
  o = radius;
  o.about_zero = true;
  expect_failure(region, o, NK_EUSAGE, "only angles can be about zero");
  o = angle;
  o.keep_norm = true;
  expect_failure(region, o, NK_EUSAGE, "an angle about the centroid at a kept length");
  o = usual;
  o.keep_norm = true;
  expect_failure(region, o, NK_EUSAGE, "mahalanobis distances at a kept length");
  o.metric = NK_METRIC_KNN;
  expect_failure(region, o, NK_EUSAGE, "knn distances at a kept length");
  o = angle;
  o.distances = &wide;
  o.n_distances = 1;
  assert_null(nk_sample(region, &o));
  assert_string_equal(nk_error(), "angle 180 is not below 180 degrees");
  memset(nk_vectors_writable(set) + 5 * DIM, 0, DIM * sizeof(float));
  o = angle;
  o.about_zero = true;
  expect_failure(region, o, NK_EDATA, "row 5 of the set, id 55 lies at the vertex of the angles");
  o = radius;
  o.keep_norm = true;
  expect_failure(region, o, NK_EDATA, "row 5 of the set, id 55 is 0: it has no length to keep");
  nk_vectors_writable(set)[3 * DIM + 2] = NAN;
  expect_failure(region, radius, NK_EDATA, "row 3 holds a NaN");
  nk_vectors_free(set);
  nk_vectors_free(other);
  nk_region_free(region);
}

/* Steps between floats of 3000 are 2.4e-4: where 0.02 of a direction is along such a coordinate
 * they change a radius of 0.02 by 1e-4 of it, and the other coordinates make up for that. */
static void a_small_radius_from_a_long_origin_is_reached(void **state) {
  (void)state;
  static const struct nk_direction to_second = {.kind = NK_DIRECTION_ROW, .first = 1};
  double radii[20];
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  for (size_t i = 0; i < 20; i++) radii[i] = 0.02 + 0.003 * (double)i;
  nk_vectors_writable(set)[4] = 3000.1f;
  nk_vectors_writable(set)[DIM + 4] = 3000.2f;
  set->n = 2;
  struct nk_sample_options options = {.directions = &to_second,
                                      .n_directions = 1,
                                      .origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = radii,
                                      .n_distances = 20,
                                      .unreached = NK_UNREACHED_SKIP};
  struct nk_vectors *made = nk_sample(region, &options);
  if (made == NULL) fail_msg("%s", nk_error());
  assert_int_equal(made->n, 20);
  for (size_t row = 0; row < made->n; row++)
    assert_near(radius_from(made->values + row * DIM, set->values), radii[row], 1e-5);
  nk_vectors_free(made);
  nk_vectors_free(set);
  nk_region_free(region);
}

/* Steps between floats of 3e7 are 2. */
static void a_radius_below_the_steps_of_floats_is_refused(void **state) {
  (void)state;
  const double third = 1.0 / 3;
  struct nk_region *region = make_region();
  struct nk_vectors *set = make_set();
  for (size_t i = 0; i < ROWS * DIM; i++) nk_vectors_writable(set)[i] = 3e7f;
  struct nk_sample_options options = {.origin = NK_ORIGIN_SET,
                                      .set = set,
                                      .measure = NK_MEASURE_RADIUS,
                                      .distances = &third,
                                      .n_distances = 1};
  assert_null(nk_sample(region, &options));
  assert_string_equal(nk_error(),
                      "ray 0 from row 0 of the set, id 40: radius 0 instead of 0.333333333: floats "
                      "are too coarse");
  nk_vectors_free(set);
  nk_region_free(region);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_measure_direction_and_origin_has_what_was_asked),
      cmocka_unit_test(rays_towards_rows_meet_them),
      cmocka_unit_test(a_mixture_is_the_sum_of_two_unit_vectors),
      cmocka_unit_test(a_mixture_of_rows_has_two_different_ones),
      cmocka_unit_test(the_only_other_row_is_found),
      cmocka_unit_test(rays_of_every_origin_are_uniform_and_independent),
      cmocka_unit_test(a_ray_depends_on_its_origin_and_number_alone),
      cmocka_unit_test(rays_have_numbers_and_begin_with_their_origins),
      cmocka_unit_test(nokens_have_the_texts_columns_and_metadata_of_their_rows),
      cmocka_unit_test(sets_that_are_empty_single_or_all_the_same),
      cmocka_unit_test(one_dimension_has_two_directions),
      cmocka_unit_test(a_ray_without_a_direction_is_named),
      cmocka_unit_test(what_cannot_be_is_refused_by_name),
      cmocka_unit_test(a_small_radius_from_a_long_origin_is_reached),
      cmocka_unit_test(a_radius_below_the_steps_of_floats_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
