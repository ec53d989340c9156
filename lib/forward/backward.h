/* The backward pass: from gradients of the rows that leave a block to those of the rows that enter
 * it, by what the block's tape has. A gradient has the shape of what it is a gradient of; an array
 * that is named `d` or `d..` holds one. */
#ifndef NOKEN_FORWARD_BACKWARD_H
#define NOKEN_FORWARD_BACKWARD_H

#include "forward/batch.h"

/* ---- Tapes (tape.c) ---- */

/* Floats of a row that a tape has beside the stream x. */
size_t nki_tape_floats(const struct nk_forward *forward, size_t layer);
/* Sets the members beside x to parts of at [n_rows * nki_tape_floats]. */
void nki_tape_place(const struct nk_forward *forward, size_t layer, size_t n_rows, float *at,
                    struct nki_tape *tape);

/* ---- Kernels (kernels_backward.c), the derivatives of kernels.c ---- */

/* dx [n, dim] = (with `add`: +=) the gradient of x through the norm, from dy; dx may be dy. The
 * step's before, after and copy are not used. */
void nki_norm_back(const struct nki_norm_step *step, const float *x, size_t n, const float *dy,
                   float *dx, bool add);
/* dy [n, width] = 0 where x was beyond the limit. */
void nki_clip_back(const float *x, size_t ld_x, size_t n, size_t width, float limit, float *dy,
                   size_t ld);
/* d [n, rotation->ld], of heads after nki_rotate, becomes that of heads before it; x are these,
 * NULL where there is neither norm nor clipping. */
void nki_rotate_back(const struct nki_rotation *rotation, const float *x, size_t ld_x, float *d,
                     const uint32_t *positions, size_t n);
/* The clipping of normed heads alone, as nki_rotate_back has it. */
void nki_unclip_heads(const struct nki_rotation *rotation, const float *x, size_t ld_x, float *d,
                      size_t n);
/* h and activating->gate as nki_activate takes them become their gradients, d [n, width], that of
 * the activated values, becomes these values. */
void nki_activate_back(const struct nki_activating *activating, float *h, float *d, size_t n);
/* d [n] = p (d - dot) scale; d [n] *= 1 - (capped / cap)^2; one thread. */
void nki_softmax_back(const float *p, float *d, size_t n, float dot, float scale);
void nki_soft_cap_back(const float *capped, float *d, size_t n, float cap);
/* y [n, n_in] = (with `add`: +=) x [n, n_out] W, W as nki_multiply has it. */
void nki_multiply_back(const struct nki_product *product, size_t n);

/* Rows of one width before a norm and the gradients of its output: x + r * ld_x, dy + r * ld. */
struct nki_normed_rows {
  size_t n, width;
  const float *x;
  size_t ld_x;
  const float *dy;
  size_t ld;
};
/* weight [width] += and bias [width] += (either may be NULL) the gradients of the norm's. */
void nki_norm_weights_back(const struct nki_normed_rows *rows, bool rms, float eps, float *weight,
                           float *bias);
/* sum [width] += the rows y [n, ld]. */
void nki_sum_rows(const float *y, size_t n, size_t width, size_t ld, float *sum);
/* gradient += that of the product's weight, laid out as the weight is, from the gradient
 * product->y of its output and its input product->x. */
void nki_multiply_weight(const struct nki_product *product, size_t n, float *gradient);

/* The gradient of a logit with log-probability l and another number o of its token:
 * e^l (p + p_log_p l + p_other o) + other o; with of_exp_other, e^l p + other e^o. */
struct nki_logit_slope {
  float log_sum_exp; /* l = logit - log_sum_exp */
  float p, p_log_p, p_other, other;
  bool of_exp_other; /* o may be -infinity */
};
/* d [n] += that of n logits; other [n] or NULL (as 0); one thread. */
void nki_logits_back(const struct nki_logit_slope *slope, const float *logits, const float *other,
                     size_t n, float *d);

/* Sums of e^o (o - (logit - log_sum_exp)) and of e^o over n numbers o of `other`, of which those
 * below -87.3 give 0; one thread. */
float nki_reverse_sum(const float *logits, const float *other, float log_sum_exp, size_t n);
float nki_exp_sum(const float *other, size_t n);

/* ---- Attention (backward_attention.c) ---- */

struct nki_attention_gradient {
  const struct nki_attention *attention; /* `out` is its output */
  const float *out;                      /* [rows of q, n_heads * head_dim] */
  float *q;                              /* added to: [rows of q, ld_q] */
  size_t ld_q;
  float *k, *v; /* added to: [rows, ld_kv], those of a view from its row `own` on */
  size_t ld_kv;
  float *prefix_k, *prefix_v; /* added to: [n_prefix, n_kv_heads * head_dim], or NULL */
  float *sinks;               /* added to: [n_heads], or NULL */
};
/* NK_OK or NK_EMEMORY. */
int nki_attend_back(const struct nki_attention_gradient *gradient);

/* ---- Blocks (backward_blocks.c, backward_mlp.c) ---- */

/* Where gradients of weights are added, each NULL or as its tensor is laid out; q, k and v in one
 * matrix are in turn. */
