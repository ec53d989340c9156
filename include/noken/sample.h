/* Nokens: vectors x = origin + r u that are no token's embedding, at given distances from what a
 * region calls in distribution or from their origin. The origin is the region's centroid, a token
 * or a row of a vector set, u a random unit direction, and r the smallest radius at which the
 * chosen measure of x has the given value. Also paths between rows of a set, draws from the
 * region's normal distribution, matches of tokens, and controls. */
#ifndef NOKEN_SAMPLE_H
#define NOKEN_SAMPLE_H

#include <noken/base.h>
#include <noken/region.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nk_direction_kind {
  NK_DIRECTION_ISOTROPIC,  /* uniform on the sphere */
  NK_DIRECTION_COVARIANCE, /* as the tokens spread: a draw from their normal distribution */
  NK_DIRECTION_COMPONENTS, /* uniform within principal components first to last: pc:A-B */
  NK_DIRECTION_TOKEN,      /* from the origin towards a random token */
  NK_DIRECTION_PAIR,       /* from one random token, which is the origin, towards another */
  NK_DIRECTION_DIFFERENCE, /* the difference of two random tokens, from the origin */
  NK_DIRECTION_TOWARDS,    /* from the origin towards a random row of the options' set */
  NK_DIRECTION_ROW,        /* from the origin towards row `first` of that set */
  NK_DIRECTION_MIXTURE,    /* the sum of the unit vectors of two others */
  NK_DIRECTION_GRADIENT,   /* the gradient at the origin, by the options' `gradient` */
  NK_DIRECTION_NATURAL,    /* the covariance of the tokens times it: the steepest way by Mahalanobis
                            * distance */
  NK_DIRECTION_ALONG,      /* a row of the options' `along`, of the ray's number */
  NK_N_DIRECTION_KINDS
};

/* A direction other than a mixture. */
struct nk_direction_part {
  enum nk_direction_kind kind;
  size_t first, last; /* components, counted from 1; or the row, counted from 0 */
};

struct nk_direction {
  enum nk_direction_kind kind;
  size_t first, last;                /* as of a part */
  struct nk_direction_part parts[2]; /* NK_DIRECTION_MIXTURE: what is added */
};

/* Reads "isotropic", "covariance", "pc:3-10" or "pc:3", "token", "pair", "difference", "towards",
 * "towards:7" (row 7), "gradient", "natural", "along", or "mixture:A+B" of two of these. Returns
 * NK_OK or NK_EUSAGE. */
NK_API int nk_direction_parse(const char *text, struct nk_direction *direction);

enum nk_origin {
  NK_ORIGIN_CENTROID,
  NK_ORIGIN_TOKEN,  /* the one with id origin_id */
  NK_ORIGIN_TOKENS, /* a random token for each noken */
  NK_ORIGIN_SET     /* each row of the options' set */
};

/* What the distances of nokens measure. */
enum nk_measure {
  NK_MEASURE_METRIC, /* a metric of x: how far it is from what the region calls in distribution */
  NK_MEASURE_RADIUS, /* |x - origin| */
  NK_MEASURE_ANGLE   /* degrees between origin - c and x - c; c: centroid or 0 */
};

/* What becomes of a ray that never reaches a distance: a cosine distance beyond the direction's
 * own, or a value that the origin already exceeds. */
enum nk_unreached {
  NK_UNREACHED_ERROR, /* the call fails */
  NK_UNREACHED_SKIP,  /* no noken at that distance */
  NK_UNREACHED_REDRAW /* another ray takes its place at every distance, up to 1000 times */
};

enum nk_sample_kind {
  NK_SAMPLE_RAYS,     /* nokens on rays */
  NK_SAMPLE_GAUSSIAN, /* draws from the region's normal distribution, with its shrunk covariance */
  NK_SAMPLE_LERP,     /* paths between rows of the options' set: (1 - t) a + t b */
  /* Paths at a constant angular speed about 0 (Shoemake, SIGGRAPH 1985): the unit vector (sin((1 -
   * t) w) a / |a| + sin(t w) b / |b|) / sin(w), w the angle between a and b, times the length (1 -
   * t) |a| + t |b| */
  NK_SAMPLE_SLERP
};

/* Valid when zeroed: one noken in an isotropic direction from the centroid, at the 0.99 quantile of
 * the tokens' Mahalanobis distances. */
struct nk_sample_options {
  size_t n;              /* rays per direction (and origin of a set), or draws; 0: 1 */
  enum nk_metric metric; /* of the distances; default: NK_METRIC_MAHALANOBIS */
  /* The distances: these values > 0 in the metric's units, then these quantiles in [0, 1] of the
   * distances of the region's tokens that it was not fitted on, then these multiples > 0 of their
   * largest. Without any: the quantile 0.99. */
  const double *distances, *quantiles, *times;
  size_t n_distances, n_quantiles, n_times;
  const struct nk_direction *directions; /* [n_directions] */
  size_t n_directions;                   /* 0: isotropic */
  enum nk_origin origin;                 /* default: NK_ORIGIN_CENTROID */
  int64_t origin_id;
  uint64_t seed;
  enum nk_unreached unreached; /* default: NK_UNREACHED_ERROR */

