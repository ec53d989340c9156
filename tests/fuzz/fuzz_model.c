/* A model's folder: the input is config.json and model.safetensors.index.json, with a byte 0x1E
 * between them; the two shards beside them are sound, and hold one block of a tiny GPT-2. */
#include <noken/noken.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "model/model_config.h"

const char *const fuzz_words[] = {"\"model_type\":\"gpt2\"",
                                  "\"model_type\":\"llama\"",
                                  "\"tie_word_embeddings\":true",
                                  "\"tie_word_embeddings\":1",
                                  "\"vocab_size\":-1",
                                  "\"weight_map\":{}",
                                  "\"weight_map\":[]",
                                  "\"../a.safetensors\"",
                                  "\"/dev/zero\"",
                                  "\"b.safetensors\"",
                                  "\"c.safetensors\"",
                                  "\"\\u0000\"",
                                  "\"n_layer\":1",
                                  "\"n_layer\":65536",
                                  "\"n_embd\":2",
                                  "\"n_head\":1",
                                  "\"n_positions\":4",
                                  "\"n_inner\":2",
                                  "\"head_dim\":16777216",
                                  "\"layer_types\":[\"sliding_attention\"]",
                                  "\"activation_function\":\"gelu_new\"",
                                  "\"architectures\":[[[",
                                  "\"rope_scaling\":{\"factor\":1e999}",
                                  "\"rope_parameters\":{\"rope_theta\":1000}",
                                  "\"text_config\":{}",
                                  "\"x\":-Infinity,",
                                  "\"x\":1000000000000000000000,",
                                  "\"h.1.w\":\"c.safetensors\",",
                                  "\xEF\xBB\xBF",
                                  "\x1E",
                                  NULL};

static char folder[64];

static const char *in_folder(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_file(const char *name, const void *data, size_t size) {
  FILE *file = fopen(in_folder(name), "wb");
  if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
    perror(name);
    exit(2);
  }
}

struct weight {
  const char *name;
  size_t shape[2]; /* [n] when the second is 0 */
};

/* F32 tensors of zeros. */
static void write_shard(const char *name, const struct weight *weights, size_t n) {
  char file[8192] = {0}, *header = file + 8;
  size_t length = 0, most = sizeof file - 8, offset = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t *shape = weights[i].shape;
    size_t size = 4 * shape[0] * (shape[1] > 0 ? shape[1] : 1);
    char columns[32] = "";
    if (shape[1] > 0) snprintf(columns, sizeof columns, ",%zu", shape[1]);
    length += (size_t)snprintf(header + length, most - length,
                               "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu%s],"
                               "\"data_offsets\":[%zu,%zu]}",
                               i == 0 ? '{' : ',', weights[i].name, shape[0], columns, offset,
                               offset + size);
    offset += size;
  }
  header[length++] = '}';
  uint64_t header_size = length;
  memcpy(file, &header_size, sizeof header_size);
  memset(header + length, 0, offset);
  write_file(name, file, 8 + length + offset);
}

static void remove_folder(void) {
  static const char *const names[] = {"a.safetensors", "b.safetensors", "config.json",
                                      "model.safetensors.index.json"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(in_folder(names[i]));
  rmdir(folder);
}

static void make_folder(void) {
  static bool made;
  if (made) return;
  made = true;
  /* in memory, where there is such a folder: a disk takes a millisecond for each file */
  snprintf(folder, sizeof folder, "%s/noken-fuzz-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (mkdtemp(folder) == NULL) exit(2);
  static const struct weight first[] = {
      {"wte.weight", {4, 2}},
      {"wpe.weight", {4, 2}},
      {"ln_f.weight", {2, 0}},
      {"ln_f.bias", {2, 0}},
      {"h.0.ln_1.weight", {2, 0}},
      {"h.0.ln_1.bias", {2, 0}},
      {"h.0.attn.c_attn.weight", {2, 6}},
      {"h.0.attn.c_attn.bias", {6, 0}},
      {"h.0.attn.c_proj.weight", {2, 2}},
      {"h.0.attn.c_proj.bias", {2, 0}},
      {"h.0.ln_2.weight", {2, 0}},
      {"h.0.ln_2.bias", {2, 0}},
      {"h.0.mlp.c_fc.weight", {2, 2}},
      {"h.0.mlp.c_fc.bias", {2, 0}},
      {"h.0.mlp.c_proj.weight", {2, 2}},
      {"h.0.mlp.c_proj.bias", {2, 0}},
  };
  static const struct weight second[] = {{"lm_head.weight", {4, 2}}};
  write_shard("a.safetensors", first, sizeof first / sizeof first[0]);
  write_shard("b.safetensors", second, 1);
  atexit(remove_folder);
}

static void ask_all(struct nk_model *model) {
  static const char *const keys[] = {"vocab_size",    "rope_scaling.factor",
                                     "architectures", "tie_word_embeddings",
                                     "a.b.c",         "model_type"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    int64_t integer;
    double number;
    bool truth;
    const char *string;
    (void)nki_model_config_integer(model, keys[i], &integer);
    (void)nki_model_config_number(model, keys[i], &number);
    (void)nki_model_config_bool(model, keys[i], &truth);
    if (nki_model_config_string(model, keys[i], &string) == NK_OK) fuzz_use(string, strlen(string));
    (void)nki_model_config_number_at(model, keys[i], 0, &number);
    if (nki_model_config_string_at(model, keys[i], 0, &string) == NK_OK)
      fuzz_use(string, strlen(string));
  }
  for (int which = NK_MATRIX_INPUT; which <= NK_MATRIX_POSITION; which++) {
    bool tied;
    const struct nk_tensor *tensor = nk_model_matrix(model, (enum nk_matrix)which, &tied);
    if (tensor != NULL) fuzz_use(tensor->data, tensor->n_bytes);
  }
  for (size_t i = 0; i < nk_model_n_tensors(model); i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    fuzz_use(tensor->data, tensor->n_bytes);
  }
  const struct nk_forward *forward = nk_model_forward(model);
  float row[2];
  if (forward != NULL && nk_forward_embedding(forward, 3, row) == NK_OK) fuzz_use(row, sizeof row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  make_folder();
  const uint8_t *middle = size > 0 ? memchr(data, 0x1E, size) : NULL;
  size_t first = middle != NULL ? (size_t)(middle - data) : size;
  write_file("config.json", data, first);
  if (middle != NULL) {
    write_file("model.safetensors.index.json", middle + 1, size - first - 1);
  } else {
    unlink(in_folder("model.safetensors.index.json"));
  }
  fuzz_memory_begin(size);
  struct nk_model *model = nk_model_open(folder);
  if (model != NULL) ask_all(model);
  nk_model_free(model);
  fuzz_memory_end();
  return 0;
}
