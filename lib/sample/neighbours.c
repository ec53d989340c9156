/* The radius at which the k-th nearest token is an asked distance away. The products of a block of
 * rays with all tokens are taken in float, by BLAS; the radius they give is then corrected in
 * double with the few tokens that can matter there. */
#include <cblas.h>
#include <math.h>
#include <noken/base.h>
#include <stdlib.h>

#include "sample/internal.h"

struct nki_neighbours {
  const struct nki_space *space;
  const double *token_squares; /* [n_fit] |token|^2 */
  float *directions;           /* [NKI_RAYS, dim] u */
  float *origins;              /* [NKI_RAYS, dim] the origins, not less the centroid, times scale */
  float *u_token;              /* [NKI_RAYS, n_fit] u . token */
  float *origin_token;         /* [NKI_RAYS, n_fit] origin . token times scale */
  double *square, *along;      /* [n_fit] of the current ray */
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
  nk_free(work->square);
  nk_free(work->along);
  nk_free(work->events);
  nk_free(work->candidates);
  nk_free(work);
}

struct nki_neighbours *nki_neighbours_new(const struct nki_space *space,
                                          const double *token_squares) {
  struct nki_neighbours *work = nk_calloc(1, sizeof *work);
  if (work == NULL) return NULL;
  size_t n = space->n_fit;
  work->space = space;
  work->token_squares = token_squares;
  work->directions = nk_alloc(NKI_RAYS * space->dim, sizeof *work->directions);
  work->origins = nk_alloc(NKI_RAYS * space->dim, sizeof *work->origins);
  work->u_token = nk_alloc(NKI_RAYS * n, sizeof *work->u_token);
  work->origin_token = nk_alloc(NKI_RAYS * n, sizeof *work->origin_token);
  work->square = nk_alloc(n, sizeof *work->square);
  work->along = nk_alloc(n, sizeof *work->along);
  work->events = nk_alloc(4 * n, sizeof *work->events);
  work->candidates = nk_alloc(n, sizeof *work->candidates);
  for (size_t i = 0; i < n; i++) work->largest = fmax(work->largest, sqrt(token_squares[i]));
  int exponent = 0;
  if (work->largest > 0) frexp(work->largest, &exponent);
  work->scale = ldexp(1, -exponent);
  if (work->directions != NULL && work->origins != NULL && work->u_token != NULL &&
      work->origin_token != NULL && work->square != NULL && work->along != NULL &&
      work->events != NULL && work->candidates != NULL)
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

void nki_neighbours_block(struct nki_neighbours *work, const struct nki_rays *rays) {
  size_t dim = work->space->dim;
  for (size_t i = 0; i < rays->n; i++)
    for (size_t j = 0; j < dim; j++) {
      work->directions[i * dim + j] = (float)rays->u[i * dim + j];
      double place = rays->origin[i * dim + j] + work->space->mean[j];
      work->origins[i * dim + j] = (float)(place * work->scale);
    }
  multiply(work->space, work->directions, rays->n, work->u_token);
  multiply(work->space, work->origins, rays->n, work->origin_token);
}

/* |origin - token|^2 and u . (origin - token) in double. */
static void exact_products(const struct nki_neighbours *work, const double *origin, const double *u,
                           size_t token, double *square, double *along) {
  const struct nki_space *space = work->space;
  const float *t = space->tokens + token * space->dim;
  double sum = 0, product = 0;
  for (size_t j = 0; j < space->dim; j++) {
    double away = origin[j] + (space->mean[j] - (double)t[j]);
    sum += away * away;
    product += away * u[j];
  }
  *square = sum;
  *along = product;
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
  double origin_square = 0, u_origin = 0;
  for (size_t j = 0; j < space->dim; j++) {
    double place = origin[j] + space->mean[j];
    origin_square += place * place;
    u_origin += place * u[j];
  }
  for (size_t t = 0; t < space->n_fit; t++) {
    double product = (double)origin_token[t] / work->scale;
    work->square[t] = origin_square - 2 * product + work->token_squares[t];
    work->along[t] = u_origin - (double)u_token[t];
  }
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
