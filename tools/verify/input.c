/* nk-verify's input: which options go together, and the tokens or texts that are verified. */
#include <string.h>

#include "verify/verify.h"

/* ---- What goes together ---- */

static int check_options(const struct verify_options *o, const struct cli_run *run) {
  bool controls = (o->summary && !o->agree) || (o->controls != VERIFY_NOT_GIVEN && o->controls > 0);
  if (o->all && run->n_operands == 2)
    return nk_fail(NK_EUSAGE, "--all excludes a table of candidates");
  if (o->all && controls)
    return nk_fail(NK_EUSAGE,
                   "--controls and --summary need a table of candidates: with --all "
                   "there is no other token");
  if (o->all && o->text) return nk_fail(NK_EUSAGE, "--text needs a table of texts: not --all");
  if (o->truth != NULL && o->text)
    return nk_fail(NK_EUSAGE, "--truth has counts of tokens: it excludes --text");
  if (o->truth != NULL && controls)
    return nk_fail(NK_EUSAGE, "--truth excludes --controls and --summary");
  if (o->agree && (o->all || o->text || o->truth != NULL || o->repeats > 0))
    return nk_fail(NK_EUSAGE, "--agree excludes --all, --text, --truth and --repeats");
  if (o->agree && o->controls != VERIFY_NOT_GIVEN)
    return nk_fail(NK_EUSAGE, "--agree excludes --controls, which have no q_value");
  if (!o->agree && o->level != VERIFY_NO_LEVEL)
    return nk_fail(NK_EUSAGE, "--level is that of --agree");
  if (o->agree && o->level != VERIFY_NO_LEVEL && !(o->level >= 0 && o->level <= 1))
    return nk_fail(NK_EUSAGE, "--level %g: a q_value from 0 to 1 is needed", o->level);
  if (o->truth != NULL && o->repeats > 0) return nk_fail(NK_EUSAGE, "--truth excludes --repeats");
  if (o->repeats > 0 && !(o->temperature > 0))
    return nk_fail(NK_EUSAGE,
                   "--repeats: greedy decoding gives the same answer each time; sample with "
                   "--temperature T, above 0");
  if (o->repeats == 0 && o->temperature != 0)
    return nk_fail(NK_EUSAGE, "--temperature is that of --repeats N");
  if (o->steps == 0) return nk_fail(NK_EUSAGE, "--steps: 1 or more are needed");
  if (o->shard != NULL && (o->summary || o->agree || o->truth != NULL))
    return nk_fail(NK_EUSAGE, "--shard: %s is of all rows together: apply it to the joined table",
                   o->truth != NULL ? "--truth"
                   : o->agree       ? "--agree"
                                    : "--summary");
  return NK_OK;
}

/* Of a table that has what would be found, the options of a run would be without effect. */
static int check_known(const struct verify_job *job) {
  const struct verify_options *o = &job->options;
  const char *option = o->texts.n > 0                 ? "--prompt"
                       : o->prompts != NULL           ? "--prompts"
                       : o->chat != NULL              ? "--chat"
                       : o->steps != VERIFY_NOT_GIVEN ? "--steps"
                                                      : NULL;
  if (!job->known || option == NULL) return NK_OK;
  return nk_fail(NK_EUSAGE,
                 "%s: it has the columns encoded and max_prob, and the model is not run: %s has no "
                 "effect; leave it out, or leave out these columns",
                 cli_frame_name(job->frame), option);
}

/* A summary compares with controls. */
static int check_summary(const struct verify_job *job) {
  const struct verify_options *o = &job->options;
  if (!o->summary || o->agree || o->controls != 0 || job->control != NULL) return NK_OK;
  return nk_fail(NK_EUSAGE,
                 "%s: --summary compares with controls: the table has no column 'control', and "
                 "--controls is 0; use 1 or more",
                 cli_frame_name(job->frame));
}

/* ---- Tokens and texts ---- */

static int read_prompts(struct verify_job *job) {
  struct verify_options *o = &job->options;
  const struct cli_strings tables = {.item = &o->prompts, .n = o->prompts != NULL};
  return cli_read_all_prompts(&job->prompts, &o->texts, &tables);
}

static int take_all(struct verify_job *job) {
  job->n = job->shape->n_vocabulary;
  job->ids = nk_alloc(job->n, sizeof *job->ids);
  if (job->ids == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n; i++) job->ids[i] = (int64_t)i;
  return NK_OK;
}

