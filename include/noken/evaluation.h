/* How well a score finds what it should: the measures by which rankings are compared. Scores are
 * large for what should be found; a NaN counts as smaller than every number. Equal scores are one
 * step of the curve, so that no measure depends on the order in which rows are given. */
#ifndef NOKEN_EVALUATION_H
#define NOKEN_EVALUATION_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* scores [n], positive [n]. */
struct nk_retrieval {
  size_t n, positives;
  double auc;               /* area under the ROC curve: how often a positive scores higher than a
                             * negative, a tie counting half; NaN without either */
  double average_precision; /* sum of precision x gain of recall (scikit-learn's); NaN without
                             * positives */
  double precision;         /* of the `positives` highest scores; ties in proportion */
};

/* Returns 0 or NK_EMEMORY. */
int nk_retrieval(const double *scores, const bool *positive, size_t n, struct nk_retrieval *out);

/* *out = Spearman's rank correlation of x and y [n], equal values sharing their mean rank; NaN when
 * one of them is constant. Returns 0 or NK_EMEMORY. */
int nk_spearman(const double *x, const double *y, size_t n, double *out);

/* ranks [n] = the mean rank, from 1, of each of values [n]; NaN first. Returns 0 or NK_EMEMORY. */
int nk_mean_ranks(const double *values, size_t n, double *ranks);

#ifdef __cplusplus
}
#endif
#endif
