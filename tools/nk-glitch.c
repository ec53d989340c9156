/* nk-glitch: the tokens of a model that training hardly showed, found from its weights. */
#include <math.h>
#include <string.h>

#include "cli/tool.h"

static const char *output_set, *input_set, *unused_ids, *truth_file, *with_file;
static size_t top;
static double fdr = -1, threshold = -INFINITY;
static struct nk_glitch_options how = {.knn_k = 10, .knn_rows = 4096};

static const struct cli_option options[] = {
    {0, "fdr", CLI_OPTION_NUMBER, &fdr, "Q", "only tokens reported at this false discovery rate"},
    {0, "threshold", CLI_OPTION_NUMBER, &threshold, "S", "only tokens whose score is at least S"},
    {'n', "top", CLI_OPTION_SIZE, &top, "N", "only the N highest scores"},
    {0, "with", CLI_OPTION_STRING, &with_file, "TABLE", "add this table's columns, by id"},
    {0, "truth", CLI_OPTION_STRING, &truth_file, "TABLE",
     "print how well this table's counts are met instead"},
    {0, "output-set", CLI_OPTION_STRING, &output_set, "SET",
     "no MODEL: rank this (tied) output matrix"},
    {0, "input-set", CLI_OPTION_STRING, &input_set, "SET",
     "and this input matrix (--output: the other)"},
    {0, "unused", CLI_OPTION_STRING, &unused_ids, "IDS",
     "with these known unused: 177,179,186-190"},
    {0, "knn", CLI_OPTION_SIZE, &how.knn_k, "K", "neighbours of input_knn (10; 0: no such column)"},
    {0, "knn-rows", CLI_OPTION_SIZE, &how.knn_rows, "N",
     "rows drawn to find them in (4096; 0: all)"},
};

static const struct cli_tool tool = {
    .name = "nk-glitch",
    .summary = "rank a vocabulary by how little training its rows show",
    .usage = "[OPTION]... MODEL | --input SET --output SET --unused IDS",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .example = "nk-glitch --fdr 0.05 data/gpt2-tiny",
};

/* What is ranked, however it came. */
struct tokens {
  struct nk_model *model; /* or the sets: */
  struct nk_vectors *output, *input;
  struct nk_tokenizer *tokenizer; /* may be NULL */
  struct nk_glitch *glitch;
  enum nk_category *category; /* [n]; NULL for sets */
};

/* ---- Reading ---- */

static int read_model(const char *name, struct tokens *t) {
  if ((t->model = nk_model_open(name)) == NULL) return nk_error_code();
  if (nk_model_path(t->model, "tokenizer.json") != NULL) {
    if ((t->tokenizer = nk_tokenizer_open(name)) == NULL) return nk_error_code();
  } else {
    nk_warn("%s has no tokenizer.json: nothing is known of its tokens", nk_model_name(t->model));
  }
  t->glitch = nk_glitch_of_model(t->model, t->tokenizer, &how, &t->category);
  return t->glitch != NULL ? NK_OK : nk_error_code();
}

static int read_sets(struct tokens *t) {
  int64_t *ids = NULL;
  size_t n = 0;
  if (unused_ids == NULL) return nk_fail(NK_EUSAGE, "--output-set needs --unused");
  int code = cli_parse_ids("--unused", unused_ids, &ids, &n);
  if (code == NK_OK && (t->output = nk_vectors_read(output_set)) == NULL) code = nk_error_code();
  if (code == NK_OK && input_set && (t->input = nk_vectors_read(input_set)) == NULL)
    code = nk_error_code();
  if (code == NK_OK && (t->glitch = nk_glitch_of_sets(t->output, t->input, ids, n, &how)) == NULL)
    code = nk_error_code();
  nk_free(ids);
  return code;
}

static void tokens_free(struct tokens *t) {
  nk_glitch_free(t->glitch);
  nk_free(t->category);
  nk_tokenizer_free(t->tokenizer);
  nk_vectors_free(t->output);
  nk_vectors_free(t->input);
  nk_model_free(t->model);
}

static int64_t id_of(const struct tokens *t, size_t row) {
  return t->output != NULL ? t->output->ids[row] : (int64_t)row;
}

static const char *category_of(const struct tokens *t, size_t row) {
  if (t->category != NULL) return nk_category_names[t->category[row]];
  return t->glitch->role[row] == NK_ROLE_TEXT ? "ok" : "unused";
}

/* row_of [n]: the row of the frame with each token's id, -1 where there is none. */
static int match(const struct tokens *t, const struct cli_frame *frame, int64_t *row_of) {
  size_t n = t->glitch->n, rows = cli_frame_n_rows(frame), next = 0;
  int64_t column = cli_frame_column(frame, "id"), id = 0;
  if (column < 0) return (int)column;
  for (size_t row = 0; row < n; row++) row_of[row] = -1;
  for (size_t i = 0; i < rows; i++) {
    int code = cli_frame_integer(frame, i, (size_t)column, &id);
    if (code != NK_OK) return code;
    size_t row = t->output == NULL && id >= 0 ? (size_t)id : 0;
    for (size_t tried = 0; t->output != NULL && tried < n; tried++) {
      row = (next + tried) % n; /* tables mostly stand in the sets' order */
      if (t->output->ids[row] == id) break;
    }
    next = row + 1;
    if (row < n && id_of(t, row) == id) row_of[row] = (int64_t)i;
  }
  return NK_OK;
}

