/* Values of config.json. A multimodal model keeps its language model's in an object of its own
 * ("text_config"), which is searched first. */
#include "model/model_config.h"

#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/architecture.h"
#include "model/model.h"

static const char *const nested[] = {"text_config", "llm_config", "language_config"};

/* The value at `path` below object, or NULL. */
static const json_t *follow(const json_t *object, const char *path) {
  while (object != NULL) {
    const char *dot = strchr(path, '.');
    size_t n = dot != NULL ? (size_t)(dot - path) : strlen(path);
    object = json_object_getn(object, path, n);
    if (dot == NULL) break;
    path = dot + 1;
  }
  return json_is_null(object) ? NULL : object;
}

const json_t *nki_model_config_value(const struct nk_model *model, const char *path) {
  for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
    const json_t *value = follow(json_object_get(model->config, nested[i]), path);
    if (value != NULL) return value;
  }
  return follow(model->config, path);
}

static int of_another_type(const struct nk_model *model, const char *path, const char *wanted) {
  return nki_name_metadata(
      model, nk_fail(NK_EDATA, "%s: config.json: '%s' is not %s", model->files.name, path, wanted));
}

static int as_integer(const json_t *value, int64_t *out) {
  if (json_is_integer(value)) {
    *out = json_integer_value(value);
    return NK_OK;
  }
  double real = json_real_value(value); /* 1e4, as some tools write it */
  if (!json_is_real(value) || !(real >= -0x1p53 && real <= 0x1p53)) return NK_EDATA;
  if (real != (double)(int64_t)real) return NK_EDATA;
  *out = (int64_t)real;
  return NK_OK;
}

int nki_model_config_integer(const struct nk_model *model, const char *path, int64_t *out) {
  const json_t *value = nki_model_config_value(model, path);
  if (value == NULL) return NK_ENOTFOUND;
  return as_integer(value, out) == NK_OK ? NK_OK : of_another_type(model, path, "a whole number");
}

int nki_model_config_number(const struct nk_model *model, const char *path, double *out) {
  const json_t *value = nki_model_config_value(model, path);
  if (value == NULL) return NK_ENOTFOUND;
  if (!json_is_number(value)) return of_another_type(model, path, "a number");
  *out = json_number_value(value);
  return NK_OK;
}

int nki_model_config_bool(const struct nk_model *model, const char *path, bool *out) {
  const json_t *value = nki_model_config_value(model, path);
  if (value == NULL) return NK_ENOTFOUND;
  if (!json_is_boolean(value)) return of_another_type(model, path, "true or false");
  *out = json_is_true(value);
  return NK_OK;
}

int nki_model_config_string(const struct nk_model *model, const char *path, const char **out) {
  const json_t *value = nki_model_config_value(model, path);
  if (value == NULL) return NK_ENOTFOUND;
  if (!json_is_string(value)) return of_another_type(model, path, "a string");
  *out = json_string_value(value);
  return NK_OK;
}

int nki_model_config_number_at(const struct nk_model *model, const char *path, size_t index,
                               double *out) {
  const json_t *array = nki_model_config_value(model, path);
  if (array == NULL) return NK_ENOTFOUND;
  if (!json_is_array(array)) return of_another_type(model, path, "an array");
  const json_t *value = json_array_get(array, index);
  if (value == NULL) return NK_ENOTFOUND;
  if (!json_is_number(value)) return of_another_type(model, path, "an array of numbers");
  *out = json_number_value(value);
  return NK_OK;
}

int nki_model_config_string_at(const struct nk_model *model, const char *path, size_t index,
                               const char **out) {
  const json_t *array = nki_model_config_value(model, path);
  if (array == NULL) return NK_ENOTFOUND;
  if (!json_is_array(array)) return of_another_type(model, path, "an array");
  const json_t *value = json_array_get(array, index);
  if (value == NULL) return NK_ENOTFOUND;
  if (!json_is_string(value)) return of_another_type(model, path, "an array of strings");
  *out = json_string_value(value);
  return NK_OK;
}

