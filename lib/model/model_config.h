/* Values of a model's configuration: config.json by its keys, and the settings that architectures
 * name differently. */
#ifndef NOKEN_MODEL_MODEL_CONFIG_H
#define NOKEN_MODEL_MODEL_CONFIG_H

#include <jansson.h>
#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* config.json's model_type ("gpt2", "llama", ...), or NULL. Here and below a multimodal model's
 * values are those of its language model (text_config) first, then its own; where text_config
 * leaves the type out, it is that of Hugging Face's class. */
const char *nki_model_type(const struct nk_model *model);
/* The row of the table of architectures: a GGUF's own, else that of the type. NULL without an error
 * when there is none. */
const struct nki_architecture *nki_model_architecture(const struct nk_model *model);
/* Whether a multimodal model of this type shares its input and output matrix when
 * tie_word_embeddings is absent. */
bool nki_model_wrapper_ties(const struct nk_model *model);

/* The value at a path, or NULL where it is missing or null. */
const json_t *nki_model_config_value(const struct nk_model *model, const char *path);

/* That value as a number, a truth or a string, which lives as long as the model. Return NK_OK;
 * NK_ENOTFOUND when it is missing or null (out untouched, no error set); NK_EDATA when it is of
 * another type or not in range. */
int nki_model_config_integer(const struct nk_model *model, const char *path, int64_t *out);
int nki_model_config_number(const struct nk_model *model, const char *path, double *out);
int nki_model_config_bool(const struct nk_model *model, const char *path, bool *out);
int nki_model_config_string(const struct nk_model *model, const char *path, const char **out);
/* The i-th element of an array of numbers, or of strings ("layer_types"); NK_ENOTFOUND past its
 * end. */
int nki_model_config_number_at(const struct nk_model *model, const char *path, size_t index,
                               double *out);
int nki_model_config_string_at(const struct nk_model *model, const char *path, size_t index,
                               const char **out);

/* After a failure with `code` that named a key of config.json: of a GGUF the message names the key
 * of its metadata instead (metadata_names.c). Returns code. */
int nki_name_metadata(const struct nk_model *model, int code);

/* ---- Settings ---- */

/* A quantity that configurations give under one of several keys, and GGUF under one. */
enum nki_setting {
  NKI_SETTING_N_POSITIONS,
  NKI_SETTING_DIM,
  NKI_SETTING_MLP_DIM,
  NKI_SETTING_N_LAYERS,
  NKI_SETTING_N_HEADS,
  NKI_SETTING_N_KV_HEADS,
  NKI_SETTING_HEAD_DIM,
  NKI_SETTING_PROJECTED_DIM,
  NKI_SETTING_LAYER_NORM_EPS,
  NKI_SETTING_RMS_NORM_EPS,
  NKI_SETTING_QUERY_SCALAR,
  NKI_SETTING_ATTENTION_CAP,
  NKI_SETTING_LOGIT_CAP,
  NKI_SETTING_WINDOW,
  NKI_SETTING_FIRST_WINDOWED,
  NKI_SETTING_ROTARY_DIM,
  NKI_SETTING_ROTARY_PART,
  NKI_SETTING_ROTARY_BASE,
  NKI_SETTING_ROPE_FACTOR,
  NKI_SETTING_ROPE_LOW,
  NKI_SETTING_ROPE_HIGH,
  NKI_SETTING_ROPE_ORIGINAL,
  NKI_SETTING_ROPE_AMPLITUDE,
  NKI_SETTING_ROPE_FAST,
  NKI_SETTING_ROPE_SLOW,
  NKI_SETTING_ROPE_SCALE,
  NKI_SETTING_ROPE_SCALE_ALL,
  NKI_SETTING_LOCAL_ROTARY_BASE,
  NKI_SETTING_WINDOW_PATTERN,
  NKI_SETTING_ATTENTION_SCALE,
  NKI_SETTING_EMBEDDING_SCALE,
  NKI_SETTING_RESIDUAL_SCALE,
  NKI_SETTING_LOGIT_SCALE,
  NKI_SETTING_LOGIT_DIVISOR,
  NKI_SETTING_QKV_CLIP,
  NKI_SETTING_SWIGLU_LIMIT,
  NKI_SETTING_N_EXPERTS,
  NKI_SETTING_N_ACTIVE,
  NKI_SETTING_EXPERT_DIM,
  NKI_SETTING_SHARED_DIM,
  NKI_N_SETTINGS
};

/* The object of config.json that holds the settings of rotary positions: "rope_scaling" where it is
 * not empty, else "rope_parameters". As in Transformers 5, its rope_theta and partial_rotary_factor
 * precede those beside it, and the other object is not read. */
const char *nki_rope_object(const struct nk_model *model);

/* True where neither object is there and the model's family has a scaling then (gpt-oss). */
bool nki_rope_is_default(const struct nk_model *model);

/* The value of the first of the setting's keys that config.json has, else the default of the
 * model's family. Return NK_OK, NK_ENOTFOUND (out untouched, no error set), or NK_EDATA (another
 * type). */
int nki_setting_integer(const struct nk_model *model, enum nki_setting setting, int64_t *out);
int nki_setting_number(const struct nk_model *model, enum nki_setting setting, double *out);
/* The key that config.json has, else the first one, for messages. */
const char *nki_setting_key(const struct nk_model *model, enum nki_setting setting);
/* The key in GGUF below "ARCHITECTURE.", or NULL. */
const char *nki_setting_gguf_key(enum nki_setting setting);

#endif
