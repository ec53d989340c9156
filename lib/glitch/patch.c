/* Rows to put in place of glitch tokens': each is the mean of some rows of the same matrix, and the
 * methods differ by which. */
#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "text/without.h"

enum { DEFAULT_K = 10, BLOCK_VALUES = 4 << 20 };

struct job {
  const struct nk_tensor *matrix;
  const struct nk_tokenizer *tokenizer;
  const struct nk_patch_options *options;
  int64_t *listed; /* [n_listed] ascending, each once */
  size_t n_listed;
  bool *banned;      /* [n_rows or n_tokens, the larger] the same as marks */
  int64_t *ordinary; /* [n_ordinary] ascending rows */
  size_t n_ordinary;
  struct nk_patch *out;
};

/* ---- Means of rows ---- */

/* out [n, dim] = rows[i] of the tensor, neighbours in the file read together. */
static int gather(const struct nk_tensor *tensor, const int64_t *rows, size_t n, float *out) {
  size_t dim = tensor->shape[1];
  int code = NK_OK;
  for (size_t i = 0, run; i < n && code == NK_OK; i += run) {
    for (run = 1; i + run < n && rows[i + run] == rows[i] + (int64_t)run;) run++;
    code = nk_model_rows(tensor, (size_t)rows[i], run, out + i * dim);
  }
  return code;
}

/* mean [dim] = the mean of n > 0 rows. */
static int mean_of(const struct nk_tensor *tensor, const int64_t *rows, size_t n, float *mean) {
  size_t dim = tensor->shape[1], block = BLOCK_VALUES / dim + 1;
  if (block > n) block = n;
  float *x = nk_alloc(block * dim, sizeof *x);
  double *sum = nk_calloc(dim, sizeof *sum);
  int code = x == NULL || sum == NULL ? NK_EMEMORY : NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += block) {
    size_t some = n - first < block ? n - first : block;
    code = gather(tensor, rows + first, some, x);
    for (size_t i = 0; i < some && code == NK_OK; i++) {
      if (nki_first_not_finite(x + i * dim, dim) < dim)
        code = nk_fail(NK_EDATA, "%s: row %lld is not finite: list it, so that it is replaced",
                       tensor->name, (long long)rows[first + i]);
      for (size_t j = 0; j < dim; j++) sum[j] += (double)x[i * dim + j];
    }
  }
  for (size_t j = 0; j < dim && code == NK_OK; j++) mean[j] = (float)(sum[j] / (double)n);
  nk_free(sum);
  nk_free(x);
  return code;
}

/* Adds the mean of n rows as that of a listed token. */
static int add_mean(const struct job *job, int64_t id, const int64_t *rows, size_t n) {
  struct nk_patch *out = job->out;
  int code = mean_of(job->matrix, rows, n, out->values + out->n * job->matrix->shape[1]);
  if (code == NK_OK) out->rows[out->n++] = id;
  return code;
}

/* ---- Which rows ---- */

static int by_mean(const struct job *job) {
  size_t dim = job->matrix->shape[1];
  float *values = job->out->values;
  int code = add_mean(job, job->listed[0], job->ordinary, job->n_ordinary);
  for (size_t i = 1; i < job->n_listed && code == NK_OK; i++) {
    memcpy(values + i * dim, values, dim * sizeof *values);
    job->out->rows[job->out->n++] = job->listed[i];
  }
  return code;
}

/* x [*n_kept, dim] = the rows of ids that have a direction, kept [*n_kept] = their ids: rows of
 * zeros are left out, and one that is not finite is an error. */
