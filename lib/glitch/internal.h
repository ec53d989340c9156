/* What the files of lib/glitch share. */
#ifndef GLITCH_INTERNAL_H
#define GLITCH_INTERNAL_H

#include <noken/geometry.h>
#include <noken/glitch.h>

/* The ball of never-seen rows in one matrix. */
struct nki_ball {
  double *centre; /* [dim] */
  double radius;  /* typical distance of a never-seen row from the centre */
  double edge;    /* distance that 99% of never-seen rows do not exceed */
  size_t n_core;  /* rows whose mean is the centre */
  double *square; /* [n] squared distance of each row from the centre, in units of radius^2 */
  bool *member;   /* [n] rows as near as never-seen ones are */
};

/* What the score knows of one matrix. */
struct nki_evidence {
  struct nki_ball ball;
  double *way;    /* [n] how far a row has come from the centre towards the mean of the ordinary
                   * rows, in standard deviations of the ball */
  double typical; /* median of ball.square over the ordinary rows */
  double spread;  /* root mean square distance of the ordinary rows from their mean */
  double lead;    /* how much the way tells beside the distance; see score.c */
  size_t dim;     /* 0: not measured */
};

struct nk_glitch_private {
  struct nki_evidence output, input;
  unsigned without;
  bool *bad; /* [n] rows that are not finite; NULL: not looked for */
};

/* ---- A ranking, in the order of the calls ---- */

/* A ranking of n tokens. role [n] is copied. NULL on failure. */
struct nk_glitch *nki_glitch_new(size_t n, const enum nk_glitch_role *role);
/* Measures the output matrix x [n, dim]: finds the unused rows, adds its indicators, and with
 * `tied` those of the input matrix too. Returns 0 or a negative code (fewer than 8 rows; a row is
 * not finite; no memory; interrupted). */
int nki_glitch_output(struct nk_glitch *glitch, const float *x, size_t dim, bool tied,
                      const struct nk_glitch_options *options);
/* Measures an untied model's input matrix x [n, dim]. */
int nki_glitch_input(struct nk_glitch *glitch, const float *x, size_t dim,
                     const struct nk_glitch_options *options);

/* Fuses what the matrices show into score, p_value, rank and order. merge_rank [n] (may be NULL):
 * in which order the tokenizer learned the tokens, negative where it is unknown: adds the column
 * `rank_mismatch`. */
int nki_glitch_rank(struct nk_glitch *glitch, const int64_t *merge_rank);

/* Picks rows that mark the ball of never-seen rows in x [n, dim]: *rows [*n_rows] ascending, for
 * nk_free. At least 3 NK_ROLE_UNUSED rows that agree are taken alone; else the tightest group among
 * them and the NK_ROLE_SUSPECT ones; else 3 or more NK_ROLE_APART rows that nearly coincide; else,
 * with a warning, the tightest group among the rows that stand out by length or along the mean.
 * *source tells which. */
int nki_find_unused(const float *x, size_t n, size_t dim, const enum nk_glitch_role *role,
                    size_t **rows, size_t *n_rows, enum nk_glitch_source *source);

/* ranks [n] = the mean rank, from 1, of each of values [n]; NaN first. Returns 0 or NK_EMEMORY. */
int nki_mean_ranks(const double *values, size_t n, double *ranks);

/* *out = Spearman's rank correlation of x and y [n], equal values sharing their mean rank; NaN when
 * one of them is constant. Returns 0 or NK_EMEMORY. */
int nki_spearman(const double *x, const double *y, size_t n, double *out);

/* ---- Parts ---- */

/* Finds the ball that unused [n_unused >= 3] mark in x [n, dim]; without `core` its centre is the
 * mean of those rows alone. */
int nki_ball_find(const float *x, size_t n, size_t dim, const size_t *unused, size_t n_unused,
                  bool core, struct nki_ball *out);

/* Measures the rows of x [n, dim]: the ball, and the way out of it. The output matrix comes first:
 * its ball decides which rows are ordinary. */
int nki_evidence_measure(const struct nk_glitch *glitch, const float *x, size_t dim,
                         struct nki_evidence *out);
void nki_evidence_free(struct nki_evidence *evidence);

/* A ranked row outside the output matrix's ball. */
bool nki_is_ordinary(const struct nk_glitch *glitch, size_t row);

/* fused [n]: the score's logarithmic scale; small: as a never-seen row. */
void nki_fuse(const struct nk_glitch *glitch, double *fused);

/* Where the rows lie on the fused scale, and the p-values of the ranked rows. */
struct nki_null {
  double ball, typical; /* median of the ball's rows and of the ordinary rows */
  bool overlap;         /* the known unused rows mark no ball: every p-value is 1 */
  size_t n_beyond;      /* ranked rows beyond the edge; 0: every p-value is 1 */
  double n_expected;    /* ordinary rows expected up to it */
};
int nki_null_find(const struct nk_glitch *glitch, const double *fused, double *p_value,
                  struct nki_null *null);

/* roles of the tokens of a model; category [n] as role [n]. */
int nki_roles_of_tokens(const struct nk_tokenizer *tokenizer, size_t n, enum nk_category *category,
                        enum nk_glitch_role *role);
/* The same for the rows of a set of which the ids unused [n_unused] are known to be unused. */
int nki_roles_of_ids(const struct nk_vectors *set, const int64_t *unused, size_t n_unused,
                     enum nk_glitch_role *role);

/* A new column of n values, for the caller to fill; NULL when there is no memory. */
double *nki_column(struct nk_glitch *glitch, const char *name, bool large_is_odd);

/* The indicators of Land and Bartolo (2024) on the output matrix x, whose moments are given, and
 * `exposure` and `way`. */
int nki_output_columns(struct nk_glitch *glitch, const float *x, struct nk_moments *moments);
/* Length, distance from the centroid, Mahalanobis and k-NN distance in the input matrix. */
int nki_input_columns(struct nk_glitch *glitch, const float *x, struct nk_moments *moments,
                      const struct nk_glitch_options *options);
/* Scores against those of neighbouring merge rank [n], negative where it is unknown. */
int nki_merge_column(struct nk_glitch *glitch, const int64_t *merge_rank);

#endif
