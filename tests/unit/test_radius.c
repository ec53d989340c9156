/* How far along a ray a distance is reached: against evaluating the distance at the answer, and
 * against walking along the ray in small steps, which must not find it earlier. */
#include "unit.h"

#include <math.h>

/* The private header needs region.h through sample.h. */
#include "base/random.h"
#include "sample/internal.h"

enum { DIM = 5, POINTS = 40 };

static double random_vector(struct nki_random *random, double scale, double *x) {
  double square = 0;
  for (int j = 0; j < DIM; j++) {
    x[j] = scale * nki_random_normal(random);
    square += x[j] * x[j];
  }
  return sqrt(square);
}

static double dot(const double *a, const double *b) {
  double sum = 0;
  for (int j = 0; j < DIM; j++) sum += a[j] * b[j];
  return sum;
}

static void a_quadratic_gives_its_smallest_root_that_is_not_negative(void **state) {
  (void)state;
  /* (r - 2)(r - 3), (r + 2)(r - 3), (r + 2)(r + 3), r^2 + 1, 2 r - 4 */
  assert_true(fabs(nki_radius_of_quadratic(1, -2.5, 6) - 2) < 1e-15);
  assert_true(fabs(nki_radius_of_quadratic(1, -0.5, -6) - 3) < 1e-15);
  assert_true(isnan(nki_radius_of_quadratic(1, 2.5, 6)));
  assert_true(isnan(nki_radius_of_quadratic(1, 0, 1)));
  assert_true(fabs(nki_radius_of_quadratic(0, 1, -4) - 2) < 1e-15);
  /* r^2 + 2e8 r - 1: the small root is 5e-9 to 16 digits, and subtraction would leave none */
  assert_true(fabs(nki_radius_of_quadratic(1, 1e8, -1) - 5e-9) < 1e-22);
}

static double cosine_at(const double *origin, const double *u, const double *m, double r) {
  double x[DIM];
  for (int j = 0; j < DIM; j++) x[j] = origin[j] + r * u[j];
  return 1 - dot(x, m) / sqrt(dot(x, x) * dot(m, m));
}

