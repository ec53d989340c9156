/* The pass of a group of sequences through the embedding and the blocks. All rows of the group (the
 * prefix's, where this group computes it, then each sequence's) lie in one matrix x. For each block
 * the weights are widened once; then x is processed in pieces of whole sequences, so that the
 * intermediate results of a piece stay small. In the last block only the rows that are read
 * continue after their keys and values. */
#include "forward/batch.h"

#include <math.h>
#include <noken/base.h>
#include <noken/forward.h>
#include <string.h>

/* ---- Sizes ---- */

static size_t q_width(const struct nki_config *c) {
  return c->shape.n_heads * c->shape.head_dim;
}

static size_t kv_width(const struct nki_config *c) {
  return c->shape.n_kv_heads * c->shape.head_dim;
}

static size_t qkv_width(const struct nki_config *c) {
  return q_width(c) + 2 * kv_width(c);
}

static bool is_gated(const struct nk_forward *forward) {
  const struct nki_block *block = &forward->blocks[0];
  return block->part[NKI_GATE].weight != NULL || block->part[NKI_GATE_UP].weight != NULL;
}

size_t nki_piece_rows(const struct nki_config *c) {
  const size_t bytes = (size_t)64 << 20, least = 1024, most = 8192;
  const size_t cache = (size_t)4 << 20, enough = 256;
  size_t row = 2 * q_width(c) + qkv_width(c) + c->shape.dim + 2 * c->shape.mlp_dim;
  size_t rows = cache / (row * sizeof(float));
  if (rows >= enough) return rows > most ? most : rows; /* a narrow model's stay in the cache */
  rows = bytes / (row * sizeof(float));
  return rows < least ? least : rows > most ? most : rows;
}

/* cos and sin of every position's angles, times the amplitude. */
static void fill_rotation(const struct nki_config *c, size_t n_positions, float *cosines,
                          float *sines) {
  size_t half = c->rotary_dim / 2;
  for (size_t p = 0; p < n_positions; p++)
    for (size_t i = 0; i < half; i++) {
      double angle = (double)p * c->frequencies[i];
      cosines[p * half + i] = (float)cos(angle) * c->rotary_amplitude;
      sines[p * half + i] = (float)sin(angle) * c->rotary_amplitude;
    }
}

int nki_work_make(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
                  struct nki_work *work) {
  const struct nk_forward *forward = plan->forward;
  const struct nki_config *c = &forward->config;
  size_t rows = nki_piece_rows(c), mlp_rows = rows, half = c->rotary_dim / 2, prefix;
  if (longest_span > rows) rows = longest_span;
  *work = (struct nki_work){
      .forward = forward, .block_rows = nki_piece_rows(c), .n_prefix = plan->batch->prefix.n};
  if (!nk_size_mul(c->shape.n_layers * kv_width(c), work->n_prefix, &prefix))
    return nk_fail(NK_EMEMORY, "a prefix of %zu positions", work->n_prefix);
  size_t q_columns = c->heads_inside ? qkv_width(c) : q_width(c);
  work->weights = nk_alloc(forward->scratch_floats, sizeof(float));
  work->both_biases = nk_alloc(c->shape.dim, sizeof(float));
  work->y = nk_alloc(rows * c->shape.dim, sizeof(float));
  work->qkv = nk_alloc(rows * qkv_width(c), sizeof(float));
  work->q = nk_alloc(rows * q_columns, sizeof(float));
  work->heads = nk_alloc(rows * q_width(c), sizeof(float));
  work->mlp = nk_alloc(mlp_rows * c->shape.mlp_dim, (is_gated(forward) ? 2 : 1) * sizeof(float));
  work->q_positions = nk_alloc(rows, sizeof(uint32_t));
  work->q_numbers = nk_alloc(rows, sizeof(uint32_t));
  work->views = nk_alloc(max_spans, sizeof *work->views);
  work->cos = nk_alloc(plan->longest * half, sizeof(float));
  work->sin = nk_alloc(plan->longest * half, sizeof(float));
  work->prefix_k = nk_alloc(prefix, sizeof(float));
  work->prefix_v = nk_alloc(prefix, sizeof(float));
  if (work->weights == NULL || work->both_biases == NULL || work->y == NULL || work->qkv == NULL ||
      work->q == NULL || work->heads == NULL || work->mlp == NULL || work->q_positions == NULL ||
      work->q_numbers == NULL || work->views == NULL || work->cos == NULL || work->sin == NULL ||
      work->prefix_k == NULL || work->prefix_v == NULL)
    return NK_EMEMORY;
  fill_rotation(c, plan->longest, work->cos, work->sin);
  return NK_OK;
}

