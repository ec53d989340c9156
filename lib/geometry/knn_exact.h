/* The exact search for neighbours. */
#ifndef GEOMETRY_KNN_EXACT_H
#define GEOMETRY_KNN_EXACT_H

#include "geometry/knn_candidates.h"

/* Fills search->out with what comparing every pair by nki_distance gives. */
int nki_search_exact(const struct nki_search *search);

/* The least score that float products can give a base row within `kth` of a query row. All lengths
 * are L2 in a frame with the given centre_length; `length` is the query row's. Minus infinity where
 * nothing is known. */
double nki_least_score(double length, double kth, double centre_length, size_t dim);

#endif