static void a_cosine_distance_is_reached_and_not_earlier(void **state) {
  (void)state;
  struct nki_random random = nki_random_stream(11, NKI_RANDOM_TEST, 0);
  int reached = 0;
  for (int round = 0; round < 2000; round++) {
    double origin[DIM], u[DIM], m[DIM];
    random_vector(&random, 1, origin);
    double length = random_vector(&random, 1, u);
    for (int j = 0; j < DIM; j++) u[j] /= length;
    length = random_vector(&random, 1, m);
    for (int j = 0; j < DIM; j++) m[j] /= length;
    double asked = 2 * nki_random_uniform(&random);
    double r =
        nki_radius_of_cosine(dot(origin, m), dot(u, m), dot(origin, origin), dot(origin, u), asked);
    double start = cosine_at(origin, u, m, 0) - asked;
    double end = isnan(r) ? 100 : r * (1 - 1e-9);
    if (!isnan(r)) {
      assert_true(fabs(cosine_at(origin, u, m, r) - asked) < 1e-9);
      reached++;
    }
    for (int step = 1; step < 500; step++)
      assert_true((cosine_at(origin, u, m, end * step / 500) - asked) * start > 0);
  }
  assert_true(reached > 500);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double neighbour_at(double points[POINTS][DIM], const double *origin, const double *u,
                           double r, size_t k) {
  double distances[POINTS];
  for (int i = 0; i < POINTS; i++) {
    double square = 0;
    for (int j = 0; j < DIM; j++) square += pow(origin[j] + r * u[j] - points[i][j], 2);
    distances[i] = sqrt(square);
  }
  qsort(distances, POINTS, sizeof *distances, ascending);
  return distances[k - 1];
}

static void the_kth_neighbour_is_reached_and_not_earlier(void **state) {
  (void)state;
  struct nki_random random = nki_random_stream(12, NKI_RANDOM_TEST, 0);
  int reached = 0, never = 0;
  for (int round = 0; round < 600; round++) {
    double points[POINTS][DIM], origin[DIM], u[DIM], square[POINTS], along[POINTS];
    double events[4 * POINTS];
    for (int i = 0; i < POINTS; i++) random_vector(&random, 1, points[i]);
    random_vector(&random, 2, origin);
    double length = random_vector(&random, 1, u);
    for (int j = 0; j < DIM; j++) u[j] /= length;
    for (int i = 0; i < POINTS; i++) {
      double away[DIM];
      for (int j = 0; j < DIM; j++) away[j] = origin[j] - points[i][j];
      square[i] = dot(away, away);
      along[i] = dot(u, away);
    }
    size_t k = 1 + (size_t)nki_random_below(&random, 6);
    double asked = 0.5 + 4 * nki_random_uniform(&random);
    double r = nki_radius_of_neighbour(square, along, POINTS, k, asked, events);
    double start = neighbour_at(points, origin, u, 0, k) - asked;
    double end = isnan(r) ? 20 : r * (1 - 1e-9);
    if (isnan(r)) {
      never++;
    } else {
      assert_true(fabs(neighbour_at(points, origin, u, r, k) - asked) < 1e-9);
      reached++;
    }
    for (int step = 1; step < 500; step++)
      assert_true((neighbour_at(points, origin, u, end * step / 500, k) - asked) * start > 0);
  }
  assert_true(reached > 100 && never > 20);
}

/* In radians, as the definition says. */
static double angle_between(const double *a, const double *b) {
  return acos(dot(a, b) / sqrt(dot(a, a) * dot(b, b)));
}

/* The angle between origin and origin + r u grows with r to that between origin and u. */
static void an_angle_is_reached_or_beyond_that_of_the_direction(void **state) {
  (void)state;
  struct nki_random random = nki_random_stream(31, NKI_RANDOM_TEST, 0);
  int reached = 0;
  for (int round = 0; round < 2000; round++) {
    double origin[DIM], u[DIM], x[DIM];
    random_vector(&random, 1, origin);
    double length = random_vector(&random, 1, u);
    for (int j = 0; j < DIM; j++) u[j] /= length;
    double asked = 0.1 + 3 * nki_random_uniform(&random);
    struct nki_turning turning = nki_turning_of(origin, NULL, u, NULL, DIM);
    double r = nki_radius_of_angle(&turning, asked);
    assert_true(fabs(turning.length - sqrt(dot(origin, origin))) < 1e-12);
    assert_true(fabs(turning.turn - angle_between(origin, u)) < 1e-7);
    assert_true(isnan(r) == !(asked < turning.turn));
    if (isnan(r)) continue;
    for (int j = 0; j < DIM; j++) x[j] = origin[j] + r * u[j];
    assert_true(r > 0 && fabs(angle_between(origin, x) - asked) < 1e-7);
    reached++;
  }
  assert_true(reached > 500 && reached < 1500);
}

/* |y - c| for y = origin + r u scaled to the origin's length, minus what is asked. */
static double on_sphere(const double *origin, const double *u, const double *c, double r,
                        double asked) {
  double y[DIM], apart[DIM];
  for (int j = 0; j < DIM; j++) y[j] = origin[j] + r * u[j];
  double scale = sqrt(dot(origin, origin) / dot(y, y));
  for (int j = 0; j < DIM; j++) apart[j] = scale * y[j] - c[j];
  return sqrt(dot(apart, apart)) - asked;
}

/* Every answer has the distance, and on the way to it, or to the end of the arc where there is no
 * answer, the distance does not pass what is asked. */
static void a_distance_on_a_sphere_is_reached_and_not_earlier(void **state) {
  (void)state;
  enum { WALK = 4000 };
  struct nki_random random = nki_random_stream(32, NKI_RANDOM_TEST, 0);
  int reached = 0, rounds = 1000;
  for (int round = 0; round < rounds; round++) {
    double origin[DIM], u[DIM], c[DIM];
    double length = random_vector(&random, 1, u);
    for (int j = 0; j < DIM; j++) u[j] /= length;
    length = random_vector(&random, 1, origin);
    random_vector(&random, 0.7, c);
    double asked = on_sphere(origin, u, c, 0, 0) * (0.3 + 1.2 * nki_random_uniform(&random));
    struct nki_turning turning = nki_turning_of(origin, NULL, u, c, DIM);
    double value = (length * length + dot(c, c) - asked * asked) / (2 * length);
    double r = nki_radius_of_product(&turning, value);
    double start = on_sphere(origin, u, c, 0, asked);
    if (!isnan(r)) assert_true(fabs(on_sphere(origin, u, c, r, asked)) < 1e-6 * asked);
    reached += !isnan(r);
    for (int step = 1; step < WALK; step++) { /* by the angle, whose end is an infinite r */
      double far = nki_radius_of_angle(&turning, turning.turn * step / WALK);
      if (far > r * (1 - 1e-6)) break;
      assert_true(on_sphere(origin, u, c, far, asked) * start > 0);
    }
  }
  assert_true(reached > rounds / 10 && reached < rounds * 9 / 10);
}

static void parallel_rays_do_not_turn(void **state) {
  (void)state;
  static const double origin[DIM] = {0.1, 0.2, -0.3, 0.7, 1e-3}, zero[DIM] = {0};
  double u[DIM], length = sqrt(dot(origin, origin));
  for (int sign = -1; sign <= 1; sign += 2) {
    for (int j = 0; j < DIM; j++) u[j] = sign * origin[j] / length;
    struct nki_turning turning = nki_turning_of(origin, NULL, u, origin, DIM);
    assert_true(turning.turn == 0);
    assert_true(isnan(nki_radius_of_angle(&turning, 1e-9)));
    assert_true(isnan(nki_radius_of_product(&turning, 0.5)));
  }
  assert_true(nki_turning_of(zero, NULL, u, NULL, DIM).length == 0);
  /* from the origin that is left when a shift is added */
  assert_true(fabs(nki_turning_of(zero, origin, u, NULL, DIM).length - length) < 1e-15);
}

/* A millionth of a degree, whose cosine is 1 in double. */
static void small_angles_keep_their_digits(void **state) {
  (void)state;
  const float a[2] = {1, 0}, b[2] = {1, 1.7453292e-8f}, zero[2] = {0, 0};
  const double c[2] = {0.5, 0};
  assert_true(fabs(nki_angle(a, b, NULL, 2) / (double)b[1] - 1) < 1e-12);
  assert_true(fabs(nki_angle(a, b, c, 2) / (2 * (double)b[1]) - 1) < 1e-12);
  assert_true(isnan(nki_angle(a, zero, NULL, 2)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_quadratic_gives_its_smallest_root_that_is_not_negative),
      cmocka_unit_test(a_cosine_distance_is_reached_and_not_earlier),
      cmocka_unit_test(the_kth_neighbour_is_reached_and_not_earlier),
      cmocka_unit_test(an_angle_is_reached_or_beyond_that_of_the_direction),
      cmocka_unit_test(a_distance_on_a_sphere_is_reached_and_not_earlier),
      cmocka_unit_test(parallel_rays_do_not_turn),
      cmocka_unit_test(small_angles_keep_their_digits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
