/* A model's folder: the input is config.json and model.safetensors.index.json, with a byte 0x1E
 * between them; the two shards beside them are good. */
#include <noken/noken.h>
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
                                  "\"architectures\":[[[",
                                  "\"rope_scaling\":{\"factor\":1e999}",
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

/* One F32 tensor [4, 2] of zeros. */
static void write_shard(const char *name, const char *tensor) {
  char file[256] = {0};
  int length =
      snprintf(file + 8, sizeof file - 8,
               "{\"%s\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_offsets\":[0,32]}}", tensor);
  uint64_t size = (uint64_t)length;
  memcpy(file, &size, sizeof size);
  memset(file + 8 + length, 0, 32);
  write_file(name, file, 8 + (size_t)length + 32);
}

static void remove_folder(void) {
  static const char *const names[] = {"a.safetensors", "b.safetensors", "config.json",
                                      "model.safetensors.index.json"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(in_folder(names[i]));
  rmdir(folder);
}

static void make_folder(void) {
  static int made;
  if (made++) return;
  /* in memory, where there is such a folder: a disk takes a millisecond for each file */
  snprintf(folder, sizeof folder, "%s/noken-fuzz-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (mkdtemp(folder) == NULL) exit(2);
  write_shard("a.safetensors", "wte.weight");
  write_shard("b.safetensors", "lm_head.weight");
  atexit(remove_folder);
}

static void ask_all(const struct nk_model *model) {
  static const char *const keys[] = {"vocab_size",    "rope_scaling.factor",
                                     "architectures", "tie_word_embeddings",
                                     "a.b.c",         "model_type"};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    int64_t integer;
    double number;
    bool truth;
    const char *string;
    (void)nk_model_config_integer(model, keys[i], &integer);
    (void)nki_model_config_number(model, keys[i], &number);
    (void)nki_model_config_bool(model, keys[i], &truth);
    if (nki_model_config_string(model, keys[i], &string) == 0) fuzz_use(string, strlen(string));
    (void)nki_model_config_number_at(model, keys[i], 0, &number);
    if (nki_model_config_string_at(model, keys[i], 0, &string) == 0)
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  make_folder();
  const uint8_t *middle = size > 0 ? memchr(data, 0x1E, size) : NULL;
  size_t first = middle ? (size_t)(middle - data) : size;
  write_file("config.json", data, first);
  if (middle) {
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
