/* GGUF: every value of the metadata, every tensor, the vocabulary in it, and all of it as a model:
 * configuration, matrices as floats, the forward pass. */
#include <noken/noken.h>
#include <string.h>

#include "fuzz.h"
#include "model/gguf.h"
#include "model/model_config.h"

const char *const fuzz_words[] = {"tokenizer.ggml.model",
                                  "tokenizer.ggml.tokens",
                                  "tokenizer.ggml.scores",
                                  "tokenizer.ggml.merges",
                                  "tokenizer.ggml.token_type",
                                  "tokenizer.ggml.pre",
                                  "gemma4",
                                  "deepseek-llm",
                                  "general.alignment",
                                  "gpt2",
                                  "llama",
                                  "<0xFF>",
                                  "general.architecture",
                                  "llama.block_count",
                                  "llama.attention.head_count",
                                  "token_embd.weight",
                                  "blk.0.attn_q.weight",
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

/* One token through the blocks, where their widths are no more than those of the seeds. */
static void run_forward(struct nk_forward *forward) {
  enum { MOST = 64 };
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  float logits[MOST];
  const int64_t id = 0;
  if (shape->dim > MOST || shape->mlp_dim > MOST || shape->n_heads > MOST ||
      shape->head_dim > MOST || shape->n_layers > MOST || shape->n_vocabulary > MOST)
    return;
  const struct nk_sequence sequence = {&id, 1};
  struct nk_ask ask = {.logits = logits};
  const struct nk_batch batch = {
      .sequences = &sequence, .n_sequences = 1, .asks = &ask, .n_asks = 1};
  if (nk_forward_run(forward, &batch) == NK_OK)
    fuzz_use(logits, shape->n_vocabulary * sizeof *logits);
}

static void read_model(const char *path) {
  struct nk_model *model = nk_model_open(path);
  const struct nk_tensor *tensor = nk_model_matrix(model, NK_MATRIX_OUTPUT, NULL);
  float row[4096];
  int64_t heads;
  if (model != NULL) (void)nki_model_config_integer(model, "num_attention_heads", &heads);
  if (tensor != NULL && tensor->shape[0] > 0 && tensor->shape[1] <= 4096 &&
      nk_model_rows(tensor, tensor->shape[0] - 1, 1, row) == NK_OK)
    fuzz_use(row, tensor->shape[1] * sizeof *row);
  struct nk_forward *forward = nk_model_forward(model);
  if (forward != NULL) run_forward(forward);
  nk_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  read_header(path);
  read_tokenizer(path);
  read_model(path);
  fuzz_memory_end();
  return 0;
}
