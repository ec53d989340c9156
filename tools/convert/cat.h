/* Vector sets one after another: nk-convert --cat. */
#ifndef CONVERT_CAT_H
#define CONVERT_CAT_H

#include "cli/tool.h"

/* Writes a set of the rows of all sets that are the run's operands, in their order, with their ids,
 * texts and columns. The sets have the same dimension and the same columns, of the same types and
 * words, or NK_EDATA names the difference. The histories are joined; other metadata are the first
 * set's. NK_OK or a negative code. */
int convert_cat(const struct cli_run *run);

#endif
