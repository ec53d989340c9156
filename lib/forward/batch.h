/* A batch made ready: checked, its overrides and asks sorted by sequence, and cut into groups that
 * fit in memory (batch.c); a group's rows (pass.c) and their way through the blocks (blocks.c); and
 * the overrides and asks at a layer (streams.c). */
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
  bool sites;          /* an override or an ask is at a site other than the stream */
  size_t *group_start; /* [n_groups + 1] sequences */
  size_t n_groups;
};

/* Blocks to run before a layer or site can be read. */
static inline size_t nki_depth(enum nk_site site, size_t layer) {
  return site == NK_SITE_STREAM ? layer : layer + 1;
}

/* Checks batch and plans it. 0 or a negative code; free with nki_plan_free in either case. */
int nki_plan_make(const struct nk_forward *forward, const struct nk_batch *batch,
                  struct nki_plan *plan);
void nki_plan_free(struct nki_plan *plan);
/* A place must be one that its sequence itself has; `what` and index name its owner in the message.
 * NK_OK or NK_EUSAGE. */
int nki_check_place(const struct nk_batch *batch, const char *what, size_t index, size_t sequence,
                    size_t position);
/* Cuts the sequences into groups anew: of at most memory / row_bytes rows, and with prefix_alone
 * the prefix as a first group without sequences, of which n_held rows are kept beside each group.
 * NK_OK or NK_EMEMORY. */
int nki_plan_group(struct nki_plan *plan, size_t row_bytes, bool prefix_alone, size_t n_held);
/* Bytes that batch->memory says. */
size_t nki_plan_memory(const struct nki_plan *plan);
/* Positions of the prefix to compute: all when sequences follow it, else up to the last ask. */
size_t nki_prefix_length(const struct nki_plan *plan);

/* The longest span of the plan's passes, and the most that one of them can have. */
void nki_plan_spans(const struct nki_plan *plan, size_t *longest, size_t *most);

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

/* Buffers for a block of rows: what a piece is computed in, and so of one thread where each has
 * its own pieces. */
struct nki_buffers {
  float *apart; /* [rows, dim] attention's output, of parallel blocks with sites; or NULL */
  float *y, *qkv, *q, *heads;        /* [rows, ...] */
  uint32_t *q_positions, *q_numbers; /* [rows] */
  struct nki_view *views;
  float *mlp;                  /* [block_rows, nki_mlp_width] */
  struct nki_mixture *mixture; /* of the layers with experts, or NULL */
};

/* What runs share over all groups: buffers for a block of rows, weights, tables, the prefix. */
struct nki_work {
  const struct nk_forward *forward;
  size_t block_rows;
  float *weights; /* [scratch_floats] */
  struct nki_floats floats[NKI_N_PARTS];
  struct nki_bf16_run *bf16; /* where forward has products of bfloat16, else NULL */
  float *both_biases; /* [dim] of attention's and the mlp's last products, for parallel blocks */
  struct nki_buffers own;
  float *cos[NKI_N_ROPES], *sin[NKI_N_ROPES]; /* [longest, dim / 2], or NULL */
  float *alibi;                               /* [n_heads, ld_alibi], or NULL */
  size_t ld_alibi;
  size_t n_prefix;
  float *prefix_k, *prefix_v; /* [n_layers, n_prefix, kv] */
  struct nki_work *others;    /* [n_others] for the other threads, where each has its own pieces */
  size_t n_others;
};

/* One group's pass. */
struct nki_pass {
  struct nki_span *spans;
  size_t n_spans, n_rows;
  size_t depth;
  bool replaced;
  const struct nk_batch *sites; /* the batch, where it has sites other than the stream; or NULL */
  float *x;                     /* [n_rows, dim] the residual stream */
  uint32_t *positions;          /* [n_rows] */
  uint32_t *numbers;  /* [n_rows] position less the prefix's length (in the prefix: position) */
  size_t *final_rows; /* [n_final] rows wanted after the last block, ascending */
  size_t n_final;
  float *final; /* [n_final, dim] */
  struct nki_place *overrides, *asks;
  size_t n_overrides, n_asks;
  float *cache_k, *cache_v; /* [n_layers, cache_rows, kv], or NULL */
  size_t cache_rows;
  struct nki_tape *tapes; /* [n_layers] where each block keeps what its gradient needs, or NULL */
  float *embedded;        /* [n_rows, dim] what the norm of the embeddings reads, kept; or NULL */
};

