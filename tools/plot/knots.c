/* The points of a curve's lines. Rows become samples; where lines are summarized, the samples of a
 * strand at one position become one, so that each strand counts once; the samples of a group at one
 * position become a knot. */
#include "plot/knots.h"

#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "summary/resample.h"

enum { MAX_POSITIONS = 64, DEFAULT_BINS = 40, N_RESAMPLES = 2000 };
static const double LEVEL = 0.95, ROUNDING = 1e-5;

/* A row, or a strand at one position. position: its x, or the number of its bin. */
struct sample {
  size_t group;
  double position, x, y;
  uint32_t strand;
};

static int compare_samples(const void *a, const void *b) {
  const struct sample *s = a, *t = b;
  if (s->group != t->group) return s->group < t->group ? -1 : 1;
  if (s->position != t->position) return s->position < t->position ? -1 : 1;
  return (s->y > t->y) - (s->y < t->y);
}

static int compare_strands(const void *a, const void *b) {
  const struct sample *s = a, *t = b;
  if (s->group != t->group) return s->group < t->group ? -1 : 1;
  if (s->strand != t->strand) return s->strand < t->strand ? -1 : 1;
  return compare_samples(a, b);
}

/* ---- Positions ---- */

static bool are_whole(const struct sample *samples, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (samples[i].x != nearbyint(samples[i].x)) return false;
  return true;
}

/* Keeps of positions [n], ascending, the first of those that differ by `rounding` of their size (of
 * 1 on a logarithmic axis) or less. Returns how many. */
static size_t keep_distinct(double *x, size_t n, double rounding, bool log_x) {
  size_t kept = 0;
  for (size_t i = 0; i < n; i++) {
    double unit = kept == 0 || log_x ? 1 : fabs(x[kept - 1]);
    if (kept == 0 || x[i] - x[kept - 1] > rounding * unit) x[kept++] = x[i];
  }
  return kept;
}

/* The last of levels [n], ascending, that is not above x. */
static double level_of(double x, const double *levels, size_t n) {
  size_t low = 0;
  while (n - low > 1) {
    size_t middle = low + (n - low) / 2;
    if (levels[middle] <= x)
      low = middle;
    else
      n = middle;
  }
  return levels[low];
}

/* Positions are the values of x where they are few, otherwise the numbers of bins. Values that
 * differ by rounding, such as the distances that nokens achieve, are one; whole numbers are not
 * rounded. */
static int set_positions(struct sample *samples, size_t n, const struct plot *plot) {
  double *x = nk_alloc(n, sizeof *x), *edges = NULL;
  size_t n_bins = 0;
  if (x == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) x[i] = samples[i].position;
  int code = NK_OK;
  plot_sort(x, n);
  double *levels = nk_alloc(n, sizeof *levels);
  if (levels != NULL && n > 0) memcpy(levels, x, n * sizeof *levels);
  double rounding = are_whole(samples, n) ? 0 : ROUNDING;
  size_t n_levels = levels != NULL ? keep_distinct(levels, n, rounding, plot->log_x) : 0;
  if (levels == NULL) code = NK_EMEMORY;
  if (code == NK_OK && (plot->bins > 0 || n_levels > MAX_POSITIONS)) {
    size_t bins = plot->bins > 0 ? plot->bins : DEFAULT_BINS;
    code = plot_bin_edges(x, n, bins, bins, &edges, &n_bins);
  }
  for (size_t i = 0; code == NK_OK && i < n; i++)
    samples[i].position = edges != NULL ? (double)plot_bin_of(samples[i].position, edges, n_bins)
                                        : level_of(samples[i].position, levels, n_levels);
  nk_free(levels);
  nk_free(edges);
  nk_free(x);
  return code;
}

/* Samples [rows->n] of the rows, whose positions are x, on a logarithmic axis its logarithm. NULL
 * without memory. */
static struct sample *take_samples(const struct plot_rows *rows, const struct plot_strands *strands,
                                   const struct plot *plot) {
  struct sample *samples = nk_alloc(rows->n, sizeof *samples);
  for (size_t i = 0; samples != NULL && i < rows->n; i++)
    samples[i] = (struct sample){
        .group = rows->group[i],
        .position = plot->log_x ? log10(rows->x[i]) : rows->x[i],
        .x = rows->x[i],
        .y = rows->y[i],
        .strand = strands->of != NULL ? strands->of[i] : 0,
    };
  return samples;
}

