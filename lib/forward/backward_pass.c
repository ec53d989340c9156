/* The backward pass of a group: what the terms give to the rows they read, then down the blocks to
 * the lowest layer that has a gradient. At each layer the terms that read the stream there add to
 * its gradient; the overrides there, last one first, take it: a vector that was added has the
 * gradient of its row, one that replaced the row leaves none to what was before it. */
#include <noken/base.h>
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

/* The terms of the distribution: their values, and their gradients to g_final. */
static int readout_back(const struct pass_back *p) {
  const struct nki_pass_gradient *gradient = p->gradient;
  const struct nki_pass *pass = p->pass;
  size_t dim = forward_of(p)->config.shape.dim, n = 0;
  const struct nki_stream values = {.x = pass->final, .n = pass->n_final, .rows = pass->final_rows};
  struct nk_term **terms = nk_alloc(pass->n_asks, sizeof(struct nk_term *));
  struct nk_ask **asks = nk_alloc(pass->n_asks, sizeof(struct nk_ask *));
  size_t *rows = nk_alloc(pass->n_asks, sizeof *rows);
  float *hidden = NULL, *d = NULL;
  int code = NK_EMEMORY;
  if (terms == NULL || asks == NULL || rows == NULL) goto done;
  for (size_t i = 0; i < pass->n_asks; i++) {
    size_t k = pass->asks[i].index;
    if (!nki_term_distribution(&gradient->terms[k])) continue;
    rows[n] = pass->asks[i].row;
    terms[n] = &gradient->terms[k];
    asks[n++] = &gradient->batch->asks[k];
  }
  hidden = nk_alloc(n, dim * sizeof *hidden);
  d = nk_alloc(n, dim * sizeof *d);
  if (hidden == NULL || d == NULL) goto done;
  for (size_t i = 0; i < n; i++)
    memcpy(hidden + i * dim, nki_stream_row(&values, rows[i], dim), dim * sizeof *hidden);
  code = nki_readout(forward_of(p), hidden, n, asks);
  if (code == NK_OK) code = nki_readout_back(gradient->back, hidden, n, terms, asks, d);
  const struct nki_stream stream = stream_at(p, pass->depth);
  for (size_t i = 0; i < n && code == NK_OK; i++)
    nki_add(nki_stream_row(&stream, rows[i], dim), d + i * dim, dim);
done:
  nk_free(terms);
  nk_free(asks);
  nk_free(rows);
  nk_free(hidden);
  nk_free(d);
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
