/* nk-glitch: the tokens of a model that training hardly showed, found from its weights. */
#include <math.h>
#include <string.h>

#include "cli/glitch_summary.h"
#include "cli/token_texts.h"
#include "cli/tool.h"

struct options {
  const char *output_set, *input_set, *unused, *truth, *with;
  bool ablate, summary;
  size_t top;
  double fdr, threshold;
  struct nk_glitch_options how;
};

/* What is ranked, however it came. */
struct tokens {
  struct options options;
  struct nk_model *model; /* or the sets: */
  struct nk_vectors *output, *input;
  struct nk_tokenizer *tokenizer; /* may be NULL */
  struct cli_token_texts texts;   /* of a model with a tokenizer, in its ranking */
  struct nk_glitch *glitch;
  enum nk_category *category; /* [n]; NULL for sets */
  int64_t *unused;            /* [n_unused] of sets */
  size_t n_unused;
};

/* ---- Reading ---- */

static int read_model(const char *name, struct tokens *t) {
  if ((t->model = nk_model_open(name)) == NULL) return nk_error_code();
  if (nk_model_folder(t->model) != NULL) t->tokenizer = nk_tokenizer_open(name);
  if (t->tokenizer != NULL) return NK_OK;
  if (nk_model_folder(t->model) != NULL && nk_error_code() != NK_ENOTFOUND) return nk_error_code();
  nk_warn("%s has no tokenizer: nothing is known of its tokens", nk_model_name(t->model));
  return NK_OK;
}

static int read_sets(struct tokens *t) {
  if (t->options.unused == NULL) return nk_fail(NK_EUSAGE, "--output-set needs --unused");
  int code = cli_parse_ids("--unused", t->options.unused, &t->unused, &t->n_unused);
  if (code != NK_OK) return code;
  if ((t->output = nk_vectors_read(t->options.output_set)) == NULL) return nk_error_code();
  if (t->options.input_set == NULL) return NK_OK;
  return (t->input = nk_vectors_read(t->options.input_set)) != NULL ? NK_OK : nk_error_code();
}

/* The ranking by these options, or NULL. */
static struct nk_glitch *rank(const struct tokens *t, const struct nk_glitch_options *how,
                              enum nk_category **category) {
  return t->model != NULL ? nk_glitch_of_model(t->model, t->tokenizer, how, category)
                          : nk_glitch_of_sets(t->output, t->input, t->unused, t->n_unused, how);
}

static int read_tokens(const struct cli_run *run, struct tokens *t) {
  if ((run->n_operands == 1) == (t->options.output_set != NULL) ||
      (t->options.input_set != NULL && t->options.output_set == NULL))
    return nk_fail(NK_EUSAGE, "give a MODEL, or --output-set and --unused");
  if (t->options.ablate && t->options.truth == NULL)
    return nk_fail(NK_EUSAGE, "--ablate needs --truth");
  if (t->options.summary && (t->options.truth != NULL || t->options.with != NULL ||
                             t->options.top > 0 || t->options.threshold > -INFINITY))
    return nk_fail(NK_EUSAGE, "--summary excludes --truth, --with, --top and --threshold");
  int code = t->options.output_set != NULL ? read_sets(t) : read_model(run->operands[0], t);
  if (code != NK_OK) return code;
  return (t->glitch = rank(t, &t->options.how, &t->category)) != NULL ? NK_OK : nk_error_code();
}

