/* Which of a model's tensors are its embedding, unembedding and position matrices. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/architecture.h"
#include "model/gguf.h"
#include "model/model.h"
#include "model/model_config.h"

static const char *const matrix_names[3] = {"input", "output", "position"};

/* ---- Finding ---- */

static const char *name_of(const struct nki_architecture *architecture, enum nk_matrix which) {
  return which == NK_MATRIX_INPUT    ? architecture->embedding
         : which == NK_MATRIX_OUTPUT ? architecture->head
                                     : architecture->positions;
}

/* architecture NULL: unknown. */
static const struct nk_tensor *find_matrix(const struct nk_model *model,
                                           const struct nki_architecture *architecture,
                                           enum nk_matrix which) {
  if (architecture != NULL) {
    char name[NKI_MAX_NAME];
    if (name_of(architecture, which) == NULL) return NULL;
    snprintf(name, sizeof name, "%s.weight", name_of(architecture, which));
    return nki_model_named(model, name, 2);
  }
  const struct nk_tensor *tensor = NULL;
  for (size_t i = 0; tensor == NULL && nki_usual_names[which][i] != NULL; i++) {
    tensor = nki_model_named(model, nki_usual_names[which][i], 2);
  }
  return tensor;
}

/* *tied: whether the output is the input matrix, by the configuration, else by the architecture's
 * default; for an unknown architecture, when there is no output matrix of its own. NK_EDATA when
 * the configuration's value is neither true nor false. */
static int read_tied(const struct nk_model *model, const struct nki_architecture *architecture,
                     bool *tied) {
  int code = nki_model_config_bool(model, "tie_word_embeddings", tied);
  if (code != NK_ENOTFOUND) return code;
  *tied = architecture != NULL ? architecture->tied
                               : find_matrix(model, NULL, NK_MATRIX_OUTPUT) == NULL;
  return NK_OK;
}

/* ---- A matrix that is missing ---- */

/* Whether a tensor could be such a matrix: 2-D, and as wide as the model where that is known. */
static bool is_candidate(const struct nk_model *model, const struct nk_tensor *tensor) {
  int64_t width;
  if (tensor->n_dims != 2 || tensor->shape[0] < 2) return false;
  if (nki_setting_integer(model, NKI_SETTING_DIM, &width) != NK_OK) return true;
  return width >= 0 && tensor->shape[1] == (size_t)width;
}

/* The candidates with the most rows are first: few dimensions are as large as a vocabulary. */
static void list_candidates(const struct nk_model *model, struct nk_buffer *out) {
  enum { MOST = 8 };
  const struct nk_tensor *best[MOST];
  size_t n = 0, n_all = 0;
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    if (!is_candidate(model, tensor)) continue;
    n_all++;
    size_t at = n < MOST ? n++ : MOST;
    while (at > 0 && best[at - 1]->shape[0] < tensor->shape[0]) {
      if (at < MOST) best[at] = best[at - 1];
      at--;
    }
    if (at < MOST) best[at] = tensor;
  }
  for (size_t i = 0; i < n; i++) {
    nk_buffer_printf(out, "%s%.80s [%zu, %zu]", i == 0 ? "" : ", ", best[i]->name,
                     best[i]->shape[0], best[i]->shape[1]);
  }
  if (n_all > n) nk_buffer_printf(out, " and %zu more", n_all - n);
  if (n_all == 0) nk_buffer_text(out, "none");
}

static const struct nk_tensor *not_found(const struct nk_model *model,
                                         const struct nki_architecture *architecture,
                                         enum nk_matrix which) {
  const char *type = nki_model_type(model);
  struct nk_buffer candidates = {0};
  list_candidates(model, &candidates);
  nk_fail(NK_ENOTFOUND, "%s: no %s matrix%s%s%s; tensors that could be meant: %s",
          model->files.name, matrix_names[which],
          architecture != NULL ? " in this "
          : type != NULL       ? " known for model type "
                               : " by the usual names",
          type != NULL ? type : "", architecture != NULL ? " model" : "",
          candidates.data != NULL ? candidates.data : "");
  nk_buffer_free(&candidates);
  return NULL;
}

const struct nk_tensor *nk_model_matrix(const struct nk_model *model, enum nk_matrix which,
                                        bool *tied) {
  if (model == NULL) return NULL;
  const struct nki_architecture *architecture = nki_architecture_find(nki_model_type(model));
  bool is_shared = false;
  if (which != NK_MATRIX_POSITION && read_tied(model, architecture, &is_shared) != NK_OK)
    return NULL;
  enum nk_matrix stored = is_shared ? NK_MATRIX_INPUT : which;
  const struct nk_tensor *tensor = find_matrix(model, architecture, stored);
  /* Of two tied tensors a file holds one, and that may be the other. */
  if (tensor == NULL && is_shared) tensor = find_matrix(model, architecture, NK_MATRIX_OUTPUT);
  if (tied != NULL) *tied = is_shared;
  return tensor != NULL ? tensor : not_found(model, architecture, which);
}

/* ---- Rows, without opening more than is needed ---- */

static bool ends_with(const char *string, const char *end) {
  size_t n = strlen(string), n_end = strlen(end);
  return n >= n_end && strcmp(string + n - n_end, end) == 0;
}

static int count_gguf_rows(const char *path, size_t *n_rows) {
  struct nki_gguf *gguf = nki_gguf_open(path);
  if (gguf == NULL) return nk_error_code();
  const struct nki_gguf_entry *entry = nki_gguf_find_entry(gguf, "token_embd.weight");
  if (entry != NULL && entry->n_dims == 2) *n_rows = entry->shape[0];
  nki_gguf_free(gguf);
  return NK_OK;
}

int nk_model_count_rows(const char *name, size_t *n_rows) {
  *n_rows = 0;
  if (ends_with(name, ".json")) return NK_OK;
  if (ends_with(name, ".gguf")) return count_gguf_rows(name, n_rows);
  struct nk_model *model = nk_model_open(name);
  if (model == NULL) {
    int code = nk_error_code();
    if (code != NK_ENOTFOUND) return code;
    nki_clear_error();
    return NK_OK;
  }
  const struct nk_tensor *matrix = nk_model_matrix(model, NK_MATRIX_INPUT, NULL);
  if (matrix != NULL)
    *n_rows = matrix->shape[0];
  else
    nki_clear_error();
  nk_model_free(model);
  return NK_OK;
}
