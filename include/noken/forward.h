/* The forward pass of a language model over tokens and vectors. The input is sequences, vectors
 * that replace (or are added to) the residual stream at any position and layer, and a list of what
 * to read at which position. It is built for many short sequences with a common beginning: the
 * shared prefix is computed once, all other positions of all sequences make one matrix in each
 * product, weights stay mapped in their file's type and are widened a layer at a time, logits are
 * computed only where asked and reduced a block at a time.
 *
 * Layers, for overrides and for residuals alike:
 *   0         the input embedding: a row of the embedding matrix as nk-extract gives it, before
 *             position embeddings are added (GPT-2, OPT) and before the model scales it (Gemma)
 *   L         the residual stream as it enters block L, 0 < L < n_layers
 *   n_layers  the residual stream as it leaves the last block, before the final norm
 * A layer is read after the overrides at that layer. Inside a block there are sites: what its
 * attention, each of its heads and its mlp give.
 *
 * Positions count from 0 at the first token of the prefix. */
#ifndef NOKEN_FORWARD_H
#define NOKEN_FORWARD_H

#include <noken/base.h>
#include <noken/model.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nk_forward;

struct nk_forward_shape {
  const char *architecture; /* config.json's model_type */
  size_t n_layers;          /* blocks */
  size_t dim;               /* of the residual stream and of the embeddings */
  size_t n_vocabulary;      /* logits: rows of the unembedding */
  size_t n_positions;       /* the longest sequence, prefix included */
  size_t n_heads, n_kv_heads, head_dim;
  size_t mlp_dim;
  size_t n_parameters; /* of all blocks, without the embeddings */
};

/* ---- Engines ---- */

enum nk_engine {
  NK_ENGINE_AUTO,   /* the native engine; llama.cpp for a GGUF file that it does not run */
  NK_ENGINE_NATIVE, /* the library's own */
  NK_ENGINE_LLAMA,  /* llama.cpp, of a GGUF file, where the module noken/llama.so is installed */
};

/* Of the products of rows with the model's matrices. */
enum nk_precision {
  NK_PRECISION_F32,
  /* The native engine by oneDNN, on processors with AVX512_BF16 or AMX, where the module
   * noken/dnnl.so is installed: each row and each matrix that is not BF16 in the file is rounded to
   * bfloat16, to nearest, ties to even; sums are F32, and so is everything else, with a mixture's
   * router and the scale of its shared expert. No gradients. */
  NK_PRECISION_BF16,
};

/* What runs the model, and for llama.cpp: where. */
struct nk_engine_options {
  enum nk_engine engine;
  size_t n_gpu_layers; /* so many of the last blocks on GPUs, or on the servers; 0: none, or all */
  /* HOST:PORT,.. of llama.cpp's RPC servers, which share the blocks; or NULL. llama.cpp aborts the
   * process when a server is lost in the middle, after a warning through the hook. */
  const char *rpc;
  enum nk_precision precision;
};

/* Chooses the engine of a model whose forward pass is not open yet. Returns NK_OK; NK_EUSAGE when
 * it is open, for GPUs or servers with the native engine, or bfloat16 with another; NK_EMEMORY; for
 * a model of NULL the code of the failed call that gave it. */
NK_API int nk_model_use_engine(struct nk_model *model, const struct nk_engine_options *options);

/* The model's forward pass: opened at the first call, freed with the model. Nothing is copied from
 * the weights. NULL on failure, and for a model of NULL: NK_EUNSUPPORTED for an architecture,
 * activation, rope type, attention variant or quantized checkpoint that is not implemented (the
 * message names it), NK_EDATA when a weight is missing or has another shape than the configuration
 * says. With llama.cpp also NK_EUNSUPPORTED when its module, a backend or a GPU is missing, NK_EIO
 * when a server does not answer. For products of bfloat16 NK_EUNSUPPORTED when the module, or the
 * processor's instructions, are missing. The first call must return before other threads call it.
 */
NK_API struct nk_forward *nk_model_forward(struct nk_model *model);

enum nk_ability {
  NK_ABILITY_RUN,
  NK_ABILITY_GRADIENTS,        /* of vectors put in: nk_gradient_run, nk_search */
  NK_ABILITY_WEIGHT_GRADIENTS, /* nk_tune */
};

/* Whether the model's forward pass can be opened and has the ability, without reading weights.
 * *engine (may be NULL) = the one that runs it, never NK_ENGINE_AUTO. Returns NK_OK, or the code
 * that nk_model_forward, or the call that needs the ability, would fail with, and its message; but
 * of a model for llama.cpp, only the file's metadata are checked. */
NK_API int nk_model_check_ability(const struct nk_model *model, enum nk_ability ability,
                                  enum nk_engine *engine);

/* NULL for a forward pass of NULL. */
NK_API const struct nk_forward_shape *nk_forward_shape(const struct nk_forward *forward);

