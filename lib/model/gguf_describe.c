/* The metadata of a checkpoint as llama.cpp's converter writes them: what config.json says, under
 * GGUF's keys, and the tokenizer. */
#include <jansson.h>
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "model/gguf_write.h"
#include "model/model.h"
#include "model/model_config.h"

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

static void put_key(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type) {
  nki_gguf_put_string(&w->values, key, strlen(key));
  nki_gguf_put_u32(&w->values, type);
  w->n_values++;
}

static void value_string(struct nki_gguf_writing *w, const char *key, const char *text) {
  put_key(w, key, NKI_GGUF_STRING);
  nki_gguf_put_string(&w->values, text, strlen(text));
}

static void value_u32(struct nki_gguf_writing *w, const char *key, int64_t value) {
  put_key(w, key, NKI_GGUF_UINT32);
  nki_gguf_put_u32(&w->values, (uint32_t)value);
}

static void value_f32(struct nki_gguf_writing *w, const char *key, double value) {
  float single = (float)value;
  put_key(w, key, NKI_GGUF_FLOAT32);
  nk_buffer_append(&w->values, &single, sizeof single);
}

/* "ARCHITECTURE.KEY" */
static const char *own_key(const struct nki_gguf_writing *w, const char *key,
                           char name[NKI_MAX_NAME]) {
  snprintf(name, NKI_MAX_NAME, "%s.%s", w->architecture->gguf, key);
  return name;
}

