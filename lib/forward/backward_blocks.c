/* The backward pass of a group through one block, a piece at a time as blocks.c runs it. The
 * residual stream's gradient g is updated in place: it is that of the block's output, of the stream
 * between attention and mlp, then of the block's input. */
#include <noken/base.h>
#include <string.h>

#include "forward/backward.h"

/* ---- Buffers ---- */

int nki_back_make(struct nki_work *work, const struct nki_weight_arrays *arrays, size_t rows,
                  bool prefix, struct nki_back *back) {
  const struct nki_config *c = &work->forward->config;
  size_t width = c->expert_dim > c->shared_dim ? c->expert_dim : c->shared_dim;
  size_t n_prefix = c->shape.n_layers * work->n_prefix * nki_kv_width(c);
  *back = (struct nki_back){.work = work, .arrays = arrays};
  back->dy = nk_alloc(rows, c->shape.dim * sizeof(float));
  if (arrays != NULL || c->n_experts > 0) back->y = nk_alloc(rows, c->shape.dim * sizeof(float));
  if (back->dy == NULL || (back->y == NULL && (arrays != NULL || c->n_experts > 0)))
    return NK_EMEMORY;
  if (prefix) {
    back->prefix_dk = nk_calloc(n_prefix, sizeof(float));
    back->prefix_dv = nk_calloc(n_prefix, sizeof(float));
    if (back->prefix_dk == NULL || back->prefix_dv == NULL) return NK_EMEMORY;
  }
  if (c->n_experts == 0) return NK_OK;
  back->dact = nk_alloc(work->block_rows, 2 * width * sizeof(float));
  back->dscores = nk_alloc(work->block_rows, c->n_experts * sizeof(float));
  return back->dact == NULL || back->dscores == NULL ? NK_EMEMORY : NK_OK;
}

void nki_back_free(struct nki_back *back) {
  nk_free(back->dy);
  nk_free(back->y);
  nk_free(back->dact);
  nk_free(back->dscores);
  nk_free(back->prefix_dk);
  nk_free(back->prefix_dv);
}

/* ---- A piece ---- */

struct piece_back {
  struct nki_back *back;
  struct nki_piece piece;
  const struct nki_tape *tape; /* of the layer */
  float *g;                    /* [n_rows, dim] of the piece's rows */
  float *out;                  /* [n_q, dim] of those that continue; g where all do */
};

static const struct nki_config *config_of(const struct piece_back *p) {
  return &p->back->work->forward->config;
}

/* x [n_q, ..] of the tape from the piece's first row on. */
static float *continuing(const struct piece_back *p, float *x, size_t width) {
  return x == NULL ? NULL : x + nki_piece_first(&p->piece) * width;
}

/* to [n_rows, dim] += from [n_q, dim]. */
static void scatter(const struct piece_back *p, const float *from, float *to) {
  size_t dim = config_of(p)->shape.dim;
  for (size_t i = 0; i < p->piece.n_q; i++)
    nki_add(to + (nki_row_of_query(&p->piece, i) - p->piece.row) * dim, from + i * dim, dim);
}

/* Where the gradients of a part of this layer are added. */
static struct nki_arrays arrays_of(const struct piece_back *p, enum nki_part part) {
  const struct nki_weight_arrays *arrays = p->back->arrays;
  return arrays == NULL ? (struct nki_arrays){NULL, NULL, NULL}
                        : arrays->blocks[p->piece.layer].part[part];
}

static bool has_arrays(const struct piece_back *p) {
  return p->back->arrays != NULL && p->back->arrays->blocks[p->piece.layer].any;
}

/* The gradients of a norm's weights. */
static void norm_weights(const struct piece_back *p, enum nki_part norm, const float *x, size_t n,
                         const float *dy) {
  const struct nki_config *c = config_of(p);
  const struct nki_normed_rows rows = {n, c->shape.dim, x, c->shape.dim, dy, c->shape.dim};
  const struct nki_arrays to = arrays_of(p, norm);
  nki_norm_weights_back(&rows, c->rms, c->norm_eps, to.weight, to.bias);
}

