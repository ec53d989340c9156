/* The safetensors reader: every tensor's bytes, every pair of metadata. */
#include <noken/noken.h>
#include <string.h>

#include "fuzz.h"
#include "model/dtype.h"
#include "model/safetensors.h"

const char *const fuzz_words[] = {"\"dtype\":\"F32\"",
                                  "\"dtype\":\"BF16\"",
                                  "\"dtype\":\"F8_E5M2\"",
                                  "\"dtype\":\"F4\"",
                                  "\"dtype\":\"F6_E2M3\"",
                                  "\"dtype\":\"C64\"",
                                  "\"dtype\":\"Q9\"",
                                  "\"__metadata__\":null,",
                                  "\"shape\":[0]",
                                  "\"shape\":[]",
                                  "\"shape\":[4294967296,4294967296]",
                                  "\"shape\":[1,1,1,1,1,1,1,1,1]",
                                  "\"data_offsets\":[0,0]",
                                  "\"data_offsets\":[8,0]",
                                  "\"__metadata__\":{}",
                                  "\"__metadata__\":{\"a\":1},",
                                  "\"a\":{",
                                  "},",
                                  "{{{{{{{{{{{{{{{{",
                                  "[[[[[[[[[[[[[[[[",
                                  NULL};

static void read_all(const void *data, size_t size) {
  const char *path = fuzz_file(0, data, size);
  fuzz_memory_begin(size);
  struct nki_safetensors *st = nki_safetensors_open(path);
  for (size_t i = 0; st != NULL && i < nki_safetensors_n_tensors(st); i++) {
    const struct nk_tensor *tensor = nki_safetensors_tensor(st, i);
    fuzz_use(tensor->data, tensor->n_bytes);
    (void)nki_safetensors_find(st, tensor->name);
    float few[4];
    (void)nki_widen(tensor->dtype, tensor->data, tensor->n_elements < 4 ? tensor->n_elements : 4,
                    few);
  }
  const char *key, *value;
  for (size_t i = 0; st != NULL && nki_safetensors_metadata(st, i, &key, &value) == NK_OK; i++) {
    fuzz_use(key, strlen(key));
    fuzz_use(value, strlen(value));
    (void)nki_safetensors_metadata_find(st, key);
  }
  nki_safetensors_free(st);
  fuzz_memory_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  read_all(data, size);
  if (size < 8) return 0;
  /* Again with the length of the header put right, which a mutation seldom hits: up to the last
   * bracket, as far as the text goes. */
  static uint8_t again[1 << 17];
  if (size > sizeof again) return 0;
  memcpy(again, data, size);
  size_t end = size;
  while (end > 8 && again[end - 1] != '}') end--;
  uint64_t length = end - 8;
  memcpy(again, &length, sizeof length);
  read_all(again, size);
  return 0;
}
