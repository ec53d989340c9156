/* What the files of nk_search share: the coordinates in which nokens are moved, their constraint,
 * and the ascent. Rows of coordinates are in double, relative to a centre, and whitened by the
 * region's covariance where the constraint is measured by it. */
#ifndef NOKEN_FORWARD_SEARCH_H
#define NOKEN_FORWARD_SEARCH_H

#include <noken/region.h>
#include <noken/search.h>
#include <stdbool.h>
#include <stddef.h>

#include "sample/internal.h"

/* ---- Constraints (search_constraint.c) ---- */

struct nki_constraint {
  enum nk_constraint kind;
  double bound;             /* of the region a p-value that scores can have */
  struct nk_region *region; /* NULL for a radius */
  const double *mean;       /* [dim] its centre; NULL for a radius */
  size_t dim;
  bool whitened;
  enum nk_metric metric;
  struct nki_distance_surface *surface; /* of a distance */
  double level;                         /* of the region: the largest score inside */
  struct nki_base *base;                /* of the region: its tokens, where it takes neighbours */
};

/* The constraint of a search; NK_EUSAGE for a bound outside its range. Close it in any case. */
int nki_constraint_open(struct nk_region *region, const struct nk_search_options *options,
                        struct nki_constraint *constraint);
void nki_constraint_close(struct nki_constraint *constraint);

/* z [n, dim] = coordinates of x [n, dim]; origins [n, dim] are the centres where there is no mean.
 */
void nki_to_coordinates(const struct nki_constraint *constraint, const float *origins,
                        const float *x, size_t n, double *z);
/* The other way round; work [n, dim]. Floats are rounded towards origins. */
void nki_to_vectors(const struct nki_constraint *constraint, const float *origins, const double *z,
                    size_t n, double *work, float *x);
/* In place: gradients [n, dim] with respect to vectors become those with respect to coordinates. */
void nki_to_coordinate_gradients(const struct nki_constraint *constraint, double *gradients,
                                 size_t n);

/* Moves z [n, dim] to where the constraint holds. A row that cannot be moved there becomes that of
 * from [n, dim], where it holds; n_stuck: their number, or NULL. */
int nki_constrain(const struct nki_constraint *constraint, const double *from, double *z, size_t n,
                  size_t *n_stuck);
/* Removes from gradients [n, dim] at z [n, dim] and x [n, dim] what leads off a surface on which
 * rows have to stay. */
int nki_constrain_gradients(const struct nki_constraint *constraint, const double *z,
                            const float *x, size_t n, double *gradients);

/* ---- The ascent (search_ascent.c) ---- */

/* Rows that ascend at once. */
struct nki_ascent {
  const struct nk_objective_options *objective;
  const struct nki_constraint *constraint;
  size_t n, n_steps;
  size_t n_restarts;      /* rows of one noken, one after the other */
  const float *origins;   /* [n, dim] or NULL */
  const double *size;     /* [n] of the constraint about the centre */
  double *z;              /* [n, dim] in: the starts, where the constraint holds */
  float *best;            /* out: [n, dim] the vectors with the largest objectives */
  double *value;          /* out: [n] these */
  double *start;          /* out: [n] of the starts */
  size_t *steps;          /* out: [n] gradients before that vector */
  size_t n_done, n_total; /* of all rows of the search, for progress */
};

int nki_ascend(struct nki_ascent *ascent);

#endif
