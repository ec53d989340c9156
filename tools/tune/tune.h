/* What the files of nk-tune share. */
#ifndef TUNE_TUNE_H
#define TUNE_TUNE_H

#include <noken/tune.h>

#include "cli/tool.h"

#define TUNE_NOT_GIVEN SIZE_MAX

enum { TUNE_NO_METRIC = -1 };

struct tune_options {
  struct cli_strings texts, prompts; /* of -p and --prompts */
  const char *nokens, *text, *train, *target, *log, *region, *chat;
  size_t at, steps, batch, evaluate, checkpoint, search;
  double rate, decay, weight, hold_out;
  int mode, metric;
};

struct tune_job {
  const struct cli_run *run;
  struct tune_options options;
  struct nk_model *model;
  struct nk_vectors *nokens;
  struct nk_region *region; /* or NULL */
  struct cli_prompts prompts;
  const char **prompt_texts; /* [prompts.n] */
  struct nk_file *file;      /* of --text */
  struct nk_text *lines;     /* [tune.n_texts] */
  int64_t target;
  struct nk_tune_options tune;
  char *checkpoint; /* FOLDER.checkpoint */
};

/* Reads what the options name. NK_OK or a negative code; tune_free in either case. */
int tune_read(struct tune_job *job);
void tune_free(struct tune_job *job);

/* Trains, from the checkpoint where there is one, and writes the table and the folder. */
int tune_run(struct tune_job *job);

#endif
