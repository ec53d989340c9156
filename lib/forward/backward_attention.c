/* The gradient of attention. Probabilities are computed again, chunk by chunk as in attention.c;
 * with P the probabilities, O the output and dO its gradient (all of one head)
 *
 *   dV = P^T dO,  dP = dO V^T,  dS = P (dP - sum(dO O)) scale,  dQ = dS K,  dK = dS^T Q
 *
 * and with a sink, which has the rest of the probability and no value, its gradient is the sum of
 * -(1 - sum(P)) sum(dO O) over the queries.
 *
 * A thread has all chunks of a sequence and all heads that share its keys, so that no two threads
 * add to one gradient; where the prefix's keys have one too, all chunks of a head of keys. */
#include <cblas.h>
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include "forward/attention.h"
#include "forward/backward.h"

/* Of one thread: P, dP that becomes dS, and capped scores, [NKI_CHUNK, width] each. */
struct scratch {
  struct nki_scratch p, d;
  float *capped; /* or NULL */
  float *sinks;  /* of all threads: [rows of q, n_heads], or NULL */
};

/* Scores of the cap that the softmax applies. */
static void keep_capped(const struct nki_attention *a, const struct nki_chunk *chunk,
                        const struct scratch *s) {
  size_t n = chunk->n_rows * s->p.width;
  if (s->capped == NULL) return;
  memcpy(s->capped, s->p.scores, n * sizeof *s->capped);
  nki_scale(s->capped, n, a->scale);
  nki_soft_cap(s->capped, n, a->cap);
}

/* d = dO V^T. */
static void probabilities_back(const struct nki_attention_gradient *g,
                               const struct nki_chunk *chunk, size_t head,
                               const struct scratch *s) {
  struct nki_attention of_output = *g->attention; /* dO in place of queries */
  of_output.q = g->out;
  of_output.ld_q = of_output.n_heads * of_output.head_dim;
  nki_attention_scores(&of_output, chunk, head, true, &s->d);
}

/* The gradient of the sink's score by one query, whose probabilities are p [n]. */
static float sink_back(const float *p, size_t n, float dot) {
  double rest = 1;
  for (size_t i = 0; i < n; i++) rest -= (double)p[i];
  return (float)(-rest * (double)dot);
}

/* d = dS; 0 where a query sees no key. */
static void scores_back(const struct nki_attention_gradient *g, const struct nki_chunk *chunk,
                        size_t head, const struct scratch *s) {
  const struct nki_attention *a = g->attention;
  size_t ld = a->n_heads * a->head_dim, at = head * a->head_dim;
  for (size_t r = 0; r < chunk->n_rows; r++) {
    size_t row = chunk->row + r, hi = chunk->n_prefix + a->number[row] + 1;
    size_t lo = a->window > 0 && hi > a->window ? hi - a->window : 0;
    float *d = s->d.scores + r * s->d.width, *p = s->p.scores + r * s->p.width;
    float dot = nki_row_product(g->out + row * ld + at, a->out + row * ld + at, a->head_dim);
    if (s->sinks != NULL) s->sinks[row * a->n_heads + head] = sink_back(p + lo, hi - lo, dot);
    nki_softmax_back(p + lo, d + lo, hi - lo, dot, a->scale);
    if (s->capped != NULL)
      nki_soft_cap_back(s->capped + r * s->p.width + lo, d + lo, hi - lo, a->cap);
    memset(d, 0, lo * sizeof *d);
    memset(d + hi, 0, (s->d.width - hi) * sizeof *d);
  }
}

/* out += scores^T x for the keys, x [n_q, head_dim] as own->q. */
static void add_outer(const struct nki_keys *own) {
  if (own->n_keys <= NKI_FEW_KEYS)
    nki_small_outer(own);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)own->n_keys, (int)own->head_dim,
                (int)own->n_q, 1.0f, own->scores, (int)own->ld_scores, own->q, (int)own->ld_q, 1.0f,
                own->out, (int)own->ld_out);
}

/* The gradients of the own keys and values that the chunk's queries see, and of these queries. */
static void own_back(const struct nki_attention_gradient *g, const struct nki_chunk *chunk,
                     size_t head, const struct scratch *s) {
  const struct nki_attention *a = g->attention;
  size_t ld_out = a->n_heads * a->head_dim, at = head / (a->n_heads / a->n_kv_heads) * a->head_dim;
  for (size_t view = chunk->view; view < chunk->view + chunk->n_views; view++) {
    struct nki_keys own = nki_attention_own(a, chunk, view, head, &s->d);
    if (own.n_q == 0) continue;
    size_t first = (size_t)(own.q - a->q) / a->ld_q, keys = a->views[view].own * g->ld_kv + at;
    struct nki_keys to = own;
    to.out = g->q + first * g->ld_q + head * a->head_dim;
    to.ld_out = g->ld_q;
    to.v = own.k;
    nki_attention_sums(&to, true);
    to.out = g->k + keys;
    to.ld_out = g->ld_kv;
    add_outer(&to);
    to = nki_attention_own(a, chunk, view, head, &s->p);
    to.q = g->out + first * ld_out + head * a->head_dim;
    to.ld_q = ld_out;
    to.out = g->v + keys;
    to.ld_out = g->ld_kv;
    add_outer(&to);
  }
}

