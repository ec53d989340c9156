/* The table of architectures: one row per family, with the names of its tensors in safetensors and
 * in GGUF and everything that config.json does not say. Finding matrices (nk-extract, nk-glitch),
 * the forward pass and the GGUF writer all read this table; a new family is a row of it. */
#ifndef NOKEN_MODEL_ARCHITECTURE_H
#define NOKEN_MODEL_ARCHITECTURE_H

#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/model_config.h"

/* The weights of a block. Each has a tensor NAME.weight and, by `biases`, a tensor NAME.bias; sinks
 * and experts in one matrix have NAME and NAME_bias. A name with a second %zu is of one tensor for
 * each expert or head. */
enum nki_part {
  NKI_NORM1,
  NKI_QKV, /* q, k and v in one matrix, laid out by `qkv` */
  NKI_Q,
  NKI_K,
  NKI_V,
  NKI_Q_NORM, /* of the heads, by `qk_norm` */
  NKI_K_NORM,
  NKI_SINKS, /* of each head, one score that no key has */
  NKI_O,
  NKI_NORM1_POST, /* of attention's output */
  NKI_NORM2,
  NKI_GATE_UP, /* gate above up in one matrix */
  NKI_GATE,
  NKI_UP,
  NKI_DOWN,
  NKI_ROUTER, /* here to NKI_SHARED_SCALE: of a mixture of experts, which has no mlp beside it */
  NKI_EXPERTS_GATE_UP, /* as NKI_GATE_UP, all experts in one tensor */
  NKI_EXPERTS_GATE,
  NKI_EXPERTS_UP,
  NKI_EXPERTS_DOWN,
  NKI_SHARED_GATE, /* an expert for all rows */
  NKI_SHARED_UP,
  NKI_SHARED_DOWN,
  NKI_SHARED_SCALE, /* its output is multiplied by the sigmoid of this product */
  NKI_NORM2_POST,   /* of the mlp's output */
  NKI_N_PARTS
};

enum nki_norm {
  NKI_LAYER_NORM,
  NKI_RMS_NORM,
  NKI_RMS_NORM_PLUS_ONE, /* multiplies by 1 + weight (Gemma); GGUF stores 1 + weight */
};

/* A truth that config.json gives under `key`, `otherwise` where it does not. */
struct nki_flag {
  const char *key; /* NULL: always `otherwise` */
  bool otherwise;
};

/* Parts that have biases, or not, together. */
enum nki_biased {
  NKI_BIASED_NORMS,
  NKI_BIASED_QKV,
  NKI_BIASED_QK_NORMS,
  NKI_BIASED_O,
  NKI_BIASED_MLP,
  NKI_BIASED_EXPERTS, /* and the router */
  NKI_N_BIASED
};

/* What a norm of q and k is of. */
enum nki_qk_norm {
  NKI_QK_NORM_HEADS, /* each head, one weight for all */
  NKI_QK_NORM_EACH,  /* each head, each with a weight of its own */
  NKI_QK_NORM_WHOLE, /* all heads together */
};

/* Rows of a fused q, k, v matrix. GGUF stores all of them as NKI_QKV_IN_TURN. */
enum nki_qkv {
  NKI_QKV_IN_TURN, /* all heads of q, then of k, then of v */
  NKI_QKV_BY_HEAD, /* [heads, (q, k, v), head_dim] (GPT-NeoX, BLOOM) */
  NKI_QKV_BIGCODE, /* by head, or with multi_query in turn, k and v of one head */
  NKI_QKV_FALCON,  /* as BIGCODE, or with new_decoder_architecture [kv heads, (q, .., k, v)] */
  NKI_QKV_CODEGEN, /* [4, (q, v, k), a quarter of the heads] */
};

enum nki_rotary {
  NKI_NO_ROTARY,
  NKI_ROTARY_HALVES, /* component i of a head is rotated with component i + rotary_dim / 2 */
  NKI_ROTARY_PAIRS,  /* component 2 i with component 2 i + 1 */
};

/* Layers whose heads are rotated. */
enum nki_rotated {
  NKI_ROTATED_ALL,
  NKI_ROTATED_BY_KIND,  /* all, those with a window by frequencies of their own (Gemma 3) */
  NKI_ROTATED_WINDOWED, /* those with a window (Cohere 2) */
  NKI_ROTATED_LISTED, /* as no_rope_layers says (1: rotated), else all but each fourth (SmolLM3) */
};

