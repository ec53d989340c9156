/* nk-verify: whether the model repeats a token. */
#include "cli/engine.h"
#include "cli/tool.h"
#include "cli/verdict_table.h"

enum { DEFAULT_CONTROLS = 200 };

struct options {
  bool all;
  const char *prompts;
  struct cli_strings texts;
  size_t steps, controls;
  bool summary;
  const char *truth;
  struct cli_engine engine;
};

struct job {
  struct options options;
  struct nk_model *model;
  const struct nk_forward_shape *shape;
  const struct nk_tokenizer *tokenizer;
  struct cli_prompts prompts;   /* none: the library's */
  struct cli_frame *frame;      /* the candidates' table, NULL with --all */
  enum nk_category *categories; /* [vocabulary] with --all and --controls, else NULL */
  size_t n;
  int64_t *ids;     /* [n] */
  bool *control;    /* [n] or NULL */
  double *max_prob; /* [n] */
  size_t *encoded;  /* [n] */
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
  if (job->ids == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n; i++) job->ids[i] = (int64_t)i;
  return NK_OK;
}

/* The column `control` of a table that this tool made. */
static int take_controls(struct job *job) {
  int64_t column = cli_frame_find(job->frame, "control"), value = 0;
  if (column < 0) return NK_OK;
  job->control = nk_calloc(job->n, sizeof *job->control);
  int code = job->control == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    code = cli_frame_integer(job->frame, i, (size_t)column, &value);
    job->control[i] = code == NK_OK && value != 0;
  }
  return code;
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
  return take_controls(job);
}

/* *drawn [*n] = ordinary tokens like those that the table lists, without the controls it has. */
static int draw_controls(const struct job *job, uint64_t seed, int64_t **drawn, size_t *n) {
  struct nk_ordinary_options like = {.n = job->options.controls, .seed = seed};
  int64_t *listed = nk_alloc(job->n, sizeof *listed), *had = nk_alloc(job->n, sizeof *had);
  int code = listed == NULL || had == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    if (job->control != NULL && job->control[i])
      had[like.n_excluded++] = job->ids[i];
    else
      listed[like.n_like++] = job->ids[i];
  }
  like.like = listed;
  like.excluded = had;
  if (code == NK_OK) code = nk_ordinary_tokens(job->model, &like, drawn, n);
  nk_free(listed);
  nk_free(had);
  return code;
}

/* Appends the controls. */
static int add_controls(struct job *job, uint64_t seed) {
  int64_t *drawn = NULL;
  size_t n = 0;
  int code = draw_controls(job, seed, &drawn, &n);
  int64_t *ids = code == NK_OK ? nk_alloc(job->n + n, sizeof *ids) : NULL;
  bool *control = code == NK_OK ? nk_calloc(job->n + n, sizeof *control) : NULL;
  if (code == NK_OK && (ids == NULL || control == NULL)) code = NK_EMEMORY;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    ids[i] = job->ids[i];
    control[i] = job->control != NULL && job->control[i];
  }
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    ids[job->n + i] = drawn[i];
    control[job->n + i] = true;
  }
  nk_free(drawn);
  if (code != NK_OK) {
    nk_free(ids);
    nk_free(control);
    return code;
  }
  nk_free(job->ids);
  nk_free(job->control);
  job->ids = ids;
  job->control = control;
  job->n += n;
  return NK_OK;
}

/* ---- Output ---- */

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

static int write_by_count(const struct job *job, const struct cli_verdicts *verdicts,
                          struct cli_table *table) {
  int64_t *by_id = nk_alloc(job->shape->n_vocabulary, sizeof *by_id);
  int64_t *counts = nk_alloc(job->n, sizeof *counts);
  int code = by_id == NULL || counts == NULL ? NK_EMEMORY : read_truth(job, by_id);
  for (size_t i = 0; i < job->n && code == NK_OK; i++) counts[i] = by_id[job->ids[i]];
  if (code == NK_OK) code = cli_verdict_counts(verdicts, counts, table);
  nk_free(by_id);
  nk_free(counts);
  return code;
}

static int verify(struct job *job) {
  struct nk_verify_options options = {.n_prompts = job->prompts.n, .n_steps = job->options.steps};
  const char **texts = NULL;
  job->max_prob = nk_alloc(job->n, sizeof *job->max_prob);
  job->encoded = nk_alloc(job->n, sizeof *job->encoded);
  if (job->max_prob == NULL || job->encoded == NULL) return NK_EMEMORY;
  if (job->prompts.n > 0 && (texts = nk_alloc(job->prompts.n, sizeof *texts)) == NULL)
    return NK_EMEMORY;
  for (size_t p = 0; p < job->prompts.n; p++) texts[p] = job->prompts.item[p].text;
  options.prompts = texts;
  int code = nk_verify(job->model, &options, job->ids, job->n, job->max_prob, job->encoded);
  nk_free(texts);
  return code;
}

