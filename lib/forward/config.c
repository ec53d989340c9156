/* Reading config.json into what the blocks need. The architecture's row of the table
 * (model/architecture.h) has what all its models share, config.json the rest; a value that is not
 * implemented is an error that names it. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "forward/internal.h"
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
static int check_variants(const struct nk_model *model,
                          const struct nki_architecture *architecture) {
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

static int read_activation(const struct nk_model *model,
                           const struct nki_architecture *architecture, enum nki_activation *out) {
  static const struct {
    const char *name;
    enum nki_activation value;
  } known[] = {
      {"gelu", NKI_GELU},
      {"gelu_new", NKI_GELU_TANH},
      {"gelu_fast", NKI_GELU_TANH},
      {"relu", NKI_RELU},
      {"silu", NKI_SILU},
      {"swish", NKI_SILU},
      {"quick_gelu", NKI_QUICK_GELU},
      {"gelu_pytorch_tanh", NKI_GELU_TANH},
      {"clamped_swiglu", NKI_CLAMPED_SWIGLU},
  };
  /* Gemma's published configurations say "gelu" where the model has its tanh form. */
  static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function",
                                     "activation"};
  const bool fixed = strcmp(architecture->activation, "clamped_swiglu") == 0;
  const size_t n_keys = fixed ? 0 : architecture->scaled_embedding ? 1 : 4;
  const char *name = architecture->activation;
  int code = NK_ENOTFOUND;
  for (size_t i = 0; i < n_keys && code == NK_ENOTFOUND; i++)
    code = nki_model_config_string(model, keys[i], &name);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp(name, known[i].name) != 0) continue;
    *out = known[i].value;
    return NK_OK;
  }
  return nk_fail(NK_EUNSUPPORTED, "config.json: activation '%s' is not implemented", name);
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
                         const struct nki_config *config, size_t layer, bool *windowed) {
  size_t first = config->shape.n_layers, pattern = 0;
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
      use = use && config->layers[layer].rope == NKI_NO_ROPE;
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
                     const struct nki_config *config, size_t layer, bool *windowed) {
  static const struct {
    const char *name;
    bool windowed;
  } kinds[] = {
      {"sliding_attention", true}, {"full_attention", false}, {"local", true}, {"global", false}};
  const char *kind;
  int code = nki_model_config_string_at(model, "layer_types", layer, &kind);
  if (code == NK_ENOTFOUND && architecture->window == NKI_WINDOW_GPT_NEO)
    code = nki_model_config_string_at(model, "attention_layers", layer, &kind);
  if (code == NK_ENOTFOUND) return read_windowed(model, architecture, config, layer, windowed);
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

static int read_layer(const struct nk_model *model, const struct nki_architecture *architecture,
                      struct nki_config *config, size_t window, size_t layer) {
  struct nki_layer *out = &config->layers[layer];
  bool rotated = config->ropes[NKI_ROPE_FULL].dim > 0, windowed = false;
  int code = NK_OK;
  if (rotated && architecture->rotated == NKI_ROTATED_LISTED)
    code = read_listed_rope(model, layer, &rotated);
  out->rope = rotated ? NKI_ROPE_FULL : NKI_NO_ROPE;
  if (code == NK_OK && window > 0) code = read_kind(model, architecture, config, layer, &windowed);
  if (code == NK_OK && config->n_experts > 0) code = read_sparse(model, layer, &out->sparse);
  if (windowed) out->window = window;
  if (!windowed && architecture->rotated == NKI_ROTATED_WINDOWED) out->rope = NKI_NO_ROPE;
  if (windowed && architecture->rotated == NKI_ROTATED_BY_KIND) out->rope = NKI_ROPE_LOCAL;
  return code;
}

static int read_layers(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  size_t window = 0;
  config->layers = nk_calloc(config->shape.n_layers, sizeof *config->layers);
  if (config->layers == NULL) return NK_EMEMORY;
  int code = NK_OK;
  if (architecture->window != NKI_NO_WINDOW)
    code = nki_read_optional_size(model, NKI_SETTING_WINDOW, 0, (size_t)1 << 40, &window);
  for (size_t i = 0; i < config->shape.n_layers && code == NK_OK; i++)
    code = read_layer(model, architecture, config, window, i);
  return code;
}

/* ---- The whole ---- */

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

/* How the rows of the fused q, k, v are grouped. */
static int read_qkv(const struct nk_model *model, const struct nki_architecture *architecture,
                    struct nki_config *config) {
  const struct nk_forward_shape *shape = &config->shape;
  config->qkv_groups = 1;
  if (architecture->qkv == NKI_QKV_BY_HEAD || architecture->qkv == NKI_QKV_BIGCODE ||
      architecture->qkv == NKI_QKV_FALCON)
    config->qkv_groups = shape->n_kv_heads;
  if (is_multi_query(model, architecture)) config->qkv_groups = 1;
  if (architecture->qkv != NKI_QKV_CODEGEN) return NK_OK;
  config->qkv_groups = 4;
  config->qkv_value_second = true;
  if (shape->n_heads % 4 == 0) return NK_OK;
  return nk_fail(NK_EDATA, "config.json: %zu attention heads are not in 4 groups", shape->n_heads);
}

static int read_shape(const struct nk_model *model, const struct nki_architecture *architecture,
                      struct nk_forward_shape *shape) {
  const size_t most = (size_t)1 << 24;
  int code = nki_need_size(model, NKI_SETTING_DIM, most, &shape->dim);
  if (code == NK_OK) code = nki_need_size(model, NKI_SETTING_N_LAYERS, 1u << 16, &shape->n_layers);
  if (code == NK_OK) code = nki_need_size(model, NKI_SETTING_N_HEADS, most, &shape->n_heads);
  if (code == NK_OK)
    code = nki_need_size(model, NKI_SETTING_N_POSITIONS, (size_t)1 << 30, &shape->n_positions);
  if (code != NK_OK) return code;
  shape->n_kv_heads = shape->n_heads;
  shape->head_dim = shape->dim / shape->n_heads;
  shape->mlp_dim = 4 * shape->dim;
  code = nki_read_optional_size(model, NKI_SETTING_N_KV_HEADS, 1, most, &shape->n_kv_heads);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_HEAD_DIM, 1, most, &shape->head_dim);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_MLP_DIM, 1, most, &shape->mlp_dim);
  if (code != NK_OK) return code;
  if (is_multi_query(model, architecture))
    shape->n_kv_heads = 1;
  else if (architecture->qkv == NKI_QKV_BIGCODE || is_falcon_by_head(model, architecture))
    shape->n_kv_heads = shape->n_heads;
  if (shape->n_heads % shape->n_kv_heads != 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads cannot share %zu key heads",
                   shape->n_heads, shape->n_kv_heads);
  if (shape->head_dim == 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads for %zu dimensions", shape->n_heads,
                   shape->dim);
  size_t projected = shape->dim; /* OPT-350m's embeddings are narrower than its stream */
  code = nki_read_optional_size(model, NKI_SETTING_PROJECTED_DIM, 1, most, &projected);
  if (code != NK_OK) return code;
  if (projected != shape->dim)
    return nk_fail(NK_EUNSUPPORTED, "config.json: word_embed_proj_dim %zu is not implemented",
                   projected);
  return NK_OK;
}