/* ---- Statistics ---- */

static double mean_of(const double *values, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += values[i] / (double)n;
  return sum;
}

/* The x and y of samples [n] in one: the median of x, the median or mean of y, by which they are
 * sorted. work [n] is overwritten. */
static void merge(const struct sample *samples, size_t n, const struct plot *plot, double *work,
                  double *x, double *y) {
  for (size_t i = 0; i < n; i++) work[i] = samples[i].x;
  plot_sort(work, n);
  *x = plot_quantile(work, n, 0.5);
  for (size_t i = 0; i < n; i++) work[i] = samples[i].y;
  *y = plot->summary == PLOT_MEAN ? mean_of(work, n) : plot_quantile(work, n, 0.5);
}

/* Merges the samples of a strand that share a position. Returns how many remain, in order. */
static size_t merge_strands(struct sample *samples, size_t n, const struct plot *plot,
                            double *work) {
  size_t kept = 0;
  if (n > 1) qsort(samples, n, sizeof *samples, compare_strands);
  for (size_t i = 0, end; i < n; i = end) {
    struct sample one = samples[i];
    for (end = i + 1; end < n; end++)
      if (samples[end].group != one.group || samples[end].strand != one.strand ||
          samples[end].position != one.position)
        break;
    merge(samples + i, end - i, plot, work, &one.x, &one.y);
    samples[kept++] = one;
  }
  return kept;
}

/* The interval of the median or mean of sorted [n], of which each is a strand that is resampled. */
static int resample(const double *sorted, size_t n, const struct plot *plot,
                    struct summary_interval *out) {
  enum summary_statistic statistic = plot->summary == PLOT_MEAN ? SUMMARY_MEAN : SUMMARY_QUANTILE;
  struct summary_options options = {LEVEL, N_RESAMPLES, plot->seed};
  struct summary_sample sample = {.n = n,
                                  .value = nk_alloc(n, sizeof(double)),
                                  .second = nk_calloc(n, 1),
                                  .n_kinds = 1,
                                  .cluster = {nk_alloc(n, sizeof(uint32_t))},
                                  .n_clusters = {n},
                                  .n_in = {{n}}};
  struct summary_result result;
  int code = NK_EMEMORY;
  if (sample.value == NULL || sample.second == NULL || sample.cluster[0] == NULL) goto done;
  memcpy(sample.value, sorted, n * sizeof *sorted);
  for (size_t i = 0; i < n; i++) sample.cluster[0][i] = (uint32_t)i;
  code = summary_estimate(&sample, statistic, 0.5, &options, &result);
  if (code == NK_OK) *out = result.first;
done:
  nk_free(sample.value);
  nk_free(sample.second);
  nk_free(sample.cluster[0]);
  return code;
}

/* The knot of samples [n], which share group and position and are sorted by y; work [n] is
 * overwritten. */
static int make_knot(const struct sample *samples, size_t n, const struct plot *plot, double *work,
                     struct plot_knot *knot) {
  struct summary_interval interval = {0};
  int code = NK_OK;
  knot->group = samples[0].group;
  merge(samples, n, plot, work, &knot->x, &knot->value); /* work is then the sorted y */
  interval.low = plot_quantile(work, n, plot->band[0]);
  interval.high = plot_quantile(work, n, plot->band[1]);
  if (plot->no_band)
    interval.low = interval.high = knot->value;
  else if (plot->interval && plot->summary == PLOT_ROWS)
    interval = summary_quantile(work, n, 0.5, LEVEL);
  else if (plot->interval)
    code = resample(work, n, plot, &interval);
  knot->lo = interval.low;
  knot->hi = interval.high;
  return code;
}

/* ---- Knots ---- */

