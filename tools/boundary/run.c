/* Blocks of rays: those of one place are neighbours and share its baseline, and a block has as many
 * places as their baselines may take memory. */
#include "boundary/run.h"

#include <math.h>
#include <noken/geometry.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RAYS = 256, MOST_VECTORS = 1024 };
static const size_t most_bytes = (size_t)256 << 20; /* of baselines */

/* A ray and its place. */
struct entry {
  size_t ray, place;
};

static int compare_entries(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->place != y->place) return x->place < y->place ? -1 : 1;
  return (x->ray > y->ray) - (x->ray < y->ray);
}

/* The rays by their places. */
static struct entry *sort_rays(const struct boundary_run *run) {
  struct entry *entries = nk_alloc(run->n, sizeof *entries);
  for (size_t i = 0; i < run->n && entries != NULL; i++)
    entries[i] =
        (struct entry){run->first + i, run->places->of_row[run->rays->far[run->first + i]]};
  if (run->n > 0 && entries != NULL) qsort(entries, run->n, sizeof *entries, compare_entries);
  return entries;
}

/* ---- A block ---- */

struct block {
  const struct boundary_run *run;
  const struct entry *entries; /* [n] */
  size_t n;
  struct nk_place *places; /* [n_places] those from entries[0].place on */
  size_t n_places, n_reads;
  struct nk_sequence *contexts; /* [n_places] with the window; NULL: the run's contexts */
  int64_t *ids;                 /* of these */
  struct nk_perturb *perturb;
  size_t n_points, n_done; /* points measured; rays of earlier blocks */
  /* Of one call of nk_perturb_run: */
  float *vectors; /* [MOST_VECTORS, dim] */
  double *values; /* [MOST_VECTORS, n_reads] */
  double *norms;  /* [MOST_VECTORS, n_reads] of the origins, at the last layer */
  size_t *at;     /* [MOST_VECTORS] places */
};

static int begin_block(struct block *b) {
  size_t dim = b->run->rays->set->dim, first = b->entries[0].place;
  b->n_places = b->entries[b->n - 1].place + 1 - first;
  b->places = nk_alloc(b->n_places, sizeof *b->places);
  b->vectors = nk_alloc(MOST_VECTORS, dim * sizeof *b->vectors);
  b->values = nk_alloc(MOST_VECTORS, b->n_reads * sizeof *b->values);
  b->norms = nk_alloc(MOST_VECTORS, b->n_reads * sizeof *b->norms);
  b->at = nk_alloc(MOST_VECTORS, sizeof *b->at);
  if (b->places == NULL || b->vectors == NULL || b->values == NULL || b->norms == NULL ||
      b->at == NULL)
    return NK_EMEMORY;
  memcpy(b->places, b->run->places->item + first, b->n_places * sizeof *b->places);
  return NK_OK;
}

static void free_block(struct block *b) {
  nk_perturb_free(b->perturb);
  nk_free(b->places);
  nk_free(b->vectors);
  nk_free(b->values);
  nk_free(b->norms);
  nk_free(b->at);
  nk_free(b->contexts);
  nk_free(b->ids);
}

/* ---- Windows ---- */

/* The overrides of a place's origin, as sequence `sequence`: in all slots of the context, or at the
 * position. */
static size_t add_overrides(const struct boundary_run *run, const struct nk_place *place,
                            size_t sequence, struct nk_override *out) {
  const struct nk_sequence *context = &run->contexts->item[place->context];
  bool in_slots = !place->alone && context->ids[place->position] == NK_VECTOR;
  bool is_above = place->layer > 0 || run->mode == NK_ADD;
  size_t n = 0;
  for (size_t i = 0; i < context->n; i++) {
    bool slot = context->ids[i] == NK_VECTOR, is_place = in_slots ? slot : i == place->position;
    if (slot && (is_above || !is_place))
      out[n++] = (struct nk_override){sequence, i, 0, NK_REPLACE, run->fill};
    if (is_place)
      out[n++] = (struct nk_override){sequence, i, place->layer, run->mode, place->origin};
  }
  return n;
}

