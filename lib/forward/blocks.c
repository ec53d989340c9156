/* The pass of a group of sequences through the embedding and the blocks. All rows of the group (the
 * prefix's, where this group computes it, then each sequence's) lie in one matrix x. For each block
 * the weights are widened once; then x is processed in pieces of whole sequences, so that the
 * intermediate results of a piece stay small. In the last block only the rows that are read
 * continue after their keys and values. */
#include "forward/batch.h"

#include <math.h>
#include <noken/base.h>
#include <noken/forward.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "forward/bf16.h"

/* ---- Sizes ---- */

enum {
  LEAST_ROWS = 1024,
  MOST_ROWS = 8192,
  CACHED_ROWS = 256, /* enough for products of a piece that stays in the cache */
  FEW_PIECES = 4,    /* for each thread: too few to give each thread pieces of its own */
  MOST_PIECES = 64,  /* at a time */
};

/* Rows whose floats inside a block have so many bytes. */
static size_t rows_of(const struct nki_config *c, size_t bytes) {
  size_t row = 2 * nki_q_width(c) + nki_qkv_width(c) + c->shape.dim + nki_mlp_width(c);
  return bytes / (row * sizeof(float));
}

static const size_t CACHE = (size_t)4 << 20;

/* True for a narrow model, whose pieces stay in the cache. */
static bool fits_cache(const struct nki_config *c) {
  return rows_of(c, CACHE) >= CACHED_ROWS;
}

size_t nki_piece_rows(const struct nki_config *c) {
  size_t rows = rows_of(c, fits_cache(c) ? CACHE : (size_t)64 << 20);
  size_t least = fits_cache(c) ? CACHED_ROWS : LEAST_ROWS;
  return rows < least ? least : rows > MOST_ROWS ? MOST_ROWS : rows;
}

/* cos and sin of every position's angles, times the amplitude. */
static void fill_rotation(const struct nki_rope *rope, size_t n_positions, float *cosines,
                          float *sines) {
  size_t half = rope->dim / 2;
  for (size_t p = 0; p < n_positions; p++)
    for (size_t i = 0; i < half; i++) {
      double angle = (double)p * rope->frequencies[i];
      cosines[p * half + i] = (float)cos(angle) * rope->amplitude;
      sines[p * half + i] = (float)sin(angle) * rope->amplitude;
    }
}

/* To the nearest bfloat16, ties to even. */
static float round_to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1);
  bits &= 0xffff0000;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* What is added to the score of the key at each position: softmax does not change when the same is
 * added to all scores, so the distance from the query is not needed. */
static void fill_alibi(const struct nki_config *c, size_t n_positions, float *alibi) {
  for (size_t h = 0; h < c->shape.n_heads; h++)
    for (size_t p = 0; p < n_positions; p++) {
      float slope = c->slopes[h];
      alibi[h * n_positions + p] =
          c->slopes_rounded
              ? round_to_bfloat16(round_to_bfloat16(slope) * round_to_bfloat16((float)p)) *
                    c->attention_scale
              : slope * (float)p;
    }
}

/* The tables of positions. */
static int make_positions(const struct nki_plan *plan, struct nki_work *work) {
  const struct nki_config *c = &plan->forward->config;
  size_t n = plan->longest;
  for (size_t i = 0; i < NKI_N_ROPES; i++) {
    size_t half = c->ropes[i].dim / 2;
    if (half == 0) continue;
    work->cos[i] = nk_alloc(n * half, sizeof(float));
    work->sin[i] = nk_alloc(n * half, sizeof(float));
    if (work->cos[i] == NULL || work->sin[i] == NULL) return NK_EMEMORY;
    fill_rotation(&c->ropes[i], n, work->cos[i], work->sin[i]);
  }
  if (c->slopes == NULL) return NK_OK;
  work->ld_alibi = n;
  work->alibi = nk_alloc(c->shape.n_heads * n, sizeof(float));
  if (work->alibi == NULL) return NK_EMEMORY;
  fill_alibi(c, n, work->alibi);
  return NK_OK;
}

