/* How often generations match each flag, by prompt, direction and distance: nk-run --flag-summary.
 */
#ifndef CLI_FLAG_SUMMARY_H
#define CLI_FLAG_SUMMARY_H

#include <noken/probe.h>

#include "cli/behaviour_table.h"
#include "cli/table.h"

/* Flags one by one, so that those without a match are counted too. */
struct cli_flag_summary {
  char **names;            /* [n] as cells of a table */
  struct nk_flags **flags; /* [n] */
  size_t n;
};

/* Reads a table as cli_read_flags does. Returns NK_OK or a negative code; free with
 * cli_flag_summary_free in either case. */
int cli_flag_summary_read(const char *path, struct cli_flag_summary *summary);
void cli_flag_summary_free(struct cli_flag_summary *summary);

/* The columns: flag, prompt, at (where what->at), direction and distance (where the items' set has
 * them), n, flagged, share, low, high. Then the rows of one probe (the ids and lengths
 * of result): a row for each flag and group of items. The tokens are a group, without direction and
 * distance; others are in the order of their first items. low and high are the ends of Wilson's 95%
 * interval. Return NK_OK or a negative code. */
int cli_flag_summary_head(const struct cli_behaviour_table *what, struct cli_table *table);
int cli_flag_summary_rows(const struct cli_flag_summary *summary,
                          const struct cli_behaviour_table *what,
                          const struct cli_behaviour_result *result, struct cli_table *table);

#endif
