/* The table of architectures. */
#include "model/architecture.h"

#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "model/model_config.h"

/* ---- What families share ---- */

#define GPT2_MATRICES .embedding = "wte", .head = "lm_head", .prefix = "transformer."
#define LLAMA_MATRICES .embedding = "embed_tokens", .head = "lm_head", .prefix = "model."
#define WORD_MATRICES .embedding = "word_embeddings", .head = "lm_head", .prefix = "transformer."

/* Llama's block without its norm and its parts. */
#define LLAMA_BLOCK                                                                            \
  .block = "layers.%zu.", .final_norm = "norm", .norm_eps = 1e-6, .rotary = NKI_ROTARY_HALVES, \
  .rotary_part = 1.0

#define LLAMA_PARTS                                                                            \
  [NKI_NORM1] = "input_layernorm", [NKI_Q] = "self_attn.q_proj", [NKI_K] = "self_attn.k_proj", \
  [NKI_V] = "self_attn.v_proj", [NKI_O] = "self_attn.o_proj", [NKI_GATE] = "mlp.gate_proj",    \
  [NKI_UP] = "mlp.up_proj", [NKI_DOWN] = "mlp.down_proj"

/* ---- The table ---- */

const struct nki_architecture nki_architectures[] = {
    {
        .type = "gpt2",
        .gguf = "gpt2",
        GPT2_MATRICES,
        .positions = "wpe",
        .tied = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "ln_1",
                [NKI_QKV] = "attn.c_attn",
                [NKI_O] = "attn.c_proj",
                [NKI_NORM2] = "ln_2",
                [NKI_UP] = "mlp.c_fc",
                [NKI_DOWN] = "mlp.c_proj",
            },
        .final_norm = "ln_f",
        .norm_eps = 1e-5,
        .biases = NKI_BIAS,
        .in_out = true,
        .activation = "gelu_new",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 1024,
                [NKI_SETTING_DIM] = 768,
                [NKI_SETTING_N_LAYERS] = 12,
                [NKI_SETTING_N_HEADS] = 12,
            },
    },
    {.type = "gpt_neo", GPT2_MATRICES, .positions = "wpe", .tied = true},
    {.type = "gpt_bigcode", .gguf = "starcoder", GPT2_MATRICES, .positions = "wpe", .tied = true},
    {
        .type = "gptj",
        .gguf = "gptj",
        GPT2_MATRICES,
        .head_bias = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "ln_1",
                [NKI_Q] = "attn.q_proj",
                [NKI_K] = "attn.k_proj",
                [NKI_V] = "attn.v_proj",
                [NKI_O] = "attn.out_proj",
                [NKI_UP] = "mlp.fc_in",
                [NKI_DOWN] = "mlp.fc_out",
            },
        .final_norm = "ln_f",
        .norm_eps = 1e-5,
        .biases = NKI_BIAS_NOT_QKVO,
        .rotary = NKI_ROTARY_PAIRS,
        .rotary_part = 1.0,
        .order = NKI_PARALLEL,
        .activation = "gelu_new",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_N_LAYERS] = 28,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_ROTARY_DIM] = 64,
            },
    },
    {.type = "codegen", GPT2_MATRICES},
    {.type = "mpt", .gguf = "mpt", GPT2_MATRICES, .tied = true},
    {
        .type = "gpt_neox",
        .gguf = "gptneox",
        .prefix = "gpt_neox.",
        .embedding = "embed_in",
        .head = "embed_out",
        .block = "layers.%zu.",
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_QKV] = "attention.query_key_value",
                [NKI_O] = "attention.dense",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_UP] = "mlp.dense_h_to_4h",
                [NKI_DOWN] = "mlp.dense_4h_to_h",
            },
        .final_norm = "final_layer_norm",
        .norm_eps = 1e-5,
        .biases = NKI_BIAS,
        .qkv = NKI_QKV_BY_HEAD,
        .rotary = NKI_ROTARY_HALVES,
        .rotary_part = 0.25,
        .order = NKI_PARALLEL_CONFIG,
        .activation = "gelu",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 6144,
                [NKI_SETTING_MLP_DIM] = 24576,
                [NKI_SETTING_N_LAYERS] = 44,
                [NKI_SETTING_N_HEADS] = 64,
            },
    },
    {
        .type = "opt",
        .prefix = "model.decoder.",
        .embedding = "embed_tokens",
        .head = "lm_head",
        .positions = "embed_positions",
        .tied = true,
        .block = "layers.%zu.",
        .names =
            {
                [NKI_NORM1] = "self_attn_layer_norm",
                [NKI_Q] = "self_attn.q_proj",
                [NKI_K] = "self_attn.k_proj",
                [NKI_V] = "self_attn.v_proj",
                [NKI_O] = "self_attn.out_proj",
                [NKI_NORM2] = "final_layer_norm",
                [NKI_UP] = "fc1",
                [NKI_DOWN] = "fc2",
            },
        .final_norm = "final_layer_norm",
        .norm_eps = 1e-5,
        .biases = NKI_BIAS,
        .activation = "relu",
        .position_offset = 2,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 768,
                [NKI_SETTING_MLP_DIM] = 3072,
                [NKI_SETTING_N_LAYERS] = 12,
                [NKI_SETTING_N_HEADS] = 12,
            },
    },
    {.type = "bloom", .gguf = "bloom", WORD_MATRICES, .tied = true},
    {.type = "falcon", .gguf = "falcon", WORD_MATRICES, .tied = true},
    {
        .type = "llama",
        .gguf = "llama",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = NKI_BIAS_CONFIG,
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 11008,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
            },
    },
    {
        .type = "mistral",
        .gguf = "llama",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .window = NKI_WINDOW,
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 131072,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 14336,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 8,
                [NKI_SETTING_WINDOW] = 4096,
            },
    },
    {.type = "mixtral", .gguf = "llama", LLAMA_MATRICES, .gguf_pairs = true},
    {
        .type = "qwen2",
        .gguf = "qwen2",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = NKI_BIAS_QKV,
        .window = NKI_WINDOW_QWEN,
        .activation = "silu",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 32768,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 22016,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 32,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_FIRST_WINDOWED] = 28,
            },
    },
    {.type = "qwen2_moe", .gguf = "qwen2moe", LLAMA_MATRICES},
    {
        .type = "qwen3",
        .gguf = "qwen3",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_PARTS,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
                [NKI_NORM2] = "post_attention_layernorm",
            },
        .biases = NKI_BIAS_CONFIG,
        .window = NKI_WINDOW_QWEN,
        .activation = "silu",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 32768,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 22016,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 32,
                [NKI_SETTING_HEAD_DIM] = 128,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_FIRST_WINDOWED] = 28,
            },
    },
    {.type = "qwen3_moe", .gguf = "qwen3moe", LLAMA_MATRICES},
    {.type = "olmo", .gguf = "olmo", LLAMA_MATRICES, .gguf_pairs = true},
    {.type = "olmo2", .gguf = "olmo2", LLAMA_MATRICES},
    {.type = "stablelm", .gguf = "stablelm", LLAMA_MATRICES},
    {
        .type = "gemma",
        .gguf = "gemma",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM_PLUS_ONE,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = NKI_BIAS_CONFIG,
        .activation = "gelu_pytorch_tanh",
        .scaled_embedding = true,
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 8192,
                [NKI_SETTING_DIM] = 3072,
                [NKI_SETTING_MLP_DIM] = 24576,
                [NKI_SETTING_N_LAYERS] = 28,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_N_KV_HEADS] = 16,
                [NKI_SETTING_HEAD_DIM] = 256,
            },
    },
    {
        .type = "gemma2",
        .gguf = "gemma2",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM_PLUS_ONE,
        .names =
            {
                LLAMA_PARTS,
                [NKI_NORM1_POST] = "post_attention_layernorm",
                [NKI_NORM2] = "pre_feedforward_layernorm",
                [NKI_NORM2_POST] = "post_feedforward_layernorm",
            },
        .biases = NKI_BIAS_CONFIG,
        .window = NKI_WINDOW_ALTERNATING,
        .activation = "gelu_pytorch_tanh",
        .scaled_embedding = true,
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 8192,
                [NKI_SETTING_DIM] = 2304,
                [NKI_SETTING_MLP_DIM] = 9216,
                [NKI_SETTING_N_LAYERS] = 26,
                [NKI_SETTING_N_HEADS] = 8,
                [NKI_SETTING_N_KV_HEADS] = 4,
                [NKI_SETTING_HEAD_DIM] = 256,
                [NKI_SETTING_QUERY_SCALAR] = 256,
                [NKI_SETTING_ATTENTION_CAP] = 50,
                [NKI_SETTING_LOGIT_CAP] = 30,
                [NKI_SETTING_WINDOW] = 4096,
            },
    },
    {.type = "gemma3", .gguf = "gemma3", LLAMA_MATRICES, .tied = true},
    {.type = "gemma3_text", .gguf = "gemma3", LLAMA_MATRICES, .tied = true},
    {.type = "cohere", .gguf = "command-r", LLAMA_MATRICES, .tied = true},
    {
        .type = "phi",
        .gguf = "phi2",
        LLAMA_MATRICES,
        .head_bias = true,
        .block = "layers.%zu.",
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_Q] = "self_attn.q_proj",
                [NKI_K] = "self_attn.k_proj",
                [NKI_V] = "self_attn.v_proj",
                [NKI_O] = "self_attn.dense",
                [NKI_UP] = "mlp.fc1",
                [NKI_DOWN] = "mlp.fc2",
            },
        .final_norm = "final_layernorm",
        .norm_eps = 1e-5,
        .biases = NKI_BIAS,
        .rotary = NKI_ROTARY_HALVES,
        .rotary_part = 0.5,
        .order = NKI_PARALLEL,
        .activation = "gelu_new",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_MLP_DIM] = 8192,
                [NKI_SETTING_N_LAYERS] = 24,
                [NKI_SETTING_N_HEADS] = 32,
            },
    },
    {
        .type = "phi3",
        .gguf = "phi3",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_QKV] = "self_attn.qkv_proj",
                [NKI_O] = "self_attn.o_proj",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_GATE_UP] = "mlp.gate_up_proj",
                [NKI_DOWN] = "mlp.down_proj",
            },
        .window = NKI_WINDOW,
        .activation = "silu",
        .gguf_written = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 4096,
                [NKI_SETTING_DIM] = 3072,
                [NKI_SETTING_MLP_DIM] = 8192,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_RMS_NORM_EPS] = 1e-05,
                [NKI_SETTING_ROPE_ORIGINAL] = 4096,
            },
    },
};
const size_t nki_n_architectures = sizeof nki_architectures / sizeof nki_architectures[0];

