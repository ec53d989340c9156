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
static int read_optional_size(const struct nk_model *model, enum nki_setting setting, size_t least,
                              size_t most, size_t *out) {
  int code = read_size(model, setting, least, most, out);
  return code == NK_ENOTFOUND ? NK_OK : code;
}

static int need_size(const struct nk_model *model, enum nki_setting setting, size_t most,
                     size_t *out) {
  int code = read_size(model, setting, 1, most, out);
  if (code != NK_ENOTFOUND) return code;
  return nk_fail(NK_EDATA, "config.json: %s is missing", nki_setting_key(model, setting));
}

/* A positive number; a missing one leaves *out and is not an error. */
static int read_number(const struct nk_model *model, enum nki_setting setting, double *out) {
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
static int check_variants(const struct nk_model *model) {
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
      {"qk_layernorm", false},
      {"alibi", false},
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
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: quantization_config: a quantized checkpoint (%s) is not "
                 "implemented; use the F32, F16 or BF16 one",
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
  };
  /* Gemma's published configurations say "gelu" where the model has its tanh form. */
  static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function"};
  const size_t n_keys = architecture->scaled_embedding ? 1 : 3;
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

/* ---- Rotary positions ---- */

/* Llama 3.1's change of frequencies: waves longer than the original context by low_freq_factor are
 * stretched by factor, those shorter by high_freq_factor stay, those between are blended. */
static int scale_llama3(const struct nk_model *model, struct nki_config *config) {
  double factor = 0, low = 0, high = 0, original = 0;
  int code = read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_ROPE_LOW, &low);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_ROPE_HIGH, &high);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_ROPE_ORIGINAL, &original);
  if (code != NK_OK) return code;
  if (factor == 0 || low == 0 || high <= low || original == 0)
    return nk_fail(NK_EDATA,
                   "config.json: rope_scaling 'llama3' needs factor, low_freq_factor, "
                   "high_freq_factor (the larger) and original_max_position_embeddings");
  for (size_t i = 0; i < config->rotary_dim / 2; i++) {
    double wave = 2 * M_PI / config->frequencies[i];
    double share = (original / wave - low) / (high - low); /* of the unscaled frequency */
    share = fmin(fmax(share, 0), 1);
    config->frequencies[i] *= share + (1 - share) / factor;
  }
  return NK_OK;
}

/* Phi-3's longrope: each frequency is divided by a factor of its own, one list for sequences within
 * the original context and one for longer ones; the rotation is amplified. A choice by length would
 * make a position's value depend on how long its batch is, so only the original context is run. */
static int scale_longrope(const struct nk_model *model, struct nki_config *config) {
  struct nk_forward_shape *shape = &config->shape;
  size_t original = 0;
  char path[64];
  snprintf(path, sizeof path, "%s.short_factor", nki_rope_object(model));
  int code = need_size(model, NKI_SETTING_ROPE_ORIGINAL, 1u << 30, &original);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < config->rotary_dim / 2; i++) {
    double factor;
    code = nki_model_config_number_at(model, path, i, &factor);
    if (code != NK_OK || !(factor > 0))
      return nk_fail(NK_EDATA, "config.json: %s needs %zu positive numbers", path,
                     config->rotary_dim / 2);
    config->frequencies[i] /= factor;
  }
  double stretch = (double)shape->n_positions / (double)original;
  double amplitude = stretch <= 1 ? 1 : sqrt(1 + log(stretch) / log((double)original));
  code = read_number(model, NKI_SETTING_ROPE_AMPLITUDE, &amplitude);
  if (code != NK_OK) return code;
  config->rotary_amplitude = (float)amplitude;
  if (original < shape->n_positions) shape->n_positions = original;
  return NK_OK;
}