/* The same of the prefix's keys and values. */
static void prefix_back(const struct nki_attention_gradient *g, const struct nki_chunk *chunk,
                        size_t head, const struct scratch *s) {
  const struct nki_attention *a = g->attention;
  size_t ld = a->n_kv_heads * a->head_dim, at = head / (a->n_heads / a->n_kv_heads) * a->head_dim;
  size_t ld_out = a->n_heads * a->head_dim;
  const struct nki_keys keys = nki_attention_prefix(a, chunk, head, &s->d);
  struct nki_keys to = keys;
  if (keys.n_keys == 0) return;
  to.out = g->q + chunk->row * g->ld_q + head * a->head_dim;
  to.ld_out = g->ld_q;
  to.v = keys.k;
  nki_attention_sums(&to, true);
  if (g->prefix_k == NULL) return;
  to.out = g->prefix_k + at;
  to.ld_out = ld;
  add_outer(&to);
  to = nki_attention_prefix(a, chunk, head, &s->p);
  to.q = g->out + chunk->row * ld_out + head * a->head_dim;
  to.ld_q = ld_out;
  to.out = g->prefix_v + at;
  to.ld_out = ld;
  add_outer(&to);
}

/* One chunk, for all heads that share the keys of kv_head. */
static void chunk_back(const struct nki_attention_gradient *g, const struct nki_chunk *chunk,
                       size_t kv_head, const struct scratch *s) {
  const struct nki_attention *a = g->attention;
  size_t n_group = a->n_heads / a->n_kv_heads;
  for (size_t head = kv_head * n_group; head < (kv_head + 1) * n_group; head++) {
    nki_attention_scores(a, chunk, head, false, &s->p);
    keep_capped(a, chunk, s);
    nki_attention_normalize(a, chunk, head, &s->p);
    probabilities_back(g, chunk, head, s);
    scores_back(g, chunk, head, s);
    prefix_back(g, chunk, head, s);
    own_back(g, chunk, head, s);
  }
}

/* True when the chunk continues the view of the one before it. */
static bool continues(const struct nki_chunk *chunk) {
  return chunk[-1].n_views == 1 && chunk[0].n_views == 1 && chunk[-1].view == chunk[0].view;
}

/* start [n + 1] = where the chunks that one thread has begin; returns n. */
static size_t share_out(const struct nki_chunk *chunks, size_t n_chunks, bool together,
                        size_t *start) {
  size_t n = 0;
  for (size_t i = 0; i < n_chunks; i++)
    if (i == 0 || !(together || continues(&chunks[i]))) start[n++] = i;
  start[n] = n_chunks;
  return n;
}

/* g->sinks += the sums over the queries, in their order. */
static void add_sinks(const struct nki_attention_gradient *g, const float *parts) {
  const struct nki_attention *a = g->attention;
  for (size_t head = 0; head < a->n_heads; head++) {
    double sum = 0;
    for (size_t v = 0; v < a->n_views; v++)
      for (size_t r = a->views[v].first; r < a->views[v].first + a->views[v].n; r++)
        sum += (double)parts[r * a->n_heads + head];
    g->sinks[head] += (float)sum;
  }
}

/* [rows of q, n_heads]. */
static float *make_sinks(const struct nki_attention *a) {
  size_t n = 0;
  for (size_t v = 0; v < a->n_views; v++)
    if (a->views[v].first + a->views[v].n > n) n = a->views[v].first + a->views[v].n;
  return nk_alloc(n, a->n_heads * sizeof(float));
}

int nki_attend_back(const struct nki_attention_gradient *g) {
  const struct nki_attention *a = g->attention;
  size_t n_chunks, width, n_packed = NKI_FEW_KEYS * a->head_dim;
  int code = NK_EMEMORY;
  float *scratch = NULL, *sinks = g->sinks == NULL ? NULL : make_sinks(a);
  struct nki_chunk *chunks = nki_attention_cut(a, &n_chunks, &width);
  size_t *start = nk_alloc(n_chunks + 1, sizeof *start);
  if (chunks == NULL || start == NULL || (g->sinks != NULL && sinks == NULL)) goto done;
  size_t part = NKI_CHUNK * width, each = 3 * part + n_packed;
  scratch = nk_alloc((size_t)omp_get_max_threads() * each, sizeof *scratch);
  if (scratch == NULL) goto done;
  size_t n = share_out(chunks, n_chunks, g->prefix_k != NULL, start);
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (size_t kv_head = 0; kv_head < a->n_kv_heads; kv_head++)
    for (size_t i = 0; i < n; i++)
      for (size_t k = start[i]; k < start[i + 1]; k++) {
        float *mine = scratch + (size_t)omp_get_thread_num() * each, *packed = mine + 3 * part;
        size_t own = nki_chunk_width(&chunks[k]);
        const struct scratch s = {{mine, packed, own},
                                  {mine + part, packed, own},
                                  a->cap > 0 ? mine + 2 * part : NULL,
                                  sinks};
        chunk_back(g, &chunks[k], kv_head, &s);
      }
  if (sinks != NULL) add_sinks(g, sinks);
  code = NK_OK;
done:
  nk_free(sinks);
  nk_free(scratch);
  nk_free(chunks);
  nk_free(start);
  return code;
}
