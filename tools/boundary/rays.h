/* The rays of a vector set: origin + r u, as nk-sample --with-origin makes them. */
#ifndef BOUNDARY_RAYS_H
#define BOUNDARY_RAYS_H

#include <noken/vectors.h>

struct boundary_rays {
  const struct nk_vectors *set;
  size_t n;
  size_t *origin, *far; /* [n] rows of the set: with radius 0, and the farthest */
  double *length;       /* [n] L2 distance between them, > 0 */
};

/* The rows of each value of the column `ray` are a ray: the one with `radius` 0 is its origin, and
 * its direction is that to the farthest row. Ascending by `ray`. Free with boundary_rays_free.
 * Returns NK_OK; NK_ENOTFOUND: no column ray or radius; NK_EDATA, naming the ray: no origin, two,
 * no other row, or a radius that is not the row's distance to the origin; NK_EMEMORY. */
int boundary_rays_of(const struct nk_vectors *set, struct boundary_rays *out);
void boundary_rays_free(struct boundary_rays *rays);

/* out [dim] = the point of a ray at this radius, rounded to float from double; at 0 and at the
 * length it is the row itself. */
void boundary_point(const struct boundary_rays *rays, size_t ray, double radius, float *out);

/* A set of rows [n], each with the id and text of the farthest row of rays[ray[i]], the columns of
 * the set that have one value on each ray (not those that place a noken on it, such as `radius`,
 * nor those of the place that it was captured in: context, position, token, layer), and the
 * metadata; values [n, dim] are allocated for the caller to fill, or left out. NULL on
 * failure. */
struct nk_vectors *boundary_rays_set(const struct boundary_rays *rays, const size_t *ray, size_t n,
                                     bool with_values);

#endif
