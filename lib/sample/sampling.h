/* One call of nk_sample for nokens on rays, as its files share it: sample.c reads the options,
 * place.c places nokens, columns.c describes them. */
#ifndef SAMPLE_SAMPLING_H
#define SAMPLE_SAMPLING_H

#include <noken/sample.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sample/internal.h"

struct sampling {
  struct nk_region *region;
  struct nk_sample_options options; /* without defaults: n, metric and directions are set */
  struct nki_space space;
  int64_t fixed;    /* as struct nki_bundle's */
  double *held_out; /* [n_held_out] ascending, the tokens' own distances; NK_MEASURE_METRIC */
  size_t n_held_out;
  double *distances; /* [n_distances] asked; the first is the origin's for with_origin */
  size_t n_distances;
  size_t n_rays;         /* of a direction */
  double *token_squares; /* [2, n_fit] for metric knn */
  float *gradients;      /* [rows of the set or 1, dim] at the origins, or NULL */
  float *centroid;       /* [dim] as a set holds it */
  struct nk_vectors *set;
  double *distance;                     /* [rows] asked */
  int64_t *origin, *toward, *direction; /* [rows]; direction -1 for a noken that is omitted */
  int64_t *ray;                         /* [rows] */
  double *radius;                       /* [rows] of the values stored, or NULL */
  double *angle;                        /* [rows] in degrees, for NK_MEASURE_ANGLE */
  size_t *origin_row;                   /* [rows] for NK_ORIGIN_SET */
  size_t *n_unreached;                  /* [n_directions, n_distances] rays */
  size_t n_redrawn;                     /* rays of the direction at work */
  /* The first failure in the order of rays: threads have messages of their own. */
  size_t failed_ray;
  int code;
  char message[512];
};

/* ---- Radii of a block of rays (radii.c) ---- */

#define NKI_RADIANS (3.14159265358979323846 / 180)

/* One thread's memory. */
struct nki_radii {
  struct nki_rays rays;
  double *white_origin;                 /* [n_rays, dim] whitened; metric mahalanobis */
  struct nki_neighbours *neighbours;    /* metric knn */
  struct nki_turning turning[NKI_RAYS]; /* about the centre of angles, and with keep_norm about 0 */
};

/* How many of n rays a block has. */
size_t nki_radii_block(const struct sampling *s, size_t n);
/* Blocks of at most n_rays. */
int nki_radii_open(const struct sampling *s, size_t n_rays, bool mixture, struct nki_radii *work);
void nki_radii_close(struct nki_radii *work);
/* Computes what all radii of the rays that work->rays holds need. */
void nki_radii_prepare(const struct sampling *s, struct nki_radii *work);
/* The radius on the i-th ray at which the measure is `distance`; NaN when there is none. */
double nki_radii_at(const struct sampling *s, const struct nki_radii *work, size_t i,
                    double distance);
/* Fills token_squares, for metric knn. */
int nki_square_tokens(struct sampling *s);

/* What the distances are called in messages: "radius", "knn distance". */
const char *nki_measure_name(const struct nk_sample_options *options);

/* Appends "row 3 of the set, id 17", "token 17" or "the centroid": the origin with that id, or row
 * of the set. */
void nki_name_origin(const struct sampling *s, int64_t id, size_t row, struct nk_buffer *out);

/* Places the nokens of every ray of a direction at every distance. */
int nki_place_direction(struct sampling *s, size_t direction);

/* Removes the rows of nokens that are omitted. */
int nki_omit_unreached(struct sampling *s);
/* Adds all columns; a noken that has not the distance asked is a failure. */
int nki_add_columns(const struct sampling *s);

#endif
