/* What a ranking of a vocabulary rests on, as a table. */
#ifndef CLI_GLITCH_SUMMARY_H
#define CLI_GLITCH_SUMMARY_H

#include <noken/glitch.h>

#include "cli/table.h"

/* The rows of nk-glitch --summary: the known rows, the ball, the null distribution, the number of
 * tokens reported at the level fdr (negative: 0.05), what to conclude. NK_OK or a negative code. */
int cli_glitch_summary(const struct nk_glitch *glitch, double fdr, struct cli_table *table);

#endif