void nki_work_free(struct nki_work *work) {
  nk_free(work->weights);
  nk_free(work->both_biases);
  nk_free(work->y);
  nk_free(work->qkv);
  nk_free(work->q);
  nk_free(work->heads);
  nk_free(work->mlp);
  nk_free(work->q_positions);
  nk_free(work->q_numbers);
  nk_free(work->views);
  nk_free(work->cos);
  nk_free(work->sin);
  nk_free(work->prefix_k);
  nk_free(work->prefix_v);
}

/* ---- Overrides, captures, embeddings ---- */

/* What stands at `layer`. */
static int touch(const struct nk_forward *forward, const struct nk_batch *batch,
                 const struct nki_pass *pass, size_t layer) {
  struct nki_stream stream = {.x = pass->x, .n = pass->n_rows};
  if (layer == pass->depth && pass->depth > 0)
    stream = (struct nki_stream){.x = pass->final, .n = pass->n_final, .rows = pass->final_rows};
  return nki_touch(forward, batch, pass, layer, &stream, NULL);
}

static int embed(const struct nk_forward *forward, const struct nk_batch *batch,
                 struct nki_pass *pass) {
  const struct nki_config *c = &forward->config;
  size_t dim = c->shape.dim;
  for (size_t s = 0; s < pass->n_spans; s++) {
    const struct nki_span *span = &pass->spans[s];
    for (size_t i = 0; i < span->n; i++) {
      float *x = pass->x + (span->row + i) * dim;
      if (span->ids[i] == NK_VECTOR)
        memset(x, 0, dim * sizeof *x);
      else
        nk_forward_embedding(forward, span->ids[i], x); /* ids were checked */
    }
  }
  int code = touch(forward, batch, pass, 0);
  if (code != NK_OK) return code;
  if (c->embedding_scale != 1.0f) nki_scale(pass->x, pass->n_rows * dim, c->embedding_scale);
  if (forward->positions == NULL) return NK_OK;
  float *scratch = nk_alloc(dim, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
  for (size_t r = 0; r < pass->n_rows; r++)
    nki_add(pass->x + r * dim,
            nki_tensor_floats(forward->positions, (pass->positions[r] + c->position_offset) * dim,
                              dim, scratch),
            dim);
  nk_free(scratch);
  return NK_OK;
}

/* ---- A piece: the spans [first, first + n) through one block ---- */

struct piece {
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

/* A product with a whole part; `product` has everything but the weight. */
static void multiply(const struct piece *piece, enum nki_part part, size_t n,
                     struct nki_product product) {
  product.weight = piece->work->floats[part].weight;
  product.total = product.n_out;
  product.in_out = piece->work->forward->config.in_out;
  nki_multiply(&product, n);
}

/* Columns [first, first + n_out) of q, k, v side by side, from y [n, dim]. */
static void project(const struct piece *piece, size_t first, size_t n_out, const float *y, size_t n,
                    float *out, size_t ld) {
  const struct nki_config *c = &piece->work->forward->config;
  const struct nki_floats *floats = piece->work->floats;
  struct nki_product product = {
      .n_in = c->shape.dim, .x = y, .ld_x = c->shape.dim, .y = out, .ld_y = ld};
  if (floats[NKI_QKV].weight != NULL) {
    product.weight = floats[NKI_QKV].weight;
    product.in_out = c->in_out;
    product.first = first;
    product.n_out = n_out;
    product.total = qkv_width(c);
    nki_multiply(&product, n);
    if (floats[NKI_QKV].bias != NULL) nki_add_bias(out, n, n_out, ld, floats[NKI_QKV].bias + first);
    return;
  }
  const enum nki_part parts[3] = {NKI_Q, NKI_K, NKI_V};
  const size_t widths[3] = {q_width(c), kv_width(c), kv_width(c)};
  size_t at = 0;
  for (int i = 0; i < 3; at += widths[i++]) {
    if (at < first || at + widths[i] > first + n_out) continue;
    product.y = out + at - first;
    product.n_out = widths[i];
    multiply(piece, parts[i], n, product);
    if (floats[parts[i]].bias != NULL)
      nki_add_bias(product.y, n, widths[i], ld, floats[parts[i]].bias);
  }
}

/* out = the rows of y that continue, in their order; out may be y. */
static void pack_rows(const struct piece *piece, float *y, size_t dim, float *out) {
  for (size_t i = 0; i < piece->n_q; i++) {
    size_t from = piece->pass->final_rows[piece->final + i] - piece->row;
    if (out + i * dim != y + from * dim) memmove(out + i * dim, y + from * dim, dim * sizeof *y);
  }
}

/* Queries, keys and values of the piece into work->qkv. In the last block the queries that continue
 * go into work->q, and x and y are packed to the rows that continue. */
static void project_heads(struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  size_t width = qkv_width(c), dim = c->shape.dim;
  piece->q = work->qkv;
  piece->ld_q = width;
  if (!piece->last || c->heads_inside)
    project(piece, 0, width, work->y, piece->n_rows, work->qkv, width);
  else
    project(piece, q_width(c), 2 * kv_width(c), work->y, piece->n_rows, work->qkv + q_width(c),
            width);
  if (!piece->last) return;
  pack_rows(piece, work->y, dim, work->y);
  pack_rows(piece, piece->pass->x + piece->row * dim, dim, piece->x);
  piece->q = work->q;
  if (c->heads_inside) {
    pack_rows(piece, work->qkv, width, work->q);
  } else {
    piece->ld_q = q_width(c);
    project(piece, 0, q_width(c), work->y, piece->n_q, work->q, piece->ld_q);
  }
}

/* ---- Attention of a piece ---- */

/* Heads of keys or values: head h of row r at x + r * ld + h * stride. */
struct heads {
  float *k, *v;
  size_t ld, stride;
};

static struct heads own_heads(const struct piece *piece) {
  const struct nki_config *c = &piece->work->forward->config;
  size_t head_dim = c->shape.head_dim;
  if (c->heads_inside) /* [heads, (q, k, v), head_dim] */
    return (struct heads){piece->work->qkv + head_dim, piece->work->qkv + 2 * head_dim,
                          qkv_width(c), 3 * head_dim};
  float *k = piece->work->qkv + q_width(c);
  return (struct heads){k, k + kv_width(c), qkv_width(c), head_dim};
}

/* The row of the pass that query i belongs to. */
static size_t row_of_query(const struct piece *piece, size_t i) {
  return piece->last ? piece->pass->final_rows[piece->final + i] : piece->row + i;
}

static void number_queries(const struct piece *piece) {
  for (size_t i = 0; i < piece->n_q; i++) {
    size_t row = row_of_query(piece, i);
    piece->work->q_positions[i] = piece->pass->positions[row];
    piece->work->q_numbers[i] = piece->pass->numbers[row];
  }
}

/* Norms and rotations of queries and keys. */
static void rotate_heads(const struct piece *piece, const struct heads *own) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  struct nki_rotation rotation = {.n_heads = c->shape.n_heads,
                                  .head_dim = c->shape.head_dim,
                                  .stride = own->stride,
                                  .ld = piece->ld_q,
                                  .norm = work->floats[NKI_Q_NORM].weight,
                                  .norm_eps = c->norm_eps,
                                  .rotary_dim = c->rotary_dim,
                                  .pairs = c->rotary_pairs,
                                  .cos = work->cos,
                                  .sin = work->sin};
  if (c->rotary_dim == 0 && rotation.norm == NULL) return;
  nki_rotate(&rotation, piece->q, work->q_positions, piece->n_q);
  rotation.n_heads = c->shape.n_kv_heads;
  rotation.norm = work->floats[NKI_K_NORM].weight;
  rotation.ld = own->ld;
  nki_rotate(&rotation, own->k, piece->pass->positions + piece->row, piece->n_rows);
}

/* Copies the keys and values of a span's rows, [n, kv] with the heads side by side. */
static void copy_heads(const struct nki_config *c, const struct heads *from, size_t row, size_t n,
                       float *k, float *v) {
  size_t n_heads = c->shape.n_kv_heads, head_dim = c->shape.head_dim;
  for (size_t r = 0; r < n; r++)
    for (size_t h = 0; h < n_heads; h++) {
      size_t at = (row + r) * from->ld + h * from->stride, to = (r * n_heads + h) * head_dim;
      memcpy(k + to, from->k + at, head_dim * sizeof *k);
      memcpy(v + to, from->v + at, head_dim * sizeof *v);
    }
}

/* Where the cache has the keys and values of a span's first own position in this layer. */
static struct heads cached_heads(const struct piece *piece, const struct nki_span *span) {
  const struct nki_config *c = &piece->work->forward->config;
  size_t kv = kv_width(c), start = (piece->layer * piece->pass->cache_rows + span->cache) * kv;
  return (struct heads){piece->pass->cache_k + start, piece->pass->cache_v + start, kv,
                        c->shape.head_dim};
}

/* Keeps the piece's keys and values: the prefix's for all groups, the others' for generation. */
static void keep_keys(const struct piece *piece, const struct heads *own) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  size_t kv = kv_width(c), prefix = piece->layer * work->n_prefix * kv;
  for (size_t i = 0; i < piece->n_spans; i++) {
    const struct nki_span *span = &piece->spans[i];
    size_t row = span->row - piece->row;
    if (span->sequence == NK_PREFIX) {
      copy_heads(c, own, row, span->n, work->prefix_k + prefix, work->prefix_v + prefix);
    } else if (piece->pass->cache_k != NULL) {
      struct heads cached = cached_heads(piece, span);
      copy_heads(c, own, row, span->n, cached.k + span->past * kv, cached.v + span->past * kv);
    }
  }
}

