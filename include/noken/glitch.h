/* Ranking a vocabulary by how little training its rows show, from the weights alone.
 *
 * Rows of tokens that training never showed lie in a tight ball: those of the output matrix were
 * all pushed along one direction by the softmax (a tied matrix likewise), those of an untied input
 * matrix stayed where they began. A few rows known to be unused (nk_find_unused) mark the ball's
 * place; the ball's centre and radius and the place of the ordinary rows are then estimated from
 * the matrices. The score is made of a row's distance from the ball's centre and of how far it has
 * come on the way towards the ordinary rows. nk-glitch(1) has the formulas and their sources.
 *
 * nk_glitch_of_model and nk_glitch_of_sets do it all. Its parts, in the order in which to call
 * them: nk_glitch_new; nk_glitch_output; for an untied model nk_glitch_input; then nk_glitch_rank.
 * Each matrix is needed during its call only, so that one lies in memory at a time. Beside it, for
 * the indicators: 24 dim^2 bytes (14 MB at dim = 768, 1.6 GB at 8,192), about 50 MiB of blocks, and
 * 8 bytes for each row and column. */
#ifndef NOKEN_GLITCH_H
#define NOKEN_GLITCH_H

#include <noken/base.h>
#include <noken/model.h>
#include <noken/tokenizer.h>
#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Evaluation ==== */

/* How well a score finds what it should: the measures by which rankings are compared. Scores are
 * large for what should be found; a NaN counts as smaller than every number. Equal scores are one
 * step of the curve, so that no measure depends on the order in which rows are given. */

/* scores [n], positive [n]. */
struct nk_retrieval {
  size_t n, positives;
  double auc;               /* area under the ROC curve: how often a positive scores higher than a
                             * negative, a tie counting half; NaN without either */
  double average_precision; /* sum of precision x gain of recall (scikit-learn's); NaN without
                             * positives */
  double precision;         /* of the `positives` highest scores; ties in proportion */
};

/* Returns 0 or NK_EMEMORY. */
NK_API int nk_retrieval(const double *scores, const bool *positive, size_t n,
                        struct nk_retrieval *out);

/* *out = Spearman's rank correlation of x and y [n], equal values sharing their mean rank; NaN when
 * one of them is constant. Returns 0 or NK_EMEMORY. */
NK_API int nk_spearman(const double *x, const double *y, size_t n, double *out);

/* ranks [n] = the mean rank, from 1, of each of values [n]; NaN first. Returns 0 or NK_EMEMORY. */
NK_API int nk_mean_ranks(const double *values, size_t n, double *ranks);

/* ==== Ranking ==== */

/* What is known of a token before its rows are looked at. */
enum nk_glitch_role {
  NK_ROLE_TEXT,    /* text can hold it: ranked */
  NK_ROLE_APART,   /* a special token: ranked apart, known neither as used nor as unused */
  NK_ROLE_UNUSED,  /* surely never in a text (a byte that UTF-8 never holds): marks the ball */
  NK_ROLE_SUSPECT, /* probably never (padding; what the tokenizer cannot produce): marks the ball
                    * where there are fewer than 3 NK_ROLE_UNUSED */
};

struct nk_glitch_column {
  const char *name;
  double *values;    /* [n]; NaN where there is none */
  bool large_is_odd; /* large values point to a glitch token; else small ones do */
};

struct nk_glitch {
  size_t n;
  enum nk_glitch_role *role; /* [n] */
  size_t *unused;            /* [n_unused] rows that mark the ball */
  size_t n_unused;
  struct nk_glitch_column *columns; /* [n_columns] the indicators */
  size_t n_columns;
  /* Made by nk_glitch_rank: */
  double *score;   /* [n] 1 as a never-seen token's, 0 as a typical token's; large: glitch token */
  double *p_value; /* [n] for an ordinary token to score as high; NaN for rows ranked apart */
  double *q_value; /* [n] smallest false discovery rate at which the token is reported */
  size_t *rank;    /* [n] from 1, among the NK_ROLE_TEXT rows or among the others */
  size_t *order;   /* [n] rows by rank, NK_ROLE_TEXT rows first */
  size_t n_ranked; /* how many those are */
  bool overlap;    /* the unused rows spread as ordinary rows do and mark no ball: every p is 1 */
  struct nk_glitch_private *own;
};

/* Parts of the score, to be left out so that it is seen what each is worth. */
enum nk_glitch_part {
  NK_PART_DISTANCE = 1, /* the distance from the ball's centre */
  NK_PART_WAY = 2,      /* near the ball: the way towards the mean of the ordinary rows */
  NK_PART_LEAD = 4,     /* far from it: the same way */
  NK_PART_CORE = 8,     /* rows in the ball other than the unused ones, which move its centre */
  NK_PART_INPUT = 16,   /* the input matrix of an untied model */
};