struct nki_arrays {
  float *weight, *bias;
  float *
      *each; /* [n_each] of a part that is in as many tensors, each of them NULL or not; or NULL */
};
struct nki_block_arrays {
  struct nki_arrays part[NKI_N_PARTS];
  bool any;
};
struct nki_weight_arrays {
  struct nki_block_arrays *blocks; /* [n_blocks] */
  size_t n_blocks;
  struct nki_arrays unembedding, final_norm, embedding_norm;
  float *embedding, *positions;
  size_t lowest; /* the lowest layer whose stream's gradient they need; n_layers + 1: none */
};

/* What the backward passes of a batch share beside the work. */
struct nki_back {
  struct nki_work *work;
  const struct nki_weight_arrays *arrays;
  bool values_only; /* no gradient is wanted */
  float *y;    /* [rows of a piece, dim] what products read, computed again; NULL without arrays */
  float *dy;   /* [rows of a piece, dim] */
  float *dact; /* [block_rows, 2 widths of an expert], or NULL without experts */
  float *dscores;               /* [block_rows, n_experts], or NULL */
  float *prefix_dk, *prefix_dv; /* [n_layers, n_prefix, kv], or NULL */
};
/* For pieces of at most `rows` rows; work is made. NK_OK or NK_EMEMORY; free in either case. */
int nki_back_make(struct nki_work *work, const struct nki_weight_arrays *arrays, size_t rows,
                  bool prefix, struct nki_back *back);
void nki_back_free(struct nki_back *back);

/* g [n_rows, dim], of the stream that leaves the block, becomes that of the stream that enters it;
 * in the pass's last block it is taken from g_final [n_final, dim], which is overwritten. The block
 * is loaded, its tape is used up. NK_OK or a negative code. */
int nki_block_back(struct nki_back *back, struct nki_pass *pass, size_t layer, float *g,
                   float *g_final);
/* dy [n, dim] = the gradient of the mlp's input from d [n, dim], that of its output; n <=
 * block_rows. inner as nki_mlp_run gave it, overwritten; y the input, used in a sparse layer and
 * for gradients of weights. NK_OK or a negative code. */
int nki_mlp_back(struct nki_back *back, size_t layer, float *inner, const float *y, size_t n,
                 float *d, float *dy);

/* ---- Weights (backward_weights.c) ---- */

/* NK_OK, or NK_EUNSUPPORTED when the forward pass is not the native engine's, or in bfloat16. */
int nki_check_gradients(const struct nk_forward *forward);
/* NK_OK where all weights of the native engine's blocks have gradients. */
int nki_check_weight_gradients(const struct nk_forward *forward);
/* The arrays of the tensors that the gradient asks for. NK_OK or a negative code, and no array is
 * changed; free in either case. */
int nki_weight_arrays_make(const struct nk_forward *forward, const struct nk_gradient *gradient,
                           struct nki_weight_arrays *arrays);
void nki_weight_arrays_free(struct nki_weight_arrays *arrays);
/* Sets the arrays to 0; NK_EDATA where one holds a number that is not finite. */
void nki_weight_arrays_clear(const struct nk_forward *forward, const struct nk_gradient *gradient);
int nki_weight_arrays_check(const struct nk_forward *forward, const struct nk_gradient *gradient);
/* Sums become means over n sequences, in the order of the tensors' elements. NK_OK or
 * NK_EMEMORY. */
int nki_weight_arrays_finish(const struct nk_forward *forward, const struct nk_gradient *gradient,
                             const struct nki_weight_arrays *arrays, size_t n);

/* ---- Read-out (backward_readout.c) ---- */

/* d [n, dim], of the output of a norm outside the blocks, becomes that of its input x [n, dim];
 * those of its weights are added to `to` (or NULL). NK_OK or NK_EMEMORY. */
int nki_outer_norm_back(const struct nk_forward *forward, const struct nki_weight *norm,
                        const struct nki_arrays *to, const float *x, size_t n, float *d);

/* The terms of final rows, with the asks that they are answered in: terms[k] of asks[k]. Sets the
 * terms' values and d [n, dim], the gradient of the rows of all their weighted terms. NK_OK or a
 * negative code. */
int nki_readout_back(const struct nki_back *back, struct nki_readers *readers,
                     struct nk_term *const *terms, float *d);
/* True for terms of the next token's distribution. */
static inline bool nki_term_distribution(const struct nk_term *term) {
  return term->kind < NK_TERM_STREAM;
}

/* The gradient of a pass (backward_pass.c). */
struct nki_pass_gradient {
  struct nki_back *back;
  const struct nk_batch *batch; /* as the plan has it: ask i is that of term i */
  struct nk_term *terms;
  size_t lowest;    /* the lowest layer that has a gradient */
  bool again;       /* blocks but the last one are run again before they are differentiated */
  float *overrides; /* [n_overrides, dim], or NULL */
  size_t memory;    /* bytes for logits */
};
/* From a pass that was run with tapes of the layers from `lowest` on. NK_OK or a negative code. */
int nki_pass_back(const struct nki_pass_gradient *gradient, struct nki_pass *pass);

#endif
