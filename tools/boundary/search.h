/* Where curves along rays cross a level: a scan of a grid of radii, then bisection, of all rays at
 * once. What is measured is the caller's: the search knows radii and values only. */
#ifndef BOUNDARY_SEARCH_H
#define BOUNDARY_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* value [n] = the measure of ray[i] at radius[i] > 0, or at -radius on the ray's other side. At
 * radius 0 it is 0. Returns NK_OK, with finite values, or a negative code. */
typedef int boundary_measure(void *user, const size_t *ray, const double *radius, size_t n,
                             double *value);

struct boundary_search {
  double level;     /* > 0, of the measure */
  double tolerance; /* of radii, relative, > 0 */
  size_t n_grid; /* radii of the scan, at least 2, from length / BOUNDARY_SPAN to length, each the
                     * same multiple of the one before */
  bool predict;  /* the measure is quadratic near 0: compute `predicted` */
};

#define BOUNDARY_SPAN 100.0
/* The value at which the measure is taken to be quadratic: far above the rounding of float logits
 * (1e-12 of a divergence), and so small that higher orders are under 1% also on a plateau, where
 * 1e-5 is far from the origin. */
#define BOUNDARY_QUADRATIC 1e-8

/* Of one ray; NaN where there is none. */
struct boundary_onset {
  double onset;     /* the radius at which the value first reaches the level */
  double achieved;  /* the value there */
  double slope_max; /* the largest rise of the value over that of the radius between neighbours on
                     * the grid, 0 included */
  double slope_at;  /* the radius in the middle between them */
  double width;     /* between the first radii with 0.1 and with 0.9 of `far` */
  double far;       /* the value at the ray's length */
  double predicted; /* the radius at which a r^2 is the level; a from a small value on both sides */
};

/* out [n] of rays of these lengths [n] > 0. The first crossing is that in the first interval of the
 * grid whose end has the level or more; within it bisection finds one to the tolerance, and the
 * result is interpolated in the last interval. Returns NK_OK, NK_EMEMORY, or a code of measure. */
int boundary_search(const struct boundary_search *search, boundary_measure *measure, void *user,
                    const double *length, size_t n, struct boundary_onset *out);

#endif
