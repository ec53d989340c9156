/* Objectives on the command line: what a vector in the slots of prompts is to do. */
#ifndef CLI_OBJECTIVE_H
#define CLI_OBJECTIVE_H

#include <noken/search.h>

#include "cli/tool.h"

/* The options, zero without them; then what cli_objective_open makes of them. */
struct cli_objective {
  struct cli_strings texts, tables;            /* of --prompt and --prompts */
  const char *maximize, *minimize, *at, *chat; /* chat: see cli_chat_prompts */
  struct nk_probe_options probe;               /* of all probes: mode and position */
  struct cli_placed {                          /* the region and the origins, or NULL: see */
    const char *name;                          /*   cli_own_layer; without --at the layer is the */
    const struct nk_vectors *set;              /*   first one's own */
  } placed[2];

  struct nk_objective_options options;
  struct cli_prompts prompts;
  struct nk_probe **probes; /* [options.n_probes] */
  int64_t *ids;             /* [options.n_ids] */
  int64_t *ordinary;        /* [probe.n_reference_ids] */
};

/* Rows of a tool's array of options, for the struct cli_objective at o. */
/* clang-format off */
#define CLI_OBJECTIVE_OPTIONS(o)                                                \
  {'p', "prompt", CLI_OPTION_LIST, &(o)->texts, "TEXT",                         \
   "a prompt with slots {}; repeatable"},                                       \
  {0, "prompts", CLI_OPTION_LIST, &(o)->tables, "FILE",                         \
   "a table of prompts (prompt, text)"},                                        \
  {0, "maximize", CLI_OPTION_STRING, &(o)->maximize, "WHAT",                    \
   "kl (default), entropy, token:TEXT, ids:LIST, text:TEXT or flag:FILE"},      \
  {0, "minimize", CLI_OPTION_STRING, &(o)->minimize, "WHAT",                    \
   "the same, made small"},                                                     \
  {0, "at", CLI_OPTION_STRING, &(o)->at, "L", "put vectors in at this layer (0)"}
/* clang-format on */

/* Whether one of these options, or --chat, is given. */
bool cli_objective_given(const struct cli_objective *o);

/* Reads the prompts and what is made large, and makes the probes; those of a divergence compare
 * with the ordinary tokens that nk-run draws with the same seed. Returns NK_OK or a negative code,
 * for a model of NULL that of the failed call that gave it; free in either case. */
int cli_objective_open(const struct cli_run *run, struct nk_model *model, struct cli_objective *o);
/* nk_sample_options.gradient, of the struct cli_objective at `objective`, which is open. */
int cli_objective_gradient(void *objective, const float *origins, size_t n, float *out);
/* The options' lists as well. */
void cli_objective_free(struct cli_objective *o);

#endif