/* A setting of config.json, or what holds where that does not say. */
static int copy_size(struct nki_gguf_writing *w, enum nki_setting setting, int64_t fallback) {
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

static int copy_number(struct nki_gguf_writing *w, enum nki_setting setting, double fallback) {
  char key[NKI_MAX_NAME];
  double value = fallback;
  int code = nki_setting_number(w->model, setting, &value);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  value_f32(w, own_key(w, nki_setting_gguf_key(setting), key), value);
  return NK_OK;
}

/* ---- Rotary positions ---- */

/* Llama 3's factors of the frequencies, as its configuration has them in words: waves longer than
 * the original context by low_freq_factor are stretched, shorter ones by high_freq_factor stay. */
static int llama3_factors(const struct nki_gguf_writing *w, float *factors, size_t n) {
  double base = 10000, factor = 0, low = 0, high = 0, original = 0;
  const struct nk_model *m = w->model;
  nki_setting_number(m, NKI_SETTING_ROTARY_BASE, &base);
  if (nki_setting_number(m, NKI_SETTING_ROPE_FACTOR, &factor) != NK_OK ||
      nki_setting_number(m, NKI_SETTING_ROPE_LOW, &low) != NK_OK ||
      nki_setting_number(m, NKI_SETTING_ROPE_HIGH, &high) != NK_OK ||
      nki_setting_number(m, NKI_SETTING_ROPE_ORIGINAL, &original) != NK_OK || !(high > low) ||
      !(factor > 0))
    return nk_fail(NK_EDATA, "config.json: %s 'llama3' lacks a setting", nki_rope_object(m));
  for (size_t i = 0; i < n; i++) {
    double wave = 2 * M_PI * pow(base, (double)i / (double)n);
    double share = fmin(fmax((original / wave - low) / (high - low), 0), 1);
    factors[i] = (float)(1 / (share + (1 - share) / factor));
  }
  return NK_OK;
}

static int listed_factors(const struct nki_gguf_writing *w, const char *list, float *factors,
                          size_t n) {
  char path[64];
  snprintf(path, sizeof path, "%s.%s", nki_rope_object(w->model), list);
  for (size_t i = 0; i < n; i++) {
    double factor;
    if (nki_model_config_number_at(w->model, path, i, &factor) != NK_OK)
      return nk_fail(NK_EDATA, "config.json: %s needs %zu numbers", path, n);
    factors[i] = (float)factor;
  }
  return NK_OK;
}

/* Components of a head that are rotated. */
static int64_t rotary_dim(const struct nki_gguf_writing *w) {
  int64_t dim = 0, head_dim, rotary;
  double part = w->architecture->rotary_part;
  nki_setting_integer(w->model, NKI_SETTING_DIM, &dim);
  head_dim = dim / w->n_heads;
  nki_setting_integer(w->model, NKI_SETTING_HEAD_DIM, &head_dim);
  nki_setting_number(w->model, NKI_SETTING_ROTARY_PART, &part);
  rotary = (int64_t)((double)head_dim * part);
  nki_setting_integer(w->model, NKI_SETTING_ROTARY_DIM, &rotary);
  return rotary;
}

int nki_gguf_rope_factors(const struct nki_gguf_writing *w, int which, const char **name,
                          float **factors, size_t *n) {
  enum { MOST = 1 << 16 };
  const char *type;
  *name = NULL;
  if (w->architecture == NULL || w->architecture->rotary == NKI_NO_ROTARY) return NK_OK;
  int code = nki_rope_type(w->model, &type);
  if (code != NK_OK) return code == NK_ENOTFOUND ? NK_OK : code;
  bool is_llama3 = strcmp(type, "llama3") == 0;
  bool is_longrope = strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0;
  if ((is_llama3 && which == 1) || (!is_llama3 && !is_longrope)) return NK_OK;
  int64_t rotary = rotary_dim(w);
  if (rotary < 2 || rotary > MOST)
    return nk_fail(NK_EDATA, "config.json: %lld components of a head cannot be rotated",
                   (long long)rotary);
  *n = (size_t)rotary / 2;
  *factors = nk_alloc(*n, sizeof **factors);
  if (*factors == NULL) return NK_EMEMORY;
  *name = is_llama3    ? "rope_freqs.weight"
          : which == 0 ? "rope_factors_short.weight"
                       : "rope_factors_long.weight";
  return is_llama3 ? llama3_factors(w, *factors, *n)
                   : listed_factors(w, which == 0 ? "short_factor" : "long_factor", *factors, *n);
}

/* The keys of a scaling; Llama 3's is in the tensor of its factors alone. */
static int scaling_values(struct nki_gguf_writing *w) {
  char key[NKI_MAX_NAME];
  const char *type;
  double factor = 0, original = 0, positions = 0, amplitude;
  int code = nki_rope_type(w->model, &type);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0) return NK_OK;
  if (strcmp(type, "linear") == 0) {
    code = nki_setting_number(w->model, NKI_SETTING_ROPE_FACTOR, &factor);
    if (code != NK_OK) return nk_fail(NK_EDATA, "config.json: rope_scaling has no factor");
    value_string(w, own_key(w, "rope.scaling.type", key), "linear");
    value_f32(w, own_key(w, "rope.scaling.factor", key), factor);
    return NK_OK;
  }
  if (strcmp(type, "longrope") != 0 && strcmp(type, "su") != 0)
    return nk_fail(NK_EUNSUPPORTED, "config.json: %s '%s' is not written as GGUF",
                   nki_rope_object(w->model), type);
  code = nki_setting_number(w->model, NKI_SETTING_ROPE_ORIGINAL, &original);
  nki_setting_number(w->model, NKI_SETTING_N_POSITIONS, &positions);
  if (code != NK_OK || !(original > 1))
    return nk_fail(NK_EDATA, "config.json: original_max_position_embeddings is missing");
  amplitude = positions > original ? sqrt(1 + log(positions / original) / log(original)) : 1;
  nki_setting_number(w->model, NKI_SETTING_ROPE_AMPLITUDE, &amplitude);
  value_u32(w, own_key(w, "rope.scaling.original_context_length", key), (int64_t)original);
  value_f32(w, own_key(w, "rope.scaling.attn_factor", key), amplitude);
  return NK_OK;
}

/* ---- What config.json says ---- */

/* Keys and values of q and k, for architectures with rotary positions. */
static int head_values(struct nki_gguf_writing *w) {
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
  value_u32(w, own_key(w, "rope.dimension_count", key), rotary_dim(w));
  return scaling_values(w);
}

/* A setting that the family has in both. */
static int copy_optional(struct nki_gguf_writing *w, enum nki_setting setting) {
  char key[NKI_MAX_NAME];
  double value;
  int code = nki_setting_number(w->model, setting, &value);
  if (code == NK_ENOTFOUND) return NK_OK;
  if (code != NK_OK) return code;
  own_key(w, nki_setting_gguf_key(setting), key);
  if (setting == NKI_SETTING_WINDOW)
    value_u32(w, key, (int64_t)value);
  else
    value_f32(w, key, value);
  return NK_OK;
}

