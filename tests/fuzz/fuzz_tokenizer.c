/* tokenizer.json as a vocabulary: the bytes of every id. */
#include <noken/vocabulary.h>

#include "fuzz.h"

const char *const fuzz_words[] = {"\"type\":\"BPE\"",
                                  "\"type\":\"Unigram\"",
                                  "\"type\":\"WordPiece\"",
                                  "\"type\":\"ByteLevel\"",
                                  "\"type\":\"Metaspace\"",
                                  "\"type\":\"Sequence\"",
                                  "\"byte_fallback\":true",
                                  "\"vocab\":{",
                                  "\"vocab\":[[\"a\",0.0]]",
                                  "\"merges\":[\"a b\"]",
                                  "\"added_tokens\":[{\"id\":5,\"content\":\"<x>\"}]",
                                  "\"id\":4294967295",
                                  "<0xFF>",
                                  "<0xG0>",
                                  "\xE2\x96\x81",
                                  "\\u0120",
                                  "\\ud800",
                                  NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  struct nk_vocabulary *vocabulary = nk_vocabulary_open(path);
  size_t n_ids = vocabulary ? nk_vocabulary_size(vocabulary) : 0;
  for (size_t id = 0; id < n_ids; id++) {
    size_t n = 0;
    const char *bytes = nk_vocabulary_bytes(vocabulary, id, &n);
    if (bytes != NULL) fuzz_use(bytes, n);
    (void)nk_vocabulary_is_special(vocabulary, id);
    (void)nk_vocabulary_is_added(vocabulary, id);
  }
  nk_vocabulary_free(vocabulary);
  fuzz_memory_end();
  return 0;
}
