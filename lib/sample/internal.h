/* What the files of lib/sample share: the space that is sampled, rays in it, and how far along a
 * ray a distance is reached. Everything is in double and relative to the centroid. */
#ifndef SAMPLE_INTERNAL_H
#define SAMPLE_INTERNAL_H

#include <noken/geometry.h>
#include <noken/sample.h>
#include <stddef.h>
#include "base/random.h"
#include "geometry/internal.h"

/* ---- Rays ---- */

/* Rays are made in blocks, of at most this many, each block by one thread: results must not depend
 * on how many threads there are, and a BLAS call may when it is split among them. The matrix that a
 * block is multiplied with is packed once a block, so that few large blocks are faster; the number
 * of blocks is what threads can share. */
enum { NKI_RAYS = 256, NKI_FEWEST_RAYS = 64, NKI_ENOUGH_BLOCKS = 16 };

/* Rays of a block, of n in all. */
static inline size_t nki_block_of_rays(size_t n) {
  size_t rays = (n + NKI_ENOUGH_BLOCKS - 1) / NKI_ENOUGH_BLOCKS;
  if (rays < NKI_FEWEST_RAYS) return NKI_FEWEST_RAYS;
  return rays < NKI_RAYS ? rays : NKI_RAYS;
}

struct nki_space {
  const struct nk_gaussian *gaussian;
  const double *mean;  /* [dim] */
  const float *tokens; /* [n_tokens, dim]; NULL when the region does not hold them */
  const int64_t *ids;  /* [n_tokens] */
  size_t n_tokens;
  size_t n_fit; /* the first so many are those that neighbours are counted among */
  size_t k;     /* which neighbour */
  size_t dim;
  const float *components; /* [dim, dim] unit rows, for NK_DIRECTION_COMPONENTS */
};

/* The space of a region; the code of the call before for NULL. */
int nki_open_space(struct nk_region *region, struct nki_space *space);
/* NK_EDATA, naming `what` is asked for, when the region does not hold its tokens; the second also
 * when its neighbours are not by l2. */
int nki_need_tokens(const struct nki_space *space, const char *what);
int nki_need_neighbours(const struct nk_region *region, const struct nki_space *space,
                        const char *what);
/* The row of the token called id; NK_ENOTFOUND when there is none. */
int nki_find_token(const struct nki_space *space, int64_t id, int64_t *row);
/* What distances by a metric need of the region. */
int nki_check_metric(const struct nk_region *region, const struct nki_space *space,
                     enum nk_metric metric);
/* *sorted = the distances by a metric of the region's tokens that it was not fitted on, ascending,
 * *n of them. Free it. */
int nki_held_out(struct nk_region *region, enum nk_metric metric, double **sorted, size_t *n);
/* Mahalanobis distances in double of the rows of x [n, dim]. */
int nki_mahalanobis(const struct nki_space *space, const float *x, size_t n, double *out);
/* Adds the columns l2, cosine, mahalanobis, knn, nearest and p_value, and the region's metadata. */
int nki_describe(struct nk_region *region, const struct nki_space *space, struct nk_vectors *set);

/* Appends what nk_direction_parse reads. */
void nki_direction_name(const struct nk_direction *direction, struct nk_buffer *out);
/* The parts of a direction: two of a mixture, or itself. Returns their number. */
size_t nki_direction_parts(const struct nk_direction *direction, struct nk_direction_part parts[2]);

static inline bool nki_is_gradient(enum nk_direction_kind kind) {
  return kind == NK_DIRECTION_GRADIENT || kind == NK_DIRECTION_NATURAL;
}

/* A block of rays origin + r u, with room for n_rays. */
struct nki_rays {
  size_t n;
  double *origin;      /* [n_rays, dim] minus the centroid */
  double *u;           /* [n_rays, dim] unit vectors; zeros where there is no direction */
  double *other;       /* [n_rays, dim] room for the second direction of a mixture, or NULL */
  double *white;       /* [n_rays, dim] u whitened, where is_white; NULL: not needed */
  bool is_white;       /* known from how u was drawn */
  const float **start; /* [NKI_RAYS] the vector that is the origin, NULL for the centroid */
  int64_t *from;       /* [NKI_RAYS] id of the origin, -1 for the centroid */
  int64_t *toward;     /* [NKI_RAYS] id of the vector that the ray meets, -1 for none */
  size_t number[NKI_RAYS];
  const float *met[NKI_RAYS]; /* that vector, or of a mixture the first part's; NULL for none */
};

/* Where rays begin and in which direction they run. */
struct nki_bundle {
  const struct nk_direction *direction;
  int64_t fixed; /* row of the token that is the origin, or one of the next three */
  uint64_t seed;
  const struct nk_vectors *set;   /* as the options' */
  const float *gradients;         /* [rows of the set or 1, dim] or NULL */
  const struct nk_vectors *along; /* as the options' */
  size_t n_each;                  /* NKI_FROM_SET: rays of each row */
  bool from_stored;               /* the centroid as floats hold it is the origin */
};
enum { NKI_FROM_CENTROID = -1, NKI_FROM_RANDOM_TOKEN = -2, NKI_FROM_SET = -3 };

/* The most rows of a set, and rays of a row, that have random numbers of their own. */
enum { NKI_MOST_SET_RAYS = 1 << 24 };

/* Fills rays with those numbered ray [n] (n at most NKI_RAYS), drawn for the attempt-th time, from
 * 0. Ray i begins at row i / n_each of the set. Returns NK_OK, or NK_EDATA when there are no two
 * different vectors to draw. */
