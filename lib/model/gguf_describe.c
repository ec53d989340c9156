/* Metadata as GGUF has them: of a checkpoint its names and types, and what gguf_settings.c and
 * lib/text put; of a GGUF those that it has. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "model/gguf_write.h"
#include "model/model.h"

/* ---- Values ---- */

void nki_gguf_put_u32(struct nk_buffer *b, uint32_t v) {
  nk_buffer_append(b, &v, sizeof v);
}

void nki_gguf_put_u64(struct nk_buffer *b, uint64_t v) {
  nk_buffer_append(b, &v, sizeof v);
}

void nki_gguf_put_string(struct nk_buffer *b, const char *text, size_t n) {
  nki_gguf_put_u64(b, n);
  nk_buffer_append(b, text, n);
}

void nki_gguf_put_key(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type) {
  char name[NKI_MAX_NAME];
  bool own = key[0] == '.' && w->architecture != NULL;
  int n = snprintf(name, sizeof name, "%s%s", own ? w->architecture->gguf : "", key);
  nki_gguf_put_string(&w->values, own ? name : key, own ? (size_t)n : strlen(key));
  nki_gguf_put_u32(&w->values, type);
  w->n_values++;
}

void nki_gguf_value_string(struct nki_gguf_writing *w, const char *key, const char *text) {
  nki_gguf_put_key(w, key, NKI_GGUF_STRING);
  nki_gguf_put_string(&w->values, text, strlen(text));
}

void nki_gguf_value_u32(struct nki_gguf_writing *w, const char *key, int64_t value) {
  nki_gguf_put_key(w, key, NKI_GGUF_UINT32);
  nki_gguf_put_u32(&w->values, (uint32_t)value);
}

void nki_gguf_value_f32(struct nki_gguf_writing *w, const char *key, double value) {
  float single = (float)value;
  nki_gguf_put_key(w, key, NKI_GGUF_FLOAT32);
  nk_buffer_append(&w->values, &single, sizeof single);
}

void nki_gguf_value_bool(struct nki_gguf_writing *w, const char *key, bool value) {
  nki_gguf_put_key(w, key, NKI_GGUF_BOOL);
  nk_buffer_byte(&w->values, value);
}

void nki_gguf_value_array(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type,
                          size_t n) {
  nki_gguf_put_key(w, key, NKI_GGUF_ARRAY);
  nki_gguf_put_u32(&w->values, type);
  nki_gguf_put_u64(&w->values, n);
}

/* ---- The whole ---- */

uint32_t nki_gguf_type_number(enum nk_dtype dtype) {
  static const uint8_t numbers[NK_N_DTYPES] = {
      [NK_F16] = 1, [NK_BF16] = 30, [NK_Q8_0] = 8, [NK_MXFP4] = 39};
  return numbers[dtype];
}

/* llama.cpp's general.file_type. */
static void put_file_type(struct nki_gguf_writing *w) {
  nki_gguf_value_u32(w, "general.file_type",
                     w->dtype == NK_F16    ? 1
                     : w->dtype == NK_Q8_0 ? 7
                     : w->dtype == NK_BF16 ? 32
                                           : 0);
}

int nki_gguf_describe(struct nki_gguf_writing *w, size_t n_tokens) {
  nki_gguf_value_string(w, "general.architecture", w->architecture->gguf);
  nki_gguf_value_string(w, "general.name", nk_model_name(w->model));
  put_file_type(w);
  int code = nki_gguf_settings(w);
  return code == NK_OK ? w->put_tokenizer(w, n_tokens) : code;
}

void nki_gguf_copy_values(struct nki_gguf_writing *w) {
  static const char *const left_out[] = {
      "general.file_type", "general.alignment", "general.quantization_version",
      "split.no",          "split.count",       "split.tensors.count"};
  const struct nki_gguf *gguf = w->model->shards[0].gguf;
  for (size_t i = 0; i < gguf->n_values; i++) {
    const struct nki_gguf_value *value = &gguf->value[i];
    size_t k = 0;
    while (k < sizeof left_out / sizeof *left_out && strcmp(left_out[k], value->key) != 0) k++;
    if (k < sizeof left_out / sizeof *left_out) continue;
    nki_gguf_put_key(w, value->key, value->is_array ? NKI_GGUF_ARRAY : value->type);
    if (value->is_array) {
      nki_gguf_put_u32(&w->values, value->type);
      nki_gguf_put_u64(&w->values, value->count);
    }
    nk_buffer_append(&w->values, value->data, value->n_bytes);
  }
  put_file_type(w);
}
