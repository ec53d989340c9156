/* What the files of nk-verify share: its options, what is verified, and what is found. */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include <math.h>

#include "cli/chat.h"
#include "cli/engine.h"
#include "cli/shard.h"
#include "cli/tool.h"
#include "summary/intervals.h"

#define VERIFY_NOT_GIVEN SIZE_MAX   /* a number of an option */
#define VERIFY_NO_LEVEL (-INFINITY) /* the same of --level */

struct verify_options {
  bool all, text;
  const char *prompts, *chat, *shard;
  struct cli_strings texts;
  size_t steps, controls, repeats;
  double temperature; /* of --repeats */
  bool summary, agree;
  double level; /* of the q-values of --agree */
  const char *truth;
  struct cli_engine engine;
};

/* Tokens or texts: those of a table's rows, in their order, then controls that were drawn; or the
 * whole vocabulary. */
struct verify_job {
  const struct cli_run *run;
  struct verify_options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  const struct nk_tokenizer *tokenizer;
  struct cli_shard shard;
  struct cli_prompts prompts;   /* none: the library's */
  struct cli_frame *frame;      /* the table, NULL with --all */
  bool *number;                 /* [its columns] whether they are of numbers */
  enum nk_category *categories; /* [vocabulary] where drawn tokens or --all need it, else NULL */
  size_t n;
  int64_t *ids;                  /* [n]; NULL with --text */
  struct nk_text *texts;         /* [n] with --text, else NULL */
  struct nk_buffer bytes, drawn; /* of the table's texts, of drawn ones */
  bool *control;                 /* [n] ordinary tokens or texts to compare with; NULL: none */
  bool known;                    /* with --agree: the table has what would be found */
  struct nk_verification found;  /* arrays [n] */
};

static inline size_t verify_n_prompts(const struct verify_job *job) {
  return job->prompts.n == 0 ? NK_VERIFY_PROMPTS : job->prompts.n;
}

/* ---- Input (input.c): NK_OK or a negative code ---- */

/* Opens the model, after a check of which options go together, and reads what is verified. */
int verify_open(struct verify_job *job);
/* Allocates job->found. */
int verify_make_room(struct verify_job *job);
void verify_free(struct verify_job *job);

/* ---- Controls (controls.c) ---- */

/* Appends the controls of --controls. NK_OK or a negative code. */
int verify_add_controls(struct verify_job *job);

/* ---- Output (table.c): NK_OK or a negative code ---- */

/* A row for each token or text of the shard: the table's columns, or id, text and category, then
 * what was found, in place of the table's columns of these names. A drawn control has cells in id,
 * text and category only. */
int verify_write_rows(const struct verify_job *v, struct cli_table *table);
/* The parts of such a table: its columns; the cells of item i, before cli_table_end_row. */
int verify_name_columns(const struct verify_job *v, struct cli_table *table);
void verify_write_cells(const struct verify_job *v, size_t i, struct cli_table *table);
/* The verdicts of listed ones and of controls, the share that is verified with its interval, and
 * the difference; then those that text never gives in their place, which the first rows leave out.
 * Needs controls. */
int verify_write_summary(const struct verify_job *v, struct cli_table *table);
/* Whether text gives item i: a token in some prompt's slots; a text, where it has tokens. */
bool verify_is_encoded(const struct verify_job *job, size_t i);
/* The cells of a value and of the ends of its interval. */
void verify_write_interval(const struct summary_interval *interval, struct cli_table *table);
/* The cell of the column `command`: the command line that makes the table again. */
void verify_write_command(const struct verify_job *v, struct cli_table *table);
/* The rows on which the column q_value and the verdicts disagree; or, with --summary, how many
 * there are of each kind, and kappa (agree.c). */
int verify_write_agreement(const struct verify_job *job, struct cli_table *table);
/* The verdicts by the counts in the table of --truth; without a table of candidates, of the tokens
 * that text can give. */
int verify_write_counts(const struct verify_job *v, struct cli_table *table);

#endif
