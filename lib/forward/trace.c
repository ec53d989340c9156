/* Activation patching. For each ordinary token: its run and those of the items, of which the
 * outputs of all blocks are read; then, in large batches, runs with one output of the other run. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "forward/batch.h"
#include "forward/probe.h"

enum { DEFAULT_ORDINARY = 8, RUNS_AT_ONCE = 4096 };
static const size_t BYTES = (size_t)256 << 20; /* of logits, and of outputs that are read */
/* With roundings e of the logits of about 1e-6 a divergence E is exact to about e sqrt(2 E): to 5%
 * here, and worse below. */
static const double LEAST_EFFECT = 1e-9;

struct tracing {
  const struct nk_probe *probe;
  const struct nk_forward_shape *shape;
  struct nk_trace *out;
  const float **vectors; /* [n_items] */
  float *embeddings;     /* [n_tokens, dim] of the items that are tokens */
  int64_t *ordinary;     /* [out->n_ordinary] */
  struct nki_layout layout;
  size_t start, n_positions; /* from the first place to the position that is read */
  size_t *blocks;            /* [n_blocks] from the layer of the place on */
  size_t n_blocks;
  bool heads;
  size_t row; /* floats that are read at a position: attention and mlp [n_blocks, dim], then heads
               * [n_heads, n_blocks, head_dim] */
  size_t n_together; /* items whose outputs are kept at once */
  float *outputs;    /* [1 + n_together, n_positions, row] the ordinary run's, then the items' */
  size_t n_at_once;  /* runs of a batch */
  float *logits;     /* [n_at_once, vocabulary] */
  float *base;       /* [vocabulary] of the ordinary run */
  double base_sum;   /* the log of their sum of exponentials */
  double *q;         /* [vocabulary] its probabilities */
  double *rooms;     /* [threads, vocabulary] */
};

/* ---- Sites ---- */

/* Kinds of outputs: attention's, the mlp's, each head's. */
static size_t n_kinds(const struct tracing *t) {
  return 2 + (t->heads ? t->shape->n_heads : 0);
}

static struct nk_trace_site site_of(size_t kind, size_t layer, size_t position) {
  return (struct nk_trace_site){.site = kind == 0   ? NK_SITE_ATTENTION
                                        : kind == 1 ? NK_SITE_MLP
                                                    : NK_SITE_HEAD,
                                .layer = layer,
                                .head = kind < 2 ? 0 : kind - 2,
                                .position = position};
}

/* sites NULL: only counts them. */
static size_t fill_sites(const struct tracing *t, struct nk_trace_site *sites) {
  size_t n = 0, end = t->start + t->n_positions;
  for (size_t p = t->start; p < end; p++) {
    if (!nki_probe_is_place(t->probe, p)) continue;
    if (sites != NULL) sites[n] = (struct nk_trace_site){.layer = t->probe->layer, .position = p};
    n++;
  }
  for (size_t b = 0; b < t->n_blocks; b++)
    for (size_t k = 0; k < n_kinds(t); k++)
      for (size_t p = t->start; p < end; p++, n++)
        if (sites != NULL) sites[n] = site_of(k, t->blocks[b], p);
  return n;
}

/* The output at a site among those of a run. */
static float *output_at(const struct tracing *t, size_t run, const struct nk_trace_site *site) {
  size_t dim = t->shape->dim, block = site->layer - t->probe->layer;
  float *at = t->outputs + (run * t->n_positions + site->position - t->start) * t->row;
  if (site->site == NK_SITE_ATTENTION) return at + block * dim;
  if (site->site == NK_SITE_MLP) return at + (t->n_blocks + block) * dim;
  return at + 2 * t->n_blocks * dim + (site->head * t->n_blocks + block) * t->shape->head_dim;
}

/* ---- A batch of runs of one ordinary token ---- */

struct runs {
  const struct tracing *t;
  size_t ordinary;
  struct nk_batch batch;
  struct nk_sequence *sequences;
  struct nk_override *overrides;
  struct nk_ask *asks; /* the first [n] are of the logits */
  size_t n_asks;       /* those that follow */
};

static int open_runs(const struct tracing *t, size_t ordinary, size_t n, bool reads,
                     struct runs *r) {
  size_t most = 2 * (t->probe->prompt.n_slots + 1) + 1; /* overrides of a run */
  size_t n_asks = !reads ? 0 : n * t->n_positions * n_kinds(t);
  *r = (struct runs){.t = t,
                     .ordinary = ordinary,
                     .sequences = nk_alloc(n, sizeof *r->sequences),
                     .overrides = nk_alloc(n, most * sizeof *r->overrides),
                     .asks = nk_calloc(n + n_asks, sizeof *r->asks)};
  return r->sequences == NULL || r->overrides == NULL || r->asks == NULL ? NK_EMEMORY : NK_OK;
}

