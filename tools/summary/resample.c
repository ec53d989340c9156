/* The pigeonhole bootstrap. Resample b of every statistic and group draws from the streams (seed,
 * b, kind): threads take resamples in any order with the same result. */
#include "summary/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Random numbers ---- */

/* SplitMix64 (Steele, Lea and Flood 2014): a state that advances by a constant, mixed. */
static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

uint64_t summary_stream(uint64_t seed, uint64_t resample, uint64_t kind) {
  return mix(mix(mix(seed) + resample) + kind);
}

size_t summary_below(uint64_t *stream, size_t n) {
  return (size_t)((double)(mix(*stream += 0x9E3779B97F4A7C15U) >> 11) * 0x1p-53 * (double)n);
}

/* counts [n]: how often each of n clusters is drawn in n draws. */
static void draw_counts(uint32_t *counts, size_t n, uint64_t seed, uint64_t resample,
                        uint64_t kind) {
  uint64_t stream = summary_stream(seed, resample, kind);
  memset(counts, 0, n * sizeof *counts);
  for (size_t i = 0; i < n; i++) counts[summary_below(&stream, n)]++;
}

/* ---- Statistics of weighted rows ---- */

static double weighted_mean(const struct summary_sample *s, const uint32_t *weight, uint8_t group) {
  double sum = 0, total = 0;
  for (size_t i = 0; i < s->n; i++) {
    double w = s->second[i] == group ? (double)weight[i] : 0;
    if (w == 0) continue; /* 0 times an infinity is not 0 */
    sum += w * s->value[i];
    total += w;
  }
  return total > 0 ? sum / total : NAN;
}

/* The weight of the group's rows from begin to end. */
static uint64_t sum_weights(const struct summary_sample *s, const uint32_t *weight, uint8_t group,
                            size_t begin, size_t end) {
  uint64_t sum = 0;
  for (size_t i = begin; i < end; i++) sum += s->second[i] == group ? weight[i] : 0;
  return sum;
}

/* Quantile p of the rows, each repeated as often as its weight says. Blocks of rows that end before
 * the quantile are passed over as a whole. */
static double weighted_quantile(const struct summary_sample *s, const uint32_t *weight,
                                uint8_t group, double p) {
  enum { BLOCK = 1024 };
  uint64_t total = sum_weights(s, weight, group, 0, s->n), seen = 0;
  if (total == 0) return NAN;
  double place = p * (double)(total - 1), part = place - floor(place), below = NAN;
  uint64_t rank = (uint64_t)place;
  size_t i = 0;
  while (i + BLOCK < s->n) {
    uint64_t block = sum_weights(s, weight, group, i, i + BLOCK);
    if (seen + block > rank) break;
    seen += block;
    i += BLOCK;
  }
  for (; i < s->n; i++) {
    seen += s->second[i] == group ? weight[i] : 0;
    if (isnan(below) && seen > rank) below = s->value[i];
    if (seen > rank + 1 || (seen > rank && part == 0))
      return part == 0 ? below : (1 - part) * below + part * s->value[i];
  }
  return below;
}

static double weighted_auc(const struct summary_sample *s, const uint32_t *weight) {
  double below = 0, sum = 0, total = 0;
  for (size_t i = 0, end; i < s->n; i = end) {
    double tied[2] = {0, 0};
    for (end = i; end < s->n && s->value[end] == s->value[i]; end++)
      tied[s->second[end]] += (double)weight[end];
    sum += tied[0] * (below + tied[1] / 2);
    below += tied[1];
    total += tied[0];
  }
  return total > 0 && below > 0 ? sum / total / below : NAN;
}

/* ---- Resamples ---- */

enum { FIRST, SECOND, DIFFERENCE, N_PARTS };

/* What a resample is computed from. */
struct job {
  const struct summary_sample *sample;
  const struct summary_options *options;
  enum summary_statistic statistic;
  double p;
};

/* What is drawn: all kinds of clusters, or one of them. value [n] of each part; NaN where one of
 * its groups got no rows. */
struct resamples {
  size_t first_kind, end_kind, n;
  double *value[N_PARTS];
};

static double statistic_of(const struct job *job, const uint32_t *weight, uint8_t group) {
  const struct summary_sample *s = job->sample;
  if (job->statistic == SUMMARY_AUC) return group == FIRST ? weighted_auc(s, weight) : NAN;
  if (s->n_in[group][0] == 0) return NAN;
  if (job->statistic == SUMMARY_QUANTILE) return weighted_quantile(s, weight, group, job->p);
  return weighted_mean(s, weight, group);
}

