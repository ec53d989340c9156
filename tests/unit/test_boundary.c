/* The search of nk-boundary on curves in closed form, and the rays of a set. */
#include "unit.h"

#include <math.h>
#include "boundary/rays.h"
#include "boundary/search.h"

/* ---- Curves ---- */

struct curves {
  double (*of)(size_t ray, double radius);
  size_t n_calls, n_points;
};

static int measure_curve(void *user, const size_t *ray, const double *radius, size_t n,
                         double *value) {
  struct curves *curves = user;
  for (size_t i = 0; i < n; i++) value[i] = curves->of(ray[i], radius[i]);
  curves->n_calls++;
  curves->n_points += n;
  return NK_OK;
}

static struct boundary_search usual(void) {
  return (struct boundary_search){.level = 0.5, .tolerance = 0.01, .n_grid = 32, .predict = true};
}

static double square(size_t ray, double radius) {
  double scale = pow(10, (double)ray);
  return radius * radius / (scale * scale);
}

static void assert_relative(double value, double expected, double tolerance) {
  if (!(fabs(value / expected - 1) <= tolerance))
    fail_msg("%.9g, expected %.9g to %g", value, expected, tolerance);
}

static void onset_of_a_square_is_exact_at_every_scale(void **state) {
  (void)state;
  struct curves curves = {.of = square};
  struct boundary_search search = usual();
  double length[8];
  struct boundary_onset out[8];
  for (int i = 0; i < 8; i++) length[i] = 10 * pow(10, i);
  assert_int_equal(boundary_search(&search, measure_curve, &curves, length, 8, out), NK_OK);
  for (int i = 0; i < 8; i++) {
    double scale = pow(10, i);
    assert_relative(out[i].onset, scale * sqrt(0.5), 1e-9);
    assert_relative(out[i].predicted, scale * sqrt(0.5), 1e-9);
    assert_relative(out[i].far, 100, 1e-12);
    assert_relative(out[i].width, length[i] * (sqrt(0.9) - sqrt(0.1)), 1e-9);
    double before = length[i] * pow(100, -1.0 / 31);
    assert_relative(out[i].slope_max, (length[i] + before) / (scale * scale), 1e-9);
    assert_relative(out[i].slope_at, (length[i] + before) / 2, 1e-12);
  }
  assert_true(curves.n_calls < 20); /* all rays at once */
}

/* A plateau, then a step of width `ray`: the level 0.5 is at radius 3. */
static double plateau(size_t ray, double radius) {
  double steep = 3 + 10 * (double)ray;
  return 1 / (1 + exp(-steep * (radius - 3))) - 1 / (1 + exp(steep * 3));
}

static void onset_slope_and_width_of_a_step(void **state) {
  (void)state;
  struct curves curves = {.of = plateau};
  struct boundary_search search = usual();
  search.predict = false;
  search.n_grid = 500;
  const double length[3] = {10, 10, 10};
  struct boundary_onset out[3];
  assert_int_equal(boundary_search(&search, measure_curve, &curves, length, 3, out), NK_OK);
  for (size_t i = 0; i < 3; i++) {
    double steep = 3 + 10 * (double)i;
    assert_relative(out[i].onset, 3, 0.01);
    assert_relative(out[i].width, 2 * log(9) / steep, 0.01);
    assert_relative(out[i].slope_max, steep / 4, 0.01);
    assert_relative(out[i].slope_at, 3, 0.02);
    assert_true(isnan(out[i].predicted));
  }
}

static double bump(size_t ray, double radius) {
  (void)ray; /* 1 at radius 2, 0.2 at 10, past the level 0.5 twice */
  return radius * radius * exp(2 - radius) / 4 + 0.02 * radius;
}

static void first_of_several_crossings_is_taken(void **state) {
  (void)state;
  struct curves curves = {.of = bump};
  struct boundary_search search = usual();
  const double length[1] = {10};
  struct boundary_onset out[1];
  assert_int_equal(boundary_search(&search, measure_curve, &curves, length, 1, out), NK_OK);
  double low = 0, high = 2;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    *(bump(0, middle) < 0.5 ? &low : &high) = middle;
  }
  assert_relative(out[0].onset, low, 0.01);
  assert_true(out[0].slope_max > 0);
}

