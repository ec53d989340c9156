/* Rankings from a model's files and from vector sets: roles, and the matrices one at a time. */
#include <noken/base.h>
#include <noken/glitch.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <stdlib.h>
#include "model/rows.h"

static enum nk_glitch_role role_of(enum nk_category category) {
  switch (category) {
    case NK_TOKEN_OK:
    case NK_TOKEN_BYTE:
    case NK_TOKEN_PARTIAL_UTF8:
      return NK_ROLE_TEXT;
    case NK_TOKEN_UNUSED_BYTE:
      return NK_ROLE_UNUSED;
    case NK_TOKEN_UNREACHABLE:
    case NK_TOKEN_PADDING:
      return NK_ROLE_SUSPECT;
    default:
      return NK_ROLE_APART;
  }
}

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
  int code = x == NULL ? nk_error_code()
             : output  ? nk_glitch_output(glitch, x, tensor->shape[1], tied, options)
                       : nk_glitch_input(glitch, x, tensor->shape[1], options);
  nk_free(x);
  return code == NK_OK ? NK_OK : nk_fail_in(code, "%s", tensor->name);
}

/* category [n] and role [n] of the tokens, and merge_rank [n]. */
static int know_tokens(const struct nk_tokenizer *tokenizer, size_t n, enum nk_category *category,
                       enum nk_glitch_role *role, int64_t *merge_rank) {
  if (tokenizer == NULL) {
    for (size_t i = 0; i < n; i++) {
      category[i] = NK_TOKEN_OK;
      role[i] = NK_ROLE_TEXT;
    }
    return NK_OK;
  }
  int code = nk_tokenizer_categories(tokenizer, n, category);
  size_t known = nk_tokenizer_n_tokens(tokenizer);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    role[i] = role_of(category[i]);
    merge_rank[i] = i < known ? nk_tokenizer_merge_rank(tokenizer, i) : -1;
  }
  return code;
}

struct nk_glitch *nk_glitch_of_model(const struct nk_model *model,
                                     const struct nk_tokenizer *tokenizer,
                                     const struct nk_glitch_options *options,
                                     enum nk_category **category) {
  bool tied = false;
  const struct nk_tensor *input = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  const struct nk_tensor *output = nk_model_matrix(model, NK_MATRIX_OUTPUT, &tied);
  if (input == NULL || output == NULL) return NULL;
  size_t n = output->shape[0] < input->shape[0] ? output->shape[0] : input->shape[0];
  if (output->shape[0] != input->shape[0])
    nk_warn("the input matrix has %zu rows, the output matrix %zu: the first %zu are ranked",
            input->shape[0], output->shape[0], n);
  struct nk_glitch *glitch = NULL;
  enum nk_category *categories = nk_alloc(n, sizeof *categories);
  enum nk_glitch_role *role = nk_alloc(n, sizeof *role);
  int64_t *merge_rank = nk_alloc(n, sizeof *merge_rank);
  int code = NK_EMEMORY;
  if (categories == NULL || role == NULL || merge_rank == NULL) goto done;
  code = know_tokens(tokenizer, n, categories, role, merge_rank);
  if (code != NK_OK) goto done;
  if ((glitch = nk_glitch_new(n, role)) == NULL) {
    code = NK_EMEMORY;
    goto done;
  }
  code = measure_matrix(glitch, model, output, true, tied, options);
  if (code == NK_OK && !tied) code = measure_matrix(glitch, model, input, false, false, options);
  if (code == NK_OK) code = nk_glitch_rank(glitch, tokenizer != NULL ? merge_rank : NULL);

done:
  nk_free(merge_rank);
  nk_free(role);
  if (code == NK_OK && category != NULL) {
    *category = categories;
    return glitch;
  }
  nk_free(categories);
  if (code == NK_OK) return glitch;
  nk_glitch_free(glitch);
  return NULL;
}

/* ---- Vector sets ---- */

static int compare_ids(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int roles_of_ids(const struct nk_vectors *set, const int64_t *unused, size_t n_unused,
                        enum nk_glitch_role *role) {
  int64_t *sorted = nk_alloc(n_unused, sizeof *sorted);
  size_t found = 0;
  if (sorted == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n_unused; i++) sorted[i] = unused[i];
  qsort(sorted, n_unused, sizeof *sorted, compare_ids);
  for (size_t i = 0; i < set->n; i++) {
    bool known = n_unused > 0 &&
                 bsearch(&set->ids[i], sorted, n_unused, sizeof *sorted, compare_ids) != NULL;
    role[i] = known ? NK_ROLE_UNUSED : NK_ROLE_TEXT;
    found += known;
  }
  nk_free(sorted);
  if (found < n_unused)
    nk_warn("%zu of the %zu unused ids are not in the set", n_unused - found, n_unused);
  return NK_OK;
}

static int same_ids(const struct nk_vectors *output, const struct nk_vectors *input) {
  if (output->n != input->n)
    return nk_fail(NK_EDATA, "the input set has %zu rows, the output set %zu", input->n, output->n);
  for (size_t i = 0; i < output->n; i++)
    if (output->ids[i] != input->ids[i])
      return nk_fail(NK_EDATA, "row %zu is id %lld in the input set, %lld in the output set", i,
                     (long long)input->ids[i], (long long)output->ids[i]);
  return NK_OK;
}

struct nk_glitch *nk_glitch_of_sets(const struct nk_vectors *output, const struct nk_vectors *input,
                                    const int64_t *unused, size_t n_unused,
                                    const struct nk_glitch_options *options) {
  struct nk_glitch *glitch = NULL;
  enum nk_glitch_role *role = NULL;
  int code = input != NULL ? same_ids(output, input) : NK_OK;
  if (code == NK_OK && (role = nk_alloc(output->n, sizeof *role)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = roles_of_ids(output, unused, n_unused, role);
  if (code == NK_OK && (glitch = nk_glitch_new(output->n, role)) == NULL) code = NK_EMEMORY;
  if (code == NK_OK)
    code = nk_glitch_output(glitch, output->values, output->dim, input == NULL, options);
  if (code == NK_OK && input != NULL)
    code = nk_glitch_input(glitch, input->values, input->dim, options);
  if (code == NK_OK) code = nk_glitch_rank(glitch, NULL);
  nk_free(role);
  if (code == NK_OK) return glitch;
  nk_glitch_free(glitch);
  return NULL;
}
