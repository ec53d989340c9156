/* Agreement and kappa: one pass over the ratings for each resample of items. */
#include "summary/kappa.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct job {
  const struct summary_ratings *of;
  size_t *n_ratings;  /* [n_items] */
  double *agreement;  /* [n_items] the share of pairs of an item's ratings that agree */
  uint32_t *compared; /* [n_compared] the items that have two ratings */
  size_t n_compared;
  double *weight; /* [n_items] */
  double *share;  /* [2, n_classes] of the ratings: of each of two raters, or of all */
};

/* ---- Items ---- */

static int compare_classes(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* The share of pairs of n ratings, 2 or more, that are of one class; sorts them. */
static double share_of_pairs(uint32_t *class, size_t n) {
  double agree = 0;
  qsort(class, n, sizeof *class, compare_classes);
  for (size_t i = 0, end; i < n; i = end) {
    for (end = i; end < n && class[end] == class[i]; end++) continue;
    agree += (double)(end - i) * (double)(end - i - 1);
  }
  return agree / ((double)n * (double)(n - 1));
}

/* count [n_items, n_classes] would be large where nearly every rating is a class of its own: the
 * ratings are sorted by item instead. */
static int set_items(struct job *job) {
  const struct summary_ratings *of = job->of;
  size_t *begin = nk_calloc(of->n_items + 2, sizeof *begin);
  uint32_t *class = nk_alloc(of->n, sizeof *class); /* by item */
  bool ok = begin != NULL && class != NULL;
  for (size_t i = 0; ok && i < of->n; i++) begin[of->item[i] + 2]++;
  for (size_t i = 2; ok && i < of->n_items + 2; i++) begin[i] += begin[i - 1];
  for (size_t i = 0; ok && i < of->n; i++) class[begin[of->item[i] + 1]++] = of->class[i];
  for (size_t item = 0; ok && item < of->n_items; item++) {
    size_t n = job->n_ratings[item] = begin[item + 1] - begin[item];
    if (n < 2) continue;
    job->agreement[item] = share_of_pairs(class + begin[item], n);
    job->compared[job->n_compared++] = (uint32_t)item;
  }
  nk_free(begin);
  nk_free(class);
  return ok ? NK_OK : NK_EMEMORY;
}

/* ---- Kappa ---- */

/* The agreement by chance and in truth, of items with weights. */
static void agree(const struct job *job, double *observed, double *chance) {
  const struct summary_ratings *of = job->of;
  bool is_cohen = of->n_raters == 2;
  double total = 0;
  *observed = *chance = 0;
  memset(job->share, 0, 2 * of->n_classes * sizeof *job->share);
  for (size_t k = 0; k < job->n_compared; k++) {
    total += job->weight[job->compared[k]];
    *observed += job->weight[job->compared[k]] * job->agreement[job->compared[k]];
  }
  for (size_t i = 0; i < of->n; i++) {
    size_t n = job->n_ratings[of->item[i]];
    if (n < 2) continue;
    size_t side = is_cohen ? of->rater[i] : 0;
    job->share[side * of->n_classes + of->class[i]] +=
        job->weight[of->item[i]] / (is_cohen ? 1 : (double)n);
  }
  for (size_t c = 0; c < of->n_classes; c++)
    *chance += job->share[c] * job->share[is_cohen ? of->n_classes + c : c];
  *observed /= total;
  *chance /= total * total;
}

/* NaN where chance alone gives full agreement. */
static double kappa_of(double observed, double chance) {
  return chance < 1 - 1e-12 ? (observed - chance) / (1 - chance) : NAN;
}

static void draw(const struct job *job, uint64_t seed, size_t resample) {
  uint64_t stream = summary_stream(seed, resample, 0);
  for (size_t k = 0; k < job->n_compared; k++) job->weight[job->compared[k]] = 0;
  for (size_t k = 0; k < job->n_compared; k++)
    job->weight[job->compared[summary_below(&stream, job->n_compared)]]++;
}

static int estimate(const struct job *job, const struct summary_options *options,
                    struct summary_agreement *out) {
  double *value = nk_alloc(options->n_resamples, sizeof *value), *share;
  double observed, chance;
  bool differ = false;
  share = nk_alloc(job->n_compared, sizeof *share);
  int code = value != NULL && share != NULL ? NK_OK : NK_EMEMORY;
  for (size_t k = 0; code == NK_OK && k < job->n_compared; k++) {
    job->weight[job->compared[k]] = 1;
    share[k] = job->agreement[job->compared[k]];
  }
  if (code != NK_OK) goto done;
  out->share = summary_clustered_share(share, job->n_compared, options->level);
  agree(job, &observed, &chance);
  double kappa = kappa_of(observed, chance);
  out->kappa = (struct summary_interval){kappa, NAN, NAN};
  for (size_t b = 0; b < options->n_resamples; b++) {
    double of_observed, of_chance;
    draw(job, options->seed, b);
    agree(job, &of_observed, &of_chance);
    value[b] = kappa_of(of_observed, of_chance);
    if (!isnan(value[b]) && fabs(value[b] - kappa) > 1e-12) differ = true;
  }
  out->of_kappa = differ ? "bootstrap" : "Wilson";
  if (differ)
    out->kappa = summary_percentiles(kappa, value, options->n_resamples,
                                     (double)job->n_compared - 1, options->level);
  else if (!isnan(kappa))
    out->kappa = (struct summary_interval){kappa, kappa_of(out->share.low, chance),
                                           kappa_of(out->share.high, chance)};
done:
  nk_free(value);
  nk_free(share);
  return code;
}

int summary_agree(const struct summary_ratings *ratings, const struct summary_options *options,
                  struct summary_agreement *out) {
  const struct summary_interval none = {NAN, NAN, NAN};
  struct job job = {.of = ratings};
  size_t n_shares;
  *out = (struct summary_agreement){.share = none, .kappa = none};
  if (!nk_size_mul(2, ratings->n_classes, &n_shares)) return nk_fail(NK_EMEMORY, "out of memory");
  job.n_ratings = nk_calloc(ratings->n_items, sizeof *job.n_ratings);
  job.agreement = nk_calloc(ratings->n_items, sizeof *job.agreement);
  job.compared = nk_alloc(ratings->n_items, sizeof *job.compared);
  job.weight = nk_calloc(ratings->n_items, sizeof *job.weight);
  job.share = nk_alloc(n_shares, sizeof *job.share);
  bool ok = job.n_ratings != NULL && job.agreement != NULL && job.compared != NULL &&
            job.weight != NULL && job.share != NULL;
  int code = ok ? set_items(&job) : NK_EMEMORY;
  for (size_t k = 0; code == NK_OK && k < job.n_compared; k++)
    out->n += job.n_ratings[job.compared[k]];
  out->n_items = job.n_compared;
  if (code == NK_OK && job.n_compared > 0) code = estimate(&job, options, out);
  nk_free(job.n_ratings);
  nk_free(job.agreement);
  nk_free(job.compared);
  nk_free(job.weight);
  nk_free(job.share);
  return code;
}
