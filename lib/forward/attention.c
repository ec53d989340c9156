/* Attention of many short sequences with a common prefix. The work is cut into chunks of at most
 * 128 queries of one head. The scores against the prefix's keys, which all sequences of a chunk
 * share, are one product; those against own keys are a product for each sequence. Where the keys
 * are few, products are loops of kernels_attention.c, else OpenBLAS's, here in one thread. One
 * softmax runs over both. Threads take chunks in turn, each with its own scratch. */
#include <cblas.h>
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include "forward/attention.h"

static size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Own keys that row `row` of q sees. */
static size_t n_own(const struct nki_attention *a, size_t row) {
  return (size_t)a->number[row] + 1;
}

/* Cuts a long view into chunks [*n, ..); chunks NULL: only counts them. */
static void cut_view(const struct nki_attention *a, size_t v, struct nki_chunk *chunks, size_t *n) {
  const struct nki_view *view = &a->views[v];
  for (size_t at = 0; at < view->n; at += NKI_CHUNK, ++*n) {
    size_t row = view->first + at, rows = min_size(NKI_CHUNK, view->n - at);
    if (chunks != NULL)
      chunks[*n] = (struct nki_chunk){row, rows, v, 1, view->n_prefix, n_own(a, row + rows - 1)};
  }
}

/* Gathers the views from *v on into one chunk, and moves *v past them. */
static struct nki_chunk gather_views(const struct nki_attention *a, size_t *v) {
  const struct nki_view *view = &a->views[*v];
  struct nki_chunk chunk = {.row = view->first, .view = *v, .n_prefix = view->n_prefix};
  while (*v < a->n_views && a->views[*v].n_prefix == chunk.n_prefix &&
         chunk.n_rows + a->views[*v].n <= NKI_CHUNK) {
    view = &a->views[(*v)++];
    chunk.n_rows += view->n;
    chunk.n_views++;
    if (view->n > 0 && n_own(a, view->first + view->n - 1) > chunk.own)
      chunk.own = n_own(a, view->first + view->n - 1);
  }
  return chunk;
}

/* Cuts all views into chunks and returns their number; chunks NULL: only counts them. */
static size_t cut(const struct nki_attention *a, struct nki_chunk *chunks) {
  size_t n = 0;
  for (size_t v = 0; v < a->n_views;) {
    if (a->views[v].n > NKI_CHUNK) {
      cut_view(a, v++, chunks, &n);
      continue;
    }
    struct nki_chunk chunk = gather_views(a, &v);
    if (chunk.n_rows == 0) continue;
    if (chunks != NULL) chunks[n] = chunk;
    n++;
  }
  return n;
}

size_t nki_chunk_width(const struct nki_chunk *chunk) {
  return round16(chunk->n_prefix + round16(chunk->own));
}

struct nki_chunk *nki_attention_cut(const struct nki_attention *a, size_t *n, size_t *width) {
  *n = cut(a, NULL);
  *width = 0;
  struct nki_chunk *chunks = nk_alloc(*n, sizeof *chunks);
  if (chunks == NULL) return NULL;
  cut(a, chunks);
  for (size_t i = 0; i < *n; i++)
    if (nki_chunk_width(&chunks[i]) > *width) *width = nki_chunk_width(&chunks[i]);
  return chunks;
}

struct nki_keys nki_attention_own(const struct nki_attention *a, const struct nki_chunk *chunk,
                                  size_t view, size_t head, const struct nki_scratch *s) {
  const struct nki_view *v = &a->views[view];
  size_t kv_head = head / (a->n_heads / a->n_kv_heads), ld_out = a->n_heads * a->head_dim;
  size_t first = chunk->n_views == 1 ? chunk->row : v->first;
  size_t n = chunk->n_views == 1 ? chunk->n_rows : v->n;
  return (struct nki_keys){
      .n_q = n,
      .n_keys = n == 0 ? 0 : a->number[first + n - 1] + 1,
      .head_dim = a->head_dim,
      .q = a->q + head * a->head_dim + first * a->ld_q,
      .ld_q = a->ld_q,
      .k = v->k + kv_head * a->head_dim,
      .v = v->v + kv_head * a->head_dim,
      .ld_kv = a->ld_kv,
      .scores = s->scores + (first - chunk->row) * s->width + chunk->n_prefix,
      .ld_scores = s->width,
      .out = a->out + head * a->head_dim + first * ld_out,
      .ld_out = ld_out,
      .packed = s->packed,
  };
}

