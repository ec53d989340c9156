/* Rows to put in place of glitch tokens': each is the mean of some rows of the same matrix, and the
 * methods differ by which. These depend on the matrix only by how many rows it has, and are found
 * once for matrices of as many. */
#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <string.h>

#include "base/error.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "text/without.h"

enum { DEFAULT_K = 10, BLOCK_VALUES = 4 << 20 };

/* A listed token and the rows whose mean it gets, [n] of those that a job's `rows` holds. */
struct source {
  int64_t id;
  size_t first, n;
};

struct job {
  const struct nk_tensor *input, *matrix; /* matrix: the one that is patched */
  const struct nk_tokenizer *tokenizer;
  const struct nk_patch_options *options;
  size_t n_rows;   /* what follows is of ids below it, for which both matrices have rows */
  int64_t *listed; /* [n_listed] ascending, each once */
  size_t n_listed;
  bool *banned;      /* [n_rows or n_tokens, the larger] the same as marks */
  int64_t *ordinary; /* [n_ordinary] ascending rows */
  size_t n_ordinary;
  struct source *sources; /* [n_sources] of the listed tokens that have any; not of NK_PATCH_MEAN */
  size_t n_sources;
  struct nki_ids rows;
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
static int add_mean(struct nk_patch *out, int64_t id, const int64_t *rows, size_t n) {
  int code = mean_of(out->tensor, rows, n, out->values + out->n * out->tensor->shape[1]);
  if (code == NK_OK) out->rows[out->n++] = id;
  return code;
}

static int add_one_mean(const struct job *job, struct nk_patch *out) {
  size_t dim = out->tensor->shape[1];
  int code =
      job->n_listed > 0 ? add_mean(out, job->listed[0], job->ordinary, job->n_ordinary) : NK_OK;
  for (size_t i = 1; i < job->n_listed && code == NK_OK; i++) {
    memcpy(out->values + i * dim, out->values, dim * sizeof *out->values);
    out->rows[out->n++] = job->listed[i];
  }
  return code;
}

/* A source past the matrix's end has no row, and then the token has none. */
static int add_means(const struct job *job, struct nk_patch *out) {
  int code = NK_OK;
  for (size_t i = 0; i < job->n_sources && code == NK_OK; i++) {
    const struct source *source = &job->sources[i];
    const int64_t *rows = job->rows.id + source->first;
    bool has_rows = true;
    for (size_t j = 0; j < source->n; j++)
      has_rows = has_rows && (size_t)rows[j] < out->tensor->shape[0];
    if (has_rows) code = add_mean(out, source->id, rows, source->n);
  }
  return code;
}

/* ---- Which rows ---- */

/* The rows that were added from `first` on are a token's sources. */
static void add_source(struct job *job, int64_t id, size_t first) {
  if (job->rows.n > first)
    job->sources[job->n_sources++] = (struct source){id, first, job->rows.n - first};
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

static int find_neighbours(struct job *job) {
  const struct nk_tensor *input = job->input;
  size_t dim = input->shape[1], n_base = 0, n_query = 0, n = job->n_listed;
  float *base = NULL, *query = NULL;
  int64_t *near = NULL, *ids = NULL;
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
  if (knn->k < options.k && job->matrix == input)
    nk_warn("%s: %zu neighbours, all ordinary rows, where %zu are wanted", input->name, knn->k,
            options.k);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    size_t first = job->rows.n;
    for (size_t j = 0; j < knn->k && code == NK_OK; j++)
      if (!nki_ids_add(&job->rows, near[knn->rows[i * knn->k + j]])) code = NK_EMEMORY;
    add_source(job, ids[i], first);
  }
done:
  nk_knn_free(knn);
  nk_free(ids);
  nk_free(near);
  nk_free(query);
  nk_free(base);
  return code;
}

static int find_pieces(struct job *job) {
  struct nki_without *without = nki_without_new(job->tokenizer, job->banned);
  int code = without == NULL ? nk_error_code() : NK_OK;
  for (size_t i = 0; i < job->n_listed && code == NK_OK; i++) {
    size_t first = job->rows.n;
    code = nki_without_pieces(without, (size_t)job->listed[i], &job->rows);
    add_source(job, job->listed[i], first);
  }
  nki_without_free(without);
  return code;
}

/* ---- The whole ---- */

/* The ids in order, without repetitions and those that only the input matrix has rows for. */
static int list_ids(struct job *job, const int64_t *ids, size_t n) {
  size_t n_tokens = nk_tokenizer_n_tokens(job->tokenizer), n_rows = job->n_rows;
  job->listed = nk_alloc(n, sizeof *job->listed);
  job->banned = nk_calloc(n_rows > n_tokens ? n_rows : n_tokens, sizeof *job->banned);
  if (job->listed == NULL || job->banned == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    if (ids[i] < 0 || (size_t)ids[i] >= job->input->shape[0])
      return nk_fail(NK_EDATA, "no row for id %lld: '%s' has %zu", (long long)ids[i],
                     job->input->name, job->input->shape[0]);
    if ((size_t)ids[i] < n_rows) job->banned[ids[i]] = true;
  }
  for (size_t id = 0; id < n_rows; id++)
    if (job->banned[id]) job->listed[job->n_listed++] = (int64_t)id;
  return NK_OK;
}

static int find_ordinary(struct job *job) {
  size_t n = job->n_rows;
  enum nk_category *category = nk_alloc(n, sizeof *category);
  job->ordinary = nk_alloc(n, sizeof *job->ordinary);
  int code = category == NULL || job->ordinary == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) code = nk_tokenizer_categories(job->tokenizer, n, category);
  for (size_t id = 0; id < n && code == NK_OK; id++)
    if (category[id] <= NK_TOKEN_PARTIAL_UTF8 && !job->banned[id])
      job->ordinary[job->n_ordinary++] = (int64_t)id;
  nk_free(category);
  if (code == NK_OK && job->n_ordinary == 0)
    code = nk_fail(NK_EDATA, "%s: every token that text can give is listed", job->matrix->name);
  return code;
}

