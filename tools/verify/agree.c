/* Weights against behaviour: tokens that the column q_value lists (nk-glitch), and those that the
 * model does not repeat. */
#include <math.h>

#include "verify/verify.h"

/* By which of the two a token is listed: weights * 2 + behaviour. */
enum { BEHAVIOUR = 1, WEIGHTS = 2, N_CELLS = 4 };
static const char *const cell_names[N_CELLS] = {"neither", "behaviour only", "weights only",
                                                "both"};

/* cell [n] = the cell of each row, -1: no q_value, or text never gives the token. */
static int find_cells(const struct verify_job *job, int *cell) {
  int64_t column = cli_frame_column(job->frame, "q_value");
  int code = column < 0 ? (int)column : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    double q;
    code = cli_frame_number(job->frame, i, (size_t)column, &q);
    bool behaviour = nk_verdict_of(job->found.max_prob[i]) <= NK_WEAKLY_VERIFIED;
    cell[i] = -1;
    if (code == NK_OK && verify_is_encoded(job, i))
      cell[i] = (q <= job->options.level ? WEIGHTS : 0) + (behaviour ? BEHAVIOUR : 0);
    if (code == NK_ENOTFOUND) code = NK_OK;
  }
  return code;
}

/* The rows of both kinds of disagreement. */
static int write_rows(const struct verify_job *job, const int *cell, struct cli_table *table) {
  int code = verify_name_columns(job, table);
  if (code == NK_OK) code = cli_table_column(table, "cell");
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    if (cell[i] != BEHAVIOUR && cell[i] != WEIGHTS) continue;
    verify_write_cells(job, i, table);
    cli_table_string(table, cell_names[cell[i]]);
    code = cli_table_end_row(table);
  }
  return code;
}

static const double LEVEL = 0.95; /* of intervals */

/* method is the name of how the interval was made, "" where there is none. */
static int write_row(const struct verify_job *job, const char *name, size_t n,
                     struct summary_interval value, const char *method, struct cli_table *table) {
  cli_table_string(table, name);
  cli_table_integer(table, (int64_t)n);
  verify_write_interval(&value, table);
  cli_table_number(table, method[0] != 0 ? LEVEL : NAN);
  cli_table_string(table, method);
  verify_write_command(job, table);
  return cli_table_end_row(table);
}

static int write_summary(const struct verify_job *job, const int *cell, struct cli_table *table) {
  static const char *const columns[] = {"cell", "tokens", "value",    "low",
                                        "high", "level",  "interval", "command"};
  const struct summary_interval none = {NAN, NAN, NAN};
  size_t counts[2][2] = {{0}}, n = 0;
  int code = NK_OK;
  for (size_t i = 0; i < sizeof columns / sizeof columns[0] && code == NK_OK; i++)
    code = cli_table_column(table, columns[i]);
  for (size_t i = 0; i < job->n; i++) {
    if (cell[i] < 0) continue;
    counts[cell[i] / 2][cell[i] % 2]++;
    n++;
  }
  for (int c = N_CELLS - 1; c >= 0 && code == NK_OK; c--)
    code = write_row(job, cell_names[c], counts[c / 2][c % 2],
                     summary_share_of(counts[c / 2][c % 2], n, LEVEL), "Wilson", table);
  if (code == NK_OK)
    code = write_row(job, "agreement", n, summary_share_of(counts[0][0] + counts[1][1], n, LEVEL),
                     "Wilson", table);
  if (code == NK_OK)
    code = write_row(job, "kappa", n, summary_kappa(counts, LEVEL), "Fleiss-Cohen-Everitt", table);
  if (code == NK_OK) code = write_row(job, "not compared", job->n - n, none, "", table);
  return code;
}

int verify_write_agreement(const struct verify_job *job, struct cli_table *table) {
  int *cell = nk_alloc(job->n, sizeof *cell);
  int code = cell == NULL ? NK_EMEMORY : find_cells(job, cell);
  if (code == NK_OK)
    code = job->options.summary ? write_summary(job, cell, table) : write_rows(job, cell, table);
  nk_free(cell);
  return code;
}
