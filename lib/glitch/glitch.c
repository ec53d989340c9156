/* Rankings from matrices, from a model's files and from vector sets. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/glitch.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <string.h>

#include "glitch/internal.h"
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/rows.h"
#include "text/tokenizer.h"

enum { FEWEST_ROWS = 8 };

struct nk_glitch *nki_glitch_new(size_t n, const enum nk_glitch_role *role) {
  struct nk_glitch *glitch = nk_calloc(1, sizeof *glitch);
  if (glitch == NULL) return NULL;
  glitch->n = n;
  glitch->role = nk_alloc(n, sizeof *role);
  glitch->own = nk_calloc(1, sizeof *glitch->own);
  glitch->score = nk_calloc(n, sizeof(double));
  glitch->p_value = nk_calloc(n, sizeof(double));
  glitch->q_value = nk_calloc(n, sizeof(double));
  glitch->rank = nk_calloc(n, sizeof(size_t));
  glitch->order = nk_calloc(n, sizeof(size_t));
  if (glitch->role != NULL && glitch->own != NULL && glitch->score != NULL &&
      glitch->p_value != NULL && glitch->q_value != NULL && glitch->rank != NULL &&
      glitch->order != NULL) {
    memcpy(glitch->role, role, n * sizeof *role);
    return glitch;
  }
  nk_glitch_free(glitch);
  return NULL;
}

void nk_glitch_free(struct nk_glitch *glitch) {
  if (glitch == NULL) return;
  for (size_t c = 0; c < glitch->n_columns; c++) nk_free(glitch->columns[c].values);
  nk_free(glitch->columns);
  nk_free(glitch->unused);
  nk_free(glitch->score);
  nk_free(glitch->role);
  nk_free(glitch->p_value);
  nk_free(glitch->q_value);
  nk_free(glitch->rank);
  nk_free(glitch->order);
  if (glitch->own != NULL) {
    nki_evidence_free(&glitch->own->output);
    nki_evidence_free(&glitch->own->input);
  }
  if (glitch->own != NULL) nk_free(glitch->own->bad);
  nk_free(glitch->own);
  nk_free(glitch);
}

/* The columns of a matrix that is the output matrix, the input matrix, or both. */
static int add_columns(struct nk_glitch *glitch, const float *x, size_t dim, bool output,
                       bool input, const struct nk_glitch_options *options) {
  struct nk_moments *moments = nk_moments_compute(x, NULL, glitch->n, dim);
  int code = moments != NULL ? NK_OK : nk_error_code();
  if (code == NK_OK && output) code = nki_output_columns(glitch, x, moments);
  if (code == NK_OK && input) code = nki_input_columns(glitch, x, moments, options);
  nk_moments_free(moments);
  return code;
}

int nki_glitch_output(struct nk_glitch *glitch, const float *x, size_t dim, bool tied,
                      const struct nk_glitch_options *options) {
  if (glitch->n < FEWEST_ROWS) return nk_fail(NK_EDATA, "%zu rows are too few to rank", glitch->n);
  glitch->own->without = options->without;
  int code = nki_find_unused(x, glitch->n, dim, glitch->role, &glitch->unused, &glitch->n_unused,
                             &glitch->basis.source);
  if (code == NK_OK) code = nki_evidence_measure(glitch, x, dim, &glitch->own->output);
  return code == NK_OK ? add_columns(glitch, x, dim, true, tied, options) : code;
}

int nki_glitch_input(struct nk_glitch *glitch, const float *x, size_t dim,
                     const struct nk_glitch_options *options) {
  int code = nki_evidence_measure(glitch, x, dim, &glitch->own->input);
  return code == NK_OK ? add_columns(glitch, x, dim, false, true, options) : code;
}

const struct nk_glitch_column *nk_glitch_find(const struct nk_glitch *glitch, const char *name) {
  for (size_t c = 0; c < glitch->n_columns; c++)
    if (strcmp(glitch->columns[c].name, name) == 0) return &glitch->columns[c];
  return NULL;
}

/* ---- Rows that are not finite ---- */