static int gather_directions(const struct nk_tensor *tensor, const int64_t *ids, size_t n, float *x,
                             int64_t *kept, size_t *n_kept) {
  size_t dim = tensor->shape[1];
  int code = gather(tensor, ids, n, x);
  *n_kept = 0;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const float *row = x + i * dim;
    size_t j = 0;
    if (nki_first_not_finite(row, dim) < dim)
      return nk_fail(NK_EDATA,
                     "%s: row %lld is not finite and has no neighbours: list it, and replace "
                     "rows by the mean of all others",
                     tensor->name, (long long)ids[i]);
    while (j < dim && row[j] == 0) j++;
    if (j == dim) continue;
    memmove(x + *n_kept * dim, row, dim * sizeof *row);
    kept[(*n_kept)++] = ids[i];
  }
  return code;
}

static int by_neighbours(const struct job *job, const struct nk_tensor *input) {
  size_t dim = input->shape[1], n_base = 0, n_query = 0, n = job->n_listed;
  float *base = NULL, *query = NULL;
  int64_t *rows = NULL, *near = NULL, *ids = NULL;
  struct nk_knn *knn = NULL;
  const struct nk_knn_options options = {.k = job->options->k != 0 ? job->options->k : DEFAULT_K,
                                         .metric = NK_METRIC_COSINE};
  int code = NK_EMEMORY;
  if (!nk_size_mul(job->n_ordinary, dim, &n_base) || !nk_size_mul(n, dim, &n_query) ||
      (base = nk_alloc(n_base, sizeof *base)) == NULL ||
      (query = nk_alloc(n_query, sizeof *query)) == NULL ||
      (near = nk_alloc(job->n_ordinary, sizeof *near)) == NULL ||
      (ids = nk_alloc(n, sizeof *ids)) == NULL)
    goto done;
  code = gather_directions(input, job->ordinary, job->n_ordinary, base, near, &n_base);
  if (code == NK_OK) code = gather_directions(input, job->listed, n, query, ids, &n);
  if (code != NK_OK || n == 0) goto done;
  knn = nk_knn_search(base, n_base, dim, query, n, &options);
  if (knn == NULL) {
    code = nk_fail_in(nk_error_code(), "%s", input->name);
    goto done;
  }
  if ((rows = nk_alloc(knn->k, sizeof *rows)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK && knn->k < options.k && job->matrix == input)
    nk_warn("%s: %zu neighbours, all ordinary rows, where %zu are wanted", input->name, knn->k,
            options.k);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    for (size_t j = 0; j < knn->k; j++) rows[j] = near[knn->rows[i * knn->k + j]];
    code = add_mean(job, ids[i], rows, knn->k);
  }
done:
  nk_knn_free(knn);
  nk_free(rows);
  nk_free(ids);
  nk_free(near);
  nk_free(query);
  nk_free(base);
  return code;
}

/* The rows of a token's pieces; a piece past the matrix's end has none, and then the token too. */
static int by_text(const struct job *job) {
  struct nki_ids ids = {0};
  struct nki_without *without = nki_without_new(job->tokenizer, job->banned);
  int code = without == NULL ? nk_error_code() : NK_OK;
  for (size_t i = 0; i < job->n_listed && code == NK_OK; i++) {
    ids.n = 0;
    code = nki_without_pieces(without, (size_t)job->listed[i], &ids);
    bool has_rows = ids.n > 0;
    for (size_t j = 0; j < ids.n; j++)
      has_rows = has_rows && (size_t)ids.id[j] < job->matrix->shape[0];
    if (code == NK_OK && has_rows) code = add_mean(job, job->listed[i], ids.id, ids.n);
  }
  nki_without_free(without);
  nk_free(ids.id);
  return code;
}

/* ---- The whole ---- */

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* The ids in order, without repetitions and those that only the input matrix has rows for. */
static int list_ids(struct job *job, const int64_t *ids, size_t n, const struct nk_tensor *input) {
  if ((job->listed = nk_alloc(n, sizeof *job->listed)) == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    if (ids[i] < 0 || (size_t)ids[i] >= input->shape[0])
      return nk_fail(NK_EDATA, "no row for id %lld: '%s' has %zu", (long long)ids[i], input->name,
                     input->shape[0]);
    job->listed[i] = ids[i];
  }
  if (n > 0) qsort(job->listed, n, sizeof *job->listed, compare_ids);
  for (size_t i = 0; i < n; i++)
    if ((i == 0 || job->listed[i] != job->listed[i - 1]) &&
        (size_t)job->listed[i] < job->matrix->shape[0])
      job->listed[job->n_listed++] = job->listed[i];
  return NK_OK;
}

