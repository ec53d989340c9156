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
 * probability, a logarithm of a norm), by each feature alone and by all of them together. */
struct nki_typical;

enum { NKI_TYPICAL_LEAST = 4 }; /* reference objects */

/* From reference objects, features [n, dim], all finite. The first n_first features together weigh
 * as much as the others together. NULL on failure: n below NKI_TYPICAL_LEAST, a value that is not
 * finite. */
struct nki_typical *nki_typical_new(const double *features, size_t n, size_t dim, size_t n_first);
void nki_typical_free(struct nki_typical *typical);
/* p_values [n] of other objects, features [n, dim], all finite: at most a with a probability of at
 * most a for an object drawn as those of the reference. NK_OK or a negative code. */
int nki_typical_p(const struct nki_typical *typical, const double *features, size_t n,
                  double *p_values);
/* The p-value of a reference object among all of them. */
double nki_typical_p_of_member(const struct nki_typical *typical, size_t member);
/* The least p-value of other objects: 1 / (n + 1). */
double nki_typical_p_min(const struct nki_typical *typical);

#endif
