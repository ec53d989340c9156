/* The metadata of a checkpoint as llama.cpp's converter writes them: what config.json says, under
 * GGUF's keys. lib/text puts the tokenizer's. */
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

void nki_gguf_put_key(struct nki_gguf_writing *w, const char *key, enum nki_gguf_type type) {
  nki_gguf_put_string(&w->values, key, strlen(key));
  nki_gguf_put_u32(&w->values, type);
  w->n_values++;
}

static void value_string(struct nki_gguf_writing *w, const char *key, const char *text) {
  nki_gguf_put_key(w, key, NKI_GGUF_STRING);
  nki_gguf_put_string(&w->values, text, strlen(text));
}

static void value_u32(struct nki_gguf_writing *w, const char *key, int64_t value) {
  nki_gguf_put_key(w, key, NKI_GGUF_UINT32);
  nki_gguf_put_u32(&w->values, (uint32_t)value);
}

static void value_f32(struct nki_gguf_writing *w, const char *key, double value) {
  float single = (float)value;
  nki_gguf_put_key(w, key, NKI_GGUF_FLOAT32);
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
    nki_gguf_put_key(w, own_key(w, "use_parallel_residual", key), NKI_GGUF_BOOL);
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
  value_string(w, "general.architecture", w->architecture->gguf);
  value_string(w, "general.name", nk_model_name(w->model));
  put_file_type(w);
  int code = architecture_values(w);
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