/* Linear biases by distance in place of positions (Press, Smith and Lewis 2022). */
enum nki_alibi {
  NKI_NO_ALIBI,
  NKI_ALIBI,
  NKI_ALIBI_MPT,    /* slopes of another order where the heads are not a power of two */
  NKI_ALIBI_FALCON, /* if `alibi`: no rotation then; products in bfloat16, scaled as scores are */
};

/* Of attention and mlp. */
enum nki_order {
  NKI_SERIAL,
  NKI_PARALLEL,
  NKI_PARALLEL_NEOX,     /* as use_parallel_residual says, parallel by default; two norms */
  NKI_PARALLEL_STABLELM, /* as use_parallel_residual says; one norm if it is true */
  NKI_PARALLEL_FALCON,   /* by parallel_attn and new_decoder_architecture */
};

/* Which layers attend within sliding_window, where layer_types does not say. */
enum nki_window {
  NKI_NO_WINDOW,
  NKI_WINDOW,             /* all */
  NKI_WINDOW_FLAG,        /* all if use_sliding_window */
  NKI_WINDOW_QWEN,        /* from max_window_layers on, if use_sliding_window */
  NKI_WINDOW_QWEN_MOE,    /* layers 0, 2, 4, .. below max_window_layers, if use_sliding_window */
  NKI_WINDOW_SMOLLM,      /* those that are not rotated, if use_sliding_window */
  NKI_WINDOW_ALTERNATING, /* layers 0, 2, 4, ... */
  NKI_WINDOW_PATTERN,     /* all but each sliding_window_pattern-th */
  NKI_WINDOW_GPT_NEO,     /* those that attention_layers or attention_types call "local" */
};

struct nki_architecture {
  const char *type; /* config.json's model_type */
  const char *gguf; /* general.architecture in GGUF; NULL: llama.cpp has no such architecture */

  /* ---- The matrices; names are without ".weight" and below any prefix ---- */
  const char *prefix;    /* the usual one, tried before the others that wrappers add */
  const char *embedding; /* the input matrix */
  const char *head;      /* the output matrix; the prefix may stand before it or not */
  const char *positions; /* NULL: none */
  bool tied;             /* when tie_word_embeddings is absent */
  bool head_bias;        /* the output matrix has a bias */

  /* ---- The blocks; `block` NULL: matrices can be found, a forward pass is not implemented ---- */
  const char *block;                    /* printf pattern of a block's prefix, "layers.%zu." */
  const char *names[NKI_N_PARTS];       /* NULL: no such part */
  const char *other_names[NKI_N_PARTS]; /* in other versions of the family, or NULL */
  bool suffixed; /* sinks and experts in one tensor have .weight and .bias too, as GGUF has them */
  const char *final_norm;     /* NULL: a norm without weights (OLMo) */
  const char *embedding_norm; /* of the input embeddings, or NULL */
  enum nki_norm norm;
  double norm_eps;     /* when the configuration does not say */
  bool no_input_norms; /* attention and mlp read the stream itself (OLMo 2) */
  struct nki_flag biases[NKI_N_BIASED];
  const char *qk_norm_key; /* on which the norms of q and k depend, false by default; NULL: none */
  enum nki_qk_norm qk_norm;
  bool in_out; /* matrices are [in, out], else [out, in] */
  enum nki_qkv qkv;
  enum nki_alibi alibi;
  enum nki_rotary rotary;
  enum nki_rotated rotated;
  double rotary_part; /* share of a head that is rotated when the configuration does not say */
  enum nki_order order;
  enum nki_window window;
  const char *activation;          /* when the configuration does not say */
  bool scaled_embedding;           /* by sqrt(dim) */
  bool unscaled_attention;         /* scores are not divided by sqrt(head_dim) (GPT-Neo) */
  size_t position_offset;          /* row of the position matrix that position 0 has */
  struct nki_flag active_normed;   /* the shares of the experts that a row has add up to 1 */
  bool experts_fused;              /* rows of gate and up in turn, tensors [in, out] (gpt-oss) */
  double defaults[NKI_N_SETTINGS]; /* of Transformers' class, for settings that config.json leaves
                                      out; 0: none */

