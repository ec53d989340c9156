/* Regions from within the library. */
#ifndef GEOMETRY_REGION_H
#define GEOMETRY_REGION_H

#include <noken/region.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a kind uses the distance of one of the other three. */
bool nki_region_takes(enum nk_region_kind kind, enum nk_region_kind distance);

/* ---- Scores ---- */

enum {
  NKI_N_JOINT = 5,  /* features of the joint distance */
  NKI_N_RANKED = 4, /* rows of `ranks`: three features, and the joint distance */
  NKI_N_LEGACY = 3  /* rows of `ranks` in files without a joint distance */
};

#define NKI_NO_TOKENS SIZE_MAX

/* Rows to score, x [n, dim]. */
struct nki_region_rows {
  const float *x;
  size_t n;
  size_t token; /* they are the region's tokens from this one on, not fitted; or NKI_NO_TOKENS */
  const double *knn; /* [n] their distances to the k-th neighbour, where known; or NULL */
  int64_t *kth;      /* out: [n] rows of their k-th neighbours, where they are searched; or NULL */
  const struct nki_base *base; /* the fitting tokens, prepared (nki_region_base); or NULL */
  double inside;               /* nki_region_excess leaves rows with a score up to it out */
};

/* What a combined score is made of. */
enum nki_feature { NKI_NORM, NKI_L2, NKI_MAHALANOBIS, NKI_KNN, NKI_RESIDUAL, NKI_N_FEATURES };
/* The features that a region judges alone, [NKI_N_RANKED - 1]. */
const enum nki_feature *nki_region_alone(const struct nk_region *region);

/* out [n] = scores of the region's kind. */
int nki_region_score(const struct nk_region *region, const struct nki_region_rows *rows,
                     double *out);
/* out [NKI_N_FEATURES, n] */
int nki_region_features(const struct nk_region *region, const struct nki_region_rows *rows,
                        double *out);
/* out [n] = Mahalanobis distances of the logarithms of features [NKI_N_FEATURES, n]; slopes [n,
 * NKI_N_FEATURES] = their derivatives by each feature, 0 where a distance or feature is 0; or NULL.
 */
int nki_region_joint(const struct nk_gaussian *joint, const double *features, size_t n, double *out,
                     double *slopes);
/* out [n] = combined scores from features [NKI_N_FEATURES, n]; joint [n]: their joint distances,
 * NULL for a region without. */
void nki_region_combine(const struct nk_region *region, const double *features, const double *joint,
                        size_t n, double *out);
/* The values between which a feature's rank among sorted [m] is at most so far from the middle. */
void nki_rank_limits(const double *sorted, size_t m, double rank, double *least, double *most);
/* Fits ranks and joint of a combined region to the tokens that rank the features. */
int nki_region_fit_combined(struct nk_region *region, const struct nki_region_rows *rows);

/* A score is at most `level` where each of a few features is between the values that have this
 * score: how far rows are beyond these, and in which directions that grows. A score of ranks itself
 * is linear from one token to the next only, and says little about where its surface lies.
 *   given      the rows, without kth
 *   scores     [n] as nki_region_score
 *   excess     [n, n_limits] (f - value) / value of the value that is the closer one to feature f,
 *              the other way round for the least; positive outside
 *   gradients  [n, n_limits, dim] of that with respect to x; the k-th neighbour is held
 * excess and gradients begin with those of the rows that are not left out, in order. */
int nki_region_excess(const struct nk_region *region, double level,
                      const struct nki_region_rows *given, double *scores, double *excess,
                      double *gradients);
/* How many features have limits. */
size_t nki_region_n_limits(const struct nk_region *region);

/* gradients [n, dim] = those of nki_region_distances with respect to x; zeros where a distance is
 * 0. The k-th neighbour is held. */
int nki_region_distance_gradients(const struct nk_region *region, enum nk_metric metric,
                                  const float *x, size_t n, double *gradients);

/* out [n] = distances of vectors x [n, dim] by a metric: from the mean of the fitting half (l2,
 * cosine), from its distribution (mahalanobis), to the k-th nearest token of it (knn, by the
 * region's metric). NK_METRIC_DEFAULT is mahalanobis. NK_EUSAGE for knn without tokens. */
int nki_region_distances(const struct nk_region *region, enum nk_metric metric, const float *x,
                         size_t n, double *out);

/* out [n] = Mahalanobis distances of x [n, dim]. */
int nki_region_mahalanobis(const struct nk_region *region, const float *x, size_t n, double *out);
/* The fitting tokens for many searches of neighbours (geometry/neighbours.h); NULL on failure. */
struct nki_base *nki_region_base(const struct nk_region *region);
/* out = distances to the k-th nearest (or the last there is) of the fitting tokens: of x [n, dim],
 * or for x NULL of each of those themselves to the others, [n_fit]. kth = the rows of those
 * neighbours; or NULL. base: of the region, or NULL. */
int nki_region_knn(const struct nk_region *region, const struct nki_base *base, const float *x,
                   size_t n, double *out, int64_t *kth);

/* ---- Tokens and files ---- */

/* The tokens' own distances by a metric, [region->tokens->n], as nki_region_distances measures
 * them, a fitting token not among its own neighbours. Those after the first n_fit had no part in
 * what they are measured from. Computed when first asked for where the file does not have them
 * (knn). NULL on failure: knn without tokens. */
const double *nki_region_own(struct nk_region *region, enum nk_metric metric);

/* Rounds x [n] to a half type and back, for keep_rounded in place; returns how many values that
 * changes. */
size_t nki_round_trip(float *x, size_t n, enum nk_dtype dtype, bool keep_rounded);

/* A set of n tokens: values is taken over (NULL: none are kept), the rest copied; text NULL: no
 * texts. */
struct nk_vectors *nki_region_tokens(size_t n, size_t dim, float *values, const int64_t *ids,
                                     const void *text, const int64_t *offsets);

/* The metadata that a region keeps of its set: model, space and history; ended by NULL. */
extern const char *const nki_region_metadata[];

#endif
