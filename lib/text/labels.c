/* The texts of a vector set's rows, from the vocabulary that its ids belong to. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>

#include "base/error.h"
#include "io/vectors.h"

int nk_tokenizer_label(const struct nk_tokenizer *tokenizer, struct nk_vectors *set) {
  if (tokenizer == NULL || set == NULL) return nki_fail_null();
  struct nk_buffer text = {0};
  int64_t *offsets = nk_alloc(set->n + 1, sizeof *offsets);
  if (offsets == NULL) return NK_EMEMORY;
  offsets[0] = 0;
  for (size_t row = 0; row < set->n; row++) {
    size_t n_bytes;
    int64_t id = set->ids[row];
    const char *bytes = id < 0 ? NULL : nk_tokenizer_bytes(tokenizer, (size_t)id, &n_bytes);
    if (bytes != NULL) nk_buffer_append(&text, bytes, n_bytes);
    offsets[row + 1] = (int64_t)text.size;
  }
  int code = text.failed ? nk_fail(NK_EMEMORY, "out of memory for the rows' texts")
                         : nk_vectors_set_text(set, text.data, offsets);
  nk_buffer_free(&text);
  nk_free(offsets);
  return code;
}

/* A folder without a tokenizer gives a set without texts. */
static int label_from_folder(struct nk_vectors *set, const char *folder) {
  struct nk_tokenizer *tokenizer = nk_tokenizer_open_vocabulary(folder);
  if (tokenizer == NULL && nk_error_code() == NK_ENOTFOUND) {
    nki_clear_error();
    return NK_OK;
  }
  if (tokenizer == NULL) return nk_error_code();
  int code = nk_tokenizer_label(tokenizer, set);
  nk_tokenizer_free(tokenizer);
  return code;
}

struct nk_vectors *nk_model_vectors(struct nk_model *model, enum nk_matrix which) {
  static const char *const spaces[] = {"input", "output", "position"};
  if (model == NULL) return NULL;
  const struct nk_tensor *matrix = nk_model_matrix(model, which, NULL);
  if (matrix == NULL) return NULL;
  struct nk_vectors *set = nk_extract_begin(model, matrix, spaces[which], NULL, 0);
  if (set == NULL) return NULL;
  int code = nki_vectors_take_values(set, matrix, false);
  const char *folder = nk_model_folder(model);
  if (code == NK_OK && which != NK_MATRIX_POSITION && folder != NULL)
    code = label_from_folder(set, folder);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
