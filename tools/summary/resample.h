/* Intervals of clustered rows: of nokens that each meet every prompt, of runs under several seeds.
 * The clusters of each kind (items, prompts, seeds) are drawn with replacement, separately for each
 * kind, and a row has the product of its clusters' counts as its weight: the pigeonhole bootstrap
 * (Owen 2007), for any number of kinds as in Owen and Eckles (2012). One kind is the ordinary
 * cluster bootstrap. */
#ifndef SUMMARY_RESAMPLE_H
#define SUMMARY_RESAMPLE_H

#include <noken/base.h>

#include "summary/intervals.h"

enum { SUMMARY_MAX_KINDS = 4 };

enum summary_statistic {
  SUMMARY_COUNT,
  SUMMARY_SHARE, /* the mean of values that are 0 or 1 */
  SUMMARY_MEAN,
  SUMMARY_QUANTILE,
  SUMMARY_AUC, /* of the first group against the second */
};

/* The rows that a statistic is made of. */
struct summary_sample {
  size_t n;
  double *value;   /* [n] ascending */
  uint8_t *second; /* [n] 1: of the second of two groups that are compared, 0: of the first */
  size_t n_kinds;  /* of clusters; 0: the rows are independent */
  uint32_t *cluster[SUMMARY_MAX_KINDS]; /* [n] each: the row's cluster, */
  size_t n_clusters[SUMMARY_MAX_KINDS]; /* below this; each has a row */
  size_t n_in[2][SUMMARY_MAX_KINDS];    /* of them, those that have a row of each group */
};

struct summary_options {
  double level;
  size_t n_resamples;
  uint64_t seed;
};

/* A statistic of both groups and of their difference; what the second group has no part in is
 * undefined where it is empty. The AUC is in `first`. */
struct summary_result {
  struct summary_interval first, second, difference;
  /* The names of the methods that made the intervals: of the groups, of the difference. */
  const char *of_groups, *of_difference;
};

/* Random numbers of a resample: the state of stream (seed, resample, kind), and the next number
 * below n of a stream. */
uint64_t summary_stream(uint64_t seed, uint64_t resample, uint64_t kind);
size_t summary_below(uint64_t *stream, size_t n);

/* The bootstrap's interval of a value from those of resamples [n], which are sorted: the
 * percentiles that Student's t with df degrees of freedom asks for (Hesterberg 2015). Values that
 * are NaN are left out. */
struct summary_interval summary_percentiles(double value, double *values, size_t n, double df,
                                            double level);

/* The statistic (p: of a quantile) with its intervals. Results do not depend on the number of
 * threads. Returns NK_OK or NK_EMEMORY.
 *
 * With clusters: a share and an AUC have Wilson's interval for the number of independent rows that
 * would give the variance of the resamples (as Dean and Pagano 2015 do in surveys), with Student's
 * t; where all resamples agree, that number is the number of clusters. Means, quantiles and
 * differences have percentiles of the resamples, those that Student's t asks for (the expanded
 * percentile interval, Hesterberg 2015); where all resamples of a difference agree, it has the
 * interval of independent groups, but for means and quantiles of groups with the same clusters. Its
 * degrees of freedom are those of the kinds of clusters,
 * by their part in the variance. There is no interval where a kind has one cluster. */
int summary_estimate(const struct summary_sample *sample, enum summary_statistic statistic,
                     double p, const struct summary_options *options,
                     struct summary_result *result);

#endif
