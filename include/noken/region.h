/* In-distribution regions: a score of how far a vector lies from where the tokens lie, fitted on
 * one half of them and calibrated on the other, so that its p-value is a split-conformal one: a
 * token drawn like the others is called outside at level a with a probability of at most a. With m
 * calibrating tokens no p-value is below 1 / (m + 1), the region's p_min.
 *
 * Three kinds score a vector by a distance, large for what lies too far out. What training never
 * showed a model can lie too far in instead, or at the right distance in a place where no token is.
 *
 * The combined score covers these. The fitting half is split again, four to one: the first part
 * fits the distances, the second gives the usual values of five features of a vector: its length
 * and its distance from the mean, to the k-th nearest token, by the covariance and in the residual
 * of the top components.
 *   r_j(x) = how far the rank of feature j (length, Mahalanobis, k-NN) among those of the second
 *            part lies from the middle rank, linear between them; beyond the largest (least) it
 *            grows by 1 for each distance of that from the median
 *   d(x) = the Mahalanobis distance of the logarithms of all five: features that do not fit each
 *          other, such as a usual length and few neighbours
 *   r_4(x) = half of the rank of d(x), which only a large distance makes unusual; beyond as above
 *   s(x) = max_j r_j(x)
 * s is one score, made from the fitting half alone. The calibrating half and a new token are
 * exchangeable given it, so its p-value is valid as any other's; no correction for taking the
 * largest of several on two sides is needed, as the calibrating tokens are judged by the same
 * maximum. (Tokens of the fitting half were close to what was fitted to them, so theirs are no
 * p-values.)
 *
 * The file (safetensors, noken.kind = region) holds all that scoring and sampling need, with d =
 * dim and n = tokens in it, those of the fitting half first:
 *   mean         F64 [d]              of the fitting half
 *   covariance   F64 [d (d + 1) / 2]  shrunk; lower triangle, row by row
 *   eigenvalues  F64 [d], components F32 [d, d]: of that covariance (subspace and combined)
 *   calibration  F64 [m]              ascending scores of the calibrating half
 *   ranks        F64 [4, r]           ascending length, mahalanobis, knn, d (combined)
 *   joint.mean   F64 [5], joint.covariance F64 [15]: of the logarithms of length, l2, mahalanobis,
 *                knn and residual (combined)
 *   id           I64 [n], text.bytes U8, text.offsets I64 [n + 1]
 *   tokens       F32, F16 or BF16 [n, d]; unless left out
 *   own.l2, own.cosine, own.mahalanobis, own.knn: F64 [n], the tokens' own distances
 * A combined region without joint.mean is of an earlier version: its ranks, F64 [3, r], are of
 * mahalanobis, knn and residual, and it is scored by these three.
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

enum nk_region_kind {
  NK_REGION_COMBINED,    /* too far out, too far in, or in an unusual place: the default */
  NK_REGION_MAHALANOBIS, /* distance by the shrunk covariance */
  NK_REGION_KNN,         /* distance to the k-th nearest token: Sun et al. (2022) */
  NK_REGION_SUBSPACE,    /* length of what the top principal components leave over */
  NK_N_REGION_KINDS
};
/* "combined", "mahalanobis", "knn", "subspace". */
NK_API extern const char *const nk_region_kind_names[NK_N_REGION_KINDS];

/* How a region keeps its tokens. A type that cannot hold every value exactly rounds the tokens
 * before anything is fitted, so that the region agrees with its file. */
enum nk_region_tokens {
  NK_TOKENS_AUTO, /* the smallest of BF16, F16, F32 that holds every value exactly */
  NK_TOKENS_F32,
  NK_TOKENS_F16,
  NK_TOKENS_BF16,
  NK_TOKENS_NONE /* not kept: no knn, no neighbours, no sampling from tokens */
};

/* Valid when zeroed. */
struct nk_region_options {
  enum nk_region_kind kind;     /* default: NK_REGION_COMBINED */
  size_t k;                     /* knn: which neighbour; 0: 10 */
  enum nk_metric metric;        /* knn: NK_METRIC_L2 (default) or NK_METRIC_COSINE */
  size_t n_components;          /* subspace: how many; 0: as many as explain 90% of the variance */
  uint64_t seed;                /* of the split */
  enum nk_region_tokens tokens; /* default: NK_TOKENS_AUTO */
};

