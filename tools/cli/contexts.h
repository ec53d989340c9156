/* Contexts from a file of text, a line each: nk-run --contexts. */
#ifndef CLI_CONTEXTS_H
#define CLI_CONTEXTS_H

#include <noken/probe.h>
#include <noken/vectors.h>

#include "cli/shard.h"

/* Start from `struct cli_contexts c = {0};`, end with cli_contexts_free. */
struct cli_contexts {
  char *name;               /* of the file or the prompt, for messages */
  struct nk_sequence *item; /* [n] a line each; an empty line has no tokens */
  size_t n;
  bool of_prompt; /* the only one is a prompt, not a line of a file */
  size_t n_begin; /* tokens that the model begins with, in each */
};

/* Reads the lines of a file ("-": standard input), each encoded as a prompt without slots. Empty
 * lines keep their numbers and are named in a warning. NK_EDATA for a line that is not valid UTF-8
 * or longer than the model's context, and for a file without text. */
int cli_contexts_read(struct nk_model *model, const char *path, struct cli_contexts *contexts);
/* The same from one prompt with slots {}. */
int cli_contexts_of_prompt(struct nk_model *model, const char *name, const char *text,
                           struct cli_contexts *contexts);
void cli_contexts_free(struct cli_contexts *contexts);

/* *position = `at`, counted from the context's end where it is negative. NK_EDATA, naming the line,
 * or NK_EUSAGE, naming the prompt, where there is no such position. */
int cli_contexts_position(const struct cli_contexts *contexts, size_t context, int64_t at,
                          size_t *position);

/* Which states are captured. */
struct cli_states {
  const struct cli_contexts *contexts;
  const size_t *layers; /* [n_layers] ascending */
  size_t n_layers;
  size_t every;     /* each so many tokens after those of the beginning; 0: at `position` */
  int64_t position; /* negative: from the end */
  struct cli_shard shard;
};

/* The residual streams as a set, by context, position and layer; those of a shard are in the
 * batches of contexts that the whole has: ids and texts are those of the tokens there; columns
 * context (the line, from 0), position, token, layer; noken.space, noken.model, noken.contexts.
 * NULL on failure. */
struct nk_vectors *cli_states_capture(const struct cli_states *states, struct nk_model *model);

#endif
