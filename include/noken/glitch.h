/* Ranking a vocabulary by how little training its rows show, from the weights alone.
 *
 * Rows of tokens that training never showed lie in a tight ball: those of the output matrix were
 * all pushed along one direction by the softmax (a tied matrix likewise), those of an untied input
 * matrix stayed where they began. A few rows known to be unused mark the ball's place; its centre
 * and radius and the place of the ordinary rows are then estimated from the matrices. The score is
 * made of a row's distance from the ball's centre and of how far it has come on the way towards the
 * ordinary rows. nk-glitch(1) has the formulas and their sources.
 *
 * Matrices of a model lie in memory one at a time. Beside it, for the indicators: 24 dim^2 bytes
 * (14 MB at dim = 768, 1.6 GB at 8,192), about 50 MiB of blocks, and 8 bytes for each row and
 * column. */
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

/* Where the rows that mark the ball come from. */
enum nk_glitch_source {
  NK_SOURCE_KNOWN,   /* NK_ROLE_UNUSED rows */
  NK_SOURCE_SUSPECT, /* those and NK_ROLE_SUSPECT rows */
  NK_SOURCE_SPECIAL, /* neither: special tokens whose rows nearly coincide */
  NK_SOURCE_EXTREME, /* none were known: the rows closest together among the extreme ones */
};

/* What a ranking rests on: the ball in the output matrix, and the rows that p-values are read
 * from. */
struct nk_glitch_basis {
  enum nk_glitch_source source;
  size_t n_core;        /* rows whose mean is the ball's centre */
  double radius;        /* typical distance of a never-seen row from the centre */
  double edge;          /* distance that 99% of never-seen rows do not exceed */
  double spread;        /* root mean square distance of the ordinary rows from their mean */
  double overlap_limit; /* above this times the spread the edge shows no ball */
  size_t n_beyond;      /* ranked rows that p-values are read from; 0: every p-value is 1 */
  double n_expected;    /* ordinary rows expected among the ranked rows nearer to the ball */
};

struct nk_glitch {
  size_t n;
  enum nk_glitch_role *role; /* [n] */
  size_t *unused;            /* [n_unused] rows that mark the ball */
  size_t n_unused;
  struct nk_glitch_column *columns; /* [n_columns] the indicators */
  size_t n_columns;
  double *score;   /* [n] 1 as a never-seen token's, 0 as a typical token's; large: glitch token */
  double *p_value; /* [n] for an ordinary token to score as high; NaN for rows ranked apart */
  double *q_value; /* [n] smallest false discovery rate at which the token is reported */
  size_t *rank;    /* [n] from 1, among the NK_ROLE_TEXT rows or among the others */
  size_t *order;   /* [n] rows by rank, NK_ROLE_TEXT rows first */
  size_t n_ranked; /* how many those are */
  bool overlap;    /* the unused rows spread as ordinary rows do and mark no ball: every p is 1 */
  struct nk_glitch_basis basis;
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
  bool skip_bad;    /* rows that hold a NaN or an infinity are ranked apart, without a score (NaN);
                     * else they are an error */
};

/* Frees a ranking; NULL is allowed. */
NK_API void nk_glitch_free(struct nk_glitch *glitch);

/* The column called name, or NULL (no error is set). */
NK_API const struct nk_glitch_column *nk_glitch_find(const struct nk_glitch *glitch,
                                                     const char *name);

/* ---- From files and vector sets ---- */

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
/* What the list is worth that the q-values give at some level. */
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

/* ==== Repair ==== */

/* What the rows of listed tokens are replaced by. An ordinary row is that of a token that is not
 * listed and that text can give (NK_TOKEN_OK, NK_TOKEN_BYTE or NK_TOKEN_PARTIAL_UTF8). */
enum nk_patch_source {
  NK_PATCH_MEAN,       /* the mean of the ordinary rows */
  NK_PATCH_NEIGHBOURS, /* the mean of the k ordinary rows nearest by cosine to the token's row in
                        * the input matrix: the same tokens for either matrix */
  NK_PATCH_TEXT,       /* the mean of the rows that the token's string is encoded to without the
                        * listed tokens; a token that the others cannot spell has none */
};

struct nk_patch_options {
  enum nk_patch_source source;
  size_t k; /* of NK_PATCH_NEIGHBOURS; 0: 10 */
};

/* New rows for ids [n], of any order, in the model's input or output matrix, or both: which
 * [n_matrices]. Fills out [n_matrices], whose rows (ascending, each once) and values are for
 * nk_free, also on failure; an n is smaller than the number of ids where a token has no such row (a
 * warning, for the input matrix, counts these; with neighbours, one of zeros), or the matrix no row
 * for it. Rows are read as floats, and their means computed in double and rounded to float. options
 * NULL: all zero. Returns NK_OK; NK_EDATA (no row for an id in the input matrix; no ordinary row;
 * one that is not finite, with neighbours also of an id); NK_EUNSUPPORTED (a matrix of another
 * type; a tokenizer whose pieces are not known); or another negative code (no tokenizer). */
NK_API int nk_patch_rows(struct nk_model *model, const enum nk_matrix *which, size_t n_matrices,
                         const struct nk_patch_options *options, const int64_t *ids, size_t n,
                         struct nk_patch *out);

#ifdef __cplusplus
}
#endif
#endif
