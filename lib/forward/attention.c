/* Attention of many short sequences that share a prefix. The work is cut into chunks of about a
 * hundred queries of one head: against the prefix's keys, which all of a chunk's sequences share,
 * the scores are one matrix product; against each sequence's own few keys they are a small loop (a
 * product again where there are many). One softmax runs over both. Chunks are shared among the
 * threads, each with scratch of its own; OpenBLAS runs in one thread when it is called from within
 * such a loop. */
#include <cblas.h>
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include "forward/internal.h"

enum {
  CHUNK = 128,   /* queries */
  FEW_KEYS = 64, /* own keys up to here: the small loops */
};

/* Queries [row, row + n_rows), of views [view, view + n_views); the views lie one after the other
 * in q. Where a view is longer than a chunk, the chunk is a part of one view. */
struct chunk {
  size_t row, n_rows;
  size_t view, n_views;
  size_t n_prefix;
  size_t own; /* the most own keys that a query of it sees */
};

struct scratch {
  float *scores; /* [n_rows, width] */
  float *packed;
  size_t width; /* of a row of scores: prefix, then own keys, a multiple of 16 */
};

static size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Cuts the views into chunks; chunks NULL: only counts them. */
static size_t cut(const struct nki_attention *a, struct chunk *chunks) {
  size_t n = 0;
  for (size_t v = 0; v < a->n_views;) {
    const struct nki_view *view = &a->views[v];
    if (view->n > CHUNK) {
      for (size_t at = 0; at < view->n; at += CHUNK, n++) {
        size_t rows = min_size(CHUNK, view->n - at), last = view->first + at + rows - 1;
        if (chunks != NULL)
          chunks[n] =
              (struct chunk){view->first + at, rows, v, 1, view->n_prefix, a->number[last] + 1};
      }
      v++;
      continue;
    }
    struct chunk chunk = {.row = view->first, .view = v, .n_prefix = view->n_prefix};
    while (v < a->n_views && a->views[v].n_prefix == chunk.n_prefix &&
           chunk.n_rows + a->views[v].n <= CHUNK) {
      view = &a->views[v++];
      chunk.n_rows += view->n;
      chunk.n_views++;
      if (view->n > 0 && a->number[view->first + view->n - 1] + 1 > chunk.own)
        chunk.own = a->number[view->first + view->n - 1] + 1;
    }
    if (chunk.n_rows == 0) continue;
    if (chunks != NULL) chunks[n] = chunk;
    n++;
  }
  return n;
}

/* The rows of a chunk that belong to one view, and the own keys they see. */
static void part_of(const struct nki_attention *a, const struct chunk *chunk, size_t view,
                    size_t *first, size_t *n, size_t *n_keys) {
  const struct nki_view *v = &a->views[view];
  *first = chunk->n_views == 1 ? chunk->row : v->first;
  *n = chunk->n_views == 1 ? chunk->n_rows : v->n;
  *n_keys = *n == 0 ? 0 : a->number[*first + *n - 1] + 1;
}

static void compute_scores(const struct nki_attention *a, const struct chunk *chunk, size_t head,
                           const struct scratch *s) {
  size_t kv_head = head / (a->n_heads / a->n_kv_heads), ld_prefix = a->n_kv_heads * a->head_dim;
  const float *q = a->q + head * a->q_stride;
  if (chunk->n_prefix > 0)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)chunk->n_rows, (int)chunk->n_prefix,
                (int)a->head_dim, 1.0f, q + chunk->row * a->ld_q, (int)a->ld_q,
                a->prefix_k + kv_head * a->head_dim, (int)ld_prefix, 0.0f, s->scores,
                (int)s->width);
  for (size_t view = chunk->view; view < chunk->view + chunk->n_views; view++) {
    size_t first, n, n_keys;
    part_of(a, chunk, view, &first, &n, &n_keys);
    const float *k = a->views[view].k + kv_head * a->kv_stride;
    float *scores = s->scores + (first - chunk->row) * s->width + chunk->n_prefix;
    if (n_keys <= FEW_KEYS)
      nki_small_scores(q + first * a->ld_q, a->ld_q, n, k, a->ld_kv, n_keys, a->head_dim, s->packed,
                       scores, s->width);
    else
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n_keys, (int)a->head_dim,
                  1.0f, q + first * a->ld_q, (int)a->ld_q, k, (int)a->ld_kv, 0.0f, scores,
                  (int)s->width);
  }
}