/* True when the spans' earlier positions are in the cache: in a pass, those of all spans or of
 * none. */
static bool has_past(const struct piece *piece) {
  return piece->spans[0].past > 0;
}

/* Each span's queries, and the keys and values they see. */
static void make_views(const struct piece *piece, const struct heads *own) {
  size_t q = 0;
  for (size_t i = 0; i < piece->n_spans; i++) {
    const struct nki_span *span = &piece->spans[i];
    struct heads heads = has_past(piece) ? cached_heads(piece, span) : *own;
    size_t offset = has_past(piece) ? 0 : (span->row - piece->row) * own->ld;
    struct nki_view *view = &piece->work->views[i];
    *view = (struct nki_view){.first = q,
                              .k = heads.k + offset,
                              .v = heads.v + offset,
                              .n_prefix = span->sequence == NK_PREFIX ? 0 : piece->work->n_prefix};
    while (q < piece->n_q && row_of_query(piece, q) < span->row + span->n) q++;
    view->n = q - view->first;
  }
}

/* work->heads = attention of the piece's queries. */
static int attend(const struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct heads own = own_heads(piece);
  size_t prefix = piece->layer * work->n_prefix * kv_width(c);
  number_queries(piece);
  rotate_heads(piece, &own);
  keep_keys(piece, &own);
  make_views(piece, &own);
  const struct nki_attention attention = {
      .n_heads = c->shape.n_heads,
      .n_kv_heads = c->shape.n_kv_heads,
      .head_dim = c->shape.head_dim,
      .scale = c->attention_scale,
      .cap = c->attention_cap,
      .window = c->windows[piece->layer],
      .q = piece->q,
      .ld_q = piece->ld_q,
      .q_stride = own.stride,
      .ld_kv = has_past(piece) ? kv_width(c) : own.ld,
      .kv_stride = has_past(piece) ? c->shape.head_dim : own.stride,
      .prefix_k = work->prefix_k + prefix,
      .prefix_v = work->prefix_v + prefix,
      .number = work->q_numbers,
      .views = work->views,
      .n_views = piece->n_spans,
      .out = work->heads};
  return nki_attend(&attention);
}

