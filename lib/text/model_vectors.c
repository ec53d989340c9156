/* A model's matrix as a vector set with the texts of its tokens. */
#include <noken/base.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>

#include "io/vectors.h"

static int label_from_file(struct nk_vectors *set, const char *path) {
  struct nk_vocabulary *vocabulary = nk_vocabulary_open(path);
  if (vocabulary == NULL) return nk_error_code();
  int code = nk_vocabulary_label(vocabulary, set);
  nk_vocabulary_free(vocabulary);
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
  const char *tokenizer = nk_model_path(model, "tokenizer.json");
  if (code == NK_OK && which != NK_MATRIX_POSITION && tokenizer != NULL)
    code = label_from_file(set, tokenizer);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
