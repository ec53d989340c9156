/* A Hugging Face model as GGUF version 3:
 *
 *   "GGUF" | u32 version | u64 tensors | u64 values
 *   values:  key | u32 type | value          a string is a u64 length and its bytes
 *   tensors: name | u32 dims | u64 dim, innermost first .. | u32 type | u64 offset
 *   padding to 32 | data, each tensor padded to 32
 *
 * Names and layouts are those of the table of architectures: matrices of the form [in, out] are
 * transposed, and rows of q and k are reordered where llama.cpp rotates pairs of components and the
 * checkpoint rotates halves. */
#include <jansson.h>
#include <math.h>
#include <noken/base.h>
#include <noken/model.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "model/architecture.h"
#include "model/dtype.h"
#include "model/gguf.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rows.h"

enum { ALIGNMENT = 32, GGML_F32 = 0, GGML_F16 = 1 };

/* How a tensor's rows are laid out anew. */
enum change { AS_IS, TURNED, PAIRED_Q, PAIRED_K };

struct entry {
  char name[NKI_MAX_NAME];
  const struct nk_tensor *tensor;
  enum change change;
  uint32_t type;
  uint64_t offset;
};

struct writing {
  const struct nk_model *model;
  const struct nki_architecture *architecture;
  char prefix[NKI_MAX_PREFIX]; /* of the checkpoint's names */
  bool half;
  int64_t n_blocks, n_heads, n_kv_heads;
  struct entry *entries;
  size_t n_entries, capacity;
  struct nk_buffer values;
  uint64_t n_values;
  json_t *tokenizer;
};

/* ---- Values ---- */

static void put_u32(struct nk_buffer *b, uint32_t v) {
  nk_buffer_append(b, &v, sizeof v);
}

static void put_u64(struct nk_buffer *b, uint64_t v) {
  nk_buffer_append(b, &v, sizeof v);
}

static void put_string(struct nk_buffer *b, const char *text, size_t n) {
  put_u64(b, n);
  nk_buffer_append(b, text, n);
}

static void put_key(struct writing *w, const char *key, enum nki_gguf_type type) {
  put_string(&w->values, key, strlen(key));
  put_u32(&w->values, type);
  w->n_values++;
}

static void value_string(struct writing *w, const char *key, const char *text) {
  put_key(w, key, NKI_GGUF_STRING);
  put_string(&w->values, text, strlen(text));
}

static void value_u32(struct writing *w, const char *key, int64_t value) {
  put_key(w, key, NKI_GGUF_UINT32);
  put_u32(&w->values, (uint32_t)value);
}

static void value_f32(struct writing *w, const char *key, double value) {
  float single = (float)value;
  put_key(w, key, NKI_GGUF_FLOAT32);
  nk_buffer_append(&w->values, &single, sizeof single);
}

/* "ARCHITECTURE.KEY" */
static const char *own_key(const struct writing *w, const char *key, char name[NKI_MAX_NAME]) {
  snprintf(name, NKI_MAX_NAME, "%s.%s", w->architecture->gguf, key);
  return name;
}

/* A setting of config.json, or what holds where that does not say. */
static int copy_size(struct writing *w, enum nki_setting setting, int64_t fallback) {
  char key[NKI_MAX_NAME];
  int64_t value = fallback;
  int code = nki_setting_integer(w->model, setting, &value);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (value < 1 || value > INT32_MAX)
    return nk_fail(NK_EDATA, "config.json: %s is missing or out of range",
                   nki_setting_key(w->model, setting));
  value_u32(w, own_key(w, nki_setting_gguf_key(setting), key), value);
  return NK_OK;
}

static int copy_number(struct writing *w, enum nki_setting setting, double fallback) {
  char key[NKI_MAX_NAME];
  double value = fallback;
  int code = nki_setting_number(w->model, setting, &value);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  value_f32(w, own_key(w, nki_setting_gguf_key(setting), key), value);
  return NK_OK;
}

/* Keys and values of q and k, for architectures with rotary positions. */
static int head_values(struct writing *w) {
  int64_t dim = 0, head_dim = 0;
  char key[NKI_MAX_NAME];
  int code = copy_size(w, NKI_SETTING_N_KV_HEADS, w->n_heads);
  if (code != NK_OK) return code;
  nki_setting_integer(w->model, NKI_SETTING_DIM, &dim);
  head_dim = dim / w->n_heads;
  code = copy_size(w, NKI_SETTING_HEAD_DIM, head_dim);
  if (code != NK_OK) return code;
  nki_setting_integer(w->model, NKI_SETTING_HEAD_DIM, &head_dim);
  value_u32(w, own_key(w, "attention.value_length", key), head_dim);
  return copy_size(w, NKI_SETTING_ROTARY_DIM, head_dim);
}