/* ---- After attention ---- */

/* y = norm(y), for a norm after a product. NK_OK, or NK_EDATA when y is not finite. */
static int normalize_in_place(const struct piece *piece, enum nki_part part, float *y, size_t n) {
  const struct nki_norm_step norm = {.config = &piece->work->forward->config,
                                     .scale = {piece->work->floats[part].weight, NULL}};
  return nki_norm_rows(&norm, y, n, y) ? NK_OK : nki_fail_block(piece->work->forward, piece->layer);
}

/* Parallel blocks: x += heads W_o and both biases; y = what the mlp reads. Its input x was checked
 * by the block's first norm, its output is by the next one. */
static void finish_parallel(const struct piece *piece, const struct nki_product *product) {
  struct nki_work *work = piece->work;
  const struct nki_norm_step norm = {.config = &work->forward->config,
                                     .after = work->both_biases,
                                     .scale = work->floats[NKI_NORM2]};
  size_t dim = work->forward->config.shape.dim;
  if (norm.scale.weight != NULL)
    nki_norm_rows(&norm, piece->x, piece->n_q, work->y);
  else
    nki_add_bias(piece->x, piece->n_q, dim, dim, work->both_biases);
  multiply(piece, NKI_O, piece->n_q, *product);
}

/* x += heads W_o + bias; y = what the mlp reads. NK_OK, or NK_EDATA when x is not finite. */
static int finish_attention(const struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  size_t dim = c->shape.dim, n = piece->n_q, width = q_width(c);
  struct nki_product product = {.add = true,
                                .n_out = dim,
                                .n_in = width,
                                .x = work->heads,
                                .ld_x = width,
                                .y = piece->x,
                                .ld_y = dim};
  if (c->parallel) {
    finish_parallel(piece, &product);
    return NK_OK;
  }
  struct nki_norm_step norm = {.config = c, .before = f[NKI_O].bias, .scale = f[NKI_NORM2]};
  if (f[NKI_NORM1_POST].weight != NULL) {
    product.add = false;
    product.y = work->y;
    multiply(piece, NKI_O, n, product);
    if (f[NKI_O].bias != NULL) nki_add_bias(work->y, n, dim, dim, f[NKI_O].bias);
    int code = normalize_in_place(piece, NKI_NORM1_POST, work->y, n);
    if (code != NK_OK) return code;
    nki_add(piece->x, work->y, n * dim);
    norm.before = NULL;
  } else {
    multiply(piece, NKI_O, n, product);
  }
  norm.after = f[NKI_NORM2_POST].weight == NULL ? f[NKI_DOWN].bias : NULL;
  return nki_norm_rows(&norm, piece->x, n, work->y) ? NK_OK
                                                    : nki_fail_block(work->forward, piece->layer);
}

