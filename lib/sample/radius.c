/* How far along a ray a distance is reached. l2 and Mahalanobis distances are the roots of a
 * quadratic, so is the cosine distance; an angle, and a distance of points of a sphere, are solved
 * by sines; and the distance to the k-th neighbour is reached where a ray enters or leaves the k-th
 * of the balls around the points: all in closed form. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "sample/internal.h"

/* The real roots of a r^2 + 2 b r + c, ascending; false when there are none. The root that would
 * lose digits by subtraction comes from the product of both. */
static bool roots(double a, double b, double c, double out[2]) {
  if (a == 0) {
    if (b == 0) return false;
    out[0] = out[1] = -c / (2 * b);
    return true;
  }
  double discriminant = b * b - a * c;
  if (discriminant < 0) return false;
  double q = -(b + copysign(sqrt(discriminant), b));
  double first = q / a, second = q != 0 ? c / q : 0;
  out[0] = fmin(first, second);
  out[1] = fmax(first, second);
  return true;
}

double nki_radius_of_quadratic(double a, double b, double c) {
  double r[2];
  if (!roots(a, b, c, r)) return NAN;
  return r[0] >= 0 ? r[0] : r[1] >= 0 ? r[1] : NAN;
}

double nki_radius_of_cosine(double origin_m, double u_m, double origin_square, double origin_u,
                            double distance) {
  double cosine = 1 - distance, square = cosine * cosine, r[2];
  /* (origin.m + r u.m)^2 = cosine^2 |origin + r u|^2, and the sides before squaring agree in sign
   */
  if (!roots(u_m * u_m - square, origin_m * u_m - square * origin_u,
             origin_m * origin_m - square * origin_square, r))
    return NAN;
  for (int i = 0; i < 2; i++)
    if (r[i] >= 0 && (origin_m + r[i] * u_m) * cosine >= 0) return r[i];
  return NAN;
}

/* ---- Angles ---- */

static const double PI = 3.14159265358979323846;
static const double PARALLEL = 1e-12; /* a sine that rounding gives two parallel vectors */

struct nki_turning nki_turning_of(const double *origin, const double *shift, const double *u,
                                  const double *c, size_t dim) {
  double square = 0, product = 0, across = 0, u_c = 0, origin_c = 0;
  for (size_t j = 0; j < dim; j++) {
    double x = origin[j] + (shift != NULL ? shift[j] : 0);
    square += x * x;
    product += x * u[j];
    if (c == NULL) continue;
    origin_c += x * c[j];
    u_c += u[j] * c[j];
  }
  struct nki_turning turning = {.length = sqrt(square)};
  double along = product / turning.length;
  for (size_t j = 0; j < dim; j++) {
    double x = origin[j] + (shift != NULL ? shift[j] : 0);
    double rest = u[j] - along * x / turning.length;
    across += rest * rest;
  }
  across = sqrt(across);
  if (!(across > PARALLEL)) return turning;
  turning.turn = atan2(across, along);
  turning.a = origin_c / turning.length;
  turning.b = (u_c - along * turning.a) / across;
  return turning;
}

/* The law of sines in the triangle of 0, origin and origin + r u, whose angle there is turn -
 * angle. */
double nki_radius_of_angle(const struct nki_turning *turning, double angle) {
  if (!(angle < turning->turn)) return NAN;
  return turning->length * sin(angle) / sin(turning->turn - angle);
}

/* a cos(t) + b sin(t) = |(a, b)| cos(t - middle). */
double nki_radius_of_product(const struct nki_turning *turning, double value) {
  double size = hypot(turning->a, turning->b), angle = INFINITY;
  if (!(size > 0 && fabs(value) <= size)) return NAN;
  double middle = atan2(turning->b, turning->a), away = acos(value / size);
  for (int side = -1; side <= 1; side += 2) {
    double t = middle + side * away;
    angle = fmin(angle, t < 0 ? t + 2 * PI : t);
  }
  return nki_radius_of_angle(turning, angle);
}

double nki_angle(const float *x, const float *y, const double *c, size_t dim) {
  double xx = 0, yy = 0, apart = 0, together = 0;
  for (size_t j = 0; j < dim; j++) {
    double shift = c != NULL ? c[j] : 0, a = (double)x[j] - shift, b = (double)y[j] - shift;
    xx += a * a;
    yy += b * b;
  }
  xx = sqrt(xx);
  yy = sqrt(yy);
  if (!(xx > 0 && yy > 0)) return NAN;
  for (size_t j = 0; j < dim; j++) {
    double shift = c != NULL ? c[j] : 0;
    double a = ((double)x[j] - shift) / xx, b = ((double)y[j] - shift) / yy;
    apart += (a - b) * (a - b);
    together += (a + b) * (a + b);
  }
  return 2 * atan2(sqrt(apart), sqrt(together));
}