/* Generates after each place's context with its origin: ids [n_places, n_tokens]. */
static int generate(const struct block *b, size_t n_tokens, int64_t *ids, size_t *lengths) {
  size_t most = 0;
  for (size_t p = 0; p < b->n_places; p++)
    most += 2 * b->run->contexts->item[b->places[p].context].n;
  struct nk_sequence *sequences = nk_alloc(b->n_places, sizeof *sequences);
  struct nk_override *overrides = nk_alloc(most, sizeof *overrides);
  struct nk_generation generation = {.n_tokens = n_tokens, .ids = ids, .lengths = lengths};
  struct nk_batch batch = {.sequences = sequences,
                           .n_sequences = b->n_places,
                           .overrides = overrides,
                           .generation = &generation};
  int code = sequences == NULL || overrides == NULL ? NK_EMEMORY : NK_OK;
  for (size_t p = 0; p < b->n_places && code == NK_OK; p++) {
    sequences[p] = b->run->contexts->item[b->places[p].context];
    batch.n_overrides += add_overrides(b->run, &b->places[p], p, overrides + batch.n_overrides);
  }
  if (code == NK_OK) code = nk_forward_run(nk_model_forward(b->run->model), &batch);
  nk_free(sequences);
  nk_free(overrides);
  return code;
}

/* Gives each place a context of its own, which the generated tokens follow. */
static int append_windows(struct block *b) {
  size_t n_tokens = b->n_reads - 1, n_ids = 0;
  int64_t *generated = nk_alloc(b->n_places, (n_tokens + 1) * sizeof *generated);
  size_t *lengths = nk_alloc(b->n_places, sizeof *lengths);
  for (size_t p = 0; p < b->n_places; p++)
    n_ids += b->run->contexts->item[b->places[p].context].n + n_tokens;
  b->ids = nk_alloc(n_ids, sizeof *b->ids);
  b->contexts = nk_alloc(b->n_places, sizeof *b->contexts);
  int code = generated == NULL || lengths == NULL || b->ids == NULL || b->contexts == NULL
                 ? NK_EMEMORY
                 : NK_OK;
  if (code == NK_OK && n_tokens > 0) code = generate(b, n_tokens, generated, lengths);
  int64_t *ids = b->ids;
  for (size_t p = 0; p < b->n_places && code == NK_OK; p++) {
    const struct nk_sequence context = b->run->contexts->item[b->places[p].context];
    memcpy(ids, context.ids, context.n * sizeof *ids);
    if (n_tokens > 0) memcpy(ids + context.n, generated + p * n_tokens, n_tokens * sizeof *ids);
    b->contexts[p] = (struct nk_sequence){ids, context.n + n_tokens};
    b->places[p].context = p;
    b->places[p].read = context.n - 1;
    ids += context.n + n_tokens;
  }
  nk_free(generated);
  nk_free(lengths);
  return code;
}

/* ---- The measure ---- */

/* Distances are measured without a window: a norm each. */
static int check_level(const struct block *b, const size_t *ray, size_t n) {
  double level = b->run->search.level;
  for (size_t i = 0; i < n && b->run->quantity == BOUNDARY_L2; i++)
    if (level < BOUNDARY_LEAST_L2 * b->norms[i])
      return nk_fail(NK_EUSAGE,
                     "--level: %g is within the rounding of the streams of row %zu, whose norm is "
                     "%g: %g or more is needed",
                     level, b->run->rays->far[b->entries[ray[i]].ray], b->norms[i],
                     BOUNDARY_LEAST_L2 * b->norms[i]);
  return NK_OK;
}

/* values [n, n_reads] to value [n]. */
static int reduce(const struct block *b, const size_t *ray, const double *radius, size_t n,
                  double *value) {
  static const double level = 0.95;
  for (size_t i = 0; i < n; i++) {
    value[i] = b->values[i];
    if (b->run->n_window > 0)
      nk_quantiles(b->values + i * b->n_reads, b->n_reads, &level, 1, &value[i]);
    if (!isfinite(value[i]))
      return nk_fail(NK_EDATA, "row %zu: at radius %.9g the measure is not finite",
                     b->run->rays->far[b->entries[ray[i]].ray], radius[i]);
    if (b->run->quantity != BOUNDARY_L2 && value[i] < BOUNDARY_ROUNDING) value[i] = 0;
  }
  return NK_OK;
}

/* Progress is counted in vectors: the scan's, and about 16 of bisection for each ray. */
static int report(const struct boundary_run *run, size_t n_rays, size_t n_points) {
  size_t each = run->search.n_grid + 16;
  return nk_progress("vectors", (run->n_done + n_rays) * each + n_points, run->n_total * each);
}