/* The scores that p-values are read from: with m of them, of objects that had no part in making the
 * score, p = (1 + #{scores >= a new object's}) / (m + 1) is at most a with a probability of at most
 * a when the new object is drawn as they were, whatever the score and the distribution (Vovk,
 * Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; Papadopoulos et al. 2002
 * for the split into two halves). */
struct nk_conformal {
  size_t n;       /* m */
  double *scores; /* [n] ascending */
  double p_min;   /* 1 / (n + 1), the resolution: no p-value is smaller */
};

/* A p-value holds for one object, on average over the calibrating ones. What it is turned into for
 * more; delta is the probability, over the calibrating objects, with which it may fail. */
enum nk_guarantee {
  NK_GUARANTEE_CONDITIONAL, /* a p-value that holds given these calibrating objects */
  NK_GUARANTEE_FDR,         /* the least false discovery rate at which the object is reported */
  NK_GUARANTEE_FDP          /* the largest share of ordinary objects among those with p-values at
                               most this one's, whatever number of them is chosen */
};

/* Read-only for its users. */
struct nk_region {
  enum nk_region_kind kind;
  size_t dim;
  size_t k;
  enum nk_metric metric; /* NK_METRIC_L2 or NK_METRIC_COSINE */
  size_t n_components;
  uint64_t seed;
  size_t n_fit;                     /* tokens that scores are fitted on: the first of `tokens` */
  size_t n_ranks;                   /* combined: tokens after those, for the ranks; else 0 */
  size_t n_calibration;             /* and the rest */
  enum nk_region_tokens keep;       /* how the file holds the tokens; never AUTO */
  struct nk_vectors *tokens;        /* ids, texts, metadata; values NULL when they were not kept */
  struct nk_gaussian *gaussian;     /* of the n_fit tokens */
  struct nk_pca *basis;             /* see nk_region_basis; NULL until it is computed */
  struct nk_conformal *calibration; /* with p_min, the least p-value of this region */
  double *ranks;                    /* combined: [4, n_ranks]; [3, n_ranks] without joint */
  struct nk_gaussian *joint;        /* combined: of the logarithms of the features */
  double *own[NK_N_METRICS];        /* [tokens->n] the tokens' own distances, or NULL */
};

/* A region of the rows of set that rows [n] lists; rows NULL: of the first n, or with n 0 of all.
 * options NULL: all defaults. The tokens are copied. NULL on failure: fewer than 4 rows (combined:
 * 10), rows that do not differ, a row that is not finite, more components than dim - 1; and for a
 * set of NULL, which leaves the message of the call that gave it. */
NK_API struct nk_region *nk_region_fit(const struct nk_vectors *set, const size_t *rows, size_t n,
                                       const struct nk_region_options *options);
NK_API void nk_region_free(struct nk_region *region);

/* Writes the region; does not commit the output. */
NK_API int nk_region_write(const struct nk_region *region, struct nk_output *output);
/* Reads a region from path ("-" or NULL: standard input). NULL on failure. */
NK_API struct nk_region *nk_region_read(const char *path);

/* scores and p_values [n] (either may be NULL) of the rows of x [n, dim]. */
NK_API int nk_region_score(const struct nk_region *region, const float *x, size_t n, double *scores,
                           double *p_values);
/* The least score that is called outside at this level: the p-value of anything above or at it is
 * at most level. Infinity when no score is enough, for a level below p_min; NaN for NULL. */
NK_API double nk_region_threshold(const struct nk_region *region, double level);

