/* The values of a checkpoint's family as llama.cpp's converter writes them: what config.json says,
 * under GGUF's keys. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/family.h"
#include "model/gguf_write.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rotary.h"

/* ---- Settings ---- */

/* ".KEY" */
static const char *key_of(enum nki_setting setting, char key[NKI_MAX_NAME]) {
  snprintf(key, NKI_MAX_NAME, ".%s", nki_setting_gguf_key(setting));
  return key;
}

/* A setting of config.json, or what holds where that does not say. */
static int copy_size(struct nki_gguf_writing *w, enum nki_setting setting, size_t fallback) {
  char key[NKI_MAX_NAME];
  size_t value = fallback;
  int code = nki_read_optional_size(w->model, setting, 1, INT32_MAX, &value);
  if (code == NK_OK && value == 0)
    return nk_fail(NK_EDATA, "config.json: %s is missing", nki_setting_key(w->model, setting));
  if (code == NK_OK) nki_gguf_value_u32(w, key_of(setting, key), (int64_t)value);
  return code;
}

/* The same of a number; a missing one without a fallback (0) is left out. */
static int copy_number(struct nki_gguf_writing *w, enum nki_setting setting, double fallback) {
  char key[NKI_MAX_NAME];
  double value = fallback;
  int code = nki_read_number(w->model, setting, &value);
  if (code == NK_OK && value != 0) nki_gguf_value_f32(w, key_of(setting, key), value);
  return code;
}

/* ---- Rotary positions ---- */

int nki_gguf_rotary_dim(const struct nki_gguf_writing *w, size_t *out) {
  double part = w->architecture->rotary_part;
  int code = nki_read_number(w->model, NKI_SETTING_ROTARY_PART, &part);
  *out = (size_t)((double)w->head_dim * fmin(part, 1));
  if (code != NK_OK) return code;
  return nki_read_optional_size(w->model, NKI_SETTING_ROTARY_DIM, 1, w->head_dim, out);
}

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

int nki_gguf_rope_factors(const struct nki_gguf_writing *w, int which, const char **name,
                          float **factors, size_t *n) {
  enum { MOST = 1 << 16 };
  const char *type;
  *name = NULL;
  if (w->architecture->rotary == NKI_NO_ROTARY) return NK_OK;
  int code = nki_rope_type(w->model, &type);
  if (code != NK_OK) return code == NK_ENOTFOUND ? NK_OK : code;
  bool is_llama3 = strcmp(type, "llama3") == 0;
  bool is_longrope = strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0;
  if ((is_llama3 && which == 1) || (!is_llama3 && !is_longrope)) return NK_OK;
  size_t rotary;
  code = nki_gguf_rotary_dim(w, &rotary);
  if (code != NK_OK) return code;
  if (rotary < 2 || rotary > MOST)
    return nk_fail(NK_EDATA, "config.json: %zu components of a head cannot be rotated", rotary);
  *n = rotary / 2;
  *factors = nk_alloc(*n, sizeof **factors);
  if (*factors == NULL) return NK_EMEMORY;
  *name = is_llama3    ? "rope_freqs.weight"
          : which == 0 ? "rope_factors_short.weight"
                       : "rope_factors_long.weight";
  return is_llama3 ? llama3_factors(w, *factors, *n)
                   : listed_factors(w, which == 0 ? "short_factor" : "long_factor", *factors, *n);
}

/* llama.cpp multiplies the amplitude that it makes of the factor by attn_factor. */
static int yarn_values(struct nki_gguf_writing *w) {
  struct nki_yarn yarn;
  int code = nki_read_yarn(w->model, &yarn);
  if (code != NK_OK) return code;
  nki_gguf_value_string(w, ".rope.scaling.type", "yarn");
  nki_gguf_value_f32(w, ".rope.scaling.factor", yarn.factor);
  nki_gguf_value_u32(w, ".rope.scaling.original_context_length", (int64_t)yarn.original);
  nki_gguf_value_f32(w, ".rope.scaling.yarn_beta_fast", yarn.fast);
  nki_gguf_value_f32(w, ".rope.scaling.yarn_beta_slow", yarn.slow);
  if (yarn.amplitude != yarn.growth)
    nki_gguf_value_f32(w, ".rope.scaling.attn_factor", yarn.amplitude / yarn.growth);
  return NK_OK;
}

