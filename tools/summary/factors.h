/* What the rows of a table are divided by: the cells of a column, bins of its numbers, or whether a
 * condition holds. */
#ifndef SUMMARY_FACTORS_H
#define SUMMARY_FACTORS_H

#include <noken/base.h>

#include "cli/condition.h"
#include "cli/frame.h"
#include "cli/names.h"

/* A table, and optionally the columns of another one that is joined to it by the column `id`. */
struct summary_table {
  const struct cli_frame *frame;
  const struct cli_frame *with; /* or NULL */
  int64_t *row_of;              /* [n_rows] the row of `with`; -1: none, its cells are missing */
};

struct summary_column {
  size_t index;
  bool joined; /* a column of `with` */
};

/* Finds a column; the table's own come first. NK_ENOTFOUND lists those that there are. */
int summary_find(const struct summary_table *table, const char *name,
                 struct summary_column *column);
const char *summary_cell(const struct summary_table *table, struct summary_column column,
                         size_t row);
/* The cell's number. NK_ENOTFOUND where it is missing or NaN, NK_EDATA where it is a text. */
int summary_number(const struct summary_table *table, struct summary_column column, size_t row,
                   double *out);

struct summary_factor {
  char *name; /* the heading of its column */
  struct summary_column column;
  struct cli_condition condition; /* its column is NULL: no condition */
  size_t n_bins;                  /* 0: none */
  double *edge;                   /* [n_bins - 1] between bins: a value on an edge is above it */
  char **label;                   /* [n_bins] the median of the bin */
};

struct summary_factors {
  struct summary_factor *item;
  size_t n;
};

/* Adds the factors of a list "A,B<=5,C", whose items are separated by `separator`. */
int summary_factors_add(struct summary_factors *factors, const char *list, char separator,
                        const struct summary_table *table);
void summary_factors_free(struct summary_factors *factors);
/* Parses "COLUMN:N" and divides the factor of this column, which is added where the factors do not
 * have it, into at most N bins with equal numbers of rows; rows [n]. */
int summary_factors_bin(struct summary_factors *factors, const char *text,
                        const struct summary_table *table, const size_t *rows, size_t n);
/* The text that a row has for a factor; "" where it is missing. A condition gives 1 or 0. */
const char *summary_factor_cell(const struct summary_factor *factor,
                                const struct summary_table *table, size_t row);
/* *index = the place among `names` of the texts that the row has for all factors, which are added
 * where they are new. */
int summary_factors_key(const struct summary_factors *factors, const struct summary_table *table,
                        size_t row, struct cli_names *names, size_t *index);
/* Whether a row meets a factor that is a condition; a column alone is one too. */
bool summary_factor_holds(const struct summary_factor *factor, const struct summary_table *table,
                          size_t row);

/* Rows by the texts that they have for some factors. */
struct summary_groups {
  size_t n;
  uint32_t *of;  /* [n_rows] the group of each of the rows that were given */
  size_t *first; /* [n] the first row of each group */
  /* The rows of group g, in their order: order[begin[g]] to before order[begin[g + 1]], of the
   * n_rows that were given. NULL before summary_groups_rows. */
  size_t *order, *begin;
};

/* Groups rows [n], in order of first appearance. Without factors there is one group. */
int summary_group(const struct summary_table *table, const struct summary_factors *factors,
                  const size_t *rows, size_t n, struct summary_groups *groups);
/* Renumbers the groups: by the first factor, then the next; numbers ascend, texts keep the order of
 * their first appearance. of [n] is that of summary_group. */
int summary_groups_sort(const struct summary_table *table, const struct summary_factors *factors,
                        struct summary_groups *groups, size_t n);
/* Lists the rows of each group, of the n that were given. */
int summary_groups_rows(struct summary_groups *groups, size_t n);
void summary_groups_free(struct summary_groups *groups);

#endif
