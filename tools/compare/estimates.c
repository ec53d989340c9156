/* The rows of the table: a statistic of both models and its change, with intervals that hold for
 * other nokens or tokens drawn in the same way, in the same prompts. What an item does in several
 * prompts is one cluster, and both models are given the same items: their change is paired. */
#include <math.h>
#include <stdlib.h>

#include "compare/compare.h"
#include "summary/resample.h"

static const double LEVEL = 0.95;
enum { RESAMPLES = 2000 };
enum { BEFORE = COMPARE_BEFORE, AFTER = COMPARE_AFTER, CHANGE, N_ROWS };

/* What is written. */
struct estimate {
  struct summary_interval row[N_ROWS];
  const char *interval[N_ROWS]; /* how it was made */
  size_t n, n_clusters;
  bool one; /* of both models together: the change alone */
};

/* Values of one group of items, model by model. */
struct sample {
  size_t n, n_clusters;         /* rows of each model */
  double *value[COMPARE_SIDES]; /* [n] */
  uint32_t *cluster;            /* [n] below n_clusters */
  bool one;                     /* the values are of both models together */
  bool same;                    /* the models have the same values */
};

static void sample_free(struct sample *s) {
  for (int side = 0; side < COMPARE_SIDES; side++) nk_free(s->value[side]);
  nk_free(s->cluster);
}

static int take(const struct compare_values *v, const size_t *items, size_t n, struct sample *s) {
  uint32_t *number = nk_calloc(v->n_items, sizeof *number); /* 1 + that of a cluster; 0: none yet */
  *s = (struct sample){.n = n * v->n_places, .one = v->value[BEFORE] == NULL, .same = true};
  s->cluster = nk_alloc(s->n, sizeof *s->cluster);
  for (int side = 0; side < COMPARE_SIDES; side++)
    s->value[side] = nk_alloc(s->n, sizeof *s->value[side]);
  int code =
      number == NULL || s->cluster == NULL || s->value[BEFORE] == NULL || s->value[AFTER] == NULL
          ? NK_EMEMORY
          : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    uint32_t *cluster = &number[v->cluster == NULL ? items[i] : v->cluster[items[i]]];
    if (*cluster == 0) *cluster = (uint32_t)++s->n_clusters;
    for (size_t p = 0; p < v->n_places; p++) {
      size_t to = i * v->n_places + p, from = p * v->n_items + items[i];
      s->cluster[to] = *cluster - 1;
      s->value[AFTER][to] = v->value[AFTER][from];
      s->value[BEFORE][to] = v->value[s->one ? AFTER : BEFORE][from];
      s->same = s->same && s->value[BEFORE][to] == s->value[AFTER][to];
    }
  }
  nk_free(number);
  return code;
}

/* ---- Shares ---- */

/* A cluster's part in the share: part [n_clusters], whose mean is the share of all values. */
static void parts_of(const struct sample *s, int side, double cut, double *part) {
  for (size_t c = 0; c < s->n_clusters; c++) part[c] = 0;
  for (size_t i = 0; i < s->n; i++)
    part[s->cluster[i]] += s->value[side][i] <= cut ? (double)s->n_clusters / (double)s->n : 0;
}

static int estimate_share(const struct sample *s, double cut, struct estimate *out) {
  double *part[COMPARE_SIDES] = {nk_alloc(s->n_clusters, sizeof(double)),
                                 nk_alloc(s->n_clusters, sizeof(double))};
  int code = part[BEFORE] == NULL || part[AFTER] == NULL ? NK_EMEMORY : NK_OK;
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++) {
    parts_of(s, side, cut, part[side]);
    out->row[side] = summary_clustered_share(part[side], s->n_clusters, LEVEL);
    out->interval[side] = "Wilson";
  }
  for (size_t c = 0; c < s->n_clusters && code == NK_OK; c++) part[AFTER][c] -= part[BEFORE][c];
  if (code == NK_OK) out->row[CHANGE] = summary_paired_share(part[AFTER], s->n_clusters, LEVEL);
  out->interval[CHANGE] = "Agresti-Min";
  for (int side = 0; side < COMPARE_SIDES; side++) nk_free(part[side]);
  return code;
}

/* ---- Quantiles of both models together ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Resamples of a quantile near the maximum hold it too seldom: they have no larger value. */
static void estimate_quantile(const struct sample *s, double p, struct estimate *out) {
  qsort(s->value[AFTER], s->n, sizeof(double), compare_doubles); /* clusters are of one size */
  out->row[CHANGE] = summary_clustered_quantile(s->value[AFTER], s->n, s->n_clusters, p, LEVEL);
  out->interval[CHANGE] = "binomial";
}

/* ---- Means and quantiles ---- */

struct entry {
  double value;
  uint32_t cluster;
  uint8_t second;
};

static int compare_entries(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  if (x->cluster != y->cluster) return x->cluster < y->cluster ? -1 : 1;
  return (int)x->second - (int)y->second;
}

/* AFTER is the first group, BEFORE the second, and both have the same clusters. */
static int fill_sample(const struct sample *s, struct entry *entry, struct summary_sample *out) {
  size_t n = 0;
  for (int side = s->one ? AFTER : BEFORE; side < COMPARE_SIDES; side++)
    for (size_t i = 0; i < s->n; i++)
      entry[n++] = (struct entry){s->value[side][i], s->cluster[i], side == BEFORE};
  qsort(entry, n, sizeof *entry, compare_entries);
  *out = (struct summary_sample){.n = n, .n_kinds = 1, .n_clusters = {s->n_clusters}};
  out->n_in[0][0] = s->n_clusters;
  out->n_in[1][0] = s->one ? 0 : s->n_clusters;
  out->value = nk_alloc(n, sizeof *out->value);
  out->second = nk_alloc(n, sizeof *out->second);
  out->cluster[0] = nk_alloc(n, sizeof *out->cluster[0]);
  if (out->value == NULL || out->second == NULL || out->cluster[0] == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n; i++) {
    out->value[i] = entry[i].value;
    out->second[i] = entry[i].second;
    out->cluster[0][i] = entry[i].cluster;
  }
  return NK_OK;
}