const struct nki_architecture *nki_architecture_find(const char *type) {
  for (size_t i = 0; type != NULL && i < nki_n_architectures; i++) {
    if (strcmp(nki_architectures[i].type, type) == 0) return &nki_architectures[i];
  }
  return NULL;
}

/* ---- Names ---- */

const char *const nki_usual_names[3][8] = {
    {"wte.weight", "embed_tokens.weight", "embed_in.weight", "word_embeddings.weight",
     "tok_embeddings.weight", "token_embedding.weight", "embeddings.weight", NULL},
    {"lm_head.weight", "embed_out.weight", "output.weight", "head.weight", "unembed.weight",
     "lm_head.linear.weight", NULL},
    {"wpe.weight", "embed_positions.weight", "position_embeddings.weight",
     "position_embedding.weight", NULL},
};

const char *const nki_prefixes[] = {
    "",
    "transformer.",
    "model.",
    "gpt_neox.",
    "model.decoder.",
    "decoder.",
    "language_model.",
    "language_model.model.",
    "model.language_model.",
    "language_model.transformer.",
    "language_model.model.decoder.",
    "model.text_model.",
    "text_model.model.",
    "text_model.",
    "backbone.",
};
const size_t nki_n_prefixes = sizeof nki_prefixes / sizeof nki_prefixes[0];

