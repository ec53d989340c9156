/* Residual streams that probes read, as one vector set: nk-run --capture. */
#ifndef CLI_CAPTURE_H
#define CLI_CAPTURE_H

#include <noken/probe.h>
#include <noken/vectors.h>

#include "cli/lists.h"
#include "cli/shard.h"

/* What is read of each item in each prompt. */
struct cli_capture {
  size_t *layers; /* [n_layers] ascending, each once */
  size_t n_layers;
  size_t *offsets; /* [n_offsets] from the slot on; NK_PROMPT_END: the prompt's end */
  size_t n_offsets;
};

/* Parses "LAYERS" (the slot) or "LAYERS:OFFSETS", such as "0-12:0,1,end": `most` is the model's
 * last layer. NK_OK or a negative code; free with cli_capture_free in either case. */
int cli_capture_parse(const char *text, size_t most, struct cli_capture *capture);
void cli_capture_free(struct cli_capture *capture);

/* Runs the shard's items through the probes [prompts->n], which read capture->offsets: one pass
 * each. The rows are those of the first prompt, then of the second, and so on; within a prompt by
 * item, offset and layer. The set has the items' ids, texts and columns, and columns of its own:
 * `prompt`, the prompt's number from 0, whose names noken.prompts lists in the metadata as a JSON
 * array, `layer` and `offset`. A column of the items' set with such a name becomes set_NAME. NULL
 * on failure. */
struct nk_vectors *cli_capture_run(const struct cli_capture *capture, struct nk_model *model,
                                   struct nk_probe *const *probes,
                                   const struct cli_prompts *prompts, const struct nk_items *items,
                                   const struct cli_shard *shard);

#endif