/* work->mlp = the activated inner layer of the mlp, from y [n, dim]; returns where a row of `width`
 * values begins (*ld from row to row). */
static float *activate(const struct piece *piece, const float *y, size_t n, size_t *ld) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  size_t dim = c->shape.dim, width = c->shape.mlp_dim;
  bool gated = is_gated(work->forward);
  float *h = work->mlp + (gated ? width : 0);
  *ld = gated ? 2 * width : width;
  struct nki_product product = {
      .n_out = width, .n_in = dim, .x = y, .ld_x = dim, .y = work->mlp, .ld_y = *ld};
  if (f[NKI_GATE_UP].weight != NULL) {
    product.n_out = 2 * width;
    multiply(piece, NKI_GATE_UP, n, product);
  } else {
    if (gated) multiply(piece, NKI_GATE, n, product);
    product.y = h;
    multiply(piece, NKI_UP, n, product);
  }
  const struct nki_activating activating = {.f = c->activation,
                                            .width = width,
                                            .ld = *ld,
                                            .bias = f[NKI_UP].bias,
                                            .gate = gated ? work->mlp : NULL,
                                            .gate_bias = f[NKI_GATE].bias};
  nki_activate(&activating, h, n);
  return h;
}

/* x += mlp(y), in steps of as many rows as work->mlp holds. */
static int add_mlp(const struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_floats *f = work->floats;
  size_t dim = work->forward->config.shape.dim;
  bool normed = f[NKI_NORM2_POST].weight != NULL;
  for (size_t at = 0; at < piece->n_q; at += work->block_rows) {
    size_t n = piece->n_q - at < work->block_rows ? piece->n_q - at : work->block_rows, ld;
    float *x = piece->x + at * dim, *y = work->y + at * dim;
    const float *h = activate(piece, y, n, &ld);
    const struct nki_product product = {.add = !normed,
                                        .n_out = dim,
                                        .n_in = work->forward->config.shape.mlp_dim,
                                        .x = h,
                                        .ld_x = ld,
                                        .y = normed ? y : x,
                                        .ld_y = dim};
    multiply(piece, NKI_DOWN, n, product);
    if (!normed) continue;
    if (f[NKI_DOWN].bias != NULL) nki_add_bias(y, n, dim, dim, f[NKI_DOWN].bias);
    int code = normalize_in_place(piece, NKI_NORM2_POST, y, n);
    if (code != NK_OK) return code;
    nki_add(x, y, n * dim);
  }
  return NK_OK;
}