static int longrope_values(struct nki_gguf_writing *w) {
  double original = 0, positions = 0, amplitude;
  int code = nki_setting_number(w->model, NKI_SETTING_ROPE_ORIGINAL, &original);
  nki_setting_number(w->model, NKI_SETTING_N_POSITIONS, &positions);
  if (code != NK_OK || !(original > 1 && original <= INT32_MAX))
    return nk_fail(NK_EDATA, "config.json: original_max_position_embeddings is missing");
  amplitude = positions > original ? sqrt(1 + log(positions / original) / log(original)) : 1;
  nki_setting_number(w->model, NKI_SETTING_ROPE_AMPLITUDE, &amplitude);
  nki_gguf_value_string(w, ".rope.scaling.type", "longrope");
  nki_gguf_value_u32(w, ".rope.scaling.original_context_length", (int64_t)original);
  nki_gguf_value_f32(w, ".rope.scaling.attn_factor", amplitude);
  return NK_OK;
}

/* The keys of a scaling; Llama 3's is in the tensor of its factors alone, and "dynamic" changes
 * nothing within max_position_embeddings. */
static int scaling_values(struct nki_gguf_writing *w) {
  const char *type;
  double factor = 0;
  int code = nki_rope_type(w->model, &type);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (strcmp(type, "default") == 0 || strcmp(type, "llama3") == 0 || strcmp(type, "dynamic") == 0)
    return NK_OK;
  if (strcmp(type, "yarn") == 0) return yarn_values(w);
  if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) return longrope_values(w);
  if (strcmp(type, "linear") != 0)
    return nk_fail(NK_EUNSUPPORTED, "config.json: %s '%s' is not written as GGUF",
                   nki_rope_object(w->model), type);
  code = nki_setting_number(w->model, NKI_SETTING_ROPE_FACTOR, &factor);
  if (code != NK_OK) return nk_fail(NK_EDATA, "config.json: rope_scaling has no factor");
  nki_gguf_value_string(w, ".rope.scaling.type", "linear");
  nki_gguf_value_f32(w, ".rope.scaling.factor", factor);
  return NK_OK;
}

static int rotary_values(struct nki_gguf_writing *w) {
  size_t rotary;
  int code = nki_gguf_rotary_dim(w, &rotary);
  if (code != NK_OK) return code;
  nki_gguf_value_u32(w, ".rope.dimension_count", (int64_t)rotary);
  code = copy_number(w, NKI_SETTING_ROTARY_BASE, 10000);
  if (code == NK_OK && w->architecture->rotated == NKI_ROTATED_BY_KIND)
    code = copy_number(w, NKI_SETTING_LOCAL_ROTARY_BASE, 10000);
  return code == NK_OK ? scaling_values(w) : code;
}

/* ---- What only some families have ---- */

static int experts_values(struct nki_gguf_writing *w, size_t mlp_dim) {
  if (w->n_experts == 0) return NK_OK;
  int code = copy_size(w, NKI_SETTING_N_EXPERTS, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_ACTIVE, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_EXPERT_DIM, mlp_dim);
  if (code == NK_OK && w->architecture->names[NKI_SHARED_UP] != NULL)
    code = copy_size(w, NKI_SETTING_SHARED_DIM, 0);
  return code;
}

/* The window, and for each layer whether it has one. */
static int window_values(struct nki_gguf_writing *w) {
  struct nk_buffer windowed = {0};
  size_t window = 0;
  int code = NK_OK;
  for (size_t i = 0; i < w->n_layers && code == NK_OK; i++) {
    struct nki_layer_kind kind;
    code = nki_read_layer_kind(w->model, w->architecture, i, &kind);
    if (kind.window > 0) window = kind.window;
    nk_buffer_byte(&windowed, kind.window > 0);
  }
  /* Without the key llama.cpp, and the reader, take the family's usual window. */
  if (code == NK_OK && window == 0 && w->architecture->gguf_windows) {
    window = INT32_MAX;
    code = nki_read_optional_size(w->model, NKI_SETTING_N_POSITIONS, 1, INT32_MAX, &window);
  }
  if (window > INT32_MAX) window = INT32_MAX;
  if (code == NK_OK && window > 0) {
    nki_gguf_value_u32(w, ".attention.sliding_window", (int64_t)window);
    nki_gguf_value_array(w, ".attention.sliding_window_pattern", NKI_GGUF_BOOL, w->n_layers);
    nk_buffer_append(&w->values, windowed.data, windowed.size);
  }
  if (windowed.failed) code = nk_fail(NK_EMEMORY, "no memory for the list of windows");
  nk_buffer_free(&windowed);
  return code;
}

