/* A model out of GGUF files. llama.cpp's converter changes names and layouts, and keeps what the
 * checkpoint's config.json says under keys of its own; both are brought back here to what the
 * rest of the library reads:
 *
 *   config.json    the same settings under Hugging Face's keys, as JSON
 *   the family     a row of the table of architectures of its own (gguf_row.c)
 *
 * Rotary frequencies that a tensor scales (Llama 3's rope_freqs, Phi-3's rope_factors_short) become
 * the list that Phi-3's configuration has. */
#include "model/gguf_model.h"

#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/architecture.h"
#include "model/gguf.h"
#include "model/model_config.h"
#include "model/rows.h"

enum { MAX_FACTORS = 4096 }; /* of rotary frequencies: half of a head */

static const char original_positions[] = "original_max_position_embeddings";

/* ---- Parts ---- */

int nki_gguf_check_parts(const struct nk_model *model) {
  size_t n = model->files.n_shards;
  for (size_t s = 0; s < n; s++) {
    const struct nki_gguf *gguf = model->shards[s].gguf;
    int64_t number = 0, count = 1, n_tensors = (int64_t)model->n_tensors;
    int code = nki_gguf_integer(gguf, "split.no", &number);
    if (code == NK_OK || code == NK_ENOTFOUND) code = nki_gguf_integer(gguf, "split.count", &count);
    if (code == NK_OK || code == NK_ENOTFOUND)
      code = nki_gguf_integer(gguf, "split.tensors.count", &n_tensors);
    if (code != NK_OK && code != NK_ENOTFOUND) return code;
    if (count > 1 && n == 1)
      return nk_fail(NK_EDATA,
                     "%s: part %lld of %lld, whose names are to end as -00001-of-%05lld.gguf does",
                     gguf->file->name, (long long)number + 1, (long long)count, (long long)count);
    if (count != (int64_t)n || number != (int64_t)s)
      return nk_fail(NK_EDATA, "%s: part %lld of %lld by its metadata, %zu of %zu by its name",
                     gguf->file->name, (long long)number + 1, (long long)count, s + 1, n);
    if (n_tensors != (int64_t)model->n_tensors)
      return nk_fail(NK_EDATA, "%s: %lld tensors in all parts by its metadata, %zu found",
                     gguf->file->name, (long long)n_tensors, model->n_tensors);
  }
  nki_clear_error();
  return NK_OK;
}

/* ---- Values ---- */

struct reading {
  const struct nk_model *model;
  const struct nki_gguf *gguf;
  char architecture[64];
  const struct nki_architecture *row; /* NULL: not in the table */
  json_t *config;
};

/* Sets a value, which is then the object's. */
static int set(const struct reading *r, json_t *object, const char *key, json_t *value) {
  return value != NULL && json_object_set_new(object, key, value) == 0
             ? NK_OK
             : nk_fail(NK_EMEMORY, "%s: out of memory", r->gguf->file->name);
}

/* Element of an array, or a value, as JSON; NULL without memory. */
static json_t *number_as_json(const struct nki_gguf_value *value, size_t index) {
  double number = nki_gguf_number_at(value, index);
  if (value->type == NKI_GGUF_BOOL) return json_boolean(number != 0);
  if (value->type == NKI_GGUF_FLOAT32 || value->type == NKI_GGUF_FLOAT64)
    return json_real(number); /* a NaN or an infinity: NULL */
  return number >= -0x1p53 && number <= 0x1p53 ? json_integer((json_int_t)number)
                                               : json_real(number);
}

/* The value of "ARCHITECTURE.KEY", or NULL. */
static const struct nki_gguf_value *find(const struct reading *r, const char *key) {
  char name[NKI_MAX_NAME];
  snprintf(name, sizeof name, "%s.%s", r->architecture, key);
  return nki_gguf_find(r->gguf, name);
}

/* Copies a number, a boolean, or an array of one value for all layers. What else the file has under
 * the key is an error when the setting is asked for: its JSON is an array or a string. */
static int copy(const struct reading *r, const char *from, json_t *object, const char *to) {
  const struct nki_gguf_value *value = find(r, from);
  if (value == NULL) return NK_OK;
  if (value->type == NKI_GGUF_STRING || value->type == NKI_GGUF_ARRAY || value->count == 0)
    return set(r, object, to, json_string("not a number"));
  for (size_t i = 1; i < value->count; i++)
    if (nki_gguf_number_at(value, i) != nki_gguf_number_at(value, 0))
      return set(r, object, to, json_string("other values in other layers"));
  json_t *json = number_as_json(value, 0);
  return json != NULL ? set(r, object, to, json)
                      : nk_fail(NK_EDATA, "%s: '%s.%s' is not finite", r->gguf->file->name,
                                r->architecture, from);
}

