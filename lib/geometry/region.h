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
};

/* out [n] = scores of the region's kind. */
int nki_region_score(const struct nk_region *region, const struct nki_region_rows *rows,
                     double *out);
/* Fits ranks and joint of a combined region to the tokens that rank the features. */
int nki_region_fit_combined(struct nk_region *region, const struct nki_region_rows *rows);

/* out [n] = distances of vectors x [n, dim] by a metric: from the mean of the fitting half (l2,
 * cosine), from its distribution (mahalanobis), to the k-th nearest token of it (knn, by the
 * region's metric). NK_METRIC_DEFAULT is mahalanobis. NK_EUSAGE for knn without tokens. */
int nki_region_distances(const struct nk_region *region, enum nk_metric metric, const float *x,
                         size_t n, double *out);

/* out [n] = Mahalanobis distances of x [n, dim]. */
int nki_region_mahalanobis(const struct nk_region *region, const float *x, size_t n, double *out);
/* out = distances to the k-th nearest (or the last there is) of the fitting tokens: of x [n, dim],
 * or for x NULL of each of those themselves to the others, [n_fit]. */
int nki_region_knn(const struct nk_region *region, const float *x, size_t n, double *out);

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
