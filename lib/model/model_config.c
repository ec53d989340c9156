/* Values of config.json. A multimodal model keeps its language model's in an object of its own
 * ("text_config"), which is searched first. */
#include "model/model_config.h"

#include <noken/base.h>
#include <string.h>

#include "base/error.h"
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
  return nk_fail(NK_EDATA, "%s: config.json: '%s' is not %s", model->files.name, path, wanted);
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

int nk_model_config_integer(const struct nk_model *model, const char *path, int64_t *out) {
  if (model == NULL) return nki_fail_null();
  int code = nki_model_config_integer(model, path, out);
  if (code != NK_ENOTFOUND) return code;
  return nk_fail(code, "%s: config.json has no '%s'", model->files.name, path);
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

const char *nki_model_type(const struct nk_model *model) {
  const json_t *value = nki_model_config_value(model, "model_type");
  return json_string_value(value);
}

/* ---- Settings ---- */

/* The object that holds rotary positions has had two names. */
#define ROPE(key) "rope_scaling." key, "rope_parameters." key

static const struct {
  const char *keys[5]; /* of config.json */
  const char *gguf;    /* NULL: none */
} settings[NKI_N_SETTINGS] = {
    [NKI_SETTING_N_POSITIONS] = {{"max_position_embeddings", "n_positions", "n_ctx"},
                                 "context_length"},
    [NKI_SETTING_DIM] = {{"hidden_size", "n_embd"}, "embedding_length"},
    [NKI_SETTING_MLP_DIM] = {{"intermediate_size", "n_inner", "ffn_dim"}, "feed_forward_length"},
    [NKI_SETTING_N_LAYERS] = {{"num_hidden_layers", "n_layer"}, "block_count"},
    [NKI_SETTING_N_HEADS] = {{"num_attention_heads", "n_head"}, "attention.head_count"},
    [NKI_SETTING_N_KV_HEADS] = {{"num_key_value_heads"}, "attention.head_count_kv"},
    [NKI_SETTING_HEAD_DIM] = {{"head_dim"}, "attention.key_length"},
    [NKI_SETTING_PROJECTED_DIM] = {{"word_embed_proj_dim"}, NULL},
    [NKI_SETTING_LAYER_NORM_EPS] = {{"layer_norm_epsilon", "layer_norm_eps"},
                                    "attention.layer_norm_epsilon"},
    [NKI_SETTING_RMS_NORM_EPS] = {{"rms_norm_eps"}, "attention.layer_norm_rms_epsilon"},
    [NKI_SETTING_QUERY_SCALAR] = {{"query_pre_attn_scalar"}, NULL},
    [NKI_SETTING_ATTENTION_CAP] = {{"attn_logit_softcapping"}, "attn_logit_softcapping"},
    [NKI_SETTING_LOGIT_CAP] = {{"final_logit_softcapping"}, "final_logit_softcapping"},
    [NKI_SETTING_WINDOW] = {{"sliding_window"}, "attention.sliding_window"},
    [NKI_SETTING_FIRST_WINDOWED] = {{"max_window_layers"}, NULL},
    [NKI_SETTING_ROTARY_DIM] = {{"rotary_dim"}, "rope.dimension_count"},
    [NKI_SETTING_ROTARY_PART] = {{"rotary_pct", "partial_rotary_factor",
                                  ROPE("partial_rotary_factor")},
                                 NULL},
    [NKI_SETTING_ROTARY_BASE] = {{"rope_theta", "rotary_emb_base", ROPE("rope_theta")},
                                 "rope.freq_base"},
    [NKI_SETTING_ROPE_FACTOR] = {{ROPE("factor")}, "rope.scaling.factor"},
    [NKI_SETTING_ROPE_LOW] = {{ROPE("low_freq_factor")}, NULL},
    [NKI_SETTING_ROPE_HIGH] = {{ROPE("high_freq_factor")}, NULL},
    [NKI_SETTING_ROPE_ORIGINAL] = {{"original_max_position_embeddings",
                                    ROPE("original_max_position_embeddings")},
                                   "rope.scaling.original_context_length"},
    [NKI_SETTING_ROPE_AMPLITUDE] = {{ROPE("attention_factor")}, "rope.scaling.attn_factor"},
};

const char *nki_setting_key(const struct nk_model *model, enum nki_setting setting) {
  const char *const *keys = settings[setting].keys;
  for (; *keys != NULL; keys++) {
    if (nki_model_config_value(model, *keys) != NULL) return *keys;
  }
  return settings[setting].keys[0];
}

const char *nki_setting_gguf_key(enum nki_setting setting) {
  return settings[setting].gguf;
}

int nki_setting_integer(const struct nk_model *model, enum nki_setting setting, int64_t *out) {
  return nki_model_config_integer(model, nki_setting_key(model, setting), out);
}

int nki_setting_number(const struct nk_model *model, enum nki_setting setting, double *out) {
  return nki_model_config_number(model, nki_setting_key(model, setting), out);
}
