/* nk-verify: whether the model repeats a token. */
#include <string.h>

#include "cli/tool.h"

struct options {
  bool all;
  const char *prompts;
  struct cli_strings texts;
  size_t steps;
  const char *truth;
};

struct job {
  struct options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  const struct nk_tokenizer *tokenizer;
  struct cli_prompts prompts;   /* none: the library's */
  struct cli_frame *frame;      /* the candidates' table, NULL with --all */
  enum nk_category *categories; /* --all: [n] */
  size_t n;
  int64_t *ids;     /* [n] */
  double *max_prob; /* [n] */
};

/* ---- Input ---- */

static int read_prompts(struct job *job) {
  const struct options *o = &job->options;
  int code = NK_OK;
  for (size_t i = 0; i < o->texts.n && code == NK_OK; i++)
    code = cli_prompts_add(&job->prompts, NULL, o->texts.item[i], true, NULL);
  if (code == NK_OK && o->prompts != NULL) code = cli_read_prompts(&job->prompts, o->prompts);
  return code;
}

static int take_all(struct job *job) {
  job->n = job->shape->n_vocabulary;
  job->ids = nk_alloc(job->n, sizeof *job->ids);
  job->categories = nk_alloc(job->n, sizeof *job->categories);
  if (job->ids == NULL || job->categories == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n; i++) job->ids[i] = (int64_t)i;
  return nk_tokenizer_categories(job->tokenizer, job->n, job->categories);
}

static int take_table(struct job *job, const char *path) {
  size_t n_vocabulary = job->shape->n_vocabulary;
  job->frame = cli_frame_read(path);
  if (job->frame == NULL) return nk_error_code();
  int64_t column = cli_frame_column(job->frame, "id");
  if (column < 0) return (int)column;
  job->n = cli_frame_n_rows(job->frame);
  job->ids = nk_alloc(job->n, sizeof *job->ids);
  if (job->ids == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n; i++) {
    int code = cli_frame_integer(job->frame, i, (size_t)column, &job->ids[i]);
    if (code != NK_OK) return code;
    if (job->ids[i] < 0 || (size_t)job->ids[i] >= n_vocabulary)
      return nk_fail(NK_EDATA, "%s: row %zu: id %lld: the model has tokens 0 to %zu",
                     cli_frame_name(job->frame), i + 1, (long long)job->ids[i], n_vocabulary - 1);
  }
  return NK_OK;
}

/* ---- Output ---- */

static void write_cell(const struct cli_frame *frame, size_t row, size_t column,
                       struct cli_table *table) {
  const char *name = cli_frame_column_name(frame, column),
             *cell = cli_frame_cell(frame, row, column);
  size_t length = strlen(name);
  bool is_text = length >= 4 && strcmp(name + length - 4, "text") == 0;
  double number;
  if (!is_text && cli_frame_number(frame, row, column, &number) == NK_OK) {
    cli_table_number(table, number);
  } else if (cell[0] == 0 || (!is_text && cli_frame_is_missing(cell))) {
    cli_table_missing(table);
  } else {
    cli_table_cell(table, cell);
  }
}

/* Columns of this tool: they come last and replace those of the same name. */
static bool is_taken(const char *name) {
  return strcmp(name, "max_prob") == 0 || strcmp(name, "verdict") == 0;
}

static void write_token(const struct job *job, size_t row, struct cli_table *table) {
  size_t n = 0;
  const char *bytes = nk_tokenizer_bytes(job->tokenizer, (size_t)job->ids[row], &n);
  cli_table_integer(table, job->ids[row]);
  cli_table_text(table, bytes == NULL ? "" : bytes, n);
  cli_table_string(table, nk_category_names[job->categories[row]]);
}

