/* The energy distance of two samples. A column is an assignment of weights to units: the samples as
 * they are, a permutation of them, or a resample. Distances are computed again for each chunk of
 * columns rather than kept, as a matrix of them would be quadratic. */
#include "summary/energy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 512 }; /* in a chunk: a distance costs less than their sums */

/* Units that are compared with each other: those of one stratum, or all, where all have rows in all
 * strata and distances can be averaged over these. */
struct layer {
  size_t first, end; /* strata */
  uint32_t *unit;    /* [n] ascending */
  size_t n;
};

/* Units that can take each other's place. */
struct block {
  uint32_t *unit; /* [n] ascending */
  size_t n;
};

struct job {
  struct summary_space space;
  struct layer *layer;
  struct block *block;
  size_t n_layers, n_blocks, n_columns;
  uint32_t *layer_units, *block_units; /* the memory of their units */
  const struct summary_options *options;
  double *value; /* [n_columns]: as it is, permutations, resamples */
};

/* ---- Layers and blocks ---- */

/* most, least: of strata in which a unit has rows. */
static void count_strata(const struct summary_space *space, size_t *least, size_t *most) {
  *least = SIZE_MAX;
  *most = 0;
  for (size_t u = 0; u < space->of->n_units; u++) {
    size_t n = 0;
    for (size_t s = 0; s < space->of->n_strata; s++) n += summary_space_rows(space, s, u) > 0;
    *least = n < *least ? n : *least;
    *most = n > *most ? n : *most;
  }
}

/* A list of units for each stratum, or one of all. */
static size_t list_units(const struct summary_space *space, size_t stratum, bool all,
                         uint32_t *unit) {
  size_t n = 0;
  for (size_t u = 0; u < space->of->n_units; u++)
    if (all || summary_space_rows(space, stratum, u) > 0) unit[n++] = (uint32_t)u;
  return n;
}

static int set_parts(struct job *job) {
  const struct summary_space *space = &job->space;
  size_t n_strata = space->of->n_strata, least, most;
  count_strata(space, &least, &most);
  bool complete = least == n_strata, nested = most == 1;
  job->n_layers = complete ? 1 : n_strata;
  job->n_blocks = nested ? n_strata : 1;
  job->layer = nk_calloc(job->n_layers, sizeof *job->layer);
  job->block = nk_calloc(job->n_blocks, sizeof *job->block);
  /* There is at most one unit for each row in all strata together. */
  job->layer_units = nk_alloc(space->of->n, sizeof *job->layer_units);
  job->block_units = nk_alloc(space->of->n_units, sizeof *job->block_units);
  if (job->layer == NULL || job->block == NULL || job->layer_units == NULL ||
      job->block_units == NULL)
    return NK_EMEMORY;
  uint32_t *unit = job->layer_units;
  for (size_t l = 0; l < job->n_layers; l++) {
    size_t n = list_units(space, l, complete, unit);
    job->layer[l] = (struct layer){l, complete ? n_strata : l + 1, unit, n};
    unit += n;
  }
  unit = job->block_units;
  for (size_t b = 0; b < job->n_blocks; b++) {
    size_t n = list_units(space, b, !nested, unit);
    job->block[b] = (struct block){unit, n};
    unit += n;
  }
  return NK_OK;
}

/* ---- Columns ---- */

/* The memory of a thread; arrays of COLUMNS doubles are one beside the other. */
struct work {
  size_t n_columns;         /* of the chunk */
  double *weight;           /* [n_units, COLUMNS] */
  double *distance;         /* [n_units] of a unit to those before it in the layer */
  uint8_t *label;           /* [n_units] */
  double below[2][COLUMNS]; /* their sums, weighted, by sample */
  double sum[3][COLUMNS];   /* of pairs AA, AB, BB */
  double n[2][COLUMNS], squares[2][COLUMNS]; /* of weights, by sample */
  double between[COLUMNS], energy[COLUMNS];  /* the sums over layers */
};

static void draw_permutation(const struct job *job, size_t column, struct work *work) {
  uint64_t stream = summary_stream(job->options->seed, column, SUMMARY_MAX_KINDS);
  for (size_t b = 0; b < job->n_blocks; b++) {
    const struct block *block = &job->block[b];
    for (size_t i = 0; i < block->n; i++) work->label[i] = block->unit[i] < job->space.of->n_first;
    for (size_t i = block->n; i > 1 && column > 0; i--) { /* column 0: as it is */
      size_t k = summary_below(&stream, i);
      uint8_t label = work->label[k];
      work->label[k] = work->label[i - 1];
      work->label[i - 1] = label;
    }
    for (size_t i = 0; i < block->n; i++)
      work->weight[(size_t)block->unit[i] * COLUMNS + column % COLUMNS] = work->label[i];
  }
}