/* Factors of streams and logits; a missing divisor of logits is 1. */
static int scale_values(struct nki_gguf_writing *w) {
  const double *defaults = w->architecture->defaults;
  const bool divides = defaults[NKI_SETTING_LOGIT_DIVISOR] != 0;
  const bool scales = divides || defaults[NKI_SETTING_LOGIT_SCALE] != 0;
  double logit = 1;
  int code = NK_OK;
  if (defaults[NKI_SETTING_ATTENTION_SCALE] != 0) /* Granite */
    code = copy_number(w, NKI_SETTING_ATTENTION_SCALE, 0);
  if (code == NK_OK) code = copy_number(w, NKI_SETTING_EMBEDDING_SCALE, 0);
  if (code == NK_OK) code = copy_number(w, NKI_SETTING_RESIDUAL_SCALE, 0);
  if (code == NK_OK && scales)
    code = nki_read_number(w->model, divides ? NKI_SETTING_LOGIT_DIVISOR : NKI_SETTING_LOGIT_SCALE,
                           &logit);
  if (code == NK_OK && scales) nki_gguf_value_f32(w, ".logit_scale", logit);
  return code;
}

static int special_values(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  double bias = 8;
  if (architecture->order == NKI_PARALLEL_NEOX || architecture->order == NKI_PARALLEL_STABLELM)
    nki_gguf_value_bool(w, ".use_parallel_residual", w->parallel);
  int code = window_values(w);
  if (code == NK_OK) code = scale_values(w);
  if (code == NK_OK) code = copy_number(w, NKI_SETTING_QKV_CLIP, 0);
  if (code == NK_OK) code = copy_number(w, NKI_SETTING_ATTENTION_CAP, 0);
  if (code == NK_OK) code = copy_number(w, NKI_SETTING_LOGIT_CAP, 0);
  if (code != NK_OK || architecture->alibi != NKI_ALIBI_MPT) return code;
  code = nki_model_config_number(w->model, "attn_config.alibi_bias_max", &bias);
  nki_gguf_value_f32(w, ".attention.max_alibi_bias", bias);
  return code == NK_ENOTFOUND ? NK_OK : code;
}

int nki_gguf_settings(struct nki_gguf_writing *w) {
  const struct nki_architecture *architecture = w->architecture;
  bool layer_norm = architecture->norm == NKI_LAYER_NORM;
  size_t mlp_dim = 4 * w->dim;
  int code = nki_read_optional_size(w->model, NKI_SETTING_MLP_DIM, 1, INT32_MAX, &mlp_dim);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_POSITIONS, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_DIM, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_MLP_DIM, mlp_dim);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_LAYERS, 0);
  if (code == NK_OK) code = copy_size(w, NKI_SETTING_N_HEADS, 0);
  nki_gguf_value_u32(w, ".attention.head_count_kv", (int64_t)w->n_kv_heads);
  nki_gguf_value_u32(w, ".attention.key_length", (int64_t)w->head_dim);
  nki_gguf_value_u32(w, ".attention.value_length", (int64_t)w->head_dim);
  if (code == NK_OK)
    code = copy_number(w, layer_norm ? NKI_SETTING_LAYER_NORM_EPS : NKI_SETTING_RMS_NORM_EPS,
                       architecture->norm_eps);
  if (code == NK_OK && architecture->rotary != NKI_NO_ROTARY) code = rotary_values(w);
  if (code == NK_OK) code = experts_values(w, mlp_dim);
  return code == NK_OK ? special_values(w) : code;
}