static int scale_frequencies(const struct nk_model *model, struct nki_config *config) {
  const char *type;
  int code = nki_rope_type(model, &type);
  if (code == NK_ENOTFOUND) {
    double factor = 0;
    code = read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
    if (code != NK_OK || factor == 0) return code;
    return nk_fail(NK_EDATA, "config.json: rope_scaling has no rope_type");
  }
  if (code != NK_OK) return code;
  if (strcmp(type, "default") == 0) return NK_OK;
  if (strcmp(type, "llama3") == 0) return scale_llama3(model, config);
  if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
    return scale_longrope(model, config);
  if (strcmp(type, "linear") != 0)
    return nk_fail(NK_EUNSUPPORTED, "config.json: rope type '%s' is not implemented", type);
  double factor = 0;
  code = read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
  if (code != NK_OK) return code;
  if (factor == 0) return nk_fail(NK_EDATA, "config.json: rope_scaling 'linear' has no factor");
  for (size_t i = 0; i < config->rotary_dim / 2; i++) config->frequencies[i] /= factor;
  return NK_OK;
}

static int read_rotary(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  config->rotary_amplitude = 1;
  if (architecture->rotary == NKI_NO_ROTARY) return NK_OK;
  size_t head_dim = config->shape.head_dim;
  double part = architecture->rotary_part, base = 10000;
  int code = read_number(model, NKI_SETTING_ROTARY_PART, &part);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_ROTARY_BASE, &base);
  if (code != NK_OK) return code;
  config->rotary_dim = (size_t)((double)head_dim * part);
  code = read_optional_size(model, NKI_SETTING_ROTARY_DIM, 1, head_dim, &config->rotary_dim);
  if (code != NK_OK) return code;
  size_t n = config->rotary_dim;
  if (n == 0 || n > head_dim || n % 2 != 0)
    return nk_fail(NK_EDATA, "config.json: %zu of a head's %zu components cannot be rotated", n,
                   head_dim);
  config->rotary_pairs = architecture->rotary == NKI_ROTARY_PAIRS;
  config->frequencies = nk_alloc(n / 2, sizeof(double));
  if (config->frequencies == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n / 2; i++)
    config->frequencies[i] = pow(base, -2.0 * (double)i / (double)n);
  return scale_frequencies(model, config);
}

/* ---- Attention's window ---- */

static int read_windows(const struct nk_model *model, const struct nki_architecture *architecture,
                        struct nki_config *config) {
  size_t n_layers = config->shape.n_layers, window = 0, first = 0;
  config->windows = nk_calloc(n_layers, sizeof(size_t));
  if (config->windows == NULL) return NK_EMEMORY;
  int code = read_size(model, NKI_SETTING_WINDOW, 1, (size_t)1 << 40, &window);
  if (code == NK_ENOTFOUND || architecture->window == NKI_NO_WINDOW) return NK_OK;
  if (code != NK_OK) return code;
  if (architecture->window == NKI_WINDOW_QWEN) {
    bool use = false;
    code = read_bool(model, "use_sliding_window", &use);
    if (code != NK_OK || !use) return code;
    first = n_layers;
    code = read_optional_size(model, NKI_SETTING_FIRST_WINDOWED, 0, (size_t)1 << 40, &first);
    if (code != NK_OK) return code;
  }
  for (size_t i = 0; i < n_layers; i++) {
    bool windowed = i >= first && (architecture->window != NKI_WINDOW_ALTERNATING || i % 2 == 0);
    const char *kind;
    code = nki_model_config_string_at(model, "layer_types", i, &kind);
    if (code == NK_OK) {
      windowed = strcmp(kind, "sliding_attention") == 0;
      if (!windowed && strcmp(kind, "full_attention") != 0)
        return nk_fail(NK_EUNSUPPORTED, "config.json: layer type '%s' is not implemented", kind);
    } else if (code != NK_ENOTFOUND) {
      return code;
    }
    if (windowed) config->windows[i] = window;
  }
  return NK_OK;
}

/* ---- The whole ---- */