/* The pass of a group of the plan, without spans when nothing is asked of its sequences. NK_OK or
 * NK_EMEMORY; free with nki_pass_free in either case. */
int nki_pass_make(const struct nki_plan *plan, size_t group, struct nki_pass *pass);
void nki_pass_free(struct nki_pass *pass);
/* positions and numbers of all rows; n_rows is set. */
void nki_pass_number(struct nki_pass *pass);

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

/* ---- A block ---- */

static inline size_t nki_q_width(const struct nki_config *c) {
  return c->shape.n_heads * c->shape.head_dim;
}
static inline size_t nki_kv_width(const struct nki_config *c) {
  return c->shape.n_kv_heads * c->shape.head_dim;
}
static inline size_t nki_qkv_width(const struct nki_config *c) {
  return nki_q_width(c) + 2 * nki_kv_width(c);
}

/* Spans on their way through one block: as many as the buffers hold. */
struct nki_piece {
  struct nki_work *work;
  struct nki_pass *pass;
  size_t layer;
  const struct nki_span *spans;
  size_t n_spans;
  size_t row, n_rows; /* of pass->x */
  bool last;          /* only the final rows continue after their keys and values */
  size_t final, n_q;  /* last: final rows [final, final + n_q); else n_q = n_rows */
  float *x;           /* [n_q, dim] what the block adds to */
  float *q;           /* queries, [n_q, ..] with ld_q from row to row */
  size_t ld_q;
};
/* The piece that follows *piece (zeroed but for work, pass and layer: the first one). False when
 * there is none. */
bool nki_piece_next(struct nki_piece *piece);
/* The first row of tapes and gradients of rows that continue that is the piece's. */
static inline size_t nki_piece_first(const struct nki_piece *piece) {
  return piece->last ? piece->final : piece->row;
}

/* work->floats = the layer's weights. */
void nki_block_load(struct nki_work *work, size_t layer);
/* pass->x through the block, which is loaded; in the last one pass->final = the rows wanted. */
int nki_block_run(struct nki_work *work, struct nki_pass *pass, size_t layer);
/* A part of columns of q, k, v side by side, from their column `at` on. */
struct nki_qkv_part {
  enum nki_part part;
  size_t at;
  struct nki_product product; /* with the part's weight, without rows x and y */
};
/* The parts of columns [first, first + n_out): those of the fused weight, or all of each of q, k
 * and v that is in them. Returns their number. */
size_t nki_qkv_parts(const struct nki_work *work, size_t first, size_t n_out,
                     struct nki_qkv_part parts[3]);
/* out = the piece's rows of x that continue, in their order, where the block is the last one; out
 * may be x. */
void nki_piece_pack(const struct nki_piece *piece, const float *x, float *out);
/* Norms, clipping and rotations of the piece's queries (or with `keys` of its keys); ld is set. */
struct nki_rotation nki_piece_rotation(const struct nki_piece *piece, bool keys);
/* work->own.q_positions and ->q_numbers of the piece's queries. */
void nki_piece_number(const struct nki_piece *piece);
/* The piece's attention: of its queries, which are set and numbered, and its own keys and values;
 * by work->own.views, into work->own.heads. */
struct nki_attention nki_piece_attention(const struct nki_piece *piece, float *k, float *v,
                                         size_t ld_kv);
/* The row of the pass that query i belongs to. */
static inline size_t nki_row_of_query(const struct nki_piece *piece, size_t i) {
  return piece->last ? piece->pass->final_rows[piece->final + i] : piece->row + i;
}