static int write_output(const struct job *job, const struct cli_run *run) {
  const struct cli_verdicts verdicts = {.tokenizer = job->tokenizer,
                                        .frame = job->frame,
                                        .categories = job->categories,
                                        .n = job->n,
                                        .ids = job->ids,
                                        .max_prob = job->max_prob,
                                        .encoded = job->encoded,
                                        .control = job->control};
  struct nk_output *output = cli_output(run, NK_OUTPUT_TEXT);
  struct cli_table *table = output != NULL ? cli_new_table(run, output) : NULL;
  int code = table != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && job->options.truth != NULL)
    code = write_by_count(job, &verdicts, table);
  else if (code == NK_OK)
    code = job->options.summary ? cli_verdict_summary(&verdicts, table)
                                : cli_verdict_rows(&verdicts, table);
  return cli_close(table, output, code);
}

/* Options that exclude each other. */
static int check_options(const struct options *o, const struct cli_run *run) {
  bool controls = o->summary || (o->controls != SIZE_MAX && o->controls > 0);
  if (o->all && run->n_operands == 2)
    return nk_fail(NK_EUSAGE, "--all excludes a table of candidates");
  if (o->all && controls)
    return nk_fail(NK_EUSAGE,
                   "--controls and --summary need a table of candidates: with --all "
                   "there is no other token");
  if (o->truth != NULL && controls)
    return nk_fail(NK_EUSAGE, "--truth excludes --controls and --summary");
  if (o->steps == 0) return nk_fail(NK_EUSAGE, "--steps: 1 or more are needed");
  return NK_OK;
}

static int find_categories(struct job *job) {
  size_t n = job->shape->n_vocabulary;
  job->categories = nk_alloc(n, sizeof *job->categories);
  return job->categories == NULL ? NK_EMEMORY
                                 : nk_tokenizer_categories(job->tokenizer, n, job->categories);
}

static int prepare(struct job *job, const struct cli_run *run) {
  struct options *o = &job->options;
  int code = check_options(o, run);
  if (code != NK_OK) return code;
  job->model = nk_model_open(run->operands[0]);
  code = cli_use_engine(job->model, &o->engine);
  if (code != NK_OK) return code;
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  job->tokenizer = job->shape == NULL ? NULL : nk_model_tokenizer(job->model);
  if (job->tokenizer == NULL) return nk_error_code();
  code = read_prompts(job);
  if (code == NK_OK) code = o->all ? take_all(job) : take_table(job, cli_operand(run, 1));
  if (o->controls == SIZE_MAX) /* a table's own controls are enough */
    o->controls = o->summary && job->control == NULL ? DEFAULT_CONTROLS : 0;
  if (code == NK_OK && (o->all || o->controls > 0)) code = find_categories(job);
  return code == NK_OK && o->controls > 0 ? add_controls(job, run->common.seed) : code;
}

int main(int argc, char **argv) {
  struct job job = {.options = {.steps = 3, .controls = SIZE_MAX}};
  struct options *o = &job.options;
  const struct cli_option options[] = {
      {'a', "all", CLI_OPTION_FLAG, &o->all, NULL, "verify the whole vocabulary, without a table"},
      {'p', "prompt", CLI_OPTION_LIST, &o->texts, "TEXT",
       "use this prompt, with slots {} for the token; repeatable"},
      {0, "prompts", CLI_OPTION_STRING, &o->prompts, "FILE",
       "use the prompts of a table (prompt, text)"},
      {0, "steps", CLI_OPTION_SIZE, &o->steps, "N",
       "look at N positions from the prompt's end on (3)", .most = 1024},
      {0, "controls", CLI_OPTION_SIZE, &o->controls, "N",
       "verify N ordinary tokens too, of the table's lengths and categories"},
      {0, "summary", CLI_OPTION_FLAG, &o->summary, NULL,
       "print the shares of listed tokens and controls that are verified"},
      {0, "truth", CLI_OPTION_STRING, &o->truth, "TABLE",
       "evaluate the verdicts against TABLE's counts (id, count)"},
      CLI_ENGINE_OPTIONS(&o->engine),
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

  int code = prepare(&job, &run);
  if (code == NK_OK) code = verify(&job);
  if (code == NK_OK) code = write_output(&job, &run);
  cli_frame_free(job.frame);
  cli_prompts_free(&job.prompts);
  nk_model_free(job.model);
  nk_free(job.categories);
  nk_free(job.ids);
  nk_free(job.control);
  nk_free(job.max_prob);
  nk_free(job.encoded);
  cli_strings_free(&o->texts);
  return cli_end(&run, code);
}