static void forget(struct job *job) {
  nk_free(job->listed);
  nk_free(job->banned);
  nk_free(job->ordinary);
  nk_free(job->sources);
  nk_free(job->rows.id);
  job->listed = job->ordinary = NULL;
  job->banned = NULL;
  job->sources = NULL;
  job->rows = (struct nki_ids){0};
  job->n_listed = job->n_ordinary = job->n_sources = 0;
}

/* Finds for ids [n] what patching the matrix needs, unless that of the last matrix serves. */
static int find(struct job *job, const int64_t *ids, size_t n) {
  size_t n_rows = job->matrix->shape[0], n_input = job->input->shape[0];
  if (n_rows > n_input) n_rows = n_input;
  if (job->listed != NULL && job->n_rows == n_rows) return NK_OK;
  forget(job);
  job->n_rows = n_rows;
  int code = list_ids(job, ids, n);
  if (code == NK_OK) code = find_ordinary(job);
  if (code != NK_OK || job->n_listed == 0 || job->options->source == NK_PATCH_MEAN) return code;
  job->sources = nk_alloc(job->n_listed, sizeof *job->sources);
  if (job->sources == NULL) return NK_EMEMORY;
  return job->options->source == NK_PATCH_NEIGHBOURS ? find_neighbours(job) : find_pieces(job);
}

static int allocate(const struct job *job, struct nk_patch *out) {
  size_t n_values = 0;
  out->rows = nk_alloc(job->n_listed, sizeof *out->rows);
  if (nk_size_mul(job->n_listed, out->tensor->shape[1], &n_values))
    out->values = nk_alloc(n_values, sizeof *out->values);
  return out->rows == NULL || out->values == NULL ? NK_EMEMORY : NK_OK;
}

/* The rows of the matrix out->tensor. */
static int patch(struct job *job, const int64_t *ids, size_t n, struct nk_patch *out) {
  job->matrix = out->tensor;
  int code = find(job, ids, n);
  if (code == NK_OK) code = allocate(job, out);
  if (code != NK_OK) return code;
  return job->options->source == NK_PATCH_MEAN ? add_one_mean(job, out) : add_means(job, out);
}

static void warn_of_kept(const struct job *job, const struct nk_patch *out) {
  if (out->n == job->n_listed) return;
  nk_warn("%zu of %zu listed tokens keep their rows: %s", job->n_listed - out->n, job->n_listed,
          job->options->source == NK_PATCH_NEIGHBOURS
              ? "these are zero, which has no neighbours by cosine"
              : "the other tokens do not spell them");
}

int nk_patch_rows(struct nk_model *model, const enum nk_matrix *which, size_t n_matrices,
                  const struct nk_patch_options *options, const int64_t *ids, size_t n,
                  struct nk_patch *out) {
  static const struct nk_patch_options defaults;
  int code = NK_OK;
  for (size_t i = 0; i < n_matrices; i++) out[i] = (struct nk_patch){0};
  struct job job = {.options = options != NULL ? options : &defaults};
  job.input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  if (job.input == NULL) return nk_error_code();
  for (size_t i = 0; i < n_matrices; i++) {
    out[i].tensor =
        which[i] == NK_MATRIX_INPUT ? job.input : nk_model_matrix(model, which[i], NULL);
    if (out[i].tensor == NULL) return nk_error_code();
    if (which[i] == NK_MATRIX_POSITION || job.input->shape[1] == 0 || out[i].tensor->shape[1] == 0)
      return nk_fail(NK_EUSAGE, "rows are replaced in the matrices of tokens");
  }
  if ((job.tokenizer = nk_model_tokenizer(model)) == NULL) return nk_error_code();
  for (size_t i = 0; i < n_matrices && code == NK_OK; i++) {
    code = patch(&job, ids, n, &out[i]);
    if (code == NK_OK && which[i] == NK_MATRIX_INPUT) warn_of_kept(&job, &out[i]);
  }
  forget(&job);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", nk_model_name(model));
}
