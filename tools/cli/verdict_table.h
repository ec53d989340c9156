/* Verdicts as the tables that nk-verify prints. */
#ifndef CLI_VERDICT_TABLE_H
#define CLI_VERDICT_TABLE_H

#include <noken/probe.h>

#include "cli/frame.h"
#include "cli/table.h"

/* Verified tokens: those of a table's rows, in their order, then controls that were drawn; or the
 * whole vocabulary. Arrays [n]. */
struct cli_verdicts {
  const struct nk_tokenizer *tokenizer;
  const struct cli_frame *frame;      /* the table, or NULL */
  const enum nk_category *categories; /* of all ids; NULL where no row needs it */
  size_t n;
  const int64_t *ids;
  const double *max_prob;
  const size_t *encoded; /* prompts whose text gives the token in its place */
  const bool *control;   /* ordinary tokens to compare with; NULL: no column */
};

/* A row for each token: the table's columns, or id, text and category, then control (where it is
 * not NULL), encoded, max_prob and verdict, in place of the table's columns of these names. A drawn
 * control has cells in id, text and category only. NK_OK or a negative code. */
int cli_verdict_rows(const struct cli_verdicts *verdicts, struct cli_table *table);

/* The verdicts of listed tokens and of controls, the share that is verified with its interval, and
 * the difference; then those of tokens that text never gives in their place, which the first rows
 * leave out. `control` is not NULL. */
int cli_verdict_summary(const struct cli_verdicts *verdicts, struct cli_table *table);

/* The verdicts by counts [n]; -1: the token is left out, and without a table every token that text
 * cannot give. */
int cli_verdict_counts(const struct cli_verdicts *verdicts, const int64_t *counts,
                       struct cli_table *table);

#endif
