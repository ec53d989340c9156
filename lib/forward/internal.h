/* What the files of lib/forward share. Shapes are row-major; rows are positions of sequences. A
 * matrix that is given by x and ld_x has its row r at x + r * ld_x. */
#ifndef NOKEN_FORWARD_INTERNAL_H
#define NOKEN_FORWARD_INTERNAL_H

#include <noken/forward.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/architecture.h"
#include "model/rows.h"

/* ---- The model (config.c, weights.c) ---- */

enum nki_activation {
  NKI_GELU,
  NKI_GELU_TANH,
  NKI_QUICK_GELU,
  NKI_RELU,
  NKI_SILU,
  NKI_CLAMPED_SWIGLU,
};

/* A table of rotary positions. */
struct nki_rope {
  size_t dim; /* components of each head that are rotated */
  float amplitude;
  double *frequencies; /* [dim / 2] radians per position */
};

enum { NKI_ROPE_FULL, NKI_ROPE_LOCAL, NKI_N_ROPES, NKI_NO_ROPE = NKI_N_ROPES };

/* What makes one layer differ from another. */
struct nki_layer {
  size_t window; /* keys that a query of this layer sees; 0: all before it */
  unsigned rope; /* NKI_ROPE_FULL, NKI_ROPE_LOCAL or NKI_NO_ROPE */
  bool sparse;   /* its mlp is a mixture of experts */
};

/* What makes one architecture differ from another, as the blocks need it. */
struct nki_config {
  struct nk_forward_shape shape;
  bool rms;           /* norms: root mean square, else layer norm */
  bool norm_plus_one; /* norms multiply by 1 + weight (Gemma) */
  bool input_norms;   /* before attention and mlp */
  float norm_eps;
  bool parallel;         /* attention and mlp side by side, both from the block's input */
  size_t qkv_groups;     /* the fused q, k, v weight is [groups, (q, k, v), ..] */
  bool qkv_value_second; /* they are (q, v, k) (CodeGen) */
  bool in_out;           /* weights are [in, out] (GPT-2), else [out, in] */
  enum nki_activation activation;
  float activation_limit; /* of NKI_CLAMPED_SWIGLU */
  float embedding_scale;
  float residual_scale; /* of attention's and the mlp's outputs (Granite) */
  float logit_scale;
  size_t position_offset; /* row of the position matrix that position 0 has (OPT: 2) */
  float attention_scale;
  float attention_cap; /* 0: none */
  float logit_cap;     /* 0: none */
  float qkv_clip;      /* largest |q|, |k|, |v|; 0: none */
  enum nki_qk_norm qk_norm;
  bool rotary_pairs; /* neighbours belong together, else the halves */
  struct nki_rope ropes[NKI_N_ROPES];
  float *slopes;            /* [n_heads] of ALiBi: added to a score for each position; NULL: none */
  bool slopes_rounded;      /* with positions and products to bfloat16; then scaled (Falcon) */
  struct nki_layer *layers; /* [n_layers] */
  bool absent[NKI_N_PARTS]; /* parts of the family that the configuration leaves out */
  size_t n_experts, n_active; /* of a sparse layer, and those of them that a row has */
  size_t expert_dim, shared_dim;
  bool active_normed; /* the active experts' shares add up to 1 */
  bool experts_fused; /* gate and up in turn, matrices are [in, out] (gpt-oss) */
};

struct nki_weight {
  const struct nk_tensor *weight, *bias; /* NULL: there is none */
  /* Of each expert or head, where a part is in as many tensors; else NULL. */
  const struct nk_tensor **each;
  size_t n_each;
  const struct nk_tensor *scales; /* of MXFP4 blocks (weight), or NULL */
};

struct nki_block {
  struct nki_weight part[NKI_N_PARTS];
};

struct nki_packed;

/* A weight as floats: in the file's mapping, or in scratch; or packed, for products of bfloat16
 * (bf16.h), with a weight of NULL. */