/* What a piece of `rows` rows needs. */
static int make_buffers(const struct nki_plan *plan, size_t rows, size_t max_spans,
                        struct nki_work *work) {
  const struct nki_config *c = &work->forward->config;
  bool apart = plan->sites && c->parallel;
  work->own.y = nk_alloc(rows * c->shape.dim, sizeof(float));
  work->own.apart = apart ? nk_alloc(rows * c->shape.dim, sizeof(float)) : NULL;
  work->own.qkv = nk_alloc(rows * nki_qkv_width(c), sizeof(float));
  work->own.q = nk_alloc(rows * nki_q_width(c), sizeof(float));
  work->own.heads = nk_alloc(rows * nki_q_width(c), sizeof(float));
  work->own.q_positions = nk_alloc(rows, sizeof(uint32_t));
  work->own.q_numbers = nk_alloc(rows, sizeof(uint32_t));
  work->own.views = nk_alloc(max_spans, sizeof *work->own.views);
  if (work->own.y == NULL || work->own.qkv == NULL || work->own.q == NULL ||
      work->own.heads == NULL || work->own.q_positions == NULL || work->own.q_numbers == NULL ||
      work->own.views == NULL || (apart && work->own.apart == NULL))
    return NK_EMEMORY;
  return nki_mlp_make(work);
}

static void free_buffers(struct nki_work *work) {
  nk_free(work->own.y);
  nk_free(work->own.apart);
  nk_free(work->own.qkv);
  nk_free(work->own.q);
  nk_free(work->own.heads);
  nk_free(work->own.q_positions);
  nk_free(work->own.q_numbers);
  nk_free(work->own.views);
  nki_mlp_free(work);
}

/* Threads that have a piece each: those of a narrow model, where there are pieces enough. Its
 * products are too small to be shared by threads. A run of bfloat16 products is one thread's. */
static size_t n_workers(const struct nki_plan *plan, size_t piece_rows) {
  const struct nki_config *c = &plan->forward->config;
  size_t rows = 0, n_threads = nk_threads();
  for (size_t s = 0; s < plan->batch->n_sequences; s++) rows += plan->lengths[s];
  bool narrow = c->n_experts == 0 && fits_cache(c) && plan->forward->bf16 == NULL;
  return narrow && rows / piece_rows >= FEW_PIECES * n_threads ? n_threads : 1;
}

int nki_work_make(const struct nki_plan *plan, size_t longest_span, size_t max_spans,
                  struct nki_work *work) {
  const struct nk_forward *forward = plan->forward;
  const struct nki_config *c = &forward->config;
  size_t rows = nki_piece_rows(c), prefix, n = n_workers(plan, rows);
  if (longest_span > rows) rows = longest_span;
  *work = (struct nki_work){
      .forward = forward, .block_rows = nki_piece_rows(c), .n_prefix = plan->batch->prefix.n};
  if (!nk_size_mul(c->shape.n_layers * nki_kv_width(c), work->n_prefix, &prefix))
    return nk_fail(NK_EMEMORY, "a prefix of %zu positions", work->n_prefix);
  work->weights = nk_alloc(forward->scratch_floats, sizeof(float));
  work->bf16 = forward->bf16 == NULL ? NULL : nki_bf16_run_new(forward->bf16);
  work->both_biases = nk_alloc(c->shape.dim, sizeof(float));
  work->prefix_k = nk_alloc(prefix, sizeof(float));
  work->prefix_v = nk_alloc(prefix, sizeof(float));
  work->others = nk_calloc(n - 1, sizeof *work->others);
  if (work->weights == NULL || work->both_biases == NULL || work->prefix_k == NULL ||
      work->prefix_v == NULL || work->others == NULL ||
      (forward->bf16 != NULL && work->bf16 == NULL))
    return NK_EMEMORY;
  work->n_others = n - 1;
  int code = make_positions(plan, work);
  if (code == NK_OK) code = make_buffers(plan, rows, max_spans, work);
  for (size_t i = 0; i < work->n_others && code == NK_OK; i++) {
    work->others[i] = (struct nki_work){.forward = forward, .block_rows = work->block_rows};
    code = make_buffers(plan, rows, max_spans, &work->others[i]);
  }
  return code;
}

