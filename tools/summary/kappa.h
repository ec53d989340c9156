/* Agreement of raters who put items in classes without an order: how often two of them agree, and
 * kappa, by how much more than chance does. Of two raters it is Cohen's (1960), where chance is
 * that of each rater's own shares of the classes; of more it is Fleiss' (1971), where it is that of
 * all ratings together, and raters can differ from item to item. */
#ifndef SUMMARY_KAPPA_H
#define SUMMARY_KAPPA_H

#include "summary/resample.h"

/* Ratings [n], at most one for each item and rater. An item that has one alone says nothing. */
struct summary_ratings {
  size_t n, n_items, n_raters, n_classes;
  const uint32_t *item, *rater, *class;
};

struct summary_agreement {
  struct summary_interval share, kappa; /* NaN where no item has two ratings; kappa also where all
                                         * ratings are of one class */
  const char *of_kappa;                 /* the name of its interval's method; that of the share is
                                         * "Wilson" */
  size_t n, n_items;                    /* ratings of items that have two or more */
};

/* Each item has the share of its pairs of raters that agree, and items count the same. Fleiss'
 * kappa has the mean of the items' shares of the classes, which of items with the same number of
 * ratings is that of all ratings. The share has the interval of summary_clustered_share; kappa that
 * of a bootstrap of items, and where it is the same in all resamples, as after perfect agreement,
 * that of the share. Returns NK_OK or NK_EMEMORY. */
int summary_agree(const struct summary_ratings *ratings, const struct summary_options *options,
                  struct summary_agreement *out);

#endif