/* The list that says which layers have windows becomes layer_types. */
static int read_layer_types(struct reading *r) {
  const struct nki_gguf_value *windowed = find(r, "attention.sliding_window_pattern");
  int64_t n_layers = 0;
  if (windowed == NULL || !windowed->is_array || windowed->type == NKI_GGUF_STRING) return NK_OK;
  nki_setting_integer(r->model, NKI_SETTING_N_LAYERS, &n_layers);
  if (n_layers < 1 || windowed->count != (size_t)n_layers)
    return nk_fail(NK_EDATA, "%s: '%s' has %zu values for %lld blocks", r->gguf->file->name,
                   windowed->key, windowed->count, (long long)n_layers);
  json_t *types = json_array();
  int code = set(r, r->config, "layer_types", types);
  for (size_t i = 0; i < windowed->count && code == NK_OK; i++) {
    bool is_windowed = nki_gguf_number_at(windowed, i) != 0;
    json_t *type = json_string(is_windowed ? "sliding_attention" : "full_attention");
    if (json_array_append_new(types, type) != 0) code = NK_EMEMORY;
  }
  return code;
}

/* MPT's linear biases; a file without them has none. */
static int read_alibi(struct reading *r) {
  if (r->row == NULL || r->row->alibi != NKI_ALIBI_MPT) return NK_OK;
  json_t *attention = json_object();
  int code = set(r, r->config, "attn_config", attention);
  if (code == NK_OK) code = copy(r, "attention.max_alibi_bias", attention, "alibi_bias_max");
  if (code != NK_OK) return code;
  double most = json_number_value(json_object_get(attention, "alibi_bias_max"));
  return set(r, attention, "alibi", json_boolean(most != 0));
}

/* llama.cpp has one key for Cohere's factor and Granite's divisor. */
static int read_logit_scale(struct reading *r) {
  bool divides = r->row != NULL && r->row->defaults[NKI_SETTING_LOGIT_DIVISOR] != 0;
  return copy(
      r, "logit_scale", r->config,
      nki_setting_key(r->model, divides ? NKI_SETTING_LOGIT_DIVISOR : NKI_SETTING_LOGIT_SCALE));
}

static int copy_settings(struct reading *r) {
  int code = NK_OK;
  for (int s = 0; s < NKI_N_SETTINGS && code == NK_OK; s++) {
    const char *from = nki_setting_gguf_key((enum nki_setting)s);
    const char *to = nki_setting_key(r->model, (enum nki_setting)s);
    const struct nki_gguf_value *value = from != NULL ? find(r, from) : NULL;
    bool is_list = s == NKI_SETTING_WINDOW_PATTERN && value != NULL && value->is_array;
    if (value != NULL && !is_list && strchr(to, '.') == NULL) /* not of rope_scaling */
      code = copy(r, from, r->config, to);
  }
  if (code == NK_OK) code = copy(r, "rope.freq_base", r->config, "rope_theta");
  if (code == NK_OK) code = copy(r, "rope.freq_base_swa", r->config, "rope_local_base_freq");
  if (code == NK_OK) code = copy(r, "use_parallel_residual", r->config, "use_parallel_residual");
  if (code == NK_OK) code = read_layer_types(r);
  if (code == NK_OK) code = read_alibi(r);
  if (code == NK_OK) code = read_logit_scale(r);
  const struct nki_gguf_value *causal = find(r, "attention.causal");
  if (code == NK_OK && causal != NULL && (causal->count == 0 || nki_gguf_number_at(causal, 0) == 0))
    code = set(r, r->config, "use_bidirectional_attention", json_true());
  return code;
}

/* ---- Rotary positions ---- */

/* The list of factors that the frequencies are divided by. */
static int put_factors(struct reading *r, const struct nk_tensor *tensor, json_t *scaling) {
  float factors[MAX_FACTORS];
  json_t *list = json_array();
  if (tensor->n_dims != 1 || tensor->n_elements > MAX_FACTORS) {
    json_decref(list);
    return nk_fail(NK_EDATA, "%s: tensor '%s' is not a vector of at most %d factors",
                   r->gguf->file->name, tensor->name, MAX_FACTORS);
  }
  int code = nki_tensor_check_widens(tensor);
  if (code == NK_OK) code = nki_tensor_widen(tensor, 0, tensor->n_elements, factors);
  for (size_t i = 0; i < tensor->n_elements && code == NK_OK; i++)
    if (json_array_append_new(list, json_real((double)factors[i])) != 0)
      code = nk_fail(NK_EDATA, "%s: tensor '%s' is not finite", r->gguf->file->name, tensor->name);
  if (json_object_set_new(scaling, "short_factor", list) != 0 && code == NK_OK) code = NK_EMEMORY;
  return code;
}

