/* Boundaries of rays in a model: the search over what nk_perturb_run measures, and nokens at a
 * behavioural distance. */
#ifndef BOUNDARY_RUN_H
#define BOUNDARY_RUN_H

#include <noken/probe.h>
#include <stdbool.h>

#include "boundary/rays.h"
#include "boundary/search.h"
#include "cli/places.h"

/* Divergences below this are taken as 0: the rounding of float logits gives up to 1e-12 or, where
 * logits are large, 1e-11. */
#define BOUNDARY_ROUNDING 1e-10
/* The least level of distances, as a part of the origin's norm at the last layer: the roundings of
 * the streams give up to 1e-6 of it. */
#define BOUNDARY_LEAST_L2 1e-5

enum boundary_quantity { BOUNDARY_KL, BOUNDARY_JS, BOUNDARY_L2 };

struct boundary_run {
  struct nk_model *model;
  const struct cli_contexts *contexts;
  const struct boundary_rays *rays;
  const struct cli_places *places; /* in these contexts, of all rows of the rays' set */
  enum nk_override_mode mode;
  const float *fill; /* [dim] input embedding of slots that no vector replaces; NULL: there are none
                      * or no window */
  enum boundary_quantity quantity;
  struct boundary_search search;
  /* Above 0: the measure is the 0.95 quantile of the KL divergences of the next token after the
   * context and after each of n_window - 1 tokens that the model generates greedily after it, with
   * the origin in the place; they follow the context, as text, at every radius. `read` is then the
   * context's end. */
  size_t n_window;
  size_t first, n;        /* rays [first, first + n) of them are run */
  size_t n_done, n_total; /* for progress: rays of earlier calls, of all calls */
};

/* out [n] = the onsets of these rays in their places, which have the rays' origins. Rays of one
 * place share its baseline; memory is bounded by blocks of rays. Returns NK_OK or a negative code:
 * NK_EUSAGE for a level of distances that is within the rounding of the streams. */
int boundary_run(const struct boundary_run *run, struct boundary_onset *out);

#endif