static void resample(const struct job *job, const struct resamples *out, size_t b, uint32_t *counts,
                     uint32_t *weight) {
  const struct summary_sample *s = job->sample;
  for (size_t kind = out->first_kind; kind < out->end_kind; kind++) {
    draw_counts(counts, s->n_clusters[kind], job->options->seed, b, kind);
    const uint32_t *cluster = s->cluster[kind];
    bool first = kind == out->first_kind;
    for (size_t i = 0; i < s->n; i++)
      weight[i] = first ? counts[cluster[i]] : weight[i] * counts[cluster[i]];
  }
  for (uint8_t g = 0; g < 2; g++) out->value[g][b] = statistic_of(job, weight, g);
  out->value[DIFFERENCE][b] = out->value[FIRST][b] - out->value[SECOND][b];
}

/* Rows times resamples from which on several threads are faster. */
enum { MANY = 1 << 20 };

static int run(const struct job *job, struct resamples *out) {
  const struct summary_sample *s = job->sample;
  size_t most = 0, n_threads = nk_threads(), n_words;
  for (size_t kind = out->first_kind; kind < out->end_kind; kind++)
    if (s->n_clusters[kind] > most) most = s->n_clusters[kind];
  if (s->n < MANY / out->n || n_threads > out->n) n_threads = 1;
  size_t stride = most + s->n;
  if (!nk_size_mul(stride, n_threads, &n_words)) return NK_EMEMORY;
  uint32_t *scratch = nk_alloc(n_words, sizeof *scratch);
  if (scratch == NULL) return NK_EMEMORY;
#pragma omp parallel for num_threads((int)n_threads) if (n_threads > 1)
  for (size_t t = 0; t < n_threads; t++)
    for (size_t b = t; b < out->n; b += n_threads)
      resample(job, out, b, scratch + t * stride, scratch + t * stride + most);
  nk_free(scratch);
  return NK_OK;
}

/* ---- Variances and degrees of freedom ---- */

/* Of the values that are not NaN. */
static double variance_of(const double *values, size_t n) {
  double count = 0, mean = 0, sum = 0;
  for (size_t i = 0; i < n; i++) {
    if (isnan(values[i])) continue;
    count++;
    mean += (values[i] - mean) / count;
  }
  for (size_t i = 0; i < n; i++)
    if (!isnan(values[i])) sum += (values[i] - mean) * (values[i] - mean);
  return sum / count;
}

/* Of the clusters of a kind: their number less one. Where a comparison divides them between its
 * groups: those of a difference of two means. */
static double kind_degrees(const struct summary_sample *s, size_t kind, bool compares,
                           size_t part) {
  double a = (double)s->n_in[0][kind], b = (double)s->n_in[1][kind];
  if (!compares) return (part == FIRST ? a : b) - 1;
  if (a + b > (double)s->n_clusters[kind]) return (double)s->n_clusters[kind] - 1;
  return a > 1 && b > 1 ? summary_degrees(1 / a, a, 1 / b, b) : 0;
}

/* df [N_PARTS]: of several kinds as of a sum of their variances (Satterthwaite 1946), each from
 * resamples of that kind alone. Few prompts that hardly matter do not widen an interval. */
static int set_degrees(const struct job *job, struct resamples *one, double df[N_PARTS]) {
  const struct summary_sample *s = job->sample;
  double sum[N_PARTS] = {0}, squares[N_PARTS] = {0};
  bool compares[N_PARTS] = {job->statistic == SUMMARY_AUC, false, true};
  int code = NK_OK;
  for (size_t part = 0; part < N_PARTS; part++) df[part] = INFINITY;
  for (size_t kind = 0; kind < s->n_kinds && code == NK_OK; kind++) {
    one->first_kind = kind;
    one->end_kind = kind + 1;
    if (s->n_kinds > 1) code = run(job, one);
    for (size_t part = 0; part < N_PARTS && code == NK_OK; part++) {
      double degrees = kind_degrees(s, kind, compares[part], part);
      double variance = s->n_kinds > 1 ? variance_of(one->value[part], one->n) : 0;
      df[part] = fmin(df[part], degrees);
      sum[part] += variance;
      squares[part] += degrees > 0 ? variance * variance / degrees : 0;
    }
  }
  for (size_t part = 0; part < N_PARTS; part++) /* a kind of one cluster: unknown */
    if (df[part] > 0 && squares[part] > 0) df[part] = sum[part] * sum[part] / squares[part];
  return code;
}

/* ---- Intervals ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

struct summary_interval summary_percentiles(double value, double *values, size_t n, double df,
                                            double level) {
  struct summary_interval out = {value, NAN, NAN};
  size_t valid = 0;
  if (!(df > 0) || isnan(value)) return out;
  double t = summary_t_quantile((1 + level) / 2, df), widen = (df + 1) / df;
  double tail = summary_normal(-t * sqrt(widen));
  for (size_t i = 0; i < n; i++)
    if (!isnan(values[i])) values[valid++] = values[i];
  if (valid > 1) qsort(values, valid, sizeof *values, compare_doubles);
  out.low = summary_quantile_value(values, valid, tail);
  out.high = summary_quantile_value(values, valid, 1 - tail);
  return out;
}

/* The interval from resamples, values [n], which are overwritten. */
static struct summary_interval interval_of(double value, double *values, size_t n, double df,
                                           double level, bool is_share) {
  if (!is_share) return summary_percentiles(value, values, n, df, level);
  if (!(df > 0) || isnan(value)) return (struct summary_interval){value, NAN, NAN};
  double variance = variance_of(values, n) * (df + 1) / df;
  return summary_share(value, variance > 0 ? value * (1 - value) / variance : df + 1,
                       summary_t_quantile((1 + level) / 2, df));
}