struct nki_floats {
  const float *weight, *bias;
  const struct nki_packed *packed;
};
static inline bool nki_is_there(const struct nki_floats *floats) {
  return floats->weight != NULL || floats->packed != NULL;
}

struct nk_forward {
  struct nki_config config; /* of an engine that is not native: the shape alone */
  const struct nk_model *model;
  const struct nki_engine *engine;
  void *session;                    /* the engine's own, or NULL */
  struct nki_bf16 *bf16;            /* native: for products of bfloat16, or NULL */
  size_t n_tokens;                  /* rows of the input embedding */
  size_t most_rows, most_sequences; /* in a group of sequences */
  float *mean_embedding;            /* [dim], or NULL before nki_mean_embedding */
  /* The native engine's weights: */
  struct nki_block *blocks;          /* [n_layers] */
  const struct nk_tensor *embedding; /* [n, dim] */
  const struct nk_tensor *unembedding;
  const struct nk_tensor *unembedding_bias; /* or NULL */
  const struct nk_tensor *positions;        /* or NULL */
  struct nki_weight final_norm, embedding_norm;
  size_t scratch_floats; /* of the widest block, widened, without its experts */
  size_t expert_floats;  /* of the widest expert */
};

/* ---- Engines ---- */

struct nki_plan;
struct nki_work;
struct nki_pass;

/* What computes the blocks. Batches, groups, generation, distributions and probes are the same for
 * all engines. */
struct nki_engine {
  const char *name;
  /* A pass gives the logits of its final rows, not their streams before the final norm. */
  bool gives_logits;
  /* The engine has keys and values of its own: of one group at a time, and of the prefix. */
  bool keeps_keys;
  /* Before and after the passes of a batch. begin: NK_OK or a negative code; end in either case. */
  int (*begin)(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
               struct nki_work *work);
  void (*end)(struct nki_work *work);
  /* Runs one group's pass: see nki_pass_run. */
  int (*pass)(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass);
  /* Rows [first, first + n) of the input embedding: in the mapping, or in scratch [n, dim]. */
  const float *(*embeddings)(const struct nk_forward *forward, size_t first, size_t n,
                             float *scratch);
  void (*free)(struct nk_forward *forward); /* what forward has of the engine */
};

extern const struct nki_engine nki_native_engine, nki_llama_engine;

/* Floats of a final row. */
static inline size_t nki_final_width(const struct nk_forward *forward) {
  return forward->engine->gives_logits ? forward->config.shape.n_vocabulary
                                       : forward->config.shape.dim;
}

/* Opens forward->model in the native engine (weights.c). NK_OK or a negative code; free in either
 * case. */
int nki_native_open(struct nk_forward *forward);
/* The same by llama.cpp (llama.c), of the GGUF file at path. check: whether it knows the file's
 * architecture and tokenizer, without the weights; what is open then cannot run. */
int nki_llama_open(struct nk_forward *forward, const char *path,
                   const struct nk_engine_options *options, bool check);

/* Reads config.json. NK_OK or a negative code; *out is the model's row of the table. */
int nki_config_read(const struct nk_model *model, struct nki_config *config,
                    const struct nki_architecture **out);
void nki_config_free(struct nki_config *config);
/* config->ropes and ->slopes; the shape and the scale of scores are set (positions.c). */
int nki_positions_read(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config);
/* Where a row of the file's fused q, k, v stands when they are in turn. */
size_t nki_qkv_row(const struct nki_config *config, size_t row);
/* Rows (out) and columns (in) of a part, of one expert for experts' parts; *n_out is its length for
 * a vector, with *n_in 0. */
void nki_part_shape(const struct nki_config *config, enum nki_part part, size_t *n_out,
                    size_t *n_in);
static inline bool nki_is_experts(enum nki_part part) {
  return part >= NKI_EXPERTS_GATE_UP && part <= NKI_EXPERTS_DOWN;
}
/* Finds and checks the weights; forward->config and ->model are set. */
int nki_weights_find(struct nk_forward *forward, const struct nki_architecture *architecture);