/* The list. llama.cpp divides all frequencies by the factor too, which is not implemented; with a
 * type of "none" it does not, and in Llama 3's scaling the list is all there is. */
static int read_factors(struct reading *r, const struct nk_tensor *factors, const char *type,
                        double factor, json_t *scaling) {
  if (type == NULL) type = "linear";
  bool is_alone = strcmp(type, "none") == 0 || strcmp(type, "llama3") == 0;
  bool is_plain = strcmp(type, "linear") == 0 || strcmp(type, "longrope") == 0;
  if (!is_alone && !(is_plain && (factor == 0 || factor == 1)))
    return nk_fail(NK_EUNSUPPORTED, "%s: rope scaling '%s' by %g beside tensor '%s'",
                   r->gguf->file->name, type, factor, factors->name);
  int code = set(r, scaling, "rope_type", json_string("longrope"));
  if (code == NK_OK) code = set(r, scaling, "attention_factor", json_real(1));
  if (code == NK_OK) code = copy(r, "rope.scaling.attn_factor", scaling, "attention_factor");
  if (code == NK_OK && json_object_get(scaling, original_positions) == NULL)
    code = copy(r, "context_length", scaling, original_positions);
  return code == NK_OK ? put_factors(r, factors, scaling) : code;
}

/* llama.cpp's attn_factor multiplies YaRN's own amplitude, which Transformers' replaces. That one,
 * yarn_attn_factor, and the betas are the checkpoint's, though llama.cpp does not read them in most
 * families. */
static int read_yarn(struct reading *r, double factor, json_t *scaling) {
  int code = factor == 0 ? set(r, scaling, "factor", json_integer(1)) : NK_OK;
  if (code == NK_OK) code = copy(r, "rope.scaling.yarn_beta_fast", scaling, "beta_fast");
  if (code == NK_OK) code = copy(r, "rope.scaling.yarn_beta_slow", scaling, "beta_slow");
  if (code == NK_OK) code = copy(r, "rope.scaling.yarn_attn_factor", scaling, "attention_factor");
  if (code == NK_OK && r->row != NULL && r->row->yarn_exact)
    code = set(r, scaling, "truncate", json_false());
  if (code != NK_OK || find(r, "rope.scaling.attn_factor") == NULL) return code;
  code = copy(r, "rope.scaling.attn_factor", scaling, "attention_factor");
  const json_t *amplitude = json_object_get(scaling, "attention_factor");
  if (code != NK_OK || !json_is_number(amplitude) || !(factor > 1)) return code;
  double growth = 1 + 0.1 * log(factor);
  return set(r, scaling, "attention_factor", json_real(json_number_value(amplitude) * growth));
}

/* rope.scaling.type, or NULL where there is none. */
static int read_scaling_type(const struct reading *r, json_t *scaling, const char **type) {
  const struct nki_gguf_value *value = find(r, "rope.scaling.type");
  json_t *json = NULL;
  *type = NULL;
  if (value == NULL) return NK_OK;
  if (!value->is_array && value->type == NKI_GGUF_STRING)
    json = json_stringn((const char *)value->data + 8, value->n_bytes - 8);
  if (json == NULL)
    return nk_fail(NK_EDATA, "%s: '%s.rope.scaling.type' is not a string in UTF-8",
                   r->gguf->file->name, r->architecture);
  *type = json_string_value(json);
  return set(r, scaling, "rope_type", json);
}

/* scaling = {"rope_type": ..., ...}; without a type: frequencies are not scaled. */
static int fill_scaling(struct reading *r, json_t *scaling) {
  const struct nk_tensor *factors = nki_model_look_up(r->model, "rope_freqs.weight");
  if (factors == NULL) factors = nki_model_look_up(r->model, "rope_factors_short.weight");
  const char *type;
  int code = copy(r, "rope.scale_linear", scaling, "factor"); /* of old files */
  if (code == NK_OK) code = copy(r, "rope.scaling.factor", scaling, "factor");
  if (code == NK_OK)
    code = copy(r, "rope.scaling.original_context_length", scaling, original_positions);
  if (code == NK_OK) code = read_scaling_type(r, scaling, &type);
  if (code != NK_OK) return code;
  const json_t *json = json_object_get(scaling, "factor");
  double factor = json_number_value(json); /* 0: none */
  if (json != NULL && !json_is_number(json)) factor = (double)NAN;
  if (factors != NULL) return read_factors(r, factors, type, factor, scaling);
  if (type != NULL && strcmp(type, "none") == 0) return json_object_del(scaling, "rope_type");
  if (type != NULL && strcmp(type, "yarn") == 0) return read_yarn(r, factor, scaling);
  bool is_linear = type == NULL && factor != 0;
  return is_linear ? set(r, scaling, "rope_type", json_string("linear")) : NK_OK;
}

