/* What a configuration says of a family beyond single settings. */
#include "model/family.h"

#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "model/model_config.h"

/* ---- Settings within bounds ---- */

/* A setting between least and most; NK_ENOTFOUND when it is missing: *out is then as it was. */
static int read_size(const struct nk_model *model, enum nki_setting setting, size_t least,
                     size_t most, size_t *out) {
  int64_t value;
  int code = nki_setting_integer(model, setting, &value);
  if (code != NK_OK) return code;
  if (value < (int64_t)least || value > (int64_t)most)
    return nk_fail(NK_EDATA, "config.json: %s is %lld, outside %zu to %zu",
                   nki_setting_key(model, setting), (long long)value, least, most);
  *out = (size_t)value;
  return NK_OK;
}

/* The same for a setting that may be missing. */
int nki_read_optional_size(const struct nk_model *model, enum nki_setting setting, size_t least,
                           size_t most, size_t *out) {
  int code = read_size(model, setting, least, most, out);
  return code == NK_ENOTFOUND ? NK_OK : code;
}

int nki_need_size(const struct nk_model *model, enum nki_setting setting, size_t most,
                  size_t *out) {
  int code = read_size(model, setting, 1, most, out);
  if (code != NK_ENOTFOUND) return code;
  return nk_fail(NK_EDATA, "config.json: %s is missing", nki_setting_key(model, setting));
}

/* A positive number; a missing one leaves *out and is not an error. */
int nki_read_number(const struct nk_model *model, enum nki_setting setting, double *out) {
  double value;
  int code = nki_setting_number(model, setting, &value);
  if (code != NK_OK) return code == NK_ENOTFOUND ? NK_OK : code;
  if (!(value > 0) || value > 1e12)
    return nk_fail(NK_EDATA, "config.json: %s is %g, not a positive number",
                   nki_setting_key(model, setting), value);
  *out = value;
  return NK_OK;
}

static int read_bool(const struct nk_model *model, const char *key, bool *out) {
  int code = nki_model_config_bool(model, key, out);
  return code == NK_ENOTFOUND ? NK_OK : code;
}

/* ---- What is not implemented ---- */

/* Keys that change the arithmetic, each with the only value that is implemented; a missing key is
 * the same. */
int nki_check_variants(const struct nk_model *model, const struct nki_architecture *architecture) {
  static const struct {
    const char *key;
    bool value;
  } known[] = {
      {"scale_attn_by_inverse_layer_idx", false},
      {"add_cross_attention", false},
      {"do_layer_norm_before", true},
      {"_remove_final_layer_norm", false},
      {"enable_bias", true},
      {"layer_norm_elementwise_affine", true},
      {"apply_residual_connection_post_layernorm", false},
      {"attn_config.alibi", true},
      {"attn_config.qk_ln", false},
      {"attn_config.prefix_lm", false},
      {"use_bidirectional_attention", false},
      {"is_encoder_decoder", false},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    bool value = known[i].value;
    int code = read_bool(model, known[i].key, &value);
    if (code != NK_OK) return code;
    if (value != known[i].value)
      return nk_fail(NK_EUNSUPPORTED, "config.json: %s = %s is not implemented", known[i].key,
                     value ? "true" : "false");
  }
  const char *method = "of an unnamed method"; /* the key itself holds an object: no string */
  if (nki_model_config_string(model, "quantization_config", &method) == NK_ENOTFOUND) return NK_OK;
  nki_model_config_string(model, "quantization_config.quant_method", &method);
  if (strcmp(method, "mxfp4") == 0 && architecture->experts_fused) return NK_OK; /* gpt-oss */
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: quantization_config: a quantized checkpoint (%s) is not "
                 "implemented; use the F32, F16 or BF16 one, or a GGUF",
                 method);
}

int nki_activation_name(const struct nk_model *model, const struct nki_architecture *architecture,
                        const char **name) {
  /* Gemma's published configurations say "gelu" where the model has its tanh form. */
  static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function",
                                     "activation"};
  const bool fixed = strcmp(architecture->activation, "clamped_swiglu") == 0;
  const size_t n_keys = fixed ? 0 : architecture->scaled_embedding ? 1 : 4;
  int code = NK_ENOTFOUND;
  *name = architecture->activation;
  for (size_t i = 0; i < n_keys && code == NK_ENOTFOUND; i++)
    code = nki_model_config_string(model, keys[i], name);
  return code == NK_ENOTFOUND ? NK_OK : code;
}

/* ---- Heads ---- */

static bool flag_of(const struct nk_model *model, const char *key, bool otherwise) {
  return nki_flag_value(model, (struct nki_flag){key, otherwise});
}