static void close_runs(struct runs *r) {
  nk_free(r->sequences);
  nk_free(r->overrides);
  nk_free(r->asks);
}

/* A run with the ordinary token in its place, and the vector over it in an item's own run; at
 * `site` (may be NULL) with what the other one of both has there. */
static void add_run(struct runs *r, const float *vector, bool own, const struct nk_trace_site *site,
                    const float *output) {
  const struct tracing *t = r->t;
  const struct nk_probe *probe = t->probe;
  size_t number = r->batch.n_sequences++, end = t->start + t->n_positions;
  struct nk_override *o = r->overrides + r->batch.n_overrides;
  r->sequences[number] = t->layout.sequences[r->ordinary];
  for (size_t i = 0; i < t->layout.batch.n_overrides; i++)
    if (t->layout.overrides[i].sequence == r->ordinary) {
      *o = t->layout.overrides[i];
      o++->sequence = number;
    }
  for (size_t p = t->start; p < end && vector != NULL; p++) {
    bool other = site != NULL && site->site == NK_SITE_STREAM && site->position == p;
    if (nki_probe_is_place(probe, p) && own != other)
      *o++ = (struct nk_override){number, p, probe->layer, probe->mode, vector};
  }
  if (site != NULL && site->site != NK_SITE_STREAM)
    *o++ = (struct nk_override){.sequence = number,
                                .position = site->position,
                                .layer = site->layer,
                                .vector = output,
                                .site = site->site,
                                .head = site->head};
  r->batch.n_overrides = (size_t)(o - r->overrides);
  r->asks[number] = (struct nk_ask){.sequence = number,
                                    .position = end - 1,
                                    .logits = t->logits + number * t->shape->n_vocabulary};
}

/* Asks for all outputs of the runs that were added. */
static void ask_outputs(struct runs *r) {
  const struct tracing *t = r->t;
  struct nk_ask *ask = r->asks + r->batch.n_sequences;
  for (size_t s = 0; s < r->batch.n_sequences; s++)
    for (size_t p = 0; p < t->n_positions; p++)
      for (size_t k = 0; k < n_kinds(t) && t->n_blocks > 0; k++) {
        const struct nk_trace_site site = site_of(k, t->probe->layer, t->start + p);
        *ask++ = (struct nk_ask){.sequence = s,
                                 .position = site.position,
                                 .layers = t->blocks,
                                 .n_layers = t->n_blocks,
                                 .residuals = output_at(t, s, &site),
                                 .site = site.site,
                                 .head = site.head};
      }
  r->n_asks = (size_t)(ask - r->asks) - r->batch.n_sequences;
}

static int run_batch(struct runs *r) {
  r->batch.prefix = r->t->layout.batch.prefix;
  r->batch.sequences = r->sequences;
  r->batch.overrides = r->overrides;
  r->batch.asks = r->asks;
  r->batch.n_asks = r->batch.n_sequences + r->n_asks;
  r->t->out->n_runs += r->batch.n_sequences;
  return nk_forward_run(r->t->probe->forward, &r->batch);
}

/* KL(run || ordinary run) of runs [first, n), each added to *sums[i]. */
static void add_divergences(const struct runs *r, size_t first, double *const *sums) {
  const struct tracing *t = r->t;
  size_t vocabulary = t->shape->n_vocabulary;
#pragma omp parallel for
  for (size_t i = first; i < r->batch.n_sequences; i++) {
    const struct nki_distributions both = {t->base, t->logits + i * vocabulary, t->q,
                                           r->asks[i].log_sum_exp - t->base_sum, vocabulary};
    *sums[i] += nki_kl_reverse(&both, t->rooms + (size_t)omp_get_thread_num() * vocabulary);
  }
}

/* ---- All runs ---- */

/* The ordinary run and those of items [first, first + n): their outputs and effects. */
static int run_own(struct tracing *t, size_t ordinary, size_t first, size_t n, double **sums) {
  struct runs r;
  int code = open_runs(t, ordinary, n + 1, true, &r);
  if (code != NK_OK) goto done;
  add_run(&r, NULL, false, NULL, NULL);
  for (size_t i = 0; i < n; i++) {
    sums[i + 1] = &t->out->effect[first + i];
    add_run(&r, t->vectors[first + i], true, NULL, NULL);
  }
  ask_outputs(&r);
  code = run_batch(&r);
  if (code != NK_OK) goto done;
  memcpy(t->base, t->logits, t->shape->n_vocabulary * sizeof *t->base);
  t->base_sum = r.asks[0].log_sum_exp;
  nki_probabilities(t->base, t->base_sum, t->shape->n_vocabulary, t->q);
  add_divergences(&r, 1, sums);
done:
  close_runs(&r);
  return code;
}

