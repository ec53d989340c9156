/* What the searches for neighbours share: rows as they are compared, their distances in double,
 * their floats for products, and lists of neighbours. */
#ifndef GEOMETRY_NEIGHBOURS_H
#define GEOMETRY_NEIGHBOURS_H

#include <noken/geometry.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- Rows and distances ---- */

/* Rows as they are compared: unchanged, or for the cosine scaled to length 1. */
struct nki_rows {
  const float *x; /* [n, dim] */
  size_t n, dim;
  double *scale; /* [n] 1 / length (0 for a row of zeros); NULL: unchanged */
};

/* Checks x [n, dim] and fills rows with it; free rows->scale. NK_EDATA for a row that is not
 * finite. */
int nki_rows_open(struct nki_rows *rows, const float *x, size_t n, size_t dim,
                  enum nk_metric metric);

/* The distance by the metric between row i of a and row j of b, in double. No product of two floats
 * overflows or underflows in double, so rows of any lengths are compared equally well. */
double nki_distance(const struct nki_rows *a, size_t i, const struct nki_rows *b, size_t j);

/* The L2 distance, of rows as they are compared, that belongs to a distance by the metric. */
double nki_l2_of(const struct nki_rows *rows, double distance);

/* The centroid of the rows as they are compared: mean [dim]. */
int nki_centroid(const struct nki_rows *rows, double *mean);

/* ---- Rows as floats ---- */

/* The origin and the unit of length of rows as floats. The unit is a power of two, so that only the
 * differences from the centre are rounded. */
struct nki_frame {
  const double *centre; /* [dim] */
  double centre_length;
  double scale; /* 1 / unit */
};

/* The frame about centre [dim] in which lengths up to `longest` become at most 1. */
struct nki_frame nki_frame_about(const double *centre, size_t dim, double longest);

/* Length of row i as it is compared, from centre [dim]. */
double nki_length_from(const struct nki_rows *rows, size_t i, const double *centre);

/* Coordinates are cut off at this in their frame, in which query rows have a length of at most 1:
 * no product or sum then leaves the range of a float. */
#define NKI_FAR 0x1p40

/* out [n, dim] = the rows from `first` on (of list, when not NULL), in the frame; half [n], unless
 * NULL, = minus half of the squared lengths of out. */
void nki_prepare(const struct nki_frame *frame, const struct nki_rows *rows, const size_t *list,
                 size_t first, size_t n, float *out, float *half);

/* ---- Lists of neighbours ---- */

/* Rows to search in, prepared once for many exact searches (knn_exact.c). */
struct nki_base;
/* x [n, dim] stays the caller's. NULL on failure. */
struct nki_base *nki_base_new(const float *x, size_t n, size_t dim, enum nk_metric metric);
void nki_base_free(struct nki_base *base);
/* nk_knn_search in its rows by their metric; the options' metric and index have no meaning. */
struct nk_knn *nki_base_search(const struct nki_base *base, const float *query, size_t n_query,
                               const struct nk_knn_options *options);

struct nki_search {
  struct nki_rows base, query; /* the same when self is set and rows is NULL */
  const struct nki_base *kept; /* the base, prepared; or NULL */
  bool self;                   /* a row is not its own neighbour */
  const size_t *rows;          /* [query.n] the number of each query row where they are chosen */
  const size_t *order;         /* [base.n] in which the exact search takes the base's rows */
  size_t k;                    /* at most base.n - self */
  struct nk_knn *out;
};

/* Whether a row of the base is query row q itself. */
static inline bool nki_is_own(const struct nki_search *s, size_t q, size_t row) {
  return s->self && row == (s->rows != NULL ? s->rows[q] : q);
}

/* A neighbour found: kept in order of distance, then of row. */
struct nki_neighbour {
  double distance;
  int64_t row;
};

/* Sorts found [n] and writes the first k of them as row q of out, the rest as missing. */
void nki_keep(struct nki_neighbour *found, size_t n, struct nk_knn *out, size_t q);

#endif
