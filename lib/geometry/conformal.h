/* Conformal p-values, and what is ordinary for short vectors of features. */
#ifndef GEOMETRY_CONFORMAL_H
#define GEOMETRY_CONFORMAL_H

#include <noken/region.h>
#include <stddef.h>
#include <stdint.h>

/* Takes a copy of scores [n]. NULL on failure: no scores, one that is NaN. */
struct nk_conformal *nki_conformal_new(const double *scores, size_t n);
void nki_conformal_free(struct nk_conformal *conformal);
/* The p-value of a score, in [p_min, 1]; NaN for NaN. */
double nki_conformal_p(const struct nk_conformal *conformal, double score);
/* As nk_region_threshold. */
double nki_conformal_threshold(const struct nk_conformal *conformal, double level);

/* What is ordinary for short vectors of features of different kinds and units (an entropy, a
 * probability, a logarithm of a norm): scored by the Mahalanobis distance of the standardized
 * features, fitted on one half of the reference and calibrated on the other. */
struct nki_typical;

/* From reference objects, features [n, dim], all finite; a seeded half of them is fitted. A feature
 * that never differs gets a spread of 1e-6 of its size. NULL on failure: n below 4, a value that is
 * not finite. */
struct nki_typical *nki_typical_new(const double *features, size_t n, size_t dim, uint64_t seed);
void nki_typical_free(struct nki_typical *typical);
/* scores [n] (may be NULL) and p_values [n] of new objects features [n, dim]. */
int nki_typical_score(const struct nki_typical *typical, const double *features, size_t n,
                      double *scores, double *p_values);
/* The least p-value there can be: 1 / (m + 1) for m calibrating objects. */
double nki_typical_p_min(const struct nki_typical *typical);

#endif
