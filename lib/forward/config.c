/* Reading config.json into what the blocks need. The architectures are rows of one table; what a
 * configuration says beyond them is read by one list of keys, and a value that is not implemented
 * is refused by its name. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include <noken/forward.h>
#include <noken/model.h>
#include "forward/family.h"

/* The names of Llama's kin. */
#define LLAMA_NAMES                                                                         \
  .prefixes = {"model.", ""}, .block = "layers.%zu.", .embedding = "embed_tokens",          \
  .final_norm = "norm", .head = "lm_head", .rms = true, .rotary = true, .rotary_part = 1.0, \
  .norm_eps = 1e-6

/* The order of initializers keeps a row's own names after the ones it shares. */
static const struct nki_family families[] = {
    {.type = "gpt2",
     .prefixes = {"", "transformer."},
     .block = "h.%zu.",
     .names = {[NKI_NORM1] = "ln_1",
               [NKI_QKV] = "attn.c_attn",
               [NKI_O] = "attn.c_proj",
               [NKI_NORM2] = "ln_2",
               [NKI_UP] = "mlp.c_fc",
               [NKI_DOWN] = "mlp.c_proj"},
     .embedding = "wte",
     .positions = "wpe",
     .final_norm = "ln_f",
     .head = "lm_head",
     .tied = true,
     .biases = NKI_BIAS,
     .in_out = true,
     .norm_eps = 1e-5,
     .activation = "gelu_new"},
    {.type = "gptj",
     .prefixes = {"transformer.", ""},
     .block = "h.%zu.",
     .names = {[NKI_NORM1] = "ln_1",
               [NKI_Q] = "attn.q_proj",
               [NKI_K] = "attn.k_proj",
               [NKI_V] = "attn.v_proj",
               [NKI_O] = "attn.out_proj",
               [NKI_UP] = "mlp.fc_in",
               [NKI_DOWN] = "mlp.fc_out"},
     .embedding = "wte",
     .final_norm = "ln_f",
     .head = "lm_head",
     .head_bias = true,
     .biases = NKI_BIAS_NOT_QKVO,
     .rotary = true,
     .rotary_pairs = true,
     .rotary_part = 1.0,
     .order = NKI_PARALLEL,
     .norm_eps = 1e-5,
     .activation = "gelu_new"},
    {.type = "gpt_neox",
     .prefixes = {"gpt_neox.", ""},
     .block = "layers.%zu.",
     .names = {[NKI_NORM1] = "input_layernorm",
               [NKI_QKV] = "attention.query_key_value",
               [NKI_O] = "attention.dense",
               [NKI_NORM2] = "post_attention_layernorm",
               [NKI_UP] = "mlp.dense_h_to_4h",
               [NKI_DOWN] = "mlp.dense_4h_to_h"},
     .embedding = "embed_in",
     .final_norm = "final_layer_norm",
     .head = "embed_out",
     .biases = NKI_BIAS,
     .heads_inside = true,
     .rotary = true,
     .rotary_part = 0.25,
     .order = NKI_PARALLEL_CONFIG,
     .norm_eps = 1e-5,
     .activation = "gelu"},
    {.type = "opt",
     .prefixes = {"model.decoder.", "decoder."},
     .block = "layers.%zu.",
     .names = {[NKI_NORM1] = "self_attn_layer_norm",
               [NKI_Q] = "self_attn.q_proj",
               [NKI_K] = "self_attn.k_proj",
               [NKI_V] = "self_attn.v_proj",
               [NKI_O] = "self_attn.out_proj",
               [NKI_NORM2] = "final_layer_norm",
               [NKI_UP] = "fc1",
               [NKI_DOWN] = "fc2"},
     .embedding = "embed_tokens",
     .positions = "embed_positions",
     .final_norm = "final_layer_norm",
     .head = "lm_head",
     .tied = true,
     .biases = NKI_BIAS,
     .position_offset = 2,
     .norm_eps = 1e-5,
     .activation = "relu"},
#define LLAMA_PARTS                                                                            \
  [NKI_NORM1] = "input_layernorm", [NKI_Q] = "self_attn.q_proj", [NKI_K] = "self_attn.k_proj", \
  [NKI_V] = "self_attn.v_proj", [NKI_O] = "self_attn.o_proj", [NKI_GATE] = "mlp.gate_proj",    \
  [NKI_UP] = "mlp.up_proj", [NKI_DOWN] = "mlp.down_proj"
    {.type = "llama",
     .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
     .biases = NKI_BIAS_CONFIG,
     .activation = "silu",
     LLAMA_NAMES},
    {.type = "mistral",
     .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
     .window = NKI_WINDOW,
     .activation = "silu",
     LLAMA_NAMES},
    {.type = "qwen2",
     .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
     .biases = NKI_BIAS_QKV,
     .window = NKI_WINDOW_QWEN,
     .activation = "silu",
     LLAMA_NAMES},
    {.type = "qwen3",
     .names = {LLAMA_PARTS, [NKI_Q_NORM] = "self_attn.q_norm", [NKI_K_NORM] = "self_attn.k_norm",
               [NKI_NORM2] = "post_attention_layernorm"},
     .biases = NKI_BIAS_CONFIG,
     .window = NKI_WINDOW_QWEN,
     .activation = "silu",
     LLAMA_NAMES},
    {.type = "gemma",
     .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
     .tied = true,
     .biases = NKI_BIAS_CONFIG,
     .norm_plus_one = true,
     .scaled_embedding = true,
     .activation = "gelu_pytorch_tanh",
     LLAMA_NAMES},
    {.type = "gemma2",
     .names = {LLAMA_PARTS, [NKI_NORM1_POST] = "post_attention_layernorm",
               [NKI_NORM2] = "pre_feedforward_layernorm",
               [NKI_NORM2_POST] = "post_feedforward_layernorm"},
     .tied = true,
     .biases = NKI_BIAS_CONFIG,
     .norm_plus_one = true,
     .scaled_embedding = true,
     .window = NKI_WINDOW_ALTERNATING,
     .activation = "gelu_pytorch_tanh",
     LLAMA_NAMES},
    {.type = "phi",
     .prefixes = {"model.", ""},
     .block = "layers.%zu.",
     .names = {[NKI_NORM1] = "input_layernorm",
               [NKI_Q] = "self_attn.q_proj",
               [NKI_K] = "self_attn.k_proj",
               [NKI_V] = "self_attn.v_proj",
               [NKI_O] = "self_attn.dense",
               [NKI_UP] = "mlp.fc1",
               [NKI_DOWN] = "mlp.fc2"},
     .embedding = "embed_tokens",
     .final_norm = "final_layernorm",
     .head = "lm_head",
     .head_bias = true,
     .biases = NKI_BIAS,
     .rotary = true,
     .rotary_part = 0.5,
     .order = NKI_PARALLEL,
     .norm_eps = 1e-5,
     .activation = "gelu_new"},
    {.type = "phi3",
     .names = {[NKI_NORM1] = "input_layernorm",
               [NKI_QKV] = "self_attn.qkv_proj",
               [NKI_O] = "self_attn.o_proj",
               [NKI_NORM2] = "post_attention_layernorm",
               [NKI_GATE_UP] = "mlp.gate_up_proj",
               [NKI_DOWN] = "mlp.down_proj"},
     .window = NKI_WINDOW,
     .activation = "silu",
     LLAMA_NAMES},
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

const char *nk_forward_architecture(size_t index) {
  return index < N_FAMILIES ? families[index].type : NULL;
}

/* ---- Values under one of several names ---- */

/* One quantity, by the names that architectures give it in config.json. */
#define KEYS(...)         \
  (const char *const[]) { \
    __VA_ARGS__, NULL     \
  }

/* The value of the first of keys that is there, between least and most; NK_ENOTFOUND when none is:
 * *out is then as it was. */
static int read_size(const struct nk_model *model, const char *const *keys, size_t least,
                     size_t most, size_t *out) {
  for (; *keys != NULL; keys++) {
    int64_t value;
    int code = nk_model_config_integer(model, *keys, &value);
    if (code == NK_ENOTFOUND) continue;
    if (code != NK_OK) return code;
    if (value < (int64_t)least || value > (int64_t)most)
      return nk_fail(NK_EDATA, "config.json: %s is %lld, outside %zu to %zu", *keys,
                     (long long)value, least, most);
    *out = (size_t)value;
    return 0;
  }
  return NK_ENOTFOUND;
}

static int need_size(const struct nk_model *model, const char *const *keys, size_t most,
                     size_t *out) {
  int code = read_size(model, keys, 1, most, out);
  if (code == NK_ENOTFOUND) return nk_fail(NK_EDATA, "config.json: %s is missing", keys[0]);
  return code;
}

/* As read_size, a positive number; a missing one leaves *out and is no fault. */
static int read_number(const struct nk_model *model, const char *const *keys, double *out) {
  for (; *keys != NULL; keys++) {
    double value;
    int code = nk_model_config_number(model, *keys, &value);
    if (code == NK_ENOTFOUND) continue;
    if (code != NK_OK) return code;
    if (!(value > 0) || value > 1e12)
      return nk_fail(NK_EDATA, "config.json: %s is %g, not a positive number", *keys, value);
    *out = value;
    return 0;
  }
  return 0;
}

static int read_bool(const struct nk_model *model, const char *key, bool *out) {
  int code = nk_model_config_bool(model, key, out);
  return code == NK_ENOTFOUND ? 0 : code;
}

/* ---- What is refused ---- */

/* Values that change the arithmetic and are not implemented: a key, and the only value it may have
 * (as it may be missing). */
static int refuse_variants(const struct nk_model *model) {
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
  if (nk_model_config_string(model, "quantization_config", &method) == NK_ENOTFOUND) return 0;
  nk_model_config_string(model, "quantization_config.quant_method", &method);
  return nk_fail(NK_EUNSUPPORTED,
                 "config.json: quantization_config: a quantized checkpoint (%s) is not "
                 "implemented; use the F32, F16 or BF16 one",
                 method);
}

static int read_activation(const struct nk_model *model, const struct nki_family *family,
                           enum nki_activation *out) {
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
  const char *const *keys = family->scaled_embedding
                                ? KEYS("hidden_activation")
                                : KEYS("hidden_act", "activation_function", "hidden_activation");
  const char *name = family->activation;
  for (; *keys != NULL; keys++) {
    int code = nk_model_config_string(model, *keys, &name);
    if (code == NK_OK) break;
    if (code != NK_ENOTFOUND) return code;
  }
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcmp(name, known[i].name) == 0) {
      *out = known[i].value;
      return 0;
    }
  return nk_fail(NK_EUNSUPPORTED, "config.json: activation '%s' is not implemented", name);
}

