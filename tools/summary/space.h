/* The rows of two samples by stratum and unit, with their ranks, and distances of units. */
#ifndef SUMMARY_SPACE_H
#define SUMMARY_SPACE_H

#include <noken/base.h>

struct summary_two_samples {
  size_t n, n_features, n_strata, n_units;
  size_t n_first;          /* units below this are of the first sample, the others of the second */
  const double *value;     /* [n, n_features], not NaN */
  const uint32_t *stratum; /* [n] below n_strata */
  const uint32_t *unit;    /* [n] below n_units; each has a row */
};

/* Ranks [n, n_features] of rows in the order of strata, then units. The rows of unit u in stratum s
 * begin at begin[s * n_units + u]. */
struct summary_space {
  const struct summary_two_samples *of;
  size_t *order, *begin;
  double *rank;
};

/* Returns NK_OK or NK_EMEMORY; summary_space_free is due in either case. */
int summary_space_make(struct summary_space *space, const struct summary_two_samples *of);
void summary_space_free(struct summary_space *space);

/* How many rows the unit has in the stratum. */
size_t summary_space_rows(const struct summary_space *space, size_t stratum, size_t unit);
/* The distance of units i and j that have rows in all strata from `first` to before `end`: the mean
 * over these of the mean over pairs of rows. */
double summary_space_distance(const struct summary_space *space, size_t first, size_t end, size_t i,
                              size_t j);

#endif