static void tokens_free(struct tokens *t) {
  nk_glitch_free(t->glitch);
  cli_token_texts_free(&t->texts);
  nk_free(t->category);
  nk_free(t->unused);
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

static int read_table(const char *path, const struct tokens *t, struct cli_frame **frame,
                      int64_t **row_of) {
  if ((*frame = cli_frame_read(path)) == NULL) return nk_error_code();
  if ((*row_of = nk_alloc(t->glitch->n, sizeof **row_of)) == NULL) return NK_EMEMORY;
  const int64_t *ids = t->output != NULL ? t->output->ids : NULL;
  return cli_match_ids(*frame, ids, t->glitch->n, *row_of);
}

/* ---- The ranking ---- */

/* The table of --with. */
struct with {
  struct cli_frame *frame; /* NULL: none */
  int64_t *row_of;         /* [n] its row of each token, -1: none */
  bool *number;            /* [its columns] whether they are of numbers */
};

static int read_with(const struct tokens *t, struct with *with) {
  int code = read_table(t->options.with, t, &with->frame, &with->row_of);
  if (code != NK_OK) return code;
  with->number = cli_frame_number_columns(with->frame);
  return with->number == NULL ? NK_EMEMORY : NK_OK;
}

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
  for (size_t c = 0; c < CLI_TOKEN_TEXTS_COLUMNS && t->tokenizer != NULL && code == NK_OK; c++)
    code = cli_table_column(table, cli_token_texts_columns[c]);
  for (size_t c = 0; with != NULL && c < cli_frame_n_columns(with) && code == NK_OK; c++) {
    const char *name = cli_frame_column_name(with, c);
    bool taken = nk_glitch_find(t->glitch, name) != NULL;
    for (size_t o = 0; o < sizeof own / sizeof *own; o++)
      taken = taken || (strcmp(name, own[o]) == 0 && o > 1);
    for (size_t o = 0; o < CLI_TOKEN_TEXTS_COLUMNS && t->tokenizer != NULL; o++)
      taken = taken || strcmp(name, cli_token_texts_columns[o]) == 0;
    if (taken)
      return nk_fail(NK_EUSAGE, "%s: its column '%s' is one of this table's", t->options.with,
                     name);
    if (strcmp(name, "id") != 0 && strcmp(name, "text") != 0) code = cli_table_column(table, name);
  }
  return code;
}

static void write_with(const struct with *with, size_t row, struct cli_table *table) {
  int64_t with_row = with->row_of[row];
  for (size_t c = 0; c < cli_frame_n_columns(with->frame); c++) {
    const char *name = cli_frame_column_name(with->frame, c);
    if (strcmp(name, "id") == 0 || strcmp(name, "text") == 0) continue;
    const char *cell = with_row >= 0 ? cli_frame_cell(with->frame, (size_t)with_row, c) : "";
    cli_table_copy(table, cell, with->number[c]);
  }
}

static int write_row(const struct tokens *t, size_t row, const struct with *with,
                     struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  cli_table_integer(table, id_of(t, row));
  if (has_text(t)) write_text(t, row, table);
  cli_table_string(table, category_of(t, row));
  cli_table_integer(table, (int64_t)glitch->rank[row]);
  cli_table_number(table, glitch->score[row]);
  cli_table_number(table, glitch->p_value[row]);
  cli_table_number(table, glitch->q_value[row]);
  for (size_t c = 0; c < glitch->n_columns; c++)
    cli_table_number(table, glitch->columns[c].values[row]);
  int code = t->tokenizer == NULL ? NK_OK : cli_token_texts_write(&t->texts, row, table);
  if (code != NK_OK) return code;
  if (with->frame != NULL) write_with(with, row, table);
  return cli_table_end_row(table);
}

/* With a cut, only ranked tokens on its side; without one, all, those ranked apart at the end. */
static int write_ranking(struct tokens *t, struct cli_table *table) {
  const struct nk_glitch *glitch = t->glitch;
  struct with with = {0};
  bool cut = t->options.top > 0 || t->options.fdr >= 0 || t->options.threshold > -INFINITY;
  size_t n = cut ? glitch->n_ranked : glitch->n;
  if (t->options.top > 0 && t->options.top < n) n = t->options.top;
  int code = t->options.with != NULL ? read_with(t, &with) : NK_OK;
  if (code == NK_OK && t->tokenizer != NULL)
    code = cli_token_texts_read(&t->texts, t->tokenizer, glitch->n);
  if (code == NK_OK) code = name_columns(t, with.frame, table);
  for (size_t at = 0; at < n && code == NK_OK; at++) {
    size_t row = glitch->order[at];
    if (cut && !(glitch->score[row] >= t->options.threshold)) break;
    if (t->options.fdr >= 0 && !(glitch->q_value[row] <= t->options.fdr)) break;
    code = write_row(t, row, &with, table);
  }
  cli_frame_free(with.frame);
  nk_free(with.row_of);
  nk_free(with.number);
  return code;
}

/* ---- --truth ---- */