/* Rotary positions are written where they are not scaled. */
static int check_rope(const struct writing *w) {
  const char *type;
  double factor;
  int code = nki_rope_type(w->model, &type);
  bool is_scaled = strcmp(type, "default") != 0 ||
                   nki_setting_number(w->model, NKI_SETTING_ROPE_FACTOR, &factor) != NK_ENOTFOUND;
  if ((code == NK_OK || code == NK_ENOTFOUND) && !is_scaled) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED, "config.json: %s is not written as GGUF",
                 nki_rope_object(w->model));
}

static int architecture_values(struct writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  bool rotary = architecture->rotary != NKI_NO_ROTARY;
  bool layer_norm = architecture->norm == NKI_LAYER_NORM;
  int64_t dim = 0;
  int code = rotary ? check_rope(w) : NK_OK;
  if (code != NK_OK) return code;
  nki_setting_integer(w->model, NKI_SETTING_DIM, &dim);
  code = copy_size(w, NKI_SETTING_N_POSITIONS, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_DIM, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_MLP_DIM, 4 * dim);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_LAYERS, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_HEADS, 0);
  if (code == NK_OK && rotary) code = head_values(w);
  if (code == NK_OK)
    code = copy_number(w, layer_norm ? NKI_SETTING_LAYER_NORM_EPS : NKI_SETTING_RMS_NORM_EPS,
                       architecture->norm_eps);
  if (code == NK_OK && rotary) code = copy_number(w, NKI_SETTING_ROTARY_BASE, 10000);
  return code;
}

/* ---- The tokenizer ---- */

static int open_tokenizer(struct writing *w) {
  const char *path = nki_model_path(w->model, "tokenizer.json");
  if (path == NULL) return nk_fail(NK_ENOTFOUND, "no tokenizer.json beside the model");
  w->tokenizer = nki_json_load(path, 0);
  if (w->tokenizer == NULL) return nk_error_code();
  json_t *pre = json_object_get(w->tokenizer, "pre_tokenizer");
  json_t *model = json_object_get(w->tokenizer, "model");
  const char *kind = json_string_value(json_object_get(model, "type"));
  const char *split = json_string_value(json_object_get(pre, "type"));
  json_t *pattern = json_object_get(pre, "use_regex");
  bool byte_level = split != NULL && strcmp(split, "ByteLevel") == 0;
  if (kind == NULL || strcmp(kind, "BPE") != 0 || !byte_level || json_is_false(pattern) ||
      !json_is_null(json_object_get(w->tokenizer, "normalizer")))
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: only byte-level BPE with GPT-2's pattern is written as GGUF", path);
  return NK_OK;
}

/* texts [n] by id, borrowed from the JSON; marks added tokens in types (ggml: 1 normal, 3 control,
 * 4 user-defined). */
static int collect_tokens(const struct writing *w, size_t n, const char **texts, int32_t *types) {
  json_t *vocabulary = json_object_get(json_object_get(w->tokenizer, "model"), "vocab");
  json_t *added = json_object_get(w->tokenizer, "added_tokens"), *value, *item;
  const char *text;
  size_t i;
  json_object_foreach(vocabulary, text, value) {
    json_int_t id = json_integer_value(value);
    if (id < 0 || (size_t)id >= n)
      return nk_fail(NK_EDATA, "tokenizer.json: id %lld", (long long)id);
    texts[id] = text;
    types[id] = 1;
  }
  json_array_foreach(added, i, item) {
    json_int_t id = json_integer_value(json_object_get(item, "id"));
    const char *content = json_string_value(json_object_get(item, "content"));
    if (id < 0 || (size_t)id >= n || content == NULL)
      return nk_fail(NK_EDATA, "tokenizer.json: added token %zu", i);
    texts[id] = content;
    types[id] = json_is_true(json_object_get(item, "special")) ? 3 : 4;
  }
  return NK_OK;
}

/* "a b", from a string or from a pair of strings. */
static int put_merge(struct nk_buffer *out, const json_t *merge) {
  const char *text = json_string_value(merge);
  if (text != NULL) {
    put_string(out, text, strlen(text));
    return NK_OK;
  }
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  if (left == NULL || right == NULL)
    return nk_fail(NK_EDATA, "tokenizer.json: a merge is not a pair");
  put_u64(out, strlen(left) + 1 + strlen(right));
  nk_buffer_text(out, left);
  nk_buffer_byte(out, ' ');
  nk_buffer_text(out, right);
  return NK_OK;
}

