/* A region as an ellipse in two components of a basis, for a picture. */
#ifndef PLOT_ELLIPSE_H
#define PLOT_ELLIPSE_H

#include <noken/region.h>
#include <stddef.h>

/* A normal distribution in two dimensions. */
struct plot_normal {
  double centre[2];
  double covariance[3]; /* aa, ab, bb */
};

/* The region's normal distribution in components a and b (from 0) of a basis (its own, or one that
 * nk-pca saved). */
int plot_project_region(struct nk_region *region, const struct nk_pca *basis, size_t a, size_t b,
                        struct plot_normal *out);

/* Points x, y [n] around the ellipse that holds `part` (0.95) of the distribution; the last is the
 * first again. */
void plot_ellipse(const struct plot_normal *normal, double part, size_t n, double *x, double *y);

#endif
