/* The texts of a vector set's rows, from the vocabulary that its ids belong to. */
#include <noken/base.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>

int nk_vocabulary_label(const struct nk_vocabulary *vocabulary, struct nk_vectors *set) {
  struct nk_buffer text = {0};
  int64_t *offsets = nk_alloc(set->n + 1, sizeof *offsets);
  if (!offsets) return NK_EMEMORY;
  size_t size = nk_vocabulary_n_tokens(vocabulary);
  offsets[0] = 0;
  for (size_t row = 0; row < set->n; row++) {
    size_t n_bytes;
    int64_t id = set->ids[row];
    const char *bytes = id >= 0 && (uint64_t)id < size
                            ? nk_vocabulary_bytes(vocabulary, (size_t)id, &n_bytes)
                            : NULL;
    if (bytes) nk_buffer_append(&text, bytes, n_bytes);
    offsets[row + 1] = (int64_t)text.size;
  }
  int code = text.failed ? nk_fail(NK_EMEMORY, "out of memory for the rows' texts")
                         : nk_vectors_set_text(set, text.data, offsets);
  nk_buffer_free(&text);
  nk_free(offsets);
  return code;
}
