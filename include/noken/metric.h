/* The ways in which distances are measured here, and their names on command lines. */
#ifndef NOKEN_METRIC_H
#define NOKEN_METRIC_H

#ifdef __cplusplus
extern "C" {
#endif

enum nk_metric {
  NK_METRIC_L2,          /* Euclidean */
  NK_METRIC_COSINE,      /* 1 - cos: 0 in the same direction, 2 in the opposite one */
  NK_METRIC_MAHALANOBIS, /* in standard deviations of a distribution */
  NK_METRIC_KNN,         /* L2 distance to the k-th nearest of a set of rows */
  NK_N_METRICS
};

/* "l2", "cosine", "mahalanobis", "knn". */
const char *nk_metric_name(enum nk_metric metric);

#ifdef __cplusplus
}
#endif
#endif
