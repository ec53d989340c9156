/* Rows of a summary that compare two samples by several features together: summary/energy.h. */
#ifndef SUMMARY_TWO_SAMPLES_H
#define SUMMARY_TWO_SAMPLES_H

#include <noken/base.h>

#include "cli/table.h"
#include "summary/plan.h"

/* Adds columns to the table and writes a row for each group of `by`: its rows, or those of the
 * first of two groups, against all rows of another table or those of the second. A row that lacks a
 * feature is left out. Returns as summary_write; NK_EDATA where a cluster is in both samples. */
int summary_write_energy(const struct summary *summary, const struct cli_frame *frame,
                         struct cli_table *table);

#endif