/* Each query sees what stands before it and within the window; the rest of its row becomes 0. */
static void normalize(const struct nki_attention *a, const struct chunk *chunk,
                      const struct scratch *s) {
  for (size_t r = 0; r < chunk->n_rows; r++) {
    float *row = s->scores + r * s->width;
    size_t hi = chunk->n_prefix + a->number[chunk->row + r] + 1;
    size_t lo = a->window > 0 && hi > a->window ? hi - a->window : 0;
    nki_softmax(row, lo, hi, a->scale, a->cap);
    memset(row, 0, lo * sizeof *row);
    memset(row + hi, 0, (s->width - hi) * sizeof *row);
  }
}

static void sum_values(const struct nki_attention *a, const struct chunk *chunk, size_t head,
                       const struct scratch *s) {
  size_t kv_head = head / (a->n_heads / a->n_kv_heads), ld_prefix = a->n_kv_heads * a->head_dim;
  size_t ld_out = a->n_heads * a->head_dim;
  float *out = a->out + head * a->head_dim;
  if (chunk->n_prefix > 0) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)chunk->n_rows, (int)a->head_dim,
                (int)chunk->n_prefix, 1.0f, s->scores, (int)s->width,
                a->prefix_v + kv_head * a->head_dim, (int)ld_prefix, 0.0f,
                out + chunk->row * ld_out, (int)ld_out);
  } else {
    for (size_t r = chunk->row; r < chunk->row + chunk->n_rows; r++)
      memset(out + r * ld_out, 0, a->head_dim * sizeof *out);
  }
  for (size_t view = chunk->view; view < chunk->view + chunk->n_views; view++) {
    size_t first, n, n_keys;
    part_of(a, chunk, view, &first, &n, &n_keys);
    const float *v = a->views[view].v + kv_head * a->kv_stride;
    const float *p = s->scores + (first - chunk->row) * s->width + chunk->n_prefix;
    if (n_keys <= FEW_KEYS)
      nki_small_sums(p, s->width, n, v, a->ld_kv, n_keys, a->head_dim, out + first * ld_out,
                     ld_out);
    else
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)a->head_dim, (int)n_keys,
                  1.0f, p, (int)s->width, v, (int)a->ld_kv, 1.0f, out + first * ld_out,
                  (int)ld_out);
  }
}

int nki_attend(const struct nki_attention *a) {
  size_t n_chunks = cut(a, NULL), width = 0;
  struct chunk *chunks = nk_alloc(n_chunks, sizeof *chunks);
  if (chunks == NULL) return NK_EMEMORY;
  cut(a, chunks);
  for (size_t i = 0; i < n_chunks; i++) {
    size_t w = round16(chunks[i].n_prefix + round16(chunks[i].own));
    if (w > width) width = w;
  }
  size_t n_threads = (size_t)omp_get_max_threads(), n_packed = round16(FEW_KEYS) * a->head_dim;
  size_t each = CHUNK * width + n_packed;
  float *scratch = nk_alloc(n_threads * each, sizeof *scratch);
  if (scratch == NULL) {
    nk_free(chunks);
    return NK_EMEMORY;
  }
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (size_t head = 0; head < a->n_heads; head++)
    for (size_t i = 0; i < n_chunks; i++) {
      float *mine = scratch + (size_t)omp_get_thread_num() * each;
      struct scratch s = {mine, mine + CHUNK * width,
                          round16(chunks[i].n_prefix + round16(chunks[i].own))};
      compute_scores(a, &chunks[i], head, &s);
      normalize(a, &chunks[i], &s);
      sum_values(a, &chunks[i], head, &s);
    }
  nk_free(scratch);
  nk_free(chunks);
  return 0;
}
