/* The ranking and its indicators against the counts in the table of --truth. */
#include <math.h>
#include <string.h>

#include "glitch/glitch.h"

/* judged [n], count [n], steps [n] from the table; ranked tokens are judged. */
static int read_truth(const struct glitch_tokens *t, bool *judged, double *count, double *steps) {
  struct cli_frame *frame = NULL;
  int64_t *row_of = NULL, count_column = -1, steps_column = -1;
  int code = glitch_read_table(t->options.truth, t, &frame, &row_of);
  if (code == NK_OK && (count_column = cli_frame_column(frame, "count")) < 0)
    code = (int)count_column;
  for (size_t c = 0; code == NK_OK && c < cli_frame_n_columns(frame); c++)
    if (strcmp(cli_frame_column_name(frame, c), "steps") == 0) steps_column = (int64_t)c;
  if (steps_column < 0) steps_column = count_column;
  for (size_t row = 0; row < t->glitch->n && code == NK_OK; row++) {
    judged[row] = row_of[row] >= 0 && t->glitch->role[row] == NK_ROLE_TEXT;
    if (!judged[row]) continue;
    code = cli_frame_number(frame, (size_t)row_of[row], (size_t)count_column, &count[row]);
    if (code == NK_OK)
      code = cli_frame_number(frame, (size_t)row_of[row], (size_t)steps_column, &steps[row]);
    if (code == NK_ENOTFOUND || (code == NK_OK && (isnan(count[row]) || isnan(steps[row])))) {
      judged[row] = false; /* its count is not known */
      code = NK_OK;
    }
  }
  cli_frame_free(frame);
  nk_free(row_of);
  return code;
}

/* A row of the table; report NULL: of an indicator, which reports no list. */
static int write_measure(const char *name, double at_most, const struct nk_glitch_measure *measure,
                         const struct nk_glitch_report *report, struct cli_table *table) {
  const struct nk_retrieval *r = &measure->retrieval;
  cli_table_string(table, name);
  cli_table_number(table, at_most);
  cli_table_integer(table, (int64_t)r->n);
  cli_table_integer(table, (int64_t)r->positives);
  cli_table_number(table, r->auc);
  cli_table_number(table, r->average_precision);
  cli_table_number(table, r->precision);
  cli_table_number(table, measure->spearman);
  if (report != NULL) {
    cli_table_integer(table, (int64_t)report->reported);
    cli_table_number(table, report->false_rate);
    cli_table_number(table, report->recall);
  }
  for (int i = 0; report == NULL && i < 3; i++) cli_table_missing(table);
  return cli_table_end_row(table);
}

/* The rows of a ranking: its score under `name`, and, with `columns`, its indicators. */
static int evaluate(const struct glitch_tokens *t, const struct nk_glitch *glitch,
                    const struct nk_glitch_truth *truth, const char *name, bool columns,
                    struct cli_table *table) {
  static const double at_most[] = {0, 10};
  double level = t->options.fdr >= 0 ? t->options.fdr : 0.05;
  struct nk_glitch_report report;
  struct nk_glitch_measure *measures = nk_alloc(glitch->n_columns + 1, sizeof *measures);
  int code = measures != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < sizeof at_most / sizeof *at_most && code == NK_OK; i++) {
    code = nk_glitch_evaluate(glitch, truth, at_most[i], level, measures, &report);
    if (code == NK_OK) code = write_measure(name, at_most[i], measures, &report, table);
    for (size_t c = 1; c <= glitch->n_columns && columns && code == NK_OK; c++)
      code = write_measure(measures[c].name, at_most[i], &measures[c], NULL, table);
  }
  nk_free(measures);
  return code;
}

/* The score without each of its parts. */
static int write_ablation(const struct glitch_tokens *t, const struct nk_glitch_truth *truth,
                          struct cli_table *table) {
  static const struct {
    const char *name;
    enum nk_glitch_part part;
  } parts[] = {{"score_without_distance", NK_PART_DISTANCE},
               {"score_without_way", NK_PART_WAY},
               {"score_without_lead", NK_PART_LEAD},
               {"score_without_core", NK_PART_CORE},
               {"score_without_input", NK_PART_INPUT}};
  struct nk_glitch_options how = t->options.how;
  int code = NK_OK;
  how.knn_k = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && code == NK_OK; i++) {
    how.without = parts[i].part;
    struct nk_glitch *glitch = glitch_rank(t, &how, NULL);
    code =
        glitch != NULL ? evaluate(t, glitch, truth, parts[i].name, false, table) : nk_error_code();
    nk_glitch_free(glitch);
  }
  return code;
}

int glitch_write_evaluation(const struct glitch_tokens *t, struct cli_table *table) {
  static const char *const columns[] = {
      "indicator", "steps",    "tokens",   "positives", "auc",   "average_precision",
      "precision", "spearman", "reported", "fdr",       "recall"};
  size_t n = t->glitch->n;
  bool *judged = nk_alloc(n, sizeof *judged);
  double *count = nk_alloc(n, sizeof *count), *steps = nk_alloc(n, sizeof *steps);
  const struct nk_glitch_truth truth = {judged, count, steps};
  int code = judged != NULL && count != NULL && steps != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = read_truth(t, judged, count, steps);
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  if (code == NK_OK) code = evaluate(t, t->glitch, &truth, "score", true, table);
  if (code == NK_OK && t->options.ablate) code = write_ablation(t, &truth, table);
  nk_free(judged);
  nk_free(count);
  nk_free(steps);
  return code;
}
