/* The table of architectures: one row per family, with the names of its tensors in safetensors and
 * in GGUF and everything that config.json does not say. Finding matrices (nk-extract, nk-glitch),
 * the forward pass and the GGUF writer all read this table; a new family is a row of it. */
#ifndef NOKEN_MODEL_ARCHITECTURE_H
#define NOKEN_MODEL_ARCHITECTURE_H

#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>

#include "model/model_config.h"

/* The weights of a block. Each has a tensor NAME.weight and, by `biases`, a tensor NAME.bias. */
enum nki_part {
  NKI_NORM1,
  NKI_QKV, /* q, k and v in one matrix, laid out by `qkv` */
  NKI_Q,
  NKI_K,
  NKI_V,
  NKI_Q_NORM, /* of each head */
  NKI_K_NORM,
  NKI_O,
  NKI_NORM1_POST, /* of attention's output */
  NKI_NORM2,
  NKI_GATE_UP, /* gate above up in one matrix */
  NKI_GATE,
  NKI_UP,
  NKI_DOWN,
  NKI_NORM2_POST, /* of the mlp's output */
  NKI_N_PARTS
};

enum nki_norm {
  NKI_LAYER_NORM,
  NKI_RMS_NORM,
  NKI_RMS_NORM_PLUS_ONE, /* multiplies by 1 + weight (Gemma); GGUF stores 1 + weight */
};

enum nki_bias {
  NKI_NO_BIAS,
  NKI_BIAS,          /* on every part of the block but q and k norms */
  NKI_BIAS_NOT_QKVO, /* on every part but attention's products (GPT-J) */
  NKI_BIAS_QKV,      /* on q, k, v only (Qwen2) */
  NKI_BIAS_CONFIG,   /* as attention_bias and mlp_bias say */
};

/* Rows of a fused q, k, v matrix. GGUF stores all of them as NKI_QKV_IN_TURN. */
enum nki_qkv {
  NKI_QKV_IN_TURN, /* all heads of q, then of k, then of v */
  NKI_QKV_BY_HEAD, /* [heads, (q, k, v), head_dim] (GPT-NeoX) */
};

enum nki_rotary {
  NKI_NO_ROTARY,
  NKI_ROTARY_HALVES, /* component i of a head is rotated with component i + rotary_dim / 2 */
  NKI_ROTARY_PAIRS,  /* component 2 i with component 2 i + 1 */
};

/* Of attention and mlp. */
enum nki_order {
  NKI_SERIAL,
  NKI_PARALLEL,
  NKI_PARALLEL_CONFIG, /* as use_parallel_residual says, parallel by default */
};

/* Which layers attend within sliding_window, where layer_types does not say. */
enum nki_window {
  NKI_NO_WINDOW,
  NKI_WINDOW,             /* all */
  NKI_WINDOW_QWEN,        /* from max_window_layers on, if use_sliding_window */
  NKI_WINDOW_ALTERNATING, /* layers 0, 2, 4, ... */
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
  const char *block;              /* printf pattern of a block's prefix, "layers.%zu." */
  const char *names[NKI_N_PARTS]; /* NULL: no such part */
  const char *final_norm;
  enum nki_norm norm;
  double norm_eps; /* when the configuration does not say */
  enum nki_bias biases;
  bool in_out; /* matrices are [in, out], else [out, in] */
  enum nki_qkv qkv;
  enum nki_rotary rotary;
  double rotary_part; /* share of a head that is rotated when the configuration does not say */
  enum nki_order order;
  enum nki_window window;
  const char *activation;          /* when the configuration does not say */
  bool scaled_embedding;           /* by sqrt(dim) */
  size_t position_offset;          /* row of the position matrix that position 0 has */
  double defaults[NKI_N_SETTINGS]; /* of Transformers' class, for settings that config.json leaves
                                      out; 0: none */

  /* ---- GGUF ---- */
  bool gguf_pairs;   /* q and k are stored for rotation in pairs (nki_tensor_widen_pairs) */
  bool gguf_written; /* nk_model_write_gguf is tested to give llama.cpp's logits */
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
 * embedding or the first norm of block 0 is found; else what precedes these names in the file,
 * where that is one prefix. False without an error when there is none. */
bool nki_architecture_prefix(const struct nki_architecture *architecture,
                             const struct nk_model *model, char prefix[NKI_MAX_PREFIX]);

/* name = "PREFIX BLOCK PART.SUFFIX", as "model." "layers.3." "mlp.up_proj" ".weight". Returns NK_OK
 * or NK_EDATA (longer than NKI_MAX_NAME). */
int nki_part_name(const struct nki_architecture *architecture, const char *prefix, size_t layer,
                  enum nki_part part, const char *suffix, char name[NKI_MAX_NAME]);

/* The part's name in GGUF below "blk.N.", without ".weight": "ffn_up". */
const char *nki_part_gguf_name(enum nki_part part);

/* True when the part has a bias in this model. */
bool nki_part_has_bias(const struct nki_architecture *architecture, const struct nk_model *model,
                       enum nki_part part);

/* The tensor `name` (with its ".weight" or ".bias") of n_dims dimensions under one of the prefixes,
 * else the only one whose name ends so. NULL without an error. */
const struct nk_tensor *nki_model_named(const struct nk_model *model, const char *name,
                                        size_t n_dims);

#endif
