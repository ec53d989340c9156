/* What the files of nk-region share: its options, and its commands. */
#ifndef REGION_REGION_H
#define REGION_REGION_H

#include "cli/region_scores.h"
#include "cli/tool.h"

/* Of --subspace: 0 components is not what the option can mean. */
#define REGION_NOT_GIVEN SIZE_MAX

struct region_options {
  int kind, metric, tokens;
  size_t k, n_components, points, n_permutations;
  const char *components, *with, *by;
  struct cli_strings exclude;
  double level;
  struct cli_guarantees guarantees;
  bool include_all, skip_bad, all;
};

/* Writes the region of a set, or one for each group of its rows. NK_OK or a negative code. */
int region_fit(const struct cli_run *run, const struct region_options *o);

/* ---- Commands that write a table: NK_OK or a negative code ---- */

/* The scores of a set's rows, by the regions that the operands name. */
int region_score(const struct cli_run *run, const struct region_options *o,
                 struct cli_table *table);
/* Whether a set as a whole is like the tokens of the region. */
int region_test(const struct cli_run *run, const struct region_options *o,
                const struct nk_region *region, struct cli_table *table);
/* The properties of a region. */
int region_info(const struct region_options *o, const struct nk_region *region,
                struct cli_table *table);
/* Points on an ellipse in two components of a region. */
int region_ellipse(const struct region_options *o, struct nk_region *region,
                   struct cli_table *table);

#endif