/* dx [n, dim] += the gradient through a norm of the block's input (of the mlp's or attention's),
 * from dy. */
static void add_norm_back(const struct piece_back *p, enum nki_part norm, const float *x, size_t n,
                          const float *dy, float *dx) {
  const struct nki_config *c = config_of(p);
  const struct nki_norm_step step = {.config = c, .scale = p->back->work->floats[norm]};
  norm_weights(p, norm, x, n, dy);
  if (c->input_norms)
    nki_norm_back(&step, x, n, dy, dx, true);
  else
    nki_add(dx, dy, n * c->shape.dim);
}

/* The gradient of a product that is normed (x, before the norm) or scaled before it is added to the
 * stream: in work->own.y, or that of the stream itself. */
static float *aside_back(const struct piece_back *p, enum nki_part norm, const float *x, size_t n,
                         float *out) {
  const struct nki_config *c = config_of(p);
  const struct nki_norm_step step = {.config = c, .scale = p->back->work->floats[norm]};
  float *d = p->back->work->own.y;
  size_t size = n * c->shape.dim;
  if (step.scale.weight == NULL && c->residual_scale == 1.0f) return out;
  memcpy(d, out, size * sizeof *d);
  if (c->residual_scale != 1.0f) nki_scale(d, size, c->residual_scale);
  if (step.scale.weight == NULL) return d;
  norm_weights(p, norm, x, n, d);
  nki_norm_back(&step, x, n, d, d, false);
  return d;
}

/* ---- The mlp ---- */

/* back->dy [n_q, dim] = the gradient of what the mlp reads. x: the stream that its norm reads. */
static int mlp_back(const struct piece_back *p, enum nki_part norm, float *x) {
  struct nki_work *work = p->back->work;
  const struct nki_config *c = config_of(p);
  size_t dim = c->shape.dim, layer = p->piece.layer;
  const struct nki_norm_step step = {
      .config = c, .scale = work->floats[norm], .copy = !c->input_norms};
  float *y = c->layers[layer].sparse || has_arrays(p) ? p->back->y : NULL;
  int code = NK_OK;
  for (size_t at = 0; at < p->piece.n_q && code == NK_OK; at += work->block_rows) {
    size_t rest = p->piece.n_q - at, n = rest < work->block_rows ? rest : work->block_rows;
    const float *added = nki_tape_added(&p->piece, at);
    float *d = aside_back(p, NKI_NORM2_POST, added, n, p->out + at * dim);
    if (y != NULL) nki_norm_rows(&step, x + at * dim, n, y);
    code = nki_mlp_back(p->back, layer, nki_tape_inner(&p->piece, at), y, n, d,
                        p->back->dy + at * dim);
  }
  return code;
}

/* ---- Attention ---- */

struct rows {
  float *at;
  size_t ld;
};

/* y [n, dim] = the gradient through columns [first, first + n_out) of q, k, v side by side, from
 * d. */
static void project_back(const struct piece_back *p, size_t first, size_t n_out, const float *d,
                         size_t ld, size_t n, float *y) {
  struct nki_qkv_part parts[3];
  size_t n_parts = nki_qkv_parts(p->back->work, first, n_out, parts);
  for (size_t i = 0; i < n_parts; i++) {
    struct nki_product *product = &parts[i].product;
    product->add = i > 0;
    product->x = d + parts[i].at;
    product->ld_x = ld;
    product->y = y;
    product->ld_y = product->n_in;
    nki_multiply_back(product, n);
  }
}

/* The gradients of these columns' weights and biases; y [n, dim] is what they read. */
static void project_weights(const struct piece_back *p, size_t first, size_t n_out,
                            const struct rows *d, size_t n, const float *y) {
  struct nki_qkv_part parts[3];
  size_t n_parts = nki_qkv_parts(p->back->work, first, n_out, parts);
  for (size_t i = 0; i < n_parts; i++) {
    struct nki_product *product = &parts[i].product;
    const struct nki_arrays to = arrays_of(p, parts[i].part);
    product->x = y;
    product->ld_x = product->n_in;
    product->y = d->at + parts[i].at;
    product->ld_y = d->ld;
    nki_multiply_weight(product, n, to.weight);
    if (to.bias != NULL)
      nki_sum_rows(product->y, n, product->n_out, d->ld, to.bias + product->first);
  }
}

