/* What region.c, region_file.c and pca.c share. */
#ifndef GEOMETRY_REGION_H
#define GEOMETRY_REGION_H

#include <noken/region.h>
#include <stdbool.h>
#include "model/safetensors.h"

/* Which of the three scores a kind takes. */
bool nki_region_takes(enum nk_region_kind kind, enum nk_region_kind score);

/* A set of n tokens: values is taken over (NULL: none are kept), the rest copied. */
struct nk_vectors *nki_region_tokens(size_t n, size_t dim, float *values, const int64_t *ids,
                                     bool has_text, const void *text, const int64_t *offsets);
/* Copies the metadata that a region keeps of its set: model, space and history. */
int nki_region_metadata(struct nk_vectors *to, const struct nk_vectors *from);

/* The region in a file. NULL on failure, the message without the file's name. */
struct nk_region *nki_read_region(const struct nki_safetensors *file);

/* The type in which a file holds tokens kept so. */
enum nk_dtype nki_token_dtype(enum nk_region_tokens keep);

#endif
