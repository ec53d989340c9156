/* Where the rows of a vector set go in contexts, and the origins that they are compared with. */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include <noken/probe.h>
#include <noken/vectors.h>

#include "cli/contexts.h"

/* The places of a set's rows. Start from zero, end with cli_places_free. */
struct cli_places {
  struct nk_place *item; /* [n] by context, position, layer and origin; no two are equal */
  size_t n;
  size_t *of_row; /* [set->n] */
};

struct cli_place_rules {
  const struct nk_vectors *set; /* columns context, position, layer; its vectors are the origins */
  const char *name;             /* of the set, for messages */
  const struct cli_contexts *contexts;
  bool of_prompt;   /* the contexts are one prompt, and all rows go to its last slot */
  bool at_position; /* all rows go to this position, negative from the end */
  int64_t position;
  bool at_layer; /* .. and to this layer */
  size_t layer;
  size_t n_layers; /* of the model: layers 0 to n_layers */
  bool read_place; /* answers are read at the place, not at the context's end */
};

/* The places. The origin of a row is the vector of the row with radius 0 and the same origin_row
 * (or, in a set without such a column, the same ray); where there is none, the context's own state.
 * NK_EUSAGE where a column is missing; NK_EDATA for a place that does not exist, for another token
 * there than the set's column `token` says, for a slot without an origin, for a row without one
 * where others have one (unless its origin_row or ray is below 0), for an origin whose context,
 * position or layer is another, and for two different vectors of radius 0. */
int cli_places_make(const struct cli_place_rules *rules, struct cli_places *places);
void cli_places_free(struct cli_places *places);

#endif