static size_t list_finite(const float *x, size_t n, size_t dim, bool *bad, size_t *rows) {
  size_t k = 0;
  for (size_t i = 0; i < n; i++)
    if (nki_first_not_finite(x + i * dim, dim) < dim)
      bad[i] = true;
    else
      rows[k++] = i;
  return k;
}

/* Ranks the rows of x [n, dim] that are not finite apart, and gives them the mean of the others, so
 * that they change no distance of another row. */
static int set_apart(struct nk_glitch *glitch, float *x, size_t dim) {
  size_t n = glitch->n, k = 0, n_unused = 0, *rows = nk_alloc(n, sizeof *rows);
  double *mean = nk_alloc(dim, sizeof *mean);
  bool *bad = glitch->own->bad;
  if (bad == NULL) bad = glitch->own->bad = nk_calloc(n, sizeof *bad);
  int code = rows == NULL || mean == NULL || bad == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK) k = list_finite(x, n, dim, bad, rows);
  if (code == NK_OK && k == 0) code = nk_fail(NK_EDATA, "no row is finite");
  if (code != NK_OK || k == n) goto done;
  nk_warn("%zu of %zu rows hold a NaN or an infinity and are not ranked", n - k, n);
  code = nk_mean(x, rows, k, dim, mean);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    if (!bad[i]) continue;
    glitch->role[i] = NK_ROLE_APART;
    for (size_t j = 0; j < dim; j++) x[i * dim + j] = (float)mean[j];
  }
  for (size_t u = 0; u < glitch->n_unused && code == NK_OK; u++)
    if (!bad[glitch->unused[u]]) glitch->unused[n_unused++] = glitch->unused[u];
  glitch->n_unused = n_unused;

done:
  nk_free(rows);
  nk_free(mean);
  return code;
}

static int rank(struct nk_glitch *glitch, const int64_t *merge_rank) {
  int code = nki_glitch_rank(glitch, merge_rank);
  for (size_t i = 0; i < glitch->n && code == NK_OK && glitch->own->bad != NULL; i++) {
    if (!glitch->own->bad[i]) continue;
    glitch->score[i] = (double)NAN;
    for (size_t c = 0; c < glitch->n_columns; c++) glitch->columns[c].values[i] = (double)NAN;
  }
  return code;
}

/* ---- A model ---- */

/* The first n rows of a 2-D tensor as floats, for nk_free. */
static float *widen(const struct nk_model *model, const struct nk_tensor *tensor, size_t n) {
  size_t dim = tensor->shape[1], values = 0, block = ((size_t)4 << 20) / dim + 1;
  float *x = nk_size_mul(n, dim, &values) ? nk_alloc(values, sizeof *x) : NULL;
  if (x == NULL) return NULL;
  int code = NK_OK;
  for (size_t first = 0; first < n && code == NK_OK; first += block) {
    size_t rows = n - first < block ? n - first : block;
    code = nk_model_rows(tensor, first, rows, x + first * dim);
    nki_model_forget(model, tensor, first, rows);
    if (code == NK_OK) code = nk_progress("reading", first + rows, n);
  }
  if (code == NK_OK) return x;
  nk_free(x);
  return NULL;
}

static int measure_matrix(struct nk_glitch *glitch, const struct nk_model *model,
                          const struct nk_tensor *tensor, bool output, bool tied,
                          const struct nk_glitch_options *options) {
  float *x = widen(model, tensor, glitch->n);
  int code = x == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK && options->skip_bad) code = set_apart(glitch, x, tensor->shape[1]);
  if (code == NK_OK)
    code = output ? nki_glitch_output(glitch, x, tensor->shape[1], tied, options)
                  : nki_glitch_input(glitch, x, tensor->shape[1], options);
  nk_free(x);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", tensor->name);
}