static int write_rows(const struct job *job, struct cli_table *table) {
  static const char *const own[] = {"id", "text", "category"};
  size_t n_columns = job->frame == NULL ? 3 : cli_frame_n_columns(job->frame);
  int code = NK_OK;
  for (size_t c = 0; c < n_columns && code == NK_OK; c++) {
    const char *name = job->frame == NULL ? own[c] : cli_frame_column_name(job->frame, c);
    if (!is_taken(name)) code = cli_table_column(table, name);
  }
  if (code == NK_OK) code = cli_table_column(table, "max_prob");
  if (code == NK_OK) code = cli_table_column(table, "verdict");
  for (size_t row = 0; row < job->n && code == NK_OK; row++) {
    if (job->frame == NULL)
      write_token(job, row, table);
    else
      for (size_t c = 0; c < n_columns; c++)
        if (!is_taken(cli_frame_column_name(job->frame, c))) write_cell(job->frame, row, c, table);
    cli_table_number(table, job->max_prob[row]);
    cli_table_string(table, nk_verdict_names[nk_verdict_of(job->max_prob[row])]);
    code = cli_table_end_row(table);
  }
  return code;
}

/* by_id [n_vocabulary] = each token's count in the table of --truth, -1 where it has none. */
static int read_truth(const struct job *job, int64_t *by_id) {
  struct cli_frame *frame = cli_frame_read(job->options.truth);
  if (frame == NULL) return nk_error_code();
  int64_t id = cli_frame_column(frame, "id"), count = cli_frame_column(frame, "count");
  int code = id < 0 ? (int)id : count < 0 ? (int)count : NK_OK;
  for (size_t i = 0; i < job->shape->n_vocabulary; i++) by_id[i] = -1;
  for (size_t row = 0; code == NK_OK && row < cli_frame_n_rows(frame); row++) {
    int64_t token, value;
    code = cli_frame_integer(frame, row, (size_t)id, &token);
    if (code != NK_OK) break;
    code = cli_frame_integer(frame, row, (size_t)count, &value);
    if (code == NK_ENOTFOUND) { /* the count is not known */
      code = NK_OK;
      continue;
    }
    if (code == NK_OK && token >= 0 && (size_t)token < job->shape->n_vocabulary)
      by_id[token] = value;
  }
  cli_frame_free(frame);
  return code;
}

/* Keeps the candidates that have a count: counts [n] and max_prob [n]. With --all, only tokens that
 * text can give: training never shows the others. */
static int match_truth(struct job *job, int64_t *counts) {
  int64_t *by_id = nk_alloc(job->shape->n_vocabulary, sizeof *by_id);
  int code = by_id == NULL ? NK_EMEMORY : read_truth(job, by_id);
  size_t kept = 0;
  for (size_t i = 0; code == NK_OK && i < job->n; i++) {
    if (by_id[job->ids[i]] < 0) continue;
    if (job->categories != NULL && job->categories[i] != NK_TOKEN_OK) continue;
    counts[kept] = by_id[job->ids[i]];
    job->max_prob[kept++] = job->max_prob[i];
  }
  if (code == NK_OK) job->n = kept;
  nk_free(by_id);
  return code;
}

static void write_range(const struct nk_verdict_range *range, struct cli_table *table) {
  size_t verified = range->n_verdicts[NK_STRONGLY_VERIFIED] + range->n_verdicts[NK_WEAKLY_VERIFIED];
  cli_table_integer(table, range->least);
  if (range->most == INT64_MAX)
    cli_table_missing(table);
  else
    cli_table_integer(table, range->most);
  cli_table_integer(table, (int64_t)range->n_tokens);
  for (int v = 0; v < NK_N_VERDICTS; v++) cli_table_integer(table, (int64_t)range->n_verdicts[v]);
  if (range->n_tokens == 0)
    cli_table_missing(table);
  else
    cli_table_number(table, (double)verified / (double)range->n_tokens);
}

