/* p-values and q-values.
 *
 * The null hypothesis is that training showed a token in more than 10 optimizer steps: an ordinary
 * token. Which rows are ordinary is not known. On the score's scale, going out from the ball, the
 * rows become fewer, then more: ordinary rows are those beyond the first valley, and tokens seen in
 * 1 to 10 steps that lie there too make their share, and with it every p-value, larger.
 *
 *   rows |#
 *        |##                      ###
 *        |###                   ######
 *        |#####    . .  :  :  #########
 *        +------|--------------------------> f
 *         ball  edge  tail        typical
 *
 * Rows up to the edge say nothing of ordinary ones: how many of those they hold is extrapolated,
 * and they all have the edge's p-value. The density of the ordinary rows is taken to fall towards
 * the ball no slower than exponentially (as most tails do: Pickands, 1975), at the rate of the
 * lowest of them, and not to rise. */
#include <math.h>
#include <noken/base.h>
#include <noken/geometry.h>

#include "geometry/internal.h"
#include "glitch/constants.h"
#include "glitch/internal.h"

/* Where the ball ends: rows are counted in windows of `width` going out from its median, and the
 * edge is where the last one before the counts rise begins. values [n] ascending. */
static double find_edge(const double *values, size_t n, double ball, double width) {
  size_t counts[NKI_WINDOWS + 2] = {0}, valley = 1;
  for (size_t i = 0; i < n; i++) {
    double window = floor((values[i] - ball) / width + 0.5);
    if (window <= NKI_WINDOWS) counts[window > 0 ? (size_t)window : 0]++;
  }
  while (valley < NKI_WINDOWS && counts[valley + 1] < counts[valley]) valley++;
  return ball + ((double)valley - 0.5) * width;
}

/* Rate of an exponential density exp(-rate y) on [0, 1] with this mean; 0: the density is even. */
static double rate_of(double mean) {
  double low = 1e-6, high = 1 / mean + 1;
  if (!(mean < 0.5)) return 0;
  for (int step = 0; step < 60; step++) {
    double rate = (low + high) / 2;
    if (1 / rate - 1 / expm1(rate) > mean)
      low = rate;
    else
      high = rate;
  }
  return high;
}

/* How many ordinary rows are expected below the edge, where the ball's rows reach down to `least`,
 * by the lowest k of those beyond [n > k] ascending. */
static double extrapolate(const double *beyond, size_t k, double edge, double least) {
  double length = beyond[k] - edge, mean = 0;
  if (k == 0 || !(length > 0)) return INFINITY;
  for (size_t i = 0; i < k; i++) mean += (beyond[k] - beyond[i]) / length / (double)k;
  double rate = rate_of(mean), width = (edge - least) / length;
  double density = rate > 0 ? rate / expm1(rate) : 1; /* at the edge, of k rows on [0, 1] */
  return (double)k * density * (rate > 0 ? fmin(width, 1 / rate) : width);
}

/* A tail that falls faster than exponentially is overestimated from afar by the many, and one that
 * tokens seen in a few steps make flat by the few: the smaller of the two estimates. */
static double expect_inside(const double *beyond, size_t n, double edge, double least) {
  size_t many = (size_t)(NKI_TAIL_SHARE * (double)n), few = NKI_TAIL_FEWEST;
  if (many < few) many = few;
  if (many > n / 4) many = n / 4;
  if (few > many) few = many;
  double inside =
      fmin(extrapolate(beyond, many, edge, least), extrapolate(beyond, few, edge, least));
  return fmin(fmax(inside, NKI_FEWEST_INSIDE), (double)n);
}

/* Index of the first of values [n] ascending that is larger than value. */
static size_t count_up_to(const double *values, size_t n, double value) {
  size_t low = 0;
  while (low < n) {
    size_t middle = low + (n - low) / 2;
    if (values[middle] <= value)
      low = middle + 1;
    else
      n = middle;
  }
  return low;
}

/* null->ball, null->typical; some [n] is free. Returns the number of ordinary rows. */
static size_t find_places(const struct nk_glitch *glitch, const double *fused, double *some,
                          struct nki_null *null) {
  size_t n = 0, m = 0;
  for (size_t i = 0; i < glitch->n; i++)
    if (glitch->role[i] == NK_ROLE_TEXT && !nki_is_ordinary(glitch, i)) some[m++] = fused[i];
  for (size_t i = 0; i < glitch->n_unused; i++)
    if (glitch->role[glitch->unused[i]] != NK_ROLE_TEXT) some[m++] = fused[glitch->unused[i]];
  nki_sort_numbers(some, m);
  null->ball = nki_quantile_sorted(some, m, 0.5);
  for (size_t i = 0; i < glitch->n; i++)
    if (nki_is_ordinary(glitch, i)) some[n++] = fused[i];
  nki_sort_numbers(some, n);
  null->typical = n > 0 ? nki_quantile_sorted(some, n, 0.5) : null->ball;
  return n;
}

/* Rows of the ball may lie as far apart as ordinary ones: the known unused rows do not mark where
 * never-seen rows are. */
static bool overlaps(const struct nki_evidence *output) {
  return output->ball.edge > NKI_OVERLAP * output->spread;
}

int nki_null_find(const struct nk_glitch *glitch, const double *fused, double *p_value,
                  struct nki_null *null) {
  double *some = nk_alloc(glitch->n, sizeof *some);
  if (some == NULL) return NK_EMEMORY;
  size_t outside = find_places(glitch, fused, some, null), n = 0;
  double width = (null->typical - null->ball) / NKI_WINDOWS, edge = INFINITY, inside = 0;
  null->overlap = overlaps(&glitch->own->output);
  bool apart = outside >= NKI_FEWEST_ORDINARY && width > 0 && !null->overlap;
  for (size_t i = 0; i < glitch->n; i++)
    if (glitch->role[i] == NK_ROLE_TEXT) some[n++] = fused[i];
  nki_sort_numbers(some, n);
  if (apart) edge = find_edge(some, n, null->ball, width);
  size_t below = count_up_to(some, n, edge), ordinary = n - below;
  null->n_beyond = apart ? ordinary : 0;
  if (null->n_beyond > 0)
    inside = null->n_expected = expect_inside(some + below, ordinary, edge, some[0]);
  for (size_t i = 0; i < glitch->n; i++) {
    double p = 1;
    if (null->n_beyond > 0) {
      size_t counted = count_up_to(some + below, ordinary, fused[i]);
      p = fmin((inside + (double)counted) / (double)ordinary, 1);
    }
    p_value[i] = glitch->role[i] == NK_ROLE_TEXT ? p : (double)NAN;
  }
  if (null->overlap)
    nk_warn(
        "the known unused rows lie as far apart as ordinary rows (%.2g and %.2g from their "
        "means): they do not show where never-seen rows are, and every p-value is 1",
        glitch->own->output.ball.edge, glitch->own->output.spread);
  nk_free(some);
  return NK_OK;
}