/* One block's weights as floats, without its experts: those that can be used where they are, are;
 * the rest is widened into scratch [forward->scratch_floats]. Rows of a fused q, k, v are put in
 * turn. Matrices of nki_bf16_stays are left out. */
void nki_block_widen(const struct nk_forward *forward, size_t layer, float *scratch,
                     struct nki_floats floats[NKI_N_PARTS]);

/* One expert's weights, in scratch [forward->expert_floats] or where they are, or left out. */
struct nki_expert {
  struct nki_floats gate_up, gate, up, down;
  bool in_out;
};
void nki_expert_widen(const struct nk_forward *forward, size_t layer, size_t expert, float *scratch,
                      struct nki_expert *out);

/* ---- The input embedding (embedding.c) ---- */

/* mean [dim] = the mean row, computed at the first call. NK_OK or NK_EMEMORY. */
int nki_mean_embedding(struct nk_forward *forward, float *mean);

/* ranks [n] = 1 + the number of tokens whose input embedding is nearer (L2) to row i of vectors
 * [n, dim] than that of token ids[i]. NK_OK or a negative code. */
int nki_echo_ranks(const struct nk_forward *forward, const float *vectors, const int64_t *ids,
                   size_t n, int64_t *ranks);

/* ---- Kernels (kernels.c, kernels_attention.c): loops over rows, in all threads ---- */

/* x += before; y = norm(x), or x itself with `copy`; x += after. */
struct nki_norm_step {
  const struct nki_config *config; /* which norm, its epsilon, the width dim of a row */
  const float *before, *after;     /* [dim] or NULL */
  struct nki_floats scale;         /* [dim]; either may be NULL */
  bool copy;
};
/* x, y [n, dim]; y may be x without before and after. False when a row of x is not finite, or its
 * mean square is not (nki_fail_block names the cause). */
bool nki_norm_rows(const struct nki_norm_step *norm, float *x, size_t n, float *y);
/* The step of a norm outside the blocks, whose weights are widened into scratch [2 * dim] where
 * they cannot be used where they are (weights.c). */
struct nki_norm_step nki_outer_norm(const struct nk_forward *forward, const struct nki_weight *norm,
                                    float *scratch);

/* out = f(h + bias), or f(gate + gate_bias) * (h + bias) where there is a gate; values of gate, h
 * and biases are `step` apart in the clamped SwiGLU. */
struct nki_activating {
  enum nki_activation f;
  size_t width, ld;       /* of a row of h and gate */
  const float *bias;      /* [width] or NULL */
  float *gate;            /* [n, width] or NULL */
  const float *gate_bias; /* [width] or NULL */
  float limit;
  size_t step;
  float *out; /* [n, ld_out], may be h or gate; NULL: h */
  size_t ld_out;
};
void nki_activate(const struct nki_activating *activating, float *h, size_t n);

/* y [n, ld] columns [0, width) = row [width], or 0 where it is NULL */
void nki_fill_rows(float *y, size_t n, size_t width, size_t ld, const float *row);
/* y [n, ld] columns [0, width) += bias [width] */
void nki_add_bias(float *y, size_t n, size_t width, size_t ld, const float *bias);
void nki_add(float *x, const float *y, size_t n); /* x [n] += y */
void nki_scale(float *x, size_t n, float factor);
double nki_length(const float *x, size_t n); /* of a vector, L2 */
/* out[i] = cap tanh(x[i] / cap), NaN for what is not finite, one thread */
void nki_soft_cap(float *x, size_t n, float cap);
/* Each of x [n, width] to within limit of 0. */
void nki_clip(float *x, size_t n, size_t width, size_t ld, float limit);
/* The norm of the heads: by `kind` with a weight [head_dim] for all, one for each [n_heads,
 * head_dim], or [n_heads * head_dim] of all heads as one. */