/* Whether every cluster is in both groups: the change of each is known. */
static bool is_paired(const struct summary_sample *s) {
  for (size_t kind = 0; kind < s->n_kinds; kind++)
    for (int group = 0; group < 2; group++)
      if (s->n_in[group][kind] != s->n_clusters[kind]) return false;
  return true;
}

/* Replaces the intervals of the result. Resamples that agree on a difference do not say that it is
 * certain: it has the interval of independent groups, but for a mean or a quantile of pairs, where
 * that would be the interval of another question. */
static int estimate_clustered(const struct job *job, struct summary_result *result) {
  const struct summary_sample *s = job->sample;
  double level = job->options->level, df[N_PARTS];
  struct resamples all = {.end_kind = s->n_kinds, .n = job->options->n_resamples};
  struct resamples one = {.n = (all.n + 3) / 4}; /* enough for a variance */
  struct summary_interval *parts[N_PARTS] = {&result->first, &result->second, &result->difference};
  bool is_share[N_PARTS] = {job->statistic == SUMMARY_SHARE || job->statistic == SUMMARY_AUC,
                            job->statistic == SUMMARY_SHARE, false};
  int code = NK_OK;
  for (size_t part = 0; part < N_PARTS; part++) {
    all.value[part] = nk_alloc(all.n, sizeof **all.value);
    one.value[part] = nk_alloc(one.n, sizeof **one.value);
    if (all.value[part] == NULL || one.value[part] == NULL) code = NK_EMEMORY;
  }
  if (code == NK_OK) code = run(job, &all);
  if (code == NK_OK) code = set_degrees(job, &one, df);
  for (size_t part = 0; part < N_PARTS && code == NK_OK; part++) {
    bool constant = part == DIFFERENCE && variance_of(all.value[part], all.n) == 0 &&
                    (job->statistic == SUMMARY_SHARE || !is_paired(s));
    *parts[part] =
        interval_of(parts[part]->value, all.value[part], all.n, df[part], level, is_share[part]);
    if (constant)
      *parts[part] = summary_difference(&result->first, &result->second);
    else if (part == DIFFERENCE)
      result->of_difference = "bootstrap";
  }
  result->of_groups = is_share[FIRST] ? "Wilson" : "bootstrap";
  for (size_t part = 0; part < N_PARTS; part++) {
    nk_free(all.value[part]);
    nk_free(one.value[part]);
  }
  return code;
}

/* ---- The statistic ---- */

/* Of independent rows. */
static const char *name_interval(enum summary_statistic statistic) {
  if (statistic == SUMMARY_SHARE) return "Wilson";
  if (statistic == SUMMARY_MEAN) return "Student's t";
  return statistic == SUMMARY_QUANTILE ? "order statistics" : "DeLong";
}

static struct summary_interval estimate_part(const double *sorted, size_t n,
                                             enum summary_statistic statistic, double p,
                                             double level) {
  if (statistic == SUMMARY_QUANTILE) return summary_quantile(sorted, n, p, level);
  struct summary_interval mean = summary_mean(sorted, n, level);
  if (statistic == SUMMARY_SHARE)
    return summary_share(mean.value, (double)n, summary_t_quantile((1 + level) / 2, INFINITY));
  return mean;
}

int summary_estimate(const struct summary_sample *sample, enum summary_statistic statistic,
                     double p, const struct summary_options *options,
                     struct summary_result *result) {
  struct summary_interval parts[2] = {{NAN, NAN, NAN}, {NAN, NAN, NAN}};
  double *part = nk_alloc(sample->n, sizeof *part);
  if (part == NULL) return NK_EMEMORY;
  for (uint8_t g = 0; g < 2 && statistic != SUMMARY_AUC; g++) {
    size_t n = 0;
    for (size_t i = 0; i < sample->n; i++)
      if (sample->second[i] == g) part[n++] = sample->value[i];
    parts[g] = estimate_part(part, n, statistic, p, options->level);
  }
  nk_free(part);
  if (statistic == SUMMARY_AUC)
    parts[0] = summary_auc(sample->value, sample->second, sample->n, options->level);
  *result = (struct summary_result){
      .first = parts[0],
      .second = parts[1],
      .difference = summary_difference(&parts[0], &parts[1]),
      .of_groups = name_interval(statistic),
      .of_difference = statistic == SUMMARY_SHARE ? "Newcombe" : "Zou-Donner",
  };
  struct job job = {.sample = sample, .options = options, .statistic = statistic, .p = p};
  return sample->n_kinds > 0 ? estimate_clustered(&job, result) : NK_OK;
}