static double never(size_t ray, double radius) {
  (void)radius;
  return ray == 0 ? 0 : 1e-9 * radius * radius;
}

static void a_ray_that_never_reaches_has_no_onset(void **state) {
  (void)state;
  struct curves curves = {.of = never};
  struct boundary_search search = usual();
  const double length[2] = {3, 3};
  struct boundary_onset out[2];
  assert_int_equal(boundary_search(&search, measure_curve, &curves, length, 2, out), NK_OK);
  assert_true(isnan(out[0].onset) && isnan(out[1].onset));
  assert_true(isnan(out[0].predicted) && isnan(out[1].predicted));
  assert_true(out[0].far == 0 && out[0].slope_max == 0);
  assert_true(isnan(out[0].slope_at) && isnan(out[0].width));
  assert_relative(out[1].far, 9e-9, 1e-12);
  assert_relative(out[1].width, 3 * (sqrt(0.9) - sqrt(0.1)), 0.01);
}

/* Below 1e-30 of the length the curve is 0, as a float vector then is its origin. */
static double edge(size_t ray, double radius) {
  (void)ray;
  return radius > 1e-30 ? 1 : 0;
}

static void a_step_at_the_origin_ends_the_bisection(void **state) {
  (void)state;
  struct curves curves = {.of = edge};
  struct boundary_search search = usual();
  const double length[1] = {1};
  struct boundary_onset out[1];
  assert_int_equal(boundary_search(&search, measure_curve, &curves, length, 1, out), NK_OK);
  assert_relative(out[0].onset, 1e-30, 0.02);
  assert_true(curves.n_calls < 150);
}

static int fails(void *user, const size_t *ray, const double *radius, size_t n, double *value) {
  (void)user, (void)ray, (void)radius, (void)n, (void)value;
  return nk_fail(NK_EDATA, "no measure");
}

static void no_ray_and_a_measure_that_fails(void **state) {
  (void)state;
  struct boundary_search search = usual();
  const double length[1] = {1};
  struct boundary_onset out[1];
  assert_int_equal(boundary_search(&search, fails, NULL, length, 0, out), NK_OK);
  assert_int_equal(boundary_search(&search, fails, NULL, length, 1, out), NK_EDATA);
  assert_string_equal(nk_error(), "no measure");
}

/* ---- Rays ---- */

static float *values(const float *from, size_t n) {
  float *out = nk_alloc(n, sizeof *out);
  memcpy(out, from, n * sizeof *out);
  return out;
}