/* Multimodal models whose configuration may leave the type of its language model to the class's
 * default: Hugging Face's, and the original LLaVA's, which have no text_config. */
static const struct {
  const char *type, *text;
  bool ties; /* when tie_word_embeddings is absent */
} wrappers[] = {
    {"audioflamingo3", "qwen2", false},
    {"blip-2", "opt", true},
    {"deepseek_vl", "llama", true},
    {"deepseek_vl_hybrid", "llama", true},
    {"fast_vlm", "qwen2", false},
    {"gemma3", "gemma3_text", true},
    {"got_ocr2", "qwen2", true},
    {"idefics2", "mistral", false},
    {"idefics3", "llama", false},
    {"instructblip", "opt", true},
    {"internvl", "qwen2", true},
    {"janus", "llama", true},
    {"llava", "llama", false},
    {"llava_llama", "llama", false},
    {"llava_mistral", "mistral", false},
    {"llava_next", "llama", false},
    {"llava_next_video", "llama", false},
    {"llava_onevision", "qwen2", false},
    {"llava_qwen", "qwen2", false},
    {"mistral3", "mistral", true},
    {"ovis2", "qwen2", true},
    {"paligemma", "gemma", true},
    {"perception_lm", "llama", false},
    {"qwen2_audio", "qwen2", false},
    {"smolvlm", "llama", false},
    {"vibevoice", "qwen2", false},
    {"video_llama_3", "qwen2", false},
    {"video_llava", "llama", false},
    {"vipllava", "llama", false},
    {"voxtral", "llama", false},
};
enum { N_WRAPPERS = sizeof wrappers / sizeof *wrappers };

/* The row of config.json's own model_type, N_WRAPPERS when there is none. */
static size_t find_wrapper(const struct nk_model *model) {
  const char *type = json_string_value(json_object_get(model->config, "model_type"));
  size_t i = 0;
  while (i < N_WRAPPERS && (type == NULL || strcmp(wrappers[i].type, type) != 0)) i++;
  return i;
}

const char *nki_model_type(const struct nk_model *model) {
  for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
    const json_t *type = follow(json_object_get(model->config, nested[i]), "model_type");
    if (json_is_string(type)) return json_string_value(type);
  }
  size_t wrapper = find_wrapper(model);
  if (wrapper < N_WRAPPERS) return wrappers[wrapper].text;
  return json_string_value(json_object_get(model->config, "model_type"));
}

const struct nki_architecture *nki_model_architecture(const struct nk_model *model) {
  return model->own != NULL ? model->own : nki_architecture_find(nki_model_type(model));
}

bool nki_model_wrapper_ties(const struct nk_model *model) {
  size_t wrapper = find_wrapper(model);
  return wrapper < N_WRAPPERS && wrappers[wrapper].ties;
}

/* ---- Settings ---- */

/* The object that holds the settings of rotary positions has had two names (nki_rope_object). */
#define ROPE(key) "rope_scaling." key, "rope_parameters." key, "rope_parameters.full_attention." key