/* ---- What a block keeps for its gradient (tape.c) ---- */

/* Of one block, by the rows of the pass (of those that continue where it says n_q). */
struct nki_tape {
  float *x;              /* [n_rows, dim] the stream that enters the block */
  float *raw_q, *raw_kv; /* q and kv before norms and clipping, NULL where there are none */
  float *q;              /* [n_q, q] after rotation */
  float *kv;             /* [n_rows, 2 kv] keys, then values */
  float *heads;          /* [n_q, q] attention's output */
  float *attended;       /* [n_q, dim] heads W_o + bias where a norm follows, else NULL */
  float *middle;         /* [n_q, dim] the stream that the mlp reads, NULL in parallel blocks */
  float *inner; /* [n_q, nki_mlp_width] before the activation, without biases; NULL: sparse */
  float *added; /* [n_q, dim] the mlp's output where a norm follows, else NULL */
};

/* Each keeps what the name says of a piece, where its block has a tape. kv: keys, values beside
 * them; ld from row to row. */
void nki_tape_input(const struct nki_piece *piece, const float *x);
void nki_tape_raw(const struct nki_piece *piece, const float *kv, size_t ld);
void nki_tape_heads(const struct nki_piece *piece, const float *kv, size_t ld);
/* to [n, width] = the first width numbers of each row of from. */
void nki_tape_copy(float *to, const float *from, size_t n, size_t width, size_t ld);
/* Where the tape has the piece's rows, from `row` of those that continue on; NULL: nowhere. */
float *nki_tape_output(const struct nki_piece *piece);
float *nki_tape_attended(const struct nki_piece *piece);
float *nki_tape_middle(const struct nki_piece *piece);
float *nki_tape_inner(const struct nki_piece *piece, size_t row);
float *nki_tape_added(const struct nki_piece *piece, size_t row);

/* Rows of the stream at one layer, or of the outputs at a site of a block. */
struct nki_stream {
  float *x;           /* [n, dim], of heads [n, nki_q_width] */
  size_t first, n;    /* rows [first, first + n) of the pass, or where `rows` is given: */
  const size_t *rows; /* [n] these rows, ascending */
  enum nk_site site;
};

/* The row of the pass in x, NULL where the stream has none. */
float *nki_stream_row(const struct nki_stream *stream, size_t row, size_t dim);

/* Applies the overrides at `layer` and the site to those of the rows that the stream has, then
 * reads what is asked there. *changed (may be NULL) = whether there was an override. NK_OK, or
 * NK_EDATA when a row that is read is not finite. */
int nki_touch(const struct nk_forward *forward, const struct nk_batch *batch,
              const struct nki_pass *pass, size_t layer, const struct nki_stream *stream,
              bool *changed);

/* ---- The mlp (mlp.c) ---- */

/* The most floats of a row inside an mlp. */
size_t nki_mlp_width(const struct nki_config *config);
/* Floats of a row of a layer's inner values; 0 in a sparse layer. */
size_t nki_inner_width(const struct nk_forward *forward, size_t layer);
/* Buffers of the mlps; work->forward and ->block_rows are set. NK_OK or NK_EMEMORY. */
int nki_mlp_make(struct nki_work *work);
void nki_mlp_free(struct nki_work *work);
/* out [n, dim] = mlp(y), or with `add` out += that, without the bias of NKI_DOWN; n <= block_rows.
 * out may be y without `add`. inner (NULL, or [n, nki_inner_width]) = the values before the
 * activation, without biases. NK_OK, or NK_EDATA when the choice of experts is not finite. */
int nki_mlp_run(struct nki_work *work, size_t layer, const float *y, size_t n, bool add, float *out,
                float *inner);

/* Fails with NK_EDATA and the first position of spans [n] whose input of block 0 is not finite
 * (finite.c). */
int nki_fail_embedding(const struct nk_forward *forward, const struct nki_pass *pass,
                       const struct nki_span *spans, size_t n);

#endif
