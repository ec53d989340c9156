/* Conformal p-values: how strange is a new object, judged by a score, beside objects that are known
 * to be ordinary? With the scores of m ordinary objects that had no part in making the score,
 *   p = (1 + #{their scores >= its score}) / (m + 1)
 * is at most a with a probability of at most a when the new object is drawn as they were, whatever
 * the score and the distribution (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
 * World", 2005; Papadopoulos et al. 2002 for the split into two halves). */
#ifndef NOKEN_CONFORMAL_H
#define NOKEN_CONFORMAL_H

#include <noken/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The scores that p-values are read from. */
struct nk_conformal {
  size_t n;
  double *scores; /* [n] ascending */
};

/* Takes a copy of scores [n]. NULL on failure: no scores, one that is NaN. */
struct nk_conformal *nk_conformal_new(const double *scores, size_t n);
void nk_conformal_free(struct nk_conformal *conformal);
/* The p-value of a score, in [1 / (n + 1), 1]; NaN for NaN. */
double nk_conformal_p(const struct nk_conformal *conformal, double score);
/* The least score that is called outside at this level: the p-value of anything above or at it is
 * at most level. Infinity when no score is enough, with fewer than 1 / level - 1 scores. */
double nk_conformal_threshold(const struct nk_conformal *conformal, double level);

/* What is ordinary for short vectors of features of different kinds and units (an entropy, a
 * probability, a logarithm of a norm): scored by the Mahalanobis distance of the standardized
 * features, fitted on one half of the reference and calibrated on the other. */
struct nk_typical;

/* From reference objects, features [n, dim], all finite; a seeded half of them is fitted. A feature
 * that never differs gets a spread of 1e-6 of its size. NULL on failure: n below 4, a value that is
 * not finite. */
struct nk_typical *nk_typical_new(const double *features, size_t n, size_t dim, uint64_t seed);
void nk_typical_free(struct nk_typical *typical);
/* scores [n] (may be NULL) and p_values [n] of new objects features [n, dim]. */
int nk_typical_score(const struct nk_typical *typical, const double *features, size_t n,
                     double *scores, double *p_values);

#ifdef __cplusplus
}
#endif
#endif