/* Gradients of q, k and v after the projections. */
struct heads_back {
  float *q, *k; /* v after k */
  size_t ld_q, ld_kv;
};

/* The prefix's own keys and values have the gradients of all sequences that saw them. */
static void add_prefix(const struct piece_back *p, const struct heads_back *d) {
  struct nki_back *back = p->back;
  size_t kv = nki_kv_width(config_of(p)), first = p->piece.layer * back->work->n_prefix * kv;
  if (p->piece.spans[0].sequence != NK_PREFIX || back->prefix_dk == NULL) return;
  for (size_t r = 0; r < p->piece.spans[0].n; r++) {
    nki_add(d->k + r * d->ld_kv, back->prefix_dk + first + r * kv, kv);
    nki_add(d->k + kv + r * d->ld_kv, back->prefix_dv + first + r * kv, kv);
  }
}

/* The gradients of the weights of the heads' norms, from d; x are the heads before the norms. */
static void head_norm_weights(const struct piece_back *p, const struct nki_rotation *r, bool keys,
                              const struct rows *x, const struct rows *d, size_t n) {
  const struct nki_arrays to = arrays_of(p, keys ? NKI_K_NORM : NKI_Q_NORM);
  bool whole = r->norm.kind == NKI_QK_NORM_WHOLE, each = r->norm.kind == NKI_QK_NORM_EACH;
  size_t width = whole ? r->n_heads * r->head_dim : r->head_dim;
  for (size_t at = 0; at < r->n_heads * r->head_dim; at += width) {
    const struct nki_normed_rows rows = {n, width, x->at + at, x->ld, d->at + at, d->ld};
    float *weight = to.weight == NULL ? NULL : to.weight + (each ? at : 0);
    nki_norm_weights_back(&rows, r->norm.rms, r->norm.eps,
                          to.each == NULL ? weight : to.each[at / width],
                          to.bias == NULL ? NULL : to.bias + (each ? at : 0));
  }
}

/* The rotation of queries or keys, then the norms and clipping before it; x->at NULL: none. */
static void turn_back(const struct piece_back *p, bool keys, const struct rows *x,
                      const struct rows *d, size_t n) {
  const struct nki_piece *piece = &p->piece;
  const uint32_t *positions =
      keys ? piece->pass->positions + piece->row : piece->work->own.q_positions;
  struct nki_rotation rotation = nki_piece_rotation(piece, keys);
  rotation.ld = d->ld;
  nki_rotate_back(&rotation, NULL, 0, d->at, positions, n);
  if (x->at == NULL) return;
  bool weights = rotation.norm.scale.weight != NULL && has_arrays(p);
  if (weights && rotation.clip > 0) nki_unclip_heads(&rotation, x->at, x->ld, d->at, n);
  if (weights) head_norm_weights(p, &rotation, keys, x, d, n);
  rotation.rotary_dim = 0;
  nki_rotate_back(&rotation, x->at, x->ld, d->at, positions, n);
}

/* Gradients of heads after norms, clipping and rotation become those before. */
static void rotate_back(const struct piece_back *p, const struct heads_back *d) {
  const struct nki_config *c = config_of(p);
  const struct nki_piece *piece = &p->piece;
  size_t kv = nki_kv_width(c), width = 2 * kv;
  const struct rows raw_q = {continuing(p, p->tape->raw_q, nki_q_width(c)), nki_q_width(c)};
  const struct rows raw_kv = {p->tape->raw_kv == NULL ? NULL : p->tape->raw_kv + piece->row * width,
                              width};
  const struct rows q = {d->q, d->ld_q}, k = {d->k, d->ld_kv};
  if (c->qkv_clip > 0)
    nki_clip_back(raw_kv.at + kv, width, piece->n_rows, kv, c->qkv_clip, d->k + kv, d->ld_kv);
  turn_back(p, false, &raw_q, &q, piece->n_q);
  turn_back(p, true, &raw_kv, &k, piece->n_rows);
}