/* ---- Rotary positions ---- */

/* The object that holds them has had two names. */
#define ROPE(key) "rope_scaling." key, "rope_parameters." key

/* Llama 3.1's change of frequencies: waves longer than the original context by low_freq_factor are
 * stretched by factor, those shorter by high_freq_factor stay, those between are blended. */
static int scale_llama3(const struct nk_model *model, struct nki_config *config) {
  double factor = 0, low = 0, high = 0, original = 0;
  int code = read_number(model, KEYS(ROPE("factor")), &factor);
  if (code == NK_OK) code = read_number(model, KEYS(ROPE("low_freq_factor")), &low);
  if (code == NK_OK) code = read_number(model, KEYS(ROPE("high_freq_factor")), &high);
  if (code == NK_OK)
    code = read_number(model, KEYS(ROPE("original_max_position_embeddings")), &original);
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
  return 0;
}

/* Phi-3's longrope: each frequency is divided by a factor of its own, one list for sequences within
 * the original context and one for longer ones; the rotation is amplified. A choice by length would
 * make a position's value depend on how long its batch is, so only the original context is run. */
static int scale_longrope(const struct nk_model *model, struct nki_config *config) {
  struct nk_forward_shape *shape = &config->shape;
  size_t original = 0;
  int code = need_size(
      model, KEYS("original_max_position_embeddings", ROPE("original_max_position_embeddings")),
      1u << 30, &original);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < config->rotary_dim / 2; i++) {
    double factor;
    code = nk_model_config_number_at(model, "rope_scaling.short_factor", i, &factor);
    if (code != NK_OK)
      code = nk_model_config_number_at(model, "rope_parameters.short_factor", i, &factor);
    if (code != NK_OK || !(factor > 0))
      return nk_fail(NK_EDATA, "config.json: rope_scaling.short_factor needs %zu positive numbers",
                     config->rotary_dim / 2);
    config->frequencies[i] /= factor;
  }
  double stretch = (double)shape->n_positions / (double)original;
  double amplitude = stretch <= 1 ? 1 : sqrt(1 + log(stretch) / log((double)original));
  code = read_number(model, KEYS(ROPE("attention_factor")), &amplitude);
  if (code != NK_OK) return code;
  config->rotary_amplitude = (float)amplitude;
  if (original < shape->n_positions) shape->n_positions = original;
  return 0;
}

