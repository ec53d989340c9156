/* tokenizer.json: the bytes of every id, then, where the tokenizer is one that noken implements,
 * texts to ids and back, and the same tokenizer without some of its tokens. */
#include <noken/noken.h>
#include <string.h>

#include "fuzz.h"
#include "text/tokenizer.h"

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

static void list_all(const struct nk_tokenizer *vocabulary) {
  for (size_t id = 0; id < nk_tokenizer_n_tokens(vocabulary); id++) {
    size_t n = 0;
    const char *bytes = nk_tokenizer_bytes(vocabulary, id, &n);
    if (bytes != NULL) fuzz_use(bytes, n);
    (void)nki_vocabulary_is_special(vocabulary->vocabulary, id);
    (void)nki_vocabulary_is_added(vocabulary->vocabulary, id);
  }
}

static void encode_and_decode(const struct nk_tokenizer *tokenizer) {
  static const char *const texts[] = {"", " ab  a1\n\t", "<|end|>a<|end|>",
                                      "\xC3\xA9\xE2\x96\x81 a",
                                      "\xF0\x9F\x98\x80 \xE1\xBA\x9B\xCC\xA3 1234"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    int64_t *ids = NULL;
    size_t n_ids = 0;
    int flags = (int)(i % 4);
    if (nk_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), flags, &ids, &n_ids) != 0)
      continue;
    struct nk_buffer back = {0};
    (void)nk_tokenizer_decode(tokenizer, ids, n_ids, flags % 2, &back);
    fuzz_use(back.data, back.size);
    nk_buffer_free(&back);
    nk_free(ids);
  }
}

/* Prunes every third token; the proof reads the result. */
static void prune_some(const struct nk_tokenizer *tokenizer, size_t n) {
  enum { MOST = 86 };
  int64_t ids[MOST];
  struct nk_pruned pruned[MOST];
  struct nk_buffer json = {0};
  size_t n_ids = 0;
  for (size_t id = n % 3; id < n && n_ids < MOST; id += 3) ids[n_ids++] = (int64_t)id;
  if (nk_tokenizer_prune(tokenizer, ids, n_ids, NULL, pruned, &json) == NK_OK)
    fuzz_use(json.data, json.size);
  nk_buffer_free(&json);
}

static void read_tokenizer(const char *path) {
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(path);
  if (tokenizer == NULL) return;
  encode_and_decode(tokenizer);
  size_t n = nk_tokenizer_n_tokens(tokenizer);
  enum nk_category few[256];
  if (n <= sizeof few / sizeof few[0]) (void)nk_tokenizer_categories(tokenizer, n, few);
  for (size_t id = 0; id < n; id++) (void)nki_tokenizer_merge_rank(tokenizer, id);
  (void)nk_tokenizer_id(tokenizer, "a", 1);
  if (n <= sizeof few / sizeof few[0]) prune_some(tokenizer, n);
  nk_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  struct nk_tokenizer *vocabulary = nk_tokenizer_open_vocabulary(path);
  if (vocabulary != NULL) list_all(vocabulary);
  nk_tokenizer_free(vocabulary);
  read_tokenizer(path);
  fuzz_memory_end();
  return 0;
}
