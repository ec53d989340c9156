/* Regions from within the library. */
#ifndef GEOMETRY_REGION_H
#define GEOMETRY_REGION_H

#include <noken/region.h>
#include <stdbool.h>

/* Whether a kind uses one of the three scores. */
bool nki_region_takes(enum nk_region_kind kind, enum nk_region_kind score);

/* The tokens' own distances by a metric, [region->tokens->n], as nk_region_distances measures them,
 * a fitting token not among its own neighbours. Those after the first n_fit had no part in what
 * they are measured from. Computed when first asked for where the file does not have them (knn).
 * NULL on failure: knn without tokens. */
const double *nki_region_own(struct nk_region *region, enum nk_metric metric);

/* A set of n tokens: values is taken over (NULL: none are kept), the rest copied; text NULL: no
 * texts. */
struct nk_vectors *nki_region_tokens(size_t n, size_t dim, float *values, const int64_t *ids,
                                     const void *text, const int64_t *offsets);

/* The metadata that a region keeps of its set: model, space and history; ended by NULL. */
extern const char *const nki_region_metadata[];

#endif