/* What is allocated by sizes of config.json is bounded by the weights that have them. */
static int check_shape(const struct nk_model *model, const struct nk_forward_shape *shape) {
  size_t n_tensors = nk_model_n_tensors(model), largest = 0;
  for (size_t i = 0; i < n_tensors; i++) {
    const struct nk_tensor *tensor = nk_model_tensor(model, i);
    if (tensor->n_elements > largest) largest = tensor->n_elements;
  }
  size_t n_missing = nki_model_n_missing(model);
  if (shape->n_layers > n_tensors && n_missing > 0)
    return nk_fail(NK_ENOTFOUND, "the forward pass needs all weights: %zu shard%s missing",
                   n_missing, n_missing == 1 ? " is" : "s are");
  if (shape->n_layers > n_tensors)
    return nk_fail(NK_EDATA, "config.json: %zu blocks, but the model has %zu tensors",
                   shape->n_layers, n_tensors);
  if (shape->head_dim > largest)
    return nk_fail(NK_EDATA,
                   "config.json: heads of %zu components, but the largest tensor has %zu elements",
                   shape->head_dim, largest);
  return NK_OK;
}

static int read_numbers(const struct nk_model *model, const struct nki_architecture *architecture,
                        struct nki_config *config) {
  double eps = architecture->norm_eps, scalar = (double)config->shape.head_dim, scale = 0;
  double embedding = architecture->scaled_embedding ? sqrt((double)config->shape.dim) : 1;
  double residual = 1, logit = 1, divisor = 1, cap = 0, final_cap = 0, clip = 0, limit = 7;
  bool scaled = !architecture->unscaled_attention;
  const struct {
    enum nki_setting setting;
    double *value;
  } numbers[] = {
      {architecture->norm == NKI_LAYER_NORM ? NKI_SETTING_LAYER_NORM_EPS : NKI_SETTING_RMS_NORM_EPS,
       &eps},
      {NKI_SETTING_QUERY_SCALAR, &scalar},
      {NKI_SETTING_ATTENTION_SCALE, &scale},
      {NKI_SETTING_ATTENTION_CAP, &cap},
      {NKI_SETTING_LOGIT_CAP, &final_cap},
      {NKI_SETTING_EMBEDDING_SCALE, &embedding},
      {NKI_SETTING_RESIDUAL_SCALE, &residual},
      {NKI_SETTING_LOGIT_SCALE, &logit},
      {NKI_SETTING_LOGIT_DIVISOR, &divisor},
      {NKI_SETTING_QKV_CLIP, &clip},
      {NKI_SETTING_SWIGLU_LIMIT, &limit},
  };
  int code = read_bool(model, "scale_attn_weights", &scaled);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && code == NK_OK; i++)
    code = nki_read_number(model, numbers[i].setting, numbers[i].value);
  if (code != NK_OK) return code;
  config->norm_eps = (float)eps;
  config->attention_scale = scale > 0 ? (float)scale : scaled ? (float)(1 / sqrt(scalar)) : 1;
  config->attention_cap = (float)cap;
  config->logit_cap = (float)final_cap;
  config->embedding_scale = (float)embedding;
  config->residual_scale = (float)residual;
  config->logit_scale = (float)(logit / divisor);
  config->qkv_clip = (float)clip;
  config->activation_limit = (float)limit;
  return NK_OK;
}

