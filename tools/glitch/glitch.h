/* What the files of nk-glitch share: its options, what is ranked, and its tables. */
#ifndef GLITCH_GLITCH_H
#define GLITCH_GLITCH_H

#include <noken/glitch.h>

#include "cli/token_texts.h"
#include "cli/tool.h"

struct glitch_options {
  const char *output_set, *input_set, *unused, *truth, *with;
  bool ablate, summary;
  size_t top;
  double fdr, threshold; /* fdr is NaN without --fdr */
  struct nk_glitch_options how;
};

/* What is ranked, however it came. */
struct glitch_tokens {
  struct glitch_options options;
  struct nk_model *model; /* or the sets: */
  struct nk_vectors *output, *input;
  struct nk_tokenizer *tokenizer; /* may be NULL */
  struct cli_token_texts texts;   /* of a model with a tokenizer, in its ranking */
  struct nk_glitch *glitch;
  enum nk_category *category; /* [n]; NULL for sets */
  int64_t *unused;            /* [n_unused] of sets */
  size_t n_unused;
};

/* ---- Input (input.c) ---- */

/* Reads what t->options and the operand name, and ranks it. NK_OK or a negative code; glitch_free
 * in either case. */
int glitch_open(const struct cli_run *run, struct glitch_tokens *t);
void glitch_free(struct glitch_tokens *t);

/* The ranking by these options, or NULL; *category [n] of a model's tokens, where it is wanted. */
struct nk_glitch *glitch_rank(const struct glitch_tokens *t, const struct nk_glitch_options *how,
                              enum nk_category **category);

/* *frame = the table at path, *row_of [n] its row of each ranked token, -1: none. Both are the
 * caller's, on failure too. NK_OK or a negative code. */
int glitch_read_table(const char *path, const struct glitch_tokens *t, struct cli_frame **frame,
                      int64_t **row_of);

/* ---- Output: NK_OK or a negative code ---- */

/* A row for each token. With a cut, only ranked tokens on its side; without one, all, those ranked
 * apart at the end. */
int glitch_write_ranking(struct glitch_tokens *t, struct cli_table *table);
/* How well the score and each indicator find the tokens with few counts in the table of --truth. */
int glitch_write_evaluation(const struct glitch_tokens *t, struct cli_table *table);
/* The known rows, the ball, the null distribution, the number of tokens reported at the level of
 * --fdr (without it, 0.05), what to conclude. */
int glitch_write_summary(const struct glitch_tokens *t, struct cli_table *table);

#endif