struct nk_glitch *nk_glitch_of_model(const struct nk_model *model,
                                     const struct nk_tokenizer *tokenizer,
                                     const struct nk_glitch_options *options,
                                     enum nk_category **category) {
  bool tied = false;
  struct nk_glitch *glitch = NULL;
  const struct nk_tensor *input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  const struct nk_tensor *output = nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied);
  if (input == NULL || output == NULL) return NULL;
  if (input->shape[1] == 0 || output->shape[1] == 0) {
    nk_fail(NK_EDATA, "tensor '%s': its rows have dimension 0",
            output->shape[1] == 0 ? output->name : input->name);
    return NULL;
  }
  size_t n = output->shape[0] < input->shape[0] ? output->shape[0] : input->shape[0], known = 0;
  if (output->shape[0] != input->shape[0])
    nk_warn("the input matrix has %zu rows, the output matrix %zu: the first %zu are ranked",
            input->shape[0], output->shape[0], n);
  enum nk_category *categories = nk_alloc(n, sizeof *categories);
  enum nk_glitch_role *role = nk_alloc(n, sizeof *role);
  int64_t *merge_rank = nk_alloc(n, sizeof *merge_rank);
  int code = NK_EMEMORY;
  if (categories == NULL || role == NULL || merge_rank == NULL) goto done;
  code = nki_roles_of_tokens(tokenizer, n, categories, role);
  if (code == NK_OK && (glitch = nki_glitch_new(n, role)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = measure_matrix(glitch, model, output, true, tied, options);
  if (code == NK_OK && !tied) code = measure_matrix(glitch, model, input, false, false, options);
  if (code != NK_OK) goto done;
  if (tokenizer != NULL) known = nk_tokenizer_n_tokens(tokenizer);
  for (size_t i = 0; i < n; i++)
    merge_rank[i] = i < known ? nki_tokenizer_merge_rank(tokenizer, i) : -1;
  code = rank(glitch, tokenizer != NULL ? merge_rank : NULL);

done:
  nk_free(merge_rank);
  nk_free(role);
  if (code != NK_OK || category == NULL) nk_free(categories);
  if (code == NK_OK && category != NULL) *category = categories;
  if (code == NK_OK) return glitch;
  nk_glitch_free(glitch);
  return NULL;
}

/* ---- Vector sets ---- */

static int same_ids(const struct nk_vectors *output, const struct nk_vectors *input) {
  if (output->n != input->n)
    return nk_fail(NK_EDATA, "the input set has %zu rows, the output set %zu", input->n, output->n);
  for (size_t i = 0; i < output->n; i++)
    if (output->ids[i] != input->ids[i])
      return nk_fail(NK_EDATA, "row %zu is id %lld in the input set, %lld in the output set", i,
                     (long long)input->ids[i], (long long)output->ids[i]);
  return NK_OK;
}

static int measure_set(struct nk_glitch *glitch, const struct nk_vectors *set, bool output,
                       bool tied, const struct nk_glitch_options *options) {
  const float *x = set->values;
  float *copy = NULL;
  int code = nki_vectors_need_values(set);
  if (code == NK_OK && options->skip_bad) {
    if ((x = copy = nk_alloc(set->n * set->dim, sizeof *copy)) == NULL) return NK_EMEMORY;
    memcpy(copy, set->values, set->n * set->dim * sizeof *copy);
    code = set_apart(glitch, copy, set->dim);
  }
  if (code == NK_OK)
    code = output ? nki_glitch_output(glitch, x, set->dim, tied, options)
                  : nki_glitch_input(glitch, x, set->dim, options);
  nk_free(copy);
  return code;
}

struct nk_glitch *nk_glitch_of_sets(const struct nk_vectors *output, const struct nk_vectors *input,
                                    const int64_t *unused, size_t n_unused,
                                    const struct nk_glitch_options *options) {
  struct nk_glitch *glitch = NULL;
  enum nk_glitch_role *role = NULL;
  int code = input != NULL ? same_ids(output, input) : NK_OK;
  if (code == NK_OK && (role = nk_alloc(output->n, sizeof *role)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = nki_roles_of_ids(output, unused, n_unused, role);
  if (code == NK_OK && (glitch = nki_glitch_new(output->n, role)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = measure_set(glitch, output, true, input == NULL, options);
  if (code == NK_OK && input != NULL) code = measure_set(glitch, input, false, false, options);
  if (code == NK_OK) code = rank(glitch, NULL);
  nk_free(role);
  if (code == NK_OK) return glitch;
  nk_glitch_free(glitch);
  return NULL;
}