static int read_shape(const struct nk_model *model, struct nk_forward_shape *shape) {
  const size_t most = (size_t)1 << 24;
  int code = need_size(model, NKI_SETTING_DIM, most, &shape->dim);
  if (code == NK_OK) code = need_size(model, NKI_SETTING_N_LAYERS, 1u << 16, &shape->n_layers);
  if (code == NK_OK) code = need_size(model, NKI_SETTING_N_HEADS, most, &shape->n_heads);
  if (code == NK_OK)
    code = need_size(model, NKI_SETTING_N_POSITIONS, (size_t)1 << 30, &shape->n_positions);
  if (code != NK_OK) return code;
  shape->n_kv_heads = shape->n_heads;
  shape->head_dim = shape->dim / shape->n_heads;
  shape->mlp_dim = 4 * shape->dim;
  code = read_optional_size(model, NKI_SETTING_N_KV_HEADS, 1, most, &shape->n_kv_heads);
  if (code == NK_OK)
    code = read_optional_size(model, NKI_SETTING_HEAD_DIM, 1, most, &shape->head_dim);
  if (code == NK_OK)
    code = read_optional_size(model, NKI_SETTING_MLP_DIM, 1, most, &shape->mlp_dim);
  if (code != NK_OK) return code;
  if (shape->n_heads % shape->n_kv_heads != 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads cannot share %zu key heads",
                   shape->n_heads, shape->n_kv_heads);
  if (shape->head_dim == 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads for %zu dimensions", shape->n_heads,
                   shape->dim);
  size_t projected = shape->dim; /* OPT-350m's embeddings are narrower than its stream */
  code = read_optional_size(model, NKI_SETTING_PROJECTED_DIM, 1, most, &projected);
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
  double eps = architecture->norm_eps, scalar = (double)config->shape.head_dim, cap = 0,
         final_cap = 0;
  bool scaled = true, parallel = true;
  bool layer_norm = architecture->norm == NKI_LAYER_NORM;
  int code =
      read_number(model, layer_norm ? NKI_SETTING_LAYER_NORM_EPS : NKI_SETTING_RMS_NORM_EPS, &eps);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_QUERY_SCALAR, &scalar);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_ATTENTION_CAP, &cap);
  if (code == NK_OK) code = read_number(model, NKI_SETTING_LOGIT_CAP, &final_cap);
  if (code == NK_OK) code = read_bool(model, "scale_attn_weights", &scaled);
  if (code == NK_OK) code = read_bool(model, "use_parallel_residual", &parallel);
  if (code != NK_OK) return code;
  config->norm_eps = (float)eps;
  config->attention_scale = scaled ? (float)(1 / sqrt(scalar)) : 1;
  config->attention_cap = (float)cap;
  config->logit_cap = (float)final_cap;
  config->parallel = architecture->order == NKI_PARALLEL ||
                     (architecture->order == NKI_PARALLEL_CONFIG && parallel);
  config->embedding_scale = architecture->scaled_embedding ? sqrtf((float)config->shape.dim) : 1;
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
      .heads_inside = architecture->qkv == NKI_QKV_BY_HEAD,
      .in_out = architecture->in_out,
      .position_offset = architecture->position_offset,
  };
  config->shape.architecture = architecture->type;
  int code = check_variants(model);
  if (code == NK_OK) code = read_shape(model, &config->shape);
  if (code == NK_OK) code = check_shape(model, &config->shape);
  if (code == NK_OK) code = read_activation(model, architecture, &config->activation);
  if (code == NK_OK) code = read_numbers(model, architecture, config);
  if (code == NK_OK) code = read_rotary(model, architecture, config);
  if (code == NK_OK) code = read_windows(model, architecture, config);
  if (code != NK_OK) {
    nki_config_free(config);
    return nk_fail_in(code, "%s", nk_model_name(model));
  }
  *out = architecture;
  return NK_OK;
}

void nki_config_free(struct nki_config *config) {
  nk_free(config->frequencies);
  nk_free(config->windows);
  config->frequencies = NULL;
  config->windows = NULL;
}