static int run_piece(struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_norm_step norm = {.config = c, .scale = work->floats[NKI_NORM1]};
  float *x = piece->pass->x + piece->row * c->shape.dim;
  if (!nki_norm_rows(&norm, x, piece->n_rows, work->y))
    return piece->layer == 0 ? nki_fail_embedding(work->forward, piece->pass)
                             : nki_fail_block(work->forward, piece->layer - 1);
  project_heads(piece);
  int code = attend(piece);
  if (code != NK_OK || piece->n_q == 0) return code;
  code = finish_attention(piece);
  return code == NK_OK ? add_mlp(piece) : code;
}

/* ---- A block, and all of them ---- */

static void load_block(struct nki_work *work, size_t layer) {
  const struct nki_config *c = &work->forward->config;
  nki_block_widen(work->forward, layer, work->weights, work->floats);
  if (!c->parallel) return;
  memset(work->both_biases, 0, c->shape.dim * sizeof(float));
  if (work->floats[NKI_O].bias != NULL)
    nki_add(work->both_biases, work->floats[NKI_O].bias, c->shape.dim);
  if (work->floats[NKI_DOWN].bias != NULL)
    nki_add(work->both_biases, work->floats[NKI_DOWN].bias, c->shape.dim);
}

static int run_block(struct nki_work *work, struct nki_pass *pass, size_t layer) {
  size_t dim = work->forward->config.shape.dim, final = 0;
  bool last = layer + 1 == pass->depth;
  load_block(work, layer);
  for (size_t s = 0; s < pass->n_spans;) {
    struct piece piece = {.work = work,
                          .pass = pass,
                          .layer = layer,
                          .spans = pass->spans + s,
                          .row = pass->spans[s].row,
                          .last = last,
                          .final = final};
    do {
      piece.n_rows += pass->spans[s++].n;
      piece.n_spans++;
    } while (s < pass->n_spans && piece.n_rows + pass->spans[s].n <= work->block_rows);
    while (final < pass->n_final && pass->final_rows[final] < piece.row + piece.n_rows) final++;
    piece.n_q = last ? final - piece.final : piece.n_rows;
    piece.x = last ? pass->final + piece.final * dim : pass->x + piece.row * dim;
    int code = run_piece(&piece);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

int nki_pass_run(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass) {
  int code = embed(work->forward, batch, pass);
  for (size_t layer = 0; layer < pass->depth && code == NK_OK; layer++) {
    if (layer > 0) code = touch(work->forward, batch, pass, layer);
    if (code == NK_OK) code = run_block(work, pass, layer);
  }
  if (code == NK_OK && pass->depth > 0) code = touch(work->forward, batch, pass, pass->depth);
  return code;
}