/* llama.cpp keeps to a window in layers that alternate only. */
static int window_values(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  int64_t window = 0, positions = 0;
  bool is_used = architecture->window != NKI_WINDOW_QWEN;
  nki_model_config_bool(w->model, "use_sliding_window", &is_used);
  if (architecture->window == NKI_NO_WINDOW || !is_used) return NK_OK;
  int code = nki_setting_integer(w->model, NKI_SETTING_WINDOW, &window);
  if (code != NK_OK) return code == NK_ENOTFOUND ? NK_OK : code;
  nki_setting_integer(w->model, NKI_SETTING_N_POSITIONS, &positions);
  if (window < positions && architecture->window != NKI_WINDOW_ALTERNATING)
    nk_warn(
        "%s: llama.cpp will ignore the sliding_window of %lld: longer contexts give other logits",
        nk_model_name(w->model), (long long)window);
  return copy_optional(w, NKI_SETTING_WINDOW);
}

/* What only some families have. llama.cpp has Gemma 2's scale of attention by itself. */
static int special_values(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  char key[NKI_MAX_NAME];
  bool parallel = true;
  int code = NK_OK;
  if (architecture->order == NKI_PARALLEL_NEOX) {
    nki_model_config_bool(w->model, "use_parallel_residual", &parallel);
    put_key(w, own_key(w, "use_parallel_residual", key), NKI_GGUF_BOOL);
    nk_buffer_byte(&w->values, parallel);
  }
  int64_t head_dim = 0, dim = 0;
  double scalar = 0, theirs;
  nki_setting_integer(w->model, NKI_SETTING_DIM, &dim);
  head_dim = dim / w->n_heads;
  nki_setting_integer(w->model, NKI_SETTING_HEAD_DIM, &head_dim);
  theirs = (double)(w->n_layers == 46 ? dim / w->n_heads : head_dim);
  code = nki_setting_number(w->model, NKI_SETTING_QUERY_SCALAR, &scalar);
  if (code == NK_OK && scalar != theirs)
    return nk_fail(NK_EUNSUPPORTED,
                   "config.json: query_pre_attn_scalar is %g, and GGUF cannot say it: llama.cpp "
                   "takes %g",
                   scalar, theirs);
  code = window_values(w);
  if (code == NK_OK) code = copy_optional(w, NKI_SETTING_ATTENTION_CAP);
  if (code == NK_OK) code = copy_optional(w, NKI_SETTING_LOGIT_CAP);
  return code;
}

static int architecture_values(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  bool rotary = architecture->rotary != NKI_NO_ROTARY;
  bool layer_norm = architecture->norm == NKI_LAYER_NORM;
  int64_t dim = 0;
  int code;
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
  return code == NK_OK ? special_values(w) : code;
}

/* ---- The tokenizer ---- */

static int check_tokenizer(const char *path, const json_t *tokenizer) {
  json_t *pre = json_object_get(tokenizer, "pre_tokenizer");
  json_t *model = json_object_get(tokenizer, "model");
  const char *kind = json_string_value(json_object_get(model, "type"));
  const char *split = json_string_value(json_object_get(pre, "type"));
  json_t *pattern = json_object_get(pre, "use_regex");
  bool byte_level = split != NULL && strcmp(split, "ByteLevel") == 0;
  if (kind == NULL || strcmp(kind, "BPE") != 0 || !byte_level || json_is_false(pattern) ||
      !json_is_null(json_object_get(tokenizer, "normalizer")))
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: only byte-level BPE with GPT-2's pattern is written as GGUF", path);
  return NK_OK;
}

/* texts [n] by id, borrowed from the JSON; marks added tokens in types (ggml: 1 normal, 3 control,
 * 4 user-defined). */
static int collect_tokens(const json_t *tokenizer, size_t n, const char **texts, int32_t *types) {
  json_t *vocabulary = json_object_get(json_object_get(tokenizer, "model"), "vocab");
  json_t *added = json_object_get(tokenizer, "added_tokens"), *value, *item;
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
    nki_gguf_put_string(out, text, strlen(text));
    return NK_OK;
  }
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  if (left == NULL || right == NULL)
    return nk_fail(NK_EDATA, "tokenizer.json: a merge is not a pair");
  nki_gguf_put_u64(out, strlen(left) + 1 + strlen(right));
  nk_buffer_text(out, left);
  nk_buffer_byte(out, ' ');
  nk_buffer_text(out, right);
  return NK_OK;
}

static void put_array(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type,
                      size_t n) {
  put_key(w, key, NKI_GGUF_ARRAY);
  nki_gguf_put_u32(&w->values, type);
  nki_gguf_put_u64(&w->values, n);
}