static int find_ordinary(struct job *job, size_t n_input) {
  size_t n = job->matrix->shape[0] < n_input ? job->matrix->shape[0] : n_input;
  size_t n_tokens = nk_tokenizer_n_tokens(job->tokenizer);
  enum nk_category *category = nk_alloc(n, sizeof *category);
  job->ordinary = nk_alloc(n, sizeof *job->ordinary);
  job->banned = nk_calloc(n > n_tokens ? n : n_tokens, sizeof *job->banned);
  int code = category == NULL || job->ordinary == NULL || job->banned == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_tokenizer_categories(job->tokenizer, n, category);
  for (size_t i = 0; i < job->n_listed && code == NK_OK; i++) job->banned[job->listed[i]] = true;
  for (size_t id = 0; id < n && code == NK_OK; id++)
    if (category[id] <= NK_TOKEN_PARTIAL_UTF8 && !job->banned[id])
      job->ordinary[job->n_ordinary++] = (int64_t)id;
  nk_free(category);
  if (code == NK_OK && job->n_ordinary == 0)
    code = nk_fail(NK_EDATA, "%s: every token that text can give is listed", job->matrix->name);
  return code;
}

static int allocate(const struct job *job, struct nk_patch *out) {
  size_t n_values = 0;
  out->rows = nk_alloc(job->n_listed, sizeof *out->rows);
  if (nk_size_mul(job->n_listed, job->matrix->shape[1], &n_values))
    out->values = nk_alloc(n_values, sizeof *out->values);
  return out->rows == NULL || out->values == NULL ? NK_EMEMORY : NK_OK;
}

int nk_patch_rows(struct nk_model *model, enum nk_matrix which,
                  const struct nk_patch_options *options, const int64_t *ids, size_t n,
                  struct nk_patch *out) {
  static const struct nk_patch_options defaults;
  *out = (struct nk_patch){0};
  struct job job = {.options = options != NULL ? options : &defaults, .out = out};
  const struct nk_tensor *input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  job.matrix = which == NK_MATRIX_INPUT ? input : nk_model_matrix(model, which, NULL);
  if (input == NULL || job.matrix == NULL) return nk_error_code();
  if (which == NK_MATRIX_POSITION || input->shape[1] == 0 || job.matrix->shape[1] == 0)
    return nk_fail(NK_EUSAGE, "rows are replaced in the matrices of tokens");
  if ((job.tokenizer = nk_model_tokenizer(model)) == NULL) return nk_error_code();
  out->tensor = job.matrix;
  int code = list_ids(&job, ids, n, input);
  if (code == NK_OK) code = find_ordinary(&job, input->shape[0]);
  if (code == NK_OK) code = allocate(&job, out);
  if (code == NK_OK && job.n_listed > 0)
    code = job.options->source == NK_PATCH_MEAN         ? by_mean(&job)
           : job.options->source == NK_PATCH_NEIGHBOURS ? by_neighbours(&job, input)
                                                        : by_text(&job);
  nk_free(job.listed);
  nk_free(job.ordinary);
  nk_free(job.banned);
  if (code == NK_OK && which == NK_MATRIX_INPUT && out->n < job.n_listed)
    nk_warn("%zu of %zu listed tokens keep their rows: %s", job.n_listed - out->n, job.n_listed,
            job.options->source == NK_PATCH_NEIGHBOURS
                ? "these are zero, which has no neighbours by cosine"
                : "the other tokens do not spell them");
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", nk_model_name(model));
}