/* Attention and mlp in turn or side by side, and the parts that this leaves out. */
static int read_order(const struct nk_model *model, const struct nki_architecture *architecture,
                      struct nki_config *config) {
  bool neox = architecture->order == NKI_PARALLEL_NEOX, two_norms = true;
  int64_t n_norms = 2;
  int code = NK_OK;
  switch (architecture->order) {
    case NKI_SERIAL:
      break;
    case NKI_PARALLEL:
      config->parallel = true;
      break;
    case NKI_PARALLEL_NEOX:
    case NKI_PARALLEL_STABLELM:
      config->parallel = neox;
      code = read_bool(model, "use_parallel_residual", &config->parallel);
      two_norms = neox || !config->parallel;
      break;
    case NKI_PARALLEL_FALCON:
      two_norms = flag_of(model, "new_decoder_architecture", false);
      config->parallel = two_norms || flag_of(model, "parallel_attn", true);
      code = nki_model_config_integer(model, "num_ln_in_parallel_attn", &n_norms);
      if (code == NK_ENOTFOUND) code = NK_OK;
      two_norms = (two_norms && n_norms == 2) || !config->parallel;
      break;
  }
  config->absent[NKI_NORM2] = !two_norms;
  const char *key = architecture->qk_norm_key;
  bool qk_normed = key == NULL || flag_of(model, key, false);
  config->absent[NKI_Q_NORM] = config->absent[NKI_K_NORM] = !qk_normed;
  return code;
}

