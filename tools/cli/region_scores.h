/* Scores of a set's rows by regions: by one, by the one of each row's group, or by several, of
 * which each row gets the one that fits it best. */
#ifndef CLI_REGION_SCORES_H
#define CLI_REGION_SCORES_H

#include <noken/region.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/table.h"

/* What is asked for beyond p-values, in (0, 1); NaN or 0: it is not. */
struct cli_guarantees {
  double conditional, fdp; /* the probabilities with which they may fail */
  double fdr;              /* the rate of q_value at which a row is outside */
};

static inline bool cli_asks_guarantee(const struct cli_guarantees *asked) {
  return asked->conditional > 0 || asked->fdr > 0 || asked->fdp > 0;
}

struct cli_region_scores {
  size_t n;        /* rows */
  double *score;   /* [n] by the row's region */
  double *p_value; /* [n] */
  double *p_min;   /* [n] */
  struct cli_guarantees guarantees;
  double *p_conditional, *q_value, *fdp_bound; /* [n], each among the rows of one region; or NULL */
  size_t n_own;                                /* rows that are tokens of their region */
  size_t n_unknown; /* rows whose region does not hold the tokens that show it, where a guarantee
                     * is asked for */
  size_t n_regions; /* of those that compete; 0: none do */
  char **name;      /* [n_regions] */
  double *p;        /* [n_regions, n] every region's p-values */
  size_t *best;     /* [n] the region of whose normal distribution the row's density is the largest;
                     * of equal ones the first */
};

/* Scores every row by the region of the file; with `by`, each group of rows by the file that path
 * names for the group's value, in which {} stands for it, and the guarantees that
 * scores->guarantees asks for. Returns NK_OK or a negative code; free with cli_region_scores_free
 * in any case. */
int cli_region_scores_by(struct cli_region_scores *scores, const struct nk_vectors *set,
                         const char *path, const char *by);
/* Scores every row by all of the regions in paths [n_paths]; score, p_value and p_min are those of
 * the best one. That is chosen by the row, so that its p-value alone guarantees nothing; the
 * largest p-value by any region does, for rows drawn as the tokens of one of them, whichever. A
 * region's name is its path without folder and ".safetensors"; where two names would be the same,
 * each is the whole path. */
int cli_region_scores_best(struct cli_region_scores *scores, const struct nk_vectors *set,
                           char *const *paths, size_t n_paths);
/* Writes the table: the head of the set, the region where several compete, score, p_value, the
 * guarantees, inside (q_value above its rate, otherwise p_conditional, otherwise p_value above the
 * level; where several compete, a p-value by any of them above the level), p_min, with `all` a
 * p-value of each region, the set's columns. */
int cli_region_scores_write(const struct cli_region_scores *scores, const struct nk_vectors *set,
                            double level, bool all, struct cli_table *table);
void cli_region_scores_free(struct cli_region_scores *scores);

#endif
