/* What nk-boundary outputs of the boundaries that it found: a row per ray, a row per group of rays,
 * or nokens at the boundary. */
#ifndef BOUNDARY_REPORT_H
#define BOUNDARY_REPORT_H

#include <noken/vectors.h>

#include "boundary/run.h"
#include "cli/lists.h"
#include "cli/table.h"

/* Row i is of ray i modulo their number, in the contexts or the prompt of its place. */
struct boundary_report {
  const struct boundary_rays *rays;
  const struct nk_place *places;       /* [n] `context` is a context's or a prompt's number */
  const struct boundary_onset *onsets; /* [n] */
  size_t n;                            /* the rays, once for each prompt */
  size_t range[2];                     /* those of [n] that are written as rows of a table */
  const struct cli_prompts *prompts;   /* or NULL: contexts */
  const struct cli_contexts *contexts; /* the file; not with prompts */
  const struct nk_vectors *rows;       /* [n] of boundary_rows; not for boundary_doses */
};

/* A set of the rows without values: ids, texts and columns of the rays (see boundary_rays_set), and
 * the places' columns position, layer and, of contexts, context and token. The metadata noken.space
 * of residual streams is that of the layer, where all rows have the same. NULL on failure. */
struct nk_vectors *boundary_rows(const struct boundary_report *report);

/* The columns, and a row for each onset of the range: the columns of `rows` follow what was found.
 * Returns NK_OK or a negative code. */
int boundary_write_rows(const struct boundary_report *report, struct cli_table *table);

/* A row for each group of rays, by the columns `by`, "A,B" (NULL: prompt where there are several,
 * and direction where the rays have it): how many there are, how many reach the level, the median
 * onset and its interval of order statistics, 0.95. A ray that never reaches the level counts as
 * one with a larger onset than all others. Returns NK_OK, NK_ENOTFOUND: no such column, or another
 * negative code. */
int boundary_write_summary(const struct boundary_report *report, const char *by,
                           struct cli_table *table);

/* The vectors of the rays that reach the level, at their onsets, each after its origin where
 * `with_origin`; columns radius, distance (the level) and achieved. A warning gives the number of
 * the others. NULL on failure. */
struct nk_vectors *boundary_doses(const struct boundary_report *report, double level,
                                  bool with_origin);

#endif