/* d = the gradients of the projections, from those of attention's output in work->own.heads. */
static int heads_back(struct piece_back *p, const struct heads_back *d) {
  const struct nki_config *c = config_of(p);
  struct nki_back *back = p->back;
  struct nki_piece *piece = &p->piece;
  size_t kv = nki_kv_width(c), prefix = piece->layer * back->work->n_prefix * kv;
  float *keys = p->tape->kv + piece->row * 2 * kv;
  piece->q = continuing(p, p->tape->q, nki_q_width(c));
  piece->ld_q = nki_q_width(c);
  nki_piece_number(piece);
  struct nki_attention attention = nki_piece_attention(piece, keys, keys + kv, 2 * kv);
  attention.out = continuing(p, p->tape->heads, nki_q_width(c));
  const struct nki_attention_gradient gradient = {
      .attention = &attention,
      .out = back->work->own.heads,
      .q = d->q,
      .ld_q = d->ld_q,
      .k = d->k,
      .v = d->k + kv,
      .ld_kv = d->ld_kv,
      .prefix_k = back->prefix_dk == NULL ? NULL : back->prefix_dk + prefix,
      .prefix_v = back->prefix_dv == NULL ? NULL : back->prefix_dv + prefix,
      .sinks = arrays_of(p, NKI_SINKS).weight};
  int code = nki_attend_back(&gradient);
  add_prefix(p, d);
  rotate_back(p, d);
  return code;
}

/* work->own.heads = the gradient of attention's output, from out. */
static void output_back(const struct piece_back *p) {
  struct nki_work *work = p->back->work;
  const struct nki_config *c = config_of(p);
  size_t n = p->piece.n_q, dim = c->shape.dim, width = nki_q_width(c);
  float *d = p->out;
  if (!c->parallel) d = aside_back(p, NKI_NORM1_POST, continuing(p, p->tape->attended, dim), n, d);
  const struct nki_product product = {.weight = work->floats[NKI_O].weight,
                                      .in_out = c->in_out,
                                      .n_out = dim,
                                      .total = dim,
                                      .n_in = width,
                                      .x = d,
                                      .ld_x = dim,
                                      .y = work->own.heads,
                                      .ld_y = width};
  struct nki_product weight = product;
  const struct nki_arrays to = arrays_of(p, NKI_O);
  weight.x = continuing(p, p->tape->heads, width);
  weight.ld_x = width;
  weight.y = d;
  weight.ld_y = dim;
  nki_multiply_weight(&weight, n, to.weight);
  nki_sum_rows(d, n, dim, dim, to.bias);
  nki_multiply_back(&product, n);
}

/* The gradients of the projections' weights, from d. */
static void projections_back(const struct piece_back *p, const struct heads_back *d) {
  const struct nki_config *c = config_of(p);
  const struct nki_piece *piece = &p->piece;
  const struct rows dq = {d->q, d->ld_q}, dk = {d->k, d->ld_kv};
  size_t q = nki_q_width(c), kv = nki_kv_width(c), dim = c->shape.dim;
  const struct nki_norm_step norm = {
      .config = c, .scale = p->back->work->floats[NKI_NORM1], .copy = !c->input_norms};
  float *y = p->back->y;
  nki_norm_rows(&norm, p->tape->x + piece->row * dim, piece->n_rows, y);
  project_weights(p, q, 2 * kv, &dk, piece->n_rows, y);
  if (piece->last) nki_piece_pack(piece, y, y);
  project_weights(p, 0, q, &dq, piece->n_q, y);
}

/* work->own.y [n_rows, dim] = the gradient of what the projections read. With `more` also back->dy,
 * the mlp's of a block whose mlp reads the same. */