int plot_knots_make(struct plot_knots *knots, const struct plot_rows *rows,
                    const struct plot_strands *strands, const struct plot *plot) {
  size_t n = rows->n;
  struct sample *samples = take_samples(rows, strands, plot);
  double *work = nk_alloc(n, sizeof *work);
  knots->knot = nk_alloc(n, sizeof *knots->knot);
  bool ok = samples != NULL && work != NULL && knots->knot != NULL;
  int code = ok ? set_positions(samples, n, plot) : NK_EMEMORY;
  if (code == NK_OK && strands->of != NULL) n = merge_strands(samples, n, plot, work);
  if (code == NK_OK && n > 1) qsort(samples, n, sizeof *samples, compare_samples);
  for (size_t i = 0, end; code == NK_OK && i < n; i = end) {
    for (end = i + 1; end < n; end++)
      if (samples[end].group != samples[i].group || samples[end].position != samples[i].position)
        break;
    struct plot_knot *knot = &knots->knot[knots->n++];
    code = make_knot(samples + i, end - i, plot, work, knot);
    knots->band = knots->band || knot->lo < knot->hi;
  }
  nk_free(samples);
  nk_free(work);
  return code;
}

int plot_knots_take(struct plot_knots *knots, const struct plot_rows *rows,
                    const struct plot_estimates *estimates, const struct plot *plot,
                    const struct cli_frame *frame) {
  struct sample *samples = nk_alloc(rows->n, sizeof *samples);
  double step = 0.6 / (double)(rows->n_groups > 4 ? rows->n_groups : 4);
  knots->knot = nk_alloc(rows->n, sizeof *knots->knot);
  int code = samples != NULL && knots->knot != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; code == NK_OK && i < rows->n; i++)
    samples[i] = (struct sample){rows->group[i], rows->x[i], (double)rows->row[i], 0, 0};
  if (code == NK_OK && rows->n > 1) qsort(samples, rows->n, sizeof *samples, compare_samples);
  for (size_t i = 0; code == NK_OK && i < rows->n; i++) {
    struct plot_estimate at;
    size_t g = samples[i].group;
    if (i > 0 && g == samples[i - 1].group && samples[i].position == samples[i - 1].position)
      code =
          nk_fail(NK_EUSAGE, "several rows of a group have one value of '%s'; use --by", plot->x);
    plot_estimate_of(estimates, frame, (size_t)samples[i].x, &at);
    double beside = step * ((double)g - (double)(rows->n_groups - 1) / 2);
    knots->knot[knots->n++] = (struct plot_knot){
        samples[i].position + (estimates->n_categories > 0 ? beside : 0),
        at.value,
        plot->no_band ? at.value : at.low,
        plot->no_band ? at.value : at.high,
        g,
    };
    knots->band = knots->band || at.low < at.high;
  }
  nk_free(samples);
  return code;
}

/* ---- Strands ---- */

int plot_strands_take(struct plot_strands *strands, struct plot_rows *rows,
                      const struct cli_frame *frame, const char *colour) {
  strands->of = nk_alloc(rows->n, sizeof *strands->of);
  if (strands->of == NULL) return NK_EMEMORY;
  memcpy(strands->of, rows->group, rows->n * sizeof *rows->group);
  return colour != NULL ? plot_rows_group(rows, frame, colour) : plot_rows_join_groups(rows, 1);
}

int plot_strands_draw(struct plot_strands *strands, const struct plot_rows *rows,
                      const struct plot *plot) {
  struct sample *samples = take_samples(rows, strands, plot);
  double *work = nk_alloc(rows->n, sizeof *work);
  strands->bead = nk_alloc(rows->n, sizeof *strands->bead);
  bool ok = samples != NULL && work != NULL && strands->bead != NULL;
  strands->n = ok ? merge_strands(samples, rows->n, plot, work) : 0;
  for (size_t i = 0; ok && i < strands->n; i++)
    strands->bead[i] = (struct plot_bead){
        .x = samples[i].x,
        .y = samples[i].y,
        .group = samples[i].group,
        .strand = samples[i].strand,
    };
  nk_free(samples);
  nk_free(work);
  return ok ? NK_OK : NK_EMEMORY;
}

void plot_strands_free(struct plot_strands *strands) {
  nk_free(strands->of);
  nk_free(strands->bead);
}
