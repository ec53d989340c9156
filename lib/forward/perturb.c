/* What vectors change in places of contexts: the baselines, and the comparison with them. */
#include "forward/perturb.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "model/dtype.h"

/* ---- Checks ---- */

static int check_place(const struct nk_perturb_options *o, size_t n_reads, size_t number,
                       const struct nk_forward_shape *shape) {
  const struct nk_place *place = &o->places[number];
  size_t n_slots = 0;
  if (place->context >= o->n_contexts)
    return nk_fail(NK_EUSAGE, "place %zu: context %zu: there are %zu", number, place->context,
                   o->n_contexts);
  const struct nk_sequence *context = &o->contexts[place->context];
  if (context->n > shape->n_positions)
    return nk_fail(NK_EUSAGE, "context %zu: %zu tokens: the model's context is %zu", place->context,
                   context->n, shape->n_positions);
  if (place->position >= context->n)
    return nk_fail(NK_EUSAGE, "place %zu: position %zu: context %zu has %zu tokens", number,
                   place->position, place->context, context->n);
  if (place->layer > shape->n_layers)
    return nk_fail(NK_EUSAGE, "place %zu: layer %zu: the model has layers 0 to %zu", number,
                   place->layer, shape->n_layers);
  if (place->read < place->position || place->read >= context->n ||
      n_reads > context->n - place->read)
    return nk_fail(NK_EUSAGE,
                   "place %zu: reads %zu positions from %zu on: expected them from position %zu to "
                   "the end at %zu",
                   number, n_reads, place->read, place->position, context->n);
  for (size_t i = 0; i < context->n; i++) n_slots += context->ids[i] == NK_VECTOR;
  if (n_slots > 1 && !place->alone && context->ids[place->position] == NK_VECTOR &&
      place->origin == NULL && o->mode == NK_REPLACE)
    return nk_fail(NK_EUSAGE, "place %zu: several positions for the vector: an origin is needed",
                   number);
  return NK_OK;
}

static int check_options(const struct nk_perturb_options *o, const struct nk_forward *forward) {
  const struct nk_forward_shape *shape = &forward->config.shape;
  int code = NK_OK;
  if (o->mode != NK_REPLACE && o->mode != NK_ADD)
    return nk_fail(NK_EUSAGE, "mode %d: neither NK_REPLACE nor NK_ADD", (int)o->mode);
  for (size_t l = 0; l < o->n_layers; l++)
    if (o->layers[l] > shape->n_layers)
      return nk_fail(NK_EUSAGE, "layer %zu: the model has layers 0 to %zu", o->layers[l],
                     shape->n_layers);
  for (size_t i = 0; i < o->n_places && code == NK_OK; i++)
    code = check_place(o, o->n_reads == 0 ? 1 : o->n_reads, i, shape);
  return code;
}

/* ---- Baselines ---- */

static int copy_options(struct nk_perturb *p, const struct nk_perturb_options *o) {
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  size_t dim = shape->dim, n;
  p->contexts = o->contexts;
  p->n_places = o->n_places;
  p->n_reads = o->n_reads == 0 ? 1 : o->n_reads;
  p->mode = o->mode;
  p->n_layers = o->n_layers;
  if (!nk_size_mul(p->n_places, p->n_reads, &n))
    return nk_fail(NK_EMEMORY, "%zu places at %zu positions", p->n_places, p->n_reads);
  p->places = nk_alloc(p->n_places, sizeof *p->places);
  p->fill = nk_alloc(dim, sizeof *p->fill);
  p->layers = nk_alloc(p->n_layers + 1, sizeof *p->layers);
  p->origins = nk_calloc(p->n_places, dim * sizeof *p->origins);
  p->logits = nk_alloc(n, shape->n_vocabulary * sizeof *p->logits);
  p->log_sum_exp = nk_alloc(n, sizeof *p->log_sum_exp);
  p->top_id = nk_alloc(n, sizeof *p->top_id);
  p->streams = nk_alloc(n, (p->n_layers + 1) * dim * sizeof *p->streams);
  if (p->places == NULL || p->fill == NULL || p->layers == NULL || p->origins == NULL ||
      p->logits == NULL || p->log_sum_exp == NULL || p->top_id == NULL || p->streams == NULL)
    return NK_EMEMORY;
  for (size_t l = 0; l < o->n_layers; l++) p->layers[l] = o->layers[l];
  p->layers[p->n_layers] = shape->n_layers;
  for (size_t i = 0; i < p->n_places; i++) {
    p->places[i] = o->places[i];
    if (o->places[i].origin == NULL) continue;
    p->places[i].origin = p->origins + i * dim;
    memcpy(p->origins + i * dim, o->places[i].origin, dim * sizeof(float));
  }
  if (o->fill == NULL) return nki_mean_embedding(p->forward, p->fill);
  memcpy(p->fill, o->fill, dim * sizeof *p->fill);
  return NK_OK;
}

