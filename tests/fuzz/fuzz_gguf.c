/* GGUF: every value of the metadata, every tensor, and the vocabulary in it. */
#include <noken/noken.h>
#include <string.h>

#include "fuzz.h"
#include "model/gguf.h"

const char *const fuzz_words[] = {"tokenizer.ggml.model",
                                  "tokenizer.ggml.tokens",
                                  "tokenizer.ggml.scores",
                                  "tokenizer.ggml.merges",
                                  "tokenizer.ggml.token_type",
                                  "general.alignment",
                                  "gpt2",
                                  "llama",
                                  "<0xFF>",
                                  "\x09",
                                  "\x08",
                                  "GGUF",
                                  NULL};

static void use_value(const struct nki_gguf *gguf, const struct nki_gguf_value *value) {
  int64_t integer;
  double number;
  bool truth;
  const char *string;
  size_t n, cursor = 0;
  (void)nki_gguf_integer(gguf, value->key, &integer);
  (void)nki_gguf_number(gguf, value->key, &number);
  (void)nki_gguf_bool(gguf, value->key, &truth);
  if (nki_gguf_string(gguf, value->key, &string, &n) == NK_OK) fuzz_use(string, n);
  const struct nki_gguf_value *strings = nki_gguf_strings(gguf, value->key);
  while (strings != NULL && (string = nki_gguf_next_string(strings, &cursor, &n)) != NULL)
    fuzz_use(string, n);
  const struct nki_gguf_value *numbers = nki_gguf_numbers(gguf, value->key);
  for (size_t i = 0; numbers != NULL && i < numbers->count; i++)
    (void)nki_gguf_number_at(numbers, i);
  fuzz_use(value->data, value->n_bytes);
}

static void read_header(const char *path) {
  struct nki_gguf *gguf = nki_gguf_open(path);
  if (gguf == NULL) return;
  for (size_t i = 0; i < gguf->n_values; i++) use_value(gguf, &gguf->value[i]);
  for (size_t i = 0; i < gguf->n_tensors; i++) {
    const struct nk_tensor *tensor = &gguf->tensor[i];
    fuzz_use(tensor->dtype_name, strlen(tensor->dtype_name));
    fuzz_use(tensor->data, tensor->n_bytes);
    (void)nki_gguf_find_tensor(gguf, tensor->name);
  }
  nki_gguf_free(gguf);
}

static void read_tokenizer(const char *path) {
  static const char text[] = " ab a\xC3\xA9";
  struct nk_tokenizer *tokenizer = nk_tokenizer_open(path);
  int64_t *ids = NULL;
  size_t n_ids = 0;
  if (tokenizer != NULL && nk_tokenizer_encode(tokenizer, text, sizeof text - 1, NK_ENCODE_SPECIAL,
                                               &ids, &n_ids) == NK_OK) {
    struct nk_buffer back = {0};
    (void)nk_tokenizer_decode(tokenizer, ids, n_ids, 0, &back);
    nk_buffer_free(&back);
    nk_free(ids);
  }
  nk_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  read_header(path);
  read_tokenizer(path);
  fuzz_memory_end();
  return 0;
}
