/* Directions: their names, and the rays drawn from them. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include <noken/geometry.h>
#include <noken/sample.h>
#include "base/random.h"
#include "geometry/gaussian.h"
#include "sample/internal.h"

/* ---- Names ---- */

static const char *const NAMES[] = {
    [NK_DIRECTION_ISOTROPIC] = "isotropic", [NK_DIRECTION_COVARIANCE] = "covariance",
    [NK_DIRECTION_COMPONENTS] = "pc:",      [NK_DIRECTION_TOKEN] = "token",
    [NK_DIRECTION_PAIR] = "pair",           [NK_DIRECTION_DIFFERENCE] = "difference",
};

static bool parse_components(const char *text, struct nk_direction *direction) {
  char *end;
  if (*text < '0' || *text > '9') return false;
  direction->first = direction->last = strtoull(text, &end, 10);
  if (*end == '-' && end[1] >= '0' && end[1] <= '9') direction->last = strtoull(end + 1, &end, 10);
  return *end == 0 && direction->first >= 1 && direction->last >= direction->first;
}

int nk_direction_parse(const char *text, struct nk_direction *direction) {
  *direction = (struct nk_direction){0};
  for (int kind = 0; kind <= NK_DIRECTION_DIFFERENCE; kind++) {
    direction->kind = (enum nk_direction_kind)kind;
    if (kind == NK_DIRECTION_COMPONENTS) {
      if (strncmp(text, "pc:", 3) == 0 && parse_components(text + 3, direction)) return NK_OK;
    } else if (strcmp(text, NAMES[kind]) == 0) {
      return NK_OK;
    }
  }
  return nk_fail(
      NK_EUSAGE,
      "unknown direction '%s': isotropic, covariance, pc:A-B (components A to B, from 1), "
      "token, pair or difference",
      text);
}

void nki_direction_name(const struct nk_direction *direction, struct nk_buffer *out) {
  nk_buffer_text(out, NAMES[direction->kind]);
  if (direction->kind != NK_DIRECTION_COMPONENTS) return;
  nk_buffer_printf(out, "%zu-%zu", direction->first, direction->last);
}

/* ---- Rays ---- */

enum { TRIES = 100 }; /* draws of a token that turns out to be the same vector as the other one */

/* out [dim] = token - base, or - the centroid when base is -1. Returns its length. */
static double difference(const struct nki_space *space, int64_t token, int64_t base, double *out) {
  const float *t = space->tokens + (size_t)token * space->dim;
  const float *b = base < 0 ? NULL : space->tokens + (size_t)base * space->dim;
  double square = 0;
  for (size_t j = 0; j < space->dim; j++) {
    out[j] = (double)t[j] - (b != NULL ? (double)b[j] : space->mean[j]);
    square += out[j] * out[j];
  }
  return sqrt(square);
}

static int64_t random_token(const struct nki_space *space, struct nki_random *random) {
  return (int64_t)nki_random_below(random, space->n_tokens);
}

/* u = from base (-1: the centroid) to a random token of another place; its row, or -1. */
static int64_t draw_toward(const struct nki_space *space, int64_t base, struct nki_random *random,
                           double *u) {
  for (int i = 0; i < TRIES; i++) {
    int64_t token = random_token(space, random);
    if (difference(space, token, base, u) > 0) return token;
  }
  return -1;
}

/* u = normal numbers that the direction's kind then shapes. */
static void draw_normals(const struct nki_space *space, const struct nk_direction *direction,
                         struct nki_random *random, double *u) {
  if (direction->kind != NK_DIRECTION_COMPONENTS) {
    for (size_t j = 0; j < space->dim; j++) u[j] = nki_random_normal(random);
    return;
  }
  memset(u, 0, space->dim * sizeof *u);
  for (size_t c = direction->first - 1; c < direction->last; c++) {
    const float *component = space->components + c * space->dim;
    double normal = nki_random_normal(random);
    for (size_t j = 0; j < space->dim; j++) u[j] += normal * (double)component[j];
  }
}

/* One ray; its u is not yet of unit length. */
static int make_ray(const struct nki_space *space, const struct nki_bundle *bundle,
                    struct nki_random *random, struct nki_rays *rays, size_t i) {
  const struct nk_direction *direction = bundle->direction;
  double *origin = rays->origin + i * space->dim, *u = rays->u + i * space->dim;
  bool random_pair = direction->kind == NK_DIRECTION_PAIR && bundle->fixed == NKI_FROM_CENTROID;
  int64_t from = bundle->fixed;
  if (from == NKI_FROM_RANDOM_TOKEN || random_pair) from = random_token(space, random);
  int64_t toward = -1;
  rays->from[i] = from;
  if (from < 0)
    memset(origin, 0, space->dim * sizeof *origin);
  else
    difference(space, from, -1, origin);
  switch (direction->kind) {
    case NK_DIRECTION_TOKEN:
    case NK_DIRECTION_PAIR:
      toward = draw_toward(space, from, random, u);
      break;
    case NK_DIRECTION_DIFFERENCE:
      toward = draw_toward(space, random_token(space, random), random, u);
      break;
    default:
      draw_normals(space, direction, random, u);
      rays->toward[i] = -1;
      return NK_OK;
  }
  if (toward < 0)
    return nk_fail(NK_EDATA,
                   "all tokens drawn are the same vector: there is no direction between them");
  rays->toward[i] = direction->kind == NK_DIRECTION_DIFFERENCE ? -1 : toward;
  return NK_OK;
}

int nki_make_rays(const struct nki_space *space, const struct nki_bundle *bundle, const size_t *ray,
                  size_t n, size_t attempt, struct nki_rays *rays) {
  enum nk_direction_kind kind = bundle->direction->kind;
  rays->n = n;
  for (size_t i = 0; i < n; i++) {
    uint64_t index = (uint64_t)kind << 48 | ray[i];
    struct nki_random random = nki_random_stream(bundle->seed, NKI_RANDOM_RAY, index);
    random.position = (uint64_t)attempt << 40; /* far beyond the numbers that one ray uses */
    int code = make_ray(space, bundle, &random, rays, i);
    if (code != NK_OK) return code;
  }
  if (kind == NK_DIRECTION_COVARIANCE) nki_gaussian_colour(space->gaussian, rays->u, n);
  for (size_t i = 0; i < n; i++) {
    double *u = rays->u + i * space->dim;
    double length = cblas_dnrm2((int)space->dim, u, 1);
    for (size_t j = 0; j < space->dim; j++) u[j] /= length;
  }
  return NK_OK;
}