static const struct {
  const char *keys[8]; /* of config.json */
  const char *gguf;    /* NULL: none */
} settings[NKI_N_SETTINGS] = {
    [NKI_SETTING_N_POSITIONS] = {{"max_position_embeddings", "n_positions", "n_ctx", "max_seq_len",
                                  "seq_length"},
                                 "context_length"},
    [NKI_SETTING_DIM] = {{"hidden_size", "n_embd", "d_model", "n_embed"}, "embedding_length"},
    [NKI_SETTING_MLP_DIM] = {{"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"},
                             "feed_forward_length"},
    [NKI_SETTING_N_LAYERS] = {{"num_hidden_layers", "n_layer", "num_layers", "n_layers"},
                              "block_count"},
    [NKI_SETTING_N_HEADS] = {{"num_attention_heads", "n_head", "num_heads", "n_heads"},
                             "attention.head_count"},
    [NKI_SETTING_N_KV_HEADS] = {{"num_key_value_heads", "num_kv_heads"}, "attention.head_count_kv"},
    [NKI_SETTING_HEAD_DIM] = {{"head_dim"}, "attention.key_length"},
    [NKI_SETTING_PROJECTED_DIM] = {{"word_embed_proj_dim"}, NULL},
    [NKI_SETTING_LAYER_NORM_EPS] = {{"layer_norm_epsilon", "layer_norm_eps", "norm_epsilon"},
                                    "attention.layer_norm_epsilon"},
    [NKI_SETTING_RMS_NORM_EPS] = {{"rms_norm_eps"}, "attention.layer_norm_rms_epsilon"},
    [NKI_SETTING_QUERY_SCALAR] = {{"query_pre_attn_scalar"}, NULL},
    [NKI_SETTING_ATTENTION_CAP] = {{"attn_logit_softcapping"}, "attn_logit_softcapping"},
    [NKI_SETTING_LOGIT_CAP] = {{"final_logit_softcapping"}, "final_logit_softcapping"},
    [NKI_SETTING_WINDOW] = {{"sliding_window", "window_size"}, "attention.sliding_window"},
    [NKI_SETTING_FIRST_WINDOWED] = {{"max_window_layers"}, NULL},
    [NKI_SETTING_ROTARY_DIM] = {{"rotary_dim"}, "rope.dimension_count"},
    [NKI_SETTING_ROTARY_PART] = {{ROPE("partial_rotary_factor"), "rotary_pct",
                                  "partial_rotary_factor"},
                                 NULL},
    [NKI_SETTING_ROTARY_BASE] = {{ROPE("rope_theta"), "rope_theta", "rotary_emb_base"},
                                 "rope.freq_base"},
    [NKI_SETTING_ROPE_FACTOR] = {{ROPE("factor")}, "rope.scaling.factor"},
    [NKI_SETTING_ROPE_LOW] = {{ROPE("low_freq_factor")}, NULL},
    [NKI_SETTING_ROPE_HIGH] = {{ROPE("high_freq_factor")}, NULL},
    [NKI_SETTING_ROPE_ORIGINAL] = {{"original_max_position_embeddings",
                                    ROPE("original_max_position_embeddings")},
                                   "rope.scaling.original_context_length"},
    [NKI_SETTING_ROPE_AMPLITUDE] = {{ROPE("attention_factor")}, "rope.scaling.attn_factor"},
    [NKI_SETTING_ROPE_FAST] = {{ROPE("beta_fast")}, "rope.scaling.yarn_beta_fast"},
    [NKI_SETTING_ROPE_SLOW] = {{ROPE("beta_slow")}, "rope.scaling.yarn_beta_slow"},
    [NKI_SETTING_ROPE_SCALE] = {{ROPE("mscale")}, NULL},
    [NKI_SETTING_ROPE_SCALE_ALL] = {{ROPE("mscale_all_dim")}, NULL},
    [NKI_SETTING_LOCAL_ROTARY_BASE] = {{"rope_parameters.sliding_attention.rope_theta",
                                        "rope_local_base_freq"},
                                       "rope.freq_base_swa"},
    [NKI_SETTING_WINDOW_PATTERN] = {{"sliding_window_pattern", "_sliding_window_pattern"},
                                    "attention.sliding_window_pattern"},
    [NKI_SETTING_ATTENTION_SCALE] = {{"attention_multiplier", "attn_config.softmax_scale"},
                                     "attention.scale"},
    [NKI_SETTING_EMBEDDING_SCALE] = {{"embedding_multiplier"}, "embedding_scale"},
    [NKI_SETTING_RESIDUAL_SCALE] = {{"residual_multiplier"}, "residual_scale"},
    [NKI_SETTING_LOGIT_SCALE] = {{"logit_scale"}, NULL},
    [NKI_SETTING_LOGIT_DIVISOR] = {{"logits_scaling"}, NULL},
    [NKI_SETTING_QKV_CLIP] = {{"clip_qkv", "attn_config.clip_qkv"}, "attention.clamp_kqv"},
    [NKI_SETTING_SWIGLU_LIMIT] = {{"swiglu_limit"}, NULL},
    [NKI_SETTING_N_EXPERTS] = {{"num_local_experts", "num_experts"}, "expert_count"},
    [NKI_SETTING_N_ACTIVE] = {{"num_experts_per_tok", "experts_per_token"}, "expert_used_count"},
    [NKI_SETTING_EXPERT_DIM] = {{"moe_intermediate_size"}, "expert_feed_forward_length"},
    [NKI_SETTING_SHARED_DIM] = {{"shared_expert_intermediate_size"},
                                "expert_shared_feed_forward_length"},
};

