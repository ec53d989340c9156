/* nk-tune's steps, checkpoints, table and folder. */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/model_folder.h"
#include "tune/tune.h"

enum { SECONDS = 60 }; /* between two checkpoints */

static int save(const struct tune_job *job, const struct nk_tune *tune) {
  struct nk_output *output = nk_output_open(job->checkpoint, NK_OUTPUT_BINARY);
  int code = output == NULL ? nk_error_code() : nk_tune_save(tune, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  return code;
}

/* Without --checkpoint a checkpoint is written each minute: a run does not depend on where they
 * are. */
static int take_steps(const struct tune_job *job, struct nk_tune *tune) {
  size_t every = job->options.checkpoint;
  time_t last = time(NULL);
  bool done = false;
  int code = NK_OK;
  for (size_t step = 1; code == NK_OK; step++) {
    code = nk_tune_step(tune, &done);
    if (code != NK_OK || done) break;
    bool due = every != TUNE_NOT_GIVEN ? step % every == 0 : time(NULL) - last >= SECONDS;
    if (!due) continue;
    code = save(job, tune);
    last = time(NULL);
  }
  return code;
}

static int write_table(const struct tune_job *job, const struct nk_tune *tune,
                       struct nk_output *output) {
  size_t n;
  const struct nk_tune_row *rows = nk_tune_rows(tune, &n);
  struct cli_table *table = cli_new_table(job->run, output);
  int code = table == NULL ? nk_error_code() : NK_OK;
  for (size_t c = 0; c < NK_TUNE_COLUMNS && code == NK_OK; c++)
    code = cli_table_column(table, nk_tune_columns[c]);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    for (size_t c = 0; c < NK_TUNE_COLUMNS; c++)
      cli_table_number(table, ((const double *)&rows[i])[c]);
    code = cli_table_end_row(table);
  }
  if (code == NK_OK) return cli_table_finish(table);
  cli_table_free(table);
  return code;
}

int tune_run(struct tune_job *job) {
  struct nk_output *output = nk_output_open(job->options.log, NK_OUTPUT_TEXT);
  if (output == NULL) return nk_error_code();
  struct nk_tune *tune = nk_tune_new(job->model, &job->tune);
  int code = tune == NULL ? nk_error_code() : take_steps(job, tune);
  if (code == NK_OK) code = save(job, tune); /* kept where the table or folder cannot be written */
  if (code == NK_OK) code = write_table(job, tune, output);
  if (code == NK_OK) code = nk_output_commit(output);
  const struct nk_model_write_options options = {.format = NK_MODEL_SAFETENSORS};
  if (code == NK_OK) code = cli_write_model_folder(job->model, &options, job->run->common.output);
  if (code == NK_OK) unlink(job->checkpoint);
  nk_tune_free(tune);
  nk_output_free(output);
  return code;
}