static int read_table(const char *path, const struct tokens *t, struct cli_frame **frame,
                      int64_t **row_of) {
  if ((*frame = cli_frame_read(path)) == NULL) return nk_error_code();
  if ((*row_of = nk_alloc(t->glitch->n, sizeof **row_of)) == NULL) return NK_EMEMORY;
  return match(t, *frame, *row_of);
}

/* ---- The ranking ---- */

static void write_text(const struct tokens *t, size_t row, struct cli_table *table) {
  size_t n = 0;
  const char *text = "";
  if (t->output != NULL)
    text = nk_vectors_text(t->output, row, &n);
  else if (row < nk_tokenizer_n_tokens(t->tokenizer))
    text = nk_tokenizer_bytes(t->tokenizer, row, &n);
  cli_table_text(table, text != NULL ? text : "", n);
}

static bool has_text(const struct tokens *t) {
  return t->output != NULL ? t->output->text_offsets != NULL : t->tokenizer != NULL;
}

static int name_columns(const struct tokens *t, const struct cli_frame *with,
                        struct cli_table *table) {
  static const char *const own[] = {"id",    "text",    "category", "rank",
                                    "score", "p_value", "q_value"};
  int code = NK_OK;
  for (size_t c = 0; c < sizeof own / sizeof *own && code == NK_OK; c++)
    if (c != 1 || has_text(t)) code = cli_table_column(table, own[c]);
  for (size_t c = 0; c < t->glitch->n_columns && code == NK_OK; c++)
    code = cli_table_column(table, t->glitch->columns[c].name);
  for (size_t c = 0; with && c < cli_frame_n_columns(with) && code == NK_OK; c++) {
    const char *name = cli_frame_column_name(with, c);
    bool taken = nk_glitch_find(t->glitch, name) != NULL;
    for (size_t o = 0; o < sizeof own / sizeof *own; o++)
      taken = taken || (strcmp(name, own[o]) == 0 && o > 1);
    if (taken)
      return nk_fail(NK_EUSAGE, "%s: its column '%s' is one of this table's", with_file, name);
    if (strcmp(name, "id") != 0 && strcmp(name, "text") != 0) code = cli_table_column(table, name);
  }
  return code;
}

static void write_with(const struct cli_frame *with, int64_t with_row, struct cli_table *table) {
  struct nk_buffer raw = {0};
  for (size_t c = 0; c < cli_frame_n_columns(with); c++) {
    const char *name = cli_frame_column_name(with, c);
    double number = 0;
    if (strcmp(name, "id") == 0 || strcmp(name, "text") == 0) continue;
    const char *cell = with_row >= 0 ? cli_frame_cell(with, (size_t)with_row, c) : "";
    nk_buffer_clear(&raw);
    nk_unescape(&raw, cell, strlen(cell));
    if (*cell == '\0')
      cli_table_missing(table);
    else if (cli_frame_number(with, (size_t)with_row, c, &number) == NK_OK)
      cli_table_number(table, number);
    else
      cli_table_text(table, raw.data, raw.size);
  }
  nk_buffer_free(&raw);
}

static int write_row(const struct tokens *t, size_t row, const struct cli_frame *with,
                     const int64_t *with_row, struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  cli_table_integer(table, id_of(t, row));
  if (has_text(t)) write_text(t, row, table);
  cli_table_string(table, category_of(t, row));
  cli_table_integer(table, (int64_t)glitch->rank[row]);
  cli_table_number(table, glitch->score[row]);
  cli_table_known(table, glitch->p_value[row]);
  cli_table_known(table, glitch->q_value[row]);
  for (size_t c = 0; c < glitch->n_columns; c++)
    cli_table_known(table, glitch->columns[c].values[row]);
  if (with != NULL) write_with(with, with_row[row], table);
  return cli_table_end_row(table);
}

/* With a cut, only ranked tokens on its side; without one, all, those ranked apart at the end. */
static int write_ranking(const struct tokens *t, struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  struct cli_frame *with = NULL;
  int64_t *with_row = NULL;
  bool cut = top > 0 || fdr >= 0 || threshold > -INFINITY;
  size_t n = cut ? glitch->n_ranked : glitch->n;
  if (top > 0 && top < n) n = top;
  int code = with_file != NULL ? read_table(with_file, t, &with, &with_row) : NK_OK;
  if (code == NK_OK) code = name_columns(t, with, table);
  for (size_t at = 0; at < n && code == NK_OK; at++) {
    size_t row = glitch->order[at];
    if (cut && !(glitch->score[row] >= threshold)) break;
    if (fdr >= 0 && !(glitch->q_value[row] <= fdr)) break;
    code = write_row(t, row, with, with_row, table);
  }
  cli_frame_free(with);
  nk_free(with_row);
  return code;
}

