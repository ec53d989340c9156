/* Whether two samples have the same distribution of several features together: the energy distance
 * of Szekely and Rizzo (2013), with the permutation test of its null and an interval.
 *
 * A sample is made of units (items, each with a row in every prompt) of one row or several. Of each
 * feature the mid-rank of a row is taken, among the rows of both samples in its stratum, divided by
 * their number. Features such as a divergence and its logarithm give the same, an infinity is the
 * largest value, no feature outweighs another, and no outlier outweighs the rest; how far beyond
 * all others a value is does not count. Of one feature the distance is the statistic of Cramer and
 * von Mises (Anderson 1962).
 *
 * With d(i, j) the Euclidean distance of the ranks of two units, the mean over pairs of their rows
 * in a stratum, A and B the samples and means over pairs of different units,
 *
 *            sum over strata of 2 mean d(A, B) - mean d(A, A) - mean d(B, B)
 *   value = -----------------------------------------------------------------
 *                        sum over strata of 2 mean d(A, B)
 *
 * is the energy coefficient: 0 where both distributions are the same, 1 where each is a point. As
 * pairs of a unit with itself are left out, its mean is 0 where they are the same, whatever the
 * sizes of the samples: it can be a little below 0. */
#ifndef SUMMARY_ENERGY_H
#define SUMMARY_ENERGY_H

#include "summary/resample.h"
#include "summary/space.h"

struct summary_energy {
  struct summary_interval interval; /* NaN where a sample has fewer than two units */
  double p_value;
  double null_median, null_q95; /* of the values of permutations */
  size_t n_strata;              /* strata that have two units of each sample */
};

/* The null's p-value is (1 + permutations that reach the value) / (1 + n_resamples), each an
 * exchange of whole units between the samples: of all units, or within strata where every unit has
 * rows in one stratum alone. The interval is the bootstrap of units of each sample, without pairs
 * of a unit with itself: with them, resamples would lie above the value. Near 0 the interval is
 * longer than it need be. Ranks are not computed anew. Memory grows with n and n_strata * n_units;
 * time with n_resamples * n_units^2. Results do not depend on the number of threads. Returns NK_OK
 * or NK_EMEMORY. */
int summary_energy(const struct summary_two_samples *samples, const struct summary_options *options,
                   struct summary_energy *out);

#endif