/* judged [n], count [n], steps [n] from the table; ranked tokens are judged. */
static int read_truth(const struct tokens *t, bool *judged, double *count, double *steps) {
  struct cli_frame *frame = NULL;
  int64_t *row_of = NULL, count_column = -1, steps_column = -1;
  int code = read_table(t->options.truth, t, &frame, &row_of);
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
static int evaluate(const struct tokens *t, const struct nk_glitch *glitch,
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
static int write_ablation(const struct tokens *t, const struct nk_glitch_truth *truth,
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
    struct nk_glitch *glitch = rank(t, &how, NULL);
    code =
        glitch != NULL ? evaluate(t, glitch, truth, parts[i].name, false, table) : nk_error_code();
    nk_glitch_free(glitch);
  }
  return code;
}

static int write_evaluation(const struct tokens *t, struct cli_table *table) {
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

int main(int argc, char **argv) {
  struct cli_run run;
  struct tokens tokens = {
      .options = {.fdr = -1, .threshold = -INFINITY, .how = {.knn_k = 10, .knn_rows = 4096}}};
  struct options *o = &tokens.options;
  const struct cli_option table_of_options[] = {
      {0, "fdr", CLI_OPTION_NUMBER, &o->fdr, "Q", "only tokens reported at false discovery rate Q"},
      {0, "threshold", CLI_OPTION_NUMBER, &o->threshold, "S",
       "only tokens whose score is at least S"},
      {'n', "top", CLI_OPTION_SIZE, &o->top, "N", "only the N highest scores"},
      {0, "with", CLI_OPTION_STRING, &o->with, "TABLE", "add the columns of TABLE, by id"},
      {0, "truth", CLI_OPTION_STRING, &o->truth, "TABLE",
       "evaluate the ranking against TABLE's counts (AUC, AP, FDR)"},
      {0, "ablate", CLI_OPTION_FLAG, &o->ablate, NULL,
       "with --truth: evaluate also the score without each of its parts"},
      {0, "summary", CLI_OPTION_FLAG, &o->summary, NULL,
       "print what the ranking rests on, and how many tokens are reported"},
      {0, "output-set", CLI_OPTION_STRING, &o->output_set, "SET",
       "instead of MODEL: the output matrix as a vector set"},
      {0, "input-set", CLI_OPTION_STRING, &o->input_set, "SET",
       "and the input matrix, where it is not tied to the output matrix"},
      {0, "unused", CLI_OPTION_STRING, &o->unused, "IDS",
       "with sets: ids of tokens known to be unused, 177,179,186-190"},
      {0, "skip-bad", CLI_OPTION_FLAG, &o->how.skip_bad, NULL,
       "do not rank rows that hold a NaN or an infinity"},
      {0, "knn", CLI_OPTION_SIZE, &o->how.knn_k, "K",
       "neighbours of input_knn (default: 10; 0: no such column)"},
      {0, "knn-rows", CLI_OPTION_SIZE, &o->how.knn_rows, "N",
       "rows drawn to search them in (default: 4096; 0: all)"},
  };
  const struct cli_tool tool = {
      .name = "nk-glitch",
      .summary = "rank a vocabulary by distance from the rows of unused tokens",
      .usage = "[OPTION]... MODEL | --output-set SET --unused IDS",
      .options = table_of_options,
      .n_options = sizeof table_of_options / sizeof *table_of_options,
      .example = "nk-glitch --fdr 0.05 data/gpt2-tiny",
  };
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  cli_begin(&run, &tool, argc, argv, 0, 1);
  o->how.seed = run.common.seed;
  int code = read_tokens(&run, &tokens);
  if (code == NK_OK && (output = cli_output(&run, NK_OUTPUT_TEXT)) == NULL) code = nk_error_code();
  if (code == NK_OK && (table = cli_new_table(&run, output)) == NULL) code = nk_error_code();
  if (code == NK_OK)
    code = o->summary         ? cli_glitch_summary(tokens.glitch, tokens.options.fdr, table)
           : o->truth != NULL ? write_evaluation(&tokens, table)
                              : write_ranking(&tokens, table);
  code = cli_close(table, output, code);
  tokens_free(&tokens);
  return cli_end(&run, code);
}