/* ---- --truth ---- */

/* judged [n], count [n], steps [n] from the truth; tokens of category ok are judged. */
static int read_truth(const struct tokens *t, bool *judged, double *count, double *steps) {
  struct cli_frame *frame = NULL;
  int64_t *row_of = NULL, count_column = -1, steps_column = -1;
  int code = read_table(truth_file, t, &frame, &row_of);
  if (code == NK_OK && (count_column = cli_frame_column(frame, "count")) < 0)
    code = (int)count_column;
  for (size_t c = 0; code == NK_OK && c < cli_frame_n_columns(frame); c++)
    if (strcmp(cli_frame_column_name(frame, c), "steps") == 0) steps_column = (int64_t)c;
  if (steps_column < 0) steps_column = count_column;
  for (size_t row = 0; row < t->glitch->n && code == NK_OK; row++) {
    judged[row] = row_of[row] >= 0 && strcmp(category_of(t, row), "ok") == 0;
    if (!judged[row]) continue;
    code = cli_frame_number(frame, (size_t)row_of[row], (size_t)count_column, &count[row]);
    if (code == NK_OK)
      code = cli_frame_number(frame, (size_t)row_of[row], (size_t)steps_column, &steps[row]);
  }
  cli_frame_free(frame);
  nk_free(row_of);
  return code;
}

static int write_measures(const struct nk_glitch_measure *measures, size_t n,
                          const struct nk_glitch_report *report, double at_most,
                          struct cli_table *table) {
  int code = NK_OK;
  for (size_t m = 0; m < n && code == NK_OK; m++) {
    const struct nk_retrieval *r = &measures[m].retrieval;
    cli_table_string(table, measures[m].name);
    cli_table_number(table, at_most);
    cli_table_integer(table, (int64_t)r->n);
    cli_table_integer(table, (int64_t)r->positives);
    cli_table_known(table, r->auc);
    cli_table_known(table, r->average_precision);
    cli_table_known(table, r->precision);
    cli_table_known(table, measures[m].spearman);
    if (m == 0) {
      cli_table_integer(table, (int64_t)report->reported);
      cli_table_number(table, report->false_rate);
      cli_table_known(table, report->recall);
    }
    for (int i = 0; m > 0 && i < 3; i++) cli_table_missing(table);
    code = cli_table_end_row(table);
  }
  return code;
}

static int write_evaluation(const struct tokens *t, struct cli_table *table) {
  static const char *const columns[] = {
      "indicator", "steps",    "tokens",   "positives", "auc",   "average_precision",
      "precision", "spearman", "reported", "fdr",       "recall"};
  static const double at_most[] = {0, 10};
  size_t n = t->glitch->n, n_measures = t->glitch->n_columns + 1;
  bool *judged = nk_alloc(n, sizeof *judged);
  double *count = nk_alloc(n, sizeof *count), *steps = nk_alloc(n, sizeof *steps);
  struct nk_glitch_measure *measures = nk_alloc(n_measures, sizeof *measures);
  struct nk_glitch_report report;
  int code = judged && count && steps && measures ? NK_OK : NK_EMEMORY;
  if (code == NK_OK) code = read_truth(t, judged, count, steps);
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  for (size_t i = 0; i < sizeof at_most / sizeof *at_most && code == NK_OK; i++) {
    code = nk_glitch_evaluate(t->glitch, judged, count, steps, at_most[i], fdr >= 0 ? fdr : 0.05,
                              measures, &report);
    if (code == NK_OK) code = write_measures(measures, n_measures, &report, at_most[i], table);
  }
  nk_free(judged);
  nk_free(count);
  nk_free(steps);
  nk_free(measures);
  return code;
}

int main(int argc, char **argv) {
  struct cli_run run;
  struct tokens tokens = {0};
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  how.seed = run.common.seed;
  int code = NK_OK;
  if (input_set && !output_set) { /* beside an input matrix, --output is the output matrix */
    output_set = run.common.output;
    run.common.output = NULL;
  }
  if ((run.n_operands == 1) == (output_set != NULL) || (input_set && !output_set))
    code = nk_fail(NK_EUSAGE, "give a MODEL, or --input, --output and --unused");
  if (code == NK_OK) code = output_set ? read_sets(&tokens) : read_model(run.operands[0], &tokens);
  if (code == NK_OK && (output = cli_output(&run, NK_OUTPUT_TEXT)) == NULL) code = nk_error_code();
  if (code == NK_OK && (table = cli_new_table(&run, output)) == NULL) code = nk_error_code();
  if (code == NK_OK)
    code = truth_file ? write_evaluation(&tokens, table) : write_ranking(&tokens, table);
  code = cli_close(table, output, code);
  tokens_free(&tokens);
  return cli_end(&run, code);
}
