/* Rotary positions as config.json describes them. */
#ifndef NOKEN_MODEL_ROTARY_H
#define NOKEN_MODEL_ROTARY_H

#include <noken/model.h>
#include <stdbool.h>

/* *type = the rope_type ("default", "llama3", ...) of that object, or of the family's scaling.
 * Returns NK_OK; NK_ENOTFOUND where it has none, *type is then "default"; NK_EUNSUPPORTED where
 * layers with a window have scaling of their own; NK_EDATA. */
int nki_rope_type(const struct nk_model *model, const char **type);

/* YaRN (Peng et al. 2023): pairs that turn more than `fast` times within the original context keep
 * their frequency, those that turn less than `slow` times have it divided by factor, those between
 * are blended; the bounds of the blend are rounded to whole pairs, outwards, where `rounded`. */
struct nki_yarn {
  double factor, original, fast, slow;
  double growth;    /* what the rotation is amplified by where the configuration does not say */
  double amplitude; /* what it is amplified by */
  bool rounded;
};
/* NK_OK or NK_EDATA. */
int nki_read_yarn(const struct nk_model *model, struct nki_yarn *out);

#endif