/* Whether the names of this model's tensors begin with prefix. */
static bool has_prefix(const struct nki_architecture *architecture, const struct nk_model *model,
                       const char *prefix) {
  char name[NKI_MAX_NAME];
  snprintf(name, sizeof name, "%s%s.weight", prefix, architecture->embedding);
  if (nki_model_look_up(model, name) != NULL) return true;
  if (architecture->block == NULL) return false;
  return nki_part_name(architecture, prefix, 0, NKI_NORM1, "weight", name) == NK_OK &&
         nki_model_look_up(model, name) != NULL;
}

/* The only prefix under which the file has a first norm of block 0, and the embedding where one of
 * several such blocks has it: wrappers are many. */
static bool find_prefix(const struct nki_architecture *architecture, const struct nk_model *model,
                        char prefix[NKI_MAX_PREFIX]) {
  char norm[NKI_MAX_NAME], name[NKI_MAX_NAME + 64];
  size_t n_norms = 0, n_whole = 0;
  if (architecture->block == NULL ||
      nki_part_name(architecture, "", 0, NKI_NORM1, "weight", norm) != NK_OK)
    return false;
  size_t n_end = strlen(norm);
  for (size_t i = 0; i < model->n_tensors; i++) {
    const char *tensor = model->tensors[i]->name;
    size_t n = strlen(tensor);
    if (n <= n_end || n - n_end >= NKI_MAX_PREFIX || tensor[n - n_end - 1] != '.' ||
        strcmp(tensor + n - n_end, norm) != 0)
      continue;
    snprintf(name, sizeof name, "%.*s%s.weight", (int)(n - n_end), tensor, architecture->embedding);
    bool is_whole = nki_model_look_up(model, name) != NULL;
    n_norms++;
    n_whole += is_whole;
    if (is_whole || n_whole == 0)
      snprintf(prefix, NKI_MAX_PREFIX, "%.*s", (int)(n - n_end), tensor);
  }
  return n_whole == 1 || (n_whole == 0 && n_norms == 1);
}

