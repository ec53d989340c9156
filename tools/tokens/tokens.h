/* What the files of nk-tokens share: its options, and the parts that stand in files of their own. */
#ifndef TOKENS_TOKENS_H
#define TOKENS_TOKENS_H

#include "cli/tool.h"

struct tokens_options {
  const char *encode; /* a text, or "-": lines of standard input */
  const char *decode; /* a list of ids, or "-": a table on standard input */
  bool no_special;
  bool plain;
  bool summary;
};

struct tokens_job {
  const struct cli_run *run;
  const struct tokens_options *options;
  const struct nk_tokenizer *tokenizer;
};

/* Prints the table of the vocabulary (vocabulary.c). NK_OK or a negative code. */
int tokens_vocabulary(const struct tokens_job *job, struct cli_table *table);

#endif