/* Whether all heads share one of k and v. */
static bool is_multi_query(const struct nk_model *model,
                           const struct nki_architecture *architecture) {
  bool falcon = architecture->qkv == NKI_QKV_FALCON;
  if (!falcon && architecture->qkv != NKI_QKV_BIGCODE) return false;
  if (falcon && flag_of(model, "new_decoder_architecture", false)) return false;
  return flag_of(model, "multi_query", true);
}

static bool is_falcon_by_head(const struct nk_model *model,
                              const struct nki_architecture *architecture) {
  return architecture->qkv == NKI_QKV_FALCON && !is_multi_query(model, architecture) &&
         !flag_of(model, "new_decoder_architecture", false);
}

int nki_read_kv_heads(const struct nk_model *model, const struct nki_architecture *architecture,
                      size_t n_heads, size_t *out) {
  *out = n_heads;
  int code = nki_read_optional_size(model, NKI_SETTING_N_KV_HEADS, 1, (size_t)1 << 24, out);
  if (code != NK_OK) return code;
  if (is_multi_query(model, architecture))
    *out = 1;
  else if (architecture->qkv == NKI_QKV_BIGCODE || is_falcon_by_head(model, architecture))
    *out = n_heads;
  if (n_heads % *out == 0) return NK_OK;
  return nk_fail(NK_EDATA, "config.json: %zu attention heads cannot share %zu key heads", n_heads,
                 *out);
}

size_t nki_qkv_groups(const struct nk_model *model, const struct nki_architecture *architecture,
                      size_t n_kv_heads) {
  switch (architecture->qkv) {
    case NKI_QKV_IN_TURN:
      return 1;
    case NKI_QKV_BY_HEAD:
      return n_kv_heads;
    case NKI_QKV_BIGCODE:
    case NKI_QKV_FALCON:
      return is_multi_query(model, architecture) ? 1 : n_kv_heads;
    case NKI_QKV_CODEGEN:
      return 4;
  }
  return 1;
}

/* ---- Order ---- */

int nki_read_order(const struct nk_model *model, const struct nki_architecture *architecture,
                   bool *parallel, bool *two_norms) {
  bool neox = architecture->order == NKI_PARALLEL_NEOX;
  int64_t n_norms = 2;
  int code = NK_OK;
  *parallel = false;
  *two_norms = true;
  switch (architecture->order) {
    case NKI_SERIAL:
      break;
    case NKI_PARALLEL:
      *parallel = true;
      break;
    case NKI_PARALLEL_NEOX:
    case NKI_PARALLEL_STABLELM:
      *parallel = neox;
      code = read_bool(model, "use_parallel_residual", parallel);
      *two_norms = neox || !*parallel;
      break;
    case NKI_PARALLEL_FALCON:
      *two_norms = flag_of(model, "new_decoder_architecture", false);
      *parallel = *two_norms || flag_of(model, "parallel_attn", true);
      code = nki_model_config_integer(model, "num_ln_in_parallel_attn", &n_norms);
      if (code == NK_ENOTFOUND) code = NK_OK;
      *two_norms = (*two_norms && n_norms == 2) || !*parallel;
      break;
  }
  return code;
}

/* ---- What differs from layer to layer ---- */

/* no_rope_layers[layer], 1 where the layer is rotated; all but each fourth by default. */
static int read_listed_rope(const struct nk_model *model, size_t layer, bool *rotated) {
  int64_t interval = 4;
  double flag;
  int code = nki_model_config_integer(model, "no_rope_layer_interval", &interval);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  *rotated = interval <= 0 || (layer + 1) % (size_t)interval != 0;
  code = nki_model_config_number_at(model, "no_rope_layers", layer, &flag);
  if (code == NK_OK) *rotated = flag != 0;
  return code == NK_ENOTFOUND ? NK_OK : code;
}

/* The kind of a layer in attention_types, [[["global", "local"], 12], ..], or NULL. */
static const char *gpt_neo_kind(const struct nk_model *model, size_t layer) {
  const json_t *types = nki_model_config_value(model, "attention_types"), *type;
  size_t i, first = 0;
  json_array_foreach(types, i, type) {
    const json_t *kinds = json_array_get(type, 0);
    size_t n = json_array_size(kinds);
    json_int_t times = json_integer_value(json_array_get(type, 1));
    if (n == 0 || times <= 0 || times > 1 << 16) return NULL;
    if (layer - first < n * (size_t)times)
      return json_string_value(json_array_get(kinds, (layer - first) % n));
    first += n * (size_t)times;
  }
  return NULL;
}