bool nki_architecture_prefix(const struct nki_architecture *architecture,
                             const struct nk_model *model, char prefix[NKI_MAX_PREFIX]) {
  snprintf(prefix, NKI_MAX_PREFIX, "%s", architecture->prefix);
  if (has_prefix(architecture, model, prefix)) return true;
  for (size_t i = 0; i < nki_n_prefixes; i++) {
    snprintf(prefix, NKI_MAX_PREFIX, "%s", nki_prefixes[i]);
    if (has_prefix(architecture, model, prefix)) return true;
  }
  return find_prefix(architecture, model, prefix);
}

int nki_part_name(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                  enum nki_part part, const char *suffix, char name[NKI_MAX_NAME]) {
  const char *number = strchr(architecture->block, '%');
  int n =
      snprintf(name, NKI_MAX_NAME, "%s%.*s%zu%s%s.%s", prefix, (int)(number - architecture->block),
               architecture->block, layer, number + 3, architecture->names[part], suffix);
  if (n >= 0 && n < NKI_MAX_NAME) return NK_OK;
  return nk_fail(NK_EDATA, "the name of a tensor is too long: %s", name);
}

const char *nki_part_gguf_name(enum nki_part part) {
  static const char *const names[NKI_N_PARTS] = {
      [NKI_NORM1] = "attn_norm",
      [NKI_QKV] = "attn_qkv",
      [NKI_Q] = "attn_q",
      [NKI_K] = "attn_k",
      [NKI_V] = "attn_v",
      [NKI_Q_NORM] = "attn_q_norm",
      [NKI_K_NORM] = "attn_k_norm",
      [NKI_O] = "attn_output",
      [NKI_NORM1_POST] = "post_attention_norm",
      [NKI_NORM2] = "ffn_norm",
      [NKI_GATE_UP] = "ffn_up",
      [NKI_GATE] = "ffn_gate",
      [NKI_UP] = "ffn_up",
      [NKI_DOWN] = "ffn_down",
      [NKI_NORM2_POST] = "post_ffw_norm",
  };
  return names[part];
}

bool nki_part_has_bias(const struct nki_architecture *architecture, const struct nk_model *model,
                       enum nki_part part) {
  bool qkv = part == NKI_QKV || part == NKI_Q || part == NKI_K || part == NKI_V;
  bool attention = qkv || part == NKI_O;
  bool flag = false;
  if (part == NKI_Q_NORM || part == NKI_K_NORM) return false;
  switch (architecture->biases) {
    case NKI_NO_BIAS:
      return false;
    case NKI_BIAS:
      flag = true;
      if (attention) nki_model_config_bool(model, "attention_bias", &flag); /* GPT-NeoX */
      return flag;
    case NKI_BIAS_NOT_QKVO:
      return !attention;
    case NKI_BIAS_QKV:
      return qkv;
    case NKI_BIAS_CONFIG:
      break;
  }
  if (attention) nki_model_config_bool(model, "attention_bias", &flag);
  if (part == NKI_GATE || part == NKI_UP || part == NKI_DOWN)
    nki_model_config_bool(model, "mlp_bias", &flag);
  return flag;
}

const struct nk_tensor *nki_model_named(const struct nk_model *model, const char *name,
                                        size_t n_dims) {
  char full[NKI_MAX_NAME];
  for (size_t i = 0; i < nki_n_prefixes; i++) {
    snprintf(full, sizeof full, "%s%s", nki_prefixes[i], name);
    const struct nk_tensor *tensor = nki_model_look_up(model, full);
    if (tensor != NULL && tensor->n_dims == n_dims) return tensor;
  }
  const struct nk_tensor *found = NULL;
  size_t n = strlen(name);
  for (size_t i = 0; i < model->n_tensors; i++) {
    const struct nk_tensor *tensor = model->tensors[i];
    size_t length = strlen(tensor->name);
    if (tensor->n_dims != n_dims || length <= n || tensor->name[length - n - 1] != '.' ||
        strcmp(tensor->name + length - n, name) != 0) {
      continue;
    }
    if (found != NULL) return NULL;
    found = tensor;
  }
  return found;
}
