/* What the final norm and the unembedding read out of the residual stream at earlier layers (the
 * logit lens), or out of a linear map of it (tuned lenses and their kin): nk-run --lens. */
#ifndef CLI_LENS_H
#define CLI_LENS_H

#include <noken/probe.h>
#include <noken/vectors.h>

#include "cli/behaviour_table.h"
#include "cli/options.h"

struct cli_lens {
  size_t *layers; /* [n_layers] in the order given */
  size_t n_layers;
  struct nk_vectors **maps; /* [n_layers], or NULL: the streams as they are */
  size_t n_top;             /* tokens printed of each distribution */
  size_t offsets[2];        /* where a probe reads, unless told otherwise: the slot, the end */
};

/* Parses the layers, "0-12", and reads the files of maps, one for each: x becomes W x + b. A file
 * is a vector set whose row i is row i of W [dim, dim], with b, where there is one, in the column
 * `bias`: so are the weight and bias of a linear layer in safetensors. Returns NK_OK or a negative
 * code; free with cli_lens_free in either case. */
int cli_lens_read(const char *layers, const struct cli_strings *files, size_t n_top,
                  const struct nk_forward_shape *shape, struct cli_lens *lens);
void cli_lens_free(struct cli_lens *lens);

/* The columns; then the rows of some of what->items in a probe of this prompt, whose vectors go in
 * at layer `at`: by item, by the probe's offsets, by layer. Return NK_OK or a negative code. */
int cli_lens_head(const struct cli_lens *lens, const struct cli_behaviour_table *what,
                  struct cli_table *table);
struct cli_lens_probe {
  struct nk_model *model;
  struct nk_probe *probe;
  const struct cli_prompt *prompt;
  size_t at;
  size_t first, n; /* items */
};
int cli_lens_rows(const struct cli_lens *lens, const struct cli_behaviour_table *what,
                  const struct cli_lens_probe *probe, struct cli_table *table);

#endif