struct nki_head_norm {
  enum nki_qk_norm kind;
  bool rms, plus_one;
  float eps;
  struct nki_floats scale; /* weight NULL: no norm */
};
/* Norm, clipping and rotation of each row's heads: x [n, ld], heads side by side. */
struct nki_rotation {
  size_t n_heads, head_dim, ld;
  struct nki_head_norm norm;
  float clip; /* 0: none */
  size_t rotary_dim;
  bool pairs;
  const float *cos, *sin; /* [n_positions, rotary_dim / 2] */
};
void nki_rotate(const struct nki_rotation *rotation, float *x, const uint32_t *positions, size_t n);
struct nki_softmax {
  float scale, cap;
  const float *bias; /* [hi] or NULL */
  const float *sink; /* one more score, that of no key, or NULL */
};
/* scores[lo, hi) = softmax(scale * scores + bias), capped before the bias when cap is not 0; all
 * NaN when one of them is not finite. The rest of scores [width], a multiple of 16, becomes 0. One
 * thread. */
void nki_softmax(const struct nki_softmax *softmax, float *scores, size_t lo, size_t hi,
                 size_t width);
/* Queries of one head, and keys and values that they see: their sequence's own, or the prefix's. */
struct nki_keys {
  size_t n_q, n_keys, head_dim;
  const float *q; /* [n_q, head_dim] */
  size_t ld_q;
  const float *k, *v; /* [n_keys, head_dim] */
  size_t ld_kv;
  float *scores; /* [n_q, n_keys] */
  size_t ld_scores;
  float *out; /* [n_q, head_dim] */
  size_t ld_out;
  float *packed; /* [head_dim, n_keys rounded up to a multiple of 16]: scratch */
};
float nki_row_product(const float *x, const float *y, size_t n); /* one thread */
/* For few keys, one thread: scores = q k^T (and up to a multiple of 16 of them others, 0 or not);
 * out = (with `add`: +=) scores v; and out [n_keys, head_dim] += scores^T q. */
void nki_small_scores(const struct nki_keys *own);
void nki_small_sums(const struct nki_keys *own, bool add);
void nki_small_outer(const struct nki_keys *own);

/* Sums over the part of a row's logits that was read, relative to the largest of them. */
struct nki_moments {
  double max, sum, sum_logit, sum_reference; /* sums of e, e (l - max), e log q; e = exp(l - max) */
};
/* Adds the next n logits (and log q, or NULL). *largest: their maximum. */
void nki_moments_add(struct nki_moments *moments, const float *logits, const float *reference,
                     size_t n, float *largest);
/* sum[i] += exp(logits[i] - log_sum_exp) */
void nki_add_probabilities(double *sum, const float *logits, double log_sum_exp, size_t n);

/* y [n, n_out] = x [n, n_in] W^T, or with `add` y += that. W is rows (with in_out columns)
 * [first, first + n_out) of a weight that has `total` of them. */
struct nki_product {
  const float *weight;
  const struct nki_packed *packed; /* or NULL: instead of weight, the whole of one */
  bool in_out, add;
  size_t first, n_out, total, n_in;
  const float *x;
  size_t ld_x;
  float *y;
  size_t ld_y;
};
void nki_multiply(const struct nki_product *product, size_t n);

/* ---- Attention (attention.c) ---- */

/* Queries of one sequence. Own keys are numbered from 0 after the prefix; row r of q has own number
 * number[r] and sees the prefix and own keys 0 to number[r], within the window. */
struct nki_view {
  size_t first, n;    /* rows of q and out */
  size_t own;         /* the first of its rows among the piece's keys and values */
  const float *k, *v; /* [own keys, ld] head 0 */
  size_t n_prefix;    /* keys of the prefix it sees: all or 0 */
};

