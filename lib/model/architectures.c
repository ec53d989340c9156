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

/* Llama's block without the kind of its norms and its parts. */
#define LLAMA_BLOCK .block = "layers.%zu.", .final_norm = "norm", .norm_eps = 1e-6, LLAMA_ROTARY
#define LLAMA_ROTARY .rotary = NKI_ROTARY_HALVES, .rotary_part = 1.0

#define YES \
  { NULL, true }
#define BY_ATTENTION_BIAS \
  { "attention_bias", false }
#define BY_MLP_BIAS \
  { "mlp_bias", false }
/* Of q, k, v and o as attention_bias says, of the mlp as mlp_bias does. */
#define BIASES_BY_CONFIG                                                      \
  {                                                                           \
    [NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS, \
    [NKI_BIASED_MLP] = BY_MLP_BIAS                                            \
  }
#define BIASES_ALL                                                          \
  {                                                                         \
    [NKI_BIASED_NORMS] = YES, [NKI_BIASED_QKV] = YES, [NKI_BIASED_O] = YES, \
    [NKI_BIASED_MLP] = YES, [NKI_BIASED_QK_NORMS] = YES                     \
  }

#define LLAMA_HEADS                                                                         \
  [NKI_Q] = "self_attn.q_proj", [NKI_K] = "self_attn.k_proj", [NKI_V] = "self_attn.v_proj", \
  [NKI_O] = "self_attn.o_proj"
#define LLAMA_ATTENTION [NKI_NORM1] = "input_layernorm", LLAMA_HEADS
#define LLAMA_PARTS_WITHOUT_NORM \
  LLAMA_HEADS, [NKI_GATE] = "mlp.gate_proj", [NKI_UP] = "mlp.up_proj", [NKI_DOWN] = "mlp.down_proj"
#define LLAMA_PARTS [NKI_NORM1] = "input_layernorm", LLAMA_PARTS_WITHOUT_NORM

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
        .biases = BIASES_ALL,
        .in_out = true,
        .activation = "gelu_new",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 1024,
                [NKI_SETTING_DIM] = 768,
                [NKI_SETTING_N_LAYERS] = 12,
                [NKI_SETTING_N_HEADS] = 12,
            },
    },
    {
        .type = "gpt_neo",
        GPT2_MATRICES,
        .positions = "wpe",
        .tied = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "ln_1",
                [NKI_Q] = "attn.attention.q_proj",
                [NKI_K] = "attn.attention.k_proj",
                [NKI_V] = "attn.attention.v_proj",
                [NKI_O] = "attn.attention.out_proj",
                [NKI_NORM2] = "ln_2",
                [NKI_UP] = "mlp.c_fc",
                [NKI_DOWN] = "mlp.c_proj",
            },
        .final_norm = "ln_f",
        .norm_eps = 1e-5,
        .biases = {[NKI_BIASED_NORMS] = YES, [NKI_BIASED_O] = YES, [NKI_BIASED_MLP] = YES},
        .unscaled_attention = true,
        .window = NKI_WINDOW_GPT_NEO,
        .activation = "gelu_new",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_N_LAYERS] = 24,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_WINDOW] = 256,
            },
    },
    {
        .type = "gpt_bigcode",
        .gguf = "starcoder",
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
        .biases = BIASES_ALL,
        .qkv = NKI_QKV_BIGCODE,
        .activation = "gelu_pytorch_tanh",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 1024,
                [NKI_SETTING_DIM] = 768,
                [NKI_SETTING_N_LAYERS] = 12,
                [NKI_SETTING_N_HEADS] = 12,
            },
    },
    {
        .type = "gptj",
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
        .biases = {[NKI_BIASED_NORMS] = YES, [NKI_BIASED_MLP] = YES},
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
    {
        .type = "codegen",
        GPT2_MATRICES,
        .head_bias = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "ln_1",
                [NKI_QKV] = "attn.qkv_proj",
                [NKI_O] = "attn.out_proj",
                [NKI_UP] = "mlp.fc_in",
                [NKI_DOWN] = "mlp.fc_out",
            },
        .final_norm = "ln_f",
        .norm_eps = 1e-5,
        .biases = {[NKI_BIASED_NORMS] = YES, [NKI_BIASED_MLP] = YES},
        .qkv = NKI_QKV_CODEGEN,
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
    {
        .type = "mpt",
        .gguf = "mpt",
        GPT2_MATRICES,
        .tied = true,
        .block = "blocks.%zu.",
        .names =
            {
                [NKI_NORM1] = "norm_1",
                [NKI_QKV] = "attn.Wqkv",
                [NKI_O] = "attn.out_proj",
                [NKI_NORM2] = "norm_2",
                [NKI_UP] = "ffn.up_proj",
                [NKI_DOWN] = "ffn.down_proj",
            },
        .final_norm = "norm_f",
        .norm_eps = 1e-5,
        .alibi = NKI_ALIBI_MPT,
        .activation = "gelu",
        .gguf_clip = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_N_LAYERS] = 24,
                [NKI_SETTING_N_HEADS] = 16,
            },
    },
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
        .biases =
            {
                [NKI_BIASED_NORMS] = YES,
                [NKI_BIASED_QKV] = {"attention_bias", true},
                [NKI_BIASED_O] = {"attention_bias", true},
                [NKI_BIASED_MLP] = YES,
            },
        .qkv = NKI_QKV_BY_HEAD,
        .rotary = NKI_ROTARY_HALVES,
        .rotary_part = 0.25,
        .order = NKI_PARALLEL_NEOX,
        .activation = "gelu",
        .gguf_output = true,
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
        .biases = BIASES_ALL,
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
    {
        .type = "bloom",
        .gguf = "bloom",
        WORD_MATRICES,
        .tied = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_QKV] = "self_attention.query_key_value",
                [NKI_O] = "self_attention.dense",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_UP] = "mlp.dense_h_to_4h",
                [NKI_DOWN] = "mlp.dense_4h_to_h",
            },
        .final_norm = "ln_f",
        .embedding_norm = "word_embeddings_layernorm",
        .norm_eps = 1e-5,
        .biases = BIASES_ALL,
        .qkv = NKI_QKV_BY_HEAD,
        .alibi = NKI_ALIBI,
        .activation = "gelu_new",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 64,
                [NKI_SETTING_N_LAYERS] = 2,
                [NKI_SETTING_N_HEADS] = 8,
            },
    },
    {
        .type = "falcon",
        .gguf = "falcon",
        WORD_MATRICES,
        .tied = true,
        .block = "h.%zu.",
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_QKV] = "self_attention.query_key_value",
                [NKI_O] = "self_attention.dense",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_UP] = "mlp.dense_h_to_4h",
                [NKI_DOWN] = "mlp.dense_4h_to_h",
            },
        .other_names = {[NKI_NORM1] = "ln_attn", [NKI_NORM2] = "ln_mlp"},
        .final_norm = "ln_f",
        .norm_eps = 1e-5,
        .biases =
            {
                [NKI_BIASED_NORMS] = YES,
                [NKI_BIASED_QKV] = {"bias", false},
                [NKI_BIASED_O] = {"bias", false},
                [NKI_BIASED_MLP] = {"bias", false},
            },
        .qkv = NKI_QKV_FALCON,
        .alibi = NKI_ALIBI_FALCON,
        .rotary = NKI_ROTARY_HALVES,
        .rotary_part = 1.0,
        .order = NKI_PARALLEL_FALCON,
        .activation = "gelu",
        .gguf_names =
            {
                [NKI_NORM1] = "attn_norm_2",
                [NKI_NORM2] = "attn_norm",
            },
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 4544,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 71,
            },
    },
    {
        .type = "llama",
        .gguf = "llama",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = BIASES_BY_CONFIG,
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_wide_heads = true,
        .gguf_rope_lists = true,
        .gguf_biases = true,
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
        .gguf_wide_heads = true,
        .gguf_rope_lists = true,
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
    {
        .type = "mixtral",
        .gguf = "llama",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_ATTENTION,
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_ROUTER] = "block_sparse_moe.gate",
                [NKI_EXPERTS_GATE] = "block_sparse_moe.experts.%zu.w1",
                [NKI_EXPERTS_UP] = "block_sparse_moe.experts.%zu.w3",
                [NKI_EXPERTS_DOWN] = "block_sparse_moe.experts.%zu.w2",
            },
        .window = NKI_WINDOW,
        .activation = "silu",
        .active_normed = YES,
        .gguf_pairs = true,
        .gguf_wide_heads = true,
        .gguf_rope_lists = true,
        .gguf_normed = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 131072,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 14336,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 8,
                [NKI_SETTING_RMS_NORM_EPS] = 1e-5,
                [NKI_SETTING_ROTARY_BASE] = 1000000,
                [NKI_SETTING_N_EXPERTS] = 8,
                [NKI_SETTING_N_ACTIVE] = 2,
            },
    },
    {
        .type = "qwen2",
        .gguf = "qwen2",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = {[NKI_BIASED_QKV] = YES},
        .window = NKI_WINDOW_QWEN,
        .activation = "silu",
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
    {
        .type = "qwen2_moe",
        .gguf = "qwen2moe",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_PARTS,
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_ROUTER] = "mlp.gate",
                [NKI_EXPERTS_GATE] = "mlp.experts.%zu.gate_proj",
                [NKI_EXPERTS_UP] = "mlp.experts.%zu.up_proj",
                [NKI_EXPERTS_DOWN] = "mlp.experts.%zu.down_proj",
                [NKI_SHARED_GATE] = "mlp.shared_expert.gate_proj",
                [NKI_SHARED_UP] = "mlp.shared_expert.up_proj",
                [NKI_SHARED_DOWN] = "mlp.shared_expert.down_proj",
                [NKI_SHARED_SCALE] = "mlp.shared_expert_gate",
            },
        .biases = {[NKI_BIASED_QKV] = {"qkv_bias", true}},
        .window = NKI_WINDOW_QWEN_MOE,
        .activation = "silu",
        .active_normed = {"norm_topk_prob", false},
        .gguf_output = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 32768,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_MLP_DIM] = 5632,
                [NKI_SETTING_N_LAYERS] = 24,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_N_KV_HEADS] = 16,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_FIRST_WINDOWED] = 28,
                [NKI_SETTING_N_EXPERTS] = 60,
                [NKI_SETTING_N_ACTIVE] = 4,
                [NKI_SETTING_EXPERT_DIM] = 1408,
                [NKI_SETTING_SHARED_DIM] = 5632,
            },
    },
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
        .biases = BIASES_BY_CONFIG,
        .window = NKI_WINDOW_QWEN,
        .activation = "silu",
        .gguf_wide_heads = true,
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
    {
        .type = "qwen3_moe",
        .gguf = "qwen3moe",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_PARTS,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_ROUTER] = "mlp.gate",
                [NKI_EXPERTS_GATE] = "mlp.experts.%zu.gate_proj",
                [NKI_EXPERTS_UP] = "mlp.experts.%zu.up_proj",
                [NKI_EXPERTS_DOWN] = "mlp.experts.%zu.down_proj",
            },
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .window = NKI_WINDOW_FLAG,
        .activation = "silu",
        .active_normed = {"norm_topk_prob", false},
        .gguf_wide_heads = true,
        .gguf_normed = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 32768,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_MLP_DIM] = 6144,
                [NKI_SETTING_N_LAYERS] = 24,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 4,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_N_EXPERTS] = 128,
                [NKI_SETTING_N_ACTIVE] = 8,
                [NKI_SETTING_EXPERT_DIM] = 768,
            },
    },
    {
        .type = "olmo",
        .gguf = "olmo",
        LLAMA_MATRICES,
        .block = "layers.%zu.",
        LLAMA_ROTARY,
        .names = {LLAMA_PARTS_WITHOUT_NORM},
        .norm_eps = 1e-5,
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_clip = true,
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
        .type = "olmo2",
        .gguf = "olmo2",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .no_input_norms = true,
        .names =
            {
                LLAMA_PARTS_WITHOUT_NORM,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
                [NKI_NORM1_POST] = "post_attention_layernorm",
                [NKI_NORM2_POST] = "post_feedforward_layernorm",
            },
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .qk_norm = NKI_QK_NORM_WHOLE,
        .activation = "silu",
        .gguf_output = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 11008,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_RMS_NORM_EPS] = 1e-5,
            },
    },
    {
        .type = "stablelm",
        .gguf = "stablelm",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .names =
            {
                LLAMA_PARTS,
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_Q_NORM] = "self_attn.q_layernorm.norms.%zu",
                [NKI_K_NORM] = "self_attn.k_layernorm.norms.%zu",
            },
        .biases = {[NKI_BIASED_NORMS] = YES, [NKI_BIASED_QKV] = {"use_qkv_bias", false}},
        .qk_norm_key = "qk_layernorm",
        .qk_norm = NKI_QK_NORM_EACH,
        .order = NKI_PARALLEL_STABLELM,
        .activation = "silu",
        .gguf_output = true,
        .gguf_qk_norms = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 4096,
                [NKI_SETTING_DIM] = 2560,
                [NKI_SETTING_MLP_DIM] = 6912,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_N_KV_HEADS] = 32,
                [NKI_SETTING_LAYER_NORM_EPS] = 1e-5,
                [NKI_SETTING_ROTARY_PART] = 0.25,
            },
    },
    {
        .type = "gemma",
        .gguf = "gemma",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM_PLUS_ONE,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = BIASES_BY_CONFIG,
        .activation = "gelu_pytorch_tanh",
        .scaled_embedding = true,
        .gguf_wide_heads = true,
        .gguf_no_output = true,
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
        .biases = BIASES_BY_CONFIG,
        .window = NKI_WINDOW_ALTERNATING,
        .activation = "gelu_pytorch_tanh",
        .scaled_embedding = true,
        .gguf_wide_heads = true,
        .gguf_no_output = true,
        .gguf_windows = true,
        .gguf_wide_blocks = 46,
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
    {
        .type = "gemma3_text",
        .gguf = "gemma3",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM_PLUS_ONE,
        .names =
            {
                LLAMA_PARTS,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
                [NKI_NORM1_POST] = "post_attention_layernorm",
                [NKI_NORM2] = "pre_feedforward_layernorm",
                [NKI_NORM2_POST] = "post_feedforward_layernorm",
            },
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .rotated = NKI_ROTATED_BY_KIND,
        .window = NKI_WINDOW_PATTERN,
        .activation = "gelu_pytorch_tanh",
        .scaled_embedding = true,
        .gguf_wide_heads = true,
        .gguf_windows = true,
        .gguf_wide_blocks = 62,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 131072,
                [NKI_SETTING_DIM] = 2304,
                [NKI_SETTING_MLP_DIM] = 9216,
                [NKI_SETTING_N_LAYERS] = 26,
                [NKI_SETTING_N_HEADS] = 8,
                [NKI_SETTING_N_KV_HEADS] = 4,
                [NKI_SETTING_HEAD_DIM] = 256,
                [NKI_SETTING_QUERY_SCALAR] = 256,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_WINDOW_PATTERN] = 6,
                [NKI_SETTING_ROTARY_BASE] = 1000000,
            },
    },
    {
        .type = "cohere",
        .gguf = "command-r",
        LLAMA_MATRICES,
        .tied = true,
        .block = "layers.%zu.",
        .final_norm = "norm",
        .norm_eps = 1e-5,
        .rotary_part = 1.0,
        .names =
            {
                LLAMA_PARTS,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
            },
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .qk_norm_key = "use_qk_norm",
        .qk_norm = NKI_QK_NORM_EACH,
        .rotary = NKI_ROTARY_PAIRS,
        .order = NKI_PARALLEL,
        .activation = "silu",
        .gguf_no_output = true,
        .gguf_qk_norms = true,
        .gguf_normed_blocks = 64,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 8192,
                [NKI_SETTING_DIM] = 8192,
                [NKI_SETTING_MLP_DIM] = 22528,
                [NKI_SETTING_N_LAYERS] = 40,
                [NKI_SETTING_N_HEADS] = 64,
                [NKI_SETTING_LAYER_NORM_EPS] = 1e-5,
                [NKI_SETTING_LOGIT_SCALE] = 0.0625,
                [NKI_SETTING_ROTARY_BASE] = 500000,
            },
    },
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
                [NKI_Q_NORM] = "self_attn.q_layernorm",
                [NKI_K_NORM] = "self_attn.k_layernorm",
                [NKI_UP] = "mlp.fc1",
                [NKI_DOWN] = "mlp.fc2",
            },
        .final_norm = "final_layernorm",
        .norm_eps = 1e-5,
        .biases = BIASES_ALL,
        .rotary = NKI_ROTARY_HALVES,
        .rotary_part = 0.5,
        .qk_norm_key = "qk_layernorm",
        .order = NKI_PARALLEL,
        .activation = "gelu_new",
        .gguf_output = true,
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
        .gguf_rope_lists = true,
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
    {
        .type = "starcoder2",
        .gguf = "starcoder2",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .names =
            {
                [NKI_NORM1] = "input_layernorm",
                [NKI_Q] = "self_attn.q_proj",
                [NKI_K] = "self_attn.k_proj",
                [NKI_V] = "self_attn.v_proj",
                [NKI_O] = "self_attn.o_proj",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_UP] = "mlp.c_fc",
                [NKI_DOWN] = "mlp.c_proj",
            },
        .biases =
            {
                [NKI_BIASED_NORMS] = YES,
                [NKI_BIASED_QKV] = {"use_bias", true},
                [NKI_BIASED_O] = {"use_bias", true},
                [NKI_BIASED_MLP] = {"use_bias", true},
            },
        .window = NKI_WINDOW,
        .activation = "gelu_pytorch_tanh",
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 4096,
                [NKI_SETTING_DIM] = 3072,
                [NKI_SETTING_MLP_DIM] = 12288,
                [NKI_SETTING_N_LAYERS] = 30,
                [NKI_SETTING_N_HEADS] = 24,
                [NKI_SETTING_N_KV_HEADS] = 2,
                [NKI_SETTING_LAYER_NORM_EPS] = 1e-5,
            },
    },
    {
        .type = "granite",
        .gguf = "granite",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = BIASES_BY_CONFIG,
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_wide_heads = true,
        .gguf_rope_lists = true,
        .gguf_biases = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 2048,
                [NKI_SETTING_DIM] = 4096,
                [NKI_SETTING_MLP_DIM] = 11008,
                [NKI_SETTING_N_LAYERS] = 32,
                [NKI_SETTING_N_HEADS] = 32,
                [NKI_SETTING_ATTENTION_SCALE] = 1,
                [NKI_SETTING_LOGIT_DIVISOR] = 1,
            },
    },
    {
        .type = "cohere2",
        .gguf = "cohere2",
        LLAMA_MATRICES,
        .tied = true,
        .block = "layers.%zu.",
        .final_norm = "norm",
        .norm_eps = 1e-5,
        .rotary_part = 1.0,
        .names = {LLAMA_PARTS},
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .rotary = NKI_ROTARY_PAIRS,
        .rotated = NKI_ROTATED_WINDOWED,
        .order = NKI_PARALLEL,
        .window = NKI_WINDOW_PATTERN,
        .activation = "silu",
        .gguf_no_output = true,
        .gguf_windows = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 8192,
                [NKI_SETTING_DIM] = 8192,
                [NKI_SETTING_MLP_DIM] = 22528,
                [NKI_SETTING_N_LAYERS] = 40,
                [NKI_SETTING_N_HEADS] = 64,
                [NKI_SETTING_LAYER_NORM_EPS] = 1e-5,
                [NKI_SETTING_LOGIT_SCALE] = 0.0625,
                [NKI_SETTING_WINDOW] = 4096,
                [NKI_SETTING_WINDOW_PATTERN] = 4,
            },
    },
    {
        .type = "smollm3",
        .gguf = "smollm3",
        LLAMA_MATRICES,
        .tied = true,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names = {LLAMA_PARTS, [NKI_NORM2] = "post_attention_layernorm"},
        .biases = BIASES_BY_CONFIG,
        .rotated = NKI_ROTATED_LISTED,
        .window = NKI_WINDOW_SMOLLM,
        .activation = "silu",
        .gguf_pairs = true,
        .gguf_wide_heads = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 32768,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_MLP_DIM] = 11008,
                [NKI_SETTING_N_LAYERS] = 36,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_N_KV_HEADS] = 4,
                [NKI_SETTING_ROTARY_BASE] = 2000000,
            },
    },
    {
        .type = "olmoe",
        .gguf = "olmoe",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_ATTENTION,
                [NKI_Q_NORM] = "self_attn.q_norm",
                [NKI_K_NORM] = "self_attn.k_norm",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_ROUTER] = "mlp.gate",
                [NKI_EXPERTS_GATE] = "mlp.experts.%zu.gate_proj",
                [NKI_EXPERTS_UP] = "mlp.experts.%zu.up_proj",
                [NKI_EXPERTS_DOWN] = "mlp.experts.%zu.down_proj",
            },
        .biases = {[NKI_BIASED_QKV] = BY_ATTENTION_BIAS, [NKI_BIASED_O] = BY_ATTENTION_BIAS},
        .qk_norm = NKI_QK_NORM_WHOLE,
        .activation = "silu",
        .active_normed = {"norm_topk_prob", false},
        .gguf_all_keys = true,
        .gguf_output = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 4096,
                [NKI_SETTING_DIM] = 2048,
                [NKI_SETTING_MLP_DIM] = 2048,
                [NKI_SETTING_N_LAYERS] = 16,
                [NKI_SETTING_N_HEADS] = 16,
                [NKI_SETTING_N_KV_HEADS] = 16,
                [NKI_SETTING_RMS_NORM_EPS] = 1e-5,
                [NKI_SETTING_N_EXPERTS] = 64,
                [NKI_SETTING_N_ACTIVE] = 8,
            },
    },
    {
        .type = "gpt_oss",
        .gguf = "gpt-oss",
        LLAMA_MATRICES,
        LLAMA_BLOCK,
        .norm = NKI_RMS_NORM,
        .names =
            {
                LLAMA_ATTENTION,
                [NKI_SINKS] = "self_attn.sinks",
                [NKI_NORM2] = "post_attention_layernorm",
                [NKI_ROUTER] = "mlp.router",
                [NKI_EXPERTS_GATE_UP] = "mlp.experts.gate_up_proj",
                [NKI_EXPERTS_DOWN] = "mlp.experts.down_proj",
            },
        .biases =
            {
                [NKI_BIASED_QKV] = {"attention_bias", true},
                [NKI_BIASED_O] = {"attention_bias", true},
                [NKI_BIASED_EXPERTS] = YES,
            },
        .window = NKI_WINDOW_ALTERNATING,
        .activation = "clamped_swiglu",
        .active_normed = YES,
        .experts_fused = true,
        .rope_type = "yarn",
        .yarn_exact = true,
        .gguf_names =
            {
                [NKI_NORM2] = "post_attention_norm",
            },
        .gguf_wide_heads = true,
        .gguf_output = true,
        .gguf_windows = true,
        .gguf_normed = true,
        .defaults =
            {
                [NKI_SETTING_N_POSITIONS] = 131072,
                [NKI_SETTING_DIM] = 2880,
                [NKI_SETTING_MLP_DIM] = 2880,
                [NKI_SETTING_N_LAYERS] = 36,
                [NKI_SETTING_N_HEADS] = 64,
                [NKI_SETTING_N_KV_HEADS] = 8,
                [NKI_SETTING_HEAD_DIM] = 64,
                [NKI_SETTING_RMS_NORM_EPS] = 1e-5,
                [NKI_SETTING_WINDOW] = 128,
                [NKI_SETTING_ROTARY_BASE] = 150000,
                [NKI_SETTING_ROPE_FACTOR] = 32,
                [NKI_SETTING_ROPE_ORIGINAL] = 4096,
                [NKI_SETTING_N_EXPERTS] = 128,
                [NKI_SETTING_N_ACTIVE] = 4,
            },
    },
    /* ---- The matrices alone ---- */
    {
        .type = "openai-gpt",
        .prefix = "transformer.",
        .embedding = "tokens_embed",
        .head = "lm_head",
        .positions = "positions_embed",
        .tied = true,
    },
    {
        .type = "ctrl",
        .prefix = "transformer.",
        .embedding = "w",
        .head = "lm_head",
        .tied = true,
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

/* A part that every family's block has. */
static const enum nki_part ANY_BLOCKS = NKI_O;

/* Whether the names of this model's tensors begin with prefix. */
static bool has_prefix(const struct nki_architecture *architecture, const struct nk_model *model,
                       const char *prefix) {
  char name[NKI_MAX_NAME];
  snprintf(name, sizeof name, "%s%s.weight", prefix, architecture->embedding);
  if (nki_model_look_up(model, name) != NULL) return true;
  if (architecture->block == NULL) return false;
  return nki_part_name(architecture, prefix, 0, ANY_BLOCKS, "weight", name) == NK_OK &&
         nki_model_look_up(model, name) != NULL;
}

/* The only prefix under which the file has this part of block 0, and the embedding where one of
 * several such blocks has it: wrappers are many. */
static bool find_prefix(const struct nki_architecture *architecture, const struct nk_model *model,
                        char prefix[NKI_MAX_PREFIX]) {
  char part[NKI_MAX_NAME], name[NKI_MAX_NAME + 64];
  size_t n_parts = 0, n_whole = 0;
  if (architecture->block == NULL ||
      nki_part_name(architecture, "", 0, ANY_BLOCKS, "weight", part) != NK_OK)
    return false;
  size_t n_end = strlen(part);
  for (size_t i = 0; i < model->n_tensors; i++) {
    const char *tensor = model->tensors[i]->name;
    size_t n = strlen(tensor);
    if (n <= n_end || n - n_end >= NKI_MAX_PREFIX || tensor[n - n_end - 1] != '.' ||
        strcmp(tensor + n - n_end, part) != 0)
      continue;
    snprintf(name, sizeof name, "%.*s%s.weight", (int)(n - n_end), tensor, architecture->embedding);
    bool is_whole = nki_model_look_up(model, name) != NULL;
    n_parts++;
    n_whole += is_whole;
    if (is_whole || n_whole == 0)
      snprintf(prefix, NKI_MAX_PREFIX, "%.*s", (int)(n - n_end), tensor);
  }
  return n_whole == 1 || (n_whole == 0 && n_parts == 1);
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

int nki_spell_part(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                   const char *part, size_t number, const char *suffix, char name[NKI_MAX_NAME]) {
  const char *at = strchr(architecture->block, '%'), *in_part = strchr(part, '%');
  size_t n_block = (size_t)(at - architecture->block);
  size_t n_part = in_part == NULL ? strlen(part) : (size_t)(in_part - part);
  char middle[32] = "";
  if (in_part != NULL) snprintf(middle, sizeof middle, "%zu", number);
  int n = snprintf(name, NKI_MAX_NAME, "%s%.*s%zu%s%.*s%s%s%s", prefix, (int)n_block,
                   architecture->block, layer, at + 3, (int)n_part, part, middle,
                   in_part == NULL ? "" : in_part + 3, suffix);
  if (n >= 0 && n < NKI_MAX_NAME) return NK_OK;
  return nk_fail(NK_EDATA, "the name of a tensor is too long: %s", name);
}

int nki_part_name(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                  enum nki_part part, const char *suffix, char name[NKI_MAX_NAME]) {
  char dotted[32];
  snprintf(dotted, sizeof dotted, ".%s", suffix);
  return nki_spell_part(architecture, prefix, layer, architecture->names[part], 0, dotted, name);
}

const char *nki_part_suffix(const struct nki_architecture *architecture, const char *name,
                            enum nki_part part, bool bias) {
  bool stacked =
      part >= NKI_EXPERTS_GATE_UP && part <= NKI_EXPERTS_DOWN && strchr(name, '%') == NULL;
  bool plain = !architecture->suffixed && (part == NKI_SINKS || stacked);
  if (plain) return bias ? "_bias" : "";
  return bias ? ".bias" : ".weight";
}

const char *nki_part_gguf_name(const struct nki_architecture *architecture, enum nki_part part,
                               bool alone) {
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
      [NKI_SINKS] = "attn_sinks",
      [NKI_ROUTER] = "ffn_gate_inp",
      [NKI_EXPERTS_GATE_UP] = "ffn_gate_up_exps",
      [NKI_EXPERTS_GATE] = "ffn_gate_exps",
      [NKI_EXPERTS_UP] = "ffn_up_exps",
      [NKI_EXPERTS_DOWN] = "ffn_down_exps",
      [NKI_SHARED_GATE] = "ffn_gate_shexp",
      [NKI_SHARED_UP] = "ffn_up_shexp",
      [NKI_SHARED_DOWN] = "ffn_down_shexp",
      [NKI_SHARED_SCALE] = "ffn_gate_inp_shexp",
  };
  const char *own = architecture->gguf_names[part];
  return own != NULL && !(part == NKI_NORM1 && alone) ? own : names[part];
}

/* The biases that a part's is among, NKI_N_BIASED for parts that have none. */
static enum nki_biased biases_of(enum nki_part part) {
  static const enum nki_biased groups[NKI_N_PARTS] = {
      [NKI_NORM1] = NKI_BIASED_NORMS,
      [NKI_QKV] = NKI_BIASED_QKV,
      [NKI_Q] = NKI_BIASED_QKV,
      [NKI_K] = NKI_BIASED_QKV,
      [NKI_V] = NKI_BIASED_QKV,
      [NKI_Q_NORM] = NKI_BIASED_QK_NORMS,
      [NKI_K_NORM] = NKI_BIASED_QK_NORMS,
      [NKI_SINKS] = NKI_N_BIASED,
      [NKI_O] = NKI_BIASED_O,
      [NKI_NORM1_POST] = NKI_BIASED_NORMS,
      [NKI_NORM2] = NKI_BIASED_NORMS,
      [NKI_GATE_UP] = NKI_BIASED_MLP,
      [NKI_GATE] = NKI_BIASED_MLP,
      [NKI_UP] = NKI_BIASED_MLP,
      [NKI_DOWN] = NKI_BIASED_MLP,
      [NKI_ROUTER] = NKI_BIASED_EXPERTS,
      [NKI_EXPERTS_GATE_UP] = NKI_BIASED_EXPERTS,
      [NKI_EXPERTS_GATE] = NKI_BIASED_EXPERTS,
      [NKI_EXPERTS_UP] = NKI_BIASED_EXPERTS,
      [NKI_EXPERTS_DOWN] = NKI_BIASED_EXPERTS,
      [NKI_SHARED_GATE] = NKI_N_BIASED,
      [NKI_SHARED_UP] = NKI_N_BIASED,
      [NKI_SHARED_DOWN] = NKI_N_BIASED,
      [NKI_SHARED_SCALE] = NKI_N_BIASED,
      [NKI_NORM2_POST] = NKI_BIASED_NORMS,
  };
  return groups[part];
}

bool nki_flag_value(const struct nk_model *model, struct nki_flag flag) {
  bool value = flag.otherwise;
  if (flag.key != NULL) nki_model_config_bool(model, flag.key, &value);
  return value;
}

bool nki_part_has_bias(const struct nki_architecture *architecture, const struct nk_model *model,
                       enum nki_part part) {
  enum nki_biased biases = biases_of(part);
  return biases != NKI_N_BIASED && nki_flag_value(model, architecture->biases[biases]);
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
