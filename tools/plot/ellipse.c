/* A region as an ellipse in two components of a basis. */
#include "plot/ellipse.h"

#include <math.h>
#include <noken/base.h>

static double product(const float *u, const float *v, size_t n) {
  double sum = 0;
  for (size_t j = 0; j < n; j++) sum += (double)u[j] * (double)v[j];
  return sum;
}

/* With the region's own components w_k and eigenvalues l_k its covariance is sum l_k w_k w_k^T, so
 * that u^T C v = sum l_k (u . w_k) (v . w_k). */
int plot_project_region(struct nk_region *region, const struct nk_pca *basis, size_t a, size_t b,
                        struct plot_normal *out) {
  const struct nk_pca *own = nk_region_basis(region);
  if (own == NULL) return nk_error_code();
  size_t dim = own->dim;
  if (basis->dim != dim)
    return nk_fail(NK_EDATA, "the basis is for vectors of %zu values, the region for %zu",
                   basis->dim, dim);
  if (a >= basis->n_components || b >= basis->n_components || a == b)
    return nk_fail(NK_EUSAGE, "components %zu and %zu: two different ones of %zu are needed", a + 1,
                   b + 1, basis->n_components);
  const float *u = basis->components + a * dim, *v = basis->components + b * dim;
  *out = (struct plot_normal){{0}, {0}};
  for (size_t j = 0; j < dim; j++) {
    double difference = own->mean[j] - basis->mean[j];
    out->centre[0] += difference * (double)u[j];
    out->centre[1] += difference * (double)v[j];
  }
  for (size_t k = 0; k < dim; k++) {
    const float *w = own->components + k * dim;
    double along_u = product(u, w, dim), along_v = product(v, w, dim);
    out->covariance[0] += own->eigenvalues[k] * along_u * along_u;
    out->covariance[1] += own->eigenvalues[k] * along_u * along_v;
    out->covariance[2] += own->eigenvalues[k] * along_v * along_v;
  }
  return NK_OK;
}

/* In two dimensions the squared Mahalanobis distance is chi-squared with two degrees of freedom,
 * whose quantile is -2 ln(1 - part). The circle of that radius times the Cholesky factor. */
void plot_ellipse(const struct plot_normal *normal, double part, size_t n, double *x, double *y) {
  double radius = sqrt(-2 * log1p(-part)), l11 = sqrt(normal->covariance[0]);
  double l21 = l11 > 0 ? normal->covariance[1] / l11 : 0;
  double rest = normal->covariance[2] - l21 * l21, l22 = rest > 0 ? sqrt(rest) : 0;
  for (size_t i = 0; i < n; i++) {
    double angle = n > 1 ? 2 * 3.14159265358979323846 * (double)i / (double)(n - 1) : 0;
    if (i + 1 == n) angle = 0;
    double c = radius * cos(angle), s = radius * sin(angle);
    x[i] = normal->centre[0] + l11 * c;
    y[i] = normal->centre[1] + l21 * c + l22 * s;
  }
}