/* ---- The k-th neighbour ---- */

enum { N_BUCKETS = 1024 };

static const double SMALLEST = 0x1p-1000; /* used for r = 0, which has no sign */

/* Ends of intervals in one array of doubles: an entry as r, an exit as -r, r > 0. */
static int compare_events(const void *a, const void *b) {
  double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
  return (x > y) - (x < y);
}

/* out [n] = the root of r^2 + 2 b r + square - level that is farther from 0; NaN: there is none. */
NKI_CLONES static void find_far_roots(const double *restrict square, const double *restrict b,
                                      size_t n, double level, double *restrict out) {
  for (size_t i = 0; i < n; i++) {
    double root = sqrt(b[i] * b[i] - (square[i] - level));
    out[i] = b[i] < 0 ? root - b[i] : -(b[i] + root);
  }
}

/* The ends of the points' intervals; *inside = how many balls hold the origin, *last = the largest
 * |event|. Returns their number. */
static size_t find_events(const double *square, const double *along, size_t n, double distance,
                          double *events, size_t *inside, double *last) {
  size_t n_events = 0;
  double *far = events + 2 * n; /* of the two roots, that without a subtraction */
  *inside = 0;
  *last = SMALLEST;
  find_far_roots(square, along, n, distance * distance, far);
  for (size_t i = 0; i < n; i++) {
    double c = square[i] - distance * distance;
    if (c <= 0)
      ++*inside;
    else if (along[i] >= 0)
      continue; /* outside and moving away */
    if (isnan(far[i])) continue;
    double near = far[i] != 0 ? c / far[i] : 0, leaves = fmax(near, far[i]);
    if (c > 0) events[n_events++] = fmax(fmin(near, far[i]), SMALLEST);
    events[n_events++] = -fmax(leaves, SMALLEST);
    *last = fmax(*last, leaves);
  }
  return n_events;
}

/* The first crossing among n events, which get sorted; *count is how many balls hold the place
 * before them and is brought up to date. */
static double scan_events(double *events, size_t n, size_t k, bool leaving, size_t *count) {
  qsort(events, n, sizeof *events, compare_events);
  for (size_t i = 0; i < n; i++) {
    *count = events[i] > 0 ? *count + 1 : *count - 1;
    if (leaving ? *count < k : *count >= k) return fabs(events[i]);
  }
  return NAN;
}

/* Buckets of width 1 / scale. */
static size_t bucket_of(double event, double scale) {
  size_t bucket = (size_t)(fabs(event) * scale);
  return bucket < N_BUCKETS ? bucket : N_BUCKETS - 1;
}

/* Only those buckets of events are sorted in which the count could pass k. */
double nki_radius_of_neighbour(const double *square, const double *along, size_t n, size_t k,
                               double distance, double *events) {
  size_t count, entries[N_BUCKETS] = {0}, exits[N_BUCKETS] = {0}, place[N_BUCKETS];
  double last, *sorted = events + 2 * n;
  size_t n_events = find_events(square, along, n, distance, events, &count, &last);
  bool leaving = count >= k;
  double scale = N_BUCKETS / last;
  for (size_t i = 0; i < n_events; i++)
    (events[i] > 0 ? entries : exits)[bucket_of(events[i], scale)]++;
  for (size_t b = 0, begin = 0; b < N_BUCKETS; begin += entries[b] + exits[b], b++)
    place[b] = begin;
  for (size_t i = 0; i < n_events; i++) sorted[place[bucket_of(events[i], scale)]++] = events[i];
  for (size_t b = 0; b < N_BUCKETS; b++) {
    bool possible = leaving ? count < k + exits[b] : count + entries[b] >= k;
    if (possible) {
      size_t n_here = entries[b] + exits[b]; /* place[b] is now the bucket's end */
      double r = scan_events(sorted + place[b] - n_here, n_here, k, leaving, &count);
      if (!isnan(r)) return r;
    } else {
      count = count + entries[b] - exits[b];
    }
  }
  return NAN;
}
