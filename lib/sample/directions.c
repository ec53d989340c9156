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

/* What follows a kind's name. */
enum argument { NOTHING, COMPONENTS, ROW, PARTS };

static const struct {
  const char *name;
  enum argument argument;
} KINDS[NK_N_DIRECTION_KINDS] = {
    [NK_DIRECTION_ISOTROPIC] = {"isotropic", NOTHING},
    [NK_DIRECTION_COVARIANCE] = {"covariance", NOTHING},
    [NK_DIRECTION_COMPONENTS] = {"pc:", COMPONENTS},
    [NK_DIRECTION_TOKEN] = {"token", NOTHING},
    [NK_DIRECTION_PAIR] = {"pair", NOTHING},
    [NK_DIRECTION_DIFFERENCE] = {"difference", NOTHING},
    [NK_DIRECTION_TOWARDS] = {"towards", NOTHING},
    [NK_DIRECTION_ROW] = {"towards:", ROW},
    [NK_DIRECTION_MIXTURE] = {"mixture:", PARTS},
    [NK_DIRECTION_GRADIENT] = {"gradient", NOTHING},
    [NK_DIRECTION_NATURAL] = {"natural", NOTHING},
    [NK_DIRECTION_ALONG] = {"along", NOTHING},
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool parse_components(const char *text, struct nk_direction_part *part) {
  char *end;
  if (!is_digit(*text)) return false;
  part->first = part->last = strtoull(text, &end, 10);
  if (*end == '-' && is_digit(end[1])) part->last = strtoull(end + 1, &end, 10);
  return *end == 0 && part->first >= 1 && part->last >= part->first;
}

static bool parse_row(const char *text, struct nk_direction_part *part) {
  char *end;
  if (!is_digit(*text)) return false;
  part->first = strtoull(text, &end, 10);
  return *end == 0;
}

/* A direction other than a mixture. */
static bool parse_part(const char *text, struct nk_direction_part *part) {
  for (int kind = 0; kind < NK_N_DIRECTION_KINDS; kind++) {
    size_t length = strlen(KINDS[kind].name);
    *part = (struct nk_direction_part){.kind = (enum nk_direction_kind)kind};
    if (strncmp(text, KINDS[kind].name, length) != 0) continue;
    if (KINDS[kind].argument == NOTHING && text[length] == 0) return true;
    if (KINDS[kind].argument == COMPONENTS && parse_components(text + length, part)) return true;
    if (KINDS[kind].argument == ROW && parse_row(text + length, part)) return true;
  }
  return false;
}

/* "A+B" */
static bool parse_parts(const char *text, struct nk_direction_part parts[2]) {
  const char *plus = strchr(text, '+');
  char *first = plus != NULL ? nk_strndup(text, (size_t)(plus - text)) : NULL;
  bool parsed = first != NULL && parse_part(first, &parts[0]) && parse_part(plus + 1, &parts[1]);
  nk_free(first);
  return parsed;
}

int nk_direction_parse(const char *text, struct nk_direction *direction) {
  const char *mixture = KINDS[NK_DIRECTION_MIXTURE].name;
  struct nk_direction_part part;
  *direction = (struct nk_direction){0};
  if (parse_part(text, &part)) {
    *direction = (struct nk_direction){.kind = part.kind, .first = part.first, .last = part.last};
    return NK_OK;
  }
  if (strncmp(text, mixture, strlen(mixture)) == 0 &&
      parse_parts(text + strlen(mixture), direction->parts)) {
    direction->kind = NK_DIRECTION_MIXTURE;
    return NK_OK;
  }
  return nk_fail(
      NK_EUSAGE,
      "unknown direction '%s': isotropic, covariance, pc:A-B (components A to B, from 1), token, "
      "pair, difference, towards, towards:ROW, gradient, natural, along, or mixture:A+B of two of "
      "these",
      text);
}

size_t nki_direction_parts(const struct nk_direction *direction,
                           struct nk_direction_part parts[2]) {
  if (direction->kind == NK_DIRECTION_MIXTURE) {
    parts[0] = direction->parts[0];
    parts[1] = direction->parts[1];
    return 2;
  }
  parts[0] = (struct nk_direction_part){direction->kind, direction->first, direction->last};
  return 1;
}

void nki_direction_name(const struct nk_direction *direction, struct nk_buffer *out) {
  struct nk_direction_part parts[2];
  size_t n = nki_direction_parts(direction, parts);
  if (n == 2) nk_buffer_text(out, KINDS[NK_DIRECTION_MIXTURE].name);
  for (size_t i = 0; i < n; i++) {
    enum argument argument = KINDS[parts[i].kind].argument;
    nk_buffer_printf(out, "%s%s", i > 0 ? "+" : "", KINDS[parts[i].kind].name);
    if (argument == COMPONENTS) nk_buffer_printf(out, "%zu-%zu", parts[i].first, parts[i].last);
    if (argument == ROW) nk_buffer_printf(out, "%zu", parts[i].first);
  }
}

/* ---- Rays ---- */

enum { TRIES = 100 }; /* draws of a vector that turns out to be the same as the other one */

static const double OPPOSITE = 1e-9; /* length of the sum of two unit vectors that cancel */

static const float *token_of(const struct nki_space *space, int64_t token) {
  return space->tokens + (size_t)token * space->dim;
}

static const float *row_of(const struct nk_vectors *set, size_t row) {
  return set->values + row * set->dim;
}

/* out [dim] = x - base, or - the centroid when base is NULL. Returns its length. */
static double difference(const struct nki_space *space, const float *x, const float *base,
                         double *out) {
  double square = 0;
  for (size_t j = 0; j < space->dim; j++) {
    out[j] = (double)x[j] - (base != NULL ? (double)base[j] : space->mean[j]);
    square += out[j] * out[j];
  }
  return sqrt(square);
}

static int64_t random_token(const struct nki_space *space, struct nki_random *random) {
  return (int64_t)nki_random_below(random, space->n_tokens);
}

/* u = from base (NULL: the centroid) to a random token, or row of the set, of another place than
 * base and *met (NULL: none); its id into *toward and itself into *met. After TRIES draws the next
 * in the order of ids or rows. NK_EDATA where there is none. */
static int draw_toward(const struct nki_space *space, const struct nk_vectors *set,
                       const float *base, struct nki_random *random, double *u, int64_t *toward,
                       const float **met) {
  size_t n = set != NULL ? set->n : space->n_tokens, drawn = 0;
  for (size_t i = 0; i < TRIES + n; i++) {
    drawn = i < TRIES ? (size_t)nki_random_below(random, n) : (drawn + 1) % n;
    const float *x = set != NULL ? row_of(set, drawn) : token_of(space, (int64_t)drawn);
    if (*met != NULL && !(difference(space, x, *met, u) > 0)) continue;
    if (!(difference(space, x, base, u) > 0)) continue;
    *toward = set != NULL ? set->ids[drawn] : space->ids[drawn];
    *met = x;
    return NK_OK;
  }
  const char *what = set != NULL ? "rows" : "tokens";
  if (*met != NULL)
    return nk_fail(
        NK_EDATA,
        "a mixture of two directions: all %s are the origin's vector or the one that the "
        "first direction leads to",
        what);
  return nk_fail(NK_EDATA, "all %s are the same vector: there is no direction between them", what);
}

/* u = normal numbers that the direction's kind then shapes. */
static void draw_normals(const struct nki_space *space, const struct nk_direction_part *part,
                         struct nki_random *random, double *u) {
  if (part->kind != NK_DIRECTION_COMPONENTS) {
    nki_random_normals(random, space->dim, u);
    return;
  }
  memset(u, 0, space->dim * sizeof *u);
  for (size_t c = part->first - 1; c < part->last; c++) {
    const float *component = space->components + c * space->dim;
    double normal = nki_random_normal(random);
    for (size_t j = 0; j < space->dim; j++) u[j] += normal * (double)component[j];
  }
}

/* The origin of ray number `ray`, the i-th of the block. */
static void place_origin(const struct nki_space *space, const struct nki_bundle *bundle, bool pair,
                         size_t ray, struct nki_random *random, struct nki_rays *rays, size_t i) {
  double *origin = rays->origin + i * space->dim;
  int64_t from = bundle->fixed;
  rays->start[i] = NULL;
  rays->from[i] = -1;
  rays->number[i] = ray;
  if (from == NKI_FROM_RANDOM_TOKEN || (pair && from == NKI_FROM_CENTROID))
    from = random_token(space, random);
  if (from == NKI_FROM_SET) {
    rays->start[i] = row_of(bundle->set, ray / bundle->n_each);
    rays->from[i] = bundle->set->ids[ray / bundle->n_each];
  } else if (from >= 0) {
    rays->start[i] = token_of(space, from);
    rays->from[i] = space->ids[from];
  }
  if (rays->start[i] != NULL) {
    difference(space, rays->start[i], NULL, origin);
    return;
  }
  for (size_t j = 0; j < space->dim; j++)
    origin[j] = bundle->from_stored ? (double)(float)space->mean[j] - space->mean[j] : 0;
}

/* u = the direction of the i-th ray of the block, not yet of unit length. */
static int draw_direction(const struct nki_space *space, const struct nki_bundle *bundle,
                          const struct nk_direction_part *part, struct nki_random *random,
                          struct nki_rays *rays, size_t i, double *u) {
  const float *base = rays->start[i];
  const struct nk_vectors *set = bundle->set, *along = bundle->along;
  size_t ray = rays->number[i], row = bundle->fixed == NKI_FROM_SET ? ray / bundle->n_each : 0;
  rays->toward[i] = -1;
  switch (part->kind) {
    case NK_DIRECTION_TOKEN:
    case NK_DIRECTION_PAIR:
      return draw_toward(space, NULL, base, random, u, &rays->toward[i], &rays->met[i]);
    case NK_DIRECTION_DIFFERENCE: {
      int64_t id; /* the ray runs beside it */
      const float *other = NULL;
      return draw_toward(space, NULL, token_of(space, random_token(space, random)), random, u, &id,
                         &other);
    }
    case NK_DIRECTION_TOWARDS:
      return draw_toward(space, set, base, random, u, &rays->toward[i], &rays->met[i]);
    case NK_DIRECTION_ROW:
      rays->toward[i] = set->ids[part->first];
      rays->met[i] = row_of(set, part->first);
      difference(space, rays->met[i], base, u);
      return NK_OK;
    case NK_DIRECTION_GRADIENT:
    case NK_DIRECTION_NATURAL:
      for (size_t j = 0; j < space->dim; j++)
        u[j] = (double)bundle->gradients[row * space->dim + j];
      return NK_OK;
    case NK_DIRECTION_ALONG:
      row = along->n == bundle->n_each ? ray % bundle->n_each : ray;
      rays->toward[i] = along->ids[row];
      for (size_t j = 0; j < space->dim; j++) u[j] = (double)row_of(along, row)[j];
      return NK_OK;
    default:
      draw_normals(space, part, random, u);
      return NK_OK;
  }
}

/* Brings the rows of u [n, dim] to unit length; zeros where they are no longer than `least`. Those
 * of white [n, dim], or NULL, are divided by the same. */
static void normalize(double *u, double *white, size_t n, size_t dim, double least) {
  for (size_t i = 0; i < n; i++) {
    double length = cblas_dnrm2((int)dim, u + i * dim, 1);
    bool none = length <= least;
    for (size_t j = i * dim; j < (i + 1) * dim; j++) {
      u[j] = none ? 0 : u[j] / length;
      if (white != NULL) white[j] = none ? 0 : white[j] / length;
    }
  }
}

/* The rows of u [n, dim] as the kind of direction shapes them; what they are the coloured ones of
 * into white, or NULL. Returns whether they are. */
static bool shape(const struct nki_space *space, enum nk_direction_kind kind, size_t n, double *u,
                  double *white) {
  if (kind != NK_DIRECTION_NATURAL && kind != NK_DIRECTION_COVARIANCE) return false;
  if (kind == NK_DIRECTION_NATURAL) nki_gaussian_whiten_gradients(space->gaussian, u, n);
  if (white != NULL) memcpy(white, u, n * space->dim * sizeof *u);
  nki_gaussian_colour(space->gaussian, u, n);
  return white != NULL;
}

/* u = the direction between it and the other one; zeros where one of them is. */
static void mix(struct nki_rays *rays, size_t dim) {
  for (size_t i = 0; i < rays->n; i++) {
    double *u = rays->u + i * dim, *other = rays->other + i * dim;
    bool none = !(nki_product(u, u, dim) > 0 && nki_product(other, other, dim) > 0);
    for (size_t j = 0; j < dim; j++) u[j] = none ? 0 : u[j] + other[j];
    rays->toward[i] = -1; /* neither vector is met */
  }
  normalize(rays->u, NULL, rays->n, dim, OPPOSITE);
}

static struct nki_random stream_of(const struct nki_bundle *bundle, size_t ray) {
  uint64_t kind = (uint64_t)bundle->direction->kind << 48;
  if (bundle->fixed != NKI_FROM_SET)
    return nki_random_stream(bundle->seed, NKI_RANDOM_RAY, kind | ray);
  uint64_t origin = ray / bundle->n_each, own = ray % bundle->n_each;
  return nki_random_stream(bundle->seed, NKI_RANDOM_SET_RAY, kind | origin << 24 | own);
}

int nki_make_rays(const struct nki_space *space, const struct nki_bundle *bundle, const size_t *ray,
                  size_t n, size_t attempt, struct nki_rays *rays) {
  struct nk_direction_part parts[2];
  struct nki_random random[NKI_RAYS];
  size_t n_parts = nki_direction_parts(bundle->direction, parts), dim = space->dim;
  bool pair =
      parts[0].kind == NK_DIRECTION_PAIR || (n_parts == 2 && parts[1].kind == NK_DIRECTION_PAIR);
  if (n_parts == 2 && parts[1].kind == NK_DIRECTION_ROW) { /* what is drawn differs from it */
    struct nk_direction_part row = parts[1];
    parts[1] = parts[0];
    parts[0] = row;
  }
  rays->n = n;
  for (size_t i = 0; i < n; i++) {
    rays->met[i] = NULL;
    random[i] = stream_of(bundle, ray[i]);
    random[i].position = (uint64_t)attempt << 40; /* far beyond the numbers that one ray uses */
    place_origin(space, bundle, pair, ray[i], &random[i], rays, i);
  }
  for (size_t p = 0; p < n_parts; p++) {
    double *u = p == 0 ? rays->u : rays->other;
    for (size_t i = 0; i < n; i++) {
      int code = draw_direction(space, bundle, &parts[p], &random[i], rays, i, u + i * dim);
      if (code != NK_OK) return code;
    }
    rays->is_white = shape(space, parts[p].kind, n, u, n_parts == 1 ? rays->white : NULL);
    normalize(u, rays->is_white ? rays->white : NULL, n, dim, 0);
  }
  if (n_parts == 2) mix(rays, dim);
  return NK_OK;
}
