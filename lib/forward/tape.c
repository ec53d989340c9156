/* What a block keeps in a forward pass for its gradient. A pass has the stream that enters each
 * block from the lowest one that a gradient reaches; what is inside the blocks is kept of all, or
 * of one at a time, which is then computed again from its stream. */
#include <noken/base.h>
#include <string.h>

#include "forward/backward.h"

enum { FEW_ROWS = 4 };

/* ---- Buffers ---- */

/* Floats of a row of each array; 0: the array is not needed. */
struct widths {
  size_t x, raw_q, raw_kv, q, kv, heads, attended, middle, inner, added;
};

static struct widths widths_of(const struct nk_forward *forward, size_t layer) {
  const struct nki_config *c = &forward->config;
  const struct nki_weight *part = forward->blocks[layer].part;
  size_t dim = c->shape.dim, q = nki_q_width(c), kv = 2 * nki_kv_width(c);
  bool changed =
      c->qkv_clip > 0 || part[NKI_Q_NORM].weight != NULL || part[NKI_Q_NORM].each != NULL;
  return (struct widths){.x = dim,
                         .raw_q = changed ? q : 0,
                         .raw_kv = changed ? kv : 0,
                         .q = q,
                         .kv = kv,
                         .heads = q,
                         .attended = part[NKI_NORM1_POST].weight != NULL ? dim : 0,
                         .middle = c->parallel ? 0 : dim,
                         .inner = nki_inner_width(forward, layer),
                         .added = part[NKI_NORM2_POST].weight != NULL ? dim : 0};
}

static size_t inside(const struct widths *w) {
  return w->raw_q + w->raw_kv + w->q + w->kv + w->heads + w->attended + w->middle + w->inner +
         w->added;
}

size_t nki_tape_floats(const struct nk_forward *forward, size_t layer) {
  const struct widths w = widths_of(forward, layer);
  return inside(&w);
}

static float *take(float **at, size_t width, size_t n_rows) {
  float *array = width == 0 ? NULL : *at;
  *at += width * n_rows;
  return array;
}

void nki_tape_place(const struct nk_forward *forward, size_t layer, size_t n_rows, float *at,
                    struct nki_tape *tape) {
  const struct widths w = widths_of(forward, layer);
  tape->raw_q = take(&at, w.raw_q, n_rows);
  tape->raw_kv = take(&at, w.raw_kv, n_rows);
  tape->q = take(&at, w.q, n_rows);
  tape->kv = take(&at, w.kv, n_rows);
  tape->heads = take(&at, w.heads, n_rows);
  tape->attended = take(&at, w.attended, n_rows);
  tape->middle = take(&at, w.middle, n_rows);
  tape->inner = take(&at, w.inner, n_rows);
  tape->added = take(&at, w.added, n_rows);
}

/* ---- Keeping ---- */

static const struct nki_tape *tape_of(const struct nki_piece *piece) {
  static const struct nki_tape none = {0};
  return piece->pass->tapes == NULL ? &none : &piece->pass->tapes[piece->layer];
}

void nki_tape_copy(float *to, const float *from, size_t n, size_t width, size_t ld) {
#pragma omp parallel for if (n > FEW_ROWS)
  for (size_t r = 0; r < n; r++) memcpy(to + r * width, from + r * ld, width * sizeof *to);
}

void nki_tape_input(const struct nki_piece *piece, const float *x) {
  const struct nki_tape *tape = tape_of(piece);
  size_t dim = piece->work->forward->config.shape.dim;
  if (tape->x != NULL) nki_tape_copy(tape->x + piece->row * dim, x, piece->n_rows, dim, dim);
}

/* Queries, and keys beside values. */
static void copy_heads(const struct nki_piece *piece, const float *kv, size_t ld, float *to_q,
                       float *to_kv) {
  const struct nki_config *c = &piece->work->forward->config;
  size_t q = nki_q_width(c), width = 2 * nki_kv_width(c);
  if (to_q == NULL) return;
  nki_tape_copy(to_q + nki_piece_first(piece) * q, piece->q, piece->n_q, q, piece->ld_q);
  nki_tape_copy(to_kv + piece->row * width, kv, piece->n_rows, width, ld);
}

void nki_tape_raw(const struct nki_piece *piece, const float *kv, size_t ld) {
  copy_heads(piece, kv, ld, tape_of(piece)->raw_q, tape_of(piece)->raw_kv);
}

void nki_tape_heads(const struct nki_piece *piece, const float *kv, size_t ld) {
  copy_heads(piece, kv, ld, tape_of(piece)->q, tape_of(piece)->kv);
}

static float *at_row(float *array, size_t row, size_t width) {
  return array == NULL ? NULL : array + row * width;
}

float *nki_tape_output(const struct nki_piece *piece) {
  return at_row(tape_of(piece)->heads, nki_piece_first(piece),
                nki_q_width(&piece->work->forward->config));
}

float *nki_tape_attended(const struct nki_piece *piece) {
  return at_row(tape_of(piece)->attended, nki_piece_first(piece),
                piece->work->forward->config.shape.dim);
}

float *nki_tape_middle(const struct nki_piece *piece) {
  return at_row(tape_of(piece)->middle, nki_piece_first(piece),
                piece->work->forward->config.shape.dim);
}

float *nki_tape_inner(const struct nki_piece *piece, size_t row) {
  return at_row(tape_of(piece)->inner, nki_piece_first(piece) + row,
                nki_inner_width(piece->work->forward, piece->layer));
}

float *nki_tape_added(const struct nki_piece *piece, size_t row) {
  return at_row(tape_of(piece)->added, nki_piece_first(piece) + row,
                piece->work->forward->config.shape.dim);
}
