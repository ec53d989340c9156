/* What tools that run a model in prompts are given: prompts, tokens and vectors, and the probes. */
#ifndef CLI_PROBES_H
#define CLI_PROBES_H

#include "cli/tool.h"

/* The prompts of -p and --prompts, in the format of --chat; without any of them a usage error. */
int cli_open_prompts(const struct cli_run *run, const struct cli_strings *texts,
                     const struct cli_strings *tables, const char *chat, struct nk_model *model,
                     struct cli_prompts *prompts);

/* NK_OK, or NK_EDATA where the vectors of the file `name` do not have the model's width. */
int cli_check_dim(const char *name, size_t dim, const struct nk_forward_shape *shape);

/* The items of --ids, --ids-from and the operand SET, which is standard input where none of them is
 * given. Free with cli_items_free in either case. */
struct cli_items {
  int64_t *tokens;        /* [all.n_tokens] */
  struct nk_vectors *set; /* or NULL */
  struct nk_items all;
  size_t n;
};
int cli_read_items(const struct cli_run *run, const char *ids, const char *ids_from, bool skip_bad,
                   const struct nk_forward_shape *shape, struct cli_items *items);
void cli_items_free(struct cli_items *items);

/* *probes [prompts->n, n_layers] = one for each prompt and layer, with what all have in common.
 * Free with cli_probes_free in either case. */
int cli_new_probes(struct nk_model *model, const struct cli_prompts *prompts, const size_t *layers,
                   size_t n_layers, const struct nk_probe_options *common,
                   struct nk_probe ***probes);
/* Frees probes [n] and their array, and sets it to NULL. */
void cli_probes_free(struct nk_probe ***probes, size_t n);

#endif
