/* The radius at which the k-th nearest token is an asked distance away. The products of a block of
 * rays with all tokens are taken in float, by BLAS; the radius they give is then corrected in
 * double with the few tokens that can matter there. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "sample/internal.h"

struct nki_neighbours {
  const struct nki_space *space;
  const double *token_squares; /* [2, n_fit] |token|^2 and |token - centroid|^2 */
  float *directions;           /* [n_rays, dim] u */
  float *origins;              /* [n_rays, dim] the origins, not less the centroid, times scale */
  float *u_token;              /* [n_rays, n_fit] u . token */
  float *origin_token;         /* [n_rays, n_fit] origin . token times scale */
  double *place;               /* [dim] the current ray's origin, not less the centroid */
  double *square, *along;      /* [n_fit] of that ray */
  double *events;              /* [4 n_fit] */
  size_t *candidates;          /* [n_fit] */
  double largest;              /* length of the longest token */
  double scale;                /* a power of two that brings that to 1, so that products of tokens
                                * with origins stay in the range of a float */
};

void nki_neighbours_free(struct nki_neighbours *work) {
  if (work == NULL) return;
  nk_free(work->directions);
  nk_free(work->origins);
  nk_free(work->u_token);
  nk_free(work->origin_token);
  nk_free(work->place);
  nk_free(work->square);
  nk_free(work->along);
  nk_free(work->events);
  nk_free(work->candidates);
  nk_free(work);
}

struct nki_neighbours *nki_neighbours_new(const struct nki_space *space, size_t n_rays,
                                          const double *token_squares) {
  struct nki_neighbours *work = nk_calloc(1, sizeof *work);
  if (work == NULL) return NULL;
  size_t n = space->n_fit;
  work->space = space;
  work->token_squares = token_squares;
  work->directions = nk_alloc(n_rays * space->dim, sizeof *work->directions);
  work->origins = nk_alloc(n_rays * space->dim, sizeof *work->origins);
  work->u_token = nk_alloc(n_rays * n, sizeof *work->u_token);
  work->origin_token = nk_alloc(n_rays * n, sizeof *work->origin_token);
  work->place = nk_alloc(space->dim, sizeof *work->place);
  work->square = nk_alloc(n, sizeof *work->square);
  work->along = nk_alloc(n, sizeof *work->along);
  work->events = nk_alloc(4 * n, sizeof *work->events);
  work->candidates = nk_alloc(n, sizeof *work->candidates);
  for (size_t i = 0; i < n; i++) work->largest = fmax(work->largest, sqrt(token_squares[i]));
  int exponent = 0;
  if (work->largest > 0) frexp(work->largest, &exponent);
  work->scale = ldexp(1, -exponent);
  if (work->directions != NULL && work->origins != NULL && work->u_token != NULL &&
      work->origin_token != NULL && work->place != NULL && work->square != NULL &&
      work->along != NULL && work->events != NULL && work->candidates != NULL)
    return work;
  nki_neighbours_free(work);
  return NULL;
}

/* out [n, n_fit] = rows [n, dim] times the tokens. */
static void multiply(const struct nki_space *space, const float *rows, size_t n, float *out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)space->n_fit, (int)space->dim,
              1.0f, rows, (int)space->dim, space->tokens, (int)space->dim, 0.0f, out,
              (int)space->n_fit);
}

/* Rays from the centroid need no products of their origins. */
void nki_neighbours_block(struct nki_neighbours *work, const struct nki_rays *rays) {
  size_t dim = work->space->dim;
  bool from_centroid = true;
  for (size_t i = 0; i < rays->n; i++) from_centroid = from_centroid && rays->start[i] == NULL;
  for (size_t i = 0; i < rays->n * dim; i++) work->directions[i] = (float)rays->u[i];
  multiply(work->space, work->directions, rays->n, work->u_token);
  if (from_centroid) return;
  for (size_t i = 0; i < rays->n; i++)
    for (size_t j = 0; j < dim; j++) {
      double place = rays->origin[i * dim + j] + work->space->mean[j];
      work->origins[i * dim + j] = (float)(place * work->scale);
    }
  multiply(work->space, work->origins, rays->n, work->origin_token);
}

/* sums = { |a|^2, a . u } of a = origin + (mean - token), [dim] each, in double. */
NKI_CLONES static void add_products(const float *restrict token, const double *restrict mean,
                                    const double *restrict origin, const double *restrict u,
                                    size_t dim, double sums[2]) {
  double square[NKI_LANES] = {0}, product[NKI_LANES] = {0};
  size_t j = 0;
  for (; j + NKI_LANES <= dim; j += NKI_LANES)
    for (size_t l = 0; l < NKI_LANES; l++) {
      double away = origin[j + l] + (mean[j + l] - (double)token[j + l]);
      square[l] += away * away;
      product[l] += away * u[j + l];
    }
  sums[0] = sums[1] = 0;
  for (; j < dim; j++) {
    double away = origin[j] + (mean[j] - (double)token[j]);
    sums[0] += away * away;
    sums[1] += away * u[j];
  }
  for (size_t l = 0; l < NKI_LANES; l++) {
    sums[0] += square[l];
    sums[1] += product[l];
  }
}