/* out [n] = p_values [n] of new objects, turned into a guarantee. The objects are independent of
 * each other and of the calibrating ones; ordinary ones are drawn as these were. With m
 * calibrating:
 *   CONDITIONAL  h(p) with h(i / (m + 1)) = b_i, where U_(i) <= b_i for all i at once with
 *                probability 1 - delta, U_(i) the i-th smallest of m uniform numbers: P(h(p) <= a)
 *                given the calibrating objects is at most a for all a (Bates et al., "Testing for
 *                outliers with conformal p-values", 2023; the bounds are of one local level,
 *                Gontscharuk et al. 2016). 1 for p > 1/2.
 *   FDR          Benjamini and Hochberg (1995), which conformal p-values allow (Bates et al.);
 *                delta is ignored. Of conditional p-values it holds given the calibrating objects.
 *   FDP          V / R, with R the number of p-values at most this one and V a bound of how many of
 *                these objects are ordinary; all V hold at once with probability 1 - delta, by the
 *                joint law of the p-values (Gazin, Blanchard and Roquain 2024).
 * p_values are as nk_region_score gives them, or, for FDR, any. NK_OK; NK_EUSAGE: delta below 1e-9
 * or not below 1; NK_EDATA: a p-value outside (0, 1]; NK_EMEMORY. */
NK_API int nk_conformal_guarantee(const struct nk_conformal *calibration,
                                  enum nk_guarantee guarantee, double delta, const double *p_values,
                                  size_t n, double *out);

/* ==== A set as a whole ==== */

/* Valid when zeroed. */
struct nk_set_test_options {
  size_t n_permutations; /* 0: 999 */
  size_t most;           /* how many rows of the set, and how many tokens, are compared; 0: 2,000 */
  uint64_t seed;         /* of the rows and tokens, where there are more, and the permutations */
};

struct nk_set_test {
  size_t n_rows;   /* rows that are compared: all, or a random `most` of them */
  size_t n_tokens; /* with so many tokens of the calibrating half */
  bool whitened;   /* the coordinates of mmd2 and auc: whitened by the covariance, or raw */
  double mmd2;    /* unbiased estimate of the squared maximum mean discrepancy, by a Gaussian kernel
                    * whose bandwidth is the median distance of all rows and tokens compared */
  double auc;     /* share of pairs of a row and a token that the witness function (mean kernel with
                    * the rows, less that with the tokens) made without the two puts in this order:
                    * 0.5 for a set drawn as the tokens, 1 for one that is apart from them */
  double p_value; /* of a set drawn as the tokens; at least p_min = 1 / (permutations + 1) */
  double p_min;
  double p_simes; /* Simes' combination of the conformal p-values of all rows */
};

/* Is the set like the tokens? Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample
 * test" (2012): the maximum mean discrepancy between the set and tokens of the calibrating half, in
 * raw and in whitened coordinates; the larger, in standard deviations of its permutations, is
 * compared with those of permuted labels. p_value is at most a with a probability of at most a for
 * a set drawn independently as the calibrating tokens were, whatever their distribution. p_simes
 * has the same property (Simes 1986; Benjamini and Yekutieli 2001), since conformal p-values by one
 * calibrating half are positively dependent (PRDS: Bates et al. 2023); it sees a few rows that are
 * outside, p_value what many rows have in common.
 *
 * Calibrating tokens that are rows of the set (as the region keeps them) are not compared with it;
 * for those of the fitting half there is a warning. options NULL: all defaults. Time:
 * O((n_rows + n_tokens)^2 dim); memory: 16 bytes for each pair of them.
 * Returns NK_OK, or a negative code: the dimensions or both noken.space differ, fewer than 2 rows
 * or 10 tokens, a row that is not finite, half of all pairs are the same, the region has no tokens
 * (NK_EUSAGE). */
NK_API int nk_region_test(const struct nk_region *region, const struct nk_vectors *set,
                          const struct nk_set_test_options *options, struct nk_set_test *out);

/* ==== Components, padding ==== */

/* All principal components of the region's covariance, with its eigenvalues (divided by n, and
 * shrunk); computed when the file has none (seconds for dim in the thousands). The region's. NULL
 * on failure. */
NK_API const struct nk_pca *nk_region_basis(struct nk_region *region);

/* keep [n] = 0 for rows of x [n, dim] that are padding and no tokens: all zeros, or an exact copy
 * of an earlier row; else 1. Returns NK_OK or NK_EMEMORY. */
NK_API int nk_ordinary_rows(const float *x, size_t n, size_t dim, unsigned char *keep);

#ifdef __cplusplus
}
#endif
#endif