static void put_array(struct writing *w, const char *key, enum nki_gguf_type type, size_t n) {
  put_key(w, key, NKI_GGUF_ARRAY);
  put_u32(&w->values, type);
  put_u64(&w->values, n);
}

/* An id without a token becomes an unused one (type 5). */
static void put_tokens(struct writing *w, const char *const *texts, int32_t *types, size_t n) {
  put_array(w, "tokenizer.ggml.tokens", NKI_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) {
    char unused[32];
    snprintf(unused, sizeof unused, "[PAD%zu]", i);
    const char *text = texts[i] != NULL ? texts[i] : unused;
    put_string(&w->values, text, strlen(text));
    if (texts[i] == NULL) types[i] = 5;
  }
  put_array(w, "tokenizer.ggml.token_type", NKI_GGUF_INT32, n);
  nk_buffer_append(&w->values, types, n * sizeof *types);
}

static int put_merges(struct writing *w) {
  json_t *merges = json_object_get(json_object_get(w->tokenizer, "model"), "merges"), *merge;
  size_t i;
  put_array(w, "tokenizer.ggml.merges", NKI_GGUF_STRING, json_array_size(merges));
  json_array_foreach(merges, i, merge) {
    int code = put_merge(&w->values, merge);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static void put_special(struct writing *w, const char *key, const char *from) {
  int64_t id;
  if (nk_model_config_integer(w->model, from, &id) == NK_OK && id >= 0) value_u32(w, key, id);
}

static int tokenizer_values(struct writing *w, size_t n) {
  const char **texts = nk_calloc(n, sizeof *texts);
  int32_t *types = nk_calloc(n, sizeof *types);
  int code = texts == NULL || types == NULL ? NK_EMEMORY : open_tokenizer(w);
  if (code == NK_OK) code = collect_tokens(w, n, texts, types);
  if (code != NK_OK) goto done;
  value_string(w, "tokenizer.ggml.model", "gpt2");
  value_string(w, "tokenizer.ggml.pre", "gpt-2");
  put_tokens(w, texts, types, n);
  code = put_merges(w);
  if (code != NK_OK) goto done;
  put_special(w, "tokenizer.ggml.bos_token_id", "bos_token_id");
  put_special(w, "tokenizer.ggml.eos_token_id", "eos_token_id");
done:
  nk_free(texts);
  nk_free(types);
  return code;
}

/* ---- Tensors ---- */

static int add_tensor(struct writing *w, const char *name, const struct nk_tensor *tensor,
                      enum change change) {
  if (w->n_entries == w->capacity) {
    size_t capacity = w->capacity * 2 + 64;
    struct entry *more = nk_realloc(w->entries, w->n_entries, capacity, sizeof *more);
    if (more == NULL) return NK_EMEMORY;
    w->entries = more;
    w->capacity = capacity;
  }
  if (tensor->n_dims < 1 || tensor->n_dims > 2)
    return nk_fail(NK_EDATA, "tensor '%s' is neither a vector nor a matrix", tensor->name);
  struct entry *entry = &w->entries[w->n_entries++];
  snprintf(entry->name, sizeof entry->name, "%s", name);
  entry->tensor = tensor;
  entry->change = change;
  entry->type = w->half && tensor->n_dims == 2 ? GGML_F16 : GGML_F32;
  return NK_OK;
}

static enum change change_of(const struct writing *w, enum nki_part part) {
  if (w->architecture->in_out) return TURNED;
  if (w->architecture->gguf_pairs && part == NKI_Q) return PAIRED_Q;
  if (w->architecture->gguf_pairs && part == NKI_K) return PAIRED_K;
  return AS_IS;
}

/* The block's parts, each with its bias. */
static int add_block(struct writing *w, size_t layer) {
  for (int p = 0; p < NKI_N_PARTS; p++) {
    enum nki_part part = (enum nki_part)p;
    const char *to = nki_part_gguf_name(part);
    if (w->architecture->names[part] == NULL) continue;
    bool biased = nki_part_has_bias(w->architecture, w->model, part);
    for (int i = 0; i < 1 + biased; i++) {
      const char *suffix = i == 0 ? "weight" : "bias";
      char from[NKI_MAX_NAME], name[NKI_MAX_NAME];
      int code = nki_part_name(w->architecture, w->prefix, layer, part, suffix, from);
      if (code != NK_OK) return code;
      const struct nk_tensor *tensor = nk_model_find(w->model, from);
      if (tensor == NULL) return nk_error_code();
      snprintf(name, sizeof name, "blk.%zu.%s.%s", layer, to, suffix);
      code = add_tensor(w, name, tensor, tensor->n_dims == 2 ? change_of(w, part) : AS_IS);
      if (code != NK_OK) return code;
    }
  }
  return NK_OK;
}

static int add_final_norm(struct writing *w) {
  bool layer_norm = w->architecture->norm == NKI_LAYER_NORM;
  int code = NK_OK;
  for (int i = 0; i < 1 + layer_norm && code == NK_OK; i++) {
    const char *suffix = i == 0 ? "weight" : "bias";
    char from[NKI_MAX_NAME], name[NKI_MAX_NAME];
    snprintf(from, sizeof from, "%s%s.%s", w->prefix, w->architecture->final_norm, suffix);
    snprintf(name, sizeof name, "output_norm.%s", suffix);
    const struct nk_tensor *tensor = nk_model_find(w->model, from);
    code = tensor != NULL ? add_tensor(w, name, tensor, AS_IS) : nk_error_code();
  }
  return code;
}

static int add_matrix(struct writing *w, enum nk_matrix which, const char *name) {
  const struct nk_tensor *tensor = nk_model_matrix(w->model, which, NULL);
  return tensor != NULL ? add_tensor(w, name, tensor, AS_IS) : nk_error_code();
}

static int add_tensors(struct writing *w) {
  bool tied, biased = false;
  if (!nki_architecture_prefix(w->architecture, w->model, w->prefix))
    return nk_fail(NK_EDATA, "no tensor '%s%s.weight'", w->architecture->prefix,
                   w->architecture->embedding);
  if (nk_model_matrix(w->model, NK_MATRIX_OUTPUT, &tied) == NULL) return nk_error_code();
  nki_model_config_bool(w->model, "attention_bias", &biased);
  if (!biased) nki_model_config_bool(w->model, "mlp_bias", &biased);
  if (biased && w->architecture->biases == NKI_BIAS_CONFIG)
    return nk_fail(NK_EUNSUPPORTED, "config.json: biases are not written as GGUF");
  int code = add_matrix(w, NK_MATRIX_INPUT, "token_embd.weight");
  if (code == NK_OK && w->architecture->positions != NULL)
    code = add_matrix(w, NK_MATRIX_POSITION, "position_embd.weight");
  if (code == NK_OK) code = add_final_norm(w);
  for (int64_t i = 0; i < w->n_blocks && code == NK_OK; i++) code = add_block(w, (size_t)i);
  if (code == NK_OK && !tied) code = add_matrix(w, NK_MATRIX_OUTPUT, "output.weight");
  return code;
}

static uint64_t padded(uint64_t n) {
  return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t bytes_of(const struct entry *entry) {
  return (uint64_t)entry->tensor->n_elements * (entry->type == GGML_F16 ? 2 : 4);
}

static void put_entries(struct writing *w, struct nk_buffer *out) {
  uint64_t offset = 0;
  for (size_t i = 0; i < w->n_entries; i++) {
    struct entry *entry = &w->entries[i];
    const struct nk_tensor *t = entry->tensor;
    put_string(out, entry->name, strlen(entry->name));
    put_u32(out, (uint32_t)t->n_dims);
    for (size_t d = 0; d < t->n_dims; d++)
      put_u64(out, t->shape[entry->change == TURNED ? d : t->n_dims - 1 - d]);
    put_u32(out, entry->type);
    put_u64(out, entry->offset = offset);
    offset = padded(offset + bytes_of(entry));
  }
}

/* The index in the checkpoint of element (row, column) of the tensor as it is written. */
static size_t source_index(const struct writing *w, const struct entry *entry, size_t row,
                           size_t column) {
  const struct nk_tensor *t = entry->tensor;
  if (t->n_dims == 1) return column;
  if (entry->change == TURNED) return column * t->shape[1] + row;
  if (entry->change != AS_IS) { /* row 2 j + s of a head was row s half + j */
    size_t heads = (size_t)(entry->change == PAIRED_Q ? w->n_heads : w->n_kv_heads);
    size_t size = t->shape[0] / heads, half = size / 2, at = row % size;
    row = row - at + at % 2 * half + at / 2;
  }
  return row * t->shape[1] + column;
}

/* Rounds to infinity in half precision: half a unit beyond the largest, 65504. */
#define MAX_F16 65520.0f

static int write_tensor(const struct writing *w, const struct entry *entry,
                        struct nk_output *output) {
  const struct nk_tensor *t = entry->tensor;
  static const char zeros[ALIGNMENT];
  size_t rows = t->n_dims == 1 ? 1 : t->shape[entry->change == TURNED ? 1 : 0];
  size_t columns = t->n_elements / (rows == 0 ? 1 : rows);
  float *scratch = nk_alloc(t->n_elements, sizeof *scratch), *row = nk_alloc(columns, sizeof *row);
  int code = scratch == NULL || row == NULL ? NK_EMEMORY : nki_tensor_check_widens(t);
  if (code != NK_OK) goto done;
  const float *source = nki_tensor_floats(t, 0, t->n_elements, scratch);
  for (size_t r = 0; r < rows && code == NK_OK; r++) {
    uint16_t *half = (uint16_t *)row;
    for (size_t c = 0; c < columns; c++) {
      float value = source[source_index(w, entry, r, c)];
      if (entry->type == GGML_F16)
        half[c] = nki_f16_of_float(value);
      else
        row[c] = value;
      if (entry->type == GGML_F16 && isfinite(value) && fabsf(value) >= MAX_F16)
        code = nk_fail(NK_EDATA, "tensor '%s' holds %.9g, beyond the range of F16 (65504)", t->name,
                       (double)value);
    }
    if (code == NK_OK)
      code = nk_output_write(output, row, columns * (entry->type == GGML_F16 ? 2 : 4));
  }
  uint64_t size = bytes_of(entry);
  if (code == NK_OK) code = nk_output_write(output, zeros, (size_t)(padded(size) - size));
done:
  nk_free(scratch);
  nk_free(row);
  return code;
}

/* ---- The whole ---- */

/* The rows of q and k are whole heads. */
static int check_heads(const struct writing *w) {
  for (size_t i = 0; i < w->n_entries; i++) {
    const struct entry *e = &w->entries[i];
    size_t heads = (size_t)(e->change == PAIRED_Q ? w->n_heads : w->n_kv_heads);
    if (e->change >= PAIRED_Q && e->tensor->shape[0] % (2 * heads) != 0)
      return nk_fail(NK_EDATA, "tensor '%s' is not %zu heads", e->tensor->name, heads);
  }
  return NK_OK;
}

static int prepare(struct writing *w) {
  const char *type = nki_model_type(w->model);
  w->architecture = nki_architecture_find(type);
  if (w->architecture == NULL || !w->architecture->gguf_written)
    return nk_fail(NK_EUNSUPPORTED, "architecture '%s' is not written as GGUF",
                   type == NULL ? "unknown" : type);
  value_string(w, "general.architecture", w->architecture->gguf);
  value_string(w, "general.name", nk_model_name(w->model));
  value_u32(w, "general.file_type", w->half);
  nki_setting_integer(w->model, NKI_SETTING_N_LAYERS, &w->n_blocks);
  nki_setting_integer(w->model, NKI_SETTING_N_HEADS, &w->n_heads);
  w->n_kv_heads = w->n_heads;
  nki_setting_integer(w->model, NKI_SETTING_N_KV_HEADS, &w->n_kv_heads);
  if (w->n_heads < 1 || w->n_kv_heads < 1 || w->n_blocks < 1 || w->n_blocks > 1 << 16)
    return nk_fail(NK_EDATA,
                   "config.json: numbers of heads and blocks are missing or out of range");
  int code = architecture_values(w);
  if (code == NK_OK) code = add_tensors(w);
  if (code == NK_OK) code = tokenizer_values(w, w->entries[0].tensor->shape[0]);
  return code == NK_OK ? check_heads(w) : code;
}

int nk_model_write_gguf(const struct nk_model *model, bool half, struct nk_output *output) {
  struct writing w = {.model = model, .half = half};
  struct nk_buffer head = {0};
  if (model == NULL || output == NULL) return nki_fail_null();
  int code = prepare(&w);
  if (code == NK_OK) {
    nk_buffer_append(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, w.n_entries);
    put_u64(&head, w.n_values);
    nk_buffer_append(&head, w.values.data, w.values.size);
    put_entries(&w, &head);
    while (head.size % ALIGNMENT != 0 && !head.failed) nk_buffer_byte(&head, 0);
    if (head.failed || w.values.failed) code = nk_fail(NK_EMEMORY, "no memory for the header");
  }
  if (code == NK_OK) code = nk_output_write(output, head.data, head.size);
  for (size_t i = 0; i < w.n_entries && code == NK_OK; i++)
    code = write_tensor(&w, &w.entries[i], output);
  if (code != NK_OK) nk_fail_in(code, "%s", nk_model_name(model));
  json_decref(w.tokenizer);
  nk_buffer_free(&w.values);
  nk_buffer_free(&head);
  nk_free(w.entries);
  return code;
}
