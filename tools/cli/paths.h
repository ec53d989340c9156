/* Paths between pairs of vectors, such as nk-sample --path makes and a model bends: how far along
 * the way from its first end to its last one each row of a set is. */
#ifndef CLI_PATHS_H
#define CLI_PATHS_H

#include <noken/vectors.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/table.h"

enum { CLI_PATH_KEYS = 4 };

struct cli_paths {
  size_t n;      /* paths: rows with the same values of */
  size_t n_keys; /* those columns of pair, prompt, layer, offset that the set has */
  const struct nk_column *key[CLI_PATH_KEYS];
  const struct nk_column *t; /* 0 at the first end, 1 at the last */
  size_t *begin;             /* [n + 1] path i is rows[begin[i]] to rows[begin[i + 1] - 1], */
  size_t *rows;              /* [set->n] by t */
  double *to_a, *to_b;       /* [set->n] L2 distance of each row of the set from the path's row with
                              * t = 0 and from the one with t = 1 */
  double *relative;          /* [set->n] to_a / (to_a + to_b); NaN where the ends are the same */
};

/* Divides a set into paths and measures them. NK_ENOTFOUND: no column t; NK_EDATA: a path has not
 * one row at each end, or two at one t. skip: a path without a row at an end is left
 * out with a warning, its to_a NaN. Free with cli_paths_free in any case. */
int cli_paths_measure(struct cli_paths *paths, const struct nk_vectors *set, bool skip);
void cli_paths_free(struct cli_paths *paths);

/* A row per row of the set: to_a, to_b, relative. */
int cli_paths_write_rows(const struct cli_paths *paths, const struct nk_vectors *set,
                         struct cli_table *table);
/* A row per path: its keys, rows, length (the distance of its ends), the t at which relative first
 * reaches 0.1, 0.5 and 0.9, linear between rows, and width, the last less the first of these: the
 * 10-90% rise time of a step response. */
int cli_paths_write_widths(const struct cli_paths *paths, struct cli_table *table);

#endif