static int write_by_count(struct job *job, struct cli_table *table) {
  static const char *const columns[] = {"least",
                                        "most",
                                        "tokens",
                                        "strongly_verified",
                                        "weakly_verified",
                                        "weakly_rejected",
                                        "strongly_rejected",
                                        "verified"};
  struct nk_verdict_range ranges[NK_VERDICT_RANGES];
  int64_t *counts = nk_alloc(job->n, sizeof *counts);
  int code = counts == NULL ? NK_EMEMORY : match_truth(job, counts);
  for (size_t c = 0; c < sizeof columns / sizeof columns[0] && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  if (code == NK_OK) nk_verdicts_by_count(job->max_prob, counts, job->n, ranges);
  for (size_t r = 0; r < NK_VERDICT_RANGES && code == NK_OK; r++) {
    write_range(&ranges[r], table);
    code = cli_table_end_row(table);
  }
  nk_free(counts);
  return code;
}

static int verify(struct job *job) {
  const char **texts = NULL;
  int code = NK_OK;
  job->max_prob = nk_alloc(job->n, sizeof *job->max_prob);
  if (job->max_prob == NULL) return NK_EMEMORY;
  if (job->prompts.n > 0 && (texts = nk_alloc(job->prompts.n, sizeof *texts)) == NULL)
    return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++) texts[p] = job->prompts.item[p].text;
  code = nk_verify(job->model, texts, job->prompts.n, job->ids, job->n, job->options.steps,
                   job->max_prob);
  nk_free(texts);
  return code;
}

static int prepare(struct job *job, const struct cli_run *run) {
  if (job->options.all && run->n_operands == 2)
    return nk_fail(NK_EUSAGE, "--all excludes a table of candidates");
  job->model = nk_model_open(run->operands[0]);
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  job->tokenizer = job->shape == NULL ? NULL : nk_model_tokenizer(job->model);
  if (job->tokenizer == NULL) return nk_error_code();
  int code = read_prompts(job);
  if (code != NK_OK) return code;
  return job->options.all ? take_all(job) : take_table(job, cli_operand(run, 1));
}

int main(int argc, char **argv) {
  struct job job = {.options = {.steps = 3}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'a', "all", CLI_OPTION_FLAG, &o->all, NULL, "verify the whole vocabulary, without a table"},
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT",
       "use this prompt, with slots {} for the token; repeatable"},
      {0, "prompts", CLI_OPTION_STRING, &o->prompts, "FILE",
       "use the prompts of a table (prompt, text)"},
      {0, "steps", CLI_OPTION_SIZE, &o->steps, "N",
       "look at N positions from the prompt's end on (3)", .most = 1024},
      {0, "truth", CLI_OPTION_STRING, &o->truth, "TABLE",
       "evaluate the verdicts against TABLE's counts (id, count)"},
  };
  const struct cli_tool tool = {
      .name = "nk-verify",
      .summary = "whether the model repeats a token",
      .usage = "[OPTION]... MODEL [TABLE]",
      .options = options,
      .n_options = sizeof options / sizeof options[0],
      .example = "nk-verify data/gpt2-tiny --all --truth data/gpt2-tiny/counts.tsv",
  };
  struct cli_run run;
  cli_begin(&run, &tool, argc, argv, 1, 2);

  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  int code = prepare(&job, &run);
  if (code == NK_OK) code = verify(&job);
  if (code != NK_OK) goto done;
  output = cli_output(&run, NK_OUTPUT_TEXT);
  table = output != NULL ? cli_new_table(&run, output) : NULL;
  if ((code = table != NULL ? NK_OK : nk_error_code()) != NK_OK) goto done;
  code = o->truth != NULL ? write_by_count(&job, table) : write_rows(&job, table);

done:
  code = cli_close(table, output, code);
  cli_frame_free(job.frame);
  cli_prompts_free(&job.prompts);
  nk_model_free(job.model);
  nk_free(job.categories);
  nk_free(job.ids);
  nk_free(job.max_prob);
  cli_strings_free(&o->texts);
  return cli_end(&run, code);
}