/* Patched runs [at, at + n) of those of the items from `first` on: by item, by site, into its own
 * run and into the ordinary one. */
static int run_patches(struct tracing *t, size_t ordinary, size_t first, size_t at, size_t n,
                       double **sums) {
  size_t n_sites = t->out->n_sites;
  struct runs r;
  int code = open_runs(t, ordinary, n, false, &r);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    size_t item = (at + i) / (2 * n_sites), number = (at + i) / 2 % n_sites;
    bool own = (at + i) % 2 == 0;
    const struct nk_trace_site *site = &t->out->sites[number];
    sums[i] = (own ? t->out->undone : t->out->caused) + (first + item) * n_sites + number;
    add_run(&r, t->vectors[first + item], own, site,
            site->site == NK_SITE_STREAM ? NULL : output_at(t, own ? 0 : item + 1, site));
  }
  if (code == NK_OK) code = run_batch(&r);
  if (code == NK_OK) add_divergences(&r, 0, sums);
  close_runs(&r);
  return code;
}

static int run_all(struct tracing *t) {
  double **sums = nk_alloc(t->n_at_once, sizeof(double *));
  int code = sums == NULL ? NK_EMEMORY : NK_OK;
  for (size_t o = 0; o < t->out->n_ordinary; o++)
    for (size_t first = 0, n; first < t->out->n_items && code == NK_OK; first += n) {
      n = t->out->n_items - first < t->n_together ? t->out->n_items - first : t->n_together;
      code = run_own(t, o, first, n, sums);
      size_t n_runs = 2 * n * t->out->n_sites, step = t->n_at_once;
      for (size_t at = 0; at < n_runs && code == NK_OK; at += step)
        code = run_patches(t, o, first, at, n_runs - at < step ? n_runs - at : step, sums);
    }
  nk_free(sums);
  return code;
}

/* Sums of divergences become parts of the effect. */
static void divide(struct nk_trace *out) {
  for (size_t i = 0; i < out->n_items; i++) {
    double sum = out->effect[i];
    out->effect[i] = sum / (double)out->n_ordinary;
    bool any = out->effect[i] >= LEAST_EFFECT;
    for (size_t k = i * out->n_sites; k < (i + 1) * out->n_sites; k++) {
      out->undone[k] = any ? 1 - out->undone[k] / sum : (double)NAN;
      out->caused[k] = any ? out->caused[k] / sum : (double)NAN;
    }
  }
}

/* ---- What is traced ---- */

/* The items as vectors. */
static int take_items(struct tracing *t, const struct nk_items *items) {
  size_t dim = t->shape->dim, n = items->n_tokens;
  const struct nk_probe *probe = t->probe;
  if (n > 0 && (probe->layer > 0 || probe->mode != NK_REPLACE))
    return nk_fail(NK_EUSAGE, "tokens are traced from layer 0, where they replace others");
  t->out->n_items = n + (items->vectors == NULL ? 0 : items->vectors->n);
  t->vectors = nk_alloc(t->out->n_items, sizeof(float *));
  t->embeddings = nk_alloc(n, dim * sizeof(float));
  if (t->vectors == NULL || t->embeddings == NULL) return NK_EMEMORY;
  int code = NK_OK;
  for (size_t i = 0; i < t->out->n_items && code == NK_OK; i++) {
    t->vectors[i] = i < n ? t->embeddings + i * dim : items->vectors->values + (i - n) * dim;
    if (i < n)
      code = nk_forward_embedding(probe->forward, items->tokens[i], t->embeddings + i * dim);
  }
  return code;
}

/* The ordinary tokens: the probe's own, or drawn by its seed. */
static int take_ordinary(struct tracing *t, size_t n) {
  const struct nk_probe *probe = t->probe;
  const struct nk_ordinary_options options = {.from = probe->reference_ids,
                                              .n_from = probe->n_reference_ids,
                                              .n = n == 0 ? DEFAULT_ORDINARY : n,
                                              .seed = probe->seed};
  size_t *const n_ordinary = &t->out->n_ordinary;
  int code = nk_ordinary_tokens(probe->model, &options, &t->ordinary, n_ordinary);
  if (code != NK_OK) return code;
  if (*n_ordinary == 0) return nk_fail(NK_EUSAGE, "no ordinary token to compare with");
  const struct nki_slice slice = {.n = *n_ordinary, .tokens = t->ordinary, .n_tokens = *n_ordinary};
  return nki_layout_make(probe, &slice, &t->layout);
}

