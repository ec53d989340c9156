/* The base rate of verdicts: ordinary tokens, or texts of ordinary tokens, like those that a table
 * lists. */
#include "verify/verify.h"

static bool is_control(const struct verify_job *job, size_t i) {
  return job->control != NULL && job->control[i];
}

/* Room for n more. */
static int extend(struct verify_job *job, size_t n) {
  bool *control = nk_calloc(job->n + n, sizeof *control);
  if (control == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < job->n + n; i++) control[i] = i >= job->n || is_control(job, i);
  nk_free(job->control);
  job->control = control;
  return NK_OK;
}

/* ---- Tokens ---- */

/* *drawn [*n] = ordinary tokens like those that the table lists, without the controls it has. */
static int draw_tokens(const struct verify_job *job, int64_t **drawn, size_t *n) {
  struct nk_ordinary_options like = {.n = job->options.controls, .seed = job->run->common.seed};
  int64_t *listed = nk_alloc(job->n, sizeof *listed), *had = nk_alloc(job->n, sizeof *had);
  int code = listed == NULL || had == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++) {
    if (is_control(job, i))
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

static int add_tokens(struct verify_job *job) {
  int64_t *drawn = NULL;
  size_t n = 0;
  int code = draw_tokens(job, &drawn, &n);
  int64_t *ids = code == NK_OK ? nk_realloc(job->ids, job->n, job->n + n, sizeof *ids) : NULL;
  if (code == NK_OK && ids == NULL) code = NK_EMEMORY;
  if (ids != NULL) job->ids = ids;
  if (code == NK_OK) code = extend(job, n);
  for (size_t i = 0; i < n && code == NK_OK; i++) job->ids[job->n + i] = drawn[i];
  if (code == NK_OK) job->n += n;
  nk_free(drawn);
  return code;
}

/* ---- Texts ---- */

static int draw_texts(struct verify_job *job, size_t **ends, size_t *n) {
  struct nk_ordinary_options like = {.n = job->options.controls, .seed = job->run->common.seed};
  struct nk_text *listed = nk_alloc(job->n, sizeof *listed);
  int code = listed == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < job->n && code == NK_OK; i++)
    if (!is_control(job, i)) listed[like.n_like++] = job->texts[i];
  like.like_texts = listed;
  if (code == NK_OK) code = nk_ordinary_texts(job->model, &like, &job->drawn, ends, n);
  nk_free(listed);
  return code;
}

static int add_texts(struct verify_job *job) {
  size_t *ends = NULL, n = 0;
  int code = draw_texts(job, &ends, &n);
  struct nk_text *texts =
      code == NK_OK ? nk_realloc(job->texts, job->n, job->n + n, sizeof *texts) : NULL;
  if (code == NK_OK && texts == NULL) code = NK_EMEMORY;
  if (texts != NULL) job->texts = texts;
  if (code == NK_OK) code = extend(job, n);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    size_t start = i == 0 ? 0 : ends[i - 1];
    job->texts[job->n + i] = (struct nk_text){job->drawn.data + start, ends[i] - start};
  }
  if (code == NK_OK) job->n += n;
  nk_free(ends);
  return code;
}

int verify_add_controls(struct verify_job *job) {
  return job->options.text ? add_texts(job) : add_tokens(job);
}