/* The column `control` of a table that this tool made. */
static int take_controls(struct verify_job *job) {
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

static int take_ids(struct verify_job *job) {
  size_t n_vocabulary = job->shape->n_vocabulary;
  int code = cli_frame_integers(job->frame, "id", &job->ids);
  for (size_t i = 0; i < job->n && code == NK_OK; i++)
    if (job->ids[i] < 0 || (size_t)job->ids[i] >= n_vocabulary)
      code = nk_fail(NK_EDATA, "%s: row %zu: id %lld: the model has tokens 0 to %zu",
                     cli_frame_name(job->frame), i + 1, (long long)job->ids[i], n_vocabulary - 1);
  return code;
}

static int take_texts(struct verify_job *job) {
  int64_t column = cli_frame_column(job->frame, "text");
  if (column < 0) return (int)column;
  size_t *ends = nk_alloc(job->n, sizeof *ends);
  job->texts = nk_alloc(job->n, sizeof *job->texts);
  int code = ends == NULL || job->texts == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    const char *cell = cli_frame_cell(job->frame, i, (size_t)column);
    nk_unescape(&job->bytes, cell, strlen(cell));
    ends[i] = job->bytes.size;
    if (job->bytes.failed) code = nk_fail(NK_EMEMORY, "no memory for the texts");
  }
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    size_t start = i == 0 ? 0 : ends[i - 1];
    job->texts[i] = (struct nk_text){job->bytes.data + start, ends[i] - start};
  }
  nk_free(ends);
  return code;
}

int verify_make_room(struct verify_job *job) {
  struct nk_verification *f = &job->found;
  f->max_prob = nk_alloc(job->n, sizeof *f->max_prob);
  f->encoded = nk_alloc(job->n, sizeof *f->encoded);
  f->n_pieces = nk_alloc(job->n, sizeof *f->n_pieces);
  f->failures = nk_alloc(job->n, verify_n_prompts(job) * sizeof *f->failures);
  return f->max_prob == NULL || f->encoded == NULL || f->n_pieces == NULL || f->failures == NULL
             ? NK_EMEMORY
             : NK_OK;
}

/* What a table of this tool has found already. */
static int take_found(struct verify_job *job) {
  int64_t max_prob = cli_frame_find(job->frame, "max_prob");
  int64_t encoded = cli_frame_find(job->frame, "encoded"), value = 0;
  job->known = max_prob >= 0 && encoded >= 0;
  if (!job->known) return NK_OK;
  int code = verify_make_room(job);
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    code = cli_frame_number(job->frame, i, (size_t)max_prob, &job->found.max_prob[i]);
    if (code == NK_OK) code = cli_frame_integer(job->frame, i, (size_t)encoded, &value);
    if (code == NK_OK) job->found.encoded[i] = value > 0 ? (size_t)value : 0;
  }
  return code;
}

static int take_table(struct verify_job *job, const char *path) {
  job->frame = cli_frame_read(path);
  if (job->frame == NULL) return nk_error_code();
  job->number = cli_frame_number_columns(job->frame);
  if (job->number == NULL) return NK_EMEMORY;
  job->n = cli_frame_n_rows(job->frame);
  int code = job->options.text ? take_texts(job) : take_ids(job);
  if (code == NK_OK) code = take_controls(job);
  if (code == NK_OK && job->options.agree) code = take_found(job);
  if (code == NK_OK) code = check_known(job);
  return code == NK_OK ? check_summary(job) : code;
}

/* The categories that rows of their own have. */
static int find_categories(struct verify_job *job) {
  size_t n = job->shape->n_vocabulary;
  job->categories = nk_alloc(n, sizeof *job->categories);
  return job->categories == NULL ? NK_EMEMORY
                                 : nk_tokenizer_categories(job->tokenizer, n, job->categories);
}

int verify_open(struct verify_job *job) {
  enum { DEFAULT_CONTROLS = 200, DEFAULT_STEPS = 3 };
  struct verify_options *o = &job->options;
  int code = check_options(o, job->run);
  if (code == NK_OK) code = cli_shard_parse(o->shard, &job->shard);
  if (code != NK_OK) return code;
  job->model = nk_model_open(job->run->operands[0]);
  code = cli_use_engine(job->model, &o->engine);
  if (code != NK_OK) return code;
  job->shape = nk_forward_shape(nk_model_forward(job->model));
  job->tokenizer = job->shape == NULL ? NULL : nk_model_tokenizer(job->model);
  if (job->tokenizer == NULL) return nk_error_code();
  code = read_prompts(job);
  if (code == NK_OK) code = cli_chat_prompts(job->run, o->chat, job->model, &job->prompts);
  if (code == NK_OK) code = o->all ? take_all(job) : take_table(job, cli_operand(job->run, 1));
  if (o->steps == VERIFY_NOT_GIVEN) o->steps = DEFAULT_STEPS;
  if (o->level == VERIFY_NO_LEVEL) o->level = 0.05;
  if (o->controls == VERIFY_NOT_GIVEN) /* a table's own controls are enough */
    o->controls = o->summary && !o->agree && job->control == NULL ? DEFAULT_CONTROLS : 0;
  if (code == NK_OK && !o->text && (o->all || o->controls > 0)) code = find_categories(job);
  return code == NK_OK && o->controls > 0 ? verify_add_controls(job) : code;
}

void verify_free(struct verify_job *job) {
  cli_frame_free(job->frame);
  nk_free(job->number);
  cli_prompts_free(&job->prompts);
  nk_model_free(job->model);
  nk_free(job->categories);
  nk_free(job->ids);
  nk_free(job->texts);
  nk_buffer_free(&job->bytes);
  nk_buffer_free(&job->drawn);
  nk_free(job->control);
  nk_free(job->found.max_prob);
  nk_free(job->found.encoded);
  nk_free(job->found.n_pieces);
  nk_free(job->found.failures);
}
