/* A model out of GGUF files. llama.cpp's converter changes names and layouts, and keeps what the
 * checkpoint's config.json says under keys of its own; both are brought back here to what the
 * rest of the library reads:
 *
 *   config.json    the same settings under Hugging Face's keys, as JSON
 *   the family     a copy of its row of the table of architectures, with GGUF's names, and without
 *                  what the converter has already done: matrices are [out, in], fused q, k and v
 *                  lie one after the other, Gemma's norms have their 1 added. Rows of q and k that
 *                  the converter has reordered are put back where they are widened
 *
 * Rotary frequencies that a tensor scales (Llama 3's rope_freqs, Phi-3's rope_factors_short) become
 * the list that Phi-3's configuration has. */
#include "model/gguf_model.h"

#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/architecture.h"
#include "model/gguf.h"
#include "model/model_config.h"
#include "model/rows.h"

enum { MAX_FACTORS = 4096 }; /* of rotary frequencies: half of a head */

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

/* Sets a value, which is then the configuration's. */
static int set(struct reading *r, const char *key, json_t *value) {
  return value != NULL && json_object_set_new(r->config, key, value) == 0
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
static int copy(struct reading *r, const char *from, const char *to) {
  const struct nki_gguf_value *value = find(r, from);
  if (value == NULL) return NK_OK;
  if (value->type == NKI_GGUF_STRING || value->type == NKI_GGUF_ARRAY || value->count == 0)
    return set(r, to, json_string("not a number"));
  for (size_t i = 1; i < value->count; i++)
    if (nki_gguf_number_at(value, i) != nki_gguf_number_at(value, 0))
      return set(r, to, json_string("other values in other layers"));
  json_t *json = number_as_json(value, 0);
  return json != NULL ? set(r, to, json)
                      : nk_fail(NK_EDATA, "%s: '%s.%s' is not finite", r->gguf->file->name,
                                r->architecture, from);
}

static int copy_settings(struct reading *r) {
  int code = NK_OK;
  for (int s = 0; s < NKI_N_SETTINGS && code == NK_OK; s++) {
    const char *from = nki_setting_gguf_key((enum nki_setting)s);
    const char *to = nki_setting_key(r->model, (enum nki_setting)s);
    if (from != NULL && strchr(to, '.') == NULL) code = copy(r, from, to); /* not of rope_scaling */
  }
  if (code == NK_OK) code = copy(r, "rope.freq_base", "rope_theta");
  if (code == NK_OK) code = copy(r, "use_parallel_residual", "use_parallel_residual");
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

static void copy_into(const struct reading *r, json_t *object, const char *from, const char *to) {
  const struct nki_gguf_value *value = find(r, from);
  if (value != NULL && !value->is_array && value->type != NKI_GGUF_STRING)
    json_object_set_new(object, to, number_as_json(value, 0));
}

/* {"rope_type": ..., ...}; nothing for frequencies that are not scaled. */
static int read_scaling(struct reading *r) {
  const struct nk_tensor *factors = nki_model_look_up(r->model, "rope_freqs.weight");
  const struct nki_gguf_value *type = find(r, "rope.scaling.type");
  if (factors == NULL) factors = nki_model_look_up(r->model, "rope_factors_short.weight");
  json_t *scaling = json_object();
  if (scaling == NULL) return NK_EMEMORY;
  copy_into(r, scaling, "rope.scale_linear", "factor"); /* of old files */
  copy_into(r, scaling, "rope.scaling.factor", "factor");
  copy_into(r, scaling, "rope.scaling.original_context_length", "original_max_position_embeddings");
  bool scaled = json_number_value(json_object_get(scaling, "factor")) > 0;
  int code = NK_OK;
  if (factors != NULL) {
    json_object_set_new(scaling, "rope_type", json_string("longrope"));
    json_object_set_new(scaling, "attention_factor", json_real(1));
    copy_into(r, scaling, "rope.scaling.attn_factor", "attention_factor");
    if (json_object_get(scaling, "original_max_position_embeddings") == NULL)
      copy_into(r, scaling, "context_length", "original_max_position_embeddings");
    code = put_factors(r, factors, scaling);
  } else if (type != NULL && !type->is_array && type->type == NKI_GGUF_STRING) {
    const char *name = (const char *)type->data + 8;
    size_t n = type->n_bytes - 8;
    scaled = n != 4 || memcmp(name, "none", 4) != 0;
    json_object_set_new(scaling, "rope_type", json_stringn(name, n));
  } else if (scaled) {
    json_object_set_new(scaling, "rope_type", json_string("linear"));
  }
  if (code == NK_OK && (factors != NULL || scaled)) return set(r, "rope_scaling", scaling);
  json_decref(scaling);
  return code;
}

/* ---- The whole configuration ---- */

static bool has(const struct nk_model *model, const char *name) {
  return nki_model_look_up(model, name) != NULL;
}

/* What the checkpoint's configuration says and the file's tensors show. */
static int read_tensors(struct reading *r) {
  const struct nk_model *m = r->model;
  bool attention = has(m, "blk.0.attn_q.bias") || has(m, "blk.0.attn_qkv.bias");
  int code = set(r, "tie_word_embeddings", json_boolean(!has(m, "output.weight")));
  if (code == NK_OK) code = set(r, "attention_bias", json_boolean(attention));
  if (code == NK_OK) code = set(r, "mlp_bias", json_boolean(has(m, "blk.0.ffn_up.bias")));
  return code;
}

/* Gemma 2's scale of attention is not in the file: as llama.cpp has it, that of a head's width, but
 * for the largest model, which has 46 blocks. */
static int read_query_scalar(struct reading *r) {
  int64_t dim = 0, n_heads = 0, n_layers = 0;
  if (r->row == NULL || r->row->defaults[NKI_SETTING_QUERY_SCALAR] == 0) return NK_OK;
  nki_setting_integer(r->model, NKI_SETTING_N_LAYERS, &n_layers);
  nki_setting_integer(r->model, NKI_SETTING_DIM, &dim);
  nki_setting_integer(r->model, NKI_SETTING_N_HEADS, &n_heads);
  if (n_layers != 46 || n_heads < 1) return NK_OK;
  return set(r, "query_pre_attn_scalar", json_integer(dim / n_heads));
}

/* ---- The family's row ---- */

/* The row that runs of those with this name in GGUF, else the first of them, else NULL. */
static const struct nki_architecture *find_row(const char *name) {
  const struct nki_architecture *found = NULL;
  for (size_t i = 0; i < nki_n_architectures; i++) {
    const struct nki_architecture *row = &nki_architectures[i];
    if (row->gguf == NULL || strcmp(row->gguf, name) != 0) continue;
    if (found == NULL || (found->block == NULL && row->block != NULL)) found = row;
  }
  return found;
}

/* llama.cpp's defaults for keys that a file leaves out are not Transformers'. Both agree on these.
 */
static void keep_defaults(const struct nki_architecture *row, struct nki_architecture *own) {
  static const enum nki_setting kept[] = {NKI_SETTING_ATTENTION_CAP, NKI_SETTING_LOGIT_CAP};
  memset(own->defaults, 0, sizeof own->defaults);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    own->defaults[kept[i]] = row->defaults[kept[i]];
  if (row->window == NKI_WINDOW_ALTERNATING)
    own->defaults[NKI_SETTING_WINDOW] = row->defaults[NKI_SETTING_WINDOW];
}

/* q, k and v may be fused in a file where the checkpoint has them apart, or the other way round. */
static void name_parts(const struct nk_model *model, const struct nki_architecture *row,
                       struct nki_architecture *own) {
  for (int p = 0; p < NKI_N_PARTS; p++)
    own->names[p] = row->names[p] != NULL ? nki_part_gguf_name((enum nki_part)p) : NULL;
  bool fused = has(model, "blk.0.attn_qkv.weight");
  if (own->names[NKI_QKV] == NULL && own->names[NKI_Q] == NULL) return;
  own->names[NKI_QKV] = fused ? nki_part_gguf_name(NKI_QKV) : NULL;
  own->names[NKI_Q] = fused ? NULL : nki_part_gguf_name(NKI_Q);
  own->names[NKI_K] = fused ? NULL : nki_part_gguf_name(NKI_K);
  own->names[NKI_V] = fused ? NULL : nki_part_gguf_name(NKI_V);
}

static int make_row(struct nk_model *model, const struct reading *r) {
  struct nki_architecture *own = nk_calloc(1, sizeof *own);
  if (own == NULL) return NK_EMEMORY;
  model->own = own;
  if (r->row != NULL) {
    *own = *r->row;
    keep_defaults(r->row, own);
  }
  own->type = json_string_value(json_object_get(r->config, "model_type"));
  own->prefix = "";
  own->embedding = "token_embd";
  own->head = "output";
  own->positions = has(model, "position_embd.weight") ? "position_embd" : NULL;
  own->final_norm = "output_norm";
  own->in_out = own->gguf_written = false;
  own->qkv = NKI_QKV_IN_TURN;
  if (own->norm == NKI_RMS_NORM_PLUS_ONE) own->norm = NKI_RMS_NORM;
  if (r->row == NULL || !r->row->gguf_written) own->block = NULL; /* not tested: not run */
  if (own->block == NULL) return NK_OK;
  own->block = "blk.%zu.";
  name_parts(model, r->row, own);
  return NK_OK;
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
  r.row = find_row(r.architecture);
  r.config = model->config = json_object();
  if (r.config == NULL) return NK_EMEMORY;
  json_t *type = json_string(r.row != NULL ? r.row->type : r.architecture);
  if (type == NULL)
    return nk_fail(NK_EDATA, "%s: general.architecture is not valid UTF-8", r.gguf->file->name);
  code = set(&r, "model_type", type);
  if (code == NK_OK) code = copy_settings(&r);
  if (code == NK_OK) code = read_scaling(&r);
  if (code == NK_OK) code = read_tensors(&r);
  if (code == NK_OK) code = make_row(model, &r);
  return code == NK_OK ? read_query_scalar(&r) : code;
}