static int take_baselines(void *user, const size_t *order, size_t n,
                          const struct nki_perturb_answers *answers) {
  struct nk_perturb *p = user; /* row i is place i */
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  size_t reads = p->n_reads, logits = reads * shape->n_vocabulary;
  size_t streams = reads * (p->n_layers + 1) * shape->dim;
  for (size_t i = 0; i < n; i++) {
    size_t at = order[i];
    memcpy(p->logits + at * logits, answers->logits + i * logits, logits * sizeof(float));
    memcpy(p->streams + at * streams, answers->streams + i * streams, streams * sizeof(float));
    memcpy(p->log_sum_exp + at * reads, answers->log_sum_exp + i * reads, reads * sizeof(double));
    memcpy(p->top_id + at * reads, answers->top_id + i * reads, reads * sizeof(int64_t));
  }
  return NK_OK;
}

static int run_baselines(struct nk_perturb *p) {
  size_t *place = nk_alloc(p->n_places, sizeof *place);
  const float **origins = nk_alloc(p->n_places, sizeof *origins);
  const struct nki_perturb_rows rows = {place, origins, p->n_places,
                                        p->mode == NK_REPLACE ? p->origins : NULL};
  int code = place == NULL || origins == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < p->n_places && code == NK_OK; i++) {
    place[i] = i;
    origins[i] = p->places[i].origin;
  }
  if (code == NK_OK) code = nki_perturb_pass(p, &rows, take_baselines, p);
  nk_free(place);
  nk_free(origins);
  return code;
}

struct nk_perturb *nk_perturb_new(struct nk_model *model,
                                  const struct nk_perturb_options *options) {
  struct nk_forward *forward = nk_model_forward(model);
  if (forward == NULL || check_options(options, forward) != NK_OK) return NULL;
  struct nk_perturb *perturb = nk_calloc(1, sizeof *perturb);
  if (perturb == NULL) return NULL;
  perturb->forward = forward;
  int code = copy_options(perturb, options);
  if (code == NK_OK) code = run_baselines(perturb);
  if (code == NK_OK) return perturb;
  nk_perturb_free(perturb);
  return NULL;
}

void nk_perturb_free(struct nk_perturb *perturb) {
  if (perturb == NULL) return;
  nk_free(perturb->places);
  nk_free(perturb->fill);
  nk_free(perturb->layers);
  nk_free(perturb->origins);
  nk_free(perturb->logits);
  nk_free(perturb->log_sum_exp);
  nk_free(perturb->top_id);
  nk_free(perturb->streams);
  nk_free(perturb);
}

/* ---- Comparison ---- */

struct comparison {
  const struct nk_perturb *perturb;
  const size_t *place;  /* [rows] */
  const float *vectors; /* [rows, dim] */
  const size_t *number; /* [rows that run] their numbers in the arrays of effects */
  struct nk_effects *effects;
};

static double distance(const float *x, const float *y, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double difference = (double)x[i] - (double)y[i];
    sum += difference * difference;
  }
  return sqrt(sum);
}

static double length(const float *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sqrt(sum);
}

static double cosine(const float *x, const float *y, size_t n) {
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < n; i++) {
    xx += (double)x[i] * (double)x[i];
    yy += (double)y[i] * (double)y[i];
    xy += (double)x[i] * (double)y[i];
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
}

/* Number `at` of the effects: row `row`, read number k; `base` that of its baseline. `streams`
 * [n_layers + 1, dim]. */
static void compare_streams(const struct comparison *c, size_t row, size_t at, size_t base,
                            const float *streams) {
  const struct nk_perturb *p = c->perturb;
  size_t dim = p->forward->config.shape.dim, n = p->n_layers;
  const float *ours = p->streams + base * (n + 1) * dim;
  struct nk_effects *e = c->effects;
  const float *origin = p->origins + c->place[row] * dim;
  double moved = distance(c->vectors + row * dim, origin, dim);
  if (moved <= NKI_ROUNDING_OF_STATES * length(origin, dim)) moved = (double)NAN;
  if (e->final_l2 != NULL) e->final_l2[at] = distance(streams + n * dim, ours + n * dim, dim);
  if (e->final_cosine != NULL) e->final_cosine[at] = cosine(streams + n * dim, ours + n * dim, dim);
  for (size_t l = 0; l < n && e->relative != NULL; l++)
    e->relative[at * n + l] = distance(streams + l * dim, ours + l * dim, dim) / moved;
}

/* A thread's room, and the baseline whose probabilities it has. */
struct room {
  double *probabilities, *scratch; /* [vocabulary] */
  size_t base;
};

