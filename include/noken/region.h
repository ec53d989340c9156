/* In-distribution regions: a score of how far a vector lies from where the tokens lie, fitted on
 * one half of them and calibrated on the other, so that its p-value is a split-conformal one
 * (conformal.h): a token drawn like the others is called outside at level a with a probability of
 * at most a.
 *
 * The three scores are distances, large for what lies too far out. What training never showed a
 * model can lie too far in instead, in a tight ball near the centre, where no ordinary token is.
 *
 * The combined score sees both. The fitting half is split again, four to one: the first part fits
 * the three scores s_j, the second says which values of them are usual:
 *   r_j(x) = how far the rank of s_j(x) among the scores of the second part lies from the middle
 *            rank, linear between them; beyond the largest (least) it grows by 1 for each distance
 *            of that from the median
 *   s(x) = max_j r_j(x)
 * s is one score, made from the fitting half alone. The calibrating half and a new token are
 * exchangeable given it, so its p-value is valid as any other's; no correction for taking the
 * largest of three on two sides is needed, as the calibrating tokens are judged by the same
 * maximum. (Tokens of the fitting half were close to what was fitted to them, so theirs are no
 * p-values.)
 *
 * The file (safetensors, noken.kind = region) holds all that scoring and sampling need, with d =
 * dim and n = tokens in it, those of the fitting half first:
 *   mean         F64 [d]              of the fitting half
 *   covariance   F64 [d (d + 1) / 2]  shrunk; lower triangle, row by row
 *   eigenvalues  F64 [d], components F32 [d, d]: of that covariance (subspace and combined)
 *   calibration  F64 [m]              ascending scores of the calibrating half
 *   ranks        F64 [3, r]           ascending scores for the ranks (combined)
 *   id           I64 [n], text.bytes U8, text.offsets I64 [n + 1]
 *   tokens       F32, F16 or BF16 [n, d]; unless left out
 *   own.l2, own.cosine, own.mahalanobis, own.knn: F64 [n], the tokens' own distances
 */
#ifndef NOKEN_REGION_H
#define NOKEN_REGION_H

#include <noken/base.h>
#include <noken/geometry.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Conformal p-values ==== */

/* Conformal p-values: how strange is a new object, judged by a score, beside objects that are known
 * to be ordinary? With the scores of m ordinary objects that had no part in making the score,
 *   p = (1 + #{their scores >= its score}) / (m + 1)
 * is at most a with a probability of at most a when the new object is drawn as they were, whatever
 * the score and the distribution (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
 * World", 2005; Papadopoulos et al. 2002 for the split into two halves). */

/* The scores that p-values are read from. */
struct nk_conformal {
  size_t n;
  double *scores; /* [n] ascending */
};

/* Takes a copy of scores [n]. NULL on failure: no scores, one that is NaN. */
NK_API struct nk_conformal *nk_conformal_new(const double *scores, size_t n);
NK_API void nk_conformal_free(struct nk_conformal *conformal);
/* The p-value of a score, in [1 / (n + 1), 1]; NaN for NaN. */
NK_API double nk_conformal_p(const struct nk_conformal *conformal, double score);
/* The least score that is called outside at this level: the p-value of anything above or at it is
 * at most level. Infinity when no score is enough, with fewer than 1 / level - 1 scores. */
NK_API double nk_conformal_threshold(const struct nk_conformal *conformal, double level);

/* What is ordinary for short vectors of features of different kinds and units (an entropy, a
 * probability, a logarithm of a norm): scored by the Mahalanobis distance of the standardized
 * features, fitted on one half of the reference and calibrated on the other. */
struct nk_typical;

/* From reference objects, features [n, dim], all finite; a seeded half of them is fitted. A feature
 * that never differs gets a spread of 1e-6 of its size. NULL on failure: n below 4, a value that is
 * not finite. */
NK_API struct nk_typical *nk_typical_new(const double *features, size_t n, size_t dim,
                                         uint64_t seed);
NK_API void nk_typical_free(struct nk_typical *typical);
/* scores [n] (may be NULL) and p_values [n] of new objects features [n, dim]. */
NK_API int nk_typical_score(const struct nk_typical *typical, const double *features, size_t n,
                            double *scores, double *p_values);

/* ==== Regions ==== */

enum nk_region_kind {
  NK_REGION_MAHALANOBIS, /* distance by the shrunk covariance */
  NK_REGION_KNN,         /* distance to the k-th nearest token: Sun et al. (2022) */
  NK_REGION_SUBSPACE,    /* length of what the top principal components leave over */
  NK_REGION_COMBINED,    /* the three above as one score, too far out or too far in */
  NK_N_REGION_KINDS
};
/* "mahalanobis", "knn", "subspace", "combined". */
NK_API const char *nk_region_kind_name(enum nk_region_kind kind);

