/* Rows of a summary that tell how well raters agree: summary/kappa.h. */
#ifndef SUMMARY_RATERS_H
#define SUMMARY_RATERS_H

#include <noken/base.h>

#include "cli/table.h"
#include "summary/plan.h"

/* Adds columns to the table and writes two rows for each group of `by`, the agreement and kappa.
 * Returns as summary_write; NK_EDATA where a rater rates an item twice. */
int summary_write_kappa(const struct summary *summary, const struct cli_frame *frame,
                        struct cli_table *table);

#endif