/* out [dim] = row `id` of the input embedding. Returns NK_OK, NK_EUSAGE when there is no such row,
 * or for a forward pass of NULL the code of the failed call that gave it. */
NK_API int nk_forward_embedding(const struct nk_forward *forward, int64_t id, float *out);

/* ---- Input ---- */

#define NK_PREFIX SIZE_MAX /* in place of a sequence's number: the shared prefix */
#define NK_VECTOR (-1)     /* in place of an id: an override of layer 0 replaces it */

struct nk_sequence {
  const int64_t *ids; /* [n] token ids, or NK_VECTOR */
  size_t n;
};

enum nk_override_mode { NK_REPLACE, NK_ADD };

/* What is overridden or read: the residual stream at a layer, or in block `layer`, below n_layers,
 * an output that is computed there. The stream that leaves the block is the one that enters it, to
 * which attention's output is added, then the mlp's. A batch with a site other than the stream has
 * the outputs of all its blocks computed apart and then added; the answers to one without have
 * other roundings. */
enum nk_site {
  NK_SITE_STREAM,
  NK_SITE_ATTENTION, /* [dim] attention's output, as it is added to the stream: after the output
                      * projection, its bias, norm and scale */
  NK_SITE_MLP,       /* [dim] the mlp's, or the mixture's, likewise */
  NK_SITE_HEAD,      /* [head_dim] one head's output, before the output projection */
};

/* vector [dim] replaces, or is added to, the residual stream at this place, or the output at
 * another site, of a head [head_dim]. Several at one place are applied in the order given. A
 * position of the prefix belongs to all sequences: it is overridden with sequence NK_PREFIX, and
 * cannot be overridden for one sequence alone. */
struct nk_override {
  size_t sequence; /* or NK_PREFIX */
  size_t position;
  size_t layer;
  enum nk_override_mode mode;
  const float *vector;
  enum nk_site site;
  size_t head; /* of NK_SITE_HEAD */
};

/* ---- Output ---- */

/* One position, what is asked of it (pointers that are not NULL, sizes that are not 0), and the
 * answers. Logarithms are natural. Zero the struct and set what is wanted. */
struct nk_ask {
  size_t sequence; /* or NK_PREFIX */
  size_t position;

  /* The residual stream at n_layers layers: residuals [n_layers, dim], or their lengths alone.
   * With a site: the outputs there in these blocks, [n_layers, head_dim] of a head. */
  const size_t *layers;
  size_t n_layers;
  float *residuals; /* [n_layers, dim] or NULL */
  double *norms;    /* [n_layers] or NULL */
  enum nk_site site;
  size_t head; /* of NK_SITE_HEAD */

  /* The distribution of the next token: computed when any of these is asked. */
  bool distribution;    /* entropy, log_sum_exp */
  size_t n_top;         /* the n_top most probable, the most probable first, ties by id: */
  int64_t *top_ids;     /*   [n_top] */
  float *top_log_probs; /*   [n_top] */
  const int64_t *ids;   /* [n_ids] these tokens': */
  size_t n_ids;
  float *log_probs;       /*   [n_ids] */
  const float *reference; /* [n_vocabulary] log-probabilities q: kl = sum p log(p / q) */
  double *sum;            /* [n_vocabulary] each token's probability is added; asks may share it */
  float *logits;          /* [n_vocabulary] as the model gives them */

  double entropy;     /* -sum p log p */
  double kl;          /* NaN without a reference */
  double log_sum_exp; /* of the logits: log p = logit - log_sum_exp */
};

/* Generation after the last token of every sequence. */
struct nk_generation {
  size_t n_tokens;    /* at most */
  double temperature; /* 0: the most probable token each time */
  size_t top_k;       /* sample among the top_k most probable; 0: all */
  double top_p;       /* sample among the fewest tokens with this much probability; 0 or 1: all */
  uint64_t seed;      /* sequence i samples from stream i under it, */
  const uint64_t *streams; /* or from streams[i], below 2^56: [n_sequences]; NULL: i */
  const int64_t *stop;     /* [n_stop] a sequence ends after one of these */
  size_t n_stop;
  const int64_t *watch; /* [n_sequences] or NULL: a token of each sequence whose log-probability */
  float *watched;       /*   [n_sequences, n_tokens] is kept at every step (NaN after its end) */
  int64_t *ids;         /* out: [n_sequences, n_tokens], a stop token included */
  size_t *lengths;      /* out: [n_sequences] tokens generated */
};

struct nk_batch {
  struct nk_sequence prefix; /* n may be 0 */
  const struct nk_sequence *sequences;
  size_t n_sequences;
  const struct nk_override *overrides;
  size_t n_overrides;
  struct nk_ask *asks;
  size_t n_asks;
  struct nk_generation *generation; /* or NULL */
  /* Bytes for residual streams, keys and values, activations; 0: 1 GiB. Sequences are run in as
   * many groups as that needs. One layer's widened weights and a block of logits are not counted.
   */
  size_t memory;
};