const char *nki_rope_object(const struct nk_model *model) {
  const json_t *scaling = nki_model_config_value(model, "rope_scaling");
  return json_object_size(scaling) > 0 ? "rope_scaling" : "rope_parameters";
}

bool nki_rope_is_default(const struct nk_model *model) {
  const struct nki_architecture *architecture = nki_model_architecture(model);
  return architecture != NULL && architecture->rope_type != NULL &&
         json_object_size(nki_model_config_value(model, "rope_scaling")) == 0 &&
         nki_model_config_value(model, "rope_parameters") == NULL;
}

/* Whether the key is of an object of rotary positions that another one replaces. */
static bool is_replaced(const struct nk_model *model, const char *key) {
  const char *object = nki_rope_object(model), *dot = strchr(key, '.');
  size_t n = strlen(object);
  return strncmp(key, "rope_", 5) == 0 && dot != NULL &&
         ((size_t)(dot - key) != n || strncmp(key, object, n) != 0);
}

const char *nki_setting_key(const struct nk_model *model, enum nki_setting setting) {
  const char *const *keys = settings[setting].keys;
  for (; *keys != NULL; keys++) {
    if (!is_replaced(model, *keys) && nki_model_config_value(model, *keys) != NULL) return *keys;
  }
  return settings[setting].keys[0];
}

const char *nki_setting_gguf_key(enum nki_setting setting) {
  return settings[setting].gguf;
}

/* Whether the configuration gives null for the setting: a value of the class's own computing, not
 * its default. */
static bool is_null(const struct nk_model *model, enum nki_setting setting) {
  const json_t *object = model->config;
  for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
    const json_t *inner = json_object_get(model->config, nested[i]);
    if (inner != NULL) object = inner;
  }
  for (const char *const *key = settings[setting].keys; *key != NULL; key++) {
    if (json_is_null(json_object_get(object, *key))) return true;
  }
  return false;
}

/* The default of the model's family. */
static int default_of(const struct nk_model *model, enum nki_setting setting, double *out) {
  const struct nki_architecture *architecture = nki_model_architecture(model);
  if (architecture == NULL || architecture->defaults[setting] == 0 || is_null(model, setting))
    return NK_ENOTFOUND;
  bool of_scaling = setting >= NKI_SETTING_ROPE_FACTOR && setting <= NKI_SETTING_ROPE_SCALE_ALL;
  if (of_scaling && architecture->rope_type != NULL && !nki_rope_is_default(model))
    return NK_ENOTFOUND;
  *out = architecture->defaults[setting];
  return NK_OK;
}

int nki_setting_integer(const struct nk_model *model, enum nki_setting setting, int64_t *out) {
  double value;
  int code = nki_model_config_integer(model, nki_setting_key(model, setting), out);
  if (code != NK_ENOTFOUND || default_of(model, setting, &value) != NK_OK) return code;
  *out = (int64_t)value;
  return NK_OK;
}

int nki_setting_number(const struct nk_model *model, enum nki_setting setting, double *out) {
  int code = nki_model_config_number(model, nki_setting_key(model, setting), out);
  return code == NK_ENOTFOUND ? default_of(model, setting, out) : code;
}
