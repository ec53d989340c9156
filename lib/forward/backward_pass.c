/* The backward pass of a group: what the terms give to the rows they read, then down the blocks to
 * the lowest layer that has a gradient. At each layer the terms that read the stream there add to
 * its gradient; the overrides there, last one first, take it: a vector that was added has the
 * gradient of its row, one that replaced the row leaves none to what was before it. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "forward/backward.h"

struct pass_back {
  const struct nki_pass_gradient *gradient;
  struct nki_pass *pass;
  float *g;       /* [n_rows, dim] */
  float *g_final; /* [n_final, dim] */
};

static const struct nk_forward *forward_of(const struct pass_back *p) {
  return p->gradient->back->work->forward;
}

/* The gradient of the stream at `layer`. */
static struct nki_stream stream_at(const struct pass_back *p, size_t layer) {
  const struct nki_pass *pass = p->pass;
  if (layer == pass->depth && pass->depth > 0)
    return (struct nki_stream){.x = p->g_final, .n = pass->n_final, .rows = pass->final_rows};
  return (struct nki_stream){.x = p->g, .n = pass->n_rows};
}

/* ---- Terms ---- */

/* Terms of the distribution by row. */
struct reading {
  struct nki_place *places; /* [n_terms] row of the pass and number of the term, by row */
  struct nk_term **terms;   /* [n_terms] */
  struct nk_ask **asks;     /* [n_terms] */
  size_t *start;            /* [n + 1] the first term of each row */
  size_t n, n_terms;
  float *hidden, *d; /* [n, dim] */
};

static int compare_places(const void *a, const void *b) {
  const struct nki_place *x = a, *y = b;
  if (x->row != y->row) return x->row < y->row ? -1 : 1;
  return x->index < y->index ? -1 : x->index > y->index;
}

static void reading_free(struct reading *r) {
  nk_free(r->places);
  nk_free(r->terms);
  nk_free(r->asks);
  nk_free(r->start);
  nk_free(r->hidden);
  nk_free(r->d);
}

/* NK_OK or NK_EMEMORY; free in either case. */
static int reading_make(const struct pass_back *p, struct reading *r) {
  const struct nki_pass_gradient *gradient = p->gradient;
  const struct nki_pass *pass = p->pass;
  size_t dim = forward_of(p)->config.shape.dim;
  *r = (struct reading){.places = nk_alloc(pass->n_asks, sizeof *r->places),
                        .terms = nk_alloc(pass->n_asks, sizeof(struct nk_term *)),
                        .asks = nk_alloc(pass->n_asks, sizeof(struct nk_ask *)),
                        .start = nk_alloc(pass->n_asks + 1, sizeof *r->start)};
  if (r->places == NULL || r->terms == NULL || r->asks == NULL || r->start == NULL)
    return NK_EMEMORY;
  for (size_t i = 0; i < pass->n_asks; i++)
    if (nki_term_distribution(&gradient->terms[pass->asks[i].index]))
      r->places[r->n_terms++] = pass->asks[i];
  qsort(r->places, r->n_terms, sizeof *r->places, compare_places);
  for (size_t k = 0; k < r->n_terms; k++) {
    r->terms[k] = &gradient->terms[r->places[k].index];
    r->asks[k] = &gradient->batch->asks[r->places[k].index];
    if (k == 0 || r->places[k].row != r->places[k - 1].row) r->start[r->n++] = k;
  }
  r->start[r->n] = r->n_terms;
  r->hidden = nk_alloc(r->n, dim * sizeof(float));
  r->d = nk_alloc(r->n, dim * sizeof(float));
  return r->hidden == NULL || r->d == NULL ? NK_EMEMORY : NK_OK;
}

/* The terms of the distribution: their values, and their gradients to g_final. */
static int readout_back(const struct pass_back *p) {
  const struct nki_pass *pass = p->pass;
  size_t dim = forward_of(p)->config.shape.dim;
  const struct nki_stream values = {.x = pass->final, .n = pass->n_final, .rows = pass->final_rows};
  const struct nki_stream stream = stream_at(p, pass->depth);
  struct reading r;
  int code = reading_make(p, &r);
  for (size_t i = 0; i < r.n && code == NK_OK; i++)
    memcpy(r.hidden + i * dim, nki_stream_row(&values, r.places[r.start[i]].row, dim),
           dim * sizeof(float));
  struct nki_readers readers = {r.hidden, r.n, r.start, r.asks, p->gradient->memory};
  if (code == NK_OK) code = nki_readout_back(p->gradient->back, &readers, r.terms, r.d);
  for (size_t i = 0; i < r.n && code == NK_OK; i++)
    nki_add(nki_stream_row(&stream, r.places[r.start[i]].row, dim), r.d + i * dim, dim);
  reading_free(&r);
  return code;
}

/* The values of terms of the stream, which the pass has read into their asks. */
static void set_values(const struct pass_back *p) {
  size_t dim = forward_of(p)->config.shape.dim;
  for (size_t i = 0; i < p->pass->n_asks; i++) {
    size_t n = p->pass->asks[i].index;
    struct nk_term *t = &p->gradient->terms[n];
    const float *x = p->gradient->batch->asks[n].residuals;
    if (nki_term_distribution(t)) continue;
    t->value = 0;
    for (size_t k = 0; k < dim; k++) {
      double v = (double)t->vector[k], difference = (double)x[k] - v;
      t->value += t->kind == NK_TERM_STREAM ? v * (double)x[k] : difference * difference;
    }
  }
}

