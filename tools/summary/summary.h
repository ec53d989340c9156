/* Summaries of a table: shares, means, medians, quantiles and AUCs of groups of rows, with
 * confidence intervals. The parts: plan.h (what is summarized), factors.h (groups of rows),
 * intervals.h (independent rows), resample.h (clustered rows). */
#ifndef SUMMARY_SUMMARY_H
#define SUMMARY_SUMMARY_H

#include <noken/base.h>

#include "cli/table.h"
#include "summary/plan.h"

/* Adds columns to the table and writes a row for each group and statistic. Returns NK_OK, NK_EUSAGE
 * (an option that cannot be parsed), NK_ENOTFOUND (a column), NK_EDATA (a cell that is not a
 * number), NK_EMEMORY, or the code of a failed write. */
int summary_write(const struct summary *summary, const struct cli_frame *frame,
                  struct cli_table *table);

#endif
