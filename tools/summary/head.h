/* What the tables of a summary share: their columns, those of --by first, and a warning. */
#ifndef SUMMARY_HEAD_H
#define SUMMARY_HEAD_H

#include "cli/names.h"
#include "cli/table.h"
#include "summary/factors.h"
#include "summary/intervals.h"

/* Adds a name to those of columns, after as many times "set_" as make it unlike them. */
int summary_add_name(struct cli_names *names, const char *format, const char *name);
/* Adds the columns to the table. Those of `names`, the summary's own, come after those of `by`, but
 * have their names in any case. */
int summary_write_head(struct cli_names *names, const struct summary_factors *by,
                       struct cli_table *table);

/* The cells of the columns value, low, high, level and interval; the method is missing where there
 * is no interval. */
void summary_write_interval(struct cli_table *table, const struct summary_interval *interval,
                            double level, const char *method);

/* Warns where `fewest`, the least number of clusters of a kind ("id") in a group, is so small that
 * intervals suffer; 0: no group has rows. */
void summary_warn_of_few(size_t fewest, const char *kind);

#endif