/* Rays 7 and 3 from (1, 2): rows in any order. */
static struct nk_vectors *make_rays(void) {
  const float points[] = {4, 6, 1, 2, 1, 2, 2.5F, 4, 1, -8};
  struct nk_vectors *set = nk_vectors_new(5, 2, values(points, 10), false);
  assert_non_null(set);
  assert_int_equal(nk_vectors_set_integers(set, "ray", (int64_t[]){7, 7, 3, 7, 3}), NK_OK);
  assert_int_equal(nk_vectors_set_numbers(set, "radius", (double[]){5, 0, 0, 2.5, 10}), NK_OK);
  assert_int_equal(nk_vectors_set_integers(set, "direction", (int64_t[]){1, 1, 0, 1, 0}), NK_OK);
  assert_int_equal(nk_vectors_set_numbers(set, "achieved", (double[]){1, 1, 1, 1, 1}), NK_OK);
  assert_int_equal(nk_vectors_set_integers(set, "other", (int64_t[]){1, 2, 3, 4, 5}), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.codes.direction", "token pair"), NK_OK);
  assert_int_equal(nk_vectors_set_metadata(set, "noken.space", "residual:3"), NK_OK);
  return set;
}

static void rays_have_origin_direction_and_length(void **state) {
  (void)state;
  struct nk_vectors *set = make_rays();
  struct boundary_rays rays;
  assert_int_equal(boundary_rays_of(set, &rays), NK_OK);
  assert_int_equal(rays.n, 2);
  assert_int_equal(rays.origin[0], 2);
  assert_int_equal(rays.far[0], 4);
  assert_int_equal(rays.far[1], 0);
  assert_true(rays.length[0] == 10 && rays.length[1] == 5);
  float point[2];
  boundary_point(&rays, 1, 2.5, point);
  assert_true(point[0] == 2.5F && point[1] == 4);
  boundary_point(&rays, 1, -5, point);
  assert_true(point[0] == -2 && point[1] == -2);
  boundary_point(&rays, 0, 10, point);
  assert_true(point[0] == 1 && point[1] == -8);
  boundary_rays_free(&rays);
  nk_vectors_free(set);
}

static void columns_of_a_ray_are_carried_and_those_of_a_place_on_it_are_not(void **state) {
  (void)state;
  struct nk_vectors *set = make_rays();
  struct boundary_rays rays;
  assert_int_equal(boundary_rays_of(set, &rays), NK_OK);
  struct nk_vectors *rows = boundary_rays_set(&rays, (size_t[]){1, 0, 1}, 3, false);
  assert_non_null(rows);
  assert_int_equal(rows->n_columns, 2);
  assert_int_equal(nk_vectors_column(rows, "ray")->data.integer[0], 7);
  assert_int_equal(nk_vectors_column(rows, "direction")->data.integer[1], 0);
  assert_string_equal(nk_vectors_metadata(rows, "noken.codes.direction"), "token pair");
  assert_string_equal(nk_vectors_metadata(rows, "noken.space"), "residual:3");
  assert_int_equal(rows->ids[0], 0);
  assert_int_equal(rows->ids[1], 4);
  nk_vectors_free(rows);
  boundary_rays_free(&rays);
  nk_vectors_free(set);
}

static void expect_refusal(struct nk_vectors *set, int expected, const char *message) {
  struct boundary_rays rays;
  assert_int_equal(boundary_rays_of(set, &rays), expected);
  assert_string_equal(nk_error(), message);
  boundary_rays_free(&rays);
  nk_vectors_free(set);
}

static void bad_rays_are_refused_by_name(void **state) {
  (void)state;
  struct nk_vectors *set = nk_vectors_new(1, 2, NULL, false);
  expect_refusal(set, NK_ENOTFOUND, "the set has no column 'ray'");
  set = make_rays();
  nk_vectors_set_numbers(set, "radius", (double[]){5, 1, 0, 2.5, 10});
  expect_refusal(set, NK_EDATA,
                 "ray 7: no row has radius 0: the origin is needed (nk-sample --with-origin)");
  set = make_rays();
  nk_vectors_set_numbers(set, "radius", (double[]){5, 0, 0, 0, 10});
  expect_refusal(set, NK_EDATA, "ray 7: rows 1 and 3 have radius 0, one origin is expected");
  set = make_rays();
  nk_vectors_set_integers(set, "ray", (int64_t[]){7, 7, 3, 7, 4});
  expect_refusal(set, NK_EDATA,
                 "ray 3: no row beside its origin: one at a radius above 0 is needed");
  set = make_rays();
  nk_vectors_set_numbers(set, "radius", (double[]){5, 0, 0, 2.5, 11});
  expect_refusal(set, NK_EDATA, "ray 3: row 4 has radius 11, its distance to row 2 is 10");
  set = make_rays();
  nk_vectors_set_numbers(set, "radius", (double[]){5, 0, 0, NAN, 10});
  expect_refusal(set, NK_EDATA, "ray 7: row 3 has radius nan");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(onset_of_a_square_is_exact_at_every_scale),
      cmocka_unit_test(onset_slope_and_width_of_a_step),
      cmocka_unit_test(first_of_several_crossings_is_taken),
      cmocka_unit_test(a_ray_that_never_reaches_has_no_onset),
      cmocka_unit_test(a_step_at_the_origin_ends_the_bisection),
      cmocka_unit_test(no_ray_and_a_measure_that_fails),
      cmocka_unit_test(rays_have_origin_direction_and_length),
      cmocka_unit_test(columns_of_a_ray_are_carried_and_those_of_a_place_on_it_are_not),
      cmocka_unit_test(bad_rays_are_refused_by_name),
  };
  return cmocka_run_group_tests_name("boundary", tests, NULL, NULL);
}