void nki_work_free(struct nki_work *work) {
  free_buffers(work);
  for (size_t i = 0; i < work->n_others; i++) free_buffers(&work->others[i]);
  nk_free(work->others);
  nk_free(work->weights);
  nki_bf16_run_free(work->bf16);
  nk_free(work->both_biases);
  for (size_t i = 0; i < NKI_N_ROPES; i++) {
    nk_free(work->cos[i]);
    nk_free(work->sin[i]);
  }
  nk_free(work->alibi);
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

/* The norm of BLOOM's embeddings. */
static int normalize_embeddings(const struct nk_forward *forward, struct nki_pass *pass) {
  size_t dim = forward->config.shape.dim;
  float *scratch = nk_alloc(2 * dim, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
  const struct nki_norm_step norm = nki_outer_norm(forward, &forward->embedding_norm, scratch);
  if (pass->embedded != NULL) memcpy(pass->embedded, pass->x, pass->n_rows * dim * sizeof(float));
  bool finite = nki_norm_rows(&norm, pass->x, pass->n_rows, pass->x);
  nk_free(scratch);
  return finite ? NK_OK : nki_fail_embedding(forward, pass, pass->spans, pass->n_spans);
}

static int add_positions(const struct nk_forward *forward, struct nki_pass *pass) {
  size_t dim = forward->config.shape.dim, offset = forward->config.position_offset;
  float *scratch = nk_alloc(nk_threads(), dim * sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
#pragma omp parallel for if (pass->n_rows > 1)
  for (size_t r = 0; r < pass->n_rows; r++)
    nki_add(pass->x + r * dim,
            nki_tensor_floats(forward->positions, (pass->positions[r] + offset) * dim, dim,
                              scratch + (size_t)omp_get_thread_num() * dim),
            dim);
  nk_free(scratch);
  return NK_OK;
}

static int embed(const struct nk_forward *forward, const struct nk_batch *batch,
                 struct nki_pass *pass) {
  const struct nki_config *c = &forward->config;
  size_t dim = c->shape.dim;
#pragma omp parallel for if (pass->n_spans > 1)
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
  if (forward->embedding_norm.weight != NULL) return normalize_embeddings(forward, pass);
  return forward->positions == NULL ? NK_OK : add_positions(forward, pass);
}

/* ---- A piece through one block ---- */

/* A product with a whole part; `product` has everything but the weight. */
static void multiply(const struct nki_piece *piece, enum nki_part part, size_t n,
                     struct nki_product product) {
  product.weight = piece->work->floats[part].weight;
  product.packed = piece->work->floats[part].packed;
  product.total = product.n_out;
  product.in_out = piece->work->forward->config.in_out;
  nki_multiply(&product, n);
}

size_t nki_qkv_parts(const struct nki_work *work, size_t first, size_t n_out,
                     struct nki_qkv_part parts[3]) {
  const struct nki_config *c = &work->forward->config;
  static const enum nki_part each[3] = {NKI_Q, NKI_K, NKI_V};
  const size_t widths[3] = {nki_q_width(c), nki_kv_width(c), nki_kv_width(c)};
  struct nki_product product = {
      .weight = work->floats[NKI_QKV].weight, .in_out = c->in_out, .n_in = c->shape.dim};
  size_t n = 0;
  if (product.weight != NULL) {
    product.first = first;
    product.n_out = n_out;
    product.total = nki_qkv_width(c);
    parts[0] = (struct nki_qkv_part){NKI_QKV, 0, product};
    return 1;
  }
  for (size_t i = 0, at = 0; i < 3; at += widths[i++]) {
    if (at < first || at + widths[i] > first + n_out) continue;
    product.weight = work->floats[each[i]].weight;
    product.packed = work->floats[each[i]].packed;
    product.n_out = product.total = widths[i];
    parts[n++] = (struct nki_qkv_part){each[i], at - first, product};
  }
  return n;
}

/* Columns [first, first + n_out) of q, k, v side by side, from y [n, dim]. */
static void project(const struct nki_piece *piece, size_t first, size_t n_out, const float *y,
                    size_t n, float *out, size_t ld) {
  struct nki_qkv_part parts[3];
  size_t n_parts = nki_qkv_parts(piece->work, first, n_out, parts);
  for (size_t i = 0; i < n_parts; i++) {
    struct nki_product *product = &parts[i].product;
    const float *bias = piece->work->floats[parts[i].part].bias;
    product->x = y;
    product->ld_x = product->n_in;
    product->y = out + parts[i].at;
    product->ld_y = ld;
    product->add = bias != NULL; /* to rows of the bias, as they would be set to 0 otherwise */
    if (bias != NULL) nki_fill_rows(product->y, n, product->n_out, ld, bias + product->first);
    nki_multiply(product, n);
  }
}

void nki_piece_pack(const struct nki_piece *piece, const float *x, float *out) {
  size_t dim = piece->work->forward->config.shape.dim;
  for (size_t i = 0; i < piece->n_q; i++) {
    const float *from = x + (nki_row_of_query(piece, i) - piece->row) * dim;
    if (out + i * dim != from) memmove(out + i * dim, from, dim * sizeof *out);
  }
}

/* Queries, keys and values of the piece into work->own.qkv. In the last block the queries that
 * continue go into work->own.q, and x and y are packed to the rows that continue. */
static void project_heads(struct nki_piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  size_t width = nki_qkv_width(c);
  piece->q = work->own.qkv;
  piece->ld_q = width;
  if (!piece->last)
    project(piece, 0, width, work->own.y, piece->n_rows, work->own.qkv, width);
  else
    project(piece, nki_q_width(c), 2 * nki_kv_width(c), work->own.y, piece->n_rows,
            work->own.qkv + nki_q_width(c), width);
  if (!piece->last) return;
  nki_piece_pack(piece, work->own.y, work->own.y);
  nki_piece_pack(piece, piece->pass->x + piece->row * c->shape.dim, piece->x);
  piece->q = work->own.q;
  piece->ld_q = nki_q_width(c);
  project(piece, 0, nki_q_width(c), work->own.y, piece->n_q, work->own.q, piece->ld_q);
}

/* ---- Attention of a piece ---- */

/* Heads of keys or values: head h of row r at x + r * ld + h * head_dim. */
struct heads {
  float *k, *v;
  size_t ld;
};

static struct heads own_heads(const struct nki_piece *piece) {
  const struct nki_config *c = &piece->work->forward->config;
  float *k = piece->work->own.qkv + nki_q_width(c);
  return (struct heads){k, k + nki_kv_width(c), nki_qkv_width(c)};
}

void nki_piece_number(const struct nki_piece *piece) {
  for (size_t i = 0; i < piece->n_q; i++) {
    size_t row = nki_row_of_query(piece, i);
    piece->work->own.q_positions[i] = piece->pass->positions[row];
    piece->work->own.q_numbers[i] = piece->pass->numbers[row];
  }
}

struct nki_rotation nki_piece_rotation(const struct nki_piece *piece, bool keys) {
  const struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  unsigned rope = c->layers[piece->layer].rope;
  return (struct nki_rotation){.n_heads = keys ? c->shape.n_kv_heads : c->shape.n_heads,
                               .head_dim = c->shape.head_dim,
                               .norm = {.kind = c->qk_norm,
                                        .rms = c->rms,
                                        .plus_one = c->norm_plus_one,
                                        .eps = c->norm_eps,
                                        .scale = work->floats[keys ? NKI_K_NORM : NKI_Q_NORM]},
                               .clip = c->qkv_clip,
                               .rotary_dim = rope == NKI_NO_ROPE ? 0 : c->ropes[rope].dim,
                               .pairs = c->rotary_pairs,
                               .cos = rope == NKI_NO_ROPE ? NULL : work->cos[rope],
                               .sin = rope == NKI_NO_ROPE ? NULL : work->sin[rope]};
}

/* Norms, clipping and rotations of queries and keys. */
static void rotate_heads(const struct nki_piece *piece, const struct heads *own) {
  const struct nki_config *c = &piece->work->forward->config;
  struct nki_rotation rotation = nki_piece_rotation(piece, false);
  if (c->qkv_clip > 0) nki_clip(own->v, piece->n_rows, nki_kv_width(c), own->ld, c->qkv_clip);
  if (rotation.rotary_dim == 0 && rotation.norm.scale.weight == NULL && rotation.clip == 0) return;
  rotation.ld = piece->ld_q;
  nki_rotate(&rotation, piece->q, piece->work->own.q_positions, piece->n_q);
  rotation = nki_piece_rotation(piece, true);
  rotation.ld = own->ld;
  nki_rotate(&rotation, own->k, piece->pass->positions + piece->row, piece->n_rows);
}

/* Copies the keys and values of a span's rows, [n, kv] with the heads side by side. */
static void copy_heads(const struct nki_config *c, const struct heads *from, size_t row, size_t n,
                       float *k, float *v) {
  size_t width = nki_kv_width(c);
  for (size_t r = 0; r < n; r++) {
    memcpy(k + r * width, from->k + (row + r) * from->ld, width * sizeof *k);
    memcpy(v + r * width, from->v + (row + r) * from->ld, width * sizeof *v);
  }
}

/* Where the cache has the keys and values of a span's first own position in this layer. */
static struct heads cached_heads(const struct nki_piece *piece, const struct nki_span *span) {
  const struct nki_config *c = &piece->work->forward->config;
  size_t kv = nki_kv_width(c), start = (piece->layer * piece->pass->cache_rows + span->cache) * kv;
  return (struct heads){piece->pass->cache_k + start, piece->pass->cache_v + start, kv};
}

/* Keeps the piece's keys and values: the prefix's for all groups, the others' for generation. */
static void keep_keys(const struct nki_piece *piece, const struct heads *own) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  size_t kv = nki_kv_width(c), prefix = piece->layer * work->n_prefix * kv;
  if (piece->pass->cache_k == NULL && piece->spans[0].sequence != NK_PREFIX) return;
#pragma omp parallel for if (piece->n_spans > 1)
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
static bool has_past(const struct nki_piece *piece) {
  return piece->spans[0].past > 0;
}

/* Each span's queries, and the keys and values they see. */
static void make_views(const struct nki_piece *piece, const struct heads *own) {
  size_t q = 0;
  for (size_t i = 0; i < piece->n_spans; i++) {
    const struct nki_span *span = &piece->spans[i];
    struct heads heads = has_past(piece) ? cached_heads(piece, span) : *own;
    size_t offset = has_past(piece) ? 0 : (span->row - piece->row) * own->ld;
    struct nki_view *view = &piece->work->own.views[i];
    *view = (struct nki_view){.first = q,
                              .own = span->row - piece->row,
                              .k = heads.k + offset,
                              .v = heads.v + offset,
                              .n_prefix = span->sequence == NK_PREFIX ? 0 : piece->work->n_prefix};
    while (q < piece->n_q && nki_row_of_query(piece, q) < span->row + span->n) q++;
    view->n = q - view->first;
  }
}

struct nki_attention nki_piece_attention(const struct nki_piece *piece, float *k, float *v,
                                         size_t ld_kv) {
  const struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct heads own = {k, v, ld_kv};
  size_t prefix = piece->layer * work->n_prefix * nki_kv_width(c);
  make_views(piece, &own);
  return (struct nki_attention){.n_heads = c->shape.n_heads,
                                .n_kv_heads = c->shape.n_kv_heads,
                                .head_dim = c->shape.head_dim,
                                .scale = c->attention_scale,
                                .cap = c->attention_cap,
                                .window = c->layers[piece->layer].window,
                                .q = piece->q,
                                .ld_q = piece->ld_q,
                                .ld_kv = has_past(piece) ? nki_kv_width(c) : ld_kv,
                                .alibi = work->alibi,
                                .ld_alibi = work->ld_alibi,
                                .sinks = work->floats[NKI_SINKS].weight,
                                .prefix_k = work->prefix_k + prefix,
                                .prefix_v = work->prefix_v + prefix,
                                .number = work->own.q_numbers,
                                .views = work->own.views,
                                .n_views = piece->n_spans,
                                .out = work->own.heads};
}

/* The first of the places [n] at `row` or behind it; a span's places are not in order, but row is
 * the first of a span. */
static size_t first_place(const struct nki_place *places, size_t n, size_t row) {
  size_t lo = 0, hi = n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (places[mid].row < row)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

/* Overrides and answers at a site of the block: x has the outputs of n of the rows that continue,
 * from the at-th one on. NK_OK, or NK_EDATA when a row that is read is not finite. */
static int touch_site(const struct nki_piece *piece, enum nk_site site, size_t at, size_t n,
                      float *x) {
  const struct nki_pass *pass = piece->pass;
  if (pass->sites == NULL) return NK_OK;
  struct nki_pass part = *pass; /* with the piece's own places */
  size_t end = piece->row + piece->n_rows;
  part.overrides += first_place(pass->overrides, pass->n_overrides, piece->row);
  part.asks += first_place(pass->asks, pass->n_asks, piece->row);
  part.n_overrides = first_place(
      part.overrides, (size_t)(pass->overrides + pass->n_overrides - part.overrides), end);
  part.n_asks = first_place(part.asks, (size_t)(pass->asks + pass->n_asks - part.asks), end);
  const struct nki_stream stream = {
      .x = x,
      .first = piece->row + at,
      .n = n,
      .rows = piece->last ? pass->final_rows + piece->final + at : NULL,
      .site = site};
  return nki_touch(piece->work->forward, pass->sites, &part, piece->layer, &stream, NULL);
}

/* [n_q, q] attention's output. */
static float *heads_of(const struct nki_piece *piece) {
  float *kept = nki_tape_output(piece);
  return kept != NULL ? kept : piece->work->own.heads;
}

/* Attention of the piece's queries. */
static int attend(const struct nki_piece *piece) {
  const struct heads own = own_heads(piece);
  nki_piece_number(piece);
  nki_tape_raw(piece, own.k, own.ld);
  rotate_heads(piece, &own);
  keep_keys(piece, &own);
  nki_tape_heads(piece, own.k, own.ld);
  struct nki_attention attention = nki_piece_attention(piece, own.k, own.v, own.ld);
  attention.out = heads_of(piece);
  int code = nki_attend(&attention);
  return code == NK_OK ? touch_site(piece, NK_SITE_HEAD, 0, piece->n_q, attention.out) : code;
}

/* ---- After attention ---- */

/* Is a product normed, scaled or read before it is added to the stream, or added at once? */
static bool is_aside(const struct nki_piece *piece, enum nki_part norm) {
  return piece->work->floats[norm].weight != NULL || piece->pass->sites != NULL ||
         piece->work->forward->config.residual_scale != 1.0f;
}

/* x += scale * norm(y + bias), y [n, dim], with what the batch has there; x is in piece->x; keep
 * (may be NULL) = y + bias. NK_OK, or NK_EDATA when y is not finite. */
static int add_aside(const struct nki_piece *piece, enum nki_part norm, float *keep, size_t n,
                     float *y, float *x) {
  const struct nki_config *c = &piece->work->forward->config;
  const struct nki_floats *f = piece->work->floats;
  const struct nki_norm_step step = {.config = c, .scale = f[norm]};
  const float *bias = f[norm == NKI_NORM1_POST ? NKI_O : NKI_DOWN].bias;
  size_t dim = c->shape.dim;
  if (bias != NULL) nki_add_bias(y, n, dim, dim, bias);
  if (keep != NULL) nki_tape_copy(keep, y, n, dim, dim);
  if (step.scale.weight != NULL && !nki_norm_rows(&step, y, n, y))
    return nki_fail_block(piece->work->forward, piece->layer);
  if (c->residual_scale != 1.0f) nki_scale(y, n * dim, c->residual_scale);
  int code = touch_site(piece, norm == NKI_NORM1_POST ? NK_SITE_ATTENTION : NK_SITE_MLP,
                        (size_t)(x - piece->x) / dim, n, y);
  if (code == NK_OK) nki_add(x, y, n * dim);
  return code;
}

/* Parallel blocks: x += heads W_o and both biases (with sites: its own bias); y = what the mlp
 * reads. Its input x was checked by the block's first norm, its output is by the next one. NK_OK,
 * or NK_EDATA when an output that is read is not finite. */
static int finish_parallel(const struct nki_piece *piece, struct nki_product product) {
  struct nki_work *work = piece->work;
  bool apart = piece->pass->sites != NULL;
  const struct nki_norm_step norm = {.config = &work->forward->config,
                                     .after = apart ? NULL : work->both_biases,
                                     .scale = work->floats[NKI_NORM2]};
  size_t dim = work->forward->config.shape.dim;
  if (norm.scale.weight != NULL)
    nki_norm_rows(&norm, piece->x, piece->n_q, work->own.y);
  else if (!apart)
    nki_add_bias(piece->x, piece->n_q, dim, dim, work->both_biases);
  if (apart) product.y = work->own.apart;
  product.add = !apart;
  multiply(piece, NKI_O, piece->n_q, product);
  return apart ? add_aside(piece, NKI_NORM1_POST, NULL, piece->n_q, work->own.apart, piece->x)
               : NK_OK;
}

/* x += heads W_o + bias; y = what the mlp reads. NK_OK, or NK_EDATA when x is not finite. */
static int finish_attention(const struct nki_piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_floats *f = work->floats;
  size_t dim = c->shape.dim, n = piece->n_q, width = nki_q_width(c);
  struct nki_product product = {.add = true,
                                .n_out = dim,
                                .n_in = width,
                                .x = heads_of(piece),
                                .ld_x = width,
                                .y = piece->x,
                                .ld_y = dim};
  if (c->parallel) return finish_parallel(piece, product);
  struct nki_norm_step norm = {
      .config = c, .before = f[NKI_O].bias, .scale = f[NKI_NORM2], .copy = !c->input_norms};
  if (is_aside(piece, NKI_NORM1_POST)) {
    product.add = false;
    product.y = work->own.y;
    multiply(piece, NKI_O, n, product);
    int code = add_aside(piece, NKI_NORM1_POST, nki_tape_attended(piece), n, work->own.y, piece->x);
    if (code != NK_OK) return code;
    norm.before = NULL;
  } else {
    multiply(piece, NKI_O, n, product);
  }
  float *middle = nki_tape_middle(piece);
  const float *after = is_aside(piece, NKI_NORM2_POST) ? NULL : f[NKI_DOWN].bias;
  if (middle == NULL) norm.after = after;
  if (!nki_norm_rows(&norm, piece->x, n, work->own.y))
    return nki_fail_block(work->forward, piece->layer);
  if (middle == NULL) return NK_OK;
  nki_tape_copy(middle, piece->x, n, dim, dim);
  if (after != NULL) nki_add_bias(piece->x, n, dim, dim, after);
  return NK_OK;
}

/* x += mlp(y), in steps of as many rows as the mlp's buffers hold. */
static int add_mlp(const struct nki_piece *piece) {
  struct nki_work *work = piece->work;
  size_t dim = work->forward->config.shape.dim;
  bool aside = is_aside(piece, NKI_NORM2_POST);
  for (size_t at = 0; at < piece->n_q; at += work->block_rows) {
    size_t n = piece->n_q - at < work->block_rows ? piece->n_q - at : work->block_rows;
    float *x = piece->x + at * dim, *y = work->own.y + at * dim;
    int code =
        nki_mlp_run(work, piece->layer, y, n, !aside, aside ? y : x, nki_tape_inner(piece, at));
    if (code == NK_OK && aside)
      code = add_aside(piece, NKI_NORM2_POST, nki_tape_added(piece, at), n, y, x);
    if (code != NK_OK) return code;
  }
  return NK_OK;
}

static int run_piece(struct nki_piece *piece) {
  struct nki_work *work = piece->work;
  const struct nki_config *c = &work->forward->config;
  const struct nki_norm_step norm = {
      .config = c, .scale = work->floats[NKI_NORM1], .copy = !c->input_norms};
  float *x = piece->pass->x + piece->row * c->shape.dim;
  if (!nki_norm_rows(&norm, x, piece->n_rows, work->own.y))
    return piece->layer == 0
               ? nki_fail_embedding(work->forward, piece->pass, piece->spans, piece->n_spans)
               : nki_fail_block(work->forward, piece->layer - 1);
  nki_tape_input(piece, x);
  project_heads(piece);
  int code = attend(piece);
  if (code != NK_OK || piece->n_q == 0) return code;
  code = finish_attention(piece);
  return code == NK_OK ? add_mlp(piece) : code;
}

/* ---- A block, and all of them ---- */

void nki_block_load(struct nki_work *work, size_t layer) {
  const struct nki_config *c = &work->forward->config;
  nki_block_widen(work->forward, layer, work->weights, work->floats);
  if (work->bf16 != NULL) nki_bf16_load_block(work, layer);
  if (!c->parallel) return;
  memset(work->both_biases, 0, c->shape.dim * sizeof(float));
  if (work->floats[NKI_O].bias != NULL)
    nki_add(work->both_biases, work->floats[NKI_O].bias, c->shape.dim);
  if (work->floats[NKI_DOWN].bias != NULL)
    nki_add(work->both_biases, work->floats[NKI_DOWN].bias, c->shape.dim);
}

bool nki_piece_next(struct nki_piece *piece) {
  const struct nki_pass *pass = piece->pass;
  const struct nki_span *end = pass->spans + pass->n_spans;
  size_t dim = piece->work->forward->config.shape.dim, n = 0;
  piece->spans = piece->spans == NULL ? pass->spans : piece->spans + piece->n_spans;
  piece->final += piece->last ? piece->n_q : 0;
  if (piece->spans == end) return false;
  piece->last = piece->layer + 1 == pass->depth;
  piece->row = piece->spans->row;
  piece->n_rows = piece->n_spans = 0;
  do {
    piece->n_rows += piece->spans[piece->n_spans++].n;
  } while (piece->spans + piece->n_spans < end &&
           piece->n_rows + piece->spans[piece->n_spans].n <= piece->work->block_rows);
  while (piece->final + n < pass->n_final &&
         pass->final_rows[piece->final + n] < piece->row + piece->n_rows)
    n++;
  piece->n_q = piece->last ? n : piece->n_rows;
  piece->x = piece->last ? pass->final + piece->final * dim : pass->x + piece->row * dim;
  return true;
}

/* `other` becomes the work with its own buffers. */
static void share_work(const struct nki_work *work, struct nki_work *other) {
  const struct nki_buffers own = other->own;
  *other = *work;
  other->own = own;
}

/* A piece for each thread at a time. The error of the first piece that fails is kept, since
 * nk_error() belongs to a thread. */
static int run_apart(struct nki_work *work, struct nki_piece *pieces, size_t n) {
  size_t failed = n;
  int code = NK_OK;
  char message[1024];
  for (size_t i = 0; i < work->n_others; i++) share_work(work, &work->others[i]);
#pragma omp parallel for schedule(dynamic) num_threads((int)work->n_others + 1)
  for (size_t i = 0; i < n; i++) {
    size_t thread = (size_t)omp_get_thread_num();
    pieces[i].work = thread == 0 ? work : &work->others[thread - 1];
    int result = run_piece(&pieces[i]);
#pragma omp critical(nki_run_apart)
    if (result != NK_OK && i < failed) {
      failed = i;
      code = result;
      snprintf(message, sizeof message, "%s", nk_error());
    }
  }
  return code == NK_OK ? NK_OK : nk_fail(code, "%s", message);
}

/* Pieces, the first of them the prefix's or not. */
static int run_pieces(struct nki_work *work, struct nki_piece *pieces, size_t n) {
  int code = NK_OK;
  if (n > 1 && work->n_others > 0) return run_apart(work, pieces, n);
  for (size_t i = 0; i < n && code == NK_OK; i++) code = run_piece(&pieces[i]);
  return code;
}

int nki_block_run(struct nki_work *work, struct nki_pass *pass, size_t layer) {
  struct nki_piece piece = {.work = work, .pass = pass, .layer = layer}, pieces[MOST_PIECES];
  size_t n = 0;
  int code = NK_OK;
  for (bool more = nki_piece_next(&piece); more && code == NK_OK;) {
    bool prefix = piece.spans[0].sequence == NK_PREFIX; /* whose keys all others need */
    pieces[n++] = piece;
    more = nki_piece_next(&piece);
    if (more && !prefix && n < MOST_PIECES && work->n_others > 0) continue;
    code = run_pieces(work, pieces, n);
    n = 0;
  }
  return code == NK_OK ? nki_bf16_code(work->bf16) : code;
}

int nki_pass_run(struct nki_work *work, const struct nk_batch *batch, struct nki_pass *pass) {
  int code = pass->replaced ? NK_OK : embed(work->forward, batch, pass);
  for (size_t layer = 0; layer < pass->depth && code == NK_OK && !pass->replaced; layer++) {
    if (layer > 0) code = touch(work->forward, batch, pass, layer);
    if (code != NK_OK) break;
    nki_block_load(work, layer);
    code = nki_block_run(work, pass, layer);
  }
  if (code == NK_OK && pass->depth > 0) code = touch(work->forward, batch, pass, pass->depth);
  return code;
}
