/* Confidence intervals in closed form, and the distributions that they are made of. They hold for
 * rows that are independent; summary/resample.h makes those of clustered rows.
 *
 * A number that is not defined is NaN: the mean of no rows, the upper end of an interval that so
 * few rows do not bound. `level` is the confidence, 0.95. */
#ifndef SUMMARY_INTERVALS_H
#define SUMMARY_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct summary_interval {
  double value, low, high;
};

/* The quantile p of Student's t distribution with df degrees of freedom (INFINITY: of the normal
 * distribution); NaN where df <= 0. */
double summary_t_quantile(double p, double df);
/* The normal distribution function. */
double summary_normal(double z);
/* P(X <= k) of a binomial X: n trials of probability p. */
double summary_binomial(double k, double n, double p);

/* A share by Wilson (1927). n is the number of rows, or the number of independent rows that would
 * have the same variance. critical is the distribution's quantile, 1.96. */
struct summary_interval summary_share(double share, double n, double critical);
/* The same for k successes in n trials. */
struct summary_interval summary_share_of(size_t k, size_t n, double level);

/* The mean of the shares of n_strata strata of n_each trials, whose trials alone are random: by
 * Wilson with the number of independent trials that would have the same variance, as Dean and
 * Pagano (2015) do in surveys; of all trials where that is larger. A stratum's variance is that at
 * (successes + 1/2) / (n_each + 1): one without successes or failures has some too. */
struct summary_interval summary_stratified_share(const size_t *successes, size_t n_strata,
                                                 size_t n_each, double level);
/* The mean of the shares of n clusters, drawn from many: the same, with the variance of the shares
 * and with Student's t; of n trials where all shares are the same, or their mean is 1. Of clusters
 * that differ in size a share is that of its successes in the mean size, which may be above 1. */
struct summary_interval summary_clustered_share(const double *share, size_t n, double level);

/* The mean change of a share in n pairs of clusters drawn from many, each of change [n] from -1 to
 * 1: by Student's t with two pairs more, half of one changed each way, as Agresti and Min (2005) do
 * for single pairs. Where no pair changes it has a length, and where few do it holds the truth as
 * often as it says. */
struct summary_interval summary_paired_share(const double *change, size_t n, double level);

/* The mean of x [n] by Student's t. */
struct summary_interval summary_mean(const double *x, size_t n, double level);

/* Quantile p of sorted [n], ascending: linear between order statistics (definition 7 of Hyndman and
 * Fan 1996, numpy's default). NaN where n is 0. */
double summary_quantile_value(const double *sorted, size_t n, double p);
/* The same with the distribution-free interval of order statistics, interpolated as Hettmansperger
 * and Sheather (1986) do for the median and Nyblom (1992) for any quantile. */
struct summary_interval summary_quantile(const double *sorted, size_t n, double p, double level);

/* The same of values in n_clusters clusters of equal size that are independent of each other: the
 * order statistics that hold it for so many independent values, whole ones, as those within a
 * cluster may be alike. It holds the quantile at least as often as it says. */
struct summary_interval summary_clustered_quantile(const double *sorted, size_t n,
                                                   size_t n_clusters, double p, double level);

/* The probability that a row of the first group has a larger value than one of the second, ties
 * counted half (the area under the ROC curve). sorted [n] ascending; second [n]: whether a row is
 * of the second group. The variance is that of DeLong, DeLong and Clarke-Pearson (1988), the
 * interval Wilson's with the number of rows that has this variance and with Student's t. Where the
 * variance is 0 (groups without overlap) that number is the size of the smaller group, which is at
 * most too few: the variance does not exceed value (1 - value) / min(m, n) (Birnbaum and Klose
 * 1957). */
struct summary_interval summary_auc(const double *sorted, const uint8_t *second, size_t n,
                                    double level);

/* The degrees of freedom of a + b, variances of the means of n_a and n_b values (Welch 1947). */
double summary_degrees(double a, double n_a, double b, double n_b);

/* first - second, of independent estimates, from the intervals of both by the method of variance
 * estimates recovery (Zou and Donner 2008); of two shares, method 10 of Newcombe (1998). */
struct summary_interval summary_difference(const struct summary_interval *first,
                                           const struct summary_interval *second);

/* Cohen's kappa (1960) of two judgements, table [first][second] of counts, with the large-sample
 * interval of Fleiss, Cohen and Everitt (1969); NaN where one of
 * them puts all in one class: chance alone gives that agreement. */
struct summary_interval summary_kappa(size_t table[2][2], double level);

#endif
