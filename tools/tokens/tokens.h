/* What the files of nk-tokens share: its options, and the parts that have files of their own. */
#ifndef TOKENS_TOKENS_H
#define TOKENS_TOKENS_H

#include "cli/tool.h"

struct tokens_options {
  const char *encode; /* a text, or "-": lines of standard input */
  const char *decode; /* a list of ids, or "-": a table on standard input */
  bool no_special;
  bool plain;
  bool summary;
  bool texts;
  const char *prune;         /* a table of tokens */
  struct cli_strings checks; /* files of texts that --prune has to encode as before */
  const char *scan;          /* a file, or "-": its lines are searched for ... */
  const char *with;          /* ... the tokens of this table */
  const char *field;         /* of JSON Lines, or NULL */
};

struct tokens_job {
  const struct cli_run *run;
  const struct tokens_options *options;
  const struct nk_tokenizer *tokenizer;
};

/* *n = the ids of the vocabulary, or the rows of the model's input matrix where it has more
 * (listed.c). NK_OK or a negative code. */
int tokens_count_ids(const struct tokens_job *job, size_t *n);
/* The place of the first byte that is not valid UTF-8; n where all are. */
size_t tokens_first_invalid(const char *bytes, size_t n);

/* Writes the cells of an id and its token's text, empty where it has none. */
void tokens_write_token(const struct tokens_job *job, int64_t id, struct cli_table *table);

/* The ids of a table of tokens, ids [n] for nk_free; *n_ids as tokens_count_ids gives it. An id
 * past these is an error (listed.c). */
int tokens_read_listed(const struct tokens_job *job, const char *path, int64_t **ids, size_t *n,
                       size_t *n_ids);

/* Prints the table of the vocabulary (vocabulary.c). NK_OK or a negative code. */
int tokens_vocabulary(const struct tokens_job *job, struct cli_table *table);

/* Which other options --prune goes with (prune.c). */
int tokens_prune_check(const struct cli_run *run, const struct tokens_options *o);
/* Writes the pruned tokenizer.json to the file of -o, and what became of each token as a table to
 * standard output. */
int tokens_prune(const struct tokens_job *job);
/* Which other options --scan goes with (scan.c). */
int tokens_scan_check(const struct tokens_options *o);
/* Prints which lines of a file give listed tokens, or counts them. NK_OK or a negative code. */
int tokens_scan(const struct tokens_job *job, struct cli_table *table);

#endif