/* Whether a layer has a window, where the configuration has no list of kinds. */
static int read_windowed(const struct nk_model *model, const struct nki_architecture *architecture,
                         size_t layer, bool rotated, bool *windowed) {
  size_t first = SIZE_MAX, pattern = 0;
  bool use = architecture->window != NKI_WINDOW_FLAG && architecture->window != NKI_WINDOW_QWEN &&
             architecture->window != NKI_WINDOW_QWEN_MOE &&
             architecture->window != NKI_WINDOW_SMOLLM;
  int code = use ? NK_OK : read_bool(model, "use_sliding_window", &use);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_FIRST_WINDOWED, 0, (size_t)1 << 40, &first);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_WINDOW_PATTERN, 1, (size_t)1 << 40, &pattern);
  if (code != NK_OK) return code;
  const char *kind;
  switch (architecture->window) {
    case NKI_NO_WINDOW:
      use = false;
      break;
    case NKI_WINDOW:
    case NKI_WINDOW_FLAG:
      break;
    case NKI_WINDOW_QWEN:
      use = use && layer >= first;
      break;
    case NKI_WINDOW_QWEN_MOE:
      use = use && layer % 2 == 0 && layer < first;
      break;
    case NKI_WINDOW_SMOLLM:
      use = use && !rotated;
      break;
    case NKI_WINDOW_ALTERNATING:
      use = layer % 2 == 0;
      break;
    case NKI_WINDOW_PATTERN:
      use = pattern == 0 || (layer + 1) % pattern != 0;
      break;
    case NKI_WINDOW_GPT_NEO:
      kind = gpt_neo_kind(model, layer);
      if (kind == NULL)
        return nk_fail(NK_EDATA, "config.json: attention_types has no kind for layer %zu", layer);
      use = strcmp(kind, "local") == 0;
      if (!use && strcmp(kind, "global") != 0)
        return nk_fail(NK_EUNSUPPORTED, "config.json: layer type '%s' is not implemented", kind);
      break;
  }
  *windowed = use;
  return NK_OK;
}

/* The same as a list of kinds says. */
static int read_kind(const struct nk_model *model, const struct nki_architecture *architecture,
                     size_t layer, bool rotated, bool *windowed) {
  static const struct {
    const char *name;
    bool windowed;
  } kinds[] = {
      {"sliding_attention", true}, {"full_attention", false}, {"local", true}, {"global", false}};
  const char *kind;
  int code = nki_model_config_string_at(model, "layer_types", layer, &kind);
  if (code == NK_ENOTFOUND && architecture->window == NKI_WINDOW_GPT_NEO)
    code = nki_model_config_string_at(model, "attention_layers", layer, &kind);
  if (code == NK_ENOTFOUND) return read_windowed(model, architecture, layer, rotated, windowed);
  for (size_t i = 0; code == NK_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(kind, kinds[i].name) != 0) continue;
    *windowed = kinds[i].windowed;
    return NK_OK;
  }
  if (code != NK_OK) return code;
  return nk_fail(NK_EUNSUPPORTED, "config.json: layer type '%s' is not implemented", kind);
}

/* Whether the layer's mlp is a mixture of experts: each decoder_sparse_step-th, without those of
 * mlp_only_layers. */
static int read_sparse(const struct nk_model *model, size_t layer, bool *sparse) {
  int64_t step = 1;
  double dense;
  int code = nki_model_config_integer(model, "decoder_sparse_step", &step);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (step < 1)
    return nk_fail(NK_EDATA, "config.json: decoder_sparse_step is %lld", (long long)step);
  *sparse = (layer + 1) % (size_t)step == 0;
  for (size_t i = 0;; i++) {
    code = nki_model_config_number_at(model, "mlp_only_layers", i, &dense);
    if (code == NK_ENOTFOUND) return NK_OK;
    if (code != NK_OK) return code;
    if (dense == (double)layer) *sparse = false;
  }
}

int nki_read_layer_kind(const struct nk_model *model, const struct nki_architecture *architecture,
                        size_t layer, struct nki_layer_kind *out) {
  int code = NK_OK;
  *out = (struct nki_layer_kind){.rotated = true};
  if (architecture->rotated == NKI_ROTATED_LISTED)
    code = read_listed_rope(model, layer, &out->rotated);
  if (code == NK_OK && architecture->window != NKI_NO_WINDOW)
    code = nki_read_optional_size(model, NKI_SETTING_WINDOW, 0, (size_t)1 << 40, &out->window);
  bool windowed = false;
  if (code == NK_OK && out->window > 0)
    code = read_kind(model, architecture, layer, out->rotated, &windowed);
  if (!windowed) out->window = 0;
  if (!windowed && architecture->rotated == NKI_ROTATED_WINDOWED) out->rotated = false;
  if (code == NK_OK && architecture->names[NKI_ROUTER] != NULL)
    code = read_sparse(model, layer, &out->sparse);
  return code;
}