struct nki_keys nki_attention_prefix(const struct nki_attention *a, const struct nki_chunk *chunk,
                                     size_t head, const struct nki_scratch *s) {
  size_t kv_head = head / (a->n_heads / a->n_kv_heads), ld_out = a->n_heads * a->head_dim;
  return (struct nki_keys){
      .n_q = chunk->n_rows,
      .n_keys = chunk->n_prefix,
      .head_dim = a->head_dim,
      .q = a->q + head * a->head_dim + chunk->row * a->ld_q,
      .ld_q = a->ld_q,
      .k = a->prefix_k + kv_head * a->head_dim,
      .v = a->prefix_v + kv_head * a->head_dim,
      .ld_kv = a->n_kv_heads * a->head_dim,
      .scores = s->scores,
      .ld_scores = s->width,
      .out = a->out + head * a->head_dim + chunk->row * ld_out,
      .ld_out = ld_out,
      .packed = s->packed,
  };
}

/* keys->scores = q k^T. */
static void multiply_keys(const struct nki_keys *keys) {
  if (keys->n_keys <= NKI_FEW_KEYS)
    nki_small_scores(keys);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)keys->n_q, (int)keys->n_keys,
                (int)keys->head_dim, 1.0f, keys->q, (int)keys->ld_q, keys->k, (int)keys->ld_kv,
                0.0f, keys->scores, (int)keys->ld_scores);
}

void nki_attention_scores(const struct nki_attention *a, const struct nki_chunk *chunk, size_t head,
                          bool values, const struct nki_scratch *s) {
  struct nki_keys keys = nki_attention_prefix(a, chunk, head, s);
  if (values) keys.k = keys.v;
  if (keys.n_keys > 0) multiply_keys(&keys); /* first: it may write where own scores begin */
  for (size_t view = chunk->view; view < chunk->view + chunk->n_views; view++) {
    keys = nki_attention_own(a, chunk, view, head, s);
    if (values) keys.k = keys.v;
    multiply_keys(&keys);
  }
}

void nki_attention_normalize(const struct nki_attention *a, const struct nki_chunk *chunk,
                             size_t head, const struct nki_scratch *s) {
  const struct nki_softmax step = {.scale = a->scale,
                                   .cap = a->cap,
                                   .bias = a->alibi == NULL ? NULL : a->alibi + head * a->ld_alibi,
                                   .sink = a->sinks == NULL ? NULL : a->sinks + head};
  for (size_t r = 0; r < chunk->n_rows; r++) {
    float *row = s->scores + r * s->width;
    size_t hi = chunk->n_prefix + a->number[chunk->row + r] + 1;
    size_t lo = a->window > 0 && hi > a->window ? hi - a->window : 0;
    nki_softmax(&step, row, lo, hi, s->width);
  }
}

void nki_attention_sums(const struct nki_keys *keys, bool add) {
  if (keys->n_keys <= NKI_FEW_KEYS)
    nki_small_sums(keys, add);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)keys->n_q, (int)keys->head_dim,
                (int)keys->n_keys, 1.0f, keys->scores, (int)keys->ld_scores, keys->v,
                (int)keys->ld_kv, add ? 1.0f : 0.0f, keys->out, (int)keys->ld_out);
}

static void sum_values(const struct nki_attention *a, const struct nki_chunk *chunk, size_t head,
                       const struct nki_scratch *s) {
  struct nki_keys keys = nki_attention_prefix(a, chunk, head, s);
  if (keys.n_keys > 0) nki_attention_sums(&keys, false);
  for (size_t view = chunk->view; view < chunk->view + chunk->n_views; view++) {
    keys = nki_attention_own(a, chunk, view, head, s);
    nki_attention_sums(&keys, chunk->n_prefix > 0);
  }
}

int nki_attend(const struct nki_attention *a) {
  size_t n_chunks, width;
  size_t n_threads = (size_t)omp_get_max_threads(), n_packed = round16(NKI_FEW_KEYS) * a->head_dim;
  float *scratch = NULL;
  int code = NK_EMEMORY;
  struct nki_chunk *chunks = nki_attention_cut(a, &n_chunks, &width);
  if (chunks == NULL) goto done;
  size_t each = NKI_CHUNK * width + n_packed;
  scratch = nk_alloc(n_threads * each, sizeof *scratch);
  if (scratch == NULL) goto done;
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (size_t head = 0; head < a->n_heads; head++)
    for (size_t i = 0; i < n_chunks; i++) {
      float *mine = scratch + (size_t)omp_get_thread_num() * each;
      const struct nki_scratch s = {mine, mine + NKI_CHUNK * width, nki_chunk_width(&chunks[i])};
      nki_attention_scores(a, &chunks[i], head, false, &s);
      nki_attention_normalize(a, &chunks[i], head, &s);
      sum_values(a, &chunks[i], head, &s);
    }
  code = NK_OK;

done:
  nk_free(scratch);
  nk_free(chunks);
  return code;
}
