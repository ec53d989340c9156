/* The pass of a group of sequences through the embedding and the blocks. All rows of the group (the
 * prefix's, where this group computes it, then each sequence's) lie in one matrix x. For each block
 * the weights are made floats once; then x is taken in pieces of whole sequences, so that what a
 * piece needs in between stays small. In the last block only the rows that something is asked of go
 * beyond their keys and values. */
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
  size_t row = 2 * q_width(c) + qkv_width(c) + c->shape.dim + 2 * c->shape.mlp_dim;
  size_t rows = bytes / (row * sizeof(float));
  return rows < least ? least : rows > most ? most : rows;
}

int nki_work_make(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
                  struct nki_work *work) {
  const struct nk_forward *forward = plan->forward;
  const struct nki_config *c = &forward->config;
  size_t rows = nki_piece_rows(c), mlp_rows = rows, half = c->rotary_dim / 2, prefix;
  if (longest_span > rows) rows = longest_span;
  *work = (struct nki_work){
      .forward = forward, .block_rows = nki_piece_rows(c), .n_prefix = plan->batch->prefix.n};
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
  if (!nk_size_mul(c->shape.n_layers * kv_width(c), work->n_prefix, &prefix))
    return nk_fail(NK_EMEMORY, "a prefix of %zu positions", work->n_prefix);
  work->prefix_k = nk_alloc(prefix, sizeof(float));
  work->prefix_v = nk_alloc(prefix, sizeof(float));
  if (work->weights == NULL || work->both_biases == NULL || work->y == NULL || work->qkv == NULL ||
      work->q == NULL || work->heads == NULL || work->mlp == NULL || work->q_positions == NULL ||
      work->q_numbers == NULL || work->views == NULL || work->cos == NULL || work->sin == NULL ||
      work->prefix_k == NULL || work->prefix_v == NULL)
    return NK_EMEMORY;
  for (size_t p = 0; p < plan->longest; p++)
    for (size_t i = 0; i < half; i++) {
      double angle = (double)p * c->frequencies[i];
      work->cos[p * half + i] = (float)cos(angle) * c->rotary_amplitude;
      work->sin[p * half + i] = (float)sin(angle) * c->rotary_amplitude;
    }
  return 0;
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

/* The place of a row among the final ones; n_final when it is none. */
static size_t final_of_row(const struct nki_pass *pass, size_t row) {
  size_t lo = 0, hi = pass->n_final;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (pass->final_rows[mid] < row)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < pass->n_final && pass->final_rows[lo] == row ? lo : pass->n_final;
}

/* The stream at `layer` of a row, NULL where it was not computed. */
static float *stream(const struct nki_pass *pass, size_t layer, size_t row, size_t dim) {
  if (layer < pass->depth || pass->depth == 0) return pass->x + row * dim;
  size_t f = final_of_row(pass, row);
  return f == pass->n_final ? NULL : pass->final + f * dim;
}

static void touch(const struct nk_forward *forward, const struct nk_batch *batch,
                  const struct nki_pass *pass, size_t layer) {
  size_t dim = forward->config.shape.dim;
  for (size_t i = 0; i < pass->n_overrides; i++) {
    const struct nk_override *o = &batch->overrides[pass->overrides[i].index];
    if (o->layer != layer) continue;
    float *x = stream(pass, layer, pass->overrides[i].row, dim);
    if (x == NULL) continue;
    if (o->mode == NK_REPLACE)
      memcpy(x, o->vector, dim * sizeof *x);
    else
      nki_add(x, o->vector, dim);
  }
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *a = &batch->asks[pass->asks[i].index];
    for (size_t l = 0; l < a->n_layers; l++) {
      if (a->layers[l] != layer) continue;
      const float *x = stream(pass, layer, pass->asks[i].row, dim);
      if (a->residuals != NULL) memcpy(a->residuals + l * dim, x, dim * sizeof *x);
      if (a->norms != NULL) a->norms[l] = nki_length(x, dim);
    }
  }
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
  touch(forward, batch, pass, 0);
  if (c->embedding_scale != 1.0f) nki_scale(pass->x, pass->n_rows * dim, c->embedding_scale);
  if (forward->positions == NULL) return 0;
  float *scratch = nk_alloc(dim, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
  for (size_t r = 0; r < pass->n_rows; r++)
    nki_add(pass->x + r * dim,
            nki_tensor_floats(forward->positions, (pass->positions[r] + c->position_offset) * dim,
                              dim, scratch),
            dim);
  nk_free(scratch);
  return 0;
}

/* ---- A piece: the spans [first, first + n) through one block ---- */

struct piece {
  struct nki_work *work;
  struct nki_pass *pass;
  size_t layer;
  const struct nki_span *spans;
  size_t n_spans;
  size_t row, n_rows; /* of pass->x */
  bool last;          /* only the final rows go on */
  size_t final, n_q;  /* last: final rows [final, final + n_q); else n_q = n_rows */
  float *x;           /* [n_q, dim] what the block adds to */
  const float *q;     /* queries and where their heads lie */
  size_t ld_q;
};

/* y (+)= x W^T for a whole part. */
static void multiply(const struct piece *piece, enum nki_part part, const float *x, size_t n,
                     size_t ld_x, float *y, size_t n_out, size_t n_in, size_t ld_y, bool add) {
  struct nki_product product = {piece->work->floats[part].weight, n_out, n_in,
                                piece->work->forward->config.in_out};
  nki_multiply(&product, 0, n_out, x, n, ld_x, y, ld_y, add);
}

/* Columns [first, first + n_out) of q, k, v side by side, from y [n, dim]. */
static void project(const struct piece *piece, size_t first, size_t n_out, const float *y, size_t n,
                    float *out, size_t ld) {
  const struct nki_config *c = &piece->work->forward->config;
  const struct nki_floats *floats = piece->work->floats;
  size_t dim = c->shape.dim;
  if (floats[NKI_QKV].weight != NULL) {
    struct nki_product product = {floats[NKI_QKV].weight, qkv_width(c), dim, c->in_out};
    nki_multiply(&product, first, n_out, y, n, dim, out, ld, false);
    if (floats[NKI_QKV].bias != NULL) nki_add_bias(out, n, n_out, ld, floats[NKI_QKV].bias + first);
    return;
  }
  const enum nki_part parts[3] = {NKI_Q, NKI_K, NKI_V};
  const size_t widths[3] = {q_width(c), kv_width(c), kv_width(c)};
  size_t at = 0;
  for (int i = 0; i < 3; at += widths[i++]) {
    if (at < first || at + widths[i] > first + n_out) continue;
    multiply(piece, parts[i], y, n, dim, out + at - first, widths[i], dim, ld, false);
    if (floats[parts[i]].bias != NULL)
      nki_add_bias(out + at - first, n, widths[i], ld, floats[parts[i]].bias);
  }
}

/* Keeps the rows of y that go on, in their order: y is packed in place. */
static void pack_rows(const struct piece *piece, float *y, size_t dim, float *out) {
  for (size_t i = 0; i < piece->n_q; i++) {
    size_t from = piece->pass->final_rows[piece->final + i] - piece->row;
    if (out + i * dim != y + from * dim) memmove(out + i * dim, y + from * dim, dim * sizeof *y);
  }
}

/* Queries, keys and values of the piece into work->qkv (and, of the last block, the queries that go
 * on into work->q; x and y are then packed to the rows that do). */
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

/* Head by head, as some layouts have other things between the heads. */
static void copy_heads(const float *from, size_t ld, size_t stride, size_t n, size_t n_heads,
                       size_t head_dim, float *to) {
  for (size_t r = 0; r < n; r++)
    for (size_t h = 0; h < n_heads; h++)
      memcpy(to + (r * n_heads + h) * head_dim, from + r * ld + h * stride, head_dim * sizeof *to);
}

static int attend(struct piece *piece) {
  struct nki_work *work = piece->work;
  struct nki_pass *pass = piece->pass;
  const struct nki_config *c = &work->forward->config;
  const struct nk_forward_shape *s = &c->shape;
  size_t width = qkv_width(c), kv = kv_width(c),
         stride = c->heads_inside ? 3 * s->head_dim : s->head_dim;
  float *k = work->qkv + (c->heads_inside ? s->head_dim : q_width(c));
  float *v = k + (c->heads_inside ? s->head_dim : kv);
  for (size_t i = 0; i < piece->n_q; i++) {
    size_t row = piece->last ? pass->final_rows[piece->final + i] : piece->row + i;
    work->q_positions[i] = pass->positions[row];
    work->q_numbers[i] = pass->numbers[row];
  }
  struct nki_rotation rotation = {.n_heads = s->n_heads,
                                  .head_dim = s->head_dim,
                                  .stride = stride,
                                  .ld = piece->ld_q,
                                  .norm = work->floats[NKI_Q_NORM].weight,
                                  .norm_eps = c->norm_eps,
                                  .rotary_dim = c->rotary_dim,
                                  .pairs = c->rotary_pairs,
                                  .cos = work->cos,
                                  .sin = work->sin};
  if (c->rotary_dim > 0 || rotation.norm != NULL) {
    nki_rotate(&rotation, (float *)piece->q, work->q_positions, piece->n_q);
    rotation.n_heads = s->n_kv_heads;
    rotation.norm = work->floats[NKI_K_NORM].weight;
    rotation.ld = width;
    nki_rotate(&rotation, k, pass->positions + piece->row, piece->n_rows);
  }
  struct nki_attention attention = {.n_heads = s->n_heads,
                                    .n_kv_heads = s->n_kv_heads,
                                    .head_dim = s->head_dim,
                                    .scale = c->attention_scale,
                                    .cap = c->attention_cap,
                                    .window = c->windows[piece->layer],
                                    .q = piece->q,
                                    .ld_q = piece->ld_q,
                                    .q_stride = stride,
                                    .ld_kv = width,
                                    .kv_stride = stride,
                                    .number = work->q_numbers,
                                    .views = work->views,
                                    .n_views = piece->n_spans,
                                    .out = work->heads};
  attention.prefix_k = work->prefix_k + piece->layer * work->n_prefix * kv;
  attention.prefix_v = work->prefix_v + piece->layer * work->n_prefix * kv;
  size_t q_row = 0;
  for (size_t i = 0; i < piece->n_spans; i++) {
    const struct nki_span *span = &piece->spans[i];
    size_t at = span->row - piece->row;
    struct nki_view *view = &work->views[i];
    *view = (struct nki_view){
        .first = q_row, .k = k + at * width, .v = v + at * width, .n_prefix = work->n_prefix};
    while (q_row < piece->n_q && (piece->last ? pass->final_rows[piece->final + q_row]
                                              : piece->row + q_row) < span->row + span->n)
      q_row++;
    view->n = q_row - view->first;
    if (span->sequence == NK_PREFIX) {
      view->n_prefix = 0;
      copy_heads(view->k, width, stride, span->n, s->n_kv_heads, s->head_dim,
                 work->prefix_k + piece->layer * work->n_prefix * kv);
      copy_heads(view->v, width, stride, span->n, s->n_kv_heads, s->head_dim,
                 work->prefix_v + piece->layer * work->n_prefix * kv);
    } else if (pass->cache_k != NULL) {
      size_t start = (piece->layer * pass->cache_rows + span->cache) * kv;
      copy_heads(view->k, width, stride, span->n, s->n_kv_heads, s->head_dim,
                 pass->cache_k + start + span->past * kv);
      copy_heads(view->v, width, stride, span->n, s->n_kv_heads, s->head_dim,
                 pass->cache_v + start + span->past * kv);
      if (span->past > 0) { /* then all spans of the pass have a past */
        view->k = pass->cache_k + start;
        view->v = pass->cache_v + start;
        attention.ld_kv = kv;
        attention.kv_stride = s->head_dim;
      }
    }
  }
  return nki_attend(&attention);
}

/* work->heads through the output product onto x; y = what the mlp reads. */
static void finish_attention(struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  size_t dim = c->shape.dim, n = piece->n_q, width = q_width(c);
  if (c->parallel) {
    if (f[NKI_NORM2].weight != NULL)
      nki_norm(c, piece->x, n, dim, NULL, work->both_biases, f[NKI_NORM2].weight, f[NKI_NORM2].bias,
               work->y);
    else
      nki_add_bias(piece->x, n, dim, dim, work->both_biases);
    multiply(piece, NKI_O, work->heads, n, width, piece->x, dim, width, dim, true);
    return;
  }
  const float *before = f[NKI_O].bias;
  if (f[NKI_NORM1_POST].weight != NULL) {
    multiply(piece, NKI_O, work->heads, n, width, work->y, dim, width, dim, false);
    if (before != NULL) nki_add_bias(work->y, n, dim, dim, before);
    nki_norm(c, work->y, n, dim, NULL, NULL, f[NKI_NORM1_POST].weight, NULL, work->y);
    nki_add(piece->x, work->y, n * dim);
    before = NULL;
  } else {
    multiply(piece, NKI_O, work->heads, n, width, piece->x, dim, width, dim, true);
  }
  const float *after = f[NKI_NORM2_POST].weight == NULL ? f[NKI_DOWN].bias : NULL;
  nki_norm(c, piece->x, n, dim, before, after, f[NKI_NORM2].weight, f[NKI_NORM2].bias, work->y);
}

/* x += mlp(y), so many rows at a time as work->mlp holds. */
static void add_mlp(struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  size_t dim = c->shape.dim, width = c->shape.mlp_dim;
  bool gated = is_gated(work->forward);
  size_t ld = gated ? 2 * width : width;
  for (size_t at = 0; at < piece->n_q; at += work->block_rows) {
    size_t n = piece->n_q - at < work->block_rows ? piece->n_q - at : work->block_rows;
    float *x = piece->x + at * dim, *y = work->y + at * dim, *h = work->mlp;
    if (f[NKI_GATE_UP].weight != NULL) {
      multiply(piece, NKI_GATE_UP, y, n, dim, h, 2 * width, dim, ld, false);
      h += width;
    } else {
      if (gated) {
        multiply(piece, NKI_GATE, y, n, dim, h, width, dim, ld, false);
        h += width;
      }
      multiply(piece, NKI_UP, y, n, dim, h, width, dim, ld, false);
    }
    nki_activate(c->activation, h, f[NKI_UP].bias, gated ? work->mlp : NULL, f[NKI_GATE].bias, n,
                 width, ld);
    if (f[NKI_NORM2_POST].weight == NULL) {
      multiply(piece, NKI_DOWN, h, n, ld, x, dim, width, dim, true);
      continue;
    }
    multiply(piece, NKI_DOWN, h, n, ld, y, dim, width, dim, false);
    if (f[NKI_DOWN].bias != NULL) nki_add_bias(y, n, dim, dim, f[NKI_DOWN].bias);
    nki_norm(c, y, n, dim, NULL, NULL, f[NKI_NORM2_POST].weight, NULL, y);
    nki_add(x, y, n * dim);
  }
}

static int run_piece(struct piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  nki_norm(c, piece->pass->x + piece->row * c->shape.dim, piece->n_rows, c->shape.dim, NULL, NULL,
           f[NKI_NORM1].weight, f[NKI_NORM1].bias, work->y);
  project_heads(piece);
  int code = attend(piece);
  if (code != NK_OK) return code;
  if (piece->n_q == 0) return 0;
  finish_attention(piece);
  add_mlp(piece);
  return 0;
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
  return 0;
}

int nki_pass_run(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass) {
  int code = embed(work->forward, batch, pass);
  for (size_t layer = 0; layer < pass->depth && code == NK_OK; layer++) {
    if (layer > 0) touch(work->forward, batch, pass, layer);
    code = run_block(work, pass, layer);
  }
  if (code == NK_OK && pass->depth > 0) touch(work->forward, batch, pass, pass->depth);
  return code;
}
