/* Nokens from inside a region, as controls: a smoothed bootstrap of its tokens. */
#include <math.h>
#include <noken/base.h>
#include <omp.h>
#include <string.h>

#include <noken/geometry.h>
#include <noken/region.h>
#include <noken/sample.h>
#include <noken/vectors.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "geometry/internal.h"
#include "sample/internal.h"

enum { PILOT = 256, MOST_DRAWS = 1000 };

static const double LEVEL = 0.05, SHARE = 0.9, NEAR = 0.05;

/* Draws of n nokens. */
struct draws {
  const struct nk_region *region;
  const struct nki_space *space;
  uint64_t seed;
  enum nki_random_purpose purpose;
  double h;
  float *x;         /* [n, dim] */
  int64_t *tokens;  /* [n] row of the token that a noken was drawn about */
  double *p_values; /* [n] */
};

/* Draw number `attempt` of noken i into out: mean + sqrt(1 - h^2) (token - mean) + h e. */
static void draw(const struct draws *draws, size_t i, size_t attempt, double *work, float *out) {
  const struct nki_space *space = draws->space;
  double h = draws->h, kept = sqrt(1 - h * h);
  struct nki_random random = nki_random_stream(draws->seed, draws->purpose, i);
  random.position = (uint64_t)attempt << 40; /* far beyond the numbers that one draw uses */
  size_t token = (size_t)nki_random_below(&random, space->n_tokens);
  const float *t = space->tokens + token * space->dim;
  for (size_t j = 0; j < space->dim; j++) work[j] = nki_random_normal(&random);
  nki_gaussian_colour(space->gaussian, work, 1);
  for (size_t j = 0; j < space->dim; j++)
    out[j] = (float)(space->mean[j] + kept * ((double)t[j] - space->mean[j]) + h * work[j]);
  draws->tokens[i] = (int64_t)token;
}

/* One draw of each noken in list [n], with its p-value. */
static int draw_all(const struct draws *draws, const size_t *list, size_t n, size_t attempt) {
  size_t dim = draws->space->dim;
  float *drawn = nk_alloc(n, dim * sizeof *drawn);
  double *work = nk_alloc(nk_threads(), dim * sizeof *work), *p = nk_alloc(n, sizeof *p);
  int code = drawn != NULL && work != NULL && p != NULL ? NK_OK : NK_EMEMORY;
  if (code != NK_OK) goto done;
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < n; i++)
    draw(draws, list[i], attempt, work + (size_t)omp_get_thread_num() * dim, drawn + i * dim);
  code = nk_region_score(draws->region, drawn, n, NULL, p);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    memcpy(draws->x + list[i] * dim, drawn + i * dim, dim * sizeof *drawn);
    draws->p_values[list[i]] = p[i];
  }

done:
  nk_free(drawn);
  nk_free(work);
  nk_free(p);
  return code;
}

/* *distance = how near a token has to be to be among the nearest NEAR of all neighbours: a quantile
 * of the distances from tokens that the region was not fitted on to the nearest it was. */
static int near_distance(const struct nki_space *space, double *distance) {
  const struct nk_knn_options options = {.k = 1, .metric = NK_METRIC_L2};
  size_t dim = space->dim, held_out = space->n_tokens - space->n_fit;
  size_t n = held_out < PILOT ? held_out : PILOT;
  struct nk_knn *knn = NULL;
  float *x = nk_alloc(n, dim * sizeof *x);
  int code = x != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++)
    memcpy(x + i * dim, space->tokens + (space->n_fit + i * held_out / n) * dim, dim * sizeof *x);
  if (code == NK_OK) knn = nk_knn_search(space->tokens, space->n_fit, dim, x, n, &options);
  if (code == NK_OK && knn == NULL) code = nk_error_code();
  if (code == NK_OK) nk_quantiles(knn->distances, n, &NEAR, 1, distance);
  nk_knn_free(knn);
  nk_free(x);
  return code;
}

/* The pilot's draws with draws->h: how many are inside, the median distance from their token. */
static int try_blend(const struct draws *draws, const size_t *list, size_t *inside,
                     double *median) {
  static const double half = 0.5;
  const struct nki_space *space = draws->space;
  size_t dim = space->dim;
  double distance[PILOT];
  int code = draw_all(draws, list, PILOT, 0);
  if (code != NK_OK) return code;
  *inside = 0;
  for (size_t i = 0; i < PILOT; i++) {
    const float *token = space->tokens + (size_t)draws->tokens[i] * dim;
    distance[i] = sqrt(nki_distance_squares(draws->x + i * dim, token, dim));
    *inside += draws->p_values[i] > LEVEL;
  }
  nk_quantiles(distance, PILOT, &half, 1, median);
  return NK_OK;
}