struct nk_glitch_options {
  size_t knn_k;    /* neighbours of the column input_knn; 0: no such column */
  size_t knn_rows; /* it is measured to this many rows, drawn at random; 0: to all */
  uint64_t seed;
  unsigned without; /* enum nk_glitch_part, or-ed */
};

/* A ranking of n tokens. role [n] is copied. NULL on failure. */
NK_API struct nk_glitch *nk_glitch_new(size_t n, const enum nk_glitch_role *role);
NK_API void nk_glitch_free(struct nk_glitch *glitch);

/* Measures the output matrix x [n, dim]: finds the unused rows, adds its indicators, and with
 * `tied` those of the input matrix too. Returns 0 or a negative code (fewer than 8 rows; a row is
 * not finite; no memory; interrupted). */
NK_API int nk_glitch_output(struct nk_glitch *glitch, const float *x, size_t dim, bool tied,
                            const struct nk_glitch_options *options);
/* Measures an untied model's input matrix x [n, dim]. */
NK_API int nk_glitch_input(struct nk_glitch *glitch, const float *x, size_t dim,
                           const struct nk_glitch_options *options);

/* Fuses what the matrices show into score, p_value, rank and order. merge_rank [n] (may be NULL):
 * in which order the tokenizer learned the tokens, negative where it is unknown: adds the column
 * `rank_mismatch`. */
NK_API int nk_glitch_rank(struct nk_glitch *glitch, const int64_t *merge_rank);

/* The column called name, or NULL (no error is set). */
NK_API const struct nk_glitch_column *nk_glitch_find(const struct nk_glitch *glitch,
                                                     const char *name);

/* Picks rows that mark the ball of never-seen rows in x [n, dim]: *rows [*n_rows] ascending, for
 * nk_free. At least 3 NK_ROLE_UNUSED rows that agree are taken alone; else the tightest group among
 * them and the NK_ROLE_SUSPECT ones; else, with a warning, the tightest group among the rows that
 * stand out by length or along the mean or the first principal component. */
NK_API int nk_find_unused(const float *x, size_t n, size_t dim, const enum nk_glitch_role *role,
                          size_t **rows, size_t *n_rows);

/* q_values [n]: the smallest level at which the procedure of Benjamini and Hochberg (1995) reports
 * a row, from p_values [n]. NaN where that is NaN, which is not counted. Returns 0 or NK_EMEMORY.
 */
NK_API int nk_q_values(const double *p_values, size_t n, double *q_values);

/* ---- From files ---- */

/* The ranking of a model's vocabulary. tokenizer NULL: every token counts as one that text can
 * hold. category [*n] (may be NULL) is filled for the rows of the ranking, for nk_free. Matrices
 * are widened one at a time. NULL on failure. */
NK_API struct nk_glitch *nk_glitch_of_model(const struct nk_model *model,
                                            const struct nk_tokenizer *tokenizer,
                                            const struct nk_glitch_options *options,
                                            enum nk_category **category);
/* The ranking of the rows of vector sets with the same ids: the output matrix, and the input matrix
 * or NULL when they are tied; unused [n_unused]: ids of tokens known to be unused. */
NK_API struct nk_glitch *nk_glitch_of_sets(const struct nk_vectors *output,
                                           const struct nk_vectors *input, const int64_t *unused,
                                           size_t n_unused,
                                           const struct nk_glitch_options *options);

/* ---- Against the truth ---- */

/* What a ranking, or one indicator in it, is worth. */
struct nk_glitch_measure {
  const char *name; /* "score", or the column's */
  struct nk_retrieval retrieval;
  double spearman; /* of the column's values with the count */
};
/* What the list is worth that nk_q_values gives at some level. */
struct nk_glitch_report {
  size_t reported;
  double false_rate; /* share of them that are no glitch tokens; 0 when there are none */
  double recall;     /* share of the glitch tokens that are reported; NaN without any */
};
/* What is known of the training of n tokens. */
struct nk_glitch_truth {
  const bool *judged;  /* [n] rows that are evaluated */
  const double *count; /* [n] how often training showed the token */
  const double *steps; /* [n] in how many optimizer steps */
};

/* Evaluates the judged rows. A glitch token is one seen in at most `at_most` steps. measures
 * [n_columns + 1]: the score's, then each column's, turned so that glitch tokens come first. */
NK_API int nk_glitch_evaluate(const struct nk_glitch *glitch, const struct nk_glitch_truth *truth,
                              double at_most, double level, struct nk_glitch_measure *measures,
                              struct nk_glitch_report *report);

#ifdef __cplusplus
}
#endif
#endif