static int take_sites(struct tracing *t) {
  const struct nk_probe *probe = t->probe;
  size_t n_layers = t->shape->n_layers;
  t->start = probe->at_position ? probe->position : probe->first;
  t->n_positions = probe->base + probe->offsets[probe->n_offsets - 1] + 1 - t->start;
  t->n_blocks = n_layers - probe->layer;
  t->blocks = nk_alloc(t->n_blocks, sizeof *t->blocks);
  t->row =
      t->n_blocks * (2 * t->shape->dim + (t->heads ? t->shape->n_heads * t->shape->head_dim : 0));
  if (t->blocks == NULL) return NK_EMEMORY;
  for (size_t b = 0; b < t->n_blocks; b++) t->blocks[b] = probe->layer + b;
  t->out->n_sites = fill_sites(t, NULL);
  t->out->sites = nk_alloc(t->out->n_sites, sizeof *t->out->sites);
  if (t->out->sites == NULL) return NK_EMEMORY;
  fill_sites(t, t->out->sites);
  return NK_OK;
}

static size_t clamp(size_t n, size_t most) {
  return n < 1 ? 1 : n < most ? n : most;
}

static int make_room(struct tracing *t) {
  struct nk_trace *out = t->out;
  size_t vocabulary = t->shape->n_vocabulary, run, cells;
  if (!nk_size_mul(t->n_positions, t->row, &run) ||
      !nk_size_mul(out->n_items, out->n_sites, &cells))
    return nk_fail(NK_EMEMORY, "%zu items at %zu sites", out->n_items, out->n_sites);
  t->n_at_once = clamp(BYTES / sizeof(float) / vocabulary, RUNS_AT_ONCE);
  if (t->n_at_once < 2) t->n_at_once = 2;
  t->n_together = clamp(BYTES / sizeof(float) / (run + 1), t->n_at_once - 1);
  t->n_together = clamp(t->n_together, out->n_items);
  t->outputs = nk_alloc(1 + t->n_together, (run + 1) * sizeof(float));
  t->logits = nk_alloc(t->n_at_once, vocabulary * sizeof(float));
  t->base = nk_alloc(vocabulary, sizeof *t->base);
  t->q = nk_alloc(vocabulary, sizeof *t->q);
  t->rooms = nk_alloc((size_t)omp_get_max_threads(), vocabulary * sizeof *t->rooms);
  out->effect = nk_calloc(out->n_items, sizeof *out->effect);
  out->undone = nk_calloc(cells, sizeof *out->undone);
  out->caused = nk_calloc(cells, sizeof *out->caused);
  return t->outputs == NULL || t->logits == NULL || t->base == NULL || t->q == NULL ||
                 t->rooms == NULL || out->effect == NULL || out->undone == NULL ||
                 out->caused == NULL
             ? NK_EMEMORY
             : NK_OK;
}

static void close_tracing(struct tracing *t) {
  nki_layout_free(&t->layout);
  nk_free(t->vectors);
  nk_free(t->embeddings);
  nk_free(t->ordinary);
  nk_free(t->blocks);
  nk_free(t->outputs);
  nk_free(t->logits);
  nk_free(t->base);
  nk_free(t->q);
  nk_free(t->rooms);
}

struct nk_trace *nk_probe_trace(const struct nk_probe *probe, const struct nk_items *items,
                                const struct nk_trace_options *options) {
  static const struct nk_trace_options defaults;
  if (nki_check_items(probe, items) != NK_OK) return NULL;
  if (options == NULL) options = &defaults;
  struct tracing t = {.probe = probe,
                      .shape = &probe->forward->config.shape,
                      .out = nk_calloc(1, sizeof *t.out),
                      .heads = options->heads};
  int code = t.out == NULL ? NK_EMEMORY : take_items(&t, items);
  if (code == NK_OK) code = take_sites(&t);
  if (code == NK_OK) code = take_ordinary(&t, options->n_ordinary);
  if (code == NK_OK) code = make_room(&t);
  if (code == NK_OK) code = run_all(&t);
  if (code == NK_OK) divide(t.out);
  close_tracing(&t);
  if (code == NK_OK) return t.out;
  nk_trace_free(t.out);
  return NULL;
}

void nk_trace_free(struct nk_trace *trace) {
  if (trace == NULL) return;
  nk_free(trace->sites);
  nk_free(trace->effect);
  nk_free(trace->undone);
  nk_free(trace->caused);
  nk_free(trace);
}