static int report_points(const struct block *b) {
  size_t most = b->n * (b->run->search.n_grid + 16) - 1;
  return report(b->run, b->n_done, b->n_points < most ? b->n_points : most);
}

static int measure_points(void *user, const size_t *ray, const double *radius, size_t n,
                          double *value) {
  struct block *b = user;
  size_t dim = b->run->rays->set->dim;
  struct nk_effects effects = {.base_norm = b->norms};
  *(b->run->quantity == BOUNDARY_KL   ? &effects.kl
    : b->run->quantity == BOUNDARY_JS ? &effects.js
                                      : &effects.final_l2) = b->values;
  int code = NK_OK;
  for (size_t first = 0, rows; first < n && code == NK_OK; first += rows) {
    rows = n - first < MOST_VECTORS ? n - first : MOST_VECTORS;
    for (size_t i = 0; i < rows; i++) {
      const struct entry *entry = &b->entries[ray[first + i]];
      boundary_point(b->run->rays, entry->ray, radius[first + i], b->vectors + i * dim);
      b->at[i] = entry->place - b->entries[0].place;
    }
    code = nk_perturb_run(b->perturb, b->at, b->vectors, rows, &effects);
    if (code == NK_OK) code = check_level(b, ray + first, rows);
    if (code == NK_OK) code = reduce(b, ray + first, radius + first, rows, value + first);
    b->n_points += rows;
    if (code == NK_OK) code = report_points(b);
  }
  return code;
}

static int run_block(struct block *b, struct boundary_onset *out) {
  const struct boundary_run *run = b->run;
  double *length = nk_alloc(b->n, sizeof *length);
  struct boundary_onset *onsets = nk_alloc(b->n, sizeof *onsets);
  int code = length == NULL || onsets == NULL ? NK_EMEMORY : begin_block(b);
  if (code == NK_OK && run->n_window > 0) code = append_windows(b);
  if (code != NK_OK) goto done;
  b->perturb = nk_perturb_new(
      run->model, &(struct nk_perturb_options){
                      .contexts = b->contexts != NULL ? b->contexts : run->contexts->item,
                      .n_contexts = b->contexts != NULL ? b->n_places : run->contexts->n,
                      .places = b->places,
                      .n_places = b->n_places,
                      .n_reads = b->n_reads,
                      .mode = run->mode,
                      .fill = run->fill});
  if (b->perturb == NULL) code = nk_error_code();
  for (size_t i = 0; i < b->n; i++) length[i] = run->rays->length[b->entries[i].ray];
  if (code == NK_OK) code = boundary_search(&run->search, measure_points, b, length, b->n, onsets);
  for (size_t i = 0; i < b->n && code == NK_OK; i++)
    out[b->entries[i].ray - run->first] = onsets[i];
done:
  nk_free(length);
  nk_free(onsets);
  free_block(b);
  return code;
}

/* ---- The whole ---- */

/* How many of entries [n] make the next block. */
static size_t block_size(const struct boundary_run *run, size_t n_reads,
                         const struct entry *entries, size_t n) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(run->model));
  double bytes = (double)n_reads * sizeof(float) * (double)(shape->n_vocabulary + 2 * shape->dim);
  double room = fmax(1, (double)most_bytes / bytes); /* places */
  size_t size = 0, most = n < MOST_RAYS ? n : MOST_RAYS;
  while (size < most && (double)(entries[size].place - entries[0].place) + 1 <= room) size++;
  return size;
}

int boundary_run(const struct boundary_run *run, struct boundary_onset *out) {
  size_t n = run->n, n_reads = run->n_window > 0 ? run->n_window : 1;
  struct entry *entries = sort_rays(run);
  int code = entries == NULL ? NK_EMEMORY : n > 0 ? report(run, 0, 0) : NK_OK;
  for (size_t first = 0, size; first < n && code == NK_OK; first += size) {
    size = block_size(run, n_reads, entries + first, n - first);
    struct block block = {
        .run = run, .entries = entries + first, .n = size, .n_reads = n_reads, .n_done = first};
    code = run_block(&block, out);
    if (code == NK_OK) code = report(run, first + size, 0);
  }
  nk_free(entries);
  return code;
}