static int scale_frequencies(const struct nk_model *model, struct nki_config *config) {
  static const char *const keys[] = {ROPE("rope_type"), ROPE("type")};
  const char *type = NULL;
  int code = NK_ENOTFOUND;
  for (size_t i = 0; i < sizeof keys / sizeof keys[0] && code == NK_ENOTFOUND; i++)
    code = nk_model_config_string(model, keys[i], &type);
  if (code == NK_ENOTFOUND) {
    double factor = 0;
    code = read_number(model, KEYS(ROPE("factor")), &factor);
    if (code != NK_OK || factor == 0) return code;
    return nk_fail(NK_EDATA, "config.json: rope_scaling has no rope_type");
  }
  if (code != NK_OK) return code;
  if (strcmp(type, "default") == 0) return 0;
  if (strcmp(type, "llama3") == 0) return scale_llama3(model, config);
  if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
    return scale_longrope(model, config);
  if (strcmp(type, "linear") != 0)
    return nk_fail(NK_EUNSUPPORTED, "config.json: rope type '%s' is not implemented", type);
  double factor = 0;
  code = read_number(model, KEYS(ROPE("factor")), &factor);
  if (code != NK_OK) return code;
  if (factor == 0) return nk_fail(NK_EDATA, "config.json: rope_scaling 'linear' has no factor");
  for (size_t i = 0; i < config->rotary_dim / 2; i++) config->frequencies[i] /= factor;
  return 0;
}