/* d [dim] += the gradient of a term of x [dim]. */
static void add_term(const struct nk_term *t, const float *x, size_t dim, float *d) {
  for (size_t k = 0; k < dim; k++) {
    double v = (double)t->vector[k];
    d[k] += (float)(t->weight * (t->kind == NK_TERM_STREAM ? v : 2 * ((double)x[k] - v)));
  }
}

/* What terms and overrides at `layer` make of its gradient. */
static void touch_back(const struct pass_back *p, size_t layer) {
  const struct nki_pass_gradient *gradient = p->gradient;
  const struct nki_stream stream = stream_at(p, layer);
  size_t dim = forward_of(p)->config.shape.dim;
  for (size_t i = 0; i < p->pass->n_asks; i++) {
    size_t k = p->pass->asks[i].index;
    const struct nk_term *t = &gradient->terms[k];
    if (nki_term_distribution(t) || t->layer != layer) continue;
    add_term(t, gradient->batch->asks[k].residuals, dim,
             nki_stream_row(&stream, p->pass->asks[i].row, dim));
  }
  for (size_t i = p->pass->n_overrides; i-- > 0;) {
    size_t k = p->pass->overrides[i].index;
    const struct nk_override *o = &gradient->batch->overrides[k];
    float *g = o->layer == layer ? nki_stream_row(&stream, p->pass->overrides[i].row, dim) : NULL;
    if (g == NULL) continue;
    if (gradient->overrides != NULL) memcpy(gradient->overrides + k * dim, g, dim * sizeof *g);
    if (o->mode == NK_REPLACE) memset(g, 0, dim * sizeof *g);
  }
}

/* ---- The blocks ---- */

static int block_back(const struct pass_back *p, size_t layer) {
  struct nki_back *back = p->gradient->back;
  struct nki_pass *pass = p->pass;
  size_t size = pass->n_rows * forward_of(p)->config.shape.dim;
  int code = NK_OK;
  nki_block_load(back->work, layer);
  if (p->gradient->again && layer + 1 < pass->depth) {
    memcpy(pass->x, pass->tapes[layer].x, size * sizeof *pass->x);
    code = nki_block_run(back->work, pass, layer);
  }
  return code == NK_OK ? nki_block_back(back, pass, layer, p->g, p->g_final) : code;
}

/* g, of the stream that enters block 0, becomes that of layer 0. */
static int embedding_back(const struct pass_back *p) {
  const struct nk_forward *f = forward_of(p);
  const struct nki_weight_arrays *a = p->gradient->back->arrays;
  size_t dim = f->config.shape.dim, n = p->pass->n_rows;
  for (size_t r = 0; r < n && a != NULL && a->positions != NULL; r++)
    nki_add(a->positions + (p->pass->positions[r] + f->config.position_offset) * dim,
            p->g + r * dim, dim);
  int code = NK_OK;
  if (f->embedding_norm.weight != NULL)
    code = nki_outer_norm_back(f, &f->embedding_norm, a == NULL ? NULL : &a->embedding_norm,
                               p->pass->embedded, n, p->g);
  if (f->config.embedding_scale != 1.0f) nki_scale(p->g, n * dim, f->config.embedding_scale);
  return code;
}

/* What overrides have left of the gradients of layer 0 is that of the tokens' rows. */
static void tokens_back(const struct pass_back *p) {
  const struct nki_weight_arrays *a = p->gradient->back->arrays;
  size_t dim = forward_of(p)->config.shape.dim;
  if (a == NULL || a->embedding == NULL) return;
  for (size_t s = 0; s < p->pass->n_spans; s++) {
    const struct nki_span *span = &p->pass->spans[s];
    for (size_t i = 0; i < span->n; i++)
      if (span->ids[i] != NK_VECTOR)
        nki_add(a->embedding + (size_t)span->ids[i] * dim, p->g + (span->row + i) * dim, dim);
  }
}

static int run_back(const struct pass_back *p) {
  size_t lowest = p->gradient->lowest, depth = p->pass->depth;
  set_values(p);
  int code = readout_back(p);
  if (code != NK_OK) return code;
  if (depth > 0) touch_back(p, depth);
  if (p->pass->replaced) return NK_OK;
  for (size_t layer = depth; layer > lowest && code == NK_OK;) {
    code = block_back(p, --layer);
    if (code == NK_OK && layer > 0) touch_back(p, layer);
  }
  if (code != NK_OK || lowest > 0) return code;
  if (depth > 0) code = embedding_back(p);
  if (code != NK_OK) return code;
  touch_back(p, 0);
  tokens_back(p);
  return NK_OK;
}

int nki_pass_back(const struct nki_pass_gradient *gradient, struct nki_pass *pass) {
  size_t dim = gradient->back->work->forward->config.shape.dim;
  struct pass_back p = {.gradient = gradient, .pass = pass};
  int code = NK_EMEMORY;
  p.g = nk_calloc(pass->n_rows, dim * sizeof *p.g);
  p.g_final = nk_calloc(pass->n_final, dim * sizeof *p.g_final);
  if (p.g != NULL && p.g_final != NULL) code = run_back(&p);
  nk_free(p.g);
  nk_free(p.g_final);
  return code;
}
