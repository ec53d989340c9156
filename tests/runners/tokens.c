/* The same texts through noken's tokenizer and llama.cpp's.
 *
 *   tokens LIBRARIES TEXTS GGUF ...
 *
 * LIBRARIES is the folder of llama.cpp's; each of TEXTS is ended by a zero byte; a GGUF has a
 * vocabulary, and needs no weights. Prints a line for each GGUF: its name, the number of texts, and
 * of those whose ids differ; each of the latter goes to standard error. Built by llama.sh, for
 * tests only. */
#include <noken/noken.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-backend.h"
#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *user) {
  (void)user;
  if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void print_ids(const char *who, const int64_t *ids, size_t n) {
  fprintf(stderr, "  %s:", who);
  for (size_t i = 0; i < n; i++) fprintf(stderr, " %lld", (long long)ids[i]);
  fputc('\n', stderr);
}

/* Whether both give the same ids, with and without the tokens around a text. */
static bool same(const char *path, const struct nk_tokenizer *ours,
                 const struct llama_vocab *theirs, const char *text) {
  enum { MOST = 1 << 14 };
  static llama_token found[MOST];
  static int64_t wide[MOST];
  bool is_same = true;
  for (int special = 0; special < 2 && is_same; special++) {
    int64_t *ids = NULL;
    size_t n = 0;
    if (nk_tokenizer_encode(ours, text, strlen(text), special ? NK_ENCODE_SPECIAL : 0, &ids, &n) !=
        NK_OK)
      return false;
    int32_t n_found =
        llama_tokenize(theirs, text, (int32_t)strlen(text), found, MOST, special != 0, true);
    is_same = n_found >= 0 && (size_t)n_found == n;
    for (int32_t i = 0; i < n_found; i++) wide[i] = found[i];
    if (is_same && n > 0) is_same = memcmp(wide, ids, n * sizeof *ids) == 0;
    if (!is_same) {
      fprintf(stderr, "%s: '%s'\n", path, text);
      print_ids("noken", ids, n);
      print_ids("llama.cpp", wide, n_found > 0 ? (size_t)n_found : 0);
    }
    nk_free(ids);
  }
  return is_same;
}

static int compare(const char *path, const struct nk_file *texts) {
  size_t n_texts = 0, n_different = 0;
  struct llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  struct nk_tokenizer *ours = nk_tokenizer_open(path);
  if (ours == NULL) fprintf(stderr, "tokens: %s\n", nk_error());
  struct llama_model *theirs = llama_model_load_from_file(path, params);
  int status = ours != NULL && theirs != NULL ? 0 : 1;
  for (const char *text = texts->data, *end = text + texts->size; status == 0 && text < end;
       text += strlen(text) + 1, n_texts++)
    n_different += !same(path, ours, llama_model_get_vocab(theirs), text);
  if (status == 0) printf("%s %zu %zu\n", path, n_texts, n_different);
  llama_model_free(theirs);
  nk_tokenizer_free(ours);
  return status;
}

int main(int argc, char **argv) {
  int status = 0;
  if (argc < 4) return 2;
  llama_log_set(quiet, NULL);
  ggml_backend_load_all_from_path(argv[1]);
  struct nk_file *texts = nk_file_open(argv[2]);
  if (texts == NULL) return 2;
  for (int i = 3; i < argc; i++) status |= compare(argv[i], texts);
  nk_file_free(texts);
  return status;
}