static int resample(const struct sample *s, const struct compare_row *row, uint64_t seed,
                    struct estimate *out) {
  const struct summary_options options = {.level = LEVEL, .n_resamples = RESAMPLES, .seed = seed};
  enum summary_statistic statistic =
      row->statistic == COMPARE_MEAN ? SUMMARY_MEAN : SUMMARY_QUANTILE;
  struct summary_sample sample = {0};
  struct summary_result result;
  struct entry *entry = nk_alloc(s->n, 2 * sizeof *entry);
  int code = entry == NULL ? NK_EMEMORY : fill_sample(s, entry, &sample);
  if (code == NK_OK) code = summary_estimate(&sample, statistic, row->cut, &options, &result);
  if (code == NK_OK) {
    out->row[BEFORE] = result.second;
    out->row[AFTER] = result.first;
    out->row[CHANGE] = s->one ? result.first : result.difference;
  }
  for (int r = 0; r < N_ROWS; r++) out->interval[r] = "bootstrap";
  nk_free(entry);
  nk_free(sample.value);
  nk_free(sample.second);
  nk_free(sample.cluster[0]);
  return code;
}

/* The largest of so many, of which there is no interval. */
static void find_maximum(const struct sample *s, struct estimate *out) {
  double most[COMPARE_SIDES] = {NAN, NAN}; /* fmax passes over a NaN */
  for (int side = 0; side < COMPARE_SIDES; side++) {
    for (size_t i = 0; i < s->n; i++) most[side] = fmax(most[side], s->value[side][i]);
    out->row[side] = (struct summary_interval){most[side], NAN, NAN};
  }
  out->row[CHANGE] =
      (struct summary_interval){s->one ? most[AFTER] : most[AFTER] - most[BEFORE], NAN, NAN};
}

/* ---- Rows ---- */

static int estimate(const struct compare_job *job, const struct compare_row *row,
                    const struct sample *s, struct estimate *out) {
  int code = NK_OK;
  *out = (struct estimate){.n = s->n, .n_clusters = s->n_clusters, .one = s->one};
  for (int r = 0; r < N_ROWS; r++) out->row[r] = (struct summary_interval){NAN, NAN, NAN};
  if (row->statistic == COMPARE_SHARE)
    code = estimate_share(s, row->cut, out);
  else if (row->statistic == COMPARE_MAXIMUM)
    find_maximum(s, out);
  else if (row->statistic == COMPARE_QUANTILE && s->one)
    estimate_quantile(s, row->cut, out);
  else
    code = resample(s, row, job->run->common.seed, out);
  if (s->same && !s->one && s->n > 0) { /* not a sample of what changed */
    out->row[CHANGE] = (struct summary_interval){0, 0, 0};
    out->interval[CHANGE] = "identical";
  }
  for (int r = 0; r < N_ROWS; r++)
    if (isnan(out->row[r].low) && isnan(out->row[r].high)) out->interval[r] = NULL;
  return code;
}

static const char *const columns[] = {"statistic", "model", "direction", "distance", "quantile",
                                      "times",     "at",    "value",     "low",      "high",
                                      "level",     "n",     "clusters",  "unit",     "interval"};

int compare_head(struct cli_table *table) {
  int code = NK_OK;
  for (size_t c = 0; c < sizeof columns / sizeof *columns && code == NK_OK; c++)
    code = cli_table_column(table, columns[c]);
  return code;
}

static void write_text(struct cli_table *table, const char *text) {
  if (text != NULL)
    cli_table_string(table, text);
  else
    cli_table_missing(table);
}

static int write_row(const struct compare_row *row, const struct estimate *e, int r,
                     struct cli_table *table) {
  static const char *const models[N_ROWS] = {"before", "after", "change"};
  struct nk_buffer name = {0};
  nk_buffer_text(&name, row->name);
  if (row->kind != NULL) nk_buffer_printf(&name, " %s", row->kind);
  if (r == CHANGE && !e->one) nk_buffer_text(&name, " change");
  if (name.failed)
    cli_table_fail(table);
  else
    cli_table_text(table, name.data, name.size);
  nk_buffer_free(&name);
  cli_table_string(table, models[r]);
  write_text(table, row->direction);
  cli_table_number(table, row->distance);
  cli_table_number(table, row->quantile);
  cli_table_number(table, row->times);
  if (row->layer == COMPARE_NOT_GIVEN)
    cli_table_missing(table);
  else
    cli_table_integer(table, (int64_t)row->layer);
  cli_table_number(table, e->row[r].value);
  cli_table_number(table, e->row[r].low);
  cli_table_number(table, e->row[r].high);
  cli_table_number(table, LEVEL);
  cli_table_integer(table, (int64_t)e->n);
  cli_table_integer(table, (int64_t)e->n_clusters);
  cli_table_string(table, row->unit);
  write_text(table, e->interval[r]);
  return cli_table_end_row(table);
}

int compare_write(const struct compare_job *job, const struct compare_row *row,
                  const struct compare_values *values, const size_t *items, size_t n) {
  struct sample sample;
  struct estimate e;
  int code = take(values, items, n, &sample);
  if (code == NK_OK) code = estimate(job, row, &sample, &e);
  for (int r = sample.one ? CHANGE : BEFORE; r < N_ROWS && code == NK_OK; r++)
    code = write_row(row, &e, r, job->table);
  sample_free(&sample);
  return code;
}