/* How a region keeps its tokens. A type that cannot hold every value as it is rounds the tokens
 * before anything is fitted, so that the region agrees with its file. */
enum nk_region_tokens {
  NK_TOKENS_AUTO, /* the smallest of BF16, F16, F32 that holds every value as it is */
  NK_TOKENS_F32,
  NK_TOKENS_F16,
  NK_TOKENS_BF16,
  NK_TOKENS_NONE /* not kept: no knn, no neighbours, no sampling from tokens */
};

struct nk_region_options {
  enum nk_region_kind kind;
  size_t k;              /* knn: which neighbour, 0 for 10 */
  enum nk_metric metric; /* knn: NK_METRIC_L2 or NK_METRIC_COSINE */
  size_t n_components; /* subspace: how many, SIZE_MAX for as many as explain 90% of the variance */
  uint64_t seed;       /* of the split */
  enum nk_region_tokens tokens;
};

/* Read-only for its users. */
struct nk_region {
  enum nk_region_kind kind;
  size_t dim;
  size_t k;
  enum nk_metric metric;
  size_t n_components;
  uint64_t seed;
  size_t n_fit;               /* tokens that scores are fitted on: the first rows of `tokens` */
  size_t n_ranks;             /* combined: tokens after those, for the ranks; else 0 */
  size_t n_calibration;       /* and the rest */
  enum nk_region_tokens keep; /* how the file holds the tokens; never AUTO */
  struct nk_vectors *tokens;  /* ids, texts, metadata; values NULL when they were not kept */
  nk_gaussian *gaussian;      /* of the n_fit tokens */
  struct nk_pca *basis;       /* all components of its covariance; NULL when the file has none */
  struct nk_conformal *calibration;
  double *ranks;             /* [3, n_ranks] */
  double *own[NK_N_METRICS]; /* [tokens->n] distances, or NULL: see nk_region_own */
};

/* A region of the rows of set that rows [n] lists (NULL: all n). The tokens are copied. NULL on
 * failure: fewer than 4 rows (combined: 10), rows that do not differ, a row that is not finite,
 * more components than dim - 1. */
NK_API struct nk_region *nk_region_fit(const struct nk_vectors *set, const size_t *rows, size_t n,
                                       const struct nk_region_options *options);
NK_API void nk_region_free(struct nk_region *region);

NK_API int nk_region_write(const struct nk_region *region, struct nk_output *output);
NK_API struct nk_region *nk_region_read(const char *path);

/* scores and p_values [n] (either may be NULL) of the rows of x [n, dim]. */
NK_API int nk_region_score(const struct nk_region *region, const float *x, size_t n, double *scores,
                           double *p_values);

/* The tokens' own distances by a metric, [region->tokens->n]: from the mean of the fitting half
 * (l2, cosine), from its distribution (mahalanobis), to the k-th nearest token of it, itself left
 * out (knn, by the region's metric). Those after the first n_fit had no part in what they are
 * measured from. Computed when first asked for where the file does not have them (knn). NULL on
 * failure: knn without tokens. */
NK_API const double *nk_region_own(struct nk_region *region, enum nk_metric metric);
/* Distances of other vectors x [n, dim], measured in the same way. */
NK_API int nk_region_distances(const struct nk_region *region, enum nk_metric metric,
                               const float *x, size_t n, double *out);

/* All principal components of the region's covariance, computed when the file has none (seconds for
 * dim in the thousands). NULL on failure. */
NK_API const struct nk_pca *nk_region_basis(struct nk_region *region);

/* The region's normal distribution seen in components a and b (from 0) of a basis (its own, or one
 * that nk-pca saved): centre [2], covariance [3] as aa, ab, bb. */
NK_API int nk_region_projection(const struct nk_region *region, const struct nk_pca *basis,
                                size_t a, size_t b, double centre[2], double covariance[3]);
/* Points [n] around the ellipse that holds `part` (0.95) of a normal distribution in two
 * dimensions; the first comes back as the last. */
NK_API void nk_ellipse(const double centre[2], const double covariance[3], double part, size_t n,
                       double *x, double *y);

/* keep [n] = 0 for rows of x [n, dim] that are padding and no tokens: all zeros, or an exact copy
 * of an earlier row; else 1. Returns 0 or NK_EMEMORY. */
NK_API int nk_ordinary_rows(const float *x, size_t n, size_t dim, unsigned char *keep);

#ifdef __cplusplus
}
#endif
#endif