static int read_experts(const struct nk_model *model, const struct nki_architecture *architecture,
                        struct nki_config *config) {
  const size_t most = (size_t)1 << 24;
  if (architecture->names[NKI_ROUTER] == NULL) return NK_OK;
  config->expert_dim = config->shape.mlp_dim;
  int code = nki_need_size(model, NKI_SETTING_N_EXPERTS, 1u << 16, &config->n_experts);
  if (code == NK_OK) code = nki_need_size(model, NKI_SETTING_N_ACTIVE, 1u << 16, &config->n_active);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_EXPERT_DIM, 1, most, &config->expert_dim);
  if (code == NK_OK && architecture->names[NKI_SHARED_UP] != NULL)
    code = nki_need_size(model, NKI_SETTING_SHARED_DIM, most, &config->shared_dim);
  if (code != NK_OK) return code;
  if (config->n_active > config->n_experts)
    return nk_fail(NK_EDATA, "config.json: %s is %zu, more than the %zu experts",
                   nki_setting_key(model, NKI_SETTING_N_ACTIVE), config->n_active,
                   config->n_experts);
  return NK_OK;
}

int nki_config_read(const struct nk_model *model, struct nki_config *config,
                    const struct nki_architecture **out) {
  const char *type = nki_model_type(model);
  if (type == NULL)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: no config.json with a model_type: a forward pass needs the model's folder",
                   nk_model_name(model));
  const struct nki_architecture *architecture = nki_model_architecture(model);
  if (architecture == NULL || architecture->block == NULL)
    return nk_fail(NK_EUNSUPPORTED, "%s: architecture '%s' is not implemented",
                   nk_model_name(model), type);
  *config = (struct nki_config){
      .rms = architecture->norm != NKI_LAYER_NORM,
      .norm_plus_one = architecture->norm == NKI_RMS_NORM_PLUS_ONE,
      .input_norms = !architecture->no_input_norms,
      .in_out = architecture->in_out,
      .position_offset = architecture->position_offset,
      .qk_norm = architecture->qk_norm,
      .active_normed = nki_flag_value(model, architecture->active_normed),
      .experts_fused = architecture->experts_fused,
  };
  config->shape.architecture = architecture->type;
  int code = check_variants(model, architecture);
  if (code == NK_OK) code = read_shape(model, architecture, &config->shape);
  if (code == NK_OK) code = check_shape(model, &config->shape);
  if (code == NK_OK) code = read_activation(model, architecture, &config->activation);
  if (code == NK_OK) code = read_numbers(model, architecture, config);
  if (code == NK_OK) code = read_qkv(model, architecture, config);
  if (code == NK_OK) code = read_order(model, architecture, config);
  if (code == NK_OK) code = read_experts(model, architecture, config);
  if (code == NK_OK) code = nki_positions_read(model, architecture, config);
  if (code == NK_OK) code = read_layers(model, architecture, config);
  if (code != NK_OK) {
    nki_config_free(config);
    return nk_fail_in(code, "%s", nk_model_name(model));
  }
  *out = architecture;
  return NK_OK;
}

void nki_config_free(struct nki_config *config) {
  for (size_t i = 0; i < NKI_N_ROPES; i++) {
    nk_free(config->ropes[i].frequencies);
    config->ropes[i].frequencies = NULL;
  }
  nk_free(config->slopes);
  nk_free(config->layers);
  config->slopes = NULL;
  config->layers = NULL;
}