int nki_make_rays(const struct nki_space *space, const struct nki_bundle *bundle, const size_t *ray,
                  size_t n, size_t attempt, struct nki_rays *rays);

/* ---- Radii ---- */
/* The smallest r >= 0 with a r^2 + 2 b r + c = 0; NaN when there is none. */
double nki_radius_of_quadratic(double a, double b, double c);

/* The smallest r >= 0 at which the cosine distance of origin + r u to m is `distance`, from the
 * products of the unit vector m and the ray: origin.m, u.m, |origin|^2, origin.u; |u| = 1. NaN when
 * there is none. */
double nki_radius_of_cosine(double origin_m, double u_m, double origin_square, double origin_u,
                            double distance);

/* How a ray from `origin` in direction u turns about 0, for |u| = 1. */
struct nki_turning {
  double length; /* of the origin */
  double turn;   /* the angle between origin and u, which that of origin + r u tends to; 0 where the
                  * two are parallel: the ray does not turn */
  double a, b;   /* products of a vector c with origin / |origin| and with the unit vector across it
                  * in the plane of u */
};
/* Both [dim]; shift [dim] is added to the origin, c [dim] is the vector of a and b; either can be
 * NULL. */
struct nki_turning nki_turning_of(const double *origin, const double *shift, const double *u,
                                  const double *c, size_t dim);

/* The r >= 0 at which the angle between origin and origin + r u is `angle`, in radians > 0. NaN
 * when there is none. */
double nki_radius_of_angle(const struct nki_turning *turning, double angle);
/* The same for the smallest angle t > 0 at which a cos(t) + b sin(t) = value. */
double nki_radius_of_product(const struct nki_turning *turning, double value);

/* The angle in radians between x - c and y - c, [dim] each; c NULL: between x and y. After Kahan,
 * "How futile are mindless assessments of roundoff in floating-point computation?" (2006), section
 * 12, which is exact for small angles too. NaN where one of them is 0. */
double nki_angle(const float *x, const float *y, const double *c, size_t dim);

/* The smallest r >= 0 at which the k-th nearest of n points is `distance` away from origin + r u.
 *   square  [n]  |origin - point|^2
 *   along   [n]  u . (origin - point), with |u| = 1
 *   events  [4 n] room for work
 * Each point is within the distance for one interval of r; the answer is the first end of an
 * interval at which the number of intervals around r passes k. NaN when that never happens. */
double nki_radius_of_neighbour(const double *square, const double *along, size_t n, size_t k,
                               double distance, double *events);

/* ---- The k-th nearest token along rays ---- */

/* One thread's memory for it: about 4 (2 n_rays + 14) bytes for each token. */
struct nki_neighbours;

/* token_squares [2, n_fit]: |token|^2 and |token - centroid|^2; they and space have to outlive the
 * result. NULL on failure. */
struct nki_neighbours *nki_neighbours_new(const struct nki_space *space, size_t n_rays,
                                          const double *token_squares);
void nki_neighbours_free(struct nki_neighbours *work);
/* Computes the products of a block of rays. */
void nki_neighbours_block(struct nki_neighbours *work, const struct nki_rays *rays);
/* The smallest r >= 0 at which the k-th nearest token is `distance` away from the i-th ray of the
 * block; NaN when there is none. */
double nki_neighbours_radius(struct nki_neighbours *work, const struct nki_rays *rays, size_t i,
                             double distance);

/* ---- Vectors at a distance ---- */

/* Where a metric from the centroid, as of nk_sample's nokens, has the value `distance`. */
struct nki_distance_surface;
struct nki_distance_surface *nki_surface_new(struct nk_region *region, enum nk_metric metric,
                                             double distance);
void nki_surface_free(struct nki_distance_surface *surface);
/* scale [n]: what brings away [n, dim], vectors less the centroid, to the surface at the smallest
 * radius; NaN where their ray never reaches it. */
int nki_surface_scale(const struct nki_distance_surface *surface, const double *away, size_t n,
                      double *scale);

/* nk_sample_inside, with p-values above `level`. */
struct nk_vectors *nki_sample_inside(struct nk_region *region, size_t n, double level,
                                     uint64_t seed);

/* ---- Nokens from a set ---- */

/* Rows of `made` and the rows of a set that they were made from: text, columns (as set_NAME where
 * made, or nokens of another kind, have one of that name) and metadata of those that rows [made->n]
 * lists. */
int nki_carry_rows(const struct nk_vectors *set, const size_t *rows, struct nk_vectors *made);
/* The metadata alone: that which made does not have, noken.model and noken.space; noken.history
 * after made's own. */
int nki_carry_metadata(const struct nk_vectors *set, struct nk_vectors *made);

/* The code; a failure is then one of the set's file, where it has one. */
int nki_fail_in_set(int code, const struct nk_vectors *set);
/* NK_OK where the options have a set, of the space's dim where space is not NULL; else a code, with
 * `what` needs it. */
int nki_need_set(const struct nk_vectors *set, const struct nki_space *space, const char *what);

/* The other kinds of nk_sample. NULL on failure. */
struct nk_vectors *nki_sample_gaussian(struct nk_region *region,
                                       const struct nk_sample_options *options);
struct nk_vectors *nki_sample_paths(struct nk_region *region,
                                    const struct nk_sample_options *options);

#endif
