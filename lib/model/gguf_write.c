/* A Hugging Face model as GGUF version 3:
 *
 *   "GGUF" | u32 version | u64 tensors | u64 values
 *   values:  key | u32 type | value          a string is a u64 length and its bytes
 *   tensors: name | u32 dims | u64 dim, innermost first .. | u32 type | u64 offset
 *   padding to 32 | data, each tensor padded to 32
 *
 * llama.cpp's names and layouts differ from the checkpoint's in two ways: GPT-2's weights are
 * turned from [in, out] to [out, in], and the rows of Llama's q and k are reordered, as llama.cpp
 * rotates neighbours where the checkpoint rotates halves. */
#include <jansson.h>
#include <noken/base.h>
#include <noken/model.h>
#include <stdio.h>
#include <string.h>
#include "model/dtype.h"
#include "model/gguf.h"

enum { ALIGNMENT = 32, GGML_F32 = 0, GGML_F16 = 1, MAX_NAME = 128 };

/* How a tensor's rows are laid out anew. */
enum change { AS_IS, TURNED, ROTATED_Q, ROTATED_K };

struct rule {
  const char *to, *from; /* names; with %zu of the block */
  enum change change;
};

static const struct rule gpt2_model[] = {
    {"token_embd.weight", "wte.weight", AS_IS},
    {"position_embd.weight", "wpe.weight", AS_IS},
    {"output_norm.weight", "ln_f.weight", AS_IS},
    {"output_norm.bias", "ln_f.bias", AS_IS},
    {NULL, NULL, AS_IS},
};
static const struct rule gpt2_block[] = {
    {"blk.%zu.attn_norm.weight", "h.%zu.ln_1.weight", AS_IS},
    {"blk.%zu.attn_norm.bias", "h.%zu.ln_1.bias", AS_IS},
    {"blk.%zu.attn_qkv.weight", "h.%zu.attn.c_attn.weight", TURNED},
    {"blk.%zu.attn_qkv.bias", "h.%zu.attn.c_attn.bias", AS_IS},
    {"blk.%zu.attn_output.weight", "h.%zu.attn.c_proj.weight", TURNED},
    {"blk.%zu.attn_output.bias", "h.%zu.attn.c_proj.bias", AS_IS},
    {"blk.%zu.ffn_norm.weight", "h.%zu.ln_2.weight", AS_IS},
    {"blk.%zu.ffn_norm.bias", "h.%zu.ln_2.bias", AS_IS},
    {"blk.%zu.ffn_up.weight", "h.%zu.mlp.c_fc.weight", TURNED},
    {"blk.%zu.ffn_up.bias", "h.%zu.mlp.c_fc.bias", AS_IS},
    {"blk.%zu.ffn_down.weight", "h.%zu.mlp.c_proj.weight", TURNED},
    {"blk.%zu.ffn_down.bias", "h.%zu.mlp.c_proj.bias", AS_IS},
    {NULL, NULL, AS_IS},
};
static const struct rule llama_model[] = {
    {"token_embd.weight", "model.embed_tokens.weight", AS_IS},
    {"output_norm.weight", "model.norm.weight", AS_IS},
    {NULL, NULL, AS_IS},
};
static const struct rule llama_block[] = {
    {"blk.%zu.attn_norm.weight", "model.layers.%zu.input_layernorm.weight", AS_IS},
    {"blk.%zu.attn_q.weight", "model.layers.%zu.self_attn.q_proj.weight", ROTATED_Q},
    {"blk.%zu.attn_k.weight", "model.layers.%zu.self_attn.k_proj.weight", ROTATED_K},
    {"blk.%zu.attn_v.weight", "model.layers.%zu.self_attn.v_proj.weight", AS_IS},
    {"blk.%zu.attn_output.weight", "model.layers.%zu.self_attn.o_proj.weight", AS_IS},
    {"blk.%zu.ffn_norm.weight", "model.layers.%zu.post_attention_layernorm.weight", AS_IS},
    {"blk.%zu.ffn_gate.weight", "model.layers.%zu.mlp.gate_proj.weight", AS_IS},
    {"blk.%zu.ffn_up.weight", "model.layers.%zu.mlp.up_proj.weight", AS_IS},
    {"blk.%zu.ffn_down.weight", "model.layers.%zu.mlp.down_proj.weight", AS_IS},
    {NULL, NULL, AS_IS},
};

struct entry {
  char name[MAX_NAME];
  const struct nk_tensor *tensor;
  enum change change;
  uint32_t type;
  uint64_t offset;
};