/* |origin - token|^2 and u . (origin - token) in double. */
static void exact_products(const struct nki_neighbours *work, const double *origin, const double *u,
                           size_t token, double *square, double *along) {
  const struct nki_space *space = work->space;
  double sums[2];
  add_products(space->tokens + token * space->dim, space->mean, origin, u, space->dim, sums);
  *square = sums[0];
  *along = sums[1];
}

/* The tokens that could be within `distance` of origin + r u; their exact products go to the front
 * of square and along. A float product of a and b has an error of at most gamma |a| |b|, with gamma
 * = (dim + 2) u / (1 - (dim + 2) u) and u = 2^-24, two of them for the rounding of a and b (Higham,
 * "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1), so that of the squared
 * distance is at most 2 gamma (|origin| + r) |token| <= gamma scale^2 / 2. The factor left is for
 * the error of r, which comes from the same products. */
static size_t find_candidates(struct nki_neighbours *work, const double *origin, const double *u,
                              double origin_length, double r, double distance) {
  size_t n = 0;
  double scale = origin_length + r + work->largest;
  double terms = ((double)work->space->dim + 2) * 0x1p-24;
  double slack = terms < 0.5 ? 4 * terms / (1 - terms) * scale * scale : (double)INFINITY;
  for (size_t i = 0; i < work->space->n_fit; i++) {
    double at_r = work->square[i] + r * (2 * work->along[i] + r);
    if (at_r <= distance * distance + slack) work->candidates[n++] = i;
  }
  for (size_t c = 0; c < n; c++)
    exact_products(work, origin, u, work->candidates[c], &work->square[c], &work->along[c]);
  return n;
}

struct near {
  double square; /* |origin + r u - token|^2 */
  size_t candidate;
};

static int compare_near(const void *a, const void *b) {
  double x = ((const struct near *)a)->square, y = ((const struct near *)b)->square;
  return (x > y) - (x < y);
}

/* Moves r to where the candidate that is the k-th nearest there is exactly `distance` away, until
 * it stays the k-th. */
static double correct(struct nki_neighbours *work, size_t n, double r, double distance) {
  struct near *near = (struct near *)(void *)work->events; /* 4 n_fit doubles are enough */
  if (n < work->space->k) return NAN;
  for (int round = 0; round < 100; round++) {
    for (size_t c = 0; c < n; c++)
      near[c] = (struct near){work->square[c] + r * (2 * work->along[c] + r), c};
    qsort(near, n, sizeof *near, compare_near);
    size_t kth = near[work->space->k - 1].candidate;
    double b = work->along[kth], c = work->square[kth] - distance * distance;
    double discriminant = b * b - c;
    if (discriminant < 0) return NAN;
    double root = sqrt(discriminant);
    double next = r + b >= 0 ? root - b : -root - b;
    if (fabs(next - r) <= 1e-13 * fabs(r)) return next;
    r = next;
  }
  return NAN;
}

double nki_neighbours_radius(struct nki_neighbours *work, const struct nki_rays *rays, size_t i,
                             double distance) {
  const struct nki_space *space = work->space;
  const double *origin = rays->origin + i * space->dim, *u = rays->u + i * space->dim;
  const float *u_token = work->u_token + i * space->n_fit;
  const float *origin_token = work->origin_token + i * space->n_fit;
  for (size_t j = 0; j < space->dim; j++) work->place[j] = origin[j] + space->mean[j];
  double origin_square = nki_product(work->place, work->place, space->dim);
  double u_origin = nki_product(work->place, u, space->dim);
  for (size_t t = 0; t < space->n_fit; t++) work->along[t] = u_origin - (double)u_token[t];
  if (rays->start[i] == NULL)
    memcpy(work->square, work->token_squares + space->n_fit, space->n_fit * sizeof *work->square);
  else
    for (size_t t = 0; t < space->n_fit; t++)
      work->square[t] =
          origin_square - 2 * ((double)origin_token[t] / work->scale) + work->token_squares[t];
  double r = nki_radius_of_neighbour(work->square, work->along, space->n_fit, work->space->k,
                                     distance, work->events);
  if (!isnan(r)) {
    size_t n = find_candidates(work, origin, u, sqrt(origin_square), r, distance);
    r = correct(work, n, r, distance);
    if (r >= 0) return r;
  }
  /* Floats were not accurate enough here (a ball touched at its edge, tokens in a tight ball):
   * everything in double. */
  for (size_t t = 0; t < space->n_fit; t++)
    exact_products(work, origin, u, t, &work->square[t], &work->along[t]);
  return nki_radius_of_neighbour(work->square, work->along, space->n_fit, work->space->k, distance,
                                 work->events);
}
