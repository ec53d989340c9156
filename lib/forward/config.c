/* Reading config.json into what the blocks need. The architecture's row of the table
 * (model/architecture.h) has what all its models share, config.json the rest; a value that is not
 * implemented is an error that names it. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "forward/internal.h"
#include "model/family.h"
#include "model/model.h"
#include "model/model_config.h"

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
  const char *name;
  int code = nki_activation_name(model, architecture, &name);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp(name, known[i].name) != 0) continue;
    *out = known[i].value;
    return NK_OK;
  }
  return nk_fail(NK_EUNSUPPORTED, "config.json: activation '%s' is not implemented", name);
}

/* ---- What differs from layer to layer ---- */

static int read_layer(const struct nk_model *model, const struct nki_architecture *architecture,
                      struct nki_config *config, size_t layer) {
  struct nki_layer_kind kind;
  int code = nki_read_layer_kind(model, architecture, layer, &kind);
  bool rotated = config->ropes[NKI_ROPE_FULL].dim > 0 && kind.rotated;
  bool local = architecture->rotated == NKI_ROTATED_BY_KIND && kind.window > 0;
  unsigned rope = local ? NKI_ROPE_LOCAL : NKI_ROPE_FULL;
  config->layers[layer] = (struct nki_layer){
      .window = kind.window, .rope = rotated ? rope : NKI_NO_ROPE, .sparse = kind.sparse};
  return code;
}

static int read_layers(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  config->layers = nk_calloc(config->shape.n_layers, sizeof *config->layers);
  if (config->layers == NULL) return NK_EMEMORY;
  int code = NK_OK;
  for (size_t i = 0; i < config->shape.n_layers && code == NK_OK; i++)
    code = read_layer(model, architecture, config, i);
  return code;
}

/* ---- The whole ---- */

/* How the rows of the fused q, k, v are grouped. */
static int read_qkv(const struct nk_model *model, const struct nki_architecture *architecture,
                    struct nki_config *config) {
  const struct nk_forward_shape *shape = &config->shape;
  config->qkv_groups = nki_qkv_groups(model, architecture, shape->n_kv_heads);
  config->qkv_value_second = architecture->qkv == NKI_QKV_CODEGEN;
  if (!config->qkv_value_second || shape->n_heads % 4 == 0) return NK_OK;
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
  shape->head_dim = shape->dim / shape->n_heads;
  shape->mlp_dim = 4 * shape->dim;
  code = nki_read_kv_heads(model, architecture, shape->n_heads, &shape->n_kv_heads);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_HEAD_DIM, 1, most, &shape->head_dim);
  if (code == NK_OK)
    code = nki_read_optional_size(model, NKI_SETTING_MLP_DIM, 1, most, &shape->mlp_dim);
  if (code != NK_OK) return code;
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
  int code = nki_model_config_bool(model, "scale_attn_weights", &scaled);
  if (code == NK_ENOTFOUND) code = NK_OK;
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

/* Attention and mlp in turn or side by side, and the parts that the configuration leaves out. */
static int read_order(const struct nk_model *model, const struct nki_architecture *architecture,
                      struct nki_config *config) {
  const char *key = architecture->qk_norm_key;
  bool two_norms;
  int code = nki_read_order(model, architecture, &config->parallel, &two_norms);
  config->absent[NKI_NORM2] = !two_norms;
  config->absent[NKI_Q_NORM] = config->absent[NKI_K_NORM] =
      key != NULL && !nki_flag_value(model, (struct nki_flag){key, false});
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
  int code = nki_check_variants(model, architecture);
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