/* Draws with replacement from the units of each sample. */
static void draw_resample(const struct job *job, size_t resample, struct work *work) {
  uint64_t stream = summary_stream(job->options->seed, resample, SUMMARY_MAX_KINDS + 1);
  double *weight = work->weight + resample % COLUMNS;
  for (size_t u = 0; u < job->space.of->n_units; u++) weight[u * COLUMNS] = 0;
  for (size_t b = 0; b < job->n_blocks; b++) {
    const struct block *block = &job->block[b];
    size_t first = 0;
    while (first < block->n && block->unit[first] < job->space.of->n_first) first++;
    for (size_t i = 0; i < first; i++)
      weight[(size_t)block->unit[summary_below(&stream, first)] * COLUMNS]++;
    for (size_t i = first; i < block->n; i++)
      weight[(size_t)block->unit[first + summary_below(&stream, block->n - first)] * COLUMNS]++;
  }
}

/* sum [n_columns] += distance[i] times the weights of unit[i], for n units. */
static void add_weighted(double *restrict sum, const double *restrict d, const uint32_t *unit,
                         size_t n, const double *restrict weight, size_t n_columns) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const double *a = weight + (size_t)unit[i] * COLUMNS,
                 *b = weight + (size_t)unit[i + 1] * COLUMNS,
                 *c = weight + (size_t)unit[i + 2] * COLUMNS,
                 *e = weight + (size_t)unit[i + 3] * COLUMNS;
    for (size_t k = 0; k < n_columns; k++)
      sum[k] += d[i] * a[k] + d[i + 1] * b[k] + d[i + 2] * c[k] + d[i + 3] * e[k];
  }
  for (; i < n; i++)
    for (size_t k = 0; k < n_columns; k++) sum[k] += d[i] * weight[(size_t)unit[i] * COLUMNS + k];
}

/* Adds the pairs of the layer's unit i with those before it. Of permutations the weight of a unit
 * is 1 in the first sample and 0 in the second. */
static void add_unit(const struct job *job, const struct layer *layer, size_t i, bool permutes,
                     struct work *work) {
  size_t n_first = 0, unit = layer->unit[i];
  double total = 0;
  for (size_t j = 0; j < i; j++) {
    work->distance[j] =
        summary_space_distance(&job->space, layer->first, layer->end, unit, layer->unit[j]);
    total += work->distance[j];
    n_first += layer->unit[j] < job->space.of->n_first;
  }
  memset(work->below, 0, sizeof work->below);
  if (permutes) n_first = i;
  add_weighted(work->below[0], work->distance, layer->unit, n_first, work->weight, work->n_columns);
  add_weighted(work->below[1], work->distance + n_first, layer->unit + n_first, i - n_first,
               work->weight, work->n_columns);
  bool first = unit < job->space.of->n_first;
  for (size_t k = 0; k < work->n_columns; k++) {
    double weight = work->weight[unit * COLUMNS + k];
    double a = permutes || first ? weight : 0, b = permutes ? 1 - weight : first ? 0 : weight;
    double other = permutes ? total - work->below[0][k] : work->below[1][k];
    work->sum[0][k] += a * work->below[0][k];
    work->sum[1][k] += a * other + b * work->below[0][k];
    work->sum[2][k] += b * other;
    work->n[0][k] += a;
    work->n[1][k] += b;
    work->squares[0][k] += a * a;
    work->squares[1][k] += b * b;
  }
}

/* The pairs of all layers that have two units of each sample. */
static void add_layers(const struct job *job, bool permutes, struct work *work) {
  memset(work->between, 0, sizeof work->between);
  for (size_t k = 0; k < work->n_columns; k++)
    work->energy[k] = NAN; /* until a layer has a value */
  for (size_t l = 0; l < job->n_layers; l++) {
    const struct layer *layer = &job->layer[l];
    memset(work->sum, 0, sizeof work->sum);
    memset(work->n, 0, sizeof work->n);
    memset(work->squares, 0, sizeof work->squares);
    for (size_t i = 0; i < layer->n; i++) add_unit(job, layer, i, permutes, work);
    for (size_t k = 0; k < work->n_columns; k++) {
      double pairs[2];
      for (int g = 0; g < 2; g++)
        pairs[g] = (work->n[g][k] * work->n[g][k] - work->squares[g][k]) / 2;
      if (!(pairs[0] > 0 && pairs[1] > 0)) continue;
      double between = 2 * work->sum[1][k] / (work->n[0][k] * work->n[1][k]);
      work->between[k] += between;
      if (isnan(work->energy[k])) work->energy[k] = 0;
      work->energy[k] += between - work->sum[0][k] / pairs[0] - work->sum[2][k] / pairs[1];
    }
  }
}