static int read_rotary(const struct nk_model *model, const struct nki_family *family,
                       struct nki_config *config) {
  config->rotary_amplitude = 1;
  if (!family->rotary) return 0;
  size_t head_dim = config->shape.head_dim;
  double part = family->rotary_part, base = 10000;
  int code = read_number(
      model, KEYS("rotary_pct", "partial_rotary_factor", ROPE("partial_rotary_factor")), &part);
  if (code == NK_OK)
    code = read_number(model, KEYS("rope_theta", "rotary_emb_base", ROPE("rope_theta")), &base);
  if (code != NK_OK) return code;
  config->rotary_dim = (size_t)((double)head_dim * part);
  code = read_size(model, KEYS("rotary_dim"), 1, head_dim, &config->rotary_dim);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  size_t n = config->rotary_dim;
  if (n == 0 || n > head_dim || n % 2 != 0)
    return nk_fail(NK_EDATA, "config.json: %zu of a head's %zu components cannot be rotated", n,
                   head_dim);
  config->rotary_pairs = family->rotary_pairs;
  config->frequencies = nk_alloc(n / 2, sizeof(double));
  if (config->frequencies == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n / 2; i++)
    config->frequencies[i] = pow(base, -2.0 * (double)i / (double)n);
  return scale_frequencies(model, config);
}

/* ---- Attention's window ---- */

static int read_windows(const struct nk_model *model, const struct nki_family *family,
                        struct nki_config *config) {
  size_t n_layers = config->shape.n_layers, window = 0, first = 0;
  config->windows = nk_calloc(n_layers, sizeof(size_t));
  if (config->windows == NULL) return NK_EMEMORY;
  int code = read_size(model, KEYS("sliding_window"), 1, (size_t)1 << 40, &window);
  if (code == NK_ENOTFOUND || family->window == NKI_NO_WINDOW) return 0;
  if (code != NK_OK) return code;
  if (family->window == NKI_WINDOW_QWEN) {
    bool use = false;
    code = read_bool(model, "use_sliding_window", &use);
    if (code != NK_OK || !use) return code;
    first = n_layers;
    code = read_size(model, KEYS("max_window_layers"), 0, (size_t)1 << 40, &first);
    if (code != NK_OK && code != NK_ENOTFOUND) return code;
  }
  for (size_t i = 0; i < n_layers; i++) {
    bool windowed = i >= first && (family->window != NKI_WINDOW_ALTERNATING || i % 2 == 0);
    const char *kind;
    code = nk_model_config_string_at(model, "layer_types", i, &kind);
    if (code == NK_OK) {
      windowed = strcmp(kind, "sliding_attention") == 0;
      if (!windowed && strcmp(kind, "full_attention") != 0)
        return nk_fail(NK_EUNSUPPORTED, "config.json: layer type '%s' is not implemented", kind);
    } else if (code != NK_ENOTFOUND) {
      return code;
    }
    if (windowed) config->windows[i] = window;
  }
  return 0;
}

/* ---- The whole ---- */

