/* The spectrum of a basis in a few numbers: effective dimensions, isotropy, and which eigenvalues
 * are larger than those of noise. */
#include <float.h>
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>

#include "geometry/tensors.h"

size_t nki_pca_rank(const struct nk_pca *pca, size_t limit) {
  double least = 4 * (double)(pca->dim > 16 ? pca->dim : 16) * DBL_EPSILON * pca->eigenvalues[0];
  size_t rank = 0;
  while (rank < limit && pca->eigenvalues[rank] > least) rank++;
  return rank;
}

/* ---- Noise ----
 *
 * The eigenvalues of the covariance of m independent rows (those around their own mean count as
 * n - 1) of `dim` uncorrelated values of variance v follow the law of Marchenko and Pastur (1967):
 * with ratio = dim / m they lie between v (1 - sqrt ratio)^2 and v (1 + sqrt ratio)^2, the edge. v
 * is estimated by the median eigenvalue over the median of the law, as Gavish and Donoho, "The
 * optimal hard threshold for singular values is 4 / sqrt 3" (2014), estimate it: a few large
 * eigenvalues move the mean, and not the median. */

static double arcsine(double x) {
  return asin(fmin(fmax(x, -1), 1));
}

/* The share of the law below x, for v = 1 and 0 < ratio <= 1: the integral of its density
 * sqrt((b - t) (t - a)) / (2 pi ratio t) from a to x, by parts. */
static double law(double ratio, double x) {
  double root = sqrt(ratio), a = (1 - root) * (1 - root), b = (1 + root) * (1 + root);
  double curve = sqrt(fmax((b - x) * (x - a), 0));
  double first = arcsine((2 * x - a - b) / (b - a)) + M_PI_2;
  double second = arcsine(((a + b) * x - 2 * a * b) / (x * (b - a))) + M_PI_2;
  return (curve + (1 + ratio) * first - (1 - ratio) * second) / (2 * M_PI * ratio);
}

static double median_of_law(double ratio) {
  double root = sqrt(ratio), low = (1 - root) * (1 - root), high = (1 + root) * (1 + root);
  for (int step = 0; step < 64; step++) {
    double middle = low + (high - low) / 2;
    if (law(ratio, middle) < 0.5)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* Dimensions without variance are no noise, and copies of a row are no rows of their own. Where as
 * many eigenvalues differ from 0 as m different rows allow, they are those of the matrix of the
 * rows' products, which has the ratio m / dim and dim / m times the variance. Where fewer do, the
 * rows lie in a space of so many dimensions. */
static void find_noise(struct nk_pca *pca) {
  size_t n = pca->n_different > 0 ? pca->n_different : pca->n;
  size_t dim = pca->n_varying > 0 ? pca->n_varying : pca->dim;
  pca->noise_edge = (double)NAN;
  pca->n_above_noise = 0;
  if (n < 2) return;
  size_t m = n - 1, rank = nki_pca_rank(pca, dim < m ? dim : m);
  if (rank == 0) return;
  double ratio = (double)(rank < m ? rank : dim) / (double)m;
  double median = (pca->eigenvalues[(rank - 1) / 2] + pca->eigenvalues[rank / 2]) / 2;
  double variance =
      ratio > 1 ? median / (ratio * median_of_law(1 / ratio)) : median / median_of_law(ratio);
  pca->noise_edge = variance * (1 + sqrt(ratio)) * (1 + sqrt(ratio));
  while (pca->n_above_noise < rank && pca->eigenvalues[pca->n_above_noise] > pca->noise_edge)
    pca->n_above_noise++;
}

void nki_pca_summarize(struct nk_pca *pca) {
  double sum = 0, squares = 0, entropy = 0;
  for (size_t i = 0; i < pca->dim; i++) {
    sum += pca->eigenvalues[i];
    squares += pca->eigenvalues[i] * pca->eigenvalues[i];
  }
  for (size_t i = 0; i < pca->dim && sum > 0; i++) {
    double part = pca->eigenvalues[i] / sum;
    if (part > 0) entropy -= part * log(part);
  }
  pca->total_variance = sum;
  pca->participation_ratio = squares > 0 ? sum * sum / squares : 0;
  pca->effective_rank = sum > 0 ? exp(entropy) : 0;
  /* The authors' steps (spectrum scaled to length sqrt dim, its distance from ones, that distance
   * as a share of the largest, squared and rescaled) come to this. */
  pca->iso_score = pca->dim > 1 && squares > 0
                       ? fmax(pca->participation_ratio - 1, 0) / (double)(pca->dim - 1)
                       : (double)NAN;
  find_noise(pca);
}
