/* A batch made ready: checked, its overrides and asks sorted by sequence, and cut into groups that
 * fit in memory (batch.c); the pass of one group through the blocks (blocks.c); and the overrides
 * and asks at a layer (streams.c). */
#ifndef NOKEN_FORWARD_BATCH_H
#define NOKEN_FORWARD_BATCH_H

#include "forward/internal.h"

/* Overrides and asks by sequence: those of sequence s are index[start[s], start[s + 1]), in the
 * order given; s = n_sequences stands for the prefix. */
struct nki_by_sequence {
  size_t *start; /* [n_sequences + 2] */
  size_t *index;
};

struct nki_plan {
  const struct nk_forward *forward;
  const struct nk_batch *batch;
  struct nki_by_sequence overrides, asks;
  size_t *lengths;     /* [n_sequences] positions to compute; 0: nothing is asked of it */
  size_t longest;      /* the greatest number of positions of a sequence, prefix and all */
  size_t depth;        /* blocks to run: the deepest layer that anything is asked of */
  bool replaced;       /* or none: all that is asked is replaced at that layer */
  size_t *group_start; /* [n_groups + 1] sequences */
  size_t n_groups;
};

/* Checks batch and plans it. 0 or a negative code; free with nki_plan_free in either case. */
int nki_plan_make(const struct nk_forward *forward, const struct nk_batch *batch,
                  struct nki_plan *plan);
void nki_plan_free(struct nki_plan *plan);

/* Positions of one sequence that a pass computes, one row each. */
struct nki_span {
  size_t sequence;    /* or NK_PREFIX */
  const int64_t *ids; /* [n] */
  size_t n;
  size_t position; /* of the first row */
  size_t past;     /* own positions before, whose keys and values are in the cache */
  size_t row;      /* the first row */
  size_t cache;    /* the first own row in the cache */
};

/* An override or an ask, at its row. */
struct nki_place {
  size_t row;
  size_t index;
};

/* What runs share over all groups: buffers for a block of rows, weights, tables, the prefix. */
struct nki_work {
  const struct nk_forward *forward;
  size_t block_rows;
  float *weights; /* [scratch_floats] */
  struct nki_floats floats[NKI_N_PARTS];
  float *both_biases; /* [dim] of attention's and the mlp's last products, for parallel blocks */
  float *y, *qkv, *q, *heads;        /* [rows, ...] */
  uint32_t *q_positions, *q_numbers; /* [rows] */
  struct nki_view *views;
  float *cos[NKI_N_ROPES], *sin[NKI_N_ROPES]; /* [longest, dim / 2], or NULL */
  float *alibi;                               /* [n_heads, ld_alibi], or NULL */
  size_t ld_alibi;
  float *mlp;                  /* [block_rows, nki_mlp_width] */
  struct nki_mixture *mixture; /* of the layers with experts, or NULL */
  size_t n_prefix;
  float *prefix_k, *prefix_v; /* [n_layers, n_prefix, kv] */
};

/* One group's pass. */
struct nki_pass {
  struct nki_span *spans;
  size_t n_spans, n_rows;
  size_t depth;
  bool replaced;
  float *x;            /* [n_rows, dim] the residual stream */
  uint32_t *positions; /* [n_rows] */
  uint32_t *numbers;   /* [n_rows] position less the prefix's length (in the prefix: position) */
  size_t *final_rows;  /* [n_final] rows wanted after the last block, ascending */
  size_t n_final;
  float *final; /* [n_final, dim] */
  struct nki_place *overrides, *asks;
  size_t n_overrides, n_asks;
  float *cache_k, *cache_v; /* [n_layers, cache_rows, kv], or NULL */
  size_t cache_rows;
};

/* The native engine's. */
int nki_work_make(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
                  struct nki_work *work);
void nki_work_free(struct nki_work *work);
/* Rows of a block for this model. */
size_t nki_piece_rows(const struct nki_config *config);

/* x = embeddings with overrides, positions, scale; then the blocks, with overrides and captures
 * before each; none of these where all is replaced; final = the rows wanted, with overrides and
 * captures there. */
int nki_pass_run(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass);

/* Rows of the stream at one layer. */
struct nki_stream {
  float *x;           /* [n, dim] */
  size_t first, n;    /* rows [first, first + n) of the pass, or where `rows` is given: */
  const size_t *rows; /* [n] these rows, ascending */
};

/* Applies the overrides at `layer` to those of the rows that the stream has, then reads what is
 * asked there. *changed (may be NULL) = whether there was an override. NK_OK, or NK_EDATA when a
 * row that is read is not finite. */
int nki_touch(const struct nk_forward *forward, const struct nk_batch *batch,
              const struct nki_pass *pass, size_t layer, const struct nki_stream *stream,
              bool *changed);

/* ---- The mlp (mlp.c) ---- */

/* The most floats of a row inside an mlp. */
size_t nki_mlp_width(const struct nki_config *config);
/* Buffers of the mlps; work->forward and ->block_rows are set. NK_OK or NK_EMEMORY. */
int nki_mlp_make(struct nki_work *work);
void nki_mlp_free(struct nki_work *work);
/* out [n, dim] = mlp(y), or with `add` out += that, without the bias of NKI_DOWN; n <= block_rows.
 * out may be y without `add`. NK_OK, or NK_EDATA when the choice of experts is not finite. */
int nki_mlp_run(struct nki_work *work, size_t layer, const float *y, size_t n, bool add,
                float *out);

/* Fails with NK_EDATA and the first position whose input of block 0 is not finite (finite.c). */
int nki_fail_embedding(const struct nk_forward *forward, const struct nki_pass *pass);

#endif
