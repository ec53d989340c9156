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
#include "sample/internal.h"

enum { PILOT = 256, MOST_DRAWS = 1000 };

static const double LEVEL = 0.05, SHARE = 0.9;

/* Draw number `attempt` of noken i: mean + sqrt(1 - h^2) (token - mean) + h e, and the token. */
static int64_t draw(const struct nki_space *space, uint64_t seed, size_t i, size_t attempt,
                    double h, double *work, float *out) {
  struct nk_random random = nk_random_stream(seed, i);
  random.position = (uint64_t)attempt << 40; /* far beyond what one draw takes */
  int64_t token = (int64_t)nk_random_below(&random, space->n_tokens);
  const float *t = space->tokens + (size_t)token * space->dim;
  for (size_t j = 0; j < space->dim; j++) work[j] = nk_random_normal(&random);
  nk_gaussian_colour_wide(space->gaussian, work, 1);
  for (size_t j = 0; j < space->dim; j++)
    out[j] =
        (float)(space->mean[j] + sqrt(1 - h * h) * ((double)t[j] - space->mean[j]) + h * work[j]);
  return token;
}

/* One draw of each noken in list [n] into x; tokens [..] and p_values are indexed by noken too. */
static int draw_all(struct nk_region *region, const struct nki_space *space, uint64_t seed,
                    const size_t *list, size_t n, size_t attempt, double h, float *x,
                    int64_t *tokens, double *p_values) {
  size_t dim = space->dim;
  float *drawn = nk_alloc(n * dim, sizeof *drawn);
  double *work = nk_alloc(nk_threads() * dim, sizeof *work), *p = nk_alloc(n, sizeof *p);
  int code = drawn && work && p ? 0 : NK_EMEMORY;
  size_t n_drawn = code == NK_OK ? n : 0;
#pragma omp parallel for schedule(dynamic)
  for (size_t i = 0; i < n_drawn; i++)
    tokens[list[i]] = draw(space, seed, list[i], attempt, h,
                           work + (size_t)omp_get_thread_num() * dim, drawn + i * dim);
  if (code == NK_OK) code = nk_region_score(region, drawn, n, NULL, p);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    memcpy(x + list[i] * dim, drawn + i * dim, dim * sizeof *x);
    p_values[list[i]] = p[i];
  }
  nk_free(drawn);
  nk_free(work);
  nk_free(p);
  return code;
}

/* The largest h with which nine tenths of a pilot's draws are inside. */
static int choose_blend(struct nk_region *region, const struct nki_space *space, uint64_t seed,
                        double *h) {
  float *x = nk_alloc(PILOT * space->dim, sizeof *x);
  double *p = nk_alloc(PILOT, sizeof *p);
  int64_t *tokens = nk_alloc(PILOT, sizeof *tokens);
  size_t *list = nk_alloc(PILOT, sizeof *list), inside = 0;
  int code = x && p && tokens && list ? 0 : NK_EMEMORY;
  for (size_t i = 0; i < PILOT && code == NK_OK; i++) list[i] = i;
  for (int tenths = 10; tenths > 0 && code == NK_OK; tenths--) {
    *h = tenths / 10.0;
    code = draw_all(region, space, ~seed, list, PILOT, 0, *h, x, tokens, p);
    inside = 0;
    for (size_t i = 0; i < PILOT && code == NK_OK; i++) inside += p[i] > LEVEL;
    if ((double)inside >= SHARE * PILOT) break;
  }
  if (code == NK_OK && (double)inside < SHARE * PILOT)
    nk_warn("even close to its tokens only %zu of %d draws are inside the region", inside, PILOT);
  nk_free(x);
  nk_free(p);
  nk_free(tokens);
  nk_free(list);
  return code;
}

/* Draws every noken until it is inside. */
static int draw_until_inside(struct nk_region *region, const struct nki_space *space, uint64_t seed,
                             double h, size_t n, float *x, int64_t *tokens) {
  size_t *list = nk_alloc(n, sizeof *list), left = n;
  double *p = nk_alloc(n, sizeof *p);
  int code = list && p ? 0 : NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) list[i] = i;
  for (size_t attempt = 0; left > 0 && code == NK_OK; attempt++) {
    if (attempt == MOST_DRAWS)
      code = nk_fail(NK_EDATA, "after %d draws %zu of %zu nokens are still outside the region",
                     MOST_DRAWS, left, n);
    if (code == NK_OK) code = draw_all(region, space, seed, list, left, attempt, h, x, tokens, p);
    size_t still = 0;
    for (size_t i = 0; i < left && code == NK_OK; i++)
      if (!(p[list[i]] > LEVEL)) list[still++] = list[i];
    left = still;
    if (code == NK_OK) code = nk_progress("drawing inside the region", n - left, n);
  }
  nk_free(list);
  nk_free(p);
  return code;
}

struct nk_vectors *nk_sample_inside(struct nk_region *region, size_t n, uint64_t seed) {
  struct nki_space space;
  double h = 0;
  int code = nki_open_space(region, &space);
  if (code == NK_OK) code = nki_need_tokens(&space, "drawing from inside the region");
  struct nk_vectors *set = code == NK_OK ? nk_vectors_new(n, space.dim, NULL, false) : NULL;
  int64_t *origin = nk_alloc(n, sizeof *origin);
  double *blend = nk_alloc(n, sizeof *blend);
  if (code == NK_OK && (!set || !origin || !blend)) code = NK_EMEMORY;
  if (code == NK_OK) code = choose_blend(region, &space, seed, &h);
  if (code == NK_OK && n > 0)
    code = draw_until_inside(region, &space, seed, h, n, nk_vectors_writable(set), origin);
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    origin[i] = space.ids[origin[i]];
    blend[i] = h;
  }
  if (code == NK_OK) code = nki_describe(region, &space, set);
  if (code == NK_OK)
    code =
        nk_vectors_set_numbers(set, "distance", nk_vectors_column(set, "mahalanobis")->data.number);
  if (code == NK_OK) code = nk_vectors_set_integers(set, "origin", origin);
  if (code == NK_OK) code = nk_vectors_set_numbers(set, "blend", blend);
  nk_free(origin);
  nk_free(blend);
  if (code == NK_OK) return set;
  nk_vectors_free(set);
  return NULL;
}
