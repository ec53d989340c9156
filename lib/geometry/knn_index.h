/* Searches with an index that FAISS makes from a description. */
#ifndef GEOMETRY_KNN_INDEX_H
#define GEOMETRY_KNN_INDEX_H

#include "geometry/neighbours.h"

/* Fills search->out with what the index of options proposes, distances computed in double. */
int nki_search_index(const struct nki_search *search, const struct nk_knn_options *options);

#endif
