/* The exact search for neighbours. */
#ifndef GEOMETRY_KNN_EXACT_H
#define GEOMETRY_KNN_EXACT_H

#include "geometry/knn_candidates.h"

struct nki_base {
  struct nki_rows rows;
  enum nk_metric metric;
  double longest; /* of the rows, from the frame's centre */
  struct nki_frame frame;
  double *centre;           /* [dim] of the frame */
  size_t *order;            /* [n] in which a search takes the rows */
  struct nki_floats floats; /* the rows in that order and frame; empty where they are too many */
};

/* Fills search->out with what comparing every pair by nki_distance gives. */
int nki_search_exact(const struct nki_search *search);

/* The least score that float products can give a base row within `kth` of a query row. All lengths
 * are L2 in a frame with the given centre_length; `length` is the query row's. Minus infinity where
 * nothing is known. */
double nki_least_score(double length, double kth, double centre_length, size_t dim);

#endif