/* The smallest h with which draws are no copies; less where fewer than nine tenths of them would be
 * inside. */
static int choose_blend(const struct nk_region *region, const struct nki_space *space,
                        uint64_t seed, double *h) {
  struct draws draws = {
      .region = region, .space = space, .seed = seed, .purpose = NKI_RANDOM_INSIDE_PILOT};
  size_t list[PILOT], inside = 0;
  int64_t tokens[PILOT];
  double p[PILOT], near = 0, median = 0;
  int tenths = 0;
  draws.tokens = tokens;
  draws.p_values = p;
  draws.x = nk_alloc(PILOT, space->dim * sizeof *draws.x);
  int code = draws.x != NULL ? near_distance(space, &near) : NK_EMEMORY;
  for (size_t i = 0; i < PILOT; i++) list[i] = i;
  do {
    draws.h = ++tenths / 10.0;
    if (code == NK_OK) code = try_blend(&draws, list, &inside, &median);
  } while (code == NK_OK && median < near && tenths < 10);
  while (code == NK_OK && (double)inside < SHARE * PILOT && tenths > 1) {
    draws.h = --tenths / 10.0;
    code = try_blend(&draws, list, &inside, &median);
  }
  *h = draws.h;
  if (code == NK_OK && (double)inside < SHARE * PILOT)
    nk_warn("only %zu of %d draws are inside the region, even at the smallest blend", inside,
            PILOT);
  else if (code == NK_OK && median < near)
    nk_warn(
        "with blend %g draws lie nearer to their tokens than tokens to one another: a larger "
        "one would leave the region",
        draws.h);
  nk_free(draws.x);
  return code;
}

/* Draws each of n nokens until it is inside. */
static int draw_until_inside(struct draws *draws, size_t n) {
  size_t *list = nk_alloc(n, sizeof *list), left = n;
  draws->p_values = nk_alloc(n, sizeof *draws->p_values);
  int code = list != NULL && draws->p_values != NULL ? NK_OK : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) list[i] = i;
  for (size_t attempt = 0; left > 0 && code == NK_OK; attempt++) {
    if (attempt == MOST_DRAWS)
      code = nk_fail(NK_EDATA, "%zu of %zu nokens are outside the region after %d draws each", left,
                     n, MOST_DRAWS);
    if (code == NK_OK) code = draw_all(draws, list, left, attempt);
    size_t still = 0;
    for (size_t i = 0; i < left && code == NK_OK; i++)
      if (!(draws->p_values[list[i]] > LEVEL)) list[still++] = list[i];
    left = still;
  }
  nk_free(list);
  nk_free(draws->p_values);
  return code;
}

/* The columns of nokens drawn about the tokens of rows origin [n], which become their ids. */
static int add_columns(struct nk_region *region, const struct nki_space *space, double h,
                       int64_t *origin, struct nk_vectors *set) {
  double *blend = nk_alloc(set->n, sizeof *blend);
  int code = blend != NULL ? nki_describe(region, space, set) : NK_EMEMORY;
  if (code != NK_OK) goto done;
  for (size_t i = 0; i < set->n; i++) {
    origin[i] = space->ids[origin[i]];
    blend[i] = h;
  }
  const double *distance = nk_vectors_column(set, "mahalanobis")->data.number;
  code = nk_vectors_set_numbers(set, "distance", distance);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "origin", origin);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "blend", blend);

done:
  nk_free(blend);
  return code;
}

struct nk_vectors *nk_sample_inside(struct nk_region *region, size_t n, uint64_t seed) {
  struct nki_space space;
  struct nk_vectors *set = NULL;
  struct draws draws = {
      .region = region, .space = &space, .seed = seed, .purpose = NKI_RANDOM_INSIDE};
  int code = nki_open_space(region, &space);
  if (code == NK_OK) code = nki_need_tokens(&space, "drawing from inside the region");
  if (code != NK_OK) goto done;
  set = nk_vectors_new(n, space.dim, NULL, false);
  draws.tokens = nk_alloc(n, sizeof *draws.tokens);
  code = set != NULL && draws.tokens != NULL ? NK_OK : NK_EMEMORY;
  if (code != NK_OK) goto done;
  draws.x = nk_vectors_writable(set);
  code = choose_blend(region, &space, seed, &draws.h);
  if (code == NK_OK) code = draw_until_inside(&draws, n);
  if (code == NK_OK) code = add_columns(region, &space, draws.h, draws.tokens, set);

done:
  nk_free(draws.tokens);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