static int read_scaling(struct reading *r) {
  json_t *scaling = json_object();
  int code = scaling != NULL ? fill_scaling(r, scaling) : NK_EMEMORY;
  if (code == NK_OK && json_object_get(scaling, "rope_type") != NULL)
    code = set(r, r->config, "rope_scaling", json_incref(scaling));
  json_decref(scaling);
  return code;
}

/* ---- The whole configuration ---- */

/* Gemma's scale of attention is not in the file: as llama.cpp has it, that of a head's width, but
 * for the largest model. */
static int read_query_scalar(struct reading *r) {
  int64_t dim = 0, n_heads = 0, n_layers = 0;
  if (r->row == NULL || r->row->defaults[NKI_SETTING_QUERY_SCALAR] == 0) return NK_OK;
  nki_setting_integer(r->model, NKI_SETTING_N_LAYERS, &n_layers);
  nki_setting_integer(r->model, NKI_SETTING_DIM, &dim);
  nki_setting_integer(r->model, NKI_SETTING_N_HEADS, &n_heads);
  if ((size_t)n_layers != r->row->gguf_wide_blocks || n_heads < 1) return NK_OK;
  return set(r, r->config, "query_pre_attn_scalar", json_integer(dim / n_heads));
}

/* Whether the value is there and is a number above 0. */
static bool is_positive(const struct reading *r, const char *key) {
  const struct nki_gguf_value *value = find(r, key);
  return value != NULL && !value->is_array && nki_gguf_number_at(value, 0) > 0;
}

static bool has_experts(const struct reading *r) {
  const struct nki_gguf_value *count = find(r, "expert_count");
  return count != NULL && (count->is_array || nki_gguf_number_at(count, 0) != 0);
}

/* The family: several checkpoints' are one in GGUF, "llama". *is_whole is false where the row lacks
 * the experts or windows that the file has. */
static const struct nki_architecture *find_row(const struct reading *r, bool *is_whole) {
  bool experts = has_experts(r), windows = is_positive(r, "attention.sliding_window");
  const struct nki_architecture *first = NULL;
  *is_whole = true;
  for (size_t i = 0; i < nki_n_architectures; i++) {
    const struct nki_architecture *row = &nki_architectures[i];
    if (row->gguf == NULL || strcmp(row->gguf, r->architecture) != 0) continue;
    if (first == NULL) first = row;
    bool fits =
        (!experts || row->names[NKI_ROUTER] != NULL) && (!windows || row->window != NKI_NO_WINDOW);
    if (fits) return row;
  }
  *is_whole = first == NULL || first->block == NULL;
  return first;
}

int nki_gguf_read_config(struct nk_model *model) {
  struct reading r = {.model = model, .gguf = model->shards[0].gguf};
  const char *name = "";
  size_t n = 0;
  int code = nki_gguf_string(r.gguf, "general.architecture", &name, &n);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  nki_clear_error();
  if (n >= sizeof r.architecture)
    return nk_fail(NK_EDATA, "%s: general.architecture has %zu bytes", r.gguf->file->name, n);
  snprintf(r.architecture, sizeof r.architecture, "%.*s", (int)n, name);
  bool is_whole;
  r.row = find_row(&r, &is_whole);
  r.config = model->config = json_object();
  if (r.config == NULL) return NK_EMEMORY;
  json_t *type = is_whole ? json_string(r.row != NULL ? r.row->type : r.architecture)
                          : json_sprintf("%s with %s", r.architecture,
                                         has_experts(&r) ? "experts" : "a sliding window");
  if (type == NULL)
    return nk_fail(NK_EDATA, "%s: general.architecture is not valid UTF-8", r.gguf->file->name);
  code = set(&r, r.config, "model_type", type);
  if (code == NK_OK) code = copy_settings(&r);
  if (code == NK_OK) code = read_scaling(&r);
  if (code == NK_OK)
    code = set(&r, r.config, "tie_word_embeddings",
               json_boolean(nki_model_look_up(model, "output.weight") == NULL));
  if (code == NK_OK)
    code = nki_gguf_make_row(model, r.row, is_whole,
                             json_string_value(json_object_get(r.config, "model_type")));
  return code == NK_OK ? read_query_scalar(&r) : code;
}
