/* What the files of lib/glitch share. */
#ifndef GLITCH_INTERNAL_H
#define GLITCH_INTERNAL_H

#include <noken/glitch.h>

/* What one matrix shows. */
struct nki_evidence {
  double *trained; /* [n] log evidence that a row was trained, on a scale that grows with the
                    * logarithm of its distance from the ball; about 0 inside it */
  bool *member;    /* [n] rows inside the ball */
  double *centre;  /* [dim] of the ball */
  double radius;   /* root mean square distance of its rows from the centre */
};

struct nk_glitch_private {
  struct nki_evidence output, input; /* .trained NULL: not measured */
};

/* Measures the rows of x [n, dim] against the ball that unused [n_unused >= 3] mark. */
int nki_evidence(const float *x, size_t n, size_t dim, const size_t *unused, size_t n_unused,
                 struct nki_evidence *out);
void nki_evidence_free(struct nki_evidence *evidence);

/* out [n] = the cosine distance, 1 - cos, between x - origin and target - origin for each row of x
 * [n, dim]; with `axis`, a unit vector, what lies along it is left out of both. origin and axis may
 * be NULL. NaN where one of the two has no length. */
void nki_angles(const float *x, size_t n, size_t dim, const double *origin, const double *target,
                const float *axis, double *out);

/* A new column of n values, for the caller to fill; NULL when there is no memory. */
double *nki_column(struct nk_glitch *glitch, const char *name, bool large_is_odd);

/* The indicators of Land and Bartolo (2024) on the output matrix, and `exposure`. */
int nki_output_columns(struct nk_glitch *glitch, const float *x, size_t dim);
/* Length, distance from the centroid, Mahalanobis and k-NN distance in the input matrix. */
int nki_input_columns(struct nk_glitch *glitch, const float *x, size_t dim,
                      const struct nk_glitch_options *options);

#endif