struct nki_attention {
  size_t n_heads, n_kv_heads, head_dim;
  float scale, cap;
  size_t window;
  const float *q;
  size_t ld_q;        /* from row to row; heads are side by side */
  size_t ld_kv;       /* of the views' own keys and values */
  const float *alibi; /* [n_heads, ld_alibi] added to the score of each key, or NULL */
  size_t ld_alibi;
  const float *sinks;               /* [n_heads] or NULL */
  const float *prefix_k, *prefix_v; /* [n_prefix, n_kv_heads * head_dim] */
  const uint32_t *number;           /* [rows of q] */
  const struct nki_view *views;
  size_t n_views;
  float *out; /* [rows, n_heads * head_dim] */
};
/* NK_OK or NK_EMEMORY. */
int nki_attend(const struct nki_attention *attention);

/* ---- Read-out (readout.c) ---- */

/* final [n, nki_final_width]: streams before the final norm, or logits (overwritten); asks[i] for
 * row i (only those that need a distribution). */
int nki_readout(const struct nk_forward *forward, float *final, size_t n, struct nk_ask **asks);

enum { NKI_VOCABULARY_BLOCK = 4096, NKI_ROW_TILE = 1024 }; /* of tokens and rows at once */

/* Logits of tokens [first, first + n), rows [row, row + n_rows): row i at logits + i * ld. */
struct nki_logits {
  size_t first, n, row, n_rows;
  const float *logits;
  size_t ld;
  const float *weight; /* [n, dim] of the unembedding, NULL where there is none as floats */
  const float *normed; /* [n_rows, dim] the rows after the final norm and logit_scale */
};
typedef void nki_visit_logits(void *argument, const struct nki_logits *logits);
/* Rows as in nki_readout, of which row i has asks [start[i], start[i + 1]). */
struct nki_readers {
  float *final; /* [n, dim], overwritten */
  size_t n;
  const size_t *start; /* [n + 1] */
  struct nk_ask *const *asks;
  size_t memory; /* bytes for logits */
};
/* Answers the asks, then visits all logits (visit NULL: none), a block of tokens and rows at a
 * time, when the asks of these rows are answered; of the native engine, without sums. The
 * unembedding is widened twice for as many rows as have their logits in `memory`. NK_OK or a
 * negative code. */
int nki_readout_twice(const struct nk_forward *forward, struct nki_readers *readers,
                      nki_visit_logits *visit, void *argument);
/* True when anything of the next token's distribution is asked. */
bool nki_ask_distribution(const struct nk_ask *ask);

/* ---- Divergences (divergence.c) ---- */

/* q [n] = the probabilities of logits, log_sum_exp theirs to about 1e-6. */
void nki_probabilities(const float *logits, double log_sum_exp, size_t n, double *q);

/* Two distributions by their logits, and the probabilities of the first. */
struct nki_distributions {
  const float *base, *other; /* [n] */
  const double *q;           /* [n] of base */
  double shift;              /* log_sum_exp of other less that of base, to about 1e-6 */
  size_t n;
};
struct nki_divergences {
  double kl, kl_reverse, js; /* KL(base || other), KL(other || base), Jensen-Shannon; nats */
};
/* Of the distributions o; scratch [n]; one thread. The second: kl_reverse alone. */
void nki_divergences(const struct nki_distributions *o, double *scratch,
                     struct nki_divergences *out);
double nki_kl_reverse(const struct nki_distributions *o, double *scratch);

/* ---- Values that are not finite (finite.c) ---- */

/* Fail with NK_EDATA and the tensor and element that are the cause, where a weight is. */
int nki_fail_block(const struct nk_forward *forward, size_t block);
/* normed [n, dim]: the output of the final norm. */
int nki_fail_logits(const struct nk_forward *forward, const float *normed, size_t n);

/* ---- Generation (generate.c) ---- */

/* One step of a generation. */
struct nki_step {
  const struct nk_forward *forward;
  const struct nk_generation *generation;
  const size_t *sequences; /* [n] whose next token is chosen */
  size_t n;
  size_t step;
};
/* out [n] = the next tokens, from final as in nki_readout. NK_OK or a negative code. */
int nki_choose(const struct nki_step *step, float *final, int64_t *out);
/* NK_OK, or NK_EUSAGE for a temperature, top_p or n_tokens out of range. */
int nki_generation_check(const struct nk_generation *generation);

#endif