/* An id without a token becomes an unused one (type 5). */
static void put_tokens(struct nki_gguf_writing *w, const char *const *texts, int32_t *types,
                       size_t n) {
  put_array(w, "tokenizer.ggml.tokens", NKI_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) {
    char unused[32];
    snprintf(unused, sizeof unused, "[PAD%zu]", i);
    const char *text = texts[i] != NULL ? texts[i] : unused;
    nki_gguf_put_string(&w->values, text, strlen(text));
    if (texts[i] == NULL) types[i] = 5;
  }
  put_array(w, "tokenizer.ggml.token_type", NKI_GGUF_INT32, n);
  nk_buffer_append(&w->values, types, n * sizeof *types);
}

static int put_merges(struct nki_gguf_writing *w, const json_t *tokenizer) {
  json_t *merges = json_object_get(json_object_get(tokenizer, "model"), "merges"), *merge;
  size_t i;
  put_array(w, "tokenizer.ggml.merges", NKI_GGUF_STRING, json_array_size(merges));
  json_array_foreach(merges, i, merge) {
    int code = put_merge(&w->values, merge);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static void put_special(struct nki_gguf_writing *w, const char *key, const char *from) {
  int64_t id;
  if (nki_model_config_integer(w->model, from, &id) == NK_OK && id >= 0) value_u32(w, key, id);
}

static int tokenizer_values(struct nki_gguf_writing *w, size_t n, const char *path) {
  const char **texts = nk_calloc(n, sizeof *texts);
  int32_t *types = nk_calloc(n, sizeof *types);
  json_t *tokenizer = nki_json_load(path, 0);
  int code = tokenizer == NULL ? nk_error_code() : NK_OK;
  if (texts == NULL || types == NULL) code = NK_EMEMORY;
  if (code == NK_OK) code = check_tokenizer(path, tokenizer);
  if (code == NK_OK) code = collect_tokens(tokenizer, n, texts, types);
  if (code != NK_OK) goto done;
  value_string(w, "tokenizer.ggml.model", "gpt2");
  value_string(w, "tokenizer.ggml.pre", "gpt-2");
  put_tokens(w, texts, types, n);
  code = put_merges(w, tokenizer);
  if (code != NK_OK) goto done;
  put_special(w, "tokenizer.ggml.bos_token_id", "bos_token_id");
  put_special(w, "tokenizer.ggml.eos_token_id", "eos_token_id");
done:
  json_decref(tokenizer);
  nk_free(texts);
  nk_free(types);
  return code;
}

/* llama.cpp loads a model whose tokenizer is "none", and runs ids and vectors through it. */
static void no_tokenizer(struct nki_gguf_writing *w, size_t n_tokens) {
  char key[NKI_MAX_NAME];
  nk_warn("%s: no tokenizer.json beside the model: the GGUF has no vocabulary",
          nk_model_name(w->model));
  value_string(w, "tokenizer.ggml.model", "none");
  value_u32(w, own_key(w, "vocab_size", key), (int64_t)n_tokens);
}

/* ---- The whole ---- */

uint32_t nki_gguf_type_number(enum nk_dtype dtype) {
  return dtype == NK_F16 ? 1 : dtype == NK_BF16 ? 30 : dtype == NK_Q8_0 ? 8 : 0;
}

/* llama.cpp's general.file_type. */
static void put_file_type(struct nki_gguf_writing *w) {
  value_u32(w, "general.file_type",
            w->dtype == NK_F16    ? 1
            : w->dtype == NK_Q8_0 ? 7
            : w->dtype == NK_BF16 ? 32
                                  : 0);
}

int nki_gguf_describe(struct nki_gguf_writing *w, size_t n_tokens) {
  const char *path = nki_model_path(w->model, "tokenizer.json");
  value_string(w, "general.architecture", w->architecture->gguf);
  value_string(w, "general.name", nk_model_name(w->model));
  put_file_type(w);
  int code = architecture_values(w);
  if (code != NK_OK) return code;
  if (path != NULL) return tokenizer_values(w, n_tokens, path);
  no_tokenizer(w, n_tokens);
  return NK_OK;
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
    put_key(w, value->key, value->is_array ? NKI_GGUF_ARRAY : value->type);
    if (value->is_array) {
      nki_gguf_put_u32(&w->values, value->type);
      nki_gguf_put_u64(&w->values, value->count);
    }
    nk_buffer_append(&w->values, value->data, value->n_bytes);
  }
  put_file_type(w);
}