  enum nk_sample_kind kind; /* default: NK_SAMPLE_RAYS */
  /* [any, dim of the region] for NK_ORIGIN_SET, directions towards its rows, and paths */
  const struct nk_vectors *set;
  enum nk_measure measure; /* of the distances; without NK_MEASURE_METRIC only `distances` */
  bool about_zero;         /* NK_MEASURE_ANGLE: c is 0, not the centroid */
  /* x is then scaled to the origin's length, with r such that the measure has its value after that:
   * for NK_MEASURE_RADIUS, for NK_MEASURE_ANGLE about zero, and for the metrics l2 and cosine. */
  bool keep_norm;
  bool with_origin; /* each ray begins with its origin itself, at radius 0 */
  /* NK_DIRECTION_GRADIENT and NK_DIRECTION_NATURAL, which are not of random origins: out [n, dim] =
   * gradients at the origins [n, dim], all rows of the set or the one origin. Called once, with
   * `user`; returns NK_OK or, after nk_fail, a negative code. A gradient of 0 has no direction. */
  int (*gradient)(void *user, const float *origins, size_t n, float *out);
  void *user;
  /* NK_DIRECTION_ALONG: vectors of any length above 0, [n, dim] one for each ray of an origin, or
   * [rows of set, n, dim] for each ray. toward is then the id of the row. */
  const struct nk_vectors *along;
  /* Paths: from and to these rows of set, pairs [n_pairs, 2], by id or with pairs_are_rows by their
   * number from 0, in `steps` steps (0: 10). */
  const int64_t *pairs;
  size_t n_pairs, steps;
  bool pairs_are_rows;
};

/* Nokens on rays, n rays for each direction: direction by direction, distance by distance. The i-th
 * noken of a direction lies on the same ray at every distance, and the ray depends on the seed, the
 * direction's kind and i alone: distances are compared on the same rays, and the first k of n
 * nokens are those of any other n. NK_METRIC_KNN is by l2. options NULL: all defaults. Columns of
 * the set: distance, achieved, quantile (the part of the region's tokens, of those it was not
 * fitted on, that lie nearer), times (in units of their largest distance), l2, cosine, mahalanobis,
 * knn, nearest (a token's id), p_value, origin (a token's id, -1 for the centroid), toward (a
 * token's id, -1 where the direction has none), direction (its place in the options; the metadata
 * noken.codes.direction names them) and ray (a number of the ray, different for each ray of the set
 * of nokens). quantile and times are of NK_MEASURE_METRIC alone. NK_UNREACHED_SKIP and
 * NK_UNREACHED_REDRAW warn of how many rays never reach a distance, and what is left is a selection
 * of directions. The metadata noken.p_min is the least p_value that the region can give.
 *
 * From the rows of a set (at most 2^24, and 2^24 rays each) nokens come origin by origin, direction
 * by direction, ray by ray and distance by distance, and a ray depends on the seed, the direction's
 * kind, the origin's row and its number there alone. A noken has the text, the columns (as set_NAME
 * where nokens of any kind have one of that name) and the metadata of its origin; origin and the
 * toward of directions towards rows are ids of the set, and origin_row is the row. The column
 * radius, |x - origin| of the values stored, is there with it, with with_origin and with the other
 * measures. The distance of an origin is 0, or NaN for a metric.
 *
 * Draws have the columns of a noken's place, of which distance is the Mahalanobis distance. Paths
 * have steps + 1 rows a pair, the first and the last of which are the rows themselves; region may
 * be NULL, else their columns are those of a noken's place, and pair (from 0), t, a and b (ids).
 *
 * NULL on failure: a distance that a ray never reaches is one, and named; no noken is left; an
 * origin without an angle or a length; paths by slerp from a row of zeros, or to the opposite
 * direction; and, but for paths, for a region of NULL, which leaves the message of the call that
 * gave it. */
NK_API struct nk_vectors *nk_sample(struct nk_region *region,
                                    const struct nk_sample_options *options);

/* For each row of set [n rows], a vector set of (glitch) tokens, `n` nokens elsewhere with that
 * row's length, Mahalanobis and k-NN distance, each to 1e-5. Columns as nk_sample's, of which
 * distance is the row's Mahalanobis distance, and match (the row's id) and norm. NULL on failure.
 */
NK_API struct nk_vectors *nk_sample_match(struct nk_region *region, const struct nk_vectors *set,
                                          size_t n, uint64_t seed);

/* n nokens from inside the region, as controls, by a smoothed bootstrap (Silverman, "Density
 * estimation", 1986, section 6.4): mean + sqrt(1 - h^2) (token - mean) + h e, with a random token
 * and e drawn from the region's normal distribution, which keeps mean and covariance. h is 0.2:
 * with more noise a model no longer takes a draw for an ordinary token. Draws outside at level 0.05
 * are drawn again. Columns as nk_sample's, of which distance is the Mahalanobis distance,
 * and blend (h). They share no random numbers with nk_sample's nokens of the same seed. NULL on
 * failure. */
NK_API struct nk_vectors *nk_sample_inside(struct nk_region *region, size_t n, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