static int read_shape(const struct nk_model *model, struct nk_forward_shape *shape) {
  const size_t most = (size_t)1 << 24;
  int code = need_size(model, KEYS("hidden_size", "n_embd"), most, &shape->dim);
  if (code == NK_OK)
    code = need_size(model, KEYS("num_hidden_layers", "n_layer"), 1u << 16, &shape->n_layers);
  if (code == NK_OK)
    code = need_size(model, KEYS("num_attention_heads", "n_head"), most, &shape->n_heads);
  if (code == NK_OK)
    code = need_size(model, KEYS("max_position_embeddings", "n_positions", "n_ctx"),
                     (size_t)1 << 30, &shape->n_positions);
  if (code != NK_OK) return code;
  shape->n_kv_heads = shape->n_heads;
  shape->head_dim = shape->dim / shape->n_heads;
  shape->mlp_dim = 4 * shape->dim;
  code = read_size(model, KEYS("num_key_value_heads"), 1, most, &shape->n_kv_heads);
  if (code == NK_OK || code == NK_ENOTFOUND)
    code = read_size(model, KEYS("head_dim"), 1, most, &shape->head_dim);
  if (code == NK_OK || code == NK_ENOTFOUND)
    code =
        read_size(model, KEYS("intermediate_size", "n_inner", "ffn_dim"), 1, most, &shape->mlp_dim);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (shape->n_heads % shape->n_kv_heads != 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads cannot share %zu key heads",
                   shape->n_heads, shape->n_kv_heads);
  if (shape->head_dim == 0)
    return nk_fail(NK_EDATA, "config.json: %zu attention heads for %zu dimensions", shape->n_heads,
                   shape->dim);
  size_t projected = shape->dim; /* OPT-350m's embeddings are narrower than its stream */
  code = read_size(model, KEYS("word_embed_proj_dim"), 1, most, &projected);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (projected != shape->dim)
    return nk_fail(NK_EUNSUPPORTED, "config.json: word_embed_proj_dim %zu is not implemented",
                   projected);
  return 0;
}

static int read_numbers(const struct nk_model *model, const struct nki_family *family,
                        struct nki_config *config) {
  double eps = family->norm_eps, scalar = (double)config->shape.head_dim, cap = 0, final_cap = 0;
  bool scaled = true, parallel = true;
  int code = read_number(model, KEYS("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps"), &eps);
  if (code == NK_OK) code = read_number(model, KEYS("query_pre_attn_scalar"), &scalar);
  if (code == NK_OK) code = read_number(model, KEYS("attn_logit_softcapping"), &cap);
  if (code == NK_OK) code = read_number(model, KEYS("final_logit_softcapping"), &final_cap);
  if (code == NK_OK) code = read_bool(model, "scale_attn_weights", &scaled);
  if (code == NK_OK) code = read_bool(model, "use_parallel_residual", &parallel);
  if (code != NK_OK) return code;
  config->norm_eps = (float)eps;
  config->attention_scale = scaled ? (float)(1 / sqrt(scalar)) : 1;
  config->attention_cap = (float)cap;
  config->logit_cap = (float)final_cap;
  config->parallel =
      family->order == NKI_PARALLEL || (family->order == NKI_PARALLEL_CONFIG && parallel);
  config->embedding_scale = family->scaled_embedding ? sqrtf((float)config->shape.dim) : 1;
  return 0;
}

int nki_config_read(const struct nk_model *model, struct nki_config *config,
                    const struct nki_family **out) {
  const char *type = nk_model_type(model);
  if (type == NULL)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: no config.json with a model_type: a forward pass needs the model's folder",
                   nk_model_name(model));
  const struct nki_family *family = NULL;
  for (size_t i = 0; i < N_FAMILIES; i++)
    if (strcmp(type, families[i].type) == 0) family = &families[i];
  if (family == NULL)
    return nk_fail(NK_EUNSUPPORTED, "%s: architecture '%s' is not implemented",
                   nk_model_name(model), type);
  *config = (struct nki_config){.rms = family->rms,
                                .norm_plus_one = family->norm_plus_one,
                                .heads_inside = family->heads_inside,
                                .in_out = family->in_out,
                                .position_offset = family->position_offset};
  config->shape.architecture = family->type;
  int code = refuse_variants(model);
  if (code == NK_OK) code = read_shape(model, &config->shape);
  if (code == NK_OK) code = read_activation(model, family, &config->activation);
  if (code == NK_OK) code = read_numbers(model, family, config);
  if (code == NK_OK) code = read_rotary(model, family, config);
  if (code == NK_OK) code = read_windows(model, family, config);
  if (code != NK_OK) {
    nki_config_free(config);
    return nk_fail_in(code, "%s", nk_model_name(model));
  }
  *out = family;
  return 0;
}

void nki_config_free(struct nki_config *config) {
  nk_free(config->frequencies);
  nk_free(config->windows);
  config->frequencies = NULL;
  config->windows = NULL;
}
