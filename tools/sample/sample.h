/* What the files of nk-sample share: its options, and the ways to make nokens. */
#ifndef SAMPLE_SAMPLE_H
#define SAMPLE_SAMPLE_H

#include <stdint.h>

#include "cli/objective.h"
#include "cli/tool.h"

#define SAMPLE_NOT_GIVEN SIZE_MAX /* a number of an option */

/* Places among the choices of --metric, and none of them. */
enum { SAMPLE_NOT_CHOSEN = -1, SAMPLE_MAHALANOBIS = 2, SAMPLE_RADIUS = 4, SAMPLE_ANGLE = 5 };

struct sample_options {
  const char *distances, *quantiles, *times, *from, *from_set, *match, *vectors, *pairs, *model,
      *along;
  struct cli_objective objective; /* of gradients */
  struct cli_strings directions;
  size_t n, gaussian, steps; /* SAMPLE_NOT_GIVEN without the option */
  int metric;
  int unreached, angle_at;
  int path; /* -1 without the option */
  bool resample, keep_norm, with_origin;
};

/* The nokens that the options ask for; region: NULL for none, as for paths. NULL on failure. */
struct nk_vectors *sample_make(const struct cli_run *run, struct sample_options *options,
                               struct nk_region *region);

#endif
