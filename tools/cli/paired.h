/* What the vectors of a set change in contexts, as a table: nk-run --paired. */
#ifndef CLI_PAIRED_H
#define CLI_PAIRED_H

#include <noken/probe.h>
#include <noken/vectors.h>

#include "cli/shard.h"
#include "cli/tool.h"

struct cli_paired {
  struct nk_model *model;
  const struct nk_vectors *set;
  const char *name;     /* of the set, for messages */
  const char *contexts; /* the file of contexts, where the set's columns say where each row goes */
  const struct cli_prompts *prompts; /* without it: all rows go to the slots of each of these */
  bool at_position;                  /* instead of the column, or the slots: */
  int64_t position;                  /*   negative from the end */
  bool at;                           /* instead of the column (true with prompts): */
  const size_t *layers;              /*   [n_layers] one after the other */
  size_t n_layers;
  enum nk_override_mode mode;
  const float *fill;   /* [dim] or NULL: see nk_perturb_options */
  bool read_place;     /* answers are read at the place, not at the context's end */
  const size_t *norms; /* [n_norms] layers: a column relative_L each */
  size_t n_norms;
  struct cli_shard shard; /* of the scans of all rows, one for each prompt and layer */
};

/* Prints the table, the rows in the set's order for each prompt and layer. The baselines of as many
 * places as fit in 256 MiB are in memory at a time. Returns NK_OK or a negative code. */
int cli_paired_print(const struct cli_paired *paired, const struct cli_run *run);

#endif