  const char *rope_type; /* where config.json has no object of rotary positions; NULL:
                                      "default" (gpt-oss: "yarn", with `defaults`) */
  bool yarn_exact;       /* the bounds of YaRN's blend are not rounded, if rope_type is
                                      taken, and in GGUF, which does not say */

  /* ---- GGUF, as llama.cpp has it; families that have a block and `gguf` are written ---- */
  bool gguf_pairs; /* q and k are stored for rotation in pairs (nki_tensor_widen_pairs) */
  const char *gguf_names[NKI_N_PARTS]; /* those that are not nki_part_gguf_name's */
  /* What llama.cpp's implementation of the family has. */
  bool gguf_biases;          /* of attention and mlp where the file has them; else as by default */
  bool gguf_output;          /* an output matrix is required, a tied one too */
  bool gguf_no_output;       /* the output matrix is always the input matrix */
  bool gguf_clip;            /* q, k and v are clipped */
  bool gguf_windows;         /* windows are kept to */
  bool gguf_normed;          /* the shares of active experts add up to 1 */
  bool gguf_rope_lists;      /* lists that scale rotary frequencies one by one */
  bool gguf_wide_heads;      /* heads of any width; else together they are as wide as the stream */
  bool gguf_all_keys;        /* as many heads of k and v as of q */
  bool gguf_qk_norms;        /* norms of q and k that depend on the configuration */
  size_t gguf_normed_blocks; /* with so many blocks or more such norms are expected, with fewer they
                                are not; 0: as the file has them (Command R: 64) */
  size_t gguf_wide_blocks;   /* of the one model whose attention is scaled by dim / heads, not by a
                                head's width (Gemma 2: 46, Gemma 3: 62) */
};

/* The table, [nki_n_architectures]. */
extern const struct nki_architecture nki_architectures[];
extern const size_t nki_n_architectures;

/* The row of a model_type (NULL: none is known), or NULL without an error. */
const struct nki_architecture *nki_architecture_find(const char *type);

/* ---- Names ---- */

enum { NKI_MAX_NAME = 256, NKI_MAX_PREFIX = 128 };

/* Names of the three matrices to try, in this order, in a model of unknown architecture; each list
 * ends with NULL. */
extern const char *const nki_usual_names[3][8];

/* Prefixes that model classes and wrappers add to all names: "", "model.", ... [nki_n_prefixes]. */
extern const char *const nki_prefixes[];
extern const size_t nki_n_prefixes;

/* The prefix of this model's names: the first, from the architecture's own on, under which its
 * embedding or attention's last product in block 0 is found; else what precedes these names in the
 * file, where that is one prefix. False without an error when there is none. */
bool nki_architecture_prefix(const struct nki_architecture *architecture,
                             const struct nk_model *model, char prefix[NKI_MAX_PREFIX]);

/* name = "PREFIX BLOCK PART.SUFFIX", as "model." "layers.3." "mlp.up_proj" ".weight". Returns NK_OK
 * or NK_EDATA (longer than NKI_MAX_NAME). */
int nki_part_name(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                  enum nki_part part, const char *suffix, char name[NKI_MAX_NAME]);
/* The same of a part under another name, such as one of other_names, with the number of an expert
 * or head where it has a place for one; the suffix has its dot. */
int nki_spell_part(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                   const char *part, size_t number, const char *suffix, char name[NKI_MAX_NAME]);
/* What follows the part's name in safetensors: ".weight" and ".bias", or "" and "_bias". */
const char *nki_part_suffix(const struct nki_architecture *architecture, const char *name,
                            enum nki_part part, bool bias);

/* The part's name in GGUF below "blk.N.", without ".weight": "ffn_up"; `alone` where a family that
 * may have a norm of its own for attention and mlp has one for both. */
const char *nki_part_gguf_name(const struct nki_architecture *architecture, enum nki_part part,
                               bool alone);

/* The value of a flag in this model. */
bool nki_flag_value(const struct nk_model *model, struct nki_flag flag);

/* True when the part has a bias in this model. */
bool nki_part_has_bias(const struct nki_architecture *architecture, const struct nk_model *model,
                       enum nki_part part);

/* The tensor `name` (with its ".weight" or ".bias") of n_dims dimensions under one of the prefixes,
 * else the only one whose name ends so. NULL without an error. */
const struct nk_tensor *nki_model_named(const struct nk_model *model, const char *name,
                                        size_t n_dims);

#endif
