/* What is summarized: as options give it, and with the names resolved in a table. */
#ifndef SUMMARY_PLAN_H
#define SUMMARY_PLAN_H

#include "cli/options.h"
#include "summary/factors.h"
#include "summary/resample.h"

/* What is summarized, as the options of nk-summary give it. All zero: the number of rows. */
struct summary {
  const char *by;           /* "A,B<=5": the factors of the groups */
  struct cli_strings bins;  /* "COLUMN:N" each: factors of which the values are binned */
  struct cli_strings where; /* conditions that rows have to meet, all of them */
  const char *between; /* two groups that are compared: "COLUMN=A,B" or "CONDITION,CONDITION" */
  bool count;          /* statistics, in this order: numbers of rows, */
  struct cli_strings share;    /* conditions, */
  struct cli_strings mean;     /* columns, */
  struct cli_strings median;   /* columns, */
  struct cli_strings quantile; /* "COLUMN:P,P", */
  struct cli_strings auc;      /* columns; they need `between` */
  bool two_sided;              /* an AUC below 0.5 is given as that of the exchanged groups */
  const char *cluster;         /* "A,B+C": the kinds of clusters that are resampled */
  double level;                /* confidence (0: 0.95) */
  size_t n_resamples;          /* (0: 2000) */
  uint64_t seed;
  const struct cli_frame *with; /* a table whose columns are joined by `id`, or NULL */
  /* In place of these statistics (summary/two_samples.h): */
  const char *energy;              /* "A,B": the features of an energy distance; or NULL */
  const struct cli_frame *against; /* the second sample, or NULL: the groups of `between` */
  const char *strata;              /* "A,B": rows are compared within these columns' values */
  /* Or (summary/raters.h): */
  const char *kappa;          /* the column of classes that raters give items; or NULL */
  const char *items, *raters; /* "A+B": the columns that tell items, and raters, apart */
};

struct summary_measure {
  enum summary_statistic statistic;
  char *name;               /* "median kl" */
  double p;                 /* of a quantile */
  struct summary_factor of; /* the column, or the condition of a share */
};

/* The same, resolved: which rows, which groups, which statistics. */
struct summary_plan {
  struct summary_table table;
  struct summary_options options;
  bool two_sided;
  struct summary_factors by, where;
  struct summary_factors between; /* none, or two conditions */
  char *between_name[2];
  struct summary_factors kinds[SUMMARY_MAX_KINDS]; /* of clusters: one factor or several joined */
  char *kind_name[SUMMARY_MAX_KINDS];
  size_t n_kinds;
  struct summary_measure *measure;
  size_t n_measures;
  size_t *row;     /* [n_rows] the rows that are summarized */
  uint8_t *second; /* [n_rows] of which of the two groups each is */
  size_t n_rows;
};

/* Resolves the names and chooses the rows. summary_plan_free is due also after a failure. Returns
 * NK_OK, NK_EUSAGE (an option that cannot be parsed), NK_ENOTFOUND (a column), NK_EDATA (a cell
 * that is not a number) or NK_EMEMORY. */
int summary_plan_make(struct summary_plan *plan, const struct summary *summary,
                      const struct cli_frame *frame);
/* Groups the plan's rows by `by`, in the order in which they are printed, and lists them
 * (summary_groups_rows). Without `by` there is one group, also of a table without rows. */
int summary_plan_group(const struct summary_plan *plan, struct summary_groups *groups);
/* Whether the options name one of the statistics of single columns. */
bool summary_has_statistics(const struct summary *summary);
/* NK_EUSAGE where two items of a list "A,B" of the option are the same. */
int summary_check_differ(const char *option, const char *list);
void summary_plan_free(struct summary_plan *plan);

#endif