static void compare_logits(const struct comparison *c, struct room *room, size_t at, size_t base,
                           const float *logits, double log_sum_exp) {
  const struct nk_perturb *p = c->perturb;
  struct nk_effects *e = c->effects;
  size_t n = p->forward->config.shape.n_vocabulary;
  const float *ours = p->logits + base * n;
  struct nki_divergences d;
  if (e->kl == NULL && e->kl_reverse == NULL && e->js == NULL) return;
  if (room->base != base) nki_probabilities(ours, p->log_sum_exp[base], n, room->probabilities);
  room->base = base;
  const struct nki_distributions both = {ours, logits, room->probabilities,
                                         log_sum_exp - p->log_sum_exp[base], n};
  nki_divergences(&both, room->scratch, &d);
  if (e->kl != NULL) e->kl[at] = d.kl;
  if (e->kl_reverse != NULL) e->kl_reverse[at] = d.kl_reverse;
  if (e->js != NULL) e->js[at] = d.js;
}

static int take_answers(void *user, const size_t *order, size_t n,
                        const struct nki_perturb_answers *answers) {
  const struct comparison *c = user;
  const struct nk_perturb *p = c->perturb;
  const struct nk_forward_shape *shape = &p->forward->config.shape;
  size_t vocabulary = shape->n_vocabulary, reads = p->n_reads;
  size_t width = (p->n_layers + 1) * shape->dim;
  double *rooms = nk_alloc((size_t)omp_get_max_threads(), 2 * vocabulary * sizeof *rooms);
  if (rooms == NULL) return NK_EMEMORY;
#pragma omp parallel
  {
    double *mine = rooms + (size_t)omp_get_thread_num() * 2 * vocabulary;
    struct room room = {mine, mine + vocabulary, SIZE_MAX};
#pragma omp for schedule(static)
    for (size_t j = 0; j < n * reads; j++) { /* rows of a place and read follow one another */
      size_t i = j % n, k = j / n, from = i * reads + k, row = c->number[order[i]];
      size_t base = c->place[row] * reads + k, at = row * reads + k;
      compare_logits(c, &room, at, base, answers->logits + from * vocabulary,
                     answers->log_sum_exp[from]);
      compare_streams(c, row, at, base, answers->streams + from * width);
      if (c->effects->top_id != NULL) c->effects->top_id[at] = answers->top_id[from];
    }
  }
  nk_free(rooms);
  return NK_OK;
}

/* The effects of a vector that is the origin; the baseline's own in any case. */
static void take_origin(const struct comparison *c, size_t row, bool is_origin) {
  const struct nk_perturb *p = c->perturb;
  struct nk_effects *e = c->effects;
  for (size_t k = 0; k < p->n_reads; k++) {
    size_t at = row * p->n_reads + k;
    size_t base = c->place[row] * p->n_reads + k, dim = p->forward->config.shape.dim;
    int64_t top = p->top_id[base];
    if (e->base_top_id != NULL) e->base_top_id[at] = top;
    if (e->base_norm != NULL)
      e->base_norm[at] = length(p->streams + (base * (p->n_layers + 1) + p->n_layers) * dim, dim);
    if (!is_origin) continue;
    if (e->kl != NULL) e->kl[at] = 0;
    if (e->kl_reverse != NULL) e->kl_reverse[at] = 0;
    if (e->js != NULL) e->js[at] = 0;
    if (e->top_id != NULL) e->top_id[at] = top;
    if (e->final_l2 != NULL) e->final_l2[at] = 0;
    if (e->final_cosine != NULL) e->final_cosine[at] = 1;
    for (size_t l = 0; l < p->n_layers && e->relative != NULL; l++)
      e->relative[at * p->n_layers + l] = (double)NAN;
  }
}

int nk_perturb_run(struct nk_perturb *p, const size_t *place, const float *vectors, size_t n,
                   struct nk_effects *effects) {
  if (p == NULL) return nki_fail_null();
  size_t dim = p->forward->config.shape.dim;
  size_t *number = nk_alloc(n, sizeof *number), *where = nk_alloc(n, sizeof *where);
  const float **moved = nk_alloc(n, sizeof *moved);
  struct nki_perturb_rows rows = {.place = where, .vectors = moved};
  struct comparison comparison = {p, place, vectors, number, effects};
  int code = number == NULL || where == NULL || moved == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    const float *vector = vectors + i * dim;
    size_t bad = nki_first_not_finite(vector, dim);
    if (place[i] >= p->n_places)
      code = nk_fail(NK_EUSAGE, "vector %zu: place %zu: there are %zu", i, place[i], p->n_places);
    else if (bad < dim)
      code = nk_fail(NK_EDATA, "vector %zu: component %zu is not finite", i, bad);
    if (code != NK_OK) break;
    bool is_origin = memcmp(vector, p->origins + place[i] * dim, dim * sizeof(float)) == 0;
    take_origin(&comparison, i, is_origin);
    if (is_origin) continue;
    number[rows.n] = i;
    where[rows.n] = place[i];
    moved[rows.n++] = vector;
  }
  if (code == NK_OK) code = nki_perturb_pass(p, &rows, take_answers, &comparison);
  nk_free(number);
  nk_free(where);
  nk_free(moved);
  return code;
}