struct writing {
  const struct nk_model *model;
  const char *arch;
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

/* The key: with %s the architecture. */
static void put_key(struct writing *w, const char *pattern, enum nk_gguf_type type) {
  char key[MAX_NAME];
  const char *rest = strstr(pattern, "%s");
  if (rest != NULL)
    snprintf(key, sizeof key, "%s%s", w->arch, rest + 2);
  else
    snprintf(key, sizeof key, "%s", pattern);
  put_string(&w->values, key, strlen(key));
  put_u32(&w->values, type);
  w->n_values++;
}

static void value_string(struct writing *w, const char *key, const char *text) {
  put_key(w, key, NK_GGUF_STRING);
  put_string(&w->values, text, strlen(text));
}

static void value_u32(struct writing *w, const char *key, int64_t value) {
  put_key(w, key, NK_GGUF_UINT32);
  put_u32(&w->values, (uint32_t)value);
}

static void value_f32(struct writing *w, const char *key, double value) {
  float single = (float)value;
  put_key(w, key, NK_GGUF_FLOAT32);
  nk_buffer_append(&w->values, &single, sizeof single);
}

static int copy_integer(struct writing *w, const char *key, const char *from, int64_t fallback) {
  int64_t value = fallback;
  int code = nk_model_config_integer(w->model, from, &value);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (value < 1 || value > INT32_MAX)
    return nk_fail(NK_EDATA, "config.json: %s is missing or out of range", from);
  value_u32(w, key, value);
  return 0;
}

static int gpt2_values(struct writing *w) {
  int64_t dim = 0;
  double eps = 1e-5;
  nk_model_config_integer(w->model, "n_embd", &dim);
  nk_model_config_number(w->model, "layer_norm_epsilon", &eps);
  int code = copy_integer(w, "%s.context_length", "n_positions", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.embedding_length", "n_embd", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.feed_forward_length", "n_inner", 4 * dim);
  if (code == NK_OK) code = copy_integer(w, "%s.block_count", "n_layer", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.attention.head_count", "n_head", 0);
  value_f32(w, "%s.attention.layer_norm_epsilon", eps);
  return code;
}

static int llama_values(struct writing *w) {
  double eps = 1e-6, theta = 10000;
  const char *scaling;
  int64_t dim = 0, head_dim = 0;
  if (nk_model_config_string(w->model, "rope_scaling", &scaling) != NK_ENOTFOUND)
    return nk_fail(NK_EUNSUPPORTED, "config.json: rope_scaling is not written as GGUF");
  nk_model_config_integer(w->model, "hidden_size", &dim);
  nk_model_config_number(w->model, "rms_norm_eps", &eps);
  nk_model_config_number(w->model, "rope_theta", &theta);
  int code = copy_integer(w, "%s.context_length", "max_position_embeddings", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.embedding_length", "hidden_size", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.feed_forward_length", "intermediate_size", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.block_count", "num_hidden_layers", 0);
  if (code == NK_OK) code = copy_integer(w, "%s.attention.head_count", "num_attention_heads", 0);
  if (code == NK_OK)
    code = copy_integer(w, "%s.attention.head_count_kv", "num_key_value_heads", w->n_heads);
  if (code != NK_OK) return code;
  head_dim = dim / w->n_heads;
  code = nk_model_config_integer(w->model, "head_dim", &head_dim);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  value_u32(w, "%s.attention.key_length", head_dim);
  value_u32(w, "%s.attention.value_length", head_dim);
  value_u32(w, "%s.rope.dimension_count", head_dim);
  value_f32(w, "%s.attention.layer_norm_rms_epsilon", eps);
  value_f32(w, "%s.rope.freq_base", theta);
  return 0;
}

/* ---- The tokenizer ---- */

static int open_tokenizer(struct writing *w) {
  const char *path = nk_model_path(w->model, "tokenizer.json");
  json_error_t error;
  if (path == NULL) return nk_fail(NK_ENOTFOUND, "no tokenizer.json beside the model");
  w->tokenizer = json_load_file(path, 0, &error);
  if (w->tokenizer == NULL)
    return nk_fail(NK_EDATA, "%s: line %d: %s", path, error.line, error.text);
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
  return 0;
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
  return 0;
}

/* "a b", from a string or from a pair of strings. */
static int put_merge(struct nk_buffer *out, const json_t *merge) {
  const char *text = json_string_value(merge);
  if (text != NULL) {
    put_string(out, text, strlen(text));
    return 0;
  }
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  if (left == NULL || right == NULL) return nk_fail(NK_EDATA, "tokenizer.json: a merge is no pair");
  put_u64(out, strlen(left) + 1 + strlen(right));
  nk_buffer_text(out, left);
  nk_buffer_byte(out, ' ');
  nk_buffer_text(out, right);
  return 0;
}

static int tokenizer_values(struct writing *w, size_t n) {
  const char **texts = nk_calloc(n, sizeof *texts);
  int32_t *types = nk_calloc(n, sizeof *types);
  int code = texts == NULL || types == NULL ? NK_EMEMORY : open_tokenizer(w);
  if (code == NK_OK) code = collect_tokens(w, n, texts, types);
  if (code == NK_OK) {
    value_string(w, "tokenizer.ggml.model", "gpt2");
    value_string(w, "tokenizer.ggml.pre", "gpt-2");
    put_key(w, "tokenizer.ggml.tokens", NK_GGUF_ARRAY);
    put_u32(&w->values, NK_GGUF_STRING);
    put_u64(&w->values, n);
    for (size_t i = 0; i < n; i++) {
      char unused[32];
      int length = snprintf(unused, sizeof unused, "[PAD%zu]", i);
      if (texts[i] != NULL)
        put_string(&w->values, texts[i], strlen(texts[i]));
      else
        put_string(&w->values, unused, (size_t)length);
      if (texts[i] == NULL) types[i] = 5;
    }
    put_key(w, "tokenizer.ggml.token_type", NK_GGUF_ARRAY);
    put_u32(&w->values, NK_GGUF_INT32);
    put_u64(&w->values, n);
    nk_buffer_append(&w->values, types, n * sizeof *types);
    json_t *merges = json_object_get(json_object_get(w->tokenizer, "model"), "merges"), *merge;
    put_key(w, "tokenizer.ggml.merges", NK_GGUF_ARRAY);
    put_u32(&w->values, NK_GGUF_STRING);
    put_u64(&w->values, json_array_size(merges));
    size_t i;
    json_array_foreach(merges, i, merge) if (code == NK_OK) code = put_merge(&w->values, merge);
    int64_t id;
    if (nk_model_config_integer(w->model, "bos_token_id", &id) == 0 && id >= 0)
      value_u32(w, "tokenizer.ggml.bos_token_id", id);
    if (nk_model_config_integer(w->model, "eos_token_id", &id) == 0 && id >= 0)
      value_u32(w, "tokenizer.ggml.eos_token_id", id);
  }
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
  return 0;
}

/* Names in checkpoints of GPT-2 begin "transformer." or not. */
static const struct nk_tensor *find(const struct nk_model *model, const char *name) {
  char longer[2 * MAX_NAME];
  const struct nk_tensor *tensor = nk_model_find(model, name);
  if (tensor != NULL) return tensor;
  snprintf(longer, sizeof longer, "transformer.%s", name);
  tensor = nk_model_find(model, longer);
  if (tensor == NULL) nk_fail(NK_ENOTFOUND, "there is no tensor '%s'", name);
  return tensor;
}

static int add_rules(struct writing *w, const struct rule *rules, size_t block) {
  for (; rules->to != NULL; rules++) {
    char to[MAX_NAME], from[MAX_NAME];
    const char *mark = strstr(rules->to, "%zu"), *from_mark = strstr(rules->from, "%zu");
    if (mark == NULL) {
      snprintf(to, sizeof to, "%s", rules->to);
      snprintf(from, sizeof from, "%s", rules->from);
    } else {
      snprintf(to, sizeof to, "%.*s%zu%s", (int)(mark - rules->to), rules->to, block, mark + 3);
      snprintf(from, sizeof from, "%.*s%zu%s", (int)(from_mark - rules->from), rules->from, block,
               from_mark + 3);
    }
    const struct nk_tensor *tensor = find(w->model, from);
    int code = tensor == NULL ? nk_error_code() : add_tensor(w, to, tensor, rules->change);
    if (code != NK_OK) return code;
  }
  return 0;
}

static int add_tensors(struct writing *w) {
  bool gpt2 = strcmp(w->arch, "gpt2") == 0, tied, biased = false;
  int code = add_rules(w, gpt2 ? gpt2_model : llama_model, 0);
  for (int64_t i = 0; i < w->n_blocks && code == NK_OK; i++)
    code = add_rules(w, gpt2 ? gpt2_block : llama_block, (size_t)i);
  if (code != NK_OK) return code;
  nk_model_config_bool(w->model, "attention_bias", &biased);
  if (!biased) nk_model_config_bool(w->model, "mlp_bias", &biased);
  if (biased) return nk_fail(NK_EUNSUPPORTED, "config.json: biases are not written as GGUF");
  const struct nk_tensor *output = nk_model_matrix(w->model, NK_MATRIX_OUTPUT, &tied);
  if (output == NULL) return nk_error_code();
  return tied ? 0 : add_tensor(w, "output.weight", output, AS_IS);
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

/* Element (row, column) of the tensor as it is written: where it is in the checkpoint. */
static size_t source_index(const struct writing *w, const struct entry *entry, size_t row,
                           size_t column) {
  const struct nk_tensor *t = entry->tensor;
  if (t->n_dims == 1) return column;
  if (entry->change == TURNED) return column * t->shape[1] + row;
  if (entry->change != AS_IS) { /* row 2 j + s of a head was row s half + j */
    size_t heads = (size_t)(entry->change == ROTATED_Q ? w->n_heads : w->n_kv_heads);
    size_t size = t->shape[0] / heads, half = size / 2, at = row % size;
    row = row - at + at % 2 * half + at / 2;
  }
  return row * t->shape[1] + column;
}

static int write_tensor(const struct writing *w, const struct entry *entry,
                        struct nk_output *output) {
  const struct nk_tensor *t = entry->tensor;
  static const char zeros[ALIGNMENT];
  size_t rows = t->n_dims == 1 ? 1 : t->shape[entry->change == TURNED ? 1 : 0];
  size_t columns = t->n_elements / (rows == 0 ? 1 : rows);
  float *source = nk_alloc(t->n_elements, sizeof *source), *row = nk_alloc(columns, sizeof *row);
  int code = source == NULL || row == NULL ? NK_EMEMORY
                                           : nk_widen(t->dtype, t->data, t->n_elements, source);
  for (size_t r = 0; r < rows && code == NK_OK; r++) {
    uint16_t *half = (uint16_t *)row;
    for (size_t c = 0; c < columns; c++) {
      float value = source[source_index(w, entry, r, c)];
      if (entry->type == GGML_F16)
        half[c] = nk_f16_of_float(value);
      else
        row[c] = value;
    }
    code = nk_output_write(output, row, columns * (entry->type == GGML_F16 ? 2 : 4));
  }
  uint64_t size = bytes_of(entry);
  if (code == NK_OK) code = nk_output_write(output, zeros, (size_t)(padded(size) - size));
  nk_free(source);
  nk_free(row);
  return code;
}

/* ---- The whole ---- */

static int prepare(struct writing *w) {
  const char *type = nk_model_type(w->model);
  bool gpt2 = type != NULL && strcmp(type, "gpt2") == 0;
  if (!gpt2 && (type == NULL || strcmp(type, "llama") != 0))
    return nk_fail(NK_EUNSUPPORTED, "architecture '%s' is not written as GGUF",
                   type == NULL ? "unknown" : type);
  w->arch = type;
  value_string(w, "general.architecture", type);
  value_string(w, "general.name", nk_model_name(w->model));
  value_u32(w, "general.file_type", w->half);
  nk_model_config_integer(w->model, gpt2 ? "n_layer" : "num_hidden_layers", &w->n_blocks);
  nk_model_config_integer(w->model, gpt2 ? "n_head" : "num_attention_heads", &w->n_heads);
  w->n_kv_heads = w->n_heads;
  nk_model_config_integer(w->model, "num_key_value_heads", &w->n_kv_heads);
  if (w->n_heads < 1 || w->n_kv_heads < 1 || w->n_blocks < 1 || w->n_blocks > 1 << 16)
    return nk_fail(NK_EDATA, "config.json: numbers of heads and blocks");
  int code = gpt2 ? gpt2_values(w) : llama_values(w);
  if (code == NK_OK) code = add_tensors(w);
  if (code == NK_OK) code = tokenizer_values(w, w->entries[0].tensor->shape[0]);
  for (size_t i = 0; i < w->n_entries && code == NK_OK; i++) {
    const struct entry *e = &w->entries[i];
    size_t heads = (size_t)(e->change == ROTATED_Q ? w->n_heads : w->n_kv_heads);
    if (e->change >= ROTATED_Q && e->tensor->shape[0] % (2 * heads) != 0)
      code = nk_fail(NK_EDATA, "tensor '%s' is not %zu heads", e->tensor->name, heads);
  }
  return code;
}

int nk_gguf_write_model(const struct nk_model *model, bool half, struct nk_output *output) {
  struct writing w = {.model = model, .half = half};
  struct nk_buffer head = {0};
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