/* Runs the batch. Positions that no answer depends on are not computed. Returns NK_OK, or a
 * negative code: NK_EUSAGE for an id, layer, site, position or sequence that does not exist, an id
 * NK_VECTOR without its override, a sequence (with the tokens to be generated) longer than
 * n_positions; NK_EDATA when a vector is not finite; NK_EMEMORY; NK_EINTERRUPTED; NK_EUNSUPPORTED
 * for an override or a residual at a layer or site that llama.cpp does not show, and where oneDNN
 * cannot multiply. Answers do not
 * depend on the other sequences, their order or the number of threads beyond the rounding of float
 * sums; the native engine gives the same batch the same bytes each time with as many threads. */
NK_API int nk_forward_run(struct nk_forward *forward, const struct nk_batch *batch);

/* ---- Gradients ---- */

/* What a sequence's scalar is a weighted sum of. p is the distribution of the next token at the
 * term's position, x the residual stream there at the term's layer, with what overrides at that
 * layer have made of it. Logarithms are natural. q need not sum to 1; below e^-87.3 it is taken as
 * 0. */
enum nk_term_kind {
  NK_TERM_LOG_PROB,           /* sum over ids of weight times log p(id); `summed`: see there */
  NK_TERM_ENTROPY,            /* -sum p log p */
  NK_TERM_KL,                 /* sum p (log p - log q); vector is log q, finite */
  NK_TERM_KL_REVERSE,         /* sum q (log q - log p); vector is log q, -inf where q is 0 */
  NK_TERM_LOGITS,             /* sum of vector times the logits */
  NK_TERM_STREAM,             /* sum of vector times x */
  NK_TERM_SQUARED_DIFFERENCE, /* squared length of x less vector */
};

struct nk_term {
  size_t sequence, position; /* not of the prefix */
  enum nk_term_kind kind;
  double weight; /* by which the term is multiplied in the sequence's scalar; a float's range */
  size_t layer;  /* of x */
  const float *vector;     /* [n_vocabulary], or [dim] for x */
  const int64_t *ids;      /* [n_ids] */
  const float *id_weights; /* [n_ids], or NULL: 1 each */
  size_t n_ids;
  bool summed;  /* NK_TERM_LOG_PROB: log of the sum over ids of weight, above 0, times p(id) */
  double value; /* out: the term, not multiplied by its weight */
};

/* A tensor of the model's files, and the gradient of the mean of the sequences' scalars. */
struct nk_weight_gradient {
  const char *tensor; /* its name */
  float *gradient;    /* out: [n_elements] in the order of the tensor's elements */
};

/* What is differentiated, and the answers (pointers that are not NULL). */
struct nk_gradient {
  struct nk_term *terms;
  size_t n_terms;
  double *values;   /* [n_sequences] each sequence's scalar */
  float *overrides; /* [n_overrides, dim] of each override's vector, of the sum of all scalars */
  const struct nk_weight_gradient *weights; /* each tensor once; a tied matrix has both parts */
  size_t n_weights;
};

/* Runs the batch, which has neither asks nor a generation, and differentiates its scalars (where
 * neither overrides nor weights are asked for, it computes their values alone) with
 * respect to the vectors of its overrides: replaced or added vectors at any layer and position, of
 * the prefix too; and the scalars' mean with respect to weights: those of safetensors files but
 * values of MXFP4. What no term depends on has a gradient of 0. In a mixture of experts the choice
 * of experts is held and their shares are differentiated. The derivative of ReLU at 0 is 0, as is
 * that of values that are clipped.
 *
 * The inside of all blocks is kept from the forward pass; where batch->memory does not hold 1024
 * positions of that beside the prefix's, the streams between blocks alone are, and each block is
 * run a second time. The prefix's is kept during the whole run where it has gradients. Beside that
 * memory, each term of a stream takes dim floats, and logits a quarter of it at most: terms at one
 * position share its logits.
 *
 * Returns as nk_forward_run does; NK_EUSAGE also for a term whose place, layer or id does not exist
 * or that has no vector or ids, NK_ENOTFOUND for a tensor that does not exist, NK_EDATA for numbers
 * that are not finite, weights and gradients beyond a float's range too, NK_EUNSUPPORTED with
 * llama.cpp or products of bfloat16, for overrides at a site other than the stream and for other
 * weights. What is refused before the run changes no answer; where the run fails, the answers are
 * not defined. Gradients do not depend on the other sequences, their order or the number of threads
 * beyond the rounding of float sums; the same batch has the same bytes each time with as many
 * threads. */
NK_API int nk_gradient_run(struct nk_forward *forward, const struct nk_batch *batch,
                           struct nk_gradient *gradient);

#ifdef __cplusplus
}
#endif
#endif