/* Columns from `first` to before `end` of permutations or of resamples. */
static void run_chunk(const struct job *job, size_t first, size_t end, bool permutes, double *value,
                      struct work *work) {
  work->n_columns = end - first;
  for (size_t c = first; c < end; c++)
    if (permutes)
      draw_permutation(job, c, work);
    else
      draw_resample(job, c, work);
  add_layers(job, permutes, work);
  for (size_t c = first; c < end; c++) {
    double between = work->between[c - first], energy = work->energy[c - first];
    value[c] = between > 0 ? energy / between : energy; /* 0: all rows are the same */
  }
}

/* Pairs times columns from which on several threads are faster. */
enum { MANY = 1 << 24 };

static int run(struct job *job) {
  size_t n_units = job->space.of->n_units, n_resamples = job->options->n_resamples, n_weights;
  size_t n_permuted = n_resamples / COLUMNS + 1; /* chunks of n_resamples + 1 columns */
  size_t n_chunks = n_permuted + (n_resamples + COLUMNS - 1) / COLUMNS, n_threads = nk_threads();
  if (!nk_size_mul(n_units, COLUMNS, &n_weights)) return nk_fail(NK_EMEMORY, "out of memory");
  if (n_units < MANY / n_units / n_resamples) n_threads = 1;
  if (n_threads > n_chunks) n_threads = n_chunks;
  struct work *work = nk_calloc(n_threads, sizeof *work);
  bool ok = work != NULL;
  for (size_t t = 0; ok && t < n_threads; t++) {
    work[t].weight = nk_calloc(n_weights, sizeof *work->weight);
    work[t].distance = nk_alloc(n_units, sizeof *work->distance);
    work[t].label = nk_alloc(n_units, sizeof *work->label);
    ok = work[t].weight != NULL && work[t].distance != NULL && work[t].label != NULL;
  }
#pragma omp parallel for num_threads((int)n_threads) if (n_threads > 1)
  for (size_t t = 0; t < n_threads; t++)
    for (size_t c = t; ok && c < n_chunks; c += n_threads) {
      bool permutes = c < n_permuted;
      size_t n = permutes ? n_resamples + 1 : n_resamples;
      size_t first = (permutes ? c : c - n_permuted) * COLUMNS;
      size_t end = first + COLUMNS < n ? first + COLUMNS : n;
      run_chunk(job, first, end, permutes, job->value + (permutes ? 0 : n_resamples + 1), &work[t]);
    }
  for (size_t t = 0; work != NULL && t < n_threads; t++) {
    nk_free(work[t].weight);
    nk_free(work[t].distance);
    nk_free(work[t].label);
  }
  nk_free(work);
  return ok ? NK_OK : NK_EMEMORY;
}

/* ---- The result ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Strata in which the value is made. */
static size_t count_compared(const struct summary_space *space) {
  size_t n_compared = 0;
  for (size_t s = 0; s < space->of->n_strata; s++) {
    size_t n[2] = {0, 0};
    for (size_t u = 0; u < space->of->n_units; u++)
      n[u >= space->of->n_first] += summary_space_rows(space, s, u) > 0;
    n_compared += n[0] > 1 && n[1] > 1;
  }
  return n_compared;
}

static void set_result(const struct job *job, struct summary_energy *out) {
  size_t n = job->options->n_resamples, reached = 0, valid = 0;
  double value = job->value[0], *null = job->value + 1;
  double a = (double)job->space.of->n_first, b = (double)job->space.of->n_units - a;
  *out = (struct summary_energy){{value, NAN, NAN}, NAN, NAN, NAN, count_compared(&job->space)};
  if (isnan(value)) return;
  for (size_t i = 0; i < n; i++) {
    reached +=
        !(null[i] < value - 1e-12); /* the order of sums differs; so does one without value */
    if (!isnan(null[i])) null[valid++] = null[i];
  }
  if (valid > 1) qsort(null, valid, sizeof *null, compare_doubles);
  out->p_value = (double)(1 + reached) / (double)(1 + n);
  out->null_median = summary_quantile_value(null, valid, 0.5);
  out->null_q95 = summary_quantile_value(null, valid, 0.95);
  out->interval = summary_percentiles(value, job->value + 1 + n, n,
                                      summary_degrees(1 / a, a, 1 / b, b), job->options->level);
}

int summary_energy(const struct summary_two_samples *samples, const struct summary_options *options,
                   struct summary_energy *out) {
  struct job job = {.options = options};
  int code = summary_space_make(&job.space, samples);
  if (code == NK_OK) code = set_parts(&job);
  job.value = code == NK_OK ? nk_alloc(2 * options->n_resamples + 1, sizeof *job.value) : NULL;
  if (code == NK_OK) code = job.value != NULL ? run(&job) : NK_EMEMORY;
  if (code == NK_OK) set_result(&job, out);
  nk_free(job.value);
  nk_free(job.layer);
  nk_free(job.block);
  nk_free(job.layer_units);
  nk_free(job.block_units);
  summary_space_free(&job.space);
  return code;
}