static int attention_back(struct piece_back *p, bool more) {
  struct nki_work *work = p->back->work;
  const struct nki_config *c = config_of(p);
  const struct nki_piece *piece = &p->piece;
  size_t q = nki_q_width(c), kv = nki_kv_width(c), width = q + 2 * kv, dim = c->shape.dim;
  const struct heads_back d = {piece->last ? work->own.q : work->own.qkv, work->own.qkv + q,
                               piece->last ? q : width, width};
  nki_fill_rows(work->own.qkv, piece->n_rows, width, width, NULL);
  if (piece->last) nki_fill_rows(work->own.q, piece->n_q, q, q, NULL);
  int code = heads_back(p, &d);
  if (code != NK_OK) return code;
  if (has_arrays(p)) projections_back(p, &d);
  if (!piece->last) {
    project_back(p, 0, width, work->own.qkv, width, piece->n_rows, work->own.y);
    if (more) nki_add(work->own.y, p->back->dy, piece->n_rows * dim);
    return NK_OK;
  }
  project_back(p, q, 2 * kv, work->own.qkv + q, width, piece->n_rows, work->own.y);
  if (more) scatter(p, p->back->dy, work->own.y);
  project_back(p, 0, q, work->own.q, q, piece->n_q, p->back->dy);
  scatter(p, p->back->dy, work->own.y);
  return NK_OK;
}

/* ---- A block ---- */

/* What its first norm reads, of the rows that continue: in work->own.y where not all do. */
static float *continuing_input(const struct piece_back *p) {
  size_t dim = config_of(p)->shape.dim;
  float *x = p->tape->x + p->piece.row * dim, *y = p->back->work->own.y;
  if (!p->piece.last) return x;
  nki_piece_pack(&p->piece, x, y);
  return y;
}

static int parallel_back(struct piece_back *p, bool *more) {
  bool two_norms = p->back->work->floats[NKI_NORM2].weight != NULL;
  float *x = continuing_input(p);
  int code = mlp_back(p, two_norms ? NKI_NORM2 : NKI_NORM1, x);
  if (code != NK_OK) return code;
  output_back(p);
  *more = !two_norms;
  if (two_norms) add_norm_back(p, NKI_NORM2, x, p->piece.n_q, p->back->dy, p->out);
  return NK_OK;
}

static int serial_back(const struct piece_back *p) {
  float *middle = nki_tape_middle(&p->piece);
  int code = mlp_back(p, NKI_NORM2, middle);
  if (code != NK_OK) return code;
  add_norm_back(p, NKI_NORM2, middle, p->piece.n_q, p->back->dy, p->out);
  output_back(p);
  return NK_OK;
}

static int piece_back(struct piece_back *p) {
  const struct nki_config *c = config_of(p);
  size_t n = p->piece.n_rows, dim = c->shape.dim;
  bool more = false;
  int code = NK_OK;
  if (p->piece.n_q > 0) code = c->parallel ? parallel_back(p, &more) : serial_back(p);
  if (code == NK_OK) code = attention_back(p, more);
  if (code != NK_OK) return code;
  if (p->piece.last) {
    memset(p->g, 0, n * dim * sizeof *p->g);
    scatter(p, p->out, p->g);
  }
  add_norm_back(p, NKI_NORM1, p->tape->x + p->piece.row * dim, n, p->back->work->own.y, p->g);
  return NK_OK;
}

int nki_block_back(struct nki_back *back, struct nki_pass *pass, size_t layer, float *g,
                   float *g_final) {
  size_t dim = back->work->forward->config.shape.dim;
  struct piece_back p = {.back = back,
                         .piece = {.work = back->work, .pass = pass, .layer = layer},
                         .tape = &pass->tapes[layer]};
  while (nki_piece_next(&p.piece)) {
    p.g = g + p.piece.row * dim;
    p.out = p.piece.last ? g_final + p.piece.final * dim : p.g;
    int code = piece_back(&p);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}
